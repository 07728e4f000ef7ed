"""`zmq.green`: sockets and pollers that let other greenlets of gevent run while they wait.

The descriptor of a socket tells news once, and any operation, by any greenlet, may swallow them. So who has made one
looks at the events, and wakes those who wait for them.
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

# Plain numbers: an operation of an enum's members costs more than the call that it is for.
POLLIN, POLLOUT = int(PollEvent.POLLIN), int(PollEvent.POLLOUT)
DONTWAIT, EVENTS, SNDTIMEO, RCVTIMEO = (
    int(number) for number in (zmqcy.DONTWAIT, zmqcy.EVENTS, zmqcy.SNDTIMEO, zmqcy.RCVTIMEO)
)
_READ, _WRITE = 1, 2  # of gevent's watchers
_SHORT_WAIT = 4  # times the spin: a wait that was no longer makes the next one spin


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
    """Let the other greenlets run that can, and the threads that have an answer to bring."""
    _yield_processor()
    waiter = Waiter(hub)
    hub.loop.run_callback(waiter.switch, None)
    waiter.get()


def _telling(name: str) -> Any:
    """Return a method of sockets that tells others what it may have swallowed."""
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
    """A socket for greenlets: several of them may wait in it.

    Parameters
    ----------
    ctx_or_socket, socket_type, shadow, copy_threshold
        As `zmq.Socket` takes them.
    """

    __setattr__: Any = _base.NativeSocket.__setattr__  # it is in the path of messages

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiters: dict[Waiter, int] = {}  # each with the events that it waits for
        self._watcher: Any = None  # the one that was used last, for the next wait
        self._asked = False  # something was sent since the last message came
        self._eager = True  # the last wait for an answer was short

    bind, unbind, connect, disconnect = map(_telling, ("bind", "unbind", "connect", "disconnect"))
    getsockopt = get = _telling("getsockopt")

    def _tell(self) -> None:
        """Wake those who wait for what there is."""
        try:
            self._wake(_option(self, EVENTS))
        except zmqcy.ZMQError:  # each of them is to hear of it; not the caller, whose message would be lost
            self._wake(-1)

    def _wake(self, events: int) -> None:
        hub = gevent.get_hub()
        for waiter in [waiter for waiter, flags in self._waiters.items() if flags & events]:
            del self._waiters[waiter]
            loop = waiter.hub.loop
            run = loop.run_callback if waiter.hub is hub else loop.run_callback_threadsafe
            run(waiter.switch, None)

    def _wait(self, flag: int, deadline: float | None) -> bool:
        """Wait until the socket is ready for something, and return whether it is."""
        hub, start = gevent.get_hub(), _clock()
        # Who waits for an answer looks again in each turn of the loop for a while: to be woken costs more than that.
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
        """Return for how many seconds a wait for some events may spin."""
        seconds: float = self.spin / 1e6 if self._asked and flag & POLLIN else 0
        return seconds

    def _sleep(self, hub: Any, flag: int, deadline: float | None) -> None:
        """Have other greenlets run until the descriptor tells news, another greenlet does, or the time is up."""
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
        """Keep one watcher, and close the one that was kept before, or all of a closed socket."""
        kept, self._watcher = self._watcher, None if self.closed else watcher
        for each in (kept, watcher):
            if each is not None and each is not self._watcher:
                each.close()

    def _go(self, call: Any, flag: int, *arguments: Any) -> Any:
        """Make a call, which has said that it would have to wait, as often as it takes."""
        deadline = _deadline(_option(self, RCVTIMEO if flag == POLLIN else SNDTIMEO))
        while self._wait(flag, deadline):
            try:
                return call(self, *arguments)
            except zmqcy.Again:  # a ROUTER is ready, but not for the peer in question
                if _left(deadline) == 0:
                    raise
                self._tell()
                gevent.sleep(0.001)
        return call(self, *arguments)  # for the last time: it raises

    def _run(self, call: Any, flag: int, flags: int, *arguments: Any) -> Any:
        """Make a call, which waits if that is needed and the flags let it."""
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
        try:  # to raise Again and to catch it would cost more than all the rest of a wait
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
        As `zmq.Context` takes them.
    """

    __slots__ = ()
    _socket_class = Socket
    _instance = None


class Poller(core.Poller):
    """Wait for several sockets, or descriptors, while other greenlets run."""

    _eager = True  # the last wait for an answer was short

    def poll(self, timeout: float | None = -1) -> Any:
        """Return the ready ones, each with its events, after some milliseconds at most."""
        deadline = _deadline(timeout)
        hub, start, spin = gevent.get_hub(), _clock(), None
        while not (ready := self._look()) and (left := _left(deadline)) != 0:
            if spin is None:
                spin = max((what._hope(flags) for what, flags in self.sockets if isinstance(what, Socket)), default=0)
            if self._eager and _clock() < start + spin:
                _take_turn(hub)
            else:
                # The descriptor of a socket that is none of ours may have told its news to someone else.
                self._sleep(hub, 1 if left is None else min(left, 1))
        if spin:
            self._eager = _clock() - start < _SHORT_WAIT * spin
        return ready

    def _sleep(self, hub: Any, seconds: float) -> None:
        """Have other greenlets run until a descriptor tells news, another greenlet does, or the time is up."""
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
