"""Contexts, sockets and pollers for coroutines of anyio, on asyncio and on trio.

They have the same methods as those of `zmqcy.asyncio`. An operation that completes immediately is not a checkpoint,
except about every hundredth.
"""

# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false
# These methods are coroutine functions; those of the base class return futures.

from contextlib import suppress
from functools import partial
from time import monotonic
from weakref import WeakKeyDictionary

from anyio import (
    CancelScope,
    ClosedResourceError,
    Event,
    create_task_group,
    current_time,
    move_on_after,
    notify_closing,
    sleep,
    wait_readable,
    wait_writable,
)
from anyio.lowlevel import checkpoint, current_token

from zmqcy import _aio
from zmqcy.constants import PollEvent
from zmqcy.context import AsyncContext
from zmqcy.errors import ContextTerminated
from zmqcy.socket import AsyncPoller, AsyncSocket

# Events by event loop and file descriptor. Each is set when the task that watched a closed file descriptor has stopped
# watching it. Until then no task may watch a new file descriptor with the same number: anyio would remove both watches.
_leaving = {}


async def _readable(what):
    fd = what if isinstance(what, int) else what.fileno()
    place = _loop(), fd
    while place in _leaving:
        await _leaving[place].wait()
    await wait_readable(what)


class Socket(AsyncSocket, _aio.FutureSocket):
    """A socket for anyio coroutines. Tasks of one event loop may share it.

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

    __slots__ = ("_home", "_led", "_left")
    _foreign = True

    async def send(self, data, flags=0, copy=None, track=False, *, timeout=None, routing_id=None, group=None):
        operation = super().send(data, flags, copy, track, timeout=timeout, routing_id=routing_id, group=group)
        return await self._complete(operation)

    async def send_multipart(self, parts, flags=0, copy=None, track=False, *, timeout=None):
        return await self._complete(super().send_multipart(parts, flags, copy, track, timeout=timeout))

    async def send_many(self, messages, *, flags=0, timeout=None):
        return await self._complete(super().send_many(messages, flags=flags, timeout=timeout))

    async def send_multipart_many(self, messages, *, flags=0, timeout=None):
        return await self._complete(super().send_multipart_many(messages, flags=flags, timeout=timeout))

    async def recv(self, flags=0, copy=True, track=False, *, timeout=None):
        return await self._complete(super().recv(flags, copy, track, timeout=timeout))

    async def recv_into(self, buffer, *, nbytes=0, flags=0, timeout=None):
        return await self._complete(super().recv_into(buffer, nbytes=nbytes, flags=flags, timeout=timeout))

    async def recv_multipart(self, flags=0, copy=True, track=False, *, timeout=None):
        return await self._complete(super().recv_multipart(flags, copy, track, timeout=timeout))

    async def recv_multipart_into(self, buffers, *, flags=0, timeout=None):
        return await self._complete(super().recv_multipart_into(buffers, flags=flags, timeout=timeout))

    async def recv_many(self, limit=1000, *, max_bytes=1 << 20, flags=0, timeout=None):
        operation = super().recv_many(limit, max_bytes=max_bytes, flags=flags, timeout=timeout)
        return await self._complete(operation)

    async def recv_multipart_many(self, limit=1000, *, max_bytes=1 << 20, flags=0, timeout=None):
        operation = super().recv_multipart_many(limit, max_bytes=max_bytes, flags=flags, timeout=timeout)
        return await self._complete(operation)

    async def poll(self, timeout=None, flags=1):
        return await self._complete(super().poll(timeout, flags))

    async def __anext__(self):
        try:
            return await self.recv()
        except ContextTerminated:
            raise StopAsyncIteration from None

    def _event_loop(self):
        try:
            loop = _loop()
        except RuntimeError:  # no event loop runs in this thread
            return None
        return loop if hasattr(loop, "call_later") else _laters.setdefault(loop, _Later())

    async def _complete(self, operation):
        """Wait until an operation has ended, and return its result. Cancel it if this task is cancelled."""
        try:
            turned = operation.done()
            if not turned and operation._yielding:
                await checkpoint()
                turned = operation._step(True)
            if not turned:
                await self._wait(operation)
        except BaseException as exception:
            if not operation.done():
                operation.throw(exception)
            raise
        return operation.result()

    async def _wait(self, operation):
        """Wait until an operation has ended or timed out."""
        turned = False
        futile = 0
        self._come_home(operation)
        try:
            with move_on_after(operation.seconds):
                while not turned:
                    start = monotonic()
                    turned = await self._turn(operation)
                    futile = futile + 1 if not turned and monotonic() - start < 0.001 else 0
                    if futile == 5:  # a ROUTER with router_mandatory is always ready, also if this peer's queue is full
                        await sleep(0.002)
                        futile = 0
            if not turned and not operation._step():
                operation._expire()
        finally:
            if not self._led:  # this task may have been woken to watch the file descriptor
                self._wake_another(operation)

    def _come_home(self, operation):
        """Make the core schedule its calls in this event loop."""
        home = _loop()
        if getattr(self, "_home", None) is not home:
            self._take_home(_soon_by(home), operation)
            self._home = home
            self._led = False
            self._left = None

    async def _turn(self, operation):
        """Wait until it is the operation's turn, then try it. Return whether it has ended."""
        event = Event()
        if self._led:  # another task watches the file descriptor, and wakes this one
            operation._wait_by(event.set)
            await event.wait()
            return operation._step(True)
        scope = CancelScope()

        def wake():
            event.set()
            scope.cancel()

        operation._wait_by(wake)
        self._led = place = self._home, self._descriptor()
        try:
            with scope:
                while not event.is_set():
                    await _readable(self._descriptor())
                    self._look()
        except ClosedResourceError:
            pass
        finally:
            self._led = False
            if place in _leaving:
                _leaving.pop(place).set()
            if self._left is not None:
                self._left.set()
            self._wake_another(operation)
        return operation._step(event.is_set())

    def _leave(self):
        if not getattr(self, "_led", False):
            return
        try:
            here = _loop() is self._home
        except RuntimeError:  # no event loop runs in this thread
            here = False
        if here:
            _leaving[self._led] = Event()
            notify_closing(self._led[1])
            return
        from threading import Event as ThreadEvent

        left = ThreadEvent()

        def leave():
            if self._led:
                self._left = left  # the watching task sets it
            else:
                left.set()
            self._let_go()

        with suppress(RuntimeError):  # the event loop has ended
            _soon_by(self._home)(leave)
            left.wait(1)


