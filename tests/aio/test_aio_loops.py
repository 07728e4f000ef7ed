"""Asynchronous sockets and event loops: no missed wake-up, the watch of the file descriptor, and the end."""

import asyncio
import contextlib
import datetime
import gc
import select
import sys
import threading
import weakref
from errno import ENOTSOCK

import anyio
import pytest
from aio import ASYNCIO, LIMIT, Flavour, Task, by_turns, caught, fill, on_each_module, turns, until, waiting
from anyio.lowlevel import checkpoint

import zmqcy
import zmqcy.asyncio

pytestmark = pytest.mark.usefixtures("flavour", "ctx")
on_asyncio = pytest.mark.parametrize("flavour", ASYNCIO, indirect=True)


# --------------------------------------------------------------------- tasks, shadows and plain calls on one socket

DISTURBANCES = {
    "events": lambda s, _: s.events,
    "getsockopt": lambda s, _: s.getsockopt(zmqcy.EVENTS),
    "an option read": lambda s, _: s.last_endpoint,
    "an option set": lambda s, _: setattr(s, "linger", 0),
    "bind": lambda s, _: s.bind("tcp://127.0.0.1:*"),
    "bind and unbind": lambda s, _: s.unbind(s.bind("ipc://*").endpoint),
    "connect": lambda s, _: s.disconnect(s.connect("inproc://nowhere").endpoint),
    "send": lambda s, _: s.try_send(b"out"),
    "try_recv": lambda s, _: s.try_recv(),
    "plain events": lambda s, plain: plain.events,
    "plain poll": lambda s, plain: plain.poll(0),
    "plain send": lambda s, plain: plain.send(b"out", zmqcy.DONTWAIT),
    "plain Poller": lambda s, plain: zmqcy.select([plain], [plain], [], 0),
    "repr": lambda s, _: repr(s),
}


@on_each_module("name", DISTURBANCES)
async def test_no_use_of_the_socket_hides_a_message(near, name):
    """A call may consume the waiting task's event; so may a call before and after."""
    a, b = near(zmqcy.DEALER, zmqcy.DEALER, sndhwm=0, rcvhwm=0)
    plain = zmqcy.Socket.shadow(a)
    disturb = DISTURBANCES[name]
    async with anyio.create_task_group() as group:
        for i in range(20):
            task = await waiting(group, a, a.recv)
            if i % 3 == 1:
                disturb(a, plain)
            await b.send(b"%d" % i)
            if i % 3 != 1:
                disturb(a, plain)
            if i % 3 == 2:
                disturb(a, plain)
            await until(lambda task=task: task.ended)
            assert task.result == b"%d" % i


@on_each_module("name", [name for name in DISTURBANCES if name != "plain send"])  # it fills the queue
async def test_no_use_of_the_socket_hides_room(near, name):
    a, b = near(zmqcy.DEALER, zmqcy.DEALER, sndhwm=1, rcvhwm=1)
    plain = zmqcy.Socket.shadow(a)
    disturb = DISTURBANCES[name]
    got = [b"%d" % i for i in range(len(fill(a)))]
    async with anyio.create_task_group() as group:
        for i in range(20):
            if a.try_send(b"more"):
                continue
            task = await waiting(group, a, a.send, b"%d" % i)
            while (message := b.try_recv()) is not None:
                got.append(message)
                with contextlib.suppress(zmqcy.Again):
                    disturb(a, plain)
            await until(lambda task=task: task.ended)
            assert task.error is None


async def test_plain_shadow_takes_turns_with_tasks(near):
    pull, push = near()
    plain = zmqcy.Socket.shadow(pull)
    got = []
    async with anyio.create_task_group() as group:
        for i in range(20):
            task = await waiting(group, pull, pull.recv)
            await push.send_many([b"a%d" % i, b"b%d" % i])
            got += [plain.recv(zmqcy.DONTWAIT)]  # receives the message for which the task was to be woken
            await until(lambda task=task: task.ended)
            got += [task.result]
    assert got == [b"%c%d" % (letter, i) for i in range(20) for letter in b"ab"]


