"""Sockets as users see them: options as attributes, endpoints that undo themselves, text and JSON.

Nothing here is on the path of a message: send, recv and their kin are those of `_socket`.
"""

# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false
# A poll is a coroutine for coroutines.

from __future__ import annotations

from errno import EADDRINUSE

from zmqcy import _base, _library, _options, _poll, _socket
from zmqcy.errors import ContextTerminated, ZMQBindError, ZMQError
from zmqcy.options import SOCKET_OPTIONS
from zmqcy.security import Mechanisms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from typing import Any, TypedDict, TypeVar, type_check_only

    from typing_extensions import Buffer, Self

    from zmqcy._library import _Time
    from zmqcy._message import Frame
    from zmqcy.constants import SocketType
    from zmqcy.context import Context
    from zmqcy.monitor import AsyncMonitor, Monitor
    from zmqcy.stats import PipeStats

    _T = TypeVar("_T")

    @type_check_only
    class _SocketOptions(TypedDict, total=False):
        spin: float
        subscribe: Buffer | str
        unsubscribe: Buffer | str


def _monitors():
    """Return the module, which nobody loads who does not watch sockets."""
    from zmqcy import monitor

    return monitor


class Endpoint:
    """What `bind` and `connect` return: a context manager that undoes them.

    Attributes
    ----------
    endpoint : str
        The endpoint, its wildcards resolved.

    Notes
    -----
    An exception of the ``with`` block is passed on, even where the endpoint cannot be left. A ``udp`` endpoint that was
    bound stays until the socket is closed: libzmq cannot unbind it.
    """

    __slots__ = ("_socket", "_undo", "endpoint")

    def __init__(self, socket: BaseSocket, undo: str, endpoint: str) -> None:
        self._socket = socket
        self._undo = undo
        self.endpoint: str = endpoint

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *exception: object) -> None:
        if self._socket.closed or (self._undo == "unbind" and self.endpoint.startswith("udp:")):
            return
        try:
            getattr(self._socket, self._undo)(self.endpoint)
        except ZMQError:
            if kind is None:
                raise

    def __repr__(self):
        return f"<Endpoint {self.endpoint} of {self._socket!r}>"


