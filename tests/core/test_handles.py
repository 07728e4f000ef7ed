"""Handles that several objects share: a socket, its shadows, and the shadows of its context."""

import contextlib
import gc
import os
import sys
import weakref

import pytest
from rows import rows
from test_lifetimes import CONTEXTS, SHADOWS
from waits import until

import zmqcy
import zmqcy.asyncio
from zmqcy.compat import core as compat
from zmqcy.monitor import recv_monitor_message

LIMIT = 10  # seconds


@pytest.fixture
def within(thread):
    """Return a function that starts a call in a thread, and waits until that call is in the socket."""

    def start(socket, call, *arguments):
        outcome = thread(call, *arguments)
        until(socket._is_busy)
        return outcome

    return start


def holding(pull, push, parts):
    """Make a socket keep a message that did not fit into the buffers."""
    push.send_multipart(parts)
    with pytest.raises(zmqcy.ZMQError) as caught:
        pull.recv_multipart_into([])
    assert caught.value.errno == zmqcy.EMSGSIZE


def check_works(socket, peer):
    """Check the attributes of a PULL, and receive."""
    assert not socket.closed
    assert "PULL" in repr(socket)
    assert "closed" not in repr(socket)
    assert socket.fileno() >= 0
    assert socket.poll(0) == socket.events == 0
    peer.send(b"seen")
    assert socket.poll(0) == socket.events == zmqcy.POLLIN
    assert zmqcy.select([socket], [], [], 0)[0] == [socket]
    assert socket.recv() == b"seen"


def check_closed(socket):
    assert socket.closed
    assert "closed" in repr(socket)
    calls = [lambda: socket.events, socket.fileno, lambda: socket.linger]
    if not isinstance(socket, zmqcy.asyncio.Socket):
        calls += [lambda: socket.poll(0), socket.try_recv]
    for call in calls:
        with pytest.raises(zmqcy.ZMQError) as caught:
            call()
        assert caught.value.errno == zmqcy.ENOTSOCK
    socket.close()


# -------------------------------------------------------------------------------------------------- close during a call

WAITS = {
    "recv": lambda s: s.recv(),
    "recv_multipart": lambda s: s.recv_multipart()[0],
    "recv_many": lambda s: s.recv_many()[0],
    "poll": lambda s: s.poll() and s.recv(),
}


@rows("wait", WAITS)
@rows("where", ["the socket", "a shadow"])
def test_nobody_closes_a_handle_that_a_thread_is_in(near, within, where, wait):
    pull, push = near()
    shadows = [*(make(pull) for make in SHADOWS.values()), zmqcy.asyncio.Socket.shadow(pull)]
    result = within(pull, WAITS[wait], pull if where == "the socket" else shadows[3])
    for each in [pull, *shadows]:
        for close in (each.close, lambda each=each: each.close(linger=0)):
            with pytest.raises(zmqcy.SocketInUse, match=r"^close \(PULL\): another thread is in a call"):
                close()
        assert not each.closed
        assert "PULL" in repr(each)
    push.send(b"unharmed")
    assert result() == b"unharmed"
    for each in [pull, *shadows[::3]]:
        if type(each) is zmqcy.Socket:
            check_works(each, push)
    shadows[-1].close()
    for each in [pull, *shadows]:
        check_closed(each)


def test_the_end_of_a_with_block_waits_for_no_thread_in_the_socket_of_a_shadow(near, within):
    pull, push = near()
    result = within(pull, pull.recv)
    with pytest.raises(zmqcy.SocketInUse), zmqcy.Socket.shadow(pull):
        pass
    push.send(b"unharmed")
    assert result() == b"unharmed"
    check_works(pull, push)


def test_a_shadow_that_goes_leaves_the_call_of_another_thread_alone(near, within):
    pull, push = near()
    for make in SHADOWS.values():
        shadow = make(pull)
        result = within(pull, pull.recv)
        del shadow
        gc.collect()
        assert pull._is_busy()
        push.send(b"x")
        assert result() == b"x"
    check_works(pull, push)