async def test_async_shadow_of_a_plain_socket(flavour, outside):
    pull, push = outside(zmqcy.PULL), outside(zmqcy.PUSH)
    pull.bind("inproc://plain")
    push.connect("inproc://plain")
    shadow = flavour.Socket.shadow(pull)
    async with anyio.create_task_group() as group:
        for i in range(20):
            task = await waiting(group, shadow, shadow.recv)
            push.send(b"%d" % i)
            assert pull.events == zmqcy.POLLIN
            await until(lambda task=task: task.ended)
            assert task.result == b"%d" % i


@on_asyncio  # in anyio only one task may wait for a file descriptor
@pytest.mark.parametrize("leaves", [False, True], ids=["both stay", "one leaves"])
async def test_two_async_shadows_of_a_socket(flavour, outside, leaves):
    pull, push = outside(zmqcy.PULL), outside(zmqcy.PUSH)
    pull.bind("inproc://plain")
    push.connect("inproc://plain")
    shadows = [flavour.Socket.shadow(pull) for _ in range(2)]
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, each, each.recv) for each in shadows]
        await turns()
        if leaves:
            tasks[0].cancel()
            await until(lambda: tasks[0].ended)
            await turns()
        push.send(b"1")
        await until(lambda: tasks[1].ended if leaves else tasks[0].ended or tasks[1].ended)
        push.send(b"2")
    expected = [None, b"1"] if leaves else [b"1", b"2"]
    assert [task.error for task in tasks] == [None, None]
    assert sorted([task.result for task in tasks], key=str) == sorted(expected, key=str)


@on_asyncio
@pytest.mark.parametrize("what", ["two sockets", "a socket and a poller", "a thread-safe socket and its shadow"])
async def test_those_that_wait_for_the_same_handle_sleep(flavour, near, what):
    """A socket that reads events informs the others, which read them too: an endless loop without new events."""
    if what.startswith("a thread-safe") and not zmqcy.has("draft"):
        pytest.skip("this libzmq has no draft sockets")
    looks = []

    class Counting(flavour.Socket):
        def _look(self):
            looks.append(self)
            super()._look()

    kinds = (zmqcy.SERVER, zmqcy.CLIENT) if what.startswith("a thread-safe") else ()
    pull, push = near(*kinds)
    sockets = [Counting.shadow(pull) for _ in range(1 if what.endswith("poller") else 2)]
    poller = flavour.Poller()
    poller.register(sockets[0], zmqcy.POLLIN)
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, each, each.recv) for each in sockets]
        if what.endswith("poller"):
            tasks.append(Task(group, poller.poll))
        await turns(10)
        before = len(looks)
        await turns(100)
        seen = len(looks) - before
        for i in range(2):
            await until(lambda before=i: sum(task.ended for task in tasks) >= before)
            await push.send(b"%d" % i)
    assert seen <= 2
    assert [task.error for task in tasks] == [None, None]
    assert b"0" in [task.result for task in tasks]


@on_asyncio
@pytest.mark.parametrize("kinds", [(), ("SERVER", "CLIENT")], ids=["ordinary", "thread-safe"])
@pytest.mark.parametrize("looks", [False, True], ids=["unseen", "seen"])
async def test_a_message_that_comes_while_the_time_is_converted_ends_the_wait(near, kinds, looks):
    """The operation was tried, and is not queued. The first one on a thread-safe socket has no file descriptor yet."""
    if kinds and not zmqcy.has("draft"):
        pytest.skip("this libzmq has no draft sockets")

    class Late(datetime.timedelta):
        def total_seconds(self):
            if not pull.events & zmqcy.POLLIN:
                push.try_send(b"came")
            if looks:
                assert pull.events & zmqcy.POLLIN
            return super().total_seconds()

    pull, push = near(*(zmqcy.SocketType[kind] for kind in kinds))
    with anyio.fail_after(LIMIT / 2000):
        assert await pull.recv(timeout=Late(hours=1)) == b"came"


