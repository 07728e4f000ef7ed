"""Connection events of sockets: monitors with typed events, and the messages of raw monitors.

libzmq supports one monitor per socket, a `Feed`: libzmq writes events to a PAIR socket. A `Hub` reads this PAIR for all
monitors of the socket. A monitor that is asked for an event reads all events from the PAIR, and adds each event to the
queues of the monitors that want its kind. No thread is needed. An event costs a few microseconds, and memory until each
monitor has taken it.
"""

from __future__ import annotations

import errno
import os
from _thread import RLock
from collections import defaultdict, deque
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from struct import Struct
from sys import byteorder
from time import monotonic
from typing import NamedTuple
from weakref import ref

from zmqcy._base import connection_of
from zmqcy._library import after, strerror, to_seconds
from zmqcy.constants import Event, ProtocolError, SocketOption, SocketType
from zmqcy.errors import ContextTerminated, NotSupported, SocketInUse, StateError, TimedOut, ZMQError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any, TypedDict, type_check_only

    from typing_extensions import Self

    from zmqcy import _aio, _socket
    from zmqcy._base import NativeSocket
    from zmqcy._library import _Time

    @type_check_only
    class _Message(TypedDict):
        event: Event
        value: int
        endpoint: bytes


_MOST = 1000  # max events that are read, or taken, at a time: they may arrive faster than they are read
_HEAD = Struct("=HI")  # the event and its value
_FAILED = Event.BIND_FAILED | Event.ACCEPT_FAILED | Event.CLOSE_FAILED | Event.HANDSHAKE_FAILED_NO_DETAIL
# The meaning of an errno of libzmq when a handshake has failed.
_UNTOLD = {
    errno.EFAULT: "there is no ZAP handler to ask about the peer",
    errno.EAGAIN: "the peer, or the ZAP handler, took longer than handshake_ivl",
    errno.EPIPE: "the peer hung up",
    errno.ECONNRESET: "the peer hung up",
}
_TO_ITSELF = "connected to itself: nothing listens at this port, and TCP chose it for the client's end too"
_ENDED_AT_ONCE = (
    "ended before the handshake: its peer hung up, or has an incompatible type, or nothing listens and it was a "
    "connection to itself"
)
_HEARTBEATS = "heartbeats may have ended it: the peer was silent, or a message took longer than heartbeat_timeout"
_ZAP = {300: "temporary error", 400: "authentication failed", 500: "internal error"}
_CLOSED = partial(ZMQError, errno.ENOTSOCK, "the socket or its monitor was closed")
_numbers = count()  # for unique addresses
# One lock for all hubs. It is reentrant: a monitor may be garbage-collected, and leave its hub, in any thread.
_lock = RLock()
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # another thread of the parent may have held the lock


class SocketEvent(NamedTuple):
    """A connection event of a socket.

    Attributes
    ----------
    event : Event
        The kind of event.
    value : int
        Its meaning depends on `event`. CONNECTED, LISTENING, ACCEPTED, CLOSED, DISCONNECTED: the file descriptor, which
        may be closed by now. BIND_FAILED, ACCEPT_FAILED, CLOSE_FAILED, HANDSHAKE_FAILED_NO_DETAIL: an errno.
        CONNECT_RETRIED: milliseconds until the next attempt. HANDSHAKE_FAILED_PROTOCOL: a `ProtocolError`.
        HANDSHAKE_FAILED_AUTH: the ZAP status.
    endpoint : str
        The endpoint to which the socket is bound or connected.
    peer : str or None
        The peer's address, such as ``127.0.0.1:40000``, for CONNECTED and ACCEPTED over tcp. None if it is unknown, for
        example because the connection is already closed.
    note : str or None
        A remark of zmqcy: the socket is connected to itself, or heartbeats may have closed the connection.
    """

    event: Event
    value: int
    endpoint: str
    peer: str | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """str: the name of the event, such as ``CONNECTED``."""
        return self.event.name or f"{int(self.event):#x}"

    @property
    def reason(self) -> str | None:
        """str or None: the cause of a failure, in words, or the `note`."""
        if self.event & Event.HANDSHAKE_FAILED_NO_DETAIL and self.value in _UNTOLD:
            return _UNTOLD[self.value]
        if self.event & _FAILED:
            return strerror(self.value) if self.value else "no reason was given"
        if self.event & Event.HANDSHAKE_FAILED_PROTOCOL:
            known = isinstance(self.value, ProtocolError)
            return self.value.name.lower().replace("_", " ") if known else f"{self.value:#x}"
        if self.event & Event.HANDSHAKE_FAILED_AUTH:
            return f"{_ZAP.get(self.value, 'ZAP status')} ({self.value})"
        return self.note