# -------------------------------------------------------------------------------------------------- a second thread

USES = {
    "recv": lambda s: s.recv(zmqcy.DONTWAIT),
    "try_recv": lambda s: s.try_recv(),
    "recv_multipart": lambda s: s.recv_multipart(timeout=0),
    "recv_into": lambda s: s.recv_into(bytearray(1), timeout=0),
    "send": lambda s: s.send(b"", zmqcy.DONTWAIT),
    "try_send": lambda s: s.try_send(b""),
    "send_multipart": lambda s: s.send_multipart([b"a", b"b"], zmqcy.DONTWAIT),
    "poll": lambda s: s.poll(0),
    "events": lambda s: s.events,
    "set": lambda s: setattr(s, "linger", 0),
    "get": lambda s: s.linger,
    "bind": lambda s: s.bind("inproc://other"),
    "underlying": lambda s: s.underlying,
    "fileno": lambda s: s.fileno(),
}
PLACES = {
    "the socket, then a shadow": lambda a: (a, zmqcy.Socket.shadow(a)),
    "a shadow, then the socket": lambda a: (zmqcy.Socket.shadow(a), a),
    "two shadows": lambda a: (zmqcy.Socket.shadow(a), zmqcy.Socket.shadow(a.underlying)),
    "a shadow and its shadow": lambda a: (first := zmqcy.Socket.shadow(a), zmqcy.Socket.shadow(first)),
}


@rows("places", PLACES)
def test_a_second_thread_is_refused_whichever_object_it_takes(near, within, places):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    first, second = PLACES[places](a)
    result = within(a, first.recv)
    allowed = []
    for name, use in USES.items():
        try:
            with contextlib.suppress(zmqcy.Again):
                use(second)
            allowed.append(name)
        except zmqcy.SocketInUse as error:
            assert "another thread is in a call on this socket" in str(error)
    b.send(b"unharmed")
    got = result()
    assert allowed == []
    assert got == b"unharmed"
    assert b.try_recv() is None


# ---------------------------------------------------------------------------------------------------- kept parts


@rows("places", PLACES)
def test_parts_that_wait_are_those_of_all_objects_of_the_handle(near, places):
    pull, push = near()
    first, second = PLACES[places](pull)
    holding(first, push, [b"1", b"2", b"3"])
    push.send(b"next")
    assert second.poll(0) == zmqcy.POLLIN
    assert (second.recv(), second.rcvmore, first.rcvmore) == (b"1", True, True)
    assert (first.recv(), first.rcvmore, second.rcvmore) == (b"2", True, True)
    assert (second.recv(), second.rcvmore, first.rcvmore) == (b"3", False, False)
    assert first.recv() == b"next"


def test_parts_that_wait_outlive_the_shadow_whose_receive_failed(near):
    pull, push = near()
    shadow = zmqcy.Socket.shadow(pull)
    holding(shadow, push, [b"1", b"2"])
    del shadow
    gc.collect()
    assert pull.poll(0) == zmqcy.POLLIN
    assert pull.recv_multipart() == [b"1", b"2"]


# ----------------------------------------------------------------------------------------------- order of deletion


@rows("how", SHADOWS)
def test_a_handle_lives_as_long_as_one_of_its_objects(near, how):
    pull, push = near()
    shadow = SHADOWS[how](pull)
    gone = []
    kept = [weakref.ref(each, lambda _, name=name: gone.append(name)) for name, each in [("a", pull), ("b", shadow)]]
    del pull
    gc.collect()
    assert gone == ([] if isinstance(shadow, compat.Socket) else ["a"])  # a shadow of compat keeps its original
    check_works(shadow, push)
    del shadow
    gc.collect()
    assert sorted(gone) == ["a", "b"]
    del kept
    until(lambda: push.poll(0, zmqcy.POLLOUT) == 0)  # the peer has disconnected


