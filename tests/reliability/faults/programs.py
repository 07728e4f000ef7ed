"""Programs that misuse a binding of ZeroMQ, or starve it. Each runs on zmqcy and on pyzmq, in a process of its own.

`python programs.py NAME MODULE` runs one of them with `import MODULE as zmq` and prints what came of it. A program
knows nothing of who runs it: `run.py` judges by output, exit code, stderr and whether it ends at all.
"""

import contextlib
import copy
import errno
import gc
import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import socket as system
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

LIMIT = 5000  # ms for what must come
LONG = bool(os.environ.get("ZMQCY_LONG"))
HERE = "test_faults.py::test_what_zmqcy_makes_of_it"
PROGRAMS = {}


@dataclass
class Program:
    """A row of the table in docs/reliability.md."""

    chapter: str
    what: str
    zmqcy: str  # what zmqcy must make of it
    tests: tuple  # that go further into it
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
    """Call, and return what came of it in words: the class of an exception, or what was returned."""
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
    """Tell whether a thread sleeps in the kernel."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def started(function, *arguments, daemon=True):
    """Run a call in a thread; return the thread and a list that gets its outcome."""
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome(function, *arguments)), daemon=daemon)
    thread.start()
    return thread, outcomes


def blocked(function, *arguments):
    """As `started`, once the thread sleeps in the call."""
    thread, outcomes = started(function, *arguments)
    wait_until(lambda: asleep(thread) or outcomes, "the thread sleeps")
    return thread, outcomes


def joined(thread, outcomes):
    thread.join(LIMIT / 1000)
    return outcomes[0] if outcomes else "is stuck"


# -------------------------------------------------------------------------------------------------------------- threads

THREADS = "Threads"


@program(
    THREADS,
    "Four threads send, and four receive, in the same two sockets without a lock",
    "every message that went arrived once, whole; the other calls raised SocketInUse",
    "test_threads.py::test_many_threads_without_a_lock_lose_and_double_nothing",
    "test_threads.py::test_many_receivers_without_a_lock_tear_and_double_nothing",
)
def shared_sockets(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=0, sndhwm=0)
    sent, got, refused = [], [], set()
    ended = threading.Event()

    def send(number):
        for i in range(1000):
            message = b"%d-%d" % (number, i)
            try:
                push.send_multipart([message, message])
                sent.append(message)
            except zmq.ZMQError as error:
                refused.add(type(error).__name__)

    def receive():
        while not (ended.is_set() and len(got) >= len(sent)) and time.monotonic() < deadline:
            try:
                got.append(pull.recv_multipart())
            except zmq.Again:
                pass
            except zmq.ZMQError as error:
                refused.add(type(error).__name__)

    pull.rcvtimeo = 50
    deadline = time.monotonic() + LIMIT / 1000
    senders = [threading.Thread(target=send, args=[i]) for i in range(4)]
    receivers = [threading.Thread(target=receive) for _ in range(4)]
    for thread in senders + receivers:
        thread.start()
    for thread in senders:
        thread.join()
    ended.set()
    for thread in receivers:
        thread.join()
    whole = sorted(message[0] for message in got if len(message) == 2 and message[0] == message[1])
    if len(whole) != len(got) or whole != sorted(sent):
        return f"of {len(sent)} messages {len(got)} arrived, {len(whole)} of them whole"
    others = f"raised {' or '.join(sorted(refused))}" if refused else "did not exist"
    return f"every message that went arrived once, whole; the other calls {others}"


@program(
    THREADS,
    "A socket is closed while another thread waits in it",
    "close: SocketInUse; recv: b'x'",
    "test_threads.py::test_a_second_thread_is_refused",
)
def close_while_blocked(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    waiting = blocked(pull.recv)
    closed = outcome(pull.close).replace("None", "done")
    push.send(b"x")
    received = joined(*waiting)
    push.close()
    return f"close: {closed}; recv: {received}"


@program(
    THREADS,
    "A context is ended while a thread waits in one of its sockets",
    "recv: ContextTerminated; term: done",
    "test_context.py::test_term_wakes_who_waits",
    "test_context.py::test_shutdown_wakes_who_waits_and_lets_the_rest_fail",
)
def term_while_blocked(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL", rcvtimeo=-1)

    def work():
        try:
            return pull.recv()
        finally:
            pull.close()

    waiting = blocked(work)
    ended = joined(*started(ctx.term)).replace("None", "done")
    return f"recv: {joined(*waiting)}; term: {ended}"


@program(
    THREADS,
    "A poller is changed by one thread while another polls it, 300 times",
    "those that met the other thread raised SocketInUse",
    "test_poll_errors.py::test_poller_in_two_threads",
    "test_poll_errors.py::test_many_threads_on_one_poller",
)
def poller_changed(zmq):
    ctx = zmq.Context()
    first, _ = pair(zmq, ctx)
    others = [make(zmq, ctx, "PULL") for _ in range(20)]
    poller = zmq.Poller()
    poller.register(first, zmq.POLLIN)
    outcomes, ended = set(), threading.Event()

    def work():
        while not ended.is_set():
            outcomes.add(outcome(poller.poll, 1))

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(15):
        for other in others:
            outcomes.add(outcome(poller.register, other, zmq.POLLIN))
        for other in others:
            outcomes.add(outcome(poller.unregister, other))
    ended.set()
    thread.join()
    raised = sorted(outcomes - {"None", "[]", "KeyError"})  # of one whose register was refused
    return f"those that met the other thread raised {' and '.join(raised)}" if raised else "all succeeded"


@program(
    THREADS,
    "Eight threads make, use and close sockets of one context",
    "all messages arrived",
    "test_context.py::test_many_contexts_in_many_threads",
)
def shared_context(zmq):
    ctx = zmq.Context()

    def work():
        for _ in range(25):
            a, b = pair(zmq, ctx)
            b.send(b"x")
            assert a.recv() == b"x"
            a.close()
            b.close()
        return "all messages arrived"

    threads = [started(work) for _ in range(8)]
    outcomes = {joined(*each) for each in threads}
    ctx.term()
    return " and ".join(sorted(outcomes)).strip("'")


@program(
    THREADS,
    "A frame is read, sent on and dropped by eight threads at once",
    "every copy is right",
    "test_frames.py::test_frames_across_threads",
    "test_frames.py::test_a_frame_is_sent_by_many_threads",
)
def shared_frame(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    data = os.urandom(100_000)
    push.send(data)
    frame = pull.recv(copy=False)

    def work(frame, number):
        a, b = pair(zmq, ctx, url=f"inproc://{number}")
        for _ in range(50):
            b.send(frame, copy=False)
            if bytes(a.recv(copy=False)) != data or bytes(frame) != data:
                return "a copy is wrong"
        return "every copy is right"

    threads = [started(work, frame, number) for number in range(8)]
    del frame
    return " and ".join({joined(*each) for each in threads}).strip("'")


@program(
    THREADS,
    "A socket goes from thread to thread, under a lock",
    "all messages arrived",
    "test_threads.py::test_a_socket_goes_from_thread_to_thread",
)
def moved_socket(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    lock = threading.Lock()

    def work():
        for _ in range(200):
            with lock:
                push.send(b"x")

    threads = [started(work) for _ in range(5)]
    count = sum(pull.recv() == b"x" for _ in range(1000))
    for each in threads:
        joined(*each)
    return "all messages arrived" if count == 1000 else f"{count} messages arrived"


# --------------------------------------------------------------------------------------------------------------- ending

ENDING = "The end of a program"
HEAD = """
import asyncio, atexit, gc, os, signal, sys, threading, time
import {module} as zmq
url = {url!r}
"""
GOOD = "exit code 0, nothing on stderr"
OPEN = 'c = zmq.Context(); s = c.socket(zmq.PUSH); s.connect(url); s.send(b"x" * 1000)'


def ending(zmq, code, url="tcp://127.0.0.1:1", limit=6):
    """Run a program to its end; return how it ended in words."""
    code = HEAD.format(module=zmq.__name__, url=url) + textwrap.dedent(code)
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return "it never ends"
    last = done.stderr.strip().rpartition("\n")[2]
    code = done.returncode
    how = f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
    return f"{how}, {'stderr: ' + last[:80] if last else 'nothing on stderr'}"


def delivered(zmq, code):
    """Run a program that sends to a peer here; return how it ended, and whether its message came."""
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL")
    pull.bind("tcp://127.0.0.1:*")
    how = ending(zmq, code, endpoint(zmq, pull))
    return f"{how}; {'the message arrived' if pull.poll(500) and len(pull.recv()) == 1000 else 'the message is lost'}"


@program(
    ENDING,
    "Contexts and sockets end in every order: sockets first, context first, neither, in a cycle, in a thread",
    GOOD,
    "test_exit.py::test_nothing_is_said_in_the_good_cases",
    "test_context.py::test_sockets_in_a_cycle_are_collected",
)
def every_order(zmq):
    codes = {
        "sockets first": "c = zmq.Context(); s = c.socket(zmq.PULL); del s; del c",
        "context first": "c = zmq.Context(); s = c.socket(zmq.PULL); del c; del s",
        "neither": "c = zmq.Context(); s = c.socket(zmq.PULL); p = zmq.Poller(); p.register(s)",
        "a cycle": "c = zmq.Context(); s = c.socket(zmq.PULL); l = [c, s]; l.append(l); del c, s, l",
        "a thread": """
            def work():
                c = zmq.Context(); s = c.socket(zmq.PULL); s.bind("tcp://127.0.0.1:*")
            t = threading.Thread(target=work); t.start(); t.join()""",
    }
    bad = {name: how for name, code in codes.items() if (how := ending(zmq, code)) != GOOD}
    return "; ".join(f"{name}: {how}" for name, how in bad.items()) or GOOD


@program(
    ENDING,
    "A daemon thread waits in recv",
    GOOD,
    "test_exit.py::test_a_daemon_thread_that_waits_does_not_hold_the_exit_up",
)
def daemon_thread(zmq):
    return ending(
        zmq,
        """
        c = zmq.Context(); s = c.socket(zmq.PULL); s.bind("tcp://127.0.0.1:*")
        t = threading.Thread(target=s.recv, daemon=True); t.start()
        while open(f"/proc/self/task/{t.native_id}/stat").read().rpartition(")")[2].split()[0] != "S": pass
        """,
    )


@program(
    ENDING,
    "A handler of atexit makes a context and sends",
    f"{GOOD}; the message arrived",
    "test_exit.py::test_what_was_sent_arrives",
)
def atexit_handler(zmq):
    return delivered(zmq, f"@atexit.register\ndef work():\n    {OPEN}")


@program(
    ENDING,
    "The program returns at once after a send; its linger was never set",
    f"{GOOD}; the message arrived",
    "test_exit.py::test_what_was_sent_arrives",
)
def send_and_return(zmq):
    return delivered(zmq, OPEN)


@program(
    ENDING,
    "The same, and the context was dropped in a function",
    f"{GOOD}; the message arrived",
    "test_context.py::test_what_a_dropped_socket_has_queued_arrives",
)
def send_and_drop(zmq):
    return delivered(zmq, f"def work():\n    {OPEN}\nwork()")


@program(
    ENDING,
    "os._exit with an unsent message",
    "exit code 3, nothing on stderr",
    "test_exit.py::test_os_exit_waits_for_nothing",
)
def os_exit(zmq):
    return ending(zmq, f"{OPEN}; os._exit(3)")


@program(
    ENDING,
    "An exception that nobody catches, with open sockets",
    "exit code 1, stderr: RuntimeError: mine",
    "test_exit.py::test_an_unhandled_exception_keeps_its_exit_code",
)
def exception(zmq):
    return ending(zmq, "c = zmq.Context(); s = c.socket(zmq.PULL)\nraise RuntimeError('mine')")


@program(
    ENDING,
    "asyncio: the loop is closed, or not, with a receive that waits",
    GOOD,
    "test_aio_reliability.py::test_a_process_that_ends_with_operations_says_nothing",
)
def asyncio_loops(zmq):
    head = f"""
        from {zmq.__name__}.asyncio import Context
        c = Context(); s = c.socket(zmq.PULL); s.bind("tcp://127.0.0.1:*")
        async def work():
            global waiting
            waiting = s.recv()
            await asyncio.sleep(0)
        loop = asyncio.new_event_loop(); loop.run_until_complete(work())
        """
    closed = ending(zmq, head + "loop.close()")
    kept = ending(zmq, head)
    return closed if closed == kept else f"closed: {closed}; not closed: {kept}"


@program(
    ENDING,
    "An unsent message to an absent peer, linger never set (`exit_linger` 1500 ms)",
    "exit code 0, stderr: zmqcy: gave up messages that could not be sent: PUSH tcp://127.0.0.1:1",
    "test_exit.py::test_a_peer_that_is_absent_is_waited_for_so_long_and_named",
)
def absent_peer(zmq):
    return ending(zmq, f"zmq.exit_linger = 1500; {OPEN}")


@program(
    ENDING,
    "An unsent message to an absent peer, linger 900 ms",
    f"{GOOD}; linger kept",
    "test_exit.py::test_a_linger_that_was_set_is_kept_to_the_letter",
)
def absent_peer_linger(zmq):
    start = time.monotonic()
    how = ending(zmq, f"{OPEN}; s.linger = 900")
    return f"{how}; linger {'kept' if time.monotonic() - start > 0.9 else 'cut short'}"


@program(
    ENDING,
    "An unsent message to a peer that died, linger never set (`exit_linger` 100 ms)",
    GOOD,
    "test_exit.py::test_an_exit_linger_of_zero_drops_without_a_word",
)
def dead_peer(zmq):
    return ending(
        zmq,
        """
        zmq.exit_linger = 100
        c = zmq.Context(); a = c.socket(zmq.PULL); port = a.bind_to_random_port("tcp://127.0.0.1")
        s = c.socket(zmq.PUSH); s.connect(f"tcp://127.0.0.1:{port}"); s.send(b"1"); a.recv(); a.close()
        for i in range(100): s.send(b"never")
        """,
    )


@program(
    ENDING,
    "A thousand messages to a slow peer, linger never set",
    f"{GOOD}; all arrived",
    "test_exit.py::test_what_was_sent_arrives",
)
def slow_peer(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL", rcvhwm=1, rcvbuf=4096)
    pull.bind("tcp://127.0.0.1:*")
    code = "c = zmq.Context(); s = c.socket(zmq.PUSH); s.connect(url)\nfor i in range(1000): s.send(b'x' * 1000)"
    waiting = started(ending, zmq, code, endpoint(zmq, pull))
    count = 0
    while pull.poll(1000):
        pull.recv()
        count += 1
        time.sleep(0.0002)  # it is the slow one
    return f"{joined(*waiting)[1:-1]}; {'all' if count == 1000 else count} arrived"


@program(
    ENDING,
    "A context is dropped with a message that cannot be sent: the collector",
    "the collector goes on",
    "test_context.py::test_a_dropped_context_ends_in_the_background",
)
def dropped_and_collected(zmq):
    how = ending(
        zmq, f"{OPEN}; l = [s, c]; l.append(l); del s, c, l; gc.collect(); print('went on'); os._exit(0)", limit=3
    )
    return "the collector goes on" if how == GOOD else how


@program(
    ENDING,
    "A context is dropped with a message that cannot be sent: the event loop",
    "the loop turns on",
    "test_aio_reliability.py::test_a_context_with_a_message_that_cannot_be_sent_is_dropped_without_blocking",
)
def dropped_in_a_loop(zmq):
    how = ending(
        zmq,
        f"""
        from {zmq.__name__}.asyncio import Context
        async def send():
            c = Context(); s = c.socket(zmq.PUSH); s.connect(url); await s.send(b"never")
        async def work():
            await send(); gc.collect(); await asyncio.sleep(0); os._exit(0)
        asyncio.run(work())""",
        limit=3,
    )
    return "the loop turns on" if how == GOOD else how


# ----------------------------------------------------------------------------------------------------------------- fork


@program(
    ENDING,
    "A socket and what reads its monitor go in a cycle, a hundred times: the collector",
    GOOD,
    "test_monitor.py::test_a_socket_and_its_watcher_go_in_a_cycle",
)
def monitored_in_a_cycle(zmq):
    return ending(
        zmq,
        """
        c = zmq.Context()
        for _ in range(100):
            s = c.socket(zmq.STREAM)
            s.linger = 0
            holder = [s.watch() if hasattr(s, "watch") else s.get_monitor_socket(), s]
            holder.append(holder)
            del holder, s
            gc.collect()
        c.term()
        """,
    )


FORK = "fork and multiprocessing"


def in_child(function, limit=3):
    """Run a call in a forked child, for so many seconds at most; return its outcome, or how the child was ended."""
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
    return said if code == 0 else f"ended by {signal.Signals(-code).name}"


@program(
    FORK,
    "A child uses a socket that it inherited; the parent goes on",
    "child: ForkedError; parent: b'unharmed'",
    "test_fork.py::test_a_child_cannot_use_its_parent_s_socket",
    "test_fork.py::test_a_child_cannot_poll_its_parent_s_sockets",
)
def inherited_socket(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    push.send(b"unharmed")
    pull.poll(LIMIT)
    said = in_child(pull.recv)
    return f"child: {said}; parent: {outcome(pull.recv)}"


@program(
    FORK,
    "A child makes a socket in a context that it inherited",
    "child: ForkedError",
    "test_fork.py::test_a_child_cannot_use_its_parent_s_socket",
)
def inherited_context(zmq):
    ctx = zmq.Context()
    make(zmq, ctx, "PULL")

    def work():
        a, b = pair(zmq, ctx)
        b.send(b"x")
        return a.recv()

    return f"child: {in_child(work)}"


@program(
    FORK,
    "A child closes and drops all that it inherited, and makes its own",
    "child: b'mine'; parent: b'unharmed'",
    "test_fork.py::test_closing_and_dropping_in_the_child_leaves_the_parent_s_socket_open",
    "test_fork.py::test_a_child_makes_its_own_contexts",
)
def own_context(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)

    def work():
        nonlocal ctx, pull, push
        pull.close()
        del pull, push, ctx
        gc.collect()
        with zmq.Context() as mine:
            a, b = pair(zmq, mine)
            b.send(b"mine")
            received = a.recv()
            a.close()
            b.close()
        return received

    said = in_child(work)
    push.send(b"unharmed")
    return f"child: {said}; parent: {outcome(pull.recv)}"


@program(
    FORK,
    "A child of a program with an unsent message returns",
    "child: exit code 5; parent: exit code 0, nothing on stderr",
    "test_fork.py::test_the_child_of_a_program_with_open_sockets_exits_as_always",
)
def child_returns(zmq):
    how = ending(
        zmq,
        f"""
        {OPEN}; s.linger = 0
        child = os.fork()
        if child == 0:
            sys.exit(5)
        for _ in range(200):
            done, status = os.waitpid(child, os.WNOHANG)
            if done: break
            time.sleep(0.01)
        else:
            os.kill(child, 9); os._exit(2)
        if os.waitstatus_to_exitcode(status) != 5: os._exit(3)
        """,
    )
    child = {"2": "never ends", "3": "another exit code"}.get(how[10:11], "exit code 5")
    return f"child: {child}; parent: {how if child == 'exit code 5' else 'goes on'}"


def use(url, module):
    """What a child of multiprocessing does: echo with sockets of its own."""
    zmq = importlib.import_module(module)
    with zmq.Context() as ctx:
        req = make(zmq, ctx, "REQ", linger=-1)
        req.connect(url)
        req.send(b"%d" % os.getpid())
        req.recv()
        req.close()


@program(
    FORK,
    "Children of multiprocessing by fork, forkserver and spawn talk to their parent",
    "all exit with 0",
    "test_fork.py::test_multiprocessing",
)
def children(zmq):
    ctx = zmq.Context()
    rep = make(zmq, ctx, "REP")
    rep.bind("tcp://127.0.0.1:*")
    codes = {}
    for method in ("fork", "forkserver", "spawn"):
        child = multiprocessing.get_context(method).Process(target=use, args=[endpoint(zmq, rep), zmq.__name__])
        child.start()
        rep.recv()
        rep.send(b"")
        child.join(LIMIT / 1000)
        codes[method] = child.exitcode
    bad = {method: code for method, code in codes.items() if code != 0}
    return f"exit codes {bad}" if bad else "all exit with 0"


@program(
    FORK,
    "A socket or a context is pickled, copied or copied deeply",
    "TypeError, which says what to do",
    "test_context.py::test_a_context_cannot_be_copied",
    "test_socket.py::test_a_socket_cannot_be_copied",
)
def copies(zmq):
    ctx = zmq.Context()
    socket = make(zmq, ctx, "PULL")
    said = {}
    for name, thing in {"socket": socket, "context": ctx}.items():
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            try:
                call(thing)
                how = "makes one"
            except TypeError as error:
                how = "TypeError, which says what to do" if "shadow()" in str(error) else f"TypeError: {error}"
            said.setdefault(how, []).append(f"{call.__name__} of a {name}")
    return next(iter(said)) if len(said) == 1 else "; ".join(f"{', '.join(who)}: {how}" for how, who in said.items())


# -------------------------------------------------------------------------------------------------------------- signals

SIGNALS = "Signals"


class Stop(Exception):
    """What a handler raises."""


@contextlib.contextmanager
def storm():
    """A signal every millisecond, whose handler returns."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@program(
    SIGNALS,
    "A signal every millisecond while 2,000 messages of two parts are sent, and 2,000 received; in connect and destroy",
    "nothing is lost",
    "test_signals.py::test_a_storm_loses_nothing",
    "test_signals.py::test_a_storm_in_the_sender_loses_nothing",
    "test_signals.py::test_term_goes_on_in_a_storm",
)
def storm_of_messages(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=2, sndhwm=2)
    numbers = [b"%d" % i for i in range(2000)]

    def send():
        for number in numbers:
            push.send_multipart([number, bytes(100)])

    def receive():
        return [pull.recv_multipart()[0] for _ in numbers] == numbers

    with storm():
        receiving = started(receive)
        send()
        if joined(*receiving) != "True":
            return "lost by send"
        sending = started(send)
        if not receive():
            return "lost by recv"
        joined(*sending)
        for _ in range(100):
            make(zmq, ctx, "PUSH").connect("tcp://localhost:1")
        ctx.destroy(0)
    return "nothing is lost"


