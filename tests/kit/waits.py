"""Waiting with a deadline, and for another thread to be in a socket."""

import time
from contextlib import contextmanager

import zmqcy

LIMIT = 10_000  # ms that may pass until something is seen


@contextmanager
def at_least(milliseconds):
    """Check that a block takes some time."""
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
    """Make a call again and again until it meets another thread in the socket."""
    deadline = time.monotonic() + LIMIT / 1000
    while time.monotonic() < deadline:
        try:
            call(*arguments)
        except zmqcy.SocketInUse:
            return
    raise AssertionError("the other thread did not come")