@on_asyncio
@pytest.mark.parametrize("yielding", [False, True], ids=["at once", "in a turn"])
async def test_a_conversion_of_the_time_that_closes_the_socket_begins_no_wait(near, yielding):
    closes = False

    class Closing(datetime.timedelta):
        def total_seconds(self):
            if closes:
                pull.close()
            return super().total_seconds()

    pull, _ = near()
    descriptor = pull.fileno()
    while yielding and not (receive := pull.recv(timeout=Closing(hours=1)))._yielding:
        pass
    closes = True
    error = await caught(receive if yielding else pull.recv(timeout=Closing(hours=1)))
    assert error.errno == ENOTSOCK
    assert pull.closed
    with contextlib.suppress(NotImplementedError):
        assert not asyncio.get_running_loop().remove_reader(descriptor)


async def test_many_rounds_with_a_thread_at_the_other_end(socket, outside, thread):
    """Both ends send and wait, while a third task reads options."""
    here, there = socket(zmqcy.DEALER), outside(zmqcy.DEALER)
    here.bind("tcp://127.0.0.1:*")
    there.connect(here.last_endpoint)
    rounds = 60

    def echo():
        for i in range(rounds):
            there.send_multipart([*there.recv_multipart(), b"%d" % i])

    ended = False

    async def read():
        while not ended:
            assert 0 <= here.events <= zmqcy.POLLIN | zmqcy.POLLOUT
            await checkpoint()

    echoed = thread(echo)
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        for i in range(rounds):
            task = await waiting(group, here, here.recv_multipart)
            await here.send(b"x")
            await until(lambda task=task: task.ended)
            assert task.result == [b"x", b"%d" % i]
        ended = True
    await until(lambda: echoed)
    assert echoed == [None]


class Counting(asyncio.SelectorEventLoop):
    """Count the file descriptors to watch."""

    def __init__(self):
        super().__init__()
        self.added, self.removed = [], []

    def add_reader(self, fd, callback, *args):
        self.added.append(fd)
        super().add_reader(fd, callback, *args)

    def remove_reader(self, fd):
        self.removed.append(fd)
        return super().remove_reader(fd)


@pytest.fixture
def counting(flavour):
    flavour.options = {"loop_factory": Counting}


@pytest.mark.parametrize("flavour", ["asyncio"], indirect=True)
async def test_one_reader_for_a_socket(counting, near):
    pull, push = near()
    loop = asyncio.get_running_loop()
    await push.send(b"x")
    assert await pull.recv() == b"x"
    assert await pull.poll(0) == 0
    assert pull.try_recv() is None
    assert isinstance(await caught(pull.recv(flags=zmqcy.DONTWAIT)), zmqcy.Again)
    assert isinstance(await caught(pull.recv(timeout=0)), zmqcy.Again)
    await turns()
    assert loop.added == []  # nothing had to wait
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, pull, call) for call in (pull.recv, pull.poll, pull.recv_multipart)]
        assert loop.added == [pull.fileno()]
        assert loop.removed == []
        await push.send_many([b"1", b"2"])
        await until(lambda: all(task.ended for task in tasks))
    await turns()
    assert (loop.added, loop.removed) == ([pull.fileno()], [pull.fileno()])


@pytest.mark.parametrize("flavour", ["asyncio"], indirect=True)
async def test_reader_stays_from_one_wait_to_the_next(counting, near):
    pull, push = near()
    loop = asyncio.get_running_loop()
    async with anyio.create_task_group() as group:
        got = []

        async def receive():
            for _ in range(50):
                got.append(await pull.recv())

        Task(group, receive)
        for i in range(50):
            await until(lambda i=i: pull.stats.waits == i + 1)
            await push.send(b"%d" % i)
            await until(lambda i=i: len(got) == i + 1)
    assert loop.added == [pull.fileno()]


@pytest.mark.parametrize("flavour", ["asyncio"], indirect=True)
@pytest.mark.parametrize("how", ["cancelled", "timed out", "dropped", "closed"])
async def test_reader_goes_with_the_last_who_waits(counting, near, how):
    pull, _ = near()
    loop, fd = asyncio.get_running_loop(), pull.fileno()
    operation = pull.recv(timeout=1 if how == "timed out" else None)
    assert loop.added == [fd]
    if how == "cancelled":
        operation.cancel()
    elif how == "timed out":
        await caught(operation)
    elif how == "dropped":
        del operation
    else:
        pull.close()
        assert isinstance(operation.exception(), zmqcy.ZMQError)
        assert loop.removed == [fd]  # before another file gets the number
    await turns()
    assert loop.removed == [fd]