def batches(zmq, pull, push):
    """Return what sends many messages and what receives so many: in a batch, or a loop where there are no batches."""
    if hasattr(push, "send_many"):
        return push.send_many, partial(whole, pull)
    return lambda messages: [push.send(each) for each in messages], lambda count: [pull.recv() for _ in range(count)]


def whole(pull, count):
    """Receive so many, in as many batches as it takes: one ends with what is there."""
    got = []
    while len(got) < count:
        got += pull.recv_many(count - len(got))
    return got


@program(
    SIGNALS,
    "The same in batches of `send_many` and `recv_many`; on pyzmq in a loop of send and of recv",
    "nothing is lost",
    "test_batches.py::test_a_storm_of_signals_in_the_sender",
    "test_batches.py::test_a_storm_of_signals_in_the_receiver",
)
def storm_of_batches(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=2, sndhwm=2)
    send, receive = batches(zmq, pull, push)
    numbers = [b"%d" % i for i in range(10_000)]
    with storm():
        receiving = started(lambda: receive(len(numbers)) == numbers)
        send(numbers)
        if joined(*receiving) != "True":
            return "lost by send"
        sending = started(send, numbers)
        if receive(len(numbers)) != numbers:
            return "lost by recv"
        joined(*sending)
    return "nothing is lost"


