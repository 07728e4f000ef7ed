"""What libzmq tells of the connections of a socket: watchers with typed events, and the messages of raw monitors.

libzmq has one monitor for a socket, a `Feed`: a PAIR that it writes to. A `Hub` reads there for all watchers of the
socket. The one that is asked for an event empties the PAIR, and hands each event to all that asked for its kind. So
there is no thread; an event costs some microseconds, and a place in the queue of each such watcher until that takes it.
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


_MOST = 1000  # events that are read, or taken, in a row: they may come faster than that, and without end
_HEAD = Struct("=HI")  # the event and its value
_FAILED = Event.BIND_FAILED | Event.ACCEPT_FAILED | Event.CLOSE_FAILED | Event.HANDSHAKE_FAILED_NO_DETAIL
# What libzmq means by an errno where a handshake has failed.
_UNTOLD = {
    errno.EFAULT: "there is no ZAP handler to ask about the peer",
    errno.EAGAIN: "the peer, or the ZAP handler, took longer than handshake_ivl",
    errno.EPIPE: "the peer hung up",
    errno.ECONNRESET: "the peer hung up",
}
_TO_ITSELF = "connected to itself: nobody listens at this port, and TCP chose it for the client's end too"
_ENDED_AT_ONCE = (
    "ended before the handshake: its peer hung up, or has a type that does not fit, or nobody listens and it was a "
    "connection to itself"
)
_HEARTBEATS = "heartbeats may have ended it: the peer was silent, or a message took longer than heartbeat_timeout"
_ZAP = {300: "temporary error", 400: "authentication failed", 500: "internal error"}
_CLOSED = partial(ZMQError, errno.ENOTSOCK, "the socket or its monitor was closed")
_numbers = count()  # of addresses
# One for all hubs: a watcher may be collected, and leave its hub, in whatever thread holds it.
_lock = RLock()
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # another thread of the parent may have held it


class SocketEvent(NamedTuple):
    """Something that happened to a connection of a socket.

    Attributes
    ----------
    event : Event
        What happened.
    value : int
        By `event`. CONNECTED, LISTENING, ACCEPTED, CLOSED, DISCONNECTED: the descriptor, which may have gone since.
        BIND_FAILED, ACCEPT_FAILED, CLOSE_FAILED, HANDSHAKE_FAILED_NO_DETAIL: an errno. CONNECT_RETRIED: milliseconds
        until the next try. HANDSHAKE_FAILED_PROTOCOL: a `ProtocolError`. HANDSHAKE_FAILED_AUTH: the status of ZAP.
    endpoint : str
        The endpoint: as it was bound, or where the other one is.
    peer : str or None
        The address of the other side, ``127.0.0.1:40000``, of CONNECTED and ACCEPTED over tcp; None where it is not
        known, as when the connection has gone already.
    note : str or None
        What zmqcy has found out about it, in words: a connection of which both ends are one, or a connection that may
        have been ended by heartbeats.
    """

    event: Event
    value: int
    endpoint: str
    peer: str | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """str: the name of the event, as ``CONNECTED``."""
        return self.event.name or f"{int(self.event):#x}"

    @property
    def reason(self) -> str | None:
        """str or None: of what failed, why, in words; or the `note`."""
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
    """Read a message of a raw monitor.

    Parameters
    ----------
    parts : list of bytes
        The two parts.

    Returns
    -------
    dict
        ``event``, an `Event`; ``value``, an int; ``endpoint``, bytes.

    Raises
    ------
    ValueError
        It is no message of a monitor.
    """
    if len(parts) != 2 or len(parts[0]) != _HEAD.size:
        raise ValueError(f"parse_monitor_message: no message of a monitor: {parts!r:.80}")
    event, value = _HEAD.unpack(parts[0])
    return {"event": Event(event), "value": value, "endpoint": bytes(parts[1])}


def recv_monitor_message(
    socket: _socket.PlainSocket | _aio.FutureSocket, flags: int = 0
) -> _Message if isinstance(socket, _socket.PlainSocket) else Awaitable[_Message]:  # noqa: F821
    """Receive a message of a raw monitor, and read it.

    Parameters
    ----------
    socket : Socket
        What `get_monitor_socket` gave, or a PAIR that is connected to where `monitor` has it written.
    flags : int, default 0
        As `recv_multipart` takes them.

    Returns
    -------
    dict or awaitable of dict
        As of `parse_monitor_message`; to await where the socket is asynchronous.

    Raises
    ------
    Again, ContextTerminated
        As `recv_multipart` does.
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
    """Return the addresses of the peer and our own of a descriptor, or None if it is no such connection any more."""
    import socket

    try:
        with connection_of(fd) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return None, None
            ends = [address[:2] for address in (connection.getpeername(), connection.getsockname())]
    except OSError:
        return None, None
    if str(ends[1 if accepted else 0][1]) != port:  # another one has the descriptor by now
        return None, None
    return [f"[{host}]:{number}" if ":" in host else f"{host}:{number}" for host, number in ends]


