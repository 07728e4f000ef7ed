"""A program that misuses a binding, and helpers of these programs."""

import errno
import os
import signal
import threading
import time
from dataclasses import dataclass

LIMIT = 5000  # ms: limit of each step
LONG = bool(os.environ.get("ZMQCY_LONG"))
HERE = "test_faults.py::test_what_zmqcy_makes_of_it"
PROGRAMS = {}


@dataclass
class Program:
    """A row of the table in docs/reliability.md."""

    chapter: str
    what: str
    zmqcy: str  # the expected outcome on zmqcy
    tests: tuple  # tests of the same subject
    function: object


def program(chapter, what, zmqcy, *tests):
    def add(function):
        PROGRAMS[function.__name__] = Program(chapter, what, zmqcy, tests or (HERE,), function)
        return function

    return add


def make(zmq, ctx, socket_type, **options):
    socket = ctx.socket(getattr(zmq, socket_type))
    for name, value in {"linger": 0, "rcvtimeo": LIMIT, "sndtimeo": LIMIT, **options}.items():
        socket.setsockopt(getattr(zmq, name.upper()), value)
    return socket


def pair(zmq, ctx, first="PULL", second="PUSH", url="tcp://127.0.0.1:*", **options):
    a, b = make(zmq, ctx, first, **options), make(zmq, ctx, second, **options)
    a.bind(url)
    b.connect(a.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode())
    return a, b


def endpoint(zmq, socket):
    return socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()


def outcome(function, *arguments):
    """Call; return the class of the exception, or the repr of the result."""
    try:
        return repr(function(*arguments))
    except BaseException as error:
        return type(error).__name__


def wait_until(condition, what):
    deadline = time.monotonic() + LIMIT / 1000
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        os.sched_yield()


def asleep(thread):
    """Return whether a thread sleeps in the kernel."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def started(function, *arguments, daemon=True):
    """Run a call in a thread; return the thread, and a list to which its outcome is appended."""
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome(function, *arguments)), daemon=daemon)
    thread.start()
    return thread, outcomes


def blocked(function, *arguments):
    """Run a call in a thread, and wait until the thread sleeps in it; see `started`."""
    thread, outcomes = started(function, *arguments)
    wait_until(lambda: asleep(thread) or outcomes, "the thread sleeps")
    return thread, outcomes


def joined(thread, outcomes):
    thread.join(LIMIT / 1000)
    return outcomes[0] if outcomes else "does not return"


def in_child(function, limit=3):
    """Run a call in a forked child, for `limit` seconds at most; return its outcome, or the signal that killed it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(limit)
        os.write(writer, outcome(function).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if code == 0 else f"killed by {signal.Signals(-code).name}"


def in_child_quietly(work, *arguments):
    """Run a function in a forked child; return its result, its errno, or the signal and message of an abort."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 2)  # libzmq writes there when it aborts
        signal.alarm(6)
        try:
            result = work(*arguments)
        except BaseException as error:
            result = errno.errorcode.get(getattr(error, "errno", None), type(error).__name__)
        os.write(2, f"\n={result}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    last = text.strip().rpartition("\n")[2]
    return text.rpartition("=")[2] if code == 0 else f"{signal.Signals(-code).name} {last.strip()[-60:]}".strip()
