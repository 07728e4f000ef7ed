"""`zmq.green`: sockets and pollers that let other greenlets of gevent run while they wait."""

# mypy: disable-error-code="override"

import time
from typing import Any

import gevent
from gevent.event import Event

import zmqcy
from zmqcy import _base
from zmqcy.compat import core
from zmqcy.constants import PollEvent

# Plain numbers: an operation of an enum's members costs more than the call that it is for.
POLLIN, POLLOUT = int(PollEvent.POLLIN), int(PollEvent.POLLOUT)
DONTWAIT, EVENTS, SNDTIMEO, RCVTIMEO = (
    int(number) for number in (zmqcy.DONTWAIT, zmqcy.EVENTS, zmqcy.SNDTIMEO, zmqcy.RCVTIMEO)
)
_READ, _WRITE = 1, 2  # of gevent's watchers


_option: Any = _base.BaseSocket.getsockopt
_send: Any = zmqcy.Socket.send
_send_multipart: Any = zmqcy.Socket.send_multipart
_recv: Any = zmqcy.Socket.recv
_recv_multipart: Any = zmqcy.Socket.recv_multipart


def _deadline(milliseconds: float | None) -> float | None:
    return None if milliseconds is None or milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class Socket(core.Socket):
    """A socket for greenlets: several of them may wait in it.

    Parameters
    ----------
    ctx_or_socket, socket_type, shadow, copy_threshold
        As `zmq.Socket` takes them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiters: list[Event] = []

    def _tell(self, *_: Any) -> None:
        """Have those who wait look again: any operation may swallow what the descriptor would tell them."""
        waiters, self._waiters = self._waiters, []
        for each in waiters:
            each.set()

    def _wait(self, flag: int, deadline: float | None) -> bool:
        """Wait until the socket is ready for something, and return whether it is."""
        while not (events := _option(self, EVENTS)) & flag:
            if events:
                self._tell()  # others, who wait for the other direction
            left = _left(deadline)
            if left == 0:
                return False
            waiter = Event()
            self._waiters.append(waiter)
            watcher = gevent.get_hub().loop.io(self.fileno(), _READ)
            watcher.start(self._tell)
            try:
                waiter.wait(left)
            finally:
                watcher.stop()
                watcher.close()
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return True

    def _go(self, call: Any, flag: int, flags: int, option: int) -> Any:
        """Make a call that would have to wait as often as it takes."""
        if flags & DONTWAIT:
            return call()
        deadline = _deadline(_option(self, option))
        while self._wait(flag, deadline):
            try:
                result = call()
            except zmqcy.Again:  # another greenlet was first; or a ROUTER is ready, but not for the peer in question
                if _left(deadline) == 0:
                    raise
                gevent.sleep(0.001)
            else:
                self._tell()
                return result
        return call()  # for the last time: it raises

    def send(self, data: Any, flags: int = 0, copy: bool | None = None, track: bool = False) -> Any:
        now = flags | DONTWAIT
        try:
            result = _send(self, data, now, copy, track)
        except zmqcy.Again:
            return self._go(lambda: _send(self, data, now, copy, track), POLLOUT, flags, SNDTIMEO)
        if self._waiters:
            self._tell()
        return result

    def send_multipart(self, msg_parts: Any, flags: int = 0, copy: bool | None = None, track: bool = False) -> Any:
        parts, now = list(msg_parts), flags | DONTWAIT
        try:
            result = _send_multipart(self, parts, now, copy, track)
        except zmqcy.Again:
            return self._go(lambda: _send_multipart(self, parts, now, copy, track), POLLOUT, flags, SNDTIMEO)
        if self._waiters:
            self._tell()
        return result

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        now = flags | DONTWAIT
        try:
            result = _recv(self, now, copy, track)
        except zmqcy.Again:
            return self._go(lambda: _recv(self, now, copy, track), POLLIN, flags, RCVTIMEO)
        if self._waiters:
            self._tell()
        return result

    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        now = flags | DONTWAIT
        try:
            result = _recv_multipart(self, now, copy, track)
        except zmqcy.Again:
            return self._go(lambda: _recv_multipart(self, now, copy, track), POLLIN, flags, RCVTIMEO)
        if self._waiters:
            self._tell()
        return result

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        target = core.target_of(buffer, nbytes)
        return core.cut_into(target, self.recv(flags, False))

    def poll(self, timeout: float | None = None, flags: int = POLLIN) -> int:
        return _option(self, EVENTS) & flags if self._wait(flags, _deadline(timeout)) else 0

    def close(self, linger: int | None = None) -> None:
        super().close(linger)
        self._tell()


class Context(core.Context):
    """A context whose sockets are for greenlets.

    Parameters
    ----------
    io_threads, shadow
        As `zmq.Context` takes them.
    """

    __slots__ = ()
    _socket_class = Socket
    _instance = None


class Poller(core.Poller):
    """Wait for several sockets, or descriptors, while other greenlets run."""

    def poll(self, timeout: float | None = -1) -> Any:
        """Return the ready ones, each with its events, after some milliseconds at most."""
        deadline = _deadline(timeout)
        while not (ready := super().poll(0)) and (left := _left(deadline)) != 0:
            changed = Event()
            watchers = []
            for what, flags in self.sockets:
                if isinstance(what, Socket):
                    what._waiters.append(changed)
                each: Any = what
                fd = each if isinstance(each, int) else each.fileno()
                kinds = _READ if isinstance(what, _base.BaseSocket) else flags & (_READ | _WRITE)
                watchers.append(gevent.get_hub().loop.io(fd, kinds))
                watchers[-1].start(changed.set)
            try:
                # The descriptor of a socket that is none of ours may have told its news to someone else.
                changed.wait(1 if left is None else min(left, 1))
            finally:
                for watcher in watchers:
                    watcher.stop()
                    watcher.close()
                for what, _ in self.sockets:
                    if isinstance(what, Socket) and changed in what._waiters:
                        what._waiters.remove(changed)
        return ready


def device(device_type: int, isocket: Any, osocket: Any) -> None:
    """Forward between two sockets, while other greenlets run, until the context ends.

    Parameters
    ----------
    device_type : int
        One of `zmq.DeviceType`: QUEUE forwards both ways.
    isocket, osocket : Socket
        The sockets.
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