class Feed:
    """What libzmq writes the events of a socket to. The socket keeps it, and tells it when libzmq writes no more.

    libzmq waits for a reader, in a `bind` of the socket and in the thread that serves all connections. So a PAIR of
    ours connects before the monitor begins, and has it end before it leaves; for that it refers to the feed.
    """

    address: bytes | None = None  # once libzmq writes there
    pair: Any = None  # which reads; None: the program has one of its own

    def __init__(self, socket: NativeSocket) -> None:
        self.handle: ref[Any] = ref(socket._handle)

    def socket(self) -> NativeSocket | None:
        """Return the socket or a shadow of it, or None: they have gone."""
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
        """Have libzmq write to a new PAIR, a socket of a class. Return it."""
        if socket.context is None:
            raise _refusal("monitor", socket, "a shadow has no context to make a monitor in", NotSupported)
        address = address or b"inproc://zmqcy.monitor.%d" % next(_numbers)
        self.pair = pair = kind(socket.context, SocketType.PAIR)
        try:
            pair.setsockopt(SocketOption.RCVHWM, 0)  # with an end to its room libzmq's thread would wait for the reader
            pair.connect(address)
            begin(address, *events, self)
        except BaseException:
            pair.close(0)
            raise
        return pair

    def lose_reader(self, endpoint: str | bytes | None) -> None:
        """Its PAIR is about to leave an endpoint, or, where that is None, to be closed."""
        socket = self.socket()
        if socket is not None and socket._feed is self and endpoint in (None, self.address, self.address.decode()):
            socket._unmonitor()

    def ended(self) -> None:
        """libzmq writes no more."""

    def disconnected(self, endpoint: str | bytes) -> None:
        """The socket itself has left an endpoint, of which libzmq writes nothing."""


def _refusal(call, socket, text, kind=StateError):
    return kind(None, text, call=call, socket_type=socket.socket_type.name)


def _raw(socket, call):
    """Return the PAIR that the program reads the events of a socket from, or None."""
    if isinstance(feed := socket._feed, Hub):
        raise _refusal(call, socket, "the socket is watched, and libzmq has one monitor for each")
    return feed and feed.pair


def _write_to(socket, address, events):
    """Do what `monitor` of a socket promises."""
    pair = _raw(socket, "monitor")
    if address is None:
        return socket._unmonitor()
    if pair is not None:
        socket.disable_monitor()
    socket._monitor(address, events, Feed(socket))


def _reader_of(socket, events, address):
    """Do what `get_monitor_socket` of a socket promises."""
    pair = _raw(socket, "get_monitor_socket")
    return pair or Feed(socket).open(socket, socket._kind, socket._monitor, events, address=address)


def _end_raw(socket):
    """Do what `disable_monitor` of a socket promises."""
    feed = socket._feed
    if feed is None or feed.pair is None:
        socket._unmonitor()
    elif not isinstance(feed, Hub):
        feed.pair.close(0)  # and with it the monitor


@contextmanager
def _asked_pipes(socket, wait):
    """Ask the connections of a socket for their numbers: for how many seconds to wait, and what then reads them."""
    seconds = to_seconds(wait, "pipes_stats")
    if seconds is None:
        raise ValueError("pipes_stats: wait must have an end, for libzmq does not tell when all have answered")
    if _raw(socket, "pipes_stats") or socket._feed is not None:
        raise _refusal("pipes_stats", socket, "the socket has a monitor, and libzmq one for each")
    socket.events  # noqa: B018  # answers that came late to the last question go nowhere while there is no monitor
    pair = Feed(socket).open(socket, socket._plain, socket._ask_pipes)

    def answers():
        from zmqcy.stats import PipeStats

        socket.events  # noqa: B018  # to read it has libzmq look at the answers, and write them to the PAIR
        pipes = []
        while pair.try_recv() is not None:  # the event; then how many numbers there are, and these
            _, *numbers, local, remote = (pair.try_recv() for _ in range(5))
            numbers = (int.from_bytes(number, byteorder) for number in numbers)
            pipes.append(PipeStats(*(name.decode("utf-8", "surrogateescape") for name in (local, remote)), *numbers))
        return pipes

    try:
        yield seconds, answers
    finally:
        pair.close(0)