def lasting(calls):
    """Make calls whose time is up after 100 ms, in a storm of signals; return what is wrong with them."""
    wrong = []
    for name, call in calls.items():
        start = time.monotonic()
        with storm():
            said = outcome(call)
        if time.monotonic() - start < 0.1:
            wrong.append(f"{name} is cut short")
        elif said not in ("Again", "TimedOut", "0", "[]"):
            wrong.append(f"{name}: {said}")
    return "; ".join(wrong) or "each ends, and none too early"


@program(
    SIGNALS,
    "The same in recv and send with rcvtimeo and sndtimeo",
    "each ends, and none too early",
    "test_signals.py::test_a_storm_ends_no_wait_early",
)
def storm_of_timeouts(zmq):
    ctx = zmq.Context()
    pull, push = make(zmq, ctx, "PULL", rcvtimeo=100), make(zmq, ctx, "PUSH", sndtimeo=100)
    return lasting({"recv": pull.recv, "send": partial(push.send, b"x")})


@program(
    SIGNALS,
    "The same in poll and Poller.poll with a time",
    "each ends, and none too early",
    "test_signals.py::test_a_storm_ends_no_wait_early",
)
def storm_of_polls(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL")
    poller = zmq.Poller()
    poller.register(pull, zmq.POLLIN)
    return lasting({"poll": partial(pull.poll, 100), "Poller.poll": partial(poller.poll, 100)})


@program(
    SIGNALS,
    "The same in a proxy that forwards 5,000 messages",
    "all arrived in order",
    "test_device.py::test_a_signal_handler_that_returns_lets_the_device_go_on",
)
def storm_in_a_proxy(zmq):
    ctx = zmq.Context()
    into, push = pair(zmq, ctx)
    out, pull = pair(zmq, ctx, "PUSH", "PULL")
    numbers = [b"%d" % i for i in range(5000)]

    def work():
        for number in numbers:
            push.send(number)
        got = [pull.recv() for _ in numbers]
        os.kill(os.getpid(), signal.SIGUSR1)
        return got == numbers

    signal.signal(signal.SIGUSR1, raise_stop)
    with storm():
        working = started(work)
        said = outcome(zmq.proxy, into, out)
        arrived = joined(*working)
    return "all arrived in order" if arrived == "True" else f"{arrived}; proxy: {said}"


def raise_stop(*_):
    raise Stop


def all_interrupted(said):
    """Sum up what became of calls in which Ctrl-C came."""
    bad = {name: how for name, how in said.items() if how != "KeyboardInterrupt"}
    return "; ".join(f"{name}: {how}" for name, how in bad.items()) or "each raises KeyboardInterrupt"


@program(
    SIGNALS,
    "Ctrl-C in send, recv, poll, Poller.poll, proxy and term",
    "each raises KeyboardInterrupt",
    "test_signals.py::test_ctrl_c_ends_a_wait",
    "test_device.py::test_ctrl_c_ends_a_device",
)
def ctrl_c(zmq):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said = {}
    for name in ("recv", "send", "poll", "Poller.poll", "proxy", "term"):
        ctx = zmq.Context()
        pull, push = make(zmq, ctx, "PULL", rcvtimeo=-1), make(zmq, ctx, "PUSH", sndtimeo=-1)
        poller = zmq.Poller()
        poller.register(pull, zmq.POLLIN)
        call = {
            "recv": pull.recv, "send": partial(push.send, b""), "poll": pull.poll, "Poller.poll": poller.poll,
            "proxy": partial(zmq.proxy, pull, push), "term": ctx.term,
        }[name]  # fmt: skip
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        watch = threading.Timer(2, lambda name=name: (print(f"{name} goes on", flush=True), os._exit(0)))
        watch.start()
        said[name] = outcome(call)
        watch.cancel()
        push.close()
        pull.close()
        ctx.term()
    return all_interrupted(said)


@program(
    SIGNALS,
    "Ctrl-C in a batch of `send_many` that waits, and of `recv_many`; on pyzmq in a loop",
    "each raises KeyboardInterrupt",
    "test_batches.py::test_ctrl_c_ends_a_batch_that_a_peer_receives",
    "test_batches.py::test_the_count_after_ctrl_c",
)
def ctrl_c_in_a_batch(zmq):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=2, sndhwm=2, rcvtimeo=-1, sndtimeo=-1)
    idle = make(zmq, ctx, "PULL", rcvtimeo=-1)
    said = {}
    for name, call in {
        "send_many": partial(batches(zmq, pull, push)[0], [bytes(10_000)] * 100_000),  # more than TCP has room for
        "recv_many": partial(batches(zmq, idle, push)[1], 100),
    }.items():
        watch = threading.Timer(3, lambda name=name: (print(f"{name} goes on", flush=True), os._exit(0)))
        watch.start()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        said[name] = outcome(call)
        watch.cancel()
    return all_interrupted(said)


