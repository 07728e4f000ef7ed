"""Contexts, sockets and pollers for coroutines, on any event loop of asyncio.

Every operation is awaitable. One that can be done at once is done by the call, and awaiting it costs next to nothing;
otherwise it waits in the queue of its socket. Cancelled, or out of time, before its turn it has taken and sent nothing.
"""

# mypy: disable-error-code="override"
# No asynchronous socket is a plain one.

from functools import partial

from zmqcy import _aio, _base, _loop
from zmqcy.context import AsyncContext
from zmqcy.socket import AsyncPoller, AsyncSocket

_POLLIN, _POLLOUT = 1, 2  # without loading the enums


class Socket(AsyncSocket, _aio.FutureSocket):
    """A socket for coroutines. It belongs to the event loop in which it is first used, until that is closed.

    Parameters
    ----------
    context : zmqcy.Context or Context
        The context that serves it.
    type : int
        One of `zmqcy.SocketType`.

    Raises
    ------
    InvalidArgument, NotSupported, ZMQError, ContextTerminated
        As `zmqcy.Socket` does.
    """

    __slots__ = ()


_base.own_methods(Socket)
Socket._kind = Socket


class Context(AsyncContext):
    """A context whose sockets are for coroutines of asyncio.

    `async with` closes its sockets and ends it. Several loops in several threads may share one.

    Parameters
    ----------
    io_threads, **options
        As `zmqcy.Context` has them.
    """

    __slots__ = ()
    _socket_class = Socket

    @staticmethod
    async def _sleep(seconds):
        from asyncio import sleep

        await sleep(seconds)

    @staticmethod
    async def _readable(waker, seconds):
        """Wait until a descriptor is readable; return whether it is."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        return await _first(loop, loop.create_future(), [waker.fileno()], [], seconds)


Socket._readable = staticmethod(Context._readable)
Socket._sleep = staticmethod(Context._sleep)


class Poller(AsyncPoller):
    """Wait, without blocking the event loop, until one of several sockets or descriptors is ready.

    Sockets may be of `zmqcy.asyncio` or plain ones; other tasks may use them meanwhile.
    """

    _sleep = staticmethod(Context._sleep)

    @staticmethod
    def _time():
        from asyncio import get_running_loop

        return get_running_loop().time()

    async def _wait(self, seconds):
        from asyncio import get_running_loop

        loop = get_running_loop()
        changed = loop.create_future()
        sockets, descriptors = self._begin_wait(partial(_loop.call_soon, loop, partial(_settle, changed)))
        waits = []
        try:
            for socket, flags in sockets:
                waits.append((socket if isinstance(socket, Socket) else Socket.shadow(socket)).poll(None, flags))
                waits[-1].add_done_callback(partial(_settle, changed))
            readers = [fd for fd, flags in descriptors if flags & _POLLIN]
            writers = [fd for fd, flags in descriptors if flags & _POLLOUT]
            await _first(loop, changed, readers, writers, seconds)
        finally:
            self._end_wait()
            for wait in waits:
                wait.cancel()


def _settle(future, *_):
    if not future.done():
        future.set_result(True)


async def _first(loop, changed, readers, writers, seconds):
    """Wait for the first of some descriptors, or a future. Return whether one came before the time was up."""
    settle = partial(_settle, changed)
    watched = []
    timer = None if seconds is None else loop.call_later(seconds, lambda: changed.done() or changed.set_result(False))
    try:
        for fd in readers:
            watched.append(_loop.watch(fd, settle))
        for fd in writers:
            loop.add_writer(fd, settle)
        return await changed
    finally:
        if timer is not None:
            timer.cancel()
        for each in watched:
            _loop.unwatch(each)
        for fd in writers:
            loop.remove_writer(fd)