class _Endpoint:
    """The connections of an endpoint, as libzmq tells of them."""

    def __init__(self):
        self.connections: set[int] = set()  # their descriptors
        self.greeted: int = 0  # how many of these have done their handshake
        self.loops: set[int] = set()  # descriptors of connections to itself
        self.note: str | None = None  # what is known of the last connection, if that is no peer


class Hub(Feed):
    """The feed that the watchers of a socket share. All of it is done under the lock."""

    def __init__(self, socket):
        super().__init__(socket)
        self.watchers: set[ref[_Watcher]] = set()  # weakly
        self.failure: Callable[..., ZMQError] | None = None  # what makes the error, once there will be no more events
        self.left: bool = False  # more has come than was handed on
        self.endpoints: defaultdict[str, _Endpoint] = defaultdict(_Endpoint)

    def living(self) -> list[_Watcher]:
        return [watcher for each in list(self.watchers) if (watcher := each()) is not None]

    def pump(self) -> None:
        """Hand on what has come, `_MOST` events of it.

        Afterwards the descriptor of the PAIR becomes readable when there is more. But it is edge-triggered, and
        does not where some is left: then the watchers are woken by their own.
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
        """Take note of who has come or gone, and return the event with what that tells.

        Of a handshake libzmq does not tell which connection has done it.
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
        """There are no more events: let all watchers know."""
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
        """Hand on what has come until libzmq wrote no more, so that it has an end."""
        with _lock:
            self.left = self.failure is None and len(self.watchers) > 0
            with suppress(ZMQError):  # a forked child cannot read the PAIR of its parent
                while self.left:
                    self.pump()
            self.finish(_CLOSED)

    def leave(self, reference: ref[_Watcher]) -> None:
        """Count a watcher no more; after the last one libzmq writes no more events."""
        with _lock:
            self.watchers.discard(reference)
            if not self.watchers and self.failure is None and (socket := self.socket()) is not None:
                socket._unmonitor()
            # Else it goes with its last watcher, and ends its monitor itself: until then libzmq needs the PAIR.


class _Watcher:
    """What watchers share. Several threads may use one; each event goes to one of them."""

    def __init__(self, socket: NativeSocket, events: int | None = None) -> None:
        events = Event.ALL if events is None else events
        if hasattr(self, "_hub"):  # a second time, its descriptors and the hub's note of it would be lost
            raise RuntimeError(f"{type(self).__name__}: already initialised")
        if not isinstance(events, int) or not 0 < events <= Event.ALL:
            raise ValueError(f"watch: events must be of Event.ALL, not {events!r}")
        self.events: Event = Event(events)
        self.socket: Any = socket
        self._queue = deque()
        self._epoll = None
        self._waiting = 0
        self._closed = False
        # Readable while there is something to take or to hand on, and for good, as its other end is closed, when
        # nothing will come.
        self._woken, self._waker = os.pipe()
        self._readable_now = False
        try:
            with _lock:
                hub = socket._feed
                if hub is None or hub.pair is None:
                    hub = Hub(socket)
                    hub.open(socket, socket._plain, socket._monitor, Event.ALL)
                elif not isinstance(hub, Hub):
                    raise StateError(None, "it has a monitor socket, and libzmq one monitor for each", call="watch")
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
        """Return the next event, or None if none is there, or none that was asked for among the next `_MOST`."""
        with _lock:
            self._look()
            event = self._queue.popleft() if self._queue else None
            self._settle()
            return event

    def _look(self):
        """Have what has come handed on, if nothing is there to take."""
        if not self._queue and not self._over():
            self._hub.pump()
        self._settle()

    def _settle(self):
        if self._readable_now and self._waker is not None and not self._queue and not self._hub.left:
            os.read(self._woken, 1)
            self._readable_now = False

    def _check(self, call):
        """Raise what has ended the events."""
        if self._closed:
            raise ZMQError(errno.ENOTSOCK, "the monitor was closed", call=call)
        if self._hub.failure is not None:
            raise self._hub.failure(call=call)

    def _over(self):
        return self._closed or self._hub.failure is not None

    @property
    def peers(self) -> int:
        """int: how many peers are connected, and have done their handshake, of those that came since a `watch` began.

        A connection that has not yet done its handshake may be taken for a peer that has just gone.
        """
        with _lock:
            if not self._over():
                self._hub.pump()
            return sum(each.greeted for each in self._hub.endpoints.values())

    @property
    def _connections(self) -> int:
        """How many connections are open, whether or not they have done their handshake, as far as events were read."""
        with _lock:
            seen = () if self._over() else self._hub.endpoints.values()
            return len(set().union(*(each.connections | each.loops for each in seen)))

    def try_recv(self) -> SocketEvent | None:
        """Return the next event if one is there.

        Returns
        -------
        SocketEvent or None
            None too where libzmq has told of 1,000 events of other kinds: `fileno` stays readable then.

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
        """Return a descriptor that is readable when an event may be there: ask `try_recv`. For pollers and event loops.

        Returns
        -------
        int
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
            self._look()  # libzmq has woken the PAIR when it was connected
            return self._epoll.fileno()

    def close(self) -> None:
        """Watch no longer. Who waits in it is woken. After the last one of a socket libzmq reports no more."""
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
            with _lock:  # weak references still lead here, and to close a descriptor lets other threads in
                self._close_descriptors()

    def __repr__(self):
        return f"<{type(self).__name__} of {self.socket!r}>"