@program(
    SIGNALS,
    "A hundred times Ctrl-C in a stream of connect and disconnect",
    "each raises KeyboardInterrupt; the socket goes on",
)
def ctrl_c_in_connect(zmq):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctx = zmq.Context()
    pull, push = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
    pull.bind("tcp://127.0.0.1:*")

    def stream():
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while True:
            push.connect("tcp://localhost:1")
            push.disconnect("tcp://localhost:1")

    raised = {outcome(stream) for _ in range(100)}
    with contextlib.suppress(zmq.ZMQError):  # the last may have come before or after the disconnect
        push.disconnect("tcp://localhost:1")
    push.connect(endpoint(zmq, pull))
    push.send(b"x")
    return f"each raises {' or '.join(sorted(raised))}; the socket {'goes on' if pull.recv() == b'x' else 'is lost'}"


@program(
    SIGNALS,
    "A signal every millisecond while a device answers STATISTICS, 10,000 times",
    "each answer is whole; TERMINATE ends it",
    "test_device.py::test_a_signal_handler_that_returns_lets_the_device_go_on",
)
def storm_of_statistics(zmq):
    ctx = zmq.Context()
    into, out = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
    control, steer = pair(zmq, ctx, "PAIR", "PAIR", "inproc://control")

    def work():
        torn = 0
        for _ in range(10_000):
            steer.send(b"STATISTICS")
            torn += [len(part) for part in steer.recv_multipart()] != [8] * 8
        steer.send(b"TERMINATE")
        return f"{torn} answers are torn" if torn else "each answer is whole"

    working = started(work)
    with storm():
        said = outcome(zmq.proxy_steerable, into, out, None, control)
    if said.endswith("Error"):
        return said
    return f"{joined(*working)[1:-1]}; TERMINATE ends it"


