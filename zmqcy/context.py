"""Contexts as users see them: options as attributes, defaults for sockets, the context of the process."""

# mypy: disable-error-code="override"
# No asynchronous socket is a plain one.

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


_instances = {}  # by class, with the process that each was made in
_instances_lock = RLock()  # to make one runs code of users and finalizers, which may ask for one
os.register_at_fork(after_in_child=_instances_lock._at_fork_reinit)


class Context(_context.Context):
    """A context: libzmq's I/O threads, and the sockets that they serve. It may be used from several threads.

    ``with`` closes its sockets and ends it. Options of the context are attributes; an option of sockets set on a
    context is the default of the sockets that it makes from then on.

    Parameters
    ----------
    io_threads : int or Context, default 1
        How many threads move messages; 0 is enough for inproc. Or a context to shadow.
    shadow : int or object, optional
        What `shadow` takes, to make a shadow.
    tuned : bool, optional
        Whether new sockets read and write 96 KiB at a time (`in_batch_size`, `out_batch_size`), where libzmq's own
        8 KiB make messages of 1 to 64 KiB slow. By default they do if libzmq has the two options, which are drafts. A
        connection needs up to 96 KiB more memory per direction. With False, zmqcy also leaves malloc alone, which
        otherwise keeps up to 32 MiB of free memory for large messages (glibc).
    **options
        Options, as attributes.

    Raises
    ------
    InvalidArgument
        `io_threads` is negative, or an option is refused.
    NotSupported
        `tuned` is True, and this libzmq has no drafts.
    AttributeError
        There is no such option.

    Examples
    --------
    >>> with Context(linger=0) as ctx:
    ...     ctx.socket(PUSH).linger
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
        """Return the context of this process and class, made when first asked for, after it ended, and after a fork.

        Parameters
        ----------
        io_threads : int, default 1
            For the context, if it is made now.

        Returns
        -------
        Context
        """
        with _instances_lock:
            made, process = _instances.get(cls, (None, None))
            if made is None or made.closed or process != os.getpid():
                made = cls(io_threads)
                _instances[cls] = made, os.getpid()
            return made

    @classmethod
    def _weak_shadow(cls, address):
        """Return a shadow that does not keep its context alive."""
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
        """Make a socket.

        Parameters
        ----------
        socket_type : int
            One of `zmqcy.SocketType`.
        socket_class : callable, optional
            What is called with the context and the type to make it; by default the `_socket_class` of the context's
            class.
        **options
            Options of the socket, as attributes.

        Returns
        -------
        Socket

        Raises
        ------
        InvalidArgument
            There is no such type, or an option is refused.
        ZMQError
            EMFILE: `max_sockets` are open, or the process has no descriptor left.
        ContextTerminated
            The context has ended.
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
        """Return the default that `setsockopt` gave to an option of sockets.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`.

        Raises
        ------
        KeyError
            It has none.
        """
        return self._defaults[_number("getsockopt", option)]

    def setsockopt(self, option: int, value: float | Buffer | str | timedelta | None) -> None:
        """Give an option of sockets a default for the sockets that this context makes from now on.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`.
        value : int, bytes-like or timedelta
            Its value; a type of socket that does not have the option goes without.
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
    """What the contexts of asynchronous sockets share: `async with`, and an end that others need not wait for."""

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
        """Close every open socket of the context, and wait until what they owe is sent, or their linger is over.

        Who is cancelled meanwhile leaves it to a thread to send the rest.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default for ever.

        Raises
        ------
        TimedOut
            It has not ended within `timeout`; call again to wait on.
        SocketInUse
            Another thread did not leave a socket within a second after it was woken.
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
                if not await self._readable(woken, seconds):
                    raise TimedOut(EAGAIN, call="aclose", detail=after(timeout, "aclose"))
            self._has_ended()


def _number(call, option):
    try:
        return option.__index__()
    except AttributeError:
        raise TypeError(f"{call}: option must be an int, not {option!r}") from None


class _Default:
    """An option of sockets as an attribute of a context: the default of its new sockets."""

    def __init__(self, option):
        self.option = option
        self.name = option.name
        self.number = option.number

    @property
    def __doc__(self):
        return f"For new sockets: {_options.SocketProperty(self.option).__doc__}"

    def __get__(self, context, owner=None):
        if context is None:
            return self
        try:
            return context._defaults[self.number]
        except KeyError:
            raise AttributeError(f"{self.name} has no default on this Context", name=self.name, obj=context) from None

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