def parse_monitor_message(parts: Sequence[bytes]) -> _Message:
    """Parse a message of a raw monitor.

    Parameters
    ----------
    parts : list of bytes
        The two parts of the message.

    Returns
    -------
    dict
        ``event``, an `Event`; ``value``, an int; ``endpoint``, bytes.

    Raises
    ------
    ValueError
        `parts` is not a message of a monitor.

    See Also
    --------
    recv_monitor_message : receive and parse.
    """
    if len(parts) != 2 or len(parts[0]) != _HEAD.size:
        raise ValueError(f"parse_monitor_message: not a message of a monitor: {parts!r:.80}")
    event, value = _HEAD.unpack(parts[0])
    return {"event": Event(event), "value": value, "endpoint": bytes(parts[1])}


def recv_monitor_message(
    socket: _socket.PlainSocket | _aio.FutureSocket, flags: int = 0
) -> _Message if isinstance(socket, _socket.PlainSocket) else Awaitable[_Message]:  # noqa: F821
    """Receive a message of a raw monitor, and parse it. Blocks as `recv_multipart` does.

    Parameters
    ----------
    socket : Socket
        The result of `get_monitor_socket`, or a PAIR connected to the address given to `monitor`.
    flags : int, default 0
        The flags of `recv_multipart`.

    Returns
    -------
    dict or awaitable of dict
        The result of `parse_monitor_message`. Await it if the socket is asynchronous.

    Raises
    ------
    Again, ContextTerminated
        For the same reasons as `recv_multipart`.

    See Also
    --------
    Monitor : typed events, for any number of monitors per socket.
    """
    parts = socket.recv_multipart(flags)
    return parse_monitor_message(parts) if isinstance(parts, list) else _parse_later(parts)


async def _parse_later(parts):
    return parse_monitor_message(await parts)


def _to_event(head, endpoint):
    number, value = _HEAD.unpack(head)
    event = Event(number)
    endpoint = endpoint.decode("utf-8", "surrogateescape")
    if event & Event.HANDSHAKE_FAILED_PROTOCOL and value in ProtocolError.__members__.values():
        value = ProtocolError(value)
    peer = note = None
    if event & (Event.CONNECTED | Event.ACCEPTED) and endpoint.startswith("tcp://"):
        peer, own = _ends(value, endpoint.rpartition(":")[2], event & Event.ACCEPTED)
        if event & Event.CONNECTED and peer is not None and peer == own:
            note = _TO_ITSELF
    return SocketEvent(event, value, endpoint, peer, note)


def _ends(fd, port, accepted):
    """Return the peer's and the local address of a connection, or None for both if the connection is closed."""
    import socket

    try:
        with connection_of(fd) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return None, None
            ends = [address[:2] for address in (connection.getpeername(), connection.getsockname())]
    except OSError:
        return None, None
    if str(ends[1 if accepted else 0][1]) != port:  # another connection has this file descriptor now
        return None, None
    return [f"[{host}]:{number}" if ":" in host else f"{host}:{number}" for host, number in ends]


