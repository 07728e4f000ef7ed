"""`zmq.green`: sockets and pollers that let other gevent greenlets run while they wait.

The file descriptor of a socket is edge-triggered, and any operation of any greenlet may consume its event. So a
greenlet reads the events after each operation, and wakes the greenlets that wait for them.
"""

# mypy: disable-error-code="override"

import os
import time
from functools import wraps
from typing import Any

import gevent
from gevent.hub import Waiter

import zmqcy
from zmqcy import _base
from zmqcy.compat import core
from zmqcy.constants import PollEvent

# Plain ints: arithmetic with enum members costs more than the calls that use them.
POLLIN, POLLOUT = int(PollEvent.POLLIN), int(PollEvent.POLLOUT)
DONTWAIT, EVENTS, SNDTIMEO, RCVTIMEO = (
    int(number) for number in (zmqcy.DONTWAIT, zmqcy.EVENTS, zmqcy.SNDTIMEO, zmqcy.RCVTIMEO)
)
_READ, _WRITE = 1, 2  # flags of gevent's watchers
_SHORT_WAIT = 4  # times `spin`: after a wait up to this long, the next one spins


_option: Any = _base.NativeSocket.getsockopt
_send: Any = zmqcy.Socket.send
_send_multipart: Any = zmqcy.Socket.send_multipart
_recv: Any = zmqcy.Socket.recv
_try_recv: Any = zmqcy.Socket.try_recv
_recv_multipart: Any = zmqcy.Socket.recv_multipart
_clock = time.monotonic
_yield_processor: Any = getattr(os, "sched_yield", lambda: None)


def _deadline(milliseconds: float | None) -> float | None:
    return None if milliseconds is None or milliseconds < 0 else _clock() + milliseconds / 1000


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - _clock())


def _take_turn(hub: Any) -> None:
    """Let other ready greenlets run, and libzmq's threads."""
    _yield_processor()
    waiter = Waiter(hub)
    hub.loop.run_callback(waiter.switch, None)
    waiter.get()


def _telling(name: str) -> Any:
    """Return a socket method that wakes waiting greenlets after the call, which may have consumed their event."""
    method = getattr(core.Socket, name)

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            if self._waiters:
                self._tell()

    return call


class Socket(core.Socket):
    """A socket for greenlets. Several greenlets may wait in it.

    Parameters
    ----------
    ctx_or_socket, socket_type, shadow, copy_threshold
        As in `zmq.Socket`.
    """

    __setattr__: Any = _base.NativeSocket.__setattr__  # faster: each message sets attributes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiters: dict[Waiter, int] = {}  # waiting greenlets, each with its events
        self._watcher: Any = None  # the last watcher, which the next wait uses again
        self._asked = False  # a message was sent since the last receive
        self._eager = True  # the last wait for an answer was short

    bind, unbind, connect, disconnect = map(_telling, ("bind", "unbind", "connect", "disconnect"))
    getsockopt = get = _telling("getsockopt")

    def _tell(self) -> None:
        """Wake the greenlets that wait for events which are ready."""
        try:
            self._wake(_option(self, EVENTS))
        except zmqcy.ZMQError:  # for all waiting greenlets, but not for the caller, who would lose a message
            self._wake(-1)

    def _wake(self, events: int) -> None:
        hub = gevent.get_hub()
        for waiter in [waiter for waiter, flags in self._waiters.items() if flags & events]:
            del self._waiters[waiter]
            loop = waiter.hub.loop
            run = loop.run_callback if waiter.hub is hub else loop.run_callback_threadsafe
            run(waiter.switch, None)

    def _wait(self, flag: int, deadline: float | None) -> bool:
        """Wait until the socket is ready for some events. Return False after a timeout."""
        hub, start = gevent.get_hub(), _clock()
        # A wait for an answer first reads the events in each event-loop iteration: waking a sleeping thread costs more.
        spin = self._hope(flag)
        until = start + spin if self._eager else 0
        while not (events := _option(self, EVENTS)) & flag:
            if self._waiters:
                self._wake(events)
            now = _clock()
            if deadline is not None and now >= deadline:
                break
            if now < until:
                _take_turn(hub)
            else:
                self._sleep(hub, flag, deadline)
        if spin:
            self._eager = _clock() - start < _SHORT_WAIT * spin
        return bool(events & flag)

    def _hope(self, flag: int) -> float:
        """Return the max seconds that a wait for some events may spin."""
        seconds: float = self.spin / 1e6 if self._asked and flag & POLLIN else 0
        return seconds

    def _sleep(self, hub: Any, flag: int, deadline: float | None) -> None:
        """Let other greenlets run until the descriptor is ready, another greenlet wakes this one, or a timeout."""
        waiter, timer = Waiter(hub), None
        watcher, self._watcher = self._watcher, None
        if watcher is None or watcher.loop is not hub.loop:
            watcher = hub.loop.io(self.fileno(), _READ)
        self._waiters[waiter] = flag
        try:
            watcher.start(waiter.switch, None)
            if deadline is not None:
                timer = hub.loop.timer(max(0, deadline - _clock()))
                timer.start(waiter.switch, None)
            waiter.get()
        finally:
            self._waiters.pop(waiter, None)
            watcher.stop()
            self._keep(watcher)
            if timer is not None:
                timer.stop()
                timer.close()

    def _keep(self, watcher: Any) -> None:
        """Store a watcher for the next wait, and close the stored one. If the socket is closed, close both."""
        kept, self._watcher = self._watcher, None if self.closed else watcher
        for each in (kept, watcher):
            if each is not None and each is not self._watcher:
                each.close()

    def _go(self, call: Any, flag: int, *arguments: Any) -> Any:
        """Repeat a call that would block, waiting for the socket each time, until it succeeds."""
        deadline = _deadline(_option(self, RCVTIMEO if flag == POLLIN else SNDTIMEO))
        while self._wait(flag, deadline):
            try:
                return call(self, *arguments)
            except zmqcy.Again:  # a ROUTER is ready, but not for this peer
                if _left(deadline) == 0:
                    raise
                self._tell()
                gevent.sleep(0.001)
        return call(self, *arguments)  # the last attempt, which raises

    def _run(self, call: Any, flag: int, flags: int, *arguments: Any) -> Any:
        """Make a call, and wait if it would block and the flags allow it."""
        try:
            result = call(self, *arguments)
        except zmqcy.Again:
            if flags & DONTWAIT:
                raise
            result = self._go(call, flag, *arguments)
        finally:
            if self._waiters:
                self._tell()
        self._asked = flag == POLLOUT
        return result

    def send(self, data: Any, flags: int = 0, copy: bool | None = None, track: bool = False) -> Any:
        return self._run(_send, POLLOUT, flags, data, flags | DONTWAIT, copy, track)

    def send_multipart(self, msg_parts: Any, flags: int = 0, copy: bool | None = None, track: bool = False) -> Any:
        return self._run(_send_multipart, POLLOUT, flags, list(msg_parts), flags | DONTWAIT, copy, track)

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        if flags or not copy:
            return self._run(_recv, POLLIN, flags, flags | DONTWAIT, copy, track)
        try:  # raising and catching Again would cost more than the rest of a wait
            result = _try_recv(self)
            if result is None:
                result = self._go(_recv, POLLIN, DONTWAIT)
        finally:
            if self._waiters:
                self._tell()
        self._asked = False
        return result

    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        return self._run(_recv_multipart, POLLIN, flags, flags | DONTWAIT, copy, track)

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        target = core.target_of(buffer, nbytes)
        return core.cut_into(target, self.recv(flags, False))

    def poll(self, timeout: float | None = None, flags: int = POLLIN) -> int:
        try:
            self._wait(flags, _deadline(timeout))
            ready: int = _option(self, EVENTS) & flags
        finally:
            if self._waiters:
                self._tell()
        return ready

    def _leave(self) -> None:
        self._wake(-1)
        self._keep(None)


