"""`zmq.eventloop` on tornado: ZMQStream, which calls functions when messages arrive and are sent."""

import asyncio
import pickle
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tornado.ioloop import IOLoop, PeriodicCallback  # noqa: F401  # programs import them from zmq.eventloop.ioloop
from tornado.log import gen_log

import zmqcy
from zmqcy import _base
from zmqcy.compat import core
from zmqcy.compat.utils import dumps
from zmqcy.constants import PollEvent

ZMQIOLoop = IOLoop
# Plain ints: arithmetic with enum members costs more than the calls that use them.
POLLIN, POLLOUT = int(PollEvent.POLLIN), int(PollEvent.POLLOUT)
DONTWAIT, EVENTS = int(zmqcy.DONTWAIT), int(zmqcy.EVENTS)
_AT_ONCE = 64  # max messages received, and sent, in an event-loop iteration


def install() -> None:
    """Do nothing: tornado uses asyncio, and all asyncio event loops work."""
    warnings.warn("zmq.eventloop.ioloop.install does nothing, and is not needed", DeprecationWarning, stacklevel=2)


class ZMQStream:
    """Call functions when a socket has received a message, or has sent a queued message.

    It also has the methods of the socket, except those that receive.

    Parameters
    ----------
    socket : Socket
        A plain socket. No other code may receive from it.
    io_loop : tornado.ioloop.IOLoop, optional
        The event loop. By default the current one.
    """

    socket: Any
    io_loop: Any

    def __init__(self, socket: Any, io_loop: Any = None) -> None:
        if not isinstance(socket, zmqcy.Socket):
            if not isinstance(socket, _base.NativeSocket):
                raise TypeError(f"ZMQStream: a Socket is required, not {socket!r:.80}")
            text = "ZMQStream is for plain sockets: create them with ctx.socket(..., socket_class=zmq.Socket)"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            socket = core.Socket.shadow(socket)
        self.socket = socket
        self.io_loop = io_loop or IOLoop.current()
        self._events: Any = partial(_base.NativeSocket.getsockopt, socket, EVENTS)
        self._queue: deque[tuple[list[Any], int, bool, bool, dict[str, Any]]] = deque()
        self._on_recv: Callable[[list[Any]], Any] | None = None
        self._on_send: Callable[[list[Any], Any], Any] | None = None
        self._on_close: Callable[[], Any] | None = None
        self._copy = True
        self._due = False
        for name in ("bind", "bind_to_random_port", "connect", "setsockopt", "getsockopt"):
            setattr(self, name, getattr(socket, name))
        for name in ("setsockopt_string", "getsockopt_string", "setsockopt_unicode", "getsockopt_unicode"):
            setattr(self, name, getattr(socket, name, None))
        self._fd = socket.fileno()
        # Not the file descriptor: close(all_fds=True) of the loop would close it, and libzmq would abort the process.
        self.io_loop.add_handler(socket, self._ready, IOLoop.READ)
        self._soon()

    # ---- callbacks

    def on_recv(self, callback: Callable[[list[Any]], Any] | None, copy: bool = True) -> None:
        """Call a function, or coroutine function, with the parts of each received message.

        Parameters
        ----------
        callback : callable or None
            A function of one argument, the list of parts. None: stop receiving.
        copy : bool, default True
            False: the parts are zero-copy Frames.
        """
        self._check_open()
        assert callback is None or callable(callback), callback
        self._on_recv = callback
        self._copy = copy
        self._soon()

    def on_recv_stream(self, callback: Callable[[Any, list[Any]], Any] | None, copy: bool = True) -> None:
        """Call a function with this stream and the parts of each received message, as `on_recv` does."""
        self.on_recv(None if callback is None else lambda message: callback(self, message), copy)

    def stop_on_recv(self) -> None:
        """Stop receiving."""
        self.on_recv(None)

    def on_send(self, callback: Callable[[list[Any], Any], Any] | None) -> None:
        """Call a function with each sent message, and its tracker or None."""
        assert callback is None or callable(callback), callback
        self._on_send = callback

    def on_send_stream(self, callback: Callable[[Any, list[Any], Any], Any] | None) -> None:
        """Call a function with this stream, each sent message, and its tracker or None."""
        self.on_send(None if callback is None else lambda message, status: callback(self, message, status))

    def stop_on_send(self) -> None:
        """Stop calling the function of `on_send`."""
        self.on_send(None)

    def on_err(self, callback: Any) -> None:
        """Do nothing."""

    def stop_on_err(self) -> None:
        """Do nothing."""

    def set_close_callback(self, callback: Callable[[], Any] | None) -> None:
        """Call a function when the stream is closed."""
        self._on_close = callback

    # ---- sending

    def send_multipart(
        self,
        msg: Sequence[Any],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: Callable[[list[Any], Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Queue a message. The event loop sends it.

        Parameters
        ----------
        msg : sequence
            The parts of the message.
        flags, copy, track
            As in Socket.send_multipart.
        callback : callable, optional
            The new function of `on_send`.
        """
        self._check_open()
        self._queue.append((list(msg), flags | DONTWAIT, copy, track, kwargs))
        if callback is not None:
            self.on_send(callback)
        self._soon()

    def send(
        self,
        msg: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: Callable[[list[Any], Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Queue a message of one part."""
        self.send_multipart([msg], flags, copy, track, callback, **kwargs)

    def send_string(self, u: str, flags: int = 0, encoding: str = "utf-8", callback: Any = None, **kwargs: Any) -> None:
        """Queue text."""
        if not isinstance(u, str):
            raise TypeError(f"send_string: a str is required, not {u!r:.80}")
        self.send(u.encode(encoding), flags, callback=callback, **kwargs)

    send_unicode = send_string

    def send_json(self, obj: Any, flags: int = 0, callback: Any = None, **kwargs: Any) -> None:
        """Queue a value as JSON."""
        self.send(dumps(obj, **kwargs), flags, callback=callback)

    def send_pyobj(self, obj: Any, flags: int = 0, protocol: int = -1, callback: Any = None, **kwargs: Any) -> None:
        """Queue a pickle of an object."""
        self.send(pickle.dumps(obj, protocol), flags, callback=callback, **kwargs)

    # ---- state

    def receiving(self) -> bool:
        """Return whether the stream receives messages, because `on_recv` has a function."""
        return self._on_recv is not None

    def sending(self) -> bool:
        """Return whether queued messages are not yet sent."""
        return bool(self._queue)

    def closed(self) -> bool:
        """Return whether the stream, or its socket, was closed."""
        if self.socket is not None and self.socket.closed:
            text = f"ZMQStream: file descriptor {self._fd} is used after closing socket; close the stream instead"
            warnings.warn(text, UserWarning, stacklevel=2)
            gen_log.warning("ZMQStream: events of a closed socket")
            self._end()
        return self.socket is None

    def close(self, linger: int | None = None) -> None:
        """Close the socket. Queued messages are sent first, up to the high-water mark.

        Parameters
        ----------
        linger : int, optional
            Milliseconds, as in Socket.close.
        """
        if not self.closed():
            socket = self.socket
            self._end(tell=False)
            socket.close(linger)
            self._tell_of_end()

    def flush(self, flag: int = POLLIN | POLLOUT, limit: int | None = None) -> int:
        """Receive and send messages without blocking, and call the callbacks.

        Received messages are dropped if `on_recv` has no function.

        Parameters
        ----------
        flag : int, default POLLIN | POLLOUT
            POLLIN: receive. POLLOUT: send.
        limit : int, optional
            Max number of messages. By default there is no limit.

        Returns
        -------
        int
            The number of messages received and sent.
        """
        self._check_open()
        count = 0
        while self.socket is not None and (limit is None or count < limit):
            readable = flag & self._events() & POLLIN  # PUSH and PUB would raise
            moved = int(bool(readable) and self._receive())
            if flag & POLLOUT and (limit is None or count + moved < limit) and self._send():
                moved += 1
            if not moved:
                break
            count += moved
        self._soon()
        return count

    # ---- the loop

    def _check_open(self) -> None:
        if self.closed():
            raise OSError("Stream is closed")

    def _soon(self) -> None:
        """Schedule `_look` for the next event-loop iteration: the file descriptor is edge-triggered."""
        if not self._due and self.socket is not None:
            self._due = True
            self.io_loop.add_callback(self._turn)

    def _ready(self, socket: Any, events: int) -> None:
        self._look()

    def _turn(self) -> None:
        self._due = False
        self._look()

    def _look(self) -> None:
        """Receive and send up to `_AT_ONCE` messages, and call the callbacks."""
        if self.closed():
            return
        due, self._due = self._due, True  # messages that callbacks queue are sent here
        try:
            for _ in range(_AT_ONCE):
                # Reading the events makes the file descriptor unreadable until the next event. A REP must send before
                # it receives again.
                received = self._events() & POLLIN and self._on_recv is not None and self._receive()
                if not (self._queue and self._send()) and not received:
                    break
                if self.socket is None:
                    return
        finally:
            self._due = due
            if self.socket is not None:
                events = self._events()
                if (events & POLLIN and self._on_recv is not None) or (events & POLLOUT and self._queue):
                    self._soon()

    def _receive(self) -> bool:
        if self.socket is None:
            return False
        try:
            message = self.socket.recv_multipart(DONTWAIT, self._copy)
        except zmqcy.Again:
            return False
        self._call(self._on_recv, message)
        return True

    def _send(self) -> bool:
        if self.socket is None or not self._queue:
            return False
        parts, flags, copy, track, others = self._queue[0]
        try:
            status = self.socket.send_multipart(parts, flags, copy, track, **others)
        except zmqcy.Again:
            return False
        except Exception:  # otherwise the message would stay at the head of the queue, and fail again
            gen_log.exception("ZMQStream: a message could not be sent, and is dropped: %.200r", parts)
            self._queue.popleft()
            return True
        self._queue.popleft()
        self._call(self._on_send, parts, status if track else None)
        return True

    def _call(self, function: Any, *arguments: Any) -> None:
        if function is None:
            return
        try:
            result = function(*arguments)
        except Exception:
            gen_log.exception("Uncaught exception in ZMQStream callback")
            raise
        if result is not None and (asyncio.iscoroutine(result) or asyncio.isfuture(result)):
            task = asyncio.ensure_future(result)
            task.add_done_callback(_log_failure)

    def _end(self, tell: bool = True) -> None:
        self.io_loop.remove_handler(self._fd)
        self.socket = self._events = None
        self._queue.clear()
        if tell:
            self._tell_of_end()

    def _tell_of_end(self) -> None:
        if self._on_close is not None:
            function, self._on_close = self._on_close, None
            self._call(function)


def _log_failure(task: Any) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        text = "Uncaught exception in ZMQStream callback"
        gen_log.error(text, exc_info=error)