@program(
    SIGNALS,
    "A hundred times a handler raises in a stream of sends of two parts",
    "every message that went arrived once, whole",
    "test_signals.py::test_a_handler_that_raises_ends_the_call",
)
def raising_handlers(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=0, sndhwm=0)
    signal.signal(signal.SIGALRM, raise_stop)
    number, sure = 0, set()
    for _ in range(100):
        # One that was interrupted may have gone or not: of those that returned there is no doubt.
        with contextlib.suppress(Stop):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            while True:
                number += 1
                push.send_multipart([b"%d" % number, bytes(1000)])
                sure.add(number)
    push.send_multipart([b"end", b""])
    got = []
    while not got or got[-1] != [b"end", b""]:
        got.append(pull.recv_multipart())
    torn = sum(len(message) != 2 for message in got)
    if torn:
        return f"{torn} are torn"
    numbers = [int(message[0]) for message in got[:-1]]
    right = numbers == sorted(set(numbers)) and sure <= set(numbers)
    return "every message that went arrived once, whole" if right else "some are lost or doubled"


@program(
    SIGNALS,
    "SIGTERM ends a proxy: what it has taken is sent on",
    "all arrived in order",
    "test_devices.py::test_a_process_drains",
    "test_devices.py::test_sigterm_ends_a_process_with_its_linger_kept",
)
def sigterm(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL")
    pull.bind("tcp://127.0.0.1:*")
    code = """
        c = zmq.Context(); a = c.socket(zmq.PULL); b = c.socket(zmq.PUSH)
        class Stop(Exception): pass
        def stop(*_): raise Stop
        port = a.bind_to_random_port("tcp://127.0.0.1"); b.connect(url)
        p = c.socket(zmq.PUSH); p.connect(url); p.send(b"%d" % port); p.close()
        signal.signal(signal.SIGTERM, stop)
        try:
            zmq.proxy(a, b)
        except Stop:
            while a.poll(1000): b.send(a.recv())
        b.close(); a.close(); c.term()
        """
    code = HEAD.format(module=zmq.__name__, url=endpoint(zmq, pull)) + textwrap.dedent(code)
    device = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    push = make(zmq, ctx, "PUSH")
    push.connect(f"tcp://127.0.0.1:{int(pull.recv())}")
    total = 20_000
    sending = started(lambda: [push.send(b"%d" % i) for i in range(total)])
    got = [pull.recv() for _ in range(100)]
    device.terminate()
    while pull.poll(3000):
        got.append(pull.recv())
        if len(got) == total:
            break
    ended = outcome(device.wait, 5)
    if ended != "0":
        device.kill()
    del sending
    right = got == [b"%d" % i for i in range(len(got))]
    if ended == "0" and right and len(got) == total:
        return "all arrived in order"
    return f"{'in order' if right else 'with gaps'}; exit code {ended}"


# ---------------------------------------------------------------------------------------------- memory and addresses

ADDRESSES = "Memory and addresses"


@program(
    ADDRESSES,
    "A bytearray of 10,000 bytes is sent over ws with copy=False by who connected, and so masks what it sends",
    "they arrive; the sender's stay as they were",
    "test_lending.py::test_what_is_lent_is_not_masked_in_place",
)
def masked_in_place(zmq):
    if not (zmq.has("ws") or zmq.has("WS")):
        return "skipped: this libzmq has no ws"
    ctx = zmq.Context()
    pull, push = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
    pull.bind("ws://127.0.0.1:*")
    push.connect(endpoint(zmq, pull).rstrip("/"))
    data = bytearray(b"x" * 10_000)
    push.send(data, copy=False)
    arrived = pull.recv() == b"x" * 10_000
    stayed = data == b"x" * 10_000
    return f"they {'arrive' if arrived else 'are others'}; the sender's {'stay as they were' if stayed else 'change'}"


@program(
    ADDRESSES,
    "A Frame of a derived class, of 0 to 100,000 bytes, is sent: alone, by copy=False, and as a part",
    "each arrives as it is",
    "test_frames.py::test_a_frame_of_a_derived_class_is_sent_as_one",
)
def derived_frames(zmq):
    class Mine(zmq.Frame):
        """Has something of its own."""

    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    wrong = set()
    for size in (0, 1, 33, 34, 5000, 100_000):
        data = os.urandom(size)
        for send in (push.send, partial(push.send, copy=False), lambda frame: push.send_multipart([frame, b""])):
            said = outcome(send, Mine(data))
            if said.endswith("Error"):
                wrong.add(said)
            elif pull.recv_multipart()[0] != data:
                wrong.add("what arrives is another")
    return " and ".join(sorted(wrong)) or "each arrives as it is"


@program(
    ADDRESSES,
    "A context of the other binding, which brought a libzmq of its own, is given to Context.shadow, and a socket made",
    "EFAULT",
    "test_interop.py::test_the_context_of_another_libzmq_is_refused",
)
def context_of_another_libzmq(zmq):
    try:
        other = importlib.import_module("zmq" if zmq.__name__ == "zmqcy" else "zmqcy")
    except ImportError:
        return "skipped: the other is not installed"
    with open("/proc/self/maps") as maps:
        if len({line.split()[-1] for line in maps if "libzmq" in line}) < 2:
            return "skipped: both use the same libzmq"

    def work():
        theirs = other.Context()
        used = theirs.socket(other.PULL)
        ours = zmq.Context.shadow(theirs.underlying).socket(zmq.PUSH)
        used.bind("inproc://x")
        ours.connect("inproc://x")
        ours.send(b"x")
        return f"made, and {used.recv()} came"

    return in_child_quietly(work)


@program(
    ADDRESSES,
    "bind to the ipc path of a file that is not a socket",
    "EADDRINUSE; the file is there",
    "test_socket.py::test_a_bind_deletes_no_file",
)
def file_at_a_path(zmq):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/precious.txt"
        with open(path, "w") as file:
            file.write("precious")
        try:
            make(zmq, zmq.Context(), "REP").bind(f"ipc://{path}")
            said = "bound"
        except zmq.ZMQError as error:
            said = errno.errorcode[error.errno]
        return f"{said}; the file is {'there' if os.path.isfile(path) else 'deleted'}"


@program(
    ADDRESSES,
    "connect to a local port where nobody listens, and TCP takes that port for the client's end too: a DEALER; a PUSH",
    "it receives what it sends; it does not try again",
    "test_monitor.py::test_a_connection_to_itself_is_no_peer",
    "test_monitor.py::test_a_connection_to_itself_that_ends_at_once_is_told",
    "test_network.py::test_a_source_address_keeps_a_client_from_connecting_to_itself",
)
def connection_to_itself(zmq):
    ctx = zmq.Context()

    def connect(socket_type, **options):
        with system.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        client = make(zmq, ctx, socket_type, **options)
        monitor = client.get_monitor_socket()
        monitor.rcvtimeo = LIMIT
        client.connect(f"tcp://127.0.0.1:{port};127.0.0.1:{port}")
        return client, monitor

    dealer, _ = connect("DEALER")
    dealer.send(b"x")
    said = "it receives what it sends" if dealer.recv() == b"x" else "it receives another message"
    _push, monitor = connect("PUSH", reconnect_ivl=1)
    while int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder) != zmq.EVENT_DISCONNECTED:
        pass
    monitor.rcvtimeo = 500
    again = outcome(monitor.recv_multipart)
    return f"{said}; it {'does not try' if again in ('Again', 'TimedOut') else 'tries'} again"


