"""fork: the child exits normally, creates its own contexts, and does not use its parent's sockets."""

import contextlib
import gc
import multiprocessing
import os
import threading
import time
import warnings

import pytest

import zmqcy
import zmqcy.asyncio


def in_child(function):
    """Run a function in a forked child. Return its output and exit code."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns about forks with threads
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


SHADOWS = {
    "of it": zmqcy.Socket.shadow,
    "of its address": lambda a: zmqcy.Socket.shadow(a.underlying),
    "of a shadow": lambda a: zmqcy.Socket.shadow(zmqcy.Socket.shadow(a)),
    "asynchronous": zmqcy.asyncio.Socket.shadow,
}
SHADOW_CALLS = {
    **{name: CALLS[name] for name in ("poll", "set", "get", "bind", "try_recv")},
    "events": lambda a: a.events,
    "fileno": lambda a: a.fileno(),
    "underlying": lambda a: a.underlying,
    "shadow": zmqcy.Socket.shadow,
}
CONTEXT_CALLS = {
    "socket": lambda c: c.socket(zmqcy.PUSH),
    "get": lambda c: c.io_threads,
    "underlying": lambda c: c.underlying,
    "shadow": zmqcy.Context.shadow,
}


def allowed_in(things, calls):
    """Return the calls that do not raise."""
    allowed = []
    for how, thing in things.items():
        for name, call in calls.items():
            with contextlib.suppress(zmqcy.ForkedError):
                if name not in ("poll", "try_recv") or not isinstance(thing, zmqcy.asyncio.Socket):
                    call(thing)
                    allowed.append((how, name))
    return allowed


def test_a_child_cannot_use_its_parent_s_shadows(near):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    shadows = {how: make(a) for how, make in SHADOWS.items()}
    contexts = {"of it": zmqcy.Context.shadow(a.context), "of its address": zmqcy.Context.shadow(a.context.underlying)}

    def child():
        allowed = allowed_in({"itself": a, **shadows}, SHADOW_CALLS), allowed_in(contexts, CONTEXT_CALLS)
        texts = [repr(each) for each in (a, *shadows.values(), *contexts.values())]
        for each in shadows.values():
            each.close()
        for each in contexts.values():
            each.term()
            each.destroy()
        closed = [each.closed for each in (*shadows.values(), *contexts.values())]
        shadows.clear()
        contexts.clear()
        gc.collect()
        return allowed, len(texts), all(closed)

    assert in_child(child) == ("(([], []), 7, True)", 0)
    for each in (a, *shadows.values()):
        assert not each.closed
    for how in ("of it", "of its address", "of a shadow"):
        b.send(b"unharmed")
        assert shadows[how].recv() == b"unharmed"
    for each in contexts.values():
        each.socket(zmqcy.PUSH).close()


def test_a_child_that_is_forked_while_a_thread_is_in_a_shadow_can_exit(near):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    shadow, got = zmqcy.Socket.shadow(a), []
    thread = threading.Thread(target=lambda: got.append(shadow.recv()))
    thread.start()
    deadline = time.monotonic() + 10
    while not a._is_busy():
        assert time.monotonic() < deadline

    def child():
        nonlocal a, shadow
        allowed = allowed_in({"itself": a, "shadow": shadow}, SHADOW_CALLS)
        shadow.close()
        a.close()
        a.context.destroy()
        del a, shadow
        gc.collect()
        return allowed

    assert in_child(child) == ("[]", 0)
    b.send(b"unharmed")
    thread.join(10)
    assert got == [b"unharmed"]


def test_the_child_of_a_program_with_shadows_exits_as_always(run):
    done = run("""
        import os, sys, zmqcy, zmqcy.asyncio
        zmqcy.exit_linger = 60_000
        c = zmqcy.Context()
        s = c.socket(zmqcy.PUSH)
        s.connect("tcp://127.0.0.1:1")
        s.send(b"never")
        kept = [zmqcy.Socket.shadow(s), zmqcy.Socket.shadow(s.underlying), zmqcy.asyncio.Socket.shadow(s)]
        kept += [zmqcy.Socket.shadow(kept[0]), zmqcy.Context.shadow(c), zmqcy.Context.shadow(c.underlying)]
        kept += [kept[-1].socket(zmqcy.PULL)]
        child = os.fork()
        if child == 0:
            del s, c
            sys.exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        kept[0].close(0)
        print("parent")
    """, env={"PYTHONWARNINGS": "ignore"}, timeout=30)  # fmt: skip
    assert (done.stdout, done.stderr) == ("parent\n", "")


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