@rows("how", SHADOWS)
def test_a_shadow_that_goes_leaves_its_socket_as_it_is(near, how):
    pull, push = near()
    for _ in range(3):
        shadow = SHADOWS[how](pull)
        check_works(shadow, push)
        gone = []
        kept = weakref.ref(shadow, lambda _: gone.append(pull.poll(0)))  # noqa: B023
        push.send(b"one")
        del shadow
        gc.collect()
        assert gone == [zmqcy.POLLIN]
        assert kept() is None
        assert pull.recv() == b"one"
        check_works(pull, push)
    pull.close()


def test_a_socket_and_a_shadow_that_refer_to_each_other_are_collected(ctx):
    class Kept(zmqcy.Socket):
        pass

    for make in (Kept.shadow, lambda a: Kept.shadow(a.underlying), lambda a: Kept.shadow(Kept.shadow(a))):
        pull = Kept(ctx, zmqcy.PULL)
        shadow = make(pull)
        pull.other, shadow.other = shadow, pull
        reference = weakref.ref(shadow)
        del pull, shadow
        gc.collect()
        assert reference() is None
        assert ctx._open_sockets() == []


GOING = """
    import sys, weakref
    import zmqcy, zmqcy.asyncio

    class Kept(zmqcy.Socket):
        pass

    class Going:
        def __init__(self, work):
            self.work = work
        def __del__(self):
            self.work()

    WORK = {
        "repr": lambda: repr(origin()), "events": lambda: origin().events, "poll": lambda: origin().poll(0),
        "close": lambda: origin().close(), "shadow": lambda: zmqcy.Socket.shadow(origin()),
        "address": lambda: zmqcy.Socket.shadow(origin().underlying), "is busy": lambda: origin()._is_busy(),
        "context": lambda: repr(context), "destroy": lambda: context.destroy(0),
        "another": lambda: context.socket(zmqcy.PULL, linger=0).close(),
    }
    for name, work in WORK.items():
        for how in ("attribute", "weak reference"):
            for kept in (True, False):  # False: the socket is deleted with its shadow
                context = zmqcy.Context()
                pull = context.socket(zmqcy.PULL)
                origin = weakref.ref(pull)
                shadow = Kept.shadow(pull)
                done = []
                def act():
                    if origin() is not None or name in ("context", "destroy", "another"):
                        work()
                    done.append(name)
                if how == "attribute":
                    shadow.going = Going(act)
                else:
                    reference = weakref.ref(shadow, lambda _: act())
                if not kept:
                    del pull
                del shadow
                assert done == [name], (name, how, kept)
                if kept:
                    pull.close()
                context.term(5000)
    print("the end")
"""


def test_what_runs_while_a_shadow_goes_may_use_its_socket(run):
    done = run(GOING, env={"PYTHONMALLOC": "debug", "PYTHONFAULTHANDLER": "1"})
    assert (done.stdout, done.stderr) == ("the end\n", "")


# -------------------------------------------------------------------------------------- code that runs during close


class Closing(zmqcy.Socket):
    """A socket that calls `act` while its handle is being closed."""

    act = staticmethod(lambda: None)

    def _leave(self):
        self.act()


def test_ctrl_c_while_a_socket_closes_comes_when_it_is_closed(ctx):
    def interrupt():
        raise KeyboardInterrupt

    for where in range(2):
        socket = Closing(ctx, zmqcy.PULL)
        socket.act = interrupt
        watcher = socket.watch()
        with pytest.raises(KeyboardInterrupt):
            (socket, zmqcy.Socket.shadow(socket))[where].close()
        assert socket.closed
        assert [event.name for event in watcher][-1] == "MONITOR_STOPPED"
        watcher.close()
        del socket, watcher
        gc.collect()
        assert ctx._open_sockets() == []