# ------------------------------------------------------------------------------------------------------ event loops

CALLS = {
    "send": lambda s: s.send(b"x"),
    "send_multipart": lambda s: s.send_multipart([b"x"]),
    "send_many": lambda s: s.send_many([b"x"]),
    "send_multipart_many": lambda s: s.send_multipart_many([[b"x"]]),
    "try_send": lambda s: s.try_send(b"x"),
    "recv": lambda s: s.recv(),
    "recv_into": lambda s: s.recv_into(bytearray(1)),
    "recv_multipart": lambda s: s.recv_multipart(),
    "recv_multipart_into": lambda s: s.recv_multipart_into([bytearray(1)]),
    "recv_many": lambda s: s.recv_many(),
    "recv_multipart_many": lambda s: s.recv_multipart_many(),
    "try_recv": lambda s: s.try_recv(),
    "poll": lambda s: s.poll(),
}


@by_turns("call", CALLS, ASYNCIO)
def test_outside_a_loop(flavour, near, call):
    pair, other = near(zmqcy.PAIR, zmqcy.PAIR)

    async def use():
        await other.send(b"y")
        assert await pair.recv() == b"y"

    for _ in range(2):  # before its first loop, and after
        with pytest.raises(RuntimeError, match=f"^{call}: no event loop runs in this thread"):
            CALLS[call](pair)
        flavour.run(use)
    with pytest.raises(RuntimeError, match=f"^{call}: no event loop"):
        CALLS[call](pair)
    flavour.run(use)


@on_asyncio
def test_second_loop_while_the_first_lives(flavour, near):
    pull, push = near()
    first = asyncio.new_event_loop()

    async def use():
        await push.send(b"x")
        return await pull.recv()

    try:
        assert first.run_until_complete(use()) == b"x"
        with pytest.raises(RuntimeError, match="^send: the socket belongs to another event loop"):
            flavour.run(use)
        assert first.run_until_complete(use()) == b"x"
    finally:
        first.close()
    assert flavour.run(use) == b"x"


def test_one_loop_after_another(flavour, request, near):
    pull, push = near()

    async def use():
        async with anyio.create_task_group() as group:
            task = await waiting(group, pull, pull.recv)
            await push.send(b"x")
            await until(lambda: task.ended)
            left = await waiting(group, pull, pull.recv)
            assert not left.ended
            group.cancel_scope.cancel()
        return task.result

    async def close():
        pull.close()
        push.close()

    for _ in range(3):
        assert flavour.run(use) == b"x"
    flavour.run(close)


@on_asyncio
def test_loop_that_is_closed_over_those_who_wait(flavour, near):
    pull, push = near()
    loop = asyncio.new_event_loop()

    async def wait():
        operation = pull.recv()
        operation.add_done_callback(called.append)
        return operation, pull.recv(timeout=LIMIT)

    async def use():
        await push.send(b"x")
        return await pull.recv()

    called = []
    kept = loop.run_until_complete(wait())
    loop.close()
    assert flavour.run(use) == b"x"
    assert called == []
    assert [operation.cancelled() for operation in kept] == [True, True]


@pytest.mark.parametrize("what", ["close", "events"])
def test_socket_is_used_after_its_loop(flavour, near, what):
    pull, push = near()

    async def wait():
        assert isinstance(await caught(pull.recv(timeout=1)), zmqcy.Again)

    unraised = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda what: unraised.append(what.exc_value)
    try:
        flavour.run(wait)
        if what == "events":
            assert pull.events == 0
        pull.close()
        push.close()
    finally:
        sys.unraisablehook = hook
    assert unraised == []