class BaseSocket(_base.NativeSocket, Mechanisms):
    __doc__ = _base.NativeSocket.__doc__
    __slots__ = ()
    if TYPE_CHECKING:

        @property
        def context(self) -> Context | None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def socket_type(self) -> SocketType:
        """SocketType: the type of the socket."""
        from zmqcy.constants import SocketType

        return SocketType(self.type)

    @property
    def hwm(self) -> int:
        """int: `sndhwm` and `rcvhwm` at once. To read it is to read `sndhwm`."""
        return self.sndhwm

    @hwm.setter
    def hwm(self, messages: int) -> None:
        self.sndhwm = self.rcvhwm = messages

    def set_hwm(self, messages: int) -> None:
        """Set `hwm`.

        Parameters
        ----------
        messages : int
            How many messages wait, each way and for each peer; 0: any number.
        """
        self.hwm = messages

    def get_hwm(self) -> int:
        """Return `hwm`."""
        return self.hwm

    def bind(self, endpoint: str) -> Endpoint:
        super().bind(endpoint)
        return Endpoint(self, "unbind", self.last_endpoint)

    def connect(self, endpoint: str) -> Endpoint:
        super().connect(endpoint)
        return Endpoint(self, "disconnect", self.last_endpoint)

    bind.__doc__ = _base.NativeSocket.bind.__doc__
    connect.__doc__ = _base.NativeSocket.connect.__doc__

    def bind_to_random_port(
        self, endpoint: str, min_port: int | None = None, max_port: int | None = None, max_tries: int = 100
    ) -> int:
        """Bind to a free port of TCP.

        Parameters
        ----------
        endpoint : str
            The address without a port, as ``tcp://127.0.0.1``.
        min_port, max_port : int, optional
            Take one of the ports from `min_port` up to, but without, `max_port`; by default the system chooses.
        max_tries : int, default 100
            How many ports are tried.

        Returns
        -------
        int
            The port.

        Raises
        ------
        ZMQBindError
            None of the ports that were tried is free.
        ValueError
            There are no ports between the two.
        """
        if min_port is None and max_port is None:
            return int(self.bind(f"{endpoint}:*").endpoint.rpartition(":")[2])
        import random

        low = 49152 if min_port is None else min_port
        high = 65536 if max_port is None else max_port
        if not 0 < low < high <= 65536:
            raise ValueError(f"bind_to_random_port: no ports from {low} up to {high}")
        for port in random.sample(range(low, high), min(max_tries, high - low)):
            try:
                self.bind(f"{endpoint}:{port}")
            except ZMQError as error:
                if error.errno != EADDRINUSE:
                    raise
            else:
                return port
        detail = f"{endpoint}, {max_tries} tries from {low} up to {high}"
        raise ZMQBindError(EADDRINUSE, call="bind_to_random_port", detail=detail, socket_type=self.socket_type.name)

    def monitor(self, addr: str | None, events: int | None = None) -> None:
        """Have libzmq write what happens to the connections of this socket to an endpoint, for a PAIR to read.

        `watch` is easier, and safer: libzmq waits for the PAIR, and with it a `bind` of this socket and the connections
        of all sockets; also where nobody has connected yet, until somebody does. So connect the PAIR first, with
        ``rcvhwm=0``, and close it only after ``monitor(None)``: libzmq would wait for ever for one that went.

        Parameters
        ----------
        addr : str or None
            Where to: ``inproc://name``. None ends it.
        events : int, default Event.ALL
            What to write.

        Raises
        ------
        StateError
            The socket is watched, and libzmq has one monitor for each.
        ZMQError
            EPROTONOSUPPORT: the endpoint is not of inproc. EADDRINUSE: it is taken.
        """
        _monitors()._write_to(self, addr, events)

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Any:
        """Return the PAIR that libzmq writes to what happens to the connections of this socket.

        Parameters
        ----------
        events : int, default Event.ALL
            What it writes.
        addr : str, optional
            Its endpoint; by default one that is not in use.

        Returns
        -------
        Socket
            The same one until `disable_monitor`; `zmqcy.monitor.recv_monitor_message` receives from it. It stays open
            when this socket is closed, and has to be closed too before the context can end.

        Raises
        ------
        StateError
            The socket is watched, and libzmq has one monitor for each.
        """
        return _monitors()._reader_of(self, events, addr)

    def disable_monitor(self) -> None:
        """End what `monitor` or `get_monitor_socket` began, and close the socket of the latter. Watchers go on."""
        _monitors()._end_raw(self)

    get = _base.NativeSocket.getsockopt
    set = _base.NativeSocket.setsockopt

    def getsockopt_string(self, option: int, encoding: str = "utf-8") -> str:
        """Read an option of bytes as text.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`.
        encoding : str, default "utf-8"
            Its encoding.

        Returns
        -------
        str

        Raises
        ------
        TypeError
            The option is no string.
        """
        value = self.getsockopt(option)
        if not isinstance(value, bytes):
            raise TypeError(f"getsockopt_string: option {option!r} is an int, not a string")
        return value.decode(encoding)

    def setsockopt_string(self, option: int, value: str, encoding: str = "utf-8") -> None:
        """Set an option of bytes to text.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`.
        value : str
            The text.
        encoding : str, default "utf-8"
            Its encoding.

        Raises
        ------
        TypeError
            `value` is no str.
        """
        if not isinstance(value, str):
            raise TypeError(f"setsockopt_string: a str is required, not {type(value).__name__}")
        self.setsockopt(option, value.encode(encoding))

    get_string = getsockopt_string
    set_string = setsockopt_string


