"""`zmq.asyncio`, and `zmq.eventloop.future`, whose loop is one of asyncio too.

The sockets are those of zmqcy.asyncio: what can be done at once is, and a cancelled operation loses no message. As in
pyzmq every call begins its operation, whether its result is awaited or not, and returns a future.
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
    """A warning that pyzmq has for loops of Windows. It is never given here."""


def install() -> None:
    """Do nothing: any event loop of asyncio will do."""
    warnings.warn("zmq.asyncio.install does nothing, and is not needed", DeprecationWarning, stacklevel=2)


class _Converted(asyncio.Future):  # type: ignore[type-arg]
    """What a conversion makes of an operation's result. It is cancelled with the operation, at once, or not at all."""

    operation: Any = None

    def cancel(self, msg: Any = None) -> bool:
        if self.done() or not (self.operation is None or self.operation.cancel()):
            return False
        return super().cancel(msg)


def _then(operation: Any, convert: Callable[[Any], Any], cancel_at_close: bool = False) -> Any:
    """Return a future of what `convert` makes of an operation's result."""
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
    """Let `yield` in a coroutine of tornado take operations: it wants futures of asyncio, and asks this for others."""
    gen = sys.modules.get("tornado.gen")
    if gen is not None:
        for kind in (_operations.Operation, _loop.Done):
            gen.convert_yielded.register(kind, _as_future)
        Socket._taught = True


def _as_future(operation: Any) -> Any:
    return _then(operation, lambda result: result)


@core.with_options
class Socket(core.SocketForms, zmqcy.asyncio.Socket):
    """A socket for coroutines, with the methods and options of pyzmq's.

    Parameters
    ----------
    context : Context or Socket
        The context that serves it, or a socket to shadow.
    socket_type : int
        One of `zmq.SocketType`.
    io_loop : object, optional
        Not used: the loop is the one in which it is first used.
    shadow : int or Socket, optional
        A socket to shadow, or its address.
    copy_threshold : int, optional
        From how many bytes on `bytes` are lent to libzmq instead of copied.
    """

    __slots__ = ("_given_context", "_kind_name", "_own", "_shadow_obj")
    _keen = True  # programs for pyzmq send without awaiting it
    _taught = False  # whether tornado knows what its operations are

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
        """Return a shadow of a socket, for coroutines."""
        return cls.shadow(socket)

    @property
    def _shadow_sock(self) -> Any:
        return core.Socket.shadow(self)

    @property
    def _recv_futures(self) -> Any:
        return self._waiting()

    def _get_loop(self) -> Any:
        """Return the running event loop. If it is one of tornado, ``close(all_fds=True)`` of that closes the socket."""
        loop = asyncio.get_running_loop()
        tornado = sys.modules.get("tornado.ioloop")
        ioloop = tornado.IOLoop.current(instance=False) if tornado is not None else None
        if ioloop is not None and self.fileno() not in ioloop.handlers:
            ioloop.add_handler(self, lambda *_: None, 0)  # it is zmqcy that watches the descriptor
        return loop

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> Any:
        """Receive into a buffer what fits of a part, drop the rest, and return a future of the size of the part."""
        target = core.target_of(buffer, nbytes)
        return _then(self.recv(flags, False), lambda frame: core.cut_into(target, frame))

    def poll(self, timeout: float | None = None, flags: int = core.POLLIN) -> Any:
        """Return a future of the events; the end of the socket cancels it."""
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
        How many threads move messages; or a context to shadow.
    shadow : int or Context, optional
        A context to shadow, or its address.
    """

    __slots__ = ()
    _socket_class = Socket
    _instance = None


class Poller(core.Poller, zmqcy.asyncio.Poller):
    """Wait for several sockets, or descriptors, without blocking the event loop."""

    def poll(self, timeout: float | None = -1) -> Any:
        """Return a future of the list of those that are ready, after some milliseconds at most."""
        return asyncio.ensure_future(self._poll(timeout))  # begins now, as in pyzmq

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