def test_loops_in_threads_share_a_context(flavour, ctx, thread):
    def work(number):
        async def talk():
            pull, push = ctx.socket(zmqcy.PULL, linger=0), ctx.socket(zmqcy.PUSH, linger=0)
            pull.bind(f"inproc://{number}")
            for _ in range(2):
                ready.wait(10)
            for other in range(3):
                push.connect(f"inproc://{other}")
            try:
                async with anyio.create_task_group() as group:
                    task = Task(group, push.send_many, [b"%d" % number] * 300)
                    got = []
                    while len(got) < 300:  # each receives a third of the messages of each
                        got += await pull.recv_many(7)
                assert task.result == 300
                ready.wait(10)
                return sorted(got)
            finally:
                pull.close()
                push.close()

        return Flavour(flavour.name).run(talk)

    ready = threading.Barrier(3)
    outcomes = [thread(work, number) for number in range(3)]
    for outcome in outcomes:
        assert outcome() == [b"%d" % i for i in range(3) for _ in range(100)]


# -------------------------------------------------------------------------------------------- close and termination


async def all_waiting(group, pull, push):
    fill(push)
    calls = [pull.recv, pull.recv_multipart, pull.poll]
    tasks = [await waiting(group, pull, call) for call in calls]
    tasks.append(await waiting(group, push, push.send, b"x"))
    tasks.append(await waiting(group, push, push.poll, None, zmqcy.POLLOUT))
    return tasks