class Socket(BaseSocket, _socket.PlainSocket):
    __doc__ = _socket.PlainSocket.__doc__
    __slots__ = ()
    if TYPE_CHECKING:

        def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Socket: ...

    def watch(self, events: int | None = None) -> Monitor:
        """Watch what happens to the connections of this socket from now on, but for those over inproc.

        Parameters
        ----------
        events : Event, default Event.ALL
            Which kinds of events to get.

        Returns
        -------
        zmqcy.monitor.Monitor, or zmqcy.monitor.AsyncMonitor of an asynchronous socket
            To iterate over, or to ask by `recv(timeout)`; `with`, or `async with`, closes it. There may be several,
            each with all its events. They end when the socket is closed.

        Raises
        ------
        StateError
            The socket has a raw monitor, and libzmq one monitor for each.
        NotSupported
            The socket is a shadow.
        """
        return _monitors().Monitor(self, events)

    def pipes_stats(self, wait: float | timedelta = 20) -> list[PipeStats]:
        """Ask libzmq how much waits in each connection of this socket (a draft).

        Connections answer from the threads of libzmq, and those over inproc when the program calls their other socket.
        libzmq does not tell when all have answered. It takes note of what a peer has read in steps of half the
        high-water mark, and not at all where that is 0: until then it counts what has gone as waiting.

        Parameters
        ----------
        wait : int, float or timedelta, default 20
            Milliseconds that connections have to answer. Who is late is left out, and may be in the next list twice.

        Returns
        -------
        list of zmqcy.stats.PipeStats
            One for each connection that has answered.

        Raises
        ------
        NotSupported
            This libzmq has no drafts, or the socket is a shadow.
        StateError
            The socket is watched, or has a monitor: libzmq has one for each, by which it tells this too.
        SocketInUse
            Another thread is in a call on this socket.
        ValueError
            `wait` has no end.
        """
        from time import sleep

        with _monitors()._asked_pipes(self, wait) as (seconds, answers):
            sleep(seconds)
            return answers()

    def send_string(
        self,
        text: str,
        flags: int = 0,
        encoding: str = "utf-8",
        *,
        timeout: _Time = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> None:
        """Send text.

        Parameters
        ----------
        text : str
            The message.
        flags : int, default 0
            As `send` takes them.
        encoding : str, default "utf-8"
            How it is encoded.
        timeout : int, float or timedelta, optional
            As `send` takes it.
        routing_id : int, optional
            SERVER and PEER: who gets it, as `send` takes it.
        group : str, optional
            RADIO: the group that it is for, as `send` takes it.

        Raises
        ------
        TypeError
            `text` is no str.
        """
        if not isinstance(text, str):
            raise TypeError(f"send_string: a str is required, not {text!r:.80}")
        self.send(text.encode(encoding), flags, timeout=timeout, routing_id=routing_id, group=group)

    def recv_string(self, flags: int = 0, encoding: str = "utf-8", *, timeout: _Time = None) -> str:
        """Receive text.

        Parameters
        ----------
        flags : int, default 0
            As `recv` takes them.
        encoding : str, default "utf-8"
            How it is encoded.
        timeout : int, float or timedelta, optional
            As `recv` takes it.

        Returns
        -------
        str

        Raises
        ------
        UnicodeDecodeError
            The message is no such text; it is in the exception's `object`.
        """
        return self.recv(flags, timeout=timeout).decode(encoding)

    def send_json(
        self,
        value: object,
        flags: int = 0,
        *,
        timeout: _Time = None,
        routing_id: int | None = None,
        group: str | None = None,
        **options: Any,
    ) -> None:
        """Send a value as JSON.

        Parameters
        ----------
        value : object
            What json.dumps takes.
        flags : int, default 0
            As `send` takes them.
        timeout : int, float or timedelta, optional
            As `send` takes it.
        routing_id : int, optional
            SERVER and PEER: who gets it, as `send` takes it.
        group : str, optional
            RADIO: the group that it is for, as `send` takes it.
        **options
            For json.dumps.
        """
        self.send(_to_json(value, options), flags, timeout=timeout, routing_id=routing_id, group=group)

    def recv_json(self, flags: int = 0, *, timeout: _Time = None, **options: Any) -> Any:
        """Receive a value as JSON.

        Parameters
        ----------
        flags : int, default 0
            As `recv` takes them.
        timeout : int, float or timedelta, optional
            As `recv` takes it.
        **options
            For json.loads.

        Returns
        -------
        object

        Raises
        ------
        json.JSONDecodeError
            The message is no JSON; it is in the exception's `doc`.
        """
        return _from_json(self.recv(flags, timeout=timeout), options)

    def send_serialized(
        self,
        value: _T,
        serialize: Callable[[_T], Iterable[Buffer]],
        flags: int = 0,
        copy: bool | None = None,
        *,
        timeout: _Time = None,
    ) -> None:
        """Send what a function makes of a value.

        Parameters
        ----------
        value : object
            The value.
        serialize : callable
            Takes the value, and returns the parts of the message.
        flags : int, default 0
            As `send_multipart` takes them.
        copy : bool, optional
            As `send_multipart` takes it.
        timeout : int, float or timedelta, optional
            As `send_multipart` takes it.
        """
        self.send_multipart(serialize(value), flags, copy, timeout=timeout)

    def recv_serialized(
        self,
        deserialize: Callable[[list[bytes] if copy else list[Frame]], _T],  # noqa: F821
        flags: int = 0,
        copy: bool = True,
        *,
        timeout: _Time = None,
    ) -> _T:
        """Receive a message, and return what a function makes of its parts.

        Parameters
        ----------
        deserialize : callable
            Takes the list of parts.
        flags : int, default 0
            As `recv_multipart` takes them.
        copy : bool, default True
            False: the parts are Frames.
        timeout : int, float or timedelta, optional
            As `recv_multipart` takes it.

        Returns
        -------
        object
            What `deserialize` returned.
        """
        return deserialize(self.recv_multipart(flags, copy, timeout=timeout))


_base.own_methods(Socket)
Socket._kind = BaseSocket._plain = Socket  # of a monitor: the class of the socket that the user reads, or a watcher


class AsyncSocket(BaseSocket):
    """What the asynchronous sockets share beside their options: text and JSON, and `async with`."""

    __slots__ = ()
    if TYPE_CHECKING:

        def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Self: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exception: type[BaseException] | None, *_: object) -> None:
        if exception is None:
            await self.aclose()
        else:
            self.close()

    def watch(self, events: int | None = None) -> AsyncMonitor:
        return _monitors().AsyncMonitor(self, events)

    watch.__doc__ = Socket.watch.__doc__

    async def pipes_stats(self, wait=20):
        with _monitors()._asked_pipes(self, wait) as (seconds, answers):
            await self._sleep(seconds)
            return answers()

    pipes_stats.__doc__ = Socket.pipes_stats.__doc__

    async def aclose(self, linger: _Time = None) -> None:
        """Close the socket, and wait until what it has queued is sent, or its linger is over, and its ports are free.

        Who is cancelled meanwhile leaves it to the context to send the rest.

        Parameters
        ----------
        linger : int or timedelta, optional
            Milliseconds; 0 drops what is queued. By default as the option is set.
        """
        end = self._end_of(self._kind, linger)
        if end is not None:
            try:
                await end.recv_multipart()
            except ContextTerminated:
                pass
            except BaseException:
                self._keep_end(end)
                raise
            end.close(0)

    async def send_string(self, text, flags=0, encoding="utf-8", *, timeout=None, routing_id=None, group=None):
        if not isinstance(text, str):
            raise TypeError(f"send_string: a str is required, not {text!r:.80}")
        await self.send(text.encode(encoding), flags, timeout=timeout, routing_id=routing_id, group=group)

    async def recv_string(self, flags=0, encoding="utf-8", *, timeout=None):
        return (await self.recv(flags, timeout=timeout)).decode(encoding)

    async def send_json(self, value, flags=0, *, timeout=None, routing_id=None, group=None, **options):
        await self.send(_to_json(value, options), flags, timeout=timeout, routing_id=routing_id, group=group)

    async def recv_json(self, flags=0, *, timeout=None, **options):
        return _from_json(await self.recv(flags, timeout=timeout), options)

    async def send_serialized(self, value, serialize, flags=0, copy=None, *, timeout=None):
        await self.send_multipart(serialize(value), flags, copy, timeout=timeout)

    async def recv_serialized(self, deserialize, flags=0, copy=True, *, timeout=None):
        return deserialize(await self.recv_multipart(flags, copy, timeout=timeout))

    for _form in (send_string, recv_string, send_json, recv_json, send_serialized, recv_serialized):
        _form.__doc__ = getattr(Socket, _form.__name__).__doc__
    del _form


