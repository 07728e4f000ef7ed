"""The pollers of asynchronous sockets, on every event loop."""

import contextlib
import itertools
import os
import socket as system_sockets
from datetime import timedelta
from errno import ENOTSOCK

import anyio
import pytest
from aio import ASYNCIO, FLAVOURS, LIMIT, Task, caught, on_each_module, turns, until, waiting
from anyio.lowlevel import checkpoint

import zmqcy

pytestmark = pytest.mark.usefixtures("flavour", "ctx")


@pytest.fixture
def pipe():
    ends = system_sockets.socketpair()
    yield ends
    for end in ends:
        end.close()


async def test_poller_says_what_is_ready(flavour, near, pipe):
    pull, push = near()
    plain = zmqcy.Context.shadow(pull.context).socket(zmqcy.PULL)
    poller = flavour.Poller()
    poller.register(pull)
    poller.register(push, zmqcy.POLLOUT)
    poller.register(plain, zmqcy.POLLIN)
    poller.register(pipe[0], zmqcy.POLLIN | zmqcy.POLLOUT)
    poller.register(pipe[1].fileno(), zmqcy.POLLIN)
    assert await poller.poll() == [(push, zmqcy.POLLOUT), (pipe[0], zmqcy.POLLOUT)]
    await push.send(b"x")
    pipe[0].send(b"x")
    assert (pull, zmqcy.POLLIN) in await poller.poll(0)
    assert (pipe[1].fileno(), zmqcy.POLLIN) in await poller.poll(0)
    plain.close()


@on_each_module("time", [0, 1, 0.5, timedelta(milliseconds=1)])
async def test_poller_in_time(flavour, near, pipe, time):
    pull, _ = near()
    poller = flavour.Poller()
    poller.register(pull)
    poller.register(pipe[0], zmqcy.POLLIN)
    assert await poller.poll(time) == []


async def test_poller_of_nothing(flavour):
    assert await flavour.Poller().poll(0) == await flavour.Poller().poll(1) == []


@on_each_module("time, error", [("1", TypeError), (-2, ValueError)])
async def test_poller_with_bad_times(flavour, time, error):
    failed = await caught(flavour.Poller().poll(time))
    assert type(failed) is error
    assert str(failed).startswith("poll: ")