def test_what_fails_while_a_socket_closes_is_shown_and_the_others_are_told(ctx, monkeypatch):
    def fail():
        raise ValueError("on purpose")

    shown, told = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: shown.append(str(unraisable.exc_value)))
    first = Closing(ctx, zmqcy.PULL)
    second = Closing.shadow(first)
    first.act, second.act = lambda: told.append("first"), fail
    first.close()
    assert (shown, told) == (["on purpose"], ["first"])
    check_closed(first)
    check_closed(second)


def test_who_is_asked_to_let_go_finds_the_handle_in_use(ctx):
    first = Closing(ctx, zmqcy.PULL)
    second = zmqcy.Socket.shadow(first)
    found = []

    def act():
        shadow = zmqcy.Socket.shadow(second)
        shadows.append(shadow)
        for use in (*USES.values(), lambda socket: socket.close(), zmqcy.Poller().register):
            for socket in (first, second, shadow):
                try:
                    use(socket)
                except zmqcy.SocketInUse:
                    continue
                found.append(use)

    shadows = []
    first.act = act
    second.close()
    assert found == []
    for each in (first, second, *shadows):
        check_closed(each)


def test_a_fork_while_a_socket_closes_leaves_it_to_the_parent(run):
    done = run("""
        import os, warnings
        import zmqcy

        warnings.simplefilter("ignore", DeprecationWarning)

        class Closing(zmqcy.Socket):
            child = None

            def _leave(self):
                Closing.child = os.fork()

        with zmqcy.Context() as ctx:
            for make in (Closing, lambda *arguments: Closing.shadow(zmqcy.Socket(*arguments))):
                socket = make(ctx, zmqcy.PULL)
                address = socket.underlying
                socket.close()
                if Closing.child == 0:
                    del socket
                    zmqcy.Socket.shadow(address).linger  # fails if the child has closed the socket
                    os._exit(0)
                assert os.waitpid(Closing.child, 0)[1] == 0
        print("the end")
    """)
    assert (done.stdout, done.stderr) == ("the end\n", "")


def test_what_waits_behind_another_one_while_a_socket_closes_ends_too(run):
    """The second operation never tried again, so it did not notice the close."""
    done = run("""
        import asyncio
        import zmqcy, zmqcy.asyncio

        class Closing(zmqcy.Socket):
            def _leave(self):
                for _ in range(2000):  # until an operation yields to the event loop first
                    operation = shadow.recv()
                    if not operation.done():
                        break
                    operation.exception()
                operation.__await__()  # as in a task that has not continued yet
                waiting.extend([operation, shadow.recv()])

        async def main():
            global shadow, waiting
            waiting = []
            context = zmqcy.asyncio.Context()
            socket = Closing(context, zmqcy.PULL)
            shadow = zmqcy.asyncio.Socket.shadow(socket)
            await shadow.poll(0)
            socket.close()
            await asyncio.sleep(0.01)
            waiting[0].cancel() or waiting[0].exception()
            await asyncio.wait(waiting[1:], timeout=5)
            print(type(waiting[1].exception()).__name__, waiting[1].exception())
            await context.aclose()

        asyncio.run(main())
    """)
    assert (done.stdout, done.stderr) == ("ZMQError recv (PULL): the socket was closed\n", "")


# ---------------------------------------------------------------------------------------- repeated initialization


class Late(zmqcy.Socket):
    """A socket on which the tests call `zmqcy.Socket.__init__` later."""

    def __init__(self):
        pass


def test_a_socket_that_becomes_another_while_it_becomes_a_shadow_is_refused(ctx):
    other = ctx.socket(zmqcy.PULL)
    late = Late()

    class Address:
        @property
        def underlying(self):
            zmqcy.Socket.__init__(late, ctx, zmqcy.PUSH)
            return other.underlying

    with pytest.raises(RuntimeError, match="already initialised"):
        late._adopt(Address())
    assert late.socket_type == zmqcy.PUSH
    for each in (zmqcy.Socket.shadow(late), late, other):
        with pytest.raises(RuntimeError, match="already initialised"):
            each._adopt(other)
        with pytest.raises(RuntimeError, match="already initialised"):
            zmqcy.Socket.__init__(each, ctx, zmqcy.PULL)
        each.close()


