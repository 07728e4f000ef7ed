"""What the tests of polls, and the processes that they start, do again and again."""

import itertools
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import zmqcy

LIMIT = 10_000  # ms that may pass until something is seen


@contextmanager
def at_least(milliseconds):
    """Check that a block takes some time."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start >= milliseconds / 1000


def in_use(call, *arguments):
    """Make a call again and again until it meets another thread."""
    deadline = time.monotonic() + LIMIT / 1000
    while time.monotonic() < deadline:
        try:
            call(*arguments)
        except zmqcy.SocketInUse:
            return
    raise AssertionError("the other thread did not come")


class Thing:
    """Something with a descriptor, of which it says what it is told to."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def fileno(self):
        if isinstance(self.descriptor, Exception):
            raise self.descriptor
        return self.descriptor


def crowd(poller, ctx, count=20):
    """Register idle sockets and poll, so that they and what was registered before stand in the poller's epoll set."""
    idle = [ctx.socket(zmqcy.PULL, linger=0) for _ in range(count)]
    for each in idle:
        poller.register(each, zmqcy.POLLIN)
    poller.poll(0)
    poller.poll(0)
    return idle


def epoll_sets():
    """Return the descriptors in each epoll set of this process."""
    found = []
    for info in Path("/proc/self/fdinfo").iterdir():
        with suppress(OSError):  # the descriptor of the directory itself, and what libzmq's threads close meanwhile
            found.append([int(line.split()[1]) for line in info.read_text().splitlines() if line.startswith("tfd:")])
    return found


def in_epoll_sets():
    """Return the descriptors in all epoll sets of this process, each as often as it is in one."""
    return list(itertools.chain(*epoll_sets()))