class Context(core.Context):
    """A context whose sockets are for greenlets.

    Parameters
    ----------
    io_threads, shadow
        As in `zmq.Context`.
    """

    __slots__ = ()
    _socket_class = Socket
    _instance = None


class Poller(core.Poller):
    """Wait for several sockets or file descriptors while other greenlets run."""

    _eager = True  # the last wait for an answer was short

    def poll(self, timeout: float | None = -1) -> Any:
        """Return the ready objects, each with its events. `timeout` is in milliseconds; -1: wait indefinitely."""
        deadline = _deadline(timeout)
        hub, start, spin = gevent.get_hub(), _clock(), None
        while not (ready := self._look()) and (left := _left(deadline)) != 0:
            if spin is None:
                spin = max((what._hope(flags) for what, flags in self.sockets if isinstance(what, Socket)), default=0)
            if self._eager and _clock() < start + spin:
                _take_turn(hub)
            else:
                # Other code may have consumed the event of a socket that is not of this class.
                self._sleep(hub, 1 if left is None else min(left, 1))
        if spin:
            self._eager = _clock() - start < _SHORT_WAIT * spin
        return ready

    def _sleep(self, hub: Any, seconds: float) -> None:
        """Let other greenlets run until a file descriptor is ready, another greenlet wakes this one, or a timeout."""
        changed, watchers = Waiter(hub), [hub.loop.timer(seconds)]
        for what, flags in self.sockets:
            if isinstance(what, Socket):
                what._waiters[changed] = flags
            each: Any = what
            fd = each if isinstance(each, int) else each.fileno()
            kinds = _READ if isinstance(what, _base.NativeSocket) else flags & (_READ | _WRITE)
            watchers.append(hub.loop.io(fd, kinds))
        try:
            for watcher in watchers:
                watcher.start(changed.switch, None)
            changed.get()
        finally:
            for watcher in watchers:
                watcher.stop()
                watcher.close()
            for what, _ in self.sockets:
                if isinstance(what, Socket):
                    what._waiters.pop(changed, None)

    def _look(self) -> Any:
        try:
            return super().poll(0)
        finally:
            for what, _ in self.sockets:
                if isinstance(what, Socket) and what._waiters:
                    what._tell()


def device(device_type: int, isocket: Any, osocket: Any) -> None:
    """Forward messages between two sockets, while other greenlets run, until the context ends.

    Parameters
    ----------
    device_type : int
        One of `zmq.DeviceType`. QUEUE forwards in both directions.
    isocket, osocket : Socket
        The two sockets.
    """
    poller = Poller()
    others = {isocket: osocket}
    if device_type == zmqcy.QUEUE:
        others[osocket] = isocket
    for each in others:
        poller.register(each, POLLIN)
    while True:
        for source, _ in poller.poll():
            others[source].send_multipart(source.recv_multipart(copy=False))


_Context, _Socket, _Poller = Context, Socket, Poller