@program(ADDRESSES, "The SOCKS proxy of a client is down, and the client is closed", "SIGABRT")
def proxy_that_is_down(zmq):
    def work():
        ctx = zmq.Context()
        push = make(zmq, ctx, "PUSH")
        push.setsockopt(zmq.SOCKS_PROXY, b"127.0.0.1:1")
        monitor = push.get_monitor_socket()
        monitor.rcvtimeo = LIMIT
        push.connect("tcp://127.0.0.1:2")
        while int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder) != zmq.EVENT_CONNECT_RETRIED:
            pass
        push.disable_monitor()
        push.close()
        ctx.term()
        return "ended"

    return in_child_quietly(work).partition(" ")[0]


# --------------------------------------------------------------------------------------------------------------- limits

LIMITS = "Limits"


def take_descriptors(limit=80):
    """Take all descriptors that there are; return them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    return taken


def in_child_quietly(work, *arguments):
    """Run a work in a forked child; return its result, or the errno of its error, or how libzmq ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 2)  # what libzmq says when it aborts
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


@program(
    LIMITS,
    "No descriptor left, or 1 to 30: a context and its first socket",
    "EMFILE or made",
    "test_context.py::test_no_descriptors_left",
)
def descriptors_of_a_context(zmq):
    def work(free):
        for fd in take_descriptors()[:free]:
            os.close(fd)
        zmq.Context().socket(zmq.PUSH)
        return "made"

    return " or ".join(sorted({in_child_quietly(work, free) for free in range(31)}))


