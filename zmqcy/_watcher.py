"""A thread that watches descriptors for an event loop that cannot."""

from __future__ import annotations

import select
from contextlib import suppress
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable


class Watcher:
    """Watches descriptors in a thread of its own, for an event loop that cannot.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The loop in which the callbacks are called.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        import threading
        import weakref

        self._watched = watched = _Watched(loop)
        threading.Thread(target=watched.run, name="zmqcy-watcher", daemon=True).start()
        weakref.finalize(self, watched.stop)

    def add_reader(self, fd: int, callback: Callable[..., object], *arguments: object) -> None:
        """Have a function called by the loop while a descriptor is readable."""
        self._watched.callbacks[fd] = partial(callback, *arguments)
        self._watched.arm(fd)

    def remove_reader(self, fd: int) -> bool:
        """Watch a descriptor no longer. Return whether it was."""
        self._watched.armed.discard(fd)
        self._watched.wake()
        return self._watched.callbacks.pop(fd, None) is not None


class _Watched:
    """What a watcher and its thread share."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        import socket

        self.loop = loop
        self.callbacks: dict[int, Callable[[], object]] = {}
        self.armed: set[int] = (
            set()
        )  # the descriptors that the thread looks at: not those whose callback is yet to be called
        self.running = True
        self.woken, self.waker = socket.socketpair()
        self.woken.setblocking(False)
        self.waker.setblocking(False)

    def arm(self, fd: int) -> None:
        self.armed.add(fd)
        self.wake()

    def wake(self) -> None:
        with suppress(OSError):  # it is awake, or has ended
            self.waker.send(b"\0")

    def stop(self) -> None:
        self.running = False
        self.wake()

    def call(self, fd: int) -> None:
        """Call the callback of a descriptor, in the loop, and look at it again."""
        callback = self.callbacks.get(fd)
        if callback is not None:
            callback()
            if fd in self.callbacks:
                self.arm(fd)

    def run(self) -> None:
        with self.woken, self.waker:
            woken = self.woken.fileno()
            while self.running:
                readable = _readable_of([woken, *self.armed])
                if woken in readable:
                    with suppress(BlockingIOError):
                        self.woken.recv(4096)
                    continue
                for fd in readable:
                    self.armed.discard(fd)
                    try:
                        self.loop.call_soon_threadsafe(self.call, fd)
                    except RuntimeError:  # the loop is closed
                        return


def _readable_of(fds: list[int]) -> list[int]:
    """Wait until some descriptors are readable, and return those."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, events in poll.poll() if events & select.POLLIN]