# ------------------------------------------------------------------------------------------------------- monitors


@rows("how", ["the reader goes", "the reader leaves", "the reader outlives it"])
def test_a_monitor_ends_whose_socket_has_gone_before_its_shadow(ctx, thread, how):
    pull = ctx.socket(zmqcy.PULL)
    shadow = zmqcy.Socket.shadow(pull)
    reader = pull.get_monitor_socket()
    del pull
    gc.collect()
    if how == "the reader goes":
        reader.close()
    elif how == "the reader leaves":
        reader.disconnect(reader.last_endpoint)
    assert (shadow._feed is None) == (how != "the reader outlives it")
    thread(shadow.bind, "tcp://127.0.0.1:*")()  # libzmq writes an event, and must not block without a reader
    if how == "the reader outlives it":
        assert recv_monitor_message(reader)["event"] == zmqcy.Event.LISTENING
    shadow.close()


# -------------------------------------------------------------------------------------------- termination of a context


@rows("how", SHADOWS)
def test_a_context_waits_until_a_shadow_has_closed_its_socket(how):
    ctx = zmqcy.Context(linger=0)
    shadow = SHADOWS[how](ctx.socket(zmqcy.PULL))
    with pytest.raises(zmqcy.TimedOut, match="PULL"):
        ctx.term(timeout=1)
    for call in (shadow.recv, lambda: shadow.events, lambda: shadow.poll(0)):
        with pytest.raises(zmqcy.ContextTerminated):
            call()
    assert not shadow.closed
    shadow.close()
    ctx.term(timeout=LIMIT * 1000)
    check_closed(shadow)


def test_a_context_waits_until_the_last_shadow_has_gone():
    ctx = zmqcy.Context(linger=0)
    shadow = zmqcy.Socket.shadow(zmqcy.Socket.shadow(ctx.socket(zmqcy.PULL)))
    with pytest.raises(zmqcy.TimedOut):
        ctx.term(timeout=1)
    del shadow
    gc.collect()
    ctx.term(timeout=LIMIT * 1000)


@rows("place", ["the socket", "a shadow"])
@rows("how", CONTEXTS)
def test_destroy_wakes_a_thread_in_a_socket_or_in_a_shadow(within, how, place):
    ctx = zmqcy.Context(linger=0)
    pull = ctx.socket(zmqcy.PULL)
    objects = {"the socket": pull, "a shadow": zmqcy.Socket.shadow(zmqcy.Socket.shadow(pull))}
    result = within(pull, objects[place].recv)
    CONTEXTS[how](zmqcy.Context, ctx).destroy()
    assert isinstance(result(), zmqcy.ContextTerminated)
    assert ctx.closed
    assert all(each.closed for each in objects.values())
    for each in objects.values():
        each.close()


def threads():
    return {int(task) for task in os.listdir("/proc/self/task")}


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
@rows("how", CONTEXTS)
def test_the_last_of_a_context_and_its_shadows_ends_it(how):
    before = threads()
    ctx = zmqcy.Context(linger=0)
    shadow = CONTEXTS[how](zmqcy.Context, ctx)
    socket = shadow.socket(zmqcy.PUSH)
    own = threads() - before
    assert own
    del ctx
    gc.collect()
    assert own <= threads()
    assert socket in shadow._open_sockets()
    del shadow
    gc.collect()
    socket.bind("inproc://alive")
    assert socket.poll(0, zmqcy.POLLOUT) == 0
    assert own <= threads()
    del socket
    gc.collect()
    until(lambda: not own & threads())
