"""Define the public socket classes: options as attributes, endpoints as context managers, text and JSON.

The fast methods, such as send and recv, are in the C module `_socket`.
"""

# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false
# AsyncPoller.poll is a coroutine, Poller.poll is not.

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
    """Return the module `zmqcy.monitor`, imported on first use."""
    from zmqcy import monitor

    return monitor


class Endpoint:
    """Result of `bind` and `connect`: a context manager that unbinds or disconnects at the end.

    Attributes
    ----------
    endpoint : str
        The endpoint with wildcards resolved.

    Notes
    -----
    An exception in the ``with`` block is passed on, even if the unbind or disconnect fails too. A bound ``udp``
    endpoint stays bound until the socket is closed: libzmq cannot unbind it.

    Examples
    --------
    >>> with server.bind("tcp://127.0.0.1:*") as bound:
    ...     connected = client.connect(bound.endpoint)
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
        """SocketType: type of the socket."""
        from zmqcy.constants import SocketType

        return SocketType(self.type)

    @property
    def hwm(self) -> int:
        """int: high-water marks in both directions. Sets `sndhwm` and `rcvhwm`; returns `sndhwm`."""
        return self.sndhwm

    @hwm.setter
    def hwm(self, messages: int) -> None:
        self.sndhwm = self.rcvhwm = messages

    def set_hwm(self, messages: int) -> None:
        """Set the high-water marks in both directions, `sndhwm` and `rcvhwm`.

        Parameters
        ----------
        messages : int
            Maximum number of queued messages per peer and direction. 0: unlimited.
        """
        self.hwm = messages

    def get_hwm(self) -> int:
        """Return the send high-water mark, `sndhwm`."""
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
        """Bind to a free TCP port, and return its number.

        Parameters
        ----------
        endpoint : str
            Address without a port, such as ``tcp://127.0.0.1``.
        min_port, max_port : int, optional
            Range of ports: from `min_port` to `max_port` - 1. Default: the system selects a free port.
        max_tries : int, default 100
            Maximum number of ports to try.

        Returns
        -------
        int
            The port.

        Raises
        ------
        ZMQBindError
            No tried port is free.
        ValueError
            The range is empty or invalid.

        See Also
        --------
        bind : with the port ``*`` the system selects a free port too.

        Examples
        --------
        >>> port = socket.bind_to_random_port("tcp://127.0.0.1")
        """
        if min_port is None and max_port is None:
            return int(self.bind(f"{endpoint}:*").endpoint.rpartition(":")[2])
        import random

        low = 49152 if min_port is None else min_port
        high = 65536 if max_port is None else max_port
        if not 0 < low < high <= 65536:
            raise ValueError(f"bind_to_random_port: need 0 < min_port < max_port <= 65536, not {low} and {high}")
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
        """Start or stop libzmq's raw monitor: write connection events to an endpoint, for a PAIR socket to read.

        `watch` is easier and safer. While the PAIR socket is not connected, or is at its high-water mark, libzmq
        blocks, and so do `bind` of this socket and the connections of all sockets. So connect the PAIR socket first,
        with ``rcvhwm=0``, and close it only after ``monitor(None)``: libzmq waits indefinitely for a closed reader.

        Parameters
        ----------
        addr : str or None
            Endpoint for the events, ``inproc://name``. None: stop the monitor.
        events : int, default Event.ALL
            Events to write: members of `zmqcy.Event`.

        Raises
        ------
        StateError
            The socket is watched: libzmq has one monitor per socket.
        ZMQError
            EPROTONOSUPPORT: the endpoint is not inproc. EADDRINUSE: the endpoint is in use.

        See Also
        --------
        watch : iterate over events without an endpoint of your own.
        get_monitor_socket : the same with a PAIR socket made by zmqcy.
        """
        _monitors()._write_to(self, addr, events)

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Any:
        """Start libzmq's raw monitor, and return a PAIR socket that receives the connection events.

        Receive the events with `zmqcy.monitor.recv_monitor_message`. Later calls return the same PAIR socket, until
        `disable_monitor`. It stays open when this socket is closed: close it too, or the context cannot end.

        Parameters
        ----------
        events : int, default Event.ALL
            Events to receive: members of `zmqcy.Event`.
        addr : str, optional
            Endpoint for the events. Default: a generated inproc name.

        Returns
        -------
        Socket

        Raises
        ------
        StateError
            The socket is watched: libzmq has one monitor per socket.

        See Also
        --------
        watch : iterate over events; easier.
        """
        return _monitors()._reader_of(self, events, addr)

    def disable_monitor(self) -> None:
        """Stop the monitor of `monitor` or `get_monitor_socket`, and close its PAIR socket. `watch` is not affected."""
        _monitors()._end_raw(self)

    get = _base.NativeSocket.getsockopt
    set = _base.NativeSocket.setsockopt

    def getsockopt_string(self, option: int, encoding: str = "utf-8") -> str:
        """Return the value of a bytes option as str.

        Parameters
        ----------
        option : int
            A member of `zmqcy.SocketOption`.
        encoding : str, default "utf-8"
            Encoding of the value.

        Returns
        -------
        str

        Raises
        ------
        TypeError
            The option is an int.
        """
        value = self.getsockopt(option)
        if not isinstance(value, bytes):
            raise TypeError(f"getsockopt_string: option {option!r} is an int, not a string")
        return value.decode(encoding)

    def setsockopt_string(self, option: int, value: str, encoding: str = "utf-8") -> None:
        """Set a bytes option to an encoded str.

        Parameters
        ----------
        option : int
            A member of `zmqcy.SocketOption`.
        value : str
            The text.
        encoding : str, default "utf-8"
            Encoding of the text.

        Raises
        ------
        TypeError
            `value` is not a str.
        """
        if not isinstance(value, str):
            raise TypeError(f"setsockopt_string: value must be a str, not {type(value).__name__}")
        self.setsockopt(option, value.encode(encoding))

    get_string = getsockopt_string
    set_string = setsockopt_string


class Socket(BaseSocket, _socket.PlainSocket):
    __doc__ = _socket.PlainSocket.__doc__
    __slots__ = ()
    if TYPE_CHECKING:

        def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Socket: ...

    def watch(self, events: int | None = None) -> Monitor:
        """Watch the connections of this socket: return a monitor that receives their events from now on.

        Connections over inproc have no events. Several monitors may watch a socket, and each receives all events.

        Parameters
        ----------
        events : Event, default Event.ALL
            Kinds of events to receive.

        Returns
        -------
        zmqcy.monitor.Monitor, or zmqcy.monitor.AsyncMonitor of an asynchronous socket
            Iterate over it, or call `recv(timeout)`. The end of ``with``, or ``async with``, closes it. It ends when
            the socket is closed.

        Raises
        ------
        StateError
            The socket has a raw monitor: libzmq has one monitor per socket.
        NotSupported
            The socket is a shadow.

        Examples
        --------
        >>> with push.watch() as monitor:
        ...     push.bind("tcp://127.0.0.1:5555")
        ...     monitor.wait_connected(timeout=10_000)  # wait for the first peer
        """
        return _monitors().Monitor(self, events)

    def pipes_stats(self, wait: float | timedelta = 20) -> list[PipeStats]:
        """Return the queue length of each connection of this socket (draft).

        The call takes `wait` milliseconds. Connections reply from the threads of libzmq; those over inproc reply when
        the program calls their other socket. libzmq does not report whether all have replied.

        `outbound` is approximate: libzmq learns what a peer has read in steps of half the high-water mark, or never if
        the mark is 0, and counts sent messages as queued until then.

        Parameters
        ----------
        wait : int, float or timedelta, default 20
            Time that connections have to reply, in milliseconds. A later reply is missing, and may appear twice in the
            result of the next call.

        Returns
        -------
        list of zmqcy.stats.PipeStats
            One for each connection that has replied.

        Raises
        ------
        NotSupported
            This libzmq has no draft API, or the socket is a shadow.
        StateError
            The socket is watched, or has a monitor: libzmq has one monitor per socket, and uses it for the replies.
        SocketInUse
            Another thread is in a call on this socket.
        ValueError
            `wait` is indefinite.

        See Also
        --------
        stats : counters of the socket; cheap.
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
        """Encode a str, and send it. Blocks as `send` does.

        Parameters
        ----------
        text : str
            The message.
        flags : int, default 0
            Flags, as for `send`.
        encoding : str, default "utf-8"
            Encoding of the message.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds, as for `send`.
        routing_id : int, optional
            Receiver (SERVER, PEER), as for `send`.
        group : str, optional
            Group (RADIO), as for `send`.

        Raises
        ------
        TypeError
            `text` is not a str.

        See Also
        --------
        recv_string : receive text.

        Examples
        --------
        >>> push.send_string("hello")
        """
        if not isinstance(text, str):
            raise TypeError(f"send_string: text must be a str, not {text!r:.80}; send() takes bytes")
        self.send(text.encode(encoding), flags, timeout=timeout, routing_id=routing_id, group=group)

    def recv_string(self, flags: int = 0, encoding: str = "utf-8", *, timeout: _Time = None) -> str:
        """Receive a message, and decode it to str. Blocks as `recv` does.

        Parameters
        ----------
        flags : int, default 0
            Flags, as for `recv`.
        encoding : str, default "utf-8"
            Encoding of the message.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds, as for `recv`.

        Returns
        -------
        str

        Raises
        ------
        UnicodeDecodeError
            The message is not valid text. The attribute `object` of the exception is the message.

        See Also
        --------
        send_string : send text.

        Examples
        --------
        >>> pull.recv_string()
        'hello'
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
        """Send a value as JSON. Blocks as `send` does.

        Parameters
        ----------
        value : object
            Any value that json.dumps accepts.
        flags : int, default 0
            Flags, as for `send`.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds, as for `send`.
        routing_id : int, optional
            Receiver (SERVER, PEER), as for `send`.
        group : str, optional
            Group (RADIO), as for `send`.
        **options
            Keyword arguments for json.dumps.

        See Also
        --------
        recv_json : receive JSON.

        Examples
        --------
        >>> push.send_json({"id": 1, "name": "first"})
        """
        self.send(_to_json(value, options), flags, timeout=timeout, routing_id=routing_id, group=group)

    def recv_json(self, flags: int = 0, *, timeout: _Time = None, **options: Any) -> Any:
        """Receive a JSON message, and return its value. Blocks as `recv` does.

        Parameters
        ----------
        flags : int, default 0
            Flags, as for `recv`.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds, as for `recv`.
        **options
            Keyword arguments for json.loads.

        Returns
        -------
        object

        Raises
        ------
        json.JSONDecodeError
            The message is not valid JSON. The attribute `doc` of the exception is the message.

        See Also
        --------
        send_json : send JSON.

        Examples
        --------
        >>> pull.recv_json()
        {'id': 1, 'name': 'first'}
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
        """Serialize a value with a function, and send it. Blocks as `send_multipart` does.

        Parameters
        ----------
        value : object
            The value.
        serialize : callable
            Function that takes the value, and returns the parts of the message.
        flags : int, default 0
            Flags, as for `send_multipart`.
        copy : bool, optional
            Copy or zero-copy, as for `send_multipart`.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds, as for `send_multipart`.

        See Also
        --------
        recv_serialized : receive and deserialize.

        Examples
        --------
        >>> push.send_serialized({"id": 1}, lambda value: [pickle.dumps(value)])
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
        """Receive a multipart message, and deserialize it with a function. Blocks as `recv_multipart` does.

        Parameters
        ----------
        deserialize : callable
            Function that takes the list of parts, and returns the value.
        flags : int, default 0
            Flags, as for `recv_multipart`.
        copy : bool, default True
            True: the parts are bytes. False: the parts are Frames (zero-copy).
        timeout : int, float or timedelta, optional
            Timeout in milliseconds, as for `recv_multipart`.

        Returns
        -------
        object
            The result of `deserialize`.

        See Also
        --------
        send_serialized : serialize and send.

        Examples
        --------
        >>> pull.recv_serialized(lambda parts: pickle.loads(parts[0]))
        {'id': 1}
        """
        return deserialize(self.recv_multipart(flags, copy, timeout=timeout))


_base.own_methods(Socket)
Socket._kind = BaseSocket._plain = Socket  # classes of a monitor's PAIR socket: for the user to read, for a watcher


class AsyncSocket(BaseSocket):
    """Base class of asynchronous sockets: text and JSON, `async with` and `aclose`."""

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
        """Close the socket, and wait until its messages are sent. Does not block the event loop.

        The wait ends when the queued messages are sent, or `linger` has expired. Then the ports of the socket are free.
        If the task is cancelled, the context continues to send the messages.

        Parameters
        ----------
        linger : int or timedelta, optional
            Time to keep unsent messages, in milliseconds. 0: drop them. Default: the `linger` option.

        See Also
        --------
        close : close without waiting.
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
            raise TypeError(f"send_string: text must be a str, not {text!r:.80}; send() takes bytes")
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
    """Base class of asynchronous pollers. Subclasses define `_wait`, and `_sleep` and `_time` of the event loop."""

    async def poll(self, timeout=None):
        """Wait until a registered socket or file descriptor is ready. Does not block the event loop.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. -1: wait indefinitely. Default: wait indefinitely.

        Returns
        -------
        list of tuple
            Ready sockets and file descriptors, each with its events. Empty: the call timed out.

        Raises
        ------
        ZMQError, ContextTerminated
            As for `zmqcy.Poller.poll`.
        SocketInUse
            Another task is polling this poller.
        NotSupported
            `POLLPRI` is registered, and the system has no epoll.
        """
        seconds = _library.to_seconds(timeout, "poll")
        deadline = None if seconds is None else self._time() + seconds
        ready = super().poll(0)
        if ready or seconds == 0:
            await self._sleep(0)  # a task that only polls must not starve other tasks
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
