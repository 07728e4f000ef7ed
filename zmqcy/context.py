"""Define the public classes of contexts: options as attributes, socket defaults, the context of the process."""

# mypy: disable-error-code="override"
# Asynchronous sockets are not subclasses of Socket.

from __future__ import annotations

import os
from _thread import RLock
from errno import EAGAIN

from zmqcy import _context, _options
from zmqcy._library import after, to_seconds
from zmqcy.errors import SocketInUse, TimedOut
from zmqcy.options import CONTEXT_OPTIONS, OWNERS, REFUSED, SOCKET_OPTIONS
from zmqcy.socket import AsyncSocket, Socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Any, TypedDict, TypeVar, type_check_only

    from typing_extensions import Buffer, Self, Unpack

    from zmqcy._context import _HasUnderlying
    from zmqcy._library import _Time
    from zmqcy.socket import _SocketOptions

    _instances_lock: RLock
    _Made = TypeVar("_Made")

    @type_check_only
    class _ContextOptions(TypedDict, total=False):
        spin: float
        check_limits: bool


_instances = {}  # by class: the context, and the id of the process that made it
_instances_lock = RLock()  # reentrant: making a context runs user code and finalizers, which may call instance()
os.register_at_fork(after_in_child=_instances_lock._at_fork_reinit)


class Context(_context.Context):
    """Create sockets, and own the I/O threads that serve them. One context per process is enough.

    A context is thread-safe: several threads may use it at once. The end of a ``with`` block closes the sockets of the
    context, and terminates it. Context options are attributes. A socket option set on the context is the default for
    its new sockets.

    Parameters
    ----------
    io_threads : int or Context, default 1
        Number of I/O threads. 0 is enough for inproc. A Context: make a shadow of it.
    shadow : int or object, optional
        Make a shadow of this context: see `shadow`.
    tuned : bool, optional
        Whether new sockets read and write up to 96 KiB per system call (`in_batch_size`, `out_batch_size`). libzmq's
        own 8 KiB make messages of 1 to 64 KiB slow. Each connection needs up to 96 KiB more memory per direction.
        Default: True if libzmq has the two draft options. With False, zmqcy also does not change malloc, which
        otherwise keeps up to 32 MiB of free memory for large messages (glibc).
    **options
        Context options and default socket options, set as attributes.

    Raises
    ------
    InvalidArgument
        `io_threads` is negative, or libzmq refuses an option.
    NotSupported
        `tuned` is True, and this libzmq has no draft API.
    AttributeError
        An option is unknown.

    See Also
    --------
    zmqcy.asyncio.Context : for asyncio.
    Context.instance : the context that is shared by the process.

    Examples
    --------
    >>> with zmqcy.Context(linger=0) as ctx:
    ...     socket = ctx.socket(zmqcy.PUSH)
    ...     print(socket.linger)
    0
    """

    __slots__ = ("_defaults",)
    _socket_class = Socket

    def __init__(
        self,
        io_threads: int | _context.Context = 1,
        shadow: int | _HasUnderlying | None = None,
        *,
        tuned: bool | None = None,
        **options: Unpack[_ContextOptions],
    ) -> None:
        if isinstance(io_threads, _context.Context):
            shadow = io_threads
        if shadow:
            self._adopt(shadow)
        else:
            super().__init__(io_threads)
            self._defaults = {}
        if tuned is not None:
            self.tuned = tuned
        for name, value in options.items():
            setattr(self, name, value)

    @classmethod
    def instance(cls, io_threads: int = 1) -> Self:
        """Return the context that is shared by the process, one per class.

        The first call makes the context. A call after its end, or in a forked child, makes a new one. The call may be
        made from any thread.

        Parameters
        ----------
        io_threads : int, default 1
            Number of I/O threads. Ignored if the context exists.

        Returns
        -------
        Context

        Examples
        --------
        >>> zmqcy.Context.instance() is zmqcy.Context.instance()
        True
        """
        with _instances_lock:
            made, process = _instances.get(cls, (None, None))
            if made is None or made.closed or process != os.getpid():
                made = cls(io_threads)
                _instances[cls] = made, os.getpid()
            return made

    @classmethod
    def _weak_shadow(cls, address):
        """Return a shadow that does not keep the context alive."""
        self = cls.__new__(cls)
        self._adopt(address, keeping=False)
        return self

    def _adopt(self, address, keeping=True):
        super()._adopt(address, keeping)
        self._defaults = {}

    def socket(
        self,
        socket_type: int,
        socket_class: Callable[[Self, int], _Made] | None = None,
        **options: Unpack[_SocketOptions],
    ) -> _Made if socket_class else Socket:  # noqa: F821
        """Create a socket.

        Parameters
        ----------
        socket_type : int
            A member of `zmqcy.SocketType`.
        socket_class : callable, optional
            Called with the context and the type; returns the socket. Default: the socket class of this context class.
        **options
            Socket options, set as attributes. `subscribe` and `unsubscribe` are accepted too.

        Returns
        -------
        Socket

        Raises
        ------
        InvalidArgument
            The type is unknown, or libzmq refuses an option.
        NotSupported
            The type is a draft, and this libzmq has no draft API.
        AttributeError
            An option is unknown.
        ZMQError
            EMFILE: `max_sockets` sockets are open, or the process has no file descriptor left.
        ContextTerminated
            The context was terminated.

        Examples
        --------
        >>> sub = ctx.socket(zmqcy.SUB, subscribe="news", rcvhwm=100)
        >>> sub.rcvhwm
        100
        """
        socket = (socket_class or self._socket_class)(self, socket_type)
        try:
            for option, value in self._defaults.items():
                name = socket.socket_type.name
                if name not in REFUSED.get(option, ()) and (option not in OWNERS or name in OWNERS[option]):
                    socket.setsockopt(option, value)
            for name, value in options.items():
                if name in ("subscribe", "unsubscribe"):  # which are methods
                    getattr(socket, name)(value)
                else:
                    setattr(socket, name, value)
        except BaseException:
            socket.close(0)
            raise
        return socket

    def getsockopt(self, option: int) -> Any:
        """Return the default of a socket option for new sockets, by its number.

        Parameters
        ----------
        option : int
            A member of `zmqcy.SocketOption`.

        Returns
        -------
        object
            The value that was set.

        Raises
        ------
        KeyError
            No default was set on this context.

        See Also
        --------
        setsockopt : set a default.
        get : read an option of the context itself.
        """
        return self._defaults[_number("getsockopt", option)]

    def setsockopt(self, option: int, value: float | Buffer | str | timedelta | None) -> None:
        """Set the default of a socket option for new sockets, by its number.

        Socket types that lack the option ignore the default. Existing sockets do not change. The value is validated
        when a socket is created.

        Parameters
        ----------
        option : int
            A member of `zmqcy.SocketOption`.
        value : int, bytes-like, str, timedelta or None
            The default value.

        See Also
        --------
        set : set an option of the context itself.

        Examples
        --------
        >>> ctx.setsockopt(zmqcy.LINGER, 0)  # the same as: ctx.linger = 0
        >>> ctx.socket(zmqcy.PUSH).linger
        0
        """
        self._defaults[_number("setsockopt", option)] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._is_shadow:
            return self.destroy()
        for socket in self._open_sockets():
            if socket.context is self:
                socket.close()


