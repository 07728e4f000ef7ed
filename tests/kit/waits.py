"""Wait with a deadline for a condition, or until another thread uses a socket."""

import time
from contextlib import contextmanager

import zmqcy

LIMIT = 10_000  # max ms until a condition holds


@contextmanager
def at_least(milliseconds):
    """Check that a block takes a minimum time in milliseconds."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start >= milliseconds / 1000


def until(condition):
    """Wait until a condition holds."""
    deadline = time.monotonic() + LIMIT / 1000
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def until_in_use(call, *arguments):
    """Repeat a call until it raises because another thread uses the socket."""
    deadline = time.monotonic() + LIMIT / 1000
    while time.monotonic() < deadline:
        try:
            call(*arguments)
        except zmqcy.SocketInUse:
            return
    raise AssertionError("no other thread used the socket within the limit")
