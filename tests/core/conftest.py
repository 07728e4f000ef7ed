"""Fixtures for polling: pollers, pipes, a second thread, alarms, and any number of pairs."""

import itertools
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import zmqcy


@pytest.fixture
def poller():
    return zmqcy.Poller()


@pytest.fixture
def pipe():
    """A function that creates pipes, which are closed at the end."""
    ends = []

    def make():
        reader, writer = (os.fdopen(end, mode, 0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
        ends.extend((reader, writer))
        return reader, writer

    yield make
    for end in ends:
        end.close()


@pytest.fixture
def pool():
    """One other thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def alarms():
    """A function that makes SIGALRM repeat, with a handler for each."""
    before = signal.getsignal(signal.SIGALRM)

    @contextmanager
    def ring(handler, seconds=0.01):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    yield ring
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def pairs(socket, transport, tmp_path):
    """A function that creates two connected sockets, over the same transport, with a new endpoint each time."""
    numbers = itertools.count()

    def make(bound, connected):
        number = next(numbers)
        first, second = socket(bound), socket(connected)
        first.bind(
            {"tcp": "tcp://127.0.0.1:*", "ipc": f"ipc://{tmp_path}/{number}"}.get(transport, f"inproc://{number}")
        )
        second.connect(first.last_endpoint)
        return first, second

    return make