class AsyncPoller(_poll.Poller):
    """What the pollers for coroutines share. A subclass waits, by `_wait`, and has the loop's `_sleep` and `_time`."""

    async def poll(self, timeout=None):
        """Wait until one of them is ready.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.

        Returns
        -------
        list of tuple
            The ready ones only, as registered, each with its events; empty when the time is up.

        Raises
        ------
        ZMQError, ContextTerminated
            As `zmqcy.Poller.poll` does.
        SocketInUse
            Another task polls it.
        NotSupported
            POLLPRI is polled for, and the system has no epoll.
        """
        seconds = _library.to_seconds(timeout, "poll")
        deadline = None if seconds is None else self._time() + seconds
        ready = super().poll(0)
        if ready or seconds == 0:
            await self._sleep(0)  # a task that does nothing but poll leaves the others their turn
            return ready
        while not ready and seconds != 0:
            await self._wait(seconds)
            ready = super().poll(0)
            seconds = None if deadline is None else max(0, deadline - self._time())
        return ready


def _to_json(value, options):
    import json

    options.setdefault("separators", (",", ":"))
    return json.dumps(value, **options).encode()


def _from_json(message, options):
    import json

    return json.loads(message, **options)


for _option in SOCKET_OPTIONS:
    if _option.name not in ("subscribe", "unsubscribe"):  # which are methods
        setattr(BaseSocket, _option.name, _options.SocketProperty(_option))
BaseSocket.identity = BaseSocket.routing_id
