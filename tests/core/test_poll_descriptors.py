"""Polls of file descriptors, and of objects that have one."""

import os
import socket as sockets
import time

from polling import Thing
from waits import LIMIT

import zmqcy
from zmqcy import POLLERR, POLLIN, POLLOUT, POLLPRI


def test_pipe(poller, pipe):
    reader, writer = pipe()
    poller.register(reader, POLLIN)
    poller.register(writer.fileno(), POLLIN | POLLOUT)
    assert poller.poll(0) == [(writer.fileno(), POLLOUT)]
    writer.write(b"xy")
    assert poller.poll(LIMIT) == [(reader, POLLIN), (writer.fileno(), POLLOUT)]
    assert reader.read(1) == b"x"
    assert (reader, POLLIN) in poller.poll(0)
    assert reader.read(1) == b"y"
    assert (reader, POLLIN) not in poller.poll(0)


def test_end_of_pipe(poller, pipe):
    """Errors and hang-ups are reported without a flag."""
    reader, writer = pipe()
    poller.register(reader, POLLIN)
    writer.close()
    ((found, events),) = poller.poll(LIMIT)
    assert found is reader
    assert events & (POLLIN | POLLERR)
    poller.unregister(reader)
    reader, writer = pipe()
    poller.register(writer, POLLOUT)
    reader.close()
    ((found, events),) = poller.poll(LIMIT)
    assert found is writer
    assert events & POLLERR


def test_socketpair(poller):
    one, other = sockets.socketpair()
    with one, other:
        poller.register(one)
        poller.register(other.fileno(), POLLIN)
        assert poller.poll(0) == [(one, POLLOUT)]
        other.send(b"x")
        assert poller.poll(LIMIT) == [(one, POLLIN | POLLOUT)]
        assert one.recv(1) == b"x"
        one.send(b"y")
        assert poller.poll(LIMIT) == [(one, POLLOUT), (other.fileno(), POLLIN)]


def test_full_socket(poller):
    one, other = sockets.socketpair()
    with one, other:
        one.setblocking(False)
        poller.register(one, POLLOUT)
        try:
            while True:
                one.send(bytes(4096))
        except BlockingIOError:
            pass
        assert poller.poll(0) == []
        while not poller.poll(0):
            assert other.recv(1 << 20)
        assert poller.poll(0) == [(one, POLLOUT)]


def test_urgent_data(poller):
    with sockets.create_server(("127.0.0.1", 0)) as server, sockets.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            poller.register(accepted, POLLPRI)
            assert poller.poll(0) == []
            client.send(b"!", sockets.MSG_OOB)
            assert poller.poll(LIMIT) == [(accepted, POLLPRI)]
            poller.modify(accepted, POLLIN)
            assert not any(events & POLLPRI for _, events in poller.poll(0))


def test_regular_file(poller, tmp_path):
    """A file is always ready."""
    with open(tmp_path / "file", "w+b") as file:
        poller.register(file)
        assert poller.poll(0) == poller.poll() == [(file, POLLIN | POLLOUT)]


def test_object_with_fileno(poller, pipe):
    reader, writer = pipe()
    thing = Thing(reader.fileno())
    poller.register(thing, POLLIN)
    writer.write(b"x")
    assert poller.poll(LIMIT) == [(thing, POLLIN)]


def test_object_that_cannot_be_hashed_or_compared(poller, pipe):
    class Strange(Thing):
        __hash__ = None

        def __eq__(self, other):
            raise ZeroDivisionError

    reader, writer = pipe()
    one, other = Strange(reader.fileno()), Strange(writer.fileno())
    poller.register(one, POLLIN)
    poller.register(other, POLLOUT)
    assert one in poller
    ((found, events),) = poller.poll(0)
    assert found is other and events == POLLOUT
    poller.unregister(one)
    assert len(poller) == 1 and one not in poller


def test_closed_descriptor(poller):
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    poller.register(reader, POLLIN)
    assert poller.poll() == [(reader, POLLERR)]


def test_descriptor_that_is_closed_later(poller, socket):
    reader, writer = os.pipe()
    poller.register(reader, POLLIN)
    poller.register(socket(zmqcy.PULL), POLLIN)
    assert poller.poll(0) == []
    os.close(reader)
    os.close(writer)
    assert poller.poll(LIMIT) == [(reader, POLLERR)]
    poller.unregister(reader)
    assert poller.poll(0) == []


def test_sockets_and_descriptors_together(pair, poller, pipe):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    reader, writer = pipe()
    poller.register(bound, POLLIN)
    poller.register(reader, POLLIN)
    connected.send(b"one")
    assert poller.poll(LIMIT) == [(bound, POLLIN)]
    writer.write(b"x")
    assert poller.poll(LIMIT) == [(bound, POLLIN), (reader, POLLIN)]
    assert bound.recv() == b"one"
    assert poller.poll(LIMIT) == [(reader, POLLIN)]


def test_descriptor_of_a_socket(pair, poller):
    """The file descriptor only shows that something may have changed: register the socket itself."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound.fileno(), POLLIN)
    assert bound.poll(0) == 0
    connected.send(b"one")
    deadline = time.monotonic() + LIMIT / 1000
    while not bound.events & POLLIN and time.monotonic() < deadline:
        poller.poll(100)
    assert bound.recv() == b"one"
