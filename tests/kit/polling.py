"""Helpers for polling: objects with a file descriptor, many sockets, and the contents of epoll sets."""

import itertools
from contextlib import suppress
from pathlib import Path

import zmqcy


class Thing:
    """An object whose `fileno()` returns a given file descriptor."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def fileno(self):
        if isinstance(self.descriptor, Exception):
            raise self.descriptor
        return self.descriptor


def crowd(poller, ctx, count=20):
    """Register idle sockets and poll, so that all registered objects are in the poller's epoll set."""
    idle = [ctx.socket(zmqcy.PULL, linger=0) for _ in range(count)]
    for each in idle:
        poller.register(each, zmqcy.POLLIN)
    poller.poll(0)
    poller.poll(0)
    return idle


def epoll_sets():
    """Return the file descriptors in each epoll set of this process."""
    found = []
    for info in Path("/proc/self/fdinfo").iterdir():
        with suppress(OSError):  # the file descriptor of the directory, and those that libzmq's threads close meanwhile
            found.append([int(line.split()[1]) for line in info.read_text().splitlines() if line.startswith("tfd:")])
    return found


def in_epoll_sets():
    """Return the file descriptors in all epoll sets of this process, once for each set."""
    return list(itertools.chain(*epoll_sets()))