class AsyncContext(Context):
    """Base class of asynchronous contexts: adds `async with` and `aclose`."""

    __slots__ = ()
    _socket_class = AsyncSocket

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if not self._is_shadow:
            return await self.aclose()
        for socket in self._open_sockets():
            if socket.context is self:
                await socket.aclose() if isinstance(socket, AsyncSocket) else socket.close()

    async def aclose(self, timeout: _Time = None) -> None:
        """Close all sockets of the context, and wait until it has ended. Does not block the event loop.

        The context ends when all messages are sent, or the `linger` of their sockets has expired. Without a timeout, a
        RuntimeWarning after one second names unsent messages without a `linger`. If the task is cancelled, a thread
        continues to send the messages.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. Default: wait indefinitely.

        Raises
        ------
        TimedOut
            The context did not end within `timeout`. It continues to end: call `aclose` again to wait longer.
        SocketInUse
            Another thread was still in a call on a socket one second after it was woken.
        """
        seconds = to_seconds(timeout, "aclose")
        for socket in self._open_sockets():
            for turn in range(100):
                try:
                    socket.close()
                    break
                except SocketInUse:
                    if turn == 99:
                        raise
                    self.shutdown()
                    await self._sleep(0.01)
        woken = self._end_soon()
        if woken is not None:
            with woken:
                if seconds is None and not await self._readable(woken, 1):
                    self._warn("aclose")
                if not await self._readable(woken, seconds):
                    raise TimedOut(EAGAIN, call="aclose", detail=after(timeout, "aclose"))
            self._has_ended()


def _number(call, option):
    try:
        return option.__index__()
    except AttributeError:
        raise TypeError(f"{call}: option must be an int, not {option!r}") from None


class _Default:
    """Make a socket option an attribute of contexts: the default for new sockets."""

    def __init__(self, option):
        self.option = option
        self.name = option.name
        self.number = option.number

    @property
    def __doc__(self):
        return f"Default for new sockets: {_options.SocketProperty(self.option).__doc__}"

    def __get__(self, context, owner=None):
        if context is None:
            return self
        try:
            return context._defaults[self.number]
        except KeyError:
            text = f"{self.name} has no default on this Context; set it first"
            raise AttributeError(text, name=self.name) from None  # without `obj`, so that Python suggests no other name

    def __set__(self, context, value):
        context._defaults[self.number] = value

    def __delete__(self, context):
        self.__get__(context)
        del context._defaults[self.number]


for _option in SOCKET_OPTIONS:
    if "w" in _option.access:
        setattr(Context, _option.name, _Default(_option))
Context.identity = Context.routing_id
for _option in CONTEXT_OPTIONS:
    setattr(Context, _option.name, _options.ContextProperty(_option))
