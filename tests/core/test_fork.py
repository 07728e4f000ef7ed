"""fork: the child exits as always, makes its own contexts, and touches none of its parent's sockets."""

import multiprocessing
import os
import warnings

import pytest

import zmqcy

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_child(function):
    """Run a function in a forked child; return what it said, and its exit code."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writer, str(function()).encode())
            code = 0
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    return said, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


CALLS = {
    "send": lambda a: a.send(b""),
    "recv": lambda a: a.recv(zmqcy.DONTWAIT),
    "try_recv": lambda a: a.try_recv(),
    "send_multipart": lambda a: a.send_multipart([b"", b""]),
    "recv_multipart": lambda a: a.recv_multipart(),
    "poll": lambda a: a.poll(0),
    "set": lambda a: setattr(a, "linger", 0),
    "get": lambda a: a.linger,
    "bind": lambda a: a.bind("inproc://child"),
    "socket": lambda a: a.context.socket(zmqcy.PUSH),
    "io_threads": lambda a: a.context.io_threads,
    "proxy": lambda a: zmqcy.proxy(a, a),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_child_cannot_use_its_parent_s_socket(near, call):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    said, code = in_child(lambda: CALLS[call](a))
    assert said.startswith("ForkedError: ")
    assert code == 1
    b.send(b"unharmed")
    assert a.recv() == b"unharmed"


def test_a_child_cannot_poll_its_parent_s_sockets(pair):
    a, b = pair(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    poller.register(a, zmqcy.POLLIN)
    b.send(b"x")
    assert poller.poll(5000) == [(a, zmqcy.POLLIN)]
    said, _ = in_child(lambda: poller.poll(0))
    assert said.startswith("ForkedError: poll (PAIR): the socket was made before the fork")
    assert poller.poll(0) == [(a, zmqcy.POLLIN)]


def test_closing_and_dropping_in_the_child_leaves_the_parent_s_socket_open(ctx):
    a, b = ctx.socket(zmqcy.PAIR, linger=0), ctx.socket(zmqcy.PAIR, linger=0)
    a.bind("inproc://parent")
    b.connect("inproc://parent")

    def child():
        nonlocal a, b
        a.close()
        with b:
            pass
        ctx.term()
        ctx.destroy()
        closed = a.closed, b.closed, ctx.closed
        del a, b
        return closed

    assert in_child(child) == ("(True, True, True)", 0)
    assert not a.closed
    b.send(b"unharmed")
    assert a.recv() == b"unharmed"


def test_a_child_makes_its_own_contexts(socket):
    pull = socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    endpoint = pull.last_endpoint
    parent = zmqcy.Context.instance()

    def child():
        assert zmqcy.Context.instance() is not parent
        with zmqcy.Context.instance() as context:
            push = context.socket(zmqcy.PUSH)
            push.connect(endpoint)
            push.send(b"from the child")
            push.close()
        return "done"

    assert in_child(child) == ("done", 0)
    assert pull.recv() == b"from the child"
    assert zmqcy.Context.instance() is parent
    parent.term()


def test_the_child_of_a_program_with_open_sockets_exits_as_always(run):
    done = run("""
        import os, sys, zmqcy
        zmqcy.exit_linger = 60_000
        c = zmqcy.Context()
        s = c.socket(zmqcy.PUSH)
        s.connect("tcp://127.0.0.1:1")
        s.send(b"never")
        child = os.fork()
        if child == 0:
            sys.exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        s.close(0)
        print("parent")
    """, env={"PYTHONWARNINGS": "ignore"}, timeout=30)  # fmt: skip
    assert done.stdout == "parent\n"


def echo(endpoint):
    with zmqcy.Context() as context, context.socket(zmqcy.REQ) as req:
        req.connect(endpoint)
        req.send(b"%d" % os.getpid())
        req.recv()


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(socket, method):
    rep = socket(zmqcy.REP)
    rep.bind("tcp://127.0.0.1:*")
    endpoint = rep.last_endpoint
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        children = [multiprocessing.get_context(method).Process(target=echo, args=[endpoint]) for _ in range(2)]
        for child in children:
            child.start()
    pids = set()
    for _ in children:
        pids.add(int(rep.recv()))
        rep.send(b"")
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    assert pids == {child.pid for child in children}
