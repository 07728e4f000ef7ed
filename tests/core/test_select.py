"""select: like Python's, also for sockets."""

import os
import select
from datetime import timedelta

import pytest
from rows import rows
from waits import LIMIT, at_least

import zmqcy
from zmqcy import POLLOUT


def test_select(pair, pipe):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    reader, writer = pipe()
    assert bound.poll(LIMIT, POLLOUT)
    everything = [bound, connected, reader, writer.fileno()]
    assert zmqcy.select(everything[:3], [], [], 0) == ([], [], [])
    assert zmqcy.select([bound, reader], [bound, connected, writer.fileno()], everything, 0) == (
        [],
        [bound, connected, writer.fileno()],
        [],
    )
    connected.send(b"one")
    writer.write(b"x")
    assert bound.poll(LIMIT)
    assert zmqcy.select([reader, bound, connected], [bound], [], 10) == ([reader, bound], [bound], [])
    assert zmqcy.select([reader, bound, connected], [], []) == ([reader, bound], [], [])


def test_select_of_nothing():
    assert zmqcy.select([], [], [], 0) == ([], [], [])
    with at_least(20):
        assert zmqcy.select([], [], [], 0.02) == ([], [], [])


@rows("timeout", [0.05, timedelta(milliseconds=50)], ids=str)
def test_select_takes_seconds(socket, timeout):
    with at_least(50):
        assert zmqcy.select([socket(zmqcy.PULL)], [], [], timeout) == ([], [], [])


def test_select_takes_iterables_and_doubles(socket):
    pub = socket(zmqcy.PUB)
    assert zmqcy.select((), (pub,), {}, 0) == ([], [pub], [])
    assert zmqcy.select([pub, pub], [pub, pub], [], 0) == ([], [pub, pub], [])
    assert zmqcy.select(iter([pub]), iter([pub]), iter([]), 0) == ([], [pub], [])


def test_select_until_another_thread_sends(pair, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    done = pool.submit(zmqcy.select, [bound], [], [])
    connected.send(b"one")
    assert done.result(30) == ([bound], [], [])


def test_select_of_closed_descriptor():
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    assert zmqcy.select([], [], [reader]) == ([], [], [reader])


def test_select_of_what_has_ended(pipe):
    """As in select.select, a file at its end can be read and a broken pipe written: neither call blocks."""
    reader, writer = pipe()
    writer.close()
    assert select.select([reader], [], [], 10) == ([reader], [], [])
    assert zmqcy.select([reader], [], [], 10) == ([reader], [], [])
    reader, writer = pipe()
    reader.close()
    assert select.select([], [writer], [], 10) == ([], [writer], [])
    assert zmqcy.select([], [writer], [], 10) == ([], [writer], [])


def test_select_of_wrong_things(socket):
    pull = socket(zmqcy.PULL)
    for wrong in (object(), None, "text"):
        with pytest.raises(TypeError):
            zmqcy.select([wrong], [], [], 0)
    with pytest.raises(ValueError, match="negative"):
        zmqcy.select([-1], [], [], 0)
    with pytest.raises(TypeError):
        zmqcy.select([pull], [])
    pull.close()
    with pytest.raises(zmqcy.ZMQError, match="closed"):
        zmqcy.select([pull], [], [], 0)


@rows("timeout", ["1", b"1", [], object(), 1j], ids=lambda timeout: type(timeout).__name__)
def test_select_for_a_time_that_is_none(socket, timeout):
    with pytest.raises(TypeError, match=r"^select: "):
        zmqcy.select([socket(zmqcy.PULL)], [], [], timeout)


def test_select_for_nan(socket):
    with pytest.raises(ValueError, match="nan"):
        zmqcy.select([], [socket(zmqcy.PUB)], [], float("nan"))


@rows("timeout", [-1, -0.5])
def test_select_for_a_negative_time(socket, timeout):
    with pytest.raises(ValueError, match=f"timeout must not be negative: {timeout}"):
        zmqcy.select([], [socket(zmqcy.PUB)], [], timeout)


def test_select_of_a_socket_instead_of_a_list(pair):
    """Iterating over a socket receives messages: this mistake must not lose one."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvtimeo": 100})
    connected.send(b"one")
    assert bound.poll(LIMIT)
    with pytest.raises(TypeError):
        zmqcy.select(bound, [], [], 0)
    assert bound.recv() == b"one"
