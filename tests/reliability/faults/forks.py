"""Programs that fork, and that copy sockets and contexts."""

import copy
import gc
import importlib
import multiprocessing
import os
import pickle

from ending import OPEN, ending
from program import LIMIT, endpoint, in_child, make, outcome, pair, program

FORK = "fork and multiprocessing"


@program(
    FORK,
    "A child uses an inherited socket; the parent continues",
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
    "A child creates a socket in an inherited context",
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
    "A child closes and drops all inherited objects, and creates a context of its own",
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
    "A child exits while its parent has an unsent message",
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
    child = {"2": "hangs", "3": "another exit code"}.get(how[10:11], "exit code 5")
    return f"child: {child}; parent: {how if child == 'exit code 5' else 'continues'}"


def use(url, module):
    """The child of multiprocessing: send and receive with its own sockets."""
    zmq = importlib.import_module(module)
    with zmq.Context() as ctx:
        req = make(zmq, ctx, "REQ", linger=-1)
        req.connect(url)
        req.send(b"%d" % os.getpid())
        req.recv()
        req.close()


@program(
    FORK,
    "Children of multiprocessing (fork, forkserver, spawn) exchange messages with their parent",
    "all exit with code 0",
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
    return f"exit codes {bad}" if bad else "all exit with code 0"


@program(
    FORK,
    "A socket or a context is pickled, copied or deep-copied",
    "TypeError that says what to do instead",
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
                how = "makes a copy"
            except TypeError as error:
                how = "TypeError that says what to do instead" if "shadow()" in str(error) else f"TypeError: {error}"
            said.setdefault(how, []).append(f"{call.__name__} of a {name}")
    return next(iter(said)) if len(said) == 1 else "; ".join(f"{', '.join(who)}: {how}" for how, who in said.items())