class Feed:
    """The monitor of a socket: the address to which libzmq writes events. The socket owns it.

    libzmq blocks until a reader is connected, in `bind` of the socket and in its I/O thread. So zmqcy's PAIR connects
    before the monitor starts, and stops the monitor before it disconnects. For that the PAIR refers to the feed.
    """

    address: bytes | None = None  # set while libzmq writes there
    pair: Any = None  # the reader; None: the program has its own PAIR

    def __init__(self, socket: NativeSocket) -> None:
        self.handle: ref[Any] = ref(socket._handle)

    def socket(self) -> NativeSocket | None:
        """Return the socket or a shadow of it. None: all of them have been freed."""
        handle = self.handle()
        return handle and handle.user()

    def open(
        self,
        socket: NativeSocket,
        kind: type[NativeSocket],
        begin: Callable[..., object],
        *events: int,
        address: str | None = None,
    ) -> NativeSocket:
        """Start the monitor, with a new PAIR of a socket class as its reader. Return the PAIR."""
        if socket.context is None:
            text = "a shadow has no context, which a monitor needs; monitor the socket itself"
            raise _refusal("monitor", socket, text, NotSupported)
        address = address or b"inproc://zmqcy.monitor.%d" % next(_numbers)
        self.pair = pair = kind(socket.context, SocketType.PAIR)
        try:
            pair.setsockopt(SocketOption.RCVHWM, 0)  # with a limit, libzmq's I/O thread would block on a slow reader
            pair.connect(address)
            begin(address, *events, self)
        except BaseException:
            pair.close(0)
            raise
        return pair

    def lose_reader(self, endpoint: str | bytes | None) -> None:
        """Stop the monitor before its PAIR leaves an endpoint or, if that is None, is closed."""
        socket = self.socket()
        if socket is not None and socket._feed is self and endpoint in (None, self.address, self.address.decode()):
            socket._unmonitor()

    def ended(self) -> None:
        """Note that libzmq has stopped the monitor."""

    def disconnected(self, endpoint: str | bytes) -> None:
        """Note that the socket has left an endpoint: libzmq writes no event for that."""


def _refusal(call, socket, text, kind=StateError):
    return kind(None, text, call=call, socket_type=socket.socket_type.name)


def _raw(socket, call):
    """Return the PAIR from which the program reads the events of a socket, or None."""
    if isinstance(feed := socket._feed, Hub):
        text = "the socket is watched, and libzmq supports one monitor per socket; close the monitors of watch() first"
        raise _refusal(call, socket, text)
    return feed and feed.pair


def _write_to(socket, address, events):
    """Implement `monitor` of a socket."""
    pair = _raw(socket, "monitor")
    if address is None:
        return socket._unmonitor()
    if pair is not None:
        socket.disable_monitor()
    socket._monitor(address, events, Feed(socket))


def _reader_of(socket, events, address):
    """Implement `get_monitor_socket` of a socket."""
    pair = _raw(socket, "get_monitor_socket")
    return pair or Feed(socket).open(socket, socket._kind, socket._monitor, events, address=address)


def _end_raw(socket):
    """Implement `disable_monitor` of a socket."""
    feed = socket._feed
    if feed is None or feed.pair is None:
        socket._unmonitor()
    elif not isinstance(feed, Hub):
        feed.pair.close(0)  # stops the monitor too


@contextmanager
def _asked_pipes(socket, wait):
    """Request the statistics of a socket's connections. Return the seconds to wait, and a function to read them."""
    seconds = to_seconds(wait, "pipes_stats")
    if seconds is None:
        raise ValueError(
            "pipes_stats: wait must be a time, not None or -1: libzmq does not tell when all connections have answered"
        )
    if _raw(socket, "pipes_stats") or socket._feed is not None:
        text = "the socket has a monitor, and libzmq supports one per socket; call disable_monitor first"
        raise _refusal("pipes_stats", socket, text)
    socket.events  # noqa: B018  # drops late answers to an earlier request: there is no monitor yet
    pair = Feed(socket).open(socket, socket._plain, socket._ask_pipes)

    def answers():
        from zmqcy.stats import PipeStats

        socket.events  # noqa: B018  # reading it makes libzmq process the answers and write them to the PAIR
        pipes = []
        while pair.try_recv() is not None:  # the event; then the number of values, and the values
            _, *numbers, local, remote = (pair.try_recv() for _ in range(5))
            numbers = (int.from_bytes(number, byteorder) for number in numbers)
            pipes.append(PipeStats(*(name.decode("utf-8", "surrogateescape") for name in (local, remote)), *numbers))
        return pipes

    try:
        yield seconds, answers
    finally:
        pair.close(0)


class _Endpoint:
    """The connections of an endpoint, according to libzmq's events."""

    def __init__(self):
        self.connections: set[int] = set()  # their file descriptors
        self.greeted: int = 0  # how many of these have completed the handshake
        self.loops: set[int] = set()  # file descriptors of connections of the socket to itself
        self.note: str | None = None  # why the last connection does not count as a peer


