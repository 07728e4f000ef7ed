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

POLLIN, POLLOUT = int(PollEvent.POLLIN), int(PollEvent.POLLOUT)
_READ, _WRITE = 1, 2  # of gevent's watchers


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
        while not (events := super().getsockopt(zmqcy.EVENTS)) & flag:
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

    def _go(self, call: Any, flag: int, flags: int, timeout: int) -> Any:
        """Make a call that may not wait as often as it takes."""
        deadline = _deadline(0 if flags & zmqcy.DONTWAIT else timeout)
        while True:
            try:
                result = call(flags | zmqcy.DONTWAIT)
            except zmqcy.Again:
                if not self._wait(flag, deadline):
                    raise
            else:
                self._tell()
                return result

    def send(self, data: Any, flags: int = 0, copy: bool | None = None, track: bool = False) -> Any:
        send = super().send
        return self._go(lambda now: send(data, now, copy, track), POLLOUT, flags, self.sndtimeo)

    def send_multipart(self, msg_parts: Any, flags: int = 0, copy: bool | None = None, track: bool = False) -> Any:
        parts, send = list(msg_parts), super().send_multipart
        return self._go(lambda now: send(parts, now, copy, track), POLLOUT, flags, self.sndtimeo)

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        recv = super().recv
        return self._go(lambda now: recv(now, copy, track), POLLIN, flags, self.rcvtimeo)

    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        recv = super().recv_multipart
        return self._go(lambda now: recv(now, copy, track), POLLIN, flags, self.rcvtimeo)

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        target = core.target_of(buffer, nbytes)
        return core.cut_into(target, self.recv(flags, False))

    def poll(self, timeout: float | None = None, flags: int = POLLIN) -> int:
        return super().getsockopt(zmqcy.EVENTS) & flags if self._wait(flags, _deadline(timeout)) else 0

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
