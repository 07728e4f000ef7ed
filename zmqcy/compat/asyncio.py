"""`zmq.asyncio` and `zmq.eventloop.future`, which both use asyncio.

The sockets are based on zmqcy.asyncio: operations that complete immediately skip the event loop, and a cancelled
operation loses no message. As in pyzmq, every call starts its operation, awaited or not, and returns a future.
"""

# mypy: disable-error-code="override,misc"
# The arguments are those of pyzmq, which are not always those of zmqcy.

import asyncio
import pickle
import sys
import warnings
from collections.abc import Callable
from errno import ENOTSOCK
from typing import Any

import zmqcy
import zmqcy.asyncio
from zmqcy import _loop, _operations
from zmqcy.compat import core
from zmqcy.compat.utils import loads

ZMQEventLoop = asyncio.SelectorEventLoop
CancelledError = asyncio.CancelledError


class ProactorSelectorThreadWarning(RuntimeWarning):
    """pyzmq's warning for event loops of Windows. zmqcy never issues it."""


def install() -> None:
    """Do nothing: all asyncio event loops work."""
    warnings.warn("zmq.asyncio.install does nothing, and is not needed", DeprecationWarning, stacklevel=2)


class _Converted(asyncio.Future):  # type: ignore[type-arg]
    """The future of an operation's converted result. Cancelling it cancels the operation, if that has not ended."""

    operation: Any = None

    def cancel(self, msg: Any = None) -> bool:
        if self.done() or not (self.operation is None or self.operation.cancel()):
            return False
        return super().cancel(msg)


def _then(operation: Any, convert: Callable[[Any], Any], cancel_at_close: bool = False) -> Any:
    """Return a future of ``convert(result)`` of an operation."""
    future = _Converted(loop=asyncio.get_running_loop())

    def settle(operation: Any) -> None:
        if future.done():
            return
        future.operation = None
        if operation.cancelled() or (cancel_at_close and getattr(operation.exception(), "errno", None) == ENOTSOCK):
            future.cancel()
        elif operation.exception() is not None:
            future.set_exception(operation.exception())
        else:
            try:
                future.set_result(convert(operation.result()))
            except Exception as error:
                future.set_exception(error)

    if operation.done():
        settle(operation)
    else:
        future.operation = operation
        operation.add_done_callback(settle)
    return future


def _teach_tornado() -> None:
    """Register operations with tornado, whose coroutines otherwise accept only asyncio futures in `yield`."""
    gen = sys.modules.get("tornado.gen")
    if gen is not None:
        for kind in (_operations.Operation, _loop.Done):
            gen.convert_yielded.register(kind, _as_future)
        Socket._taught = True


def _as_future(operation: Any) -> Any:
    return _then(operation, lambda result: result)


@core.with_options
class Socket(core.SocketForms, zmqcy.asyncio.Socket):
    """A socket for coroutines, with the methods and options of pyzmq.

    Parameters
    ----------
    context : Context or Socket
        The context of the socket, or a socket to shadow.
    socket_type : int
        One of `zmq.SocketType`.
    io_loop : object, optional
        Not used. The socket belongs to the event loop in which it is first used.
    shadow : int or Socket, optional
        A socket to shadow, or its address.
    copy_threshold : int, optional
        The minimum size in bytes for zero-copy sends of `bytes` objects. By default `zmq.COPY_THRESHOLD`.
    """

    __slots__ = ("_given_context", "_kind_name", "_own", "_shadow_obj")
    _keen = True  # programs for pyzmq call send without awaiting it
    _taught = False  # whether operations are registered with tornado

    def __init__(
        self,
        context: Any = None,
        socket_type: int = -1,
        io_loop: Any = None,
        _from_socket: Any = None,
        *,
        shadow: Any = 0,
        copy_threshold: int | None = None,
    ) -> None:
        self._begin(context, socket_type, shadow or _from_socket or 0, copy_threshold)
        if not Socket._taught:
            _teach_tornado()

    @classmethod
    def from_socket(cls, socket: Any, io_loop: Any = None) -> Any:
        """Return a shadow of a plain socket, for coroutines."""
        return cls.shadow(socket)

    @property
    def _shadow_sock(self) -> Any:
        return core.Socket.shadow(self)

    @property
    def _recv_futures(self) -> Any:
        return self._waiting()

    def _get_loop(self) -> Any:
        """Return the running event loop. If it belongs to tornado, its ``close(all_fds=True)`` closes the socket."""
        loop = asyncio.get_running_loop()
        tornado = sys.modules.get("tornado.ioloop")
        ioloop = tornado.IOLoop.current(instance=False) if tornado is not None else None
        if ioloop is not None and self.fileno() not in ioloop.handlers:
            ioloop.add_handler(self, lambda *_: None, 0)  # without events: zmqcy itself watches the file descriptor
        return loop

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> Any:
        """Receive a part into a buffer, truncate it to the buffer, and return a future of the part's full size."""
        target = core.target_of(buffer, nbytes)
        return _then(self.recv(flags, False), lambda frame: core.cut_into(target, frame))

    def poll(self, timeout: float | None = None, flags: int = core.POLLIN) -> Any:
        """Return a future of the ready events. Closing the socket cancels it. `timeout` is in milliseconds."""
        return _then(super().poll(timeout, flags), int, cancel_at_close=True)

    def recv_string(self, flags: int = 0, encoding: str = "utf-8") -> Any:
        return _then(self.recv(flags), lambda message: message.decode(encoding))

    recv_unicode = recv_string

    def recv_json(self, flags: int = 0, **kwargs: Any) -> Any:
        return _then(self.recv(flags), lambda message: loads(message, **kwargs))

    def recv_pyobj(self, flags: int = 0) -> Any:
        core.warn_of_pickle()
        return _then(self.recv(flags), pickle.loads)

    def recv_serialized(self, deserialize: Callable[[list[Any]], Any], flags: int = 0, copy: bool = True) -> Any:
        return _then(self.recv_multipart(flags, copy), deserialize)


Socket._kind = Socket  # type: ignore[attr-defined]
core.Socket.register(Socket)


class Context(core.Context, zmqcy.asyncio.Context):
    """A context whose sockets are for coroutines.

    Parameters
    ----------
    io_threads : int or Context, default 1
        The number of I/O threads, or a context to shadow.
    shadow : int or Context, optional
        A context to shadow, or its address.
    """

    __slots__ = ()
    _socket_class = Socket
    _instance = None


class Poller(core.Poller, zmqcy.asyncio.Poller):
    """Wait for several sockets or file descriptors, without blocking the event loop."""

    def poll(self, timeout: float | None = -1) -> Any:
        """Return a future of the list of ready sockets with their events. `timeout` is in milliseconds."""
        return asyncio.ensure_future(self._poll(timeout))  # starts now, as in pyzmq

    async def _poll(self, timeout: float | None) -> Any:
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None or timeout < 0 else clock() + timeout / 1000
        while True:
            try:
                return await zmqcy.asyncio.Poller.poll(self, timeout)
            except zmqcy.ZMQError as error:
                self._drop_closed(error)
            timeout = None if deadline is None else max(0, deadline - clock()) * 1000


_AsyncSocket, _AsyncPoller = Socket, Poller