def starved(zmq, call):
    """Make a call with 0 to 5 free descriptors in a context that runs; return what came of it each time."""

    def work(free):
        ctx = zmq.Context()
        listener, socket = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
        listener.bind("tcp://127.0.0.1:*")
        taken = take_descriptors()
        for fd in taken[:free]:
            os.close(fd)
        try:
            call(ctx, socket, endpoint(zmq, listener))
        finally:
            for fd in taken[free:]:
                os.close(fd)
        socket.connect(endpoint(zmq, listener))
        socket.send(b"x")
        return "done" if listener.recv() == b"x" else "lost"

    return " or ".join(sorted({in_child_quietly(work, free) for free in range(6)}))


@program(
    LIMITS,
    "The same in a context that runs, with 0 to 5 left: one more socket",
    "EMFILE or done",
    "test_context.py::test_no_descriptors_left",
)
def descriptors_of_a_socket(zmq):
    return starved(zmq, lambda ctx, socket, url: ctx.socket(zmq.PUSH))


@program(
    LIMITS,
    "The same: bind of tcp",
    "EMFILE or done",
    "test_context.py::test_an_endpoint_without_descriptors",
)
def descriptors_of_a_bind(zmq):
    return starved(zmq, lambda ctx, socket, url: socket.bind("tcp://127.0.0.1:*"))


@program(
    LIMITS,
    "The same: connect of tcp from an address of one's own",
    "EMFILE or done",
    "test_context.py::test_an_endpoint_without_descriptors",
)
def descriptors_of_an_address(zmq):
    def call(ctx, socket, url):
        socket.connect(url.replace("tcp://", "tcp://127.0.0.1:0;"))
        time.sleep(0.2)  # it is libzmq's thread that looks for the address

    return starved(zmq, call)


@program(LIMITS, "The same: bind of ipc", "EMFILE or done")
def descriptors_of_a_bind_of_ipc(zmq):
    def call(ctx, socket, url):
        socket.bind(f"ipc:///tmp/zmq-{os.getpid()}")
        os.unlink(f"/tmp/zmq-{os.getpid()}")

    return starved(zmq, call)


@program(
    LIMITS,
    "The same: connect and accept over tcp, with descriptors free again a moment later",
    "done",
)
def descriptors_of_a_connect(zmq):
    def call(ctx, socket, url):
        socket.connect(url)
        time.sleep(0.2)  # for libzmq's thread, which tries and fails

    return starved(zmq, call)


@program(
    LIMITS,
    "The same, with none left: a peer connects over ipc",
    "SIGABRT",
    "test_context.py::test_an_ipc_bind_warns_where_few_descriptors_are_left",
)
def descriptors_of_an_ipc_listener(zmq):
    def work():
        with tempfile.TemporaryDirectory() as folder:
            pull, push = pair(zmq, zmq.Context(), url=f"ipc://{folder}/first")
            push.send(b"x")
            pull.recv()  # all threads run
            peer = subprocess.Popen(
                [sys.executable, "-S", "-c", "import socket, sys; s = socket.socket(socket.AF_UNIX); input(); "
                 "s.connect(sys.argv[1]); input()", f"{folder}/first"], stdin=subprocess.PIPE,
            )  # fmt: skip
            take_descriptors()
            peer.stdin.write(b"\n")
            peer.stdin.flush()
            try:
                return "lives" if pull.poll(2000) == 0 else "a message came"
            finally:
                peer.kill()

    return in_child_quietly(work).partition(" ")[0]


@program(
    LIMITS,
    "No memory for a message of 200 MB that comes over tcp to a bound socket",
    "it is lost; the next one arrives",
    "test_memory.py::test_a_message_without_memory_stays",
)
def no_memory(zmq):
    reader, writer = os.pipe()

    def work():
        ctx = zmq.Context()
        pull = make(zmq, ctx, "PULL")
        pull.bind("tcp://127.0.0.1:*")
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, -1))
        os.write(writer, endpoint(zmq, pull).encode())
        return "it is lost; the next one arrives" if pull.recv() == b"small" else "it arrives"

    def feed():
        url = os.read(reader, 1000).decode()
        push = make(zmq, zmq.Context(), "PUSH", immediate=1, sndtimeo=1000)
        push.connect(url)
        push.send(bytes(200_000_000))
        while True:
            push.send(b"small")

    started(feed)
    return in_child_quietly(work)


@program(
    LIMITS,
    "A message longer than maxmsgsize",
    "the peer is cut off; the others go on",
    "test_options_effects.py::test_maxmsgsize",
)
def maxmsgsize(zmq):
    ctx = zmq.Context()
    pull, bad = pair(zmq, ctx, maxmsgsize=1000)
    good = make(zmq, ctx, "PUSH")
    good.connect(endpoint(zmq, pull))
    bad.send(bytes(2000))
    good.send(b"good")
    got = pull.recv()
    return "the peer is cut off; the others go on" if got == b"good" and not pull.poll(200) else f"{len(got)} bytes"


@program(
    LIMITS,
    "More sockets than max_sockets",
    "EMFILE",
    "test_context.py::test_more_sockets_than_max_sockets",
)
def max_sockets(zmq):
    ctx = zmq.Context()
    ctx.set(zmq.MAX_SOCKETS, 3)
    sockets = []
    try:
        for _ in range(10):
            sockets.append(make(zmq, ctx, "PUSH"))
        return f"{len(sockets)} sockets"
    except zmq.ZMQError as error:
        return errno.errorcode[error.errno]