@pytest.mark.parametrize(
    "what, time", [("async", None), ("plain", LIMIT), ("reading", None), ("writing", LIMIT), ("descriptor", None)]
)
async def test_poller_waits(flavour, socket, near, outside, pipe, what, time):
    pull, push = near()
    poller = flavour.Poller()
    ticks = 0
    if what == "plain":
        pull = outside(zmqcy.PULL)
        pull.bind("inproc://plain")
        push = socket(zmqcy.PUSH)
        push.connect("inproc://plain")
    if what == "writing":
        pipe[0].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                pipe[0].send(bytes(10_000))
    flags = zmqcy.POLLOUT if what == "writing" else zmqcy.POLLIN
    subject = {"async": pull, "plain": pull, "descriptor": pipe[0].fileno()}.get(what, pipe[0])
    poller.register(subject, flags)
    async with anyio.create_task_group() as group:
        task = Task(group, poller.poll, time)
        await turns(20)
        assert not task.ended
        if what in ("async", "plain"):
            await push.send(b"x")
        elif what == "writing":
            pipe[1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while pipe[1].recv(100_000):
                    pass
        else:
            pipe[1].send(b"x")
        while not task.ended:
            ticks += 1
            await checkpoint()
    assert (task.result, task.error) == ([(subject, flags)], None)


async def test_poller_changes(flavour, near):
    (pull, push), (second, _) = near(), near()
    poller = flavour.Poller()
    poller.register(pull)
    poller.register(second)
    async with anyio.create_task_group() as group:
        task = Task(group, poller.poll)
        await turns()
        task.cancel()
        await until(lambda: task.ended)
        poller.modify(pull, zmqcy.POLLOUT)
        await push.send(b"x")
        assert await poller.poll(1) == []
        poller.modify(pull, zmqcy.POLLIN)
        assert await poller.poll() == [(pull, zmqcy.POLLIN)]
        poller.unregister(pull)
        assert await poller.poll(1) == []
        with pytest.raises(KeyError):
            poller.unregister(pull)
    assert await pull.recv() == b"x"


async def test_poller_while_another_task_uses_the_socket(flavour, near):
    """The poller does not report a message that the other task has received. It reports later messages."""
    pull, push = near()
    poller = flavour.Poller()
    poller.register(pull)
    async with anyio.create_task_group() as group:
        receiver = await waiting(group, pull, pull.recv)
        task = Task(group, poller.poll)
        await turns()
        await push.send(b"1")
        await until(lambda: receiver.ended)
        await turns()
        await push.send(b"2")
        await until(lambda: task.ended)
    assert receiver.result == b"1"
    assert task.result == [(pull, zmqcy.POLLIN)]
    assert await pull.recv() == b"2"


async def test_poller_with_many_sockets(flavour, near):
    poller = flavour.Poller()
    pairs = [near() for _ in range(100)]
    for pull, _ in pairs:
        poller.register(pull)
    async with anyio.create_task_group() as group:
        for pull, push in pairs[::17]:
            task = Task(group, poller.poll, None)
            await turns()
            await push.send(b"x")
            await until(lambda task=task: task.ended)
            assert task.result == [(pull, zmqcy.POLLIN)]
            assert await pull.recv() == b"x"
    assert await poller.poll(0) == []


async def test_poller_and_a_socket_that_is_closed(flavour, near):
    pull, _ = near()
    poller = flavour.Poller()
    poller.register(pull)
    async with anyio.create_task_group() as group:
        task = Task(group, poller.poll, None)
        await turns()
        pull.close()
        await until(lambda: task.ended)
    assert task.error.errno == ENOTSOCK


async def test_poller_and_the_end_of_the_context(flavour, ctx, near):
    pull, _ = near()
    poller = flavour.Poller()
    poller.register(pull)
    async with anyio.create_task_group() as group:
        task = Task(group, poller.poll, None)
        await turns()
        ctx.shutdown()
        await until(lambda: task.ended)
    assert type(task.error) is zmqcy.ContextTerminated


@pytest.mark.parametrize("leaves", [False, True], ids=["both stay", "one leaves"])
@pytest.mark.parametrize(
    "what, flavour",
    [
        *itertools.product(["async socket", "plain socket"], FLAVOURS),
        *(("descriptor", name) for name in ASYNCIO),  # in anyio only one task may wait for a file descriptor
    ],
    indirect=["flavour"],
)
async def test_two_pollers_wait_for_the_same(flavour, socket, near, outside, pipe, what, leaves):
    pull, push = near()
    if what == "plain socket":
        pull = outside(zmqcy.PULL)
        pull.bind("inproc://plain")
        push = socket(zmqcy.PUSH)
        push.connect("inproc://plain")
    subject = pipe[0] if what == "descriptor" else pull
    async with anyio.create_task_group() as group:
        tasks = []
        for _ in range(2):
            poller = flavour.Poller()
            poller.register(subject, zmqcy.POLLIN)
            tasks.append(Task(group, poller.poll))
            await turns(20)
        if leaves:
            left = tasks.pop(0)
            left.cancel()
            await until(lambda: left.ended)
        if what == "descriptor":
            pipe[1].send(b"x")
        else:
            await push.send(b"x")
    assert [task.error for task in tasks] == [None] * len(tasks)
    assert [task.result for task in tasks] == [[(subject, zmqcy.POLLIN)]] * len(tasks)


class Counting:
    """A mixin of pollers that counts how many times they begin to wait."""

    begun = 0

    def _begin_wait(self, function):
        self.begun += 1
        return super()._begin_wait(function)


@pytest.mark.parametrize("what", ["async socket", "plain socket"])
async def test_pollers_that_wait_for_the_same_socket_sleep(flavour, near, outside, what):
    pull, _ = near()
    if what == "plain socket":
        pull = outside(zmqcy.PULL)
        pull.bind("inproc://plain")
    pollers = [type("", (Counting, flavour.Poller), {})() for _ in range(3)]
    async with anyio.create_task_group() as group:
        for poller in pollers:
            poller.register(pull, zmqcy.POLLIN)
            group.start_soon(poller.poll, 200)
    assert sum(poller.begun for poller in pollers) < 100  # uvloop's clock is coarse


@pytest.fixture
def urgent():
    """Two ends of a TCP connection. The second one can send urgent data."""
    with system_sockets.create_server(("127.0.0.1", 0)) as listener:
        ends = system_sockets.create_connection(listener.getsockname()), listener.accept()[0]
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize("flags", [zmqcy.POLLPRI, zmqcy.POLLPRI | zmqcy.POLLIN], ids=["alone", "with POLLIN"])
async def test_poller_tells_urgent_data_at_once(flavour, urgent, flags):
    poller = flavour.Poller()
    poller.register(urgent[0], flags)
    async with anyio.create_task_group() as group:
        task = Task(group, poller.poll)
        await turns(20)
        assert not task.ended
        urgent[1].send(b"!", system_sockets.MSG_OOB)
        await until(lambda: task.ended)
    assert task.result == [(urgent[0], zmqcy.POLLPRI)]


@pytest.mark.parametrize("flags", [zmqcy.POLLPRI, zmqcy.POLLERR])
async def test_poller_sleeps_while_nothing_that_is_polled_for_is_there(flavour, urgent, flags):
    urgent[1].send(b"ordinary")
    assert urgent[0].recv(1, system_sockets.MSG_PEEK)
    poller = type("", (Counting, flavour.Poller), {})()
    poller.register(urgent[0], flags)
    assert await poller.poll(200) == []
    assert poller.begun < 100  # in thousands, because it does not sleep; uvloop's clock is coarse
    async with anyio.create_task_group() as group:
        task = Task(group, poller.poll)
        await turns(20)
        urgent[1].shutdown(system_sockets.SHUT_WR)
        urgent[0].shutdown(system_sockets.SHUT_WR)
        await until(lambda: task.ended)
    assert task.result == [(urgent[0], zmqcy.POLLERR)]


async def test_poller_of_a_closed_file_whose_number_is_anothers(flavour, pipe):
    """The registered file descriptor is polled, and the next poll works normally."""
    file = pipe[0].makefile("rb", buffering=0)
    number = os.dup(file.fileno())
    file.close()
    file = open(number, "rb", buffering=0)  # noqa: SIM115
    poller = flavour.Poller()
    poller.register(file, zmqcy.POLLIN)
    file.close()
    os.dup2(pipe[0].fileno(), number)
    try:
        assert await poller.poll(1) == []
        pipe[1].send(b"x")
        assert await poller.poll(LIMIT) == [(file, zmqcy.POLLIN)]
    finally:
        os.close(number)


@pytest.mark.parametrize("flavour", ["asyncio", "uvloop"], indirect=True)
async def test_poller_that_fails_as_it_begins_to_wait_can_poll_again(flavour, near, monkeypatch):
    pull, _ = near()
    assert pull.underlying  # other code may use the socket, so the poller waits with an operation
    poller = flavour.Poller()
    poller.register(pull, zmqcy.POLLIN)

    def refuse(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(flavour.Socket, "poll", refuse)
        assert type(await caught(poller.poll(1))) is MemoryError
    assert await poller.poll(1) == []


@pytest.mark.parametrize("flavour", ["asyncio"], indirect=True)
def test_poller_of_a_forked_child_is_not_in_its_parents_poll(flavour, run):
    run("""
        import asyncio
        import os

        import zmqcy
        import zmqcy.asyncio

        async def main():
            poller = zmqcy.asyncio.Poller()
            poller.register(os.pipe()[0], zmqcy.POLLIN)
            waits = asyncio.ensure_future(poller.poll())
            for _ in range(5):
                await asyncio.sleep(0)
            child = os.fork()
            if child == 0:
                try:
                    os._exit(asyncio.new_event_loop().run_until_complete(poller.poll(1)) != [])
                finally:
                    os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
            waits.cancel()

        asyncio.run(main())
    """)
