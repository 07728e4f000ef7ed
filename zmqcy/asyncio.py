"""Contexts, sockets and pollers for coroutines, on any asyncio event loop.

Every operation is awaitable. An operation that can complete immediately does so within the call, and awaiting it has
almost no overhead. Otherwise it waits in a queue of its socket. An operation that is cancelled or times out has neither
received nor sent anything.
"""

# mypy: disable-error-code="override"
# No asynchronous socket is a plain one.

from functools import partial

from zmqcy import _aio, _base, _loop
from zmqcy.context import AsyncContext
from zmqcy.socket import AsyncPoller, AsyncSocket

_POLLIN, _POLLOUT = 1, 2  # without loading the enums


class Socket(AsyncSocket, _aio.FutureSocket):
    """A socket for asyncio coroutines. It belongs to the event loop in which it is first used, until that is closed.

    Tasks of this event loop may share it. Use `zmqcy.Socket` in threads without an event loop.

    Parameters
    ----------
    context : zmqcy.Context or Context
        The context of the socket.
    type : int
        One of `zmqcy.SocketType`.

    Raises
    ------
    InvalidArgument, NotSupported, ZMQError, ContextTerminated
        For the same reasons as `zmqcy.Socket`.
    """

    __slots__ = ()


_base.own_methods(Socket)
Socket._kind = Socket


class Context(AsyncContext):
    """A context whose sockets are for asyncio coroutines.

    The end of an ``async with`` block closes its sockets and terminates it. Event loops in several threads may share
    a context.

    Parameters
    ----------
    io_threads, **options
        As in `zmqcy.Context`.

    Examples
    --------
    >>> async with Context() as context:
    ...     socket = context.socket(zmqcy.PULL)
    """

    __slots__ = ()
    _socket_class = Socket

    @staticmethod
    async def _sleep(seconds):
        from asyncio import sleep

        await sleep(seconds)

    @staticmethod
    async def _readable(waker, seconds):
        """Wait until a file descriptor is readable. Return False after a timeout."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        return await _first(loop, loop.create_future(), [waker.fileno()], [], seconds)


Socket._readable = staticmethod(Context._readable)
Socket._sleep = staticmethod(Context._sleep)


class Poller(AsyncPoller):
    """Wait until one of several sockets or file descriptors is ready, without blocking the event loop.

    It takes sockets of `zmqcy.asyncio` and plain sockets. Other tasks may use these sockets meanwhile.

    Examples
    --------
    >>> poller.register(socket, zmqcy.POLLIN)
    >>> dict(await poller.poll(1000))  # milliseconds
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
    """Wait for a future, or until a file descriptor is ready. Return False after a timeout."""
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