class Hub(Feed):
    """The feed that the monitors (`watch`) of a socket share. Its methods run with the lock held."""

    def __init__(self, socket):
        super().__init__(socket)
        self.watchers: set[ref[_Watcher]] = set()  # weak references
        self.failure: Callable[..., ZMQError] | None = None  # makes the error to raise after the last event
        self.left: bool = False  # not all events in the PAIR have been distributed
        self.endpoints: defaultdict[str, _Endpoint] = defaultdict(_Endpoint)

    def living(self) -> list[_Watcher]:
        return [watcher for each in list(self.watchers) if (watcher := each()) is not None]

    def pump(self) -> None:
        """Distribute the events in the PAIR, at most `_MOST`.

        Afterwards the PAIR's file descriptor becomes readable when a new event arrives. It is edge-triggered: if events
        are left in the PAIR, it does not become readable, and the monitors are woken by their own file descriptors.
        """
        self.left = gone = False
        try:
            for _ in range(_MOST):
                if (head := self.pair.try_recv()) is None:
                    break
                event = self.count(_to_event(head, self.pair.try_recv()))
                gone |= event.event == Event.DISCONNECTED
                for watcher in self.living():
                    if event.event & watcher.events:
                        watcher._put(event)
                if event.event & Event.MONITOR_STOPPED:
                    self.finish(_CLOSED)
                    break
            else:
                self.left = True
                for watcher in self.living():
                    watcher._wake()
        except ContextTerminated:
            self.finish(ContextTerminated)
        finally:
            socket = self.socket() if gone else None
            if socket is not None:
                socket._catch_up()

    def count(self, event: SocketEvent) -> SocketEvent:
        """Count connections and peers. Return the event with its `peer` and `note`.

        For a handshake libzmq does not report which connection has completed it.
        """
        seen = self.endpoints[event.endpoint]
        if event.event & Event.CONNECTED:
            seen.note = event.note if event.peer or not event.endpoint.startswith("tcp:") else _ENDED_AT_ONCE
        if event.note == _TO_ITSELF:
            seen.loops.add(event.value)
        elif event.event & (Event.ACCEPTED | Event.CONNECTED):
            seen.connections.add(event.value)
            seen.loops.discard(event.value)
        elif event.event & Event.HANDSHAKE_SUCCEEDED and not seen.loops:
            seen.greeted += 1
            seen.note = None
        elif event.event & Event.DISCONNECTED:
            socket = self.socket()
            if not seen.greeted and event.value in seen.connections | seen.loops:
                event = event._replace(note=seen.note)
            elif socket is not None and socket._heartbeats:
                event = event._replace(note=_HEARTBEATS)
            seen.connections.discard(event.value)
            seen.loops.discard(event.value)
            seen.greeted = min(seen.greeted, len(seen.connections))
        return event

    def disconnected(self, endpoint):
        if not isinstance(endpoint, str):
            endpoint = bytes(endpoint).decode()
        with _lock:
            self.pump()
            self.endpoints.pop(endpoint, None)

    def finish(self, failure: Callable[..., ZMQError]) -> None:
        """Wake all monitors: no more events will come."""
        self.left = False
        if self.failure is None:
            self.failure = failure
            for watcher in self.living():
                watcher._awaken()
            socket = self.socket()
            if socket is not None and socket._feed is self:
                socket._end_feed()
            self.pair.close(0)

    def ended(self):
        """Distribute the last events after libzmq has stopped the monitor."""
        with _lock:
            self.left = self.failure is None and len(self.watchers) > 0
            with suppress(ZMQError):  # a forked child cannot read its parent's PAIR
                while self.left:
                    self.pump()
            self.finish(_CLOSED)

    def leave(self, reference: ref[_Watcher]) -> None:
        """Remove a monitor. After the last one, stop libzmq's monitor."""
        with _lock:
            self.watchers.discard(reference)
            if not self.watchers and self.failure is None and (socket := self.socket()) is not None:
                socket._unmonitor()
            # Otherwise the socket is freed with its last monitor, and stops libzmq's monitor itself. libzmq needs the
            # PAIR until then.