@program(
    LIMITS,
    "600 sockets connect over inproc to a name that nobody binds, are closed, and the context ends",
    "ended",
    "test_context.py::test_who_waits_for_a_name_of_inproc_is_let_go_in_the_end",
)
def names_that_nobody_binds(zmq):
    def end():
        ctx = zmq.Context()
        for _ in range(600):
            socket = make(zmq, ctx, "DEALER")
            socket.linger = 0
            socket.connect("inproc://nobody")
            socket.close()
        ctx.term()
        return "ended"

    return in_child_quietly(end)


@program(
    LIMITS,
    "`max_sockets` is set to 0, or to 2,147,483,647, and the first socket made",
    "EINVAL; EINVAL",
    "test_context.py::test_what_libzmq_could_not_start_its_threads_with",
)
def max_sockets_out_of_range(zmq):
    def first_socket(value):
        ctx = zmq.Context()
        ctx.set(zmq.MAX_SOCKETS, value)
        ctx.socket(zmq.PUSH)
        return "made"

    return "; ".join(in_child_quietly(first_socket, value) for value in (0, 2**31 - 1))


@program(
    LIMITS,
    "Options with which libzmq cannot start its threads later: a million io_threads, processor 1,000",
    "io_threads: EINVAL; thread_affinity_cpu_add: EINVAL",
    "test_context.py::test_what_libzmq_could_not_start_its_threads_with",
)
def options_for_later(zmq):
    def first_socket(option, value):
        ctx = zmq.Context()
        ctx.set(getattr(zmq, option), value)
        ctx.socket(zmq.PUSH)
        return "made"

    options = {"io_threads": ("IO_THREADS", 1_000_000), "thread_affinity_cpu_add": ("THREAD_AFFINITY_CPU_ADD", 1000)}
    return "; ".join(f"{name}: {in_child_quietly(first_socket, *option)}" for name, option in options.items())


@program(
    LIMITS,
    "A bind with use_fd, which is a file",
    "EINVAL",
    "test_options_effects.py::test_use_fd_of_what_does_not_listen",
)
def file_for_a_listener(zmq):
    def bind():
        socket = make(zmq, zmq.Context(), "PULL", use_fd=os.open(os.devnull, os.O_RDONLY))
        socket.bind("tcp://127.0.0.1:*")
        return f"bound, {socket.poll(500)} events"  # a thread of libzmq looks at it

    return in_child_quietly(bind)


@program(
    LIMITS,
    "ipc on a full disk (a small tmpfs)",
    "ENOSPC; the socket goes on",
)
def full_disk(zmq):
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "none", folder], capture_output=True, text=True
        )
        if mounted.returncode:
            return "skipped: a tmpfs cannot be mounted here"
        try:
            with contextlib.suppress(OSError):
                for i in range(10):
                    open(f"{folder}/{i}", "w").close()
            ctx = zmq.Context()
            pull = make(zmq, ctx, "PULL")
            try:
                pull.bind(f"ipc://{folder}/socket")
                said = "bound"
            except zmq.ZMQError as error:
                said = errno.errorcode[error.errno]
            pull.bind("tcp://127.0.0.1:*")
            push = make(zmq, ctx, "PUSH")
            push.connect(endpoint(zmq, pull))
            push.send(b"x")
            return f"{said}; the socket goes on" if pull.recv() == b"x" else said
        finally:
            subprocess.run(["umount", folder], check=True)


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@program(
    LIMITS,
    "500 peers of one ROUTER (10,000 in the long form)",
    "each is answered",
)
def many_peers(zmq):
    each, processes = (2500, 4) if LONG else (250, 2)  # a process has not descriptors enough for all of them
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    reader, writer = os.pipe()
    with zmq.Context() as ctx:  # all is imported: a child would wait for ever for what is being imported at its fork
        make(zmq, ctx, "DEALER").close()

    def work():
        url = os.read(reader, 40).decode().strip()
        ctx = zmq.Context()
        ctx.set(zmq.MAX_SOCKETS, each + 10)
        peers = [make(zmq, ctx, "DEALER", rcvtimeo=60_000) for _ in range(each)]
        for i, peer in enumerate(peers):
            peer.connect(url)
            peer.send(b"%d" % i)
        return all(peer.recv() == b"%d" % i for i, peer in enumerate(peers))

    with ThreadPoolExecutor(processes) as pool:
        children = [pool.submit(in_child, work, 120) for _ in range(processes)]
        router = make(zmq, zmq.Context(), "ROUTER", backlog=1000, rcvtimeo=60_000)
        router.bind("tcp://127.0.0.1:*")
        for _ in range(processes):
            os.write(writer, endpoint(zmq, router).encode().ljust(40))
        for _ in range(each * processes):
            router.send_multipart(router.recv_multipart())
        said = {child.result() for child in children}
    return "each is answered" if said == {"True"} else " and ".join(said)


@program(
    LIMITS,
    "20,000 sockets made, bound and closed (1,000,000 in the long form)",
    "memory and descriptors stay flat",
    "test_context.py::test_descriptors_are_given_back",
)
def many_sockets(zmq):
    ctx = zmq.Context()

    def work(count):
        for i in range(count):
            socket = ctx.socket(zmq.PULL)
            socket.bind(f"inproc://{i}")
            socket.close()
            if i % 500 == 0:  # libzmq's thread closes them, and may be slower
                wait_until(lambda: len(os.listdir("/proc/self/fd")) < 50, "descriptors are given back")

    work(2000)
    before = resident()
    work(1_000_000 if LONG else 20_000)
    grown = resident() - before
    return "memory and descriptors stay flat" if grown < 8_000_000 else f"grows by {grown / 1e6:.0f} MB"


@program(
    LIMITS,
    "A peer that never reads: 100,000 tries to send 10 KB",
    "Again; memory stays flat",
    "test_socket.py::test_at_the_high_water_mark_nothing_is_lost",
)
def never_reads(zmq):
    ctx = zmq.Context()
    _, push = pair(zmq, ctx, rcvhwm=100, sndhwm=100)  # the peer is there, and does not read
    message = bytes(10_000)

    def work(count):
        refused = 0
        for _ in range(count):
            try:
                push.send(message, zmq.DONTWAIT)
            except zmq.Again:
                refused += 1
        return refused

    while not work(10_000):
        pass
    before = resident()
    refused = work(100_000)
    grown = resident() - before
    said = "Again" if refused else "all went"
    return f"{said}; memory stays flat" if grown < 8_000_000 else f"{said}; grows by {grown / 1e6:.0f} MB"


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
    faulty, module = sys.argv[1:]
    print(PROGRAMS[faulty].function(importlib.import_module(module)), flush=True)
    os._exit(0)  # how a program ends is a matter of those that ask for it