Socket._kind = Socket
for _method in vars(Socket).values():
    if callable(_method) and hasattr(_aio.FutureSocket, _method.__name__):
        _method.__doc__ = getattr(_aio.FutureSocket, _method.__name__).__doc__


def _loop():
    """Return the running asyncio event loop, or the token of the running trio loop."""
    token = current_token()
    return getattr(token, "native_token", token)


def _soon_by(loop):
    """Return the function that schedules a callback in a loop from any thread."""
    return getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe


class _Later:
    """Call functions later in a run of trio, in system tasks, which do not keep the run alive."""

    def call_later(self, seconds, function, *arguments):
        from trio.lowlevel import spawn_system_task

        async def call():
            await sleep(seconds)
            function(*arguments)

        spawn_system_task(call)


_laters = WeakKeyDictionary()


class Context(AsyncContext):
    """A context whose sockets are for anyio coroutines.

    The end of an ``async with`` block closes its sockets and terminates it.

    Parameters
    ----------
    io_threads, **options
        As in `zmqcy.Context`.
    """

    __slots__ = ()
    _socket_class = Socket

    _sleep = staticmethod(sleep)

    @staticmethod
    async def _readable(waker, seconds):
        """Wait until a file descriptor is readable. Return False after a timeout."""
        with move_on_after(seconds) as scope:
            await _readable(waker)
        return not scope.cancelled_caught


Socket._readable = staticmethod(Context._readable)
Socket._sleep = staticmethod(Context._sleep)


class Poller(AsyncPoller):
    """Wait until one of several sockets or file descriptors is ready, without blocking the event loop.

    It takes sockets of `zmqcy.anyio` and plain sockets. Other tasks may use these sockets meanwhile.
    """

    _sleep = staticmethod(sleep)
    _time = staticmethod(current_time)

    async def _wait(self, seconds):
        used = Event()
        sockets, descriptors = self._begin_wait(partial(_soon_by(_loop()), used.set))
        try:
            with move_on_after(seconds):
                async with create_task_group() as group:

                    async def first(wait, *arguments):
                        await wait(*arguments)
                        group.cancel_scope.cancel()

                    group.start_soon(first, used.wait)
                    for what, flags in sockets:
                        socket = what if isinstance(what, Socket) else Socket.shadow(what)
                        group.start_soon(first, socket.poll, None, flags)
                    for fd, flags in descriptors:
                        if flags & PollEvent.POLLIN:
                            group.start_soon(first, _readable, fd)
                        if flags & PollEvent.POLLOUT:
                            group.start_soon(first, wait_writable, fd)
        finally:
            self._end_wait()