class _Watcher:
    """The base of monitors. Several threads may use a monitor; each event is delivered to one of them."""

    def __init__(self, socket: NativeSocket, events: int | None = None) -> None:
        events = Event.ALL if events is None else events
        if hasattr(self, "_hub"):  # a second call would lose its file descriptors and its registration with the hub
            raise RuntimeError(f"{type(self).__name__}: already initialised")
        if not isinstance(events, int) or not 0 < events <= Event.ALL:
            raise ValueError(f"watch: events must be one or several of Event.ALL, not {events!r}")
        self.events: Event = Event(events)
        self.socket: Any = socket
        self._queue = deque()
        self._epoll = None
        self._waiting = 0
        self._closed = False
        # Readable while an event can be taken or distributed. When no more events will come, its other end is closed,
        # so it stays readable.
        self._woken, self._waker = os.pipe()
        self._readable_now = False
        try:
            with _lock:
                hub = socket._feed
                if hub is None or hub.pair is None:
                    hub = Hub(socket)
                    hub.open(socket, socket._plain, socket._monitor, Event.ALL)
                elif not isinstance(hub, Hub):
                    text = "the socket has a monitor socket, and libzmq supports one; call disable_monitor first"
                    raise StateError(None, text, call="watch")
                self._place = ref(self, hub.leave)
                hub.watchers.add(self._place)
                self._hub = hub
                if hub.left:
                    self._wake()
        except BaseException:
            with _lock:
                self._close_descriptors()
            raise

    def _put(self, event):
        self._queue.append(event)
        self._wake()

    def _wake(self):
        if not self._readable_now and self._waker is not None:
            os.write(self._waker, b"\0")
            self._readable_now = True

    def _awaken(self):
        if self._waker is not None:
            os.close(self._waker)
            self._waker = None

    def _take(self):
        """Return the next event, or None if the next `_MOST` events include none of the wanted kinds."""
        with _lock:
            self._look()
            event = self._queue.popleft() if self._queue else None
            self._settle()
            return event

    def _look(self):
        """Distribute new events if the own queue is empty."""
        if not self._queue and not self._over():
            self._hub.pump()
        self._settle()

    def _settle(self):
        if self._readable_now and self._waker is not None and not self._queue and not self._hub.left:
            os.read(self._woken, 1)
            self._readable_now = False

    def _check(self, call):
        """Raise the error for a monitor that is closed, or whose events have ended."""
        if self._closed:
            raise ZMQError(errno.ENOTSOCK, "the monitor was closed", call=call)
        if self._hub.failure is not None:
            raise self._hub.failure(call=call)

    def _over(self):
        return self._closed or self._hub.failure is not None

    @property
    def peers(self) -> int:
        """int: the number of connected peers that have completed the handshake since the socket is watched.

        The number may be wrong while handshakes are in progress: libzmq does not report which connection has completed
        one.
        """
        with _lock:
            if not self._over():
                self._hub.pump()
            return sum(each.greeted for each in self._hub.endpoints.values())

    @property
    def _connections(self) -> int:
        """Count the open connections, with or without handshake, according to the events read so far."""
        with _lock:
            seen = () if self._over() else self._hub.endpoints.values()
            return len(set().union(*(each.connections | each.loops for each in seen)))

    def try_recv(self) -> SocketEvent | None:
        """Return the next event without waiting.

        Returns
        -------
        SocketEvent or None
            None: there is no event. Also None after 1,000 events of other kinds; `fileno` then stays readable.

        Raises
        ------
        ZMQError
            ENOTSOCK: the socket or the monitor was closed, and all events were taken.
        ContextTerminated
            The context has ended.
        """
        event = self._take()
        if event is None:
            self._check("try_recv")
        return event

    def fileno(self) -> int:
        """Return a file descriptor for pollers and event loops. When it is readable, call `try_recv`.

        Returns
        -------
        int
            The file descriptor. The monitor closes it.
        """
        with _lock:
            if self._closed:
                self._check("fileno")
            if self._epoll is None:
                from selectors import EVENT_READ, DefaultSelector

                both = DefaultSelector()  # an epoll or a kqueue
                both.register(self._woken, EVENT_READ)
                if not self._over():
                    both.register(self._hub.pair.fileno(), EVENT_READ)
                self._epoll = both
            self._look()  # the connection of the PAIR has made its file descriptor readable: read that event
            return self._epoll.fileno()

    def close(self) -> None:
        """Close the monitor and wake the calls that wait in it. After the last one, libzmq reports no more events."""
        with _lock:
            if not self._closed:
                self._closed = True
                self._queue.clear()
                self._awaken()
                self._hub.leave(self._place)
                self._leave_descriptors()

    @property
    def closed(self) -> bool:
        """bool: whether `close` was called."""
        return self._closed

    def _leave_descriptors(self):
        if self._closed and not self._waiting:
            self._close_descriptors()

    def _close_descriptors(self):
        self._awaken()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        if self._woken is not None:
            os.close(self._woken)
            self._woken = None

    def __del__(self) -> None:
        if getattr(self, "_woken", None) is not None:
            with _lock:  # weak references still refer to it, and closing a file descriptor releases the GIL
                self._close_descriptors()

    def __repr__(self):
        return f"<{type(self).__name__} of {self.socket!r}>"


