"""A thread that watches file descriptors for an event loop without `add_reader`."""

from __future__ import annotations

import select
from contextlib import suppress
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable


class Watcher:
    """Watch file descriptors in a separate thread, for an event loop without `add_reader`.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The loop that runs the callbacks.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        import threading
        import weakref

        self._watched = watched = _Watched(loop)
        threading.Thread(target=watched.run, name="zmqcy-watcher", daemon=True).start()
        weakref.finalize(self, watched.stop)

    def add_reader(self, fd: int, callback: Callable[..., object], *arguments: object) -> None:
        """Call a function in the loop while a file descriptor is readable."""
        self._watched.callbacks[fd] = partial(callback, *arguments)
        self._watched.arm(fd)

    def remove_reader(self, fd: int) -> bool:
        """Stop watching a file descriptor. Return whether it was watched."""
        self._watched.armed.discard(fd)
        self._watched.wake()
        return self._watched.callbacks.pop(fd, None) is not None


class _Watched:
    """The state that a watcher shares with its thread."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        import socket

        self.loop = loop
        self.callbacks: dict[int, Callable[[], object]] = {}
        # The file descriptors that the thread polls. Those with a scheduled callback are added again when it has run.
        self.armed: set[int] = set()
        self.running = True
        self.woken, self.waker = socket.socketpair()
        self.woken.setblocking(False)
        self.waker.setblocking(False)

    def arm(self, fd: int) -> None:
        self.armed.add(fd)
        self.wake()

    def wake(self) -> None:
        with suppress(OSError):  # the thread is awake already, or has ended
            self.waker.send(b"\0")

    def stop(self) -> None:
        self.running = False
        self.wake()

    def call(self, fd: int) -> None:
        """Call the callback of a file descriptor, in the loop, then watch the file descriptor again."""
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
    """Wait until some file descriptors are readable, and return those."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, events in poll.poll() if events & select.POLLIN]