@pytest.fixture
def stuck(socket, tmp_path):
    """A PULL that receives nothing, and a PUSH at its high-water mark."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH, sndhwm=1)
    pull.bind("inproc://empty")
    push.connect(f"ipc://{tmp_path}/nobody")
    return pull, push


@pytest.mark.parametrize("where", ["here", "in a thread"])
async def test_close_ends_those_who_wait(stuck, thread, where):
    pull, push = stuck
    async with anyio.create_task_group() as group:
        tasks = await all_waiting(group, pull, push)
        if where == "here":
            pull.close()
            push.close()
        else:
            closed = thread(pull.close), thread(push.close)
            await until(lambda: all(closed))
            assert closed == ([None], [None])
        await until(lambda: all(task.ended for task in tasks))
    assert [task.error.errno for task in tasks] == [ENOTSOCK] * 5
    assert [str(task.error).split()[0] for task in tasks] == ["recv", "recv_multipart", "poll", "send", "poll"]
    assert "the socket was closed" in str(tasks[0].error)


@pytest.mark.parametrize("how", ["shutdown", "shutdown in a thread", "term in a thread"])
async def test_end_of_the_context_ends_those_who_wait(ctx, stuck, thread, how):
    pull, push = stuck
    async with anyio.create_task_group() as group:
        tasks = await all_waiting(group, pull, push)
        if how == "shutdown":
            ctx.shutdown()
        else:
            ended = thread(ctx.shutdown) if "shutdown" in how else thread(ctx.term, LIMIT)
        await until(lambda: all(task.ended for task in tasks))
    assert [type(task.error) for task in tasks] == [zmqcy.ContextTerminated] * 5
    assert type(await caught(pull.recv())) is zmqcy.ContextTerminated
    for each in (pull, push):
        each.close(0)
    if how != "shutdown":
        await until(lambda: ended)
        assert ended == [None]


async def test_async_for_ends_with_the_context(ctx, near):
    pull, push = near()
    got = []

    async def collect():
        async for message in pull:
            got.append(message)
        return "ended"

    async with anyio.create_task_group() as group:
        task = await waiting(group, pull, collect)
        await push.send(b"x")
        await until(lambda: got)
        ctx.shutdown()
        await until(lambda: task.ended)
    assert (got, task.result, task.error) == ([b"x"], "ended", None)


async def test_async_for_ends_at_once_where_the_context_has(ctx, near):
    pull, _ = near()
    ctx.shutdown()
    async for _ in pull:
        pytest.fail("there is none")


@pytest.mark.parametrize("how", ["aclose", "async with", "context.aclose"])
async def test_aclose_waits_for_a_late_peer(flavour, thread, tmp_path, how):
    """The event loop runs meanwhile."""
    plain, ctx = zmqcy.Context(), flavour.Context()
    push = ctx.socket(zmqcy.PUSH, linger=-1, reconnect_ivl=1)
    push.connect(f"ipc://{tmp_path}/late")
    messages = [b"%d" % i for i in range(200)]
    await push.send_many(messages)

    async def leave():
        async with push:
            pass

    async with anyio.create_task_group() as group:
        task = Task(group, {"aclose": push.aclose, "async with": leave, "context.aclose": ctx.aclose}[how])
        await turns(200)
        assert not task.ended
        assert push.closed
        pull = plain.socket(zmqcy.PULL, linger=0, rcvtimeo=LIMIT)
        pull.bind(f"ipc://{tmp_path}/late")
        got = thread(lambda: [pull.recv() for _ in messages])
        await until(lambda: task.ended)
    assert task.error is None
    await until(lambda: got)
    assert got == [messages]
    pull.close()
    for context in (ctx, plain):
        context.term(timeout=LIMIT)
    assert ctx.closed


async def test_aclose_of_a_context_warns_of_unsent_messages_without_a_linger(flavour, tmp_path):
    ctx = flavour.Context()
    push = ctx.socket(zmqcy.PUSH, reconnect_ivl=1)
    push.connect(f"ipc://{tmp_path}/late")
    await push.send(b"unsent")
    with pytest.warns(RuntimeWarning, match=f"aclose waits for unsent messages: PUSH ipc://{tmp_path}/late; start"):
        with anyio.move_on_after(1.5):
            await ctx.aclose()
    with zmqcy.Context() as plain, plain.socket(zmqcy.PULL, rcvtimeo=LIMIT) as late:
        late.bind(f"ipc://{tmp_path}/late")
        assert late.recv() == b"unsent"
    await ctx.aclose(LIMIT)


@on_each_module("how", ["linger=0", "linger=1", "linger was set", "nothing to send", "closed", "shadow"])
async def test_aclose_without_a_peer(flavour, socket, tmp_path, how):
    push = socket(zmqcy.PUSH, linger=0 if how == "linger was set" else -1)
    push.connect(f"ipc://{tmp_path}/nobody")
    if how != "nothing to send":
        await push.send(b"x")
    if how == "closed":
        push.close(0)
    if how == "shadow":
        shadow = flavour.Socket.shadow(push)
        await shadow.aclose(0)
        assert shadow.closed
    await push.aclose({"linger=0": 0, "linger=1": 1}.get(how))
    assert push.closed
    await push.aclose()


async def test_aclose_ends_those_who_wait(stuck):
    pull, push = stuck
    async with anyio.create_task_group() as group:
        tasks = await all_waiting(group, pull, push)
        await pull.aclose()
        await push.aclose(0)
        await until(lambda: all(task.ended for task in tasks))
    assert [task.error.errno for task in tasks] == [ENOTSOCK] * 5


async def test_aclose_beside_a_peer_that_does_nothing(near):
    """libzmq closes an inproc connection only after a call of the peer has noticed the end."""
    _, push = near()
    await push.send(b"x")
    await push.aclose(0)


@on_each_module("of", ["a socket", "a shadow"])
async def test_cancelled_aclose_leaves_the_rest_to_the_context(flavour, thread, tmp_path, of):
    plain, ctx = zmqcy.Context(), flavour.Context()
    push = ctx.socket(zmqcy.PUSH, linger=-1, reconnect_ivl=1)
    push.connect(f"ipc://{tmp_path}/late")
    if of == "a shadow":
        push = flavour.Socket.shadow(push)
    await push.send(b"x")
    async with anyio.create_task_group() as group:
        task = Task(group, push.aclose)
        await turns()
        task.cancel()
        await until(lambda: task.ended)
        assert (push.closed, task.error) == (True, None)
        assert ctx._open_sockets() == []
        task = Task(group, ctx.aclose)
        await turns()
        task.cancel()
        await until(lambda: task.ended)
        assert task.error is None
    pull = plain.socket(zmqcy.PULL, linger=0, rcvtimeo=LIMIT)
    pull.bind(f"ipc://{tmp_path}/late")
    assert pull.recv() == b"x"
    pull.close()
    await ctx.aclose()
    assert ctx.closed
    plain.term(timeout=LIMIT)


async def test_aclose_of_a_context_in_time(flavour, tmp_path):
    plain, ctx = zmqcy.Context(), flavour.Context()
    push = ctx.socket(zmqcy.PUSH, linger=-1, reconnect_ivl=1)
    push.connect(f"ipc://{tmp_path}/late")
    await push.send(b"x")
    for time in (1, 0):
        error = await caught(ctx.aclose(timeout=time))
        assert type(error) is zmqcy.TimedOut
        assert "aclose" in str(error)
    pull = plain.socket(zmqcy.PULL, linger=0, rcvtimeo=LIMIT)
    pull.bind(f"ipc://{tmp_path}/late")
    assert pull.recv() == b"x"
    pull.close()
    await ctx.aclose(LIMIT)
    assert ctx.closed
    await ctx.aclose()
    plain.term(timeout=LIMIT)


async def test_async_with_context(flavour):
    async with flavour.Context() as ctx:
        pull, push = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
        pull.bind("inproc://with")
        push.connect("inproc://with")
        async with anyio.create_task_group() as group:
            task = await waiting(group, pull, pull.recv)
            await push.send(b"x")
            await until(lambda: task.ended)
    assert (ctx.closed, pull.closed, push.closed, task.result) == (True, True, True, b"x")


async def test_aclose_of_a_context_ends_those_who_wait(flavour):
    ctx = flavour.Context()
    pull = ctx.socket(zmqcy.PULL)
    pull.bind("inproc://ends")
    async with anyio.create_task_group() as group:
        task = await waiting(group, pull, pull.recv)
        await ctx.aclose()
        await until(lambda: task.ended)
    assert ctx.closed
    assert task.error.errno == ENOTSOCK


def test_socket_and_context_are_dropped(flavour):
    """An operation still waits when both are dropped. Nothing is leaked or logged."""

    async def use():
        ctx = flavour.Context()
        pull = ctx.socket(zmqcy.PULL, linger=0)
        assert isinstance(await caught(pull.recv(timeout=1)), zmqcy.Again)

    flavour.run(use)
    gc.collect()


async def test_a_port_is_free_after_aclose(flavour, socket):
    endpoint = "tcp://127.0.0.1:*"
    for _ in range(20):
        one = socket(zmqcy.PULL)
        endpoint = one.bind(endpoint).endpoint
        await one.aclose(0)


# ---- sockets without a waiting task


def has_news(socket):
    """Return whether libzmq has unprocessed commands for a socket."""
    waits = select.poll()
    waits.register(socket._descriptor(), select.POLLIN)
    return waits.poll(0) != []


@pytest.mark.parametrize("flavour", ["asyncio", "anyio-asyncio", "anyio-trio"], indirect=True)
async def test_socket_that_nobody_calls_is_looked_at_now_and_then(flavour, socket, outside):
    """Unless events are read, libzmq keeps 12 KB per disconnected peer. Sockets with another watcher are not read."""
    left, watched, handed_out = (socket(zmqcy.PUB) for _ in range(3))
    assert watched.fileno() >= 0
    assert handed_out.underlying
    for each in (watched, handed_out, left):
        each.bind("tcp://127.0.0.1:*")
        peer = outside(zmqcy.SUB)
        peer.connect(each.last_endpoint)
    while not all(has_news(each) for each in (watched, handed_out, left)):
        await anyio.sleep(0.01)
    while has_news(left):
        await anyio.sleep(0.01)
    assert has_news(watched) and has_news(handed_out)


@pytest.mark.parametrize("flavour", ["asyncio", "anyio-asyncio", "anyio-trio"], indirect=True)
def test_looking_now_and_then_keeps_nothing_alive(flavour, ctx):
    """The socket, the loop and its helper objects are freed. The loop exits at once."""
    kept = []

    async def main():
        socket = ctx.socket(zmqcy.PUB, linger=0)
        socket.bind("tcp://127.0.0.1:*")
        socket.connect("tcp://127.0.0.1:9")
        await socket.send(b"x")
        kept.append(weakref.ref(socket))
        if flavour.backend == "asyncio":
            kept.append(weakref.ref(asyncio.get_running_loop()))
        socket.close()
        del socket
        assert kept[0]() is None

    flavour.run(main)
    gc.collect()
    assert [reference() for reference in kept] == [None] * len(kept)