def _limit(call, timeout):
    """Return a function that returns the remaining seconds of a timeout. None: there is no timeout."""
    seconds = to_seconds(timeout, call)
    deadline = None if seconds is None else monotonic() + seconds
    return lambda: None if deadline is None else max(0, deadline - monotonic())


def _limit_of_peers(n, timeout):
    """Check the arguments of `wait_peers`, and return the result of `_limit`."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        kind = ValueError if isinstance(n, int) else TypeError
        raise kind(f"wait_peers: n must be a number of peers, not {n!r:.80}")
    return _limit("wait_peers", timeout)


def _too_few(watcher, n, timeout):
    detail = f"{after(timeout, 'wait_peers')} with {watcher.peers} of {n} peers"
    for endpoint, seen in watcher._hub.endpoints.items():
        if seen.note is not None:
            detail += f", {endpoint} {seen.note}"
    return TimedOut(call="wait_peers", detail=detail)


class Monitor(_Watcher):
    """An iterator over the connection events of a socket, until the socket is closed. `Socket.watch` creates it.

    Several threads may use a monitor; each event is delivered to one of them. The monitor keeps its socket alive. It
    also keeps events that are not yet taken, except those that were not read from libzmq when the context ended.

    Attributes
    ----------
    socket : Socket
        The socket.
    events : Event
        The kinds of events that the monitor receives.

    Examples
    --------
    >>> for event in socket.watch(Event.CONNECTED | Event.DISCONNECTED):
    ...     print(event.name, event.endpoint)

    See Also
    --------
    AsyncMonitor : for asynchronous sockets.
    """

    def recv(self, timeout: _Time = None) -> SocketEvent:
        """Wait for the next event. A call that times out, or whose task is cancelled, takes no event.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Max milliseconds to wait. By default, or with -1, wait indefinitely.

        Returns
        -------
        SocketEvent
            The event.

        Raises
        ------
        TimedOut
            No event arrived in time.
        SocketInUse
            Another task waits in this `AsyncMonitor`.
        ZMQError
            ENOTSOCK: the socket or the monitor was closed, and all events were taken.
        ContextTerminated
            The context has ended.
        """
        left = _limit("recv", timeout)
        while (event := self._take()) is None:
            self._check("recv")
            if not self._wait(left()):
                raise TimedOut(call="recv", detail=after(timeout, "recv"))
        return event

    def poll(self, timeout: _Time = None) -> bool:
        """Wait until `recv` would return or raise at once.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Max milliseconds to wait. By default, or with -1, wait indefinitely.

        Returns
        -------
        bool
            True: there is an event, or no more events will come. False: the call timed out.
        """
        left = _limit("poll", timeout)
        while True:
            with _lock:
                self._look()
                if self._queue or self._over():
                    return True
            if not self._wait(left()):
                return False

    def wait_peers(self, n: int = 1, timeout: _Time = None) -> None:
        """Wait until `n` peers are connected and have completed the handshake.

        Only peers that connect after `watch` are counted: call `watch` before the first `bind` or `connect`. There are
        limits:

        - libzmq reports no peers over inproc.
        - A connected subscriber may not have subscribed yet. An XPUB receives the subscriptions.
        - TCP may connect a socket to itself if nothing listens at a local port. Such a connection is not counted.
        - A connection that the peer does not serve is counted. A PAIR serves one peer and ignores others indefinitely.
          A ROUTER does the same with a routing id that is already in use. So request an answer from such a peer. If
          none arrives, call `disconnect` and `connect` (DEALER), or close the socket and create another one (PAIR).

        Parameters
        ----------
        n : int, default 1
            The number of peers.
        timeout : int, float or timedelta, optional
            Max milliseconds to wait. By default, or with -1, wait indefinitely.

        Raises
        ------
        TimedOut
            Fewer peers connected in time. The text contains their number.
        ZMQError
            ENOTSOCK: the socket or the monitor was closed.
        ContextTerminated
            The context has ended.
        """
        left = _limit_of_peers(n, timeout)
        with Monitor(self.socket, Event.HANDSHAKE_SUCCEEDED) as other:
            while self.peers < n:
                self._check("wait_peers")
                if not other._wait(left()):
                    raise _too_few(self, n, timeout)
                other.try_recv()

    def wait_connected(self, timeout: _Time = None) -> None:
        """Wait until one peer is connected, as `wait_peers(1, timeout)` does."""
        self.wait_peers(1, timeout)

    def _wait(self, seconds):
        """Wait until there may be an event. Return False after a timeout."""
        import select

        if seconds == 0:
            return False
        with _lock:
            if self._over():
                return True
            waits = select.poll()
            waits.register(self._woken, select.POLLIN)
            waits.register(self._hub.pair.fileno(), select.POLLIN)
            self._waiting += 1
        try:
            # If the monitor is closed meanwhile, the first file descriptor becomes readable: its other end is closed.
            waits.poll(None if seconds is None else seconds * 1000)
        finally:
            with _lock:
                self._waiting -= 1
                self._leave_descriptors()
        return True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SocketEvent:
        while (event := self._take()) is None:
            if self._over():
                raise StopIteration
            self._wait(None)
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncMonitor(_Watcher):
    """An asynchronous iterator over the connection events of a socket. `watch` of an asynchronous socket creates it.

    It ends when the socket is closed. One task at a time may wait in it. It keeps its socket alive, and events that are
    not yet taken.

    Attributes
    ----------
    socket : zmqcy.asyncio.Socket or zmqcy.anyio.Socket
        The socket.
    events : Event
        The kinds of events that the monitor receives.

    Examples
    --------
    >>> async for event in socket.watch():
    ...     print(event.name, event.endpoint)

    See Also
    --------
    Monitor : for plain sockets.
    """

    _taken = 0  # events taken since other tasks had a chance to run

    async def recv(self, timeout: _Time = None) -> SocketEvent:
        left = _limit("recv", timeout)
        while (event := await self._take_in_turn()) is None:
            self._check("recv")
            if not await self._wait(left()):
                raise TimedOut(call="recv", detail=after(timeout, "recv"))
        return event

    recv.__doc__ = Monitor.recv.__doc__

    async def _take_in_turn(self):
        """Take an event. Yield to the event loop after many events that were available at once."""
        self._taken += 1
        if self._taken > _MOST:
            self._taken = 0
            await self.socket._sleep(0)
        return self._take()

    async def wait_peers(self, n: int = 1, timeout: _Time = None) -> None:
        left = _limit_of_peers(n, timeout)
        async with AsyncMonitor(self.socket, Event.HANDSHAKE_SUCCEEDED) as other:
            while self.peers < n:
                self._check("wait_peers")
                if not await other._wait(left()):
                    raise _too_few(self, n, timeout)
                other.try_recv()

    wait_peers.__doc__ = Monitor.wait_peers.__doc__

    async def wait_connected(self, timeout: _Time = None) -> None:
        """Wait until one peer is connected, as `wait_peers(1, timeout)` does."""
        await self.wait_peers(1, timeout)

    async def _wait(self, seconds):
        self._taken = 0
        if self._waiting:
            raise SocketInUse(errno.EBUSY, "another task waits in this monitor; give each task its own", call="recv")
        if seconds == 0:
            return False
        self.fileno()
        self._waiting = 1
        try:
            return await self.socket._readable(self, seconds)
        finally:
            with _lock:
                self._waiting = 0
                self._leave_descriptors()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SocketEvent:
        while (event := await self._take_in_turn()) is None:
            if self._over():
                raise StopAsyncIteration
            await self._wait(None)
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()