def _limit(call, timeout):
    """Return what tells how many seconds are left of a timeout; None: there is no end."""
    seconds = to_seconds(timeout, call)
    deadline = None if seconds is None else monotonic() + seconds
    return lambda: None if deadline is None else max(0, deadline - monotonic())


def _limit_of_peers(n, timeout):
    """Check the arguments of `wait_peers`, and return what `_limit` does."""
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
    """Events of a socket as they happen: to iterate over, until the socket is closed. `watch` makes it.

    Several threads may use one; each event goes to one of them. It keeps its socket alive, and the events that are not
    taken, but for those that had not been read from libzmq when the context ended.

    Attributes
    ----------
    socket : Socket
        The socket.
    events : Event
        The kinds of events that it gets.
    """

    def recv(self, timeout: _Time = None) -> SocketEvent:
        """Wait for the next event. A call that times out, or whose task is cancelled, has taken none.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.

        Returns
        -------
        SocketEvent

        Raises
        ------
        TimedOut
            None came in time.
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
        """Wait until `recv` would not have to.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.

        Returns
        -------
        bool
            Whether an event is there, or none will come any more.
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
        """Wait until so many peers are connected, and have done their handshake.

        Who has come since the socket is watched is counted: watch it before its first `bind` or `connect`. Of peers
        over inproc libzmq tells nothing. A peer that is there may not have subscribed yet: an XPUB is told of that.
        A connection to itself, which TCP may make where nobody listens at a local port, is not counted. A connection
        that the peer does not serve is counted: a PAIR has one peer, and keeps a second one out for good, as a ROUTER
        does with a routing id that is taken. So ask such a peer for an answer. Where none comes, a DEALER calls
        `disconnect` and `connect`; a PAIR is closed, and another one made.

        Parameters
        ----------
        n : int, default 1
            How many.
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.

        Raises
        ------
        TimedOut
            They have not come in time; the text says how many have.
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
        """Wait until a peer is connected: `wait_peers` for one."""
        self.wait_peers(1, timeout)

    def _wait(self, seconds):
        """Wait until an event may be there. Return False when the time is up."""
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
            # Of what is closed meanwhile the first descriptor tells: its other end is closed too.
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
    """Events of an asynchronous socket: for `async for`, until the socket is closed. `watch` makes it.

    One task at a time may wait in it. It keeps its socket alive, and events that are not taken.

    Attributes
    ----------
    socket : zmqcy.asyncio.Socket or zmqcy.anyio.Socket
        The socket.
    events : Event
        The kinds of events that it gets.
    """

    _taken = 0  # since others had their turn

    async def recv(self, timeout: _Time = None) -> SocketEvent:
        left = _limit("recv", timeout)
        while (event := await self._take_in_turn()) is None:
            self._check("recv")
            if not await self._wait(left()):
                raise TimedOut(call="recv", detail=after(timeout, "recv"))
        return event

    recv.__doc__ = Monitor.recv.__doc__

    async def _take_in_turn(self):
        """Take an event; after so many that were there at once, let other tasks go first."""
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
        """Wait until a peer is connected: `wait_peers` for one."""
        await self.wait_peers(1, timeout)

    async def _wait(self, seconds):
        self._taken = 0
        if self._waiting:
            raise SocketInUse(errno.EBUSY, "another task waits in it", call="recv")
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
