"""Poller, select and Socket.poll: sockets over every transport, descriptors, what was remembered, errors, signals."""

import errno
import gc
import itertools
import os
import random
import select
import signal
import socket as sockets
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from crowds import crowd, in_epoll_sets
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from rows import rows

import zmqcy
from zmqcy import POLLERR, POLLIN, POLLOUT, POLLPRI

LIMIT = 10_000  # ms that may pass until something is seen


@pytest.fixture
def poller():
    return zmqcy.Poller()


@pytest.fixture
def pipe():
    """A function that makes pipes, which are closed at the end."""
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
    """A function that lets SIGALRM come again and again, each to a handler."""
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
    """A function that makes two connected sockets, over the same transport and to another endpoint each time."""
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


def fill(socket):
    """Send until the high-water mark; return how many messages went."""
    count = 0
    while socket.try_send(b"x"):
        count += 1
    return count


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="epoll is Linux's")


# ---- one socket


def test_poll_of_one_socket(pair):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    assert bound.poll(0) == 0
    assert bound.poll(LIMIT, POLLOUT) == POLLOUT
    connected.send(b"one")
    assert bound.poll(LIMIT) == POLLIN
    assert bound.poll() == bound.poll(-1) == bound.poll(None, POLLIN) == POLLIN
    assert bound.poll(LIMIT, POLLIN | POLLOUT) == POLLIN | POLLOUT
    assert type(bound.poll(0)) is int
    assert bound.recv() == b"one"
    assert bound.poll(0) == 0
    assert bound.poll(0, POLLIN | POLLOUT) == POLLOUT


def test_poll_of_one_socket_takes_names(pair):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    connected.send(b"one")
    assert bound.poll(timeout=LIMIT, flags=POLLIN) == POLLIN
    assert bound.poll(flags=zmqcy.PollEvent.POLLIN, timeout=timedelta(seconds=10)) == POLLIN


@pytest.mark.parametrize("timeout", [1, 50, 30.5, timedelta(milliseconds=50)], ids=str)
def test_poll_of_one_socket_does_not_end_early(socket, timeout):
    pull = socket(zmqcy.PULL)
    with at_least(timeout / timedelta(milliseconds=1) if isinstance(timeout, timedelta) else timeout):
        assert pull.poll(timeout) == 0


def test_poll_of_one_socket_for_nothing(socket):
    """With no flags there is nothing to come but the end of the time."""
    dealer = socket(zmqcy.DEALER)
    dealer.bind("inproc://nothing")
    with at_least(20):
        assert dealer.poll(20, 0) == 0


def test_poll_of_one_socket_until_another_thread_sends(pair, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)

    def send():
        in_use(bound.getsockopt, zmqcy.EVENTS)
        connected.send(b"from the thread")

    sent = pool.submit(send)
    assert bound.poll(None) == POLLIN
    assert bound.recv() == b"from the thread"
    sent.result(30)


def test_poll_of_one_socket_at_high_water_mark(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 2, "rcvbuf": 4096}, {"sndhwm": 2, "sndbuf": 4096})
    text = bytes(1 << 16)
    assert push.poll(LIMIT, POLLOUT)
    sent = 0
    while push.poll(500, POLLOUT):  # over tcp some go to the kernel, later
        push.send(text)
        sent += 1
    assert not push.try_send(b"")
    for _ in range(sent):
        assert pull.recv() == text
    assert push.poll(LIMIT, POLLOUT) == POLLOUT


@rows("flags", ["1", None, 1.5, b"1"])
def test_flags_of_wrong_type(socket, flags):
    pull, poller = socket(zmqcy.PULL), zmqcy.Poller()
    poller.register(pull)
    for name, call in (
        ("poll", lambda: pull.poll(0, flags)),
        ("register", lambda: poller.register(socket(zmqcy.PUSH), flags)),
        ("modify", lambda: poller.modify(pull, flags)),
    ):
        with pytest.raises(TypeError, match=f"^{name}: flags must be an int, not {flags!r}"):
            call()
    assert poller.sockets == [(pull, POLLIN | POLLOUT)]


@rows("flags", [-1, 1 << 40])
def test_flags_out_of_range(socket, poller, flags):
    pull = socket(zmqcy.PULL)
    poller.register(pull)
    for call in (lambda: pull.poll(0, flags), lambda: poller.register(0, flags), lambda: poller.modify(pull, flags)):
        with pytest.raises(ValueError, match="flags must be between"):
            call()


@rows("timeout", ["1", b"1", [], object(), 1j], ids=lambda timeout: type(timeout).__name__)
def test_timeout_of_wrong_type(socket, poller, timeout):
    pull = socket(zmqcy.PULL)
    poller.register(pull)
    for call in (pull.poll, poller.poll):
        with pytest.raises(TypeError, match="^poll: a time is"):
            call(timeout)


@rows("timeout", [-2, -2.0, -1000, timedelta(seconds=-1), float("nan")], ids=str)
def test_timeout_that_is_none(near, poller, timeout):
    """-1 is for ever; any other negative time is a slip in somebody's arithmetic."""
    bound, connected = near(zmqcy.PULL, zmqcy.PUSH)
    connected.send(b"so that for ever is not for ever")
    poller.register(bound, POLLIN)
    for call in (bound.poll, poller.poll):
        with pytest.raises(ValueError, match="^poll: a time"):
            call(timeout)


@rows("timeout", [None, -1, -1.0, float("inf"), 10**30, timedelta.max, 1e300], ids=str)
def test_timeout_for_ever(near, timeout):
    bound, connected = near(zmqcy.PULL, zmqcy.PUSH)
    poller = zmqcy.Poller()
    connected.send(b"one")
    poller.register(bound, POLLIN)
    assert poller.poll(timeout) == [(bound, POLLIN)]
    assert bound.poll(timeout) == POLLIN


def test_poll_of_closed_socket(socket):
    pull = socket(zmqcy.PULL)
    pull.close()
    with pytest.raises(zmqcy.ZMQError, match=r"^poll \(PULL\): the socket is closed") as caught:
        pull.poll(0)
    assert caught.value.errno == zmqcy.ENOTSOCK


# ---- what is registered


def test_empty_poller(poller):
    assert len(poller) == 0
    assert poller.sockets == []
    assert poller.poll(0) == []
    with at_least(20):
        assert poller.poll(20) == []


def test_register_modify_unregister(socket, poller, pipe):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    reader, writer = pipe()
    assert poller.register(pull) is None
    poller.register(push, POLLOUT)
    poller.register(reader.fileno(), POLLIN)
    poller.register(writer, POLLOUT | POLLERR)
    assert len(poller) == 4
    for registered in (pull, push, reader.fileno(), writer):
        assert registered in poller
    for other in (socket(zmqcy.PULL), reader, writer.fileno(), 10**6, -1, None, "text", []):
        assert other not in poller
    expected = [(pull, POLLIN | POLLOUT), (push, POLLOUT), (reader.fileno(), POLLIN), (writer, POLLOUT | POLLERR)]
    assert poller.sockets == expected
    poller.modify(pull, POLLIN)
    poller.modify(reader.fileno())
    assert poller.sockets[0] == (pull, POLLIN)
    assert poller.sockets[2] == (reader.fileno(), POLLIN | POLLOUT)
    poller.unregister(push)
    assert push not in poller and len(poller) == 3
    assert [each for each, _ in poller.sockets] == [pull, reader.fileno(), writer]
    poller.unregister(pull)
    poller.unregister(writer)
    poller.unregister(reader.fileno())
    assert len(poller) == 0
    assert poller.poll(0) == []


def test_sockets_is_a_copy(socket, poller):
    poller.register(socket(zmqcy.PULL))
    poller.sockets.clear()
    assert len(poller.sockets) == len(poller) == 1


def test_register_again_changes_the_flags(pair, poller):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    poller.register(connected, POLLOUT)
    assert poller.poll(LIMIT) == [(connected, POLLOUT)]
    poller.register(connected, POLLIN)
    assert len(poller) == 1
    assert poller.sockets == [(connected, POLLIN)]
    assert poller.poll(0) == []
    bound.send(b"one")
    assert poller.poll(LIMIT) == [(connected, POLLIN)]
    poller.register(connected)
    assert poller.poll(LIMIT) == [(connected, POLLIN | POLLOUT)]


def test_register_descriptor_again(poller, pipe):
    reader, writer = pipe()
    poller.register(writer.fileno(), POLLOUT)
    poller.register(writer.fileno(), POLLIN)
    assert len(poller) == 1
    assert poller.poll(0) == []
    poller.register(writer.fileno(), POLLOUT)
    assert poller.poll(0) == [(writer.fileno(), POLLOUT)]
    poller.register(reader, POLLIN)
    poller.register(reader.fileno(), POLLIN)  # the object and its number are two
    writer.write(b"x")
    assert poller.poll(0) == [(writer.fileno(), POLLOUT), (reader, POLLIN), (reader.fileno(), POLLIN)]


def test_flags_0(socket, poller, pipe):
    """Registering for nothing takes out; modifying to nothing keeps."""
    pull = socket(zmqcy.PULL)
    _, writer = pipe()
    poller.register(pull, 0)
    poller.register(writer, 0)
    assert len(poller) == 0
    poller.register(pull, POLLIN)
    poller.register(pull, 0)
    assert pull not in poller
    poller.register(writer, POLLOUT)
    assert poller.poll(0) == [(writer, POLLOUT)]
    poller.modify(writer, 0)
    assert poller.sockets == [(writer, 0)]
    assert poller.poll(0) == []
    poller.modify(writer, POLLOUT)
    assert poller.poll(0) == [(writer, POLLOUT)]


@rows("call", ["modify", "unregister"])
@rows("what", ["socket", "descriptor", "object", "unregistered"])
def test_what_is_not_registered(socket, poller, call, what):
    pull = socket(zmqcy.PULL)
    poller.register(pull)
    poller.unregister(pull)
    unknown = {"socket": socket(zmqcy.PUSH), "descriptor": 0, "object": object(), "unregistered": pull}[what]
    with pytest.raises(KeyError, match=f"{call}: .* is not registered"):
        getattr(poller, call)(unknown)


@rows("what", [object(), None, "text", b"bytes", 1.5, [], zmqcy.Poller()])
def test_what_cannot_be_polled(poller, what):
    with pytest.raises(TypeError, match="^register: "):
        poller.register(what)
    assert len(poller) == 0


@rows("descriptor", [-1, -2, -(1 << 31), 1 << 31, 1 << 70])
def test_descriptor_out_of_range(poller, descriptor):
    with pytest.raises(ValueError, match=f"^register: .*{descriptor}"):
        poller.register(descriptor)
    assert len(poller) == 0
    assert descriptor not in poller


def test_context_cannot_be_polled(ctx, poller):
    with pytest.raises(TypeError, match="^register: "):
        poller.register(ctx)


class Thing:
    """Something with a descriptor, of which it says what it is told to."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def fileno(self):
        if isinstance(self.descriptor, Exception):
            raise self.descriptor
        return self.descriptor


def test_fileno_that_is_wrong(poller):
    with pytest.raises(ValueError, match="^register: "):
        poller.register(Thing(-1))
    for descriptor in ("text", None, 1.5):
        with pytest.raises(TypeError, match="^register: "):
            poller.register(Thing(descriptor))
    with pytest.raises(ZeroDivisionError):
        poller.register(Thing(ZeroDivisionError()))
    assert len(poller) == 0


def test_closed_objects_cannot_be_registered(socket, poller):
    pull = socket(zmqcy.PULL)
    pull.close()
    with pytest.raises(zmqcy.ZMQError, match=r"^register \(PULL\): the socket is closed") as caught:
        poller.register(pull)
    assert caught.value.errno == zmqcy.ENOTSOCK
    with sockets.socket() as closed:
        pass
    with pytest.raises(ValueError, match="^register: "):
        poller.register(closed)
    assert len(poller) == 0


def test_objects_are_kept(ctx, poller):
    """A registered socket lives as long as it is registered."""
    pull = ctx.socket(zmqcy.PULL)
    alive = weakref.ref(pull)
    poller.register(pull, POLLIN)
    del pull
    gc.collect()
    assert poller.poll(0) == []
    poller.unregister(alive())
    gc.collect()
    assert alive() is None


def test_poller_lets_go_of_its_sockets(ctx):
    pull = ctx.socket(zmqcy.PULL)
    poller = zmqcy.Poller()
    poller.register(pull)
    alive, there = weakref.ref(pull), weakref.ref(poller)
    del pull, poller
    gc.collect()
    assert alive() is None and there() is None


def test_poller_in_a_cycle(ctx):
    """An object that is registered may hold the poller."""
    thing = Thing(0)
    thing.poller = zmqcy.Poller()
    thing.poller.register(thing, POLLIN)
    alive = weakref.ref(thing)
    del thing
    gc.collect()
    assert alive() is None


def test_random_registering(ctx):
    """The arrays stay in step with the list, whatever is taken out."""
    choice = random.Random(5)
    poller = zmqcy.Poller()
    everything = [ctx.socket(zmqcy.PAIR, linger=0) for _ in range(30)]
    for number, one in enumerate(everything):
        one.bind(f"inproc://{number}")
    peers = [ctx.socket(zmqcy.PAIR, linger=0) for _ in everything]
    for number, one in enumerate(peers):
        one.connect(f"inproc://{number}")
    model = {}
    for _ in range(2_000):
        one = choice.randrange(30)
        if choice.random() < 0.5:
            flags = choice.choice((POLLIN, POLLOUT, POLLIN | POLLOUT))
            poller.register(everything[one], flags)
            model[one] = flags
        elif one in model:
            poller.unregister(everything[one])
            del model[one]
        elif choice.random() < 0.5:
            peers[one].send(b"")
        else:
            everything[one].try_recv()
        assert poller.sockets == [(everything[each], flags) for each, flags in model.items()]
        ready = poller.poll(0)
        truth = [(everything[each], everything[each].events & flags) for each, flags in model.items()]
        assert ready == [(each, events) for each, events in truth if events]


# ---- polling


def test_poll_over_transports(pair, poller):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    poller.register(bound, POLLIN)
    assert poller.poll(0) == []
    connected.send(b"one")
    assert poller.poll(LIMIT) == [(bound, POLLIN)]
    assert poller.poll(0) == [(bound, POLLIN)]  # level-triggered: it is there until it was received
    assert all(type(events) is int for _, events in poller.poll(0))
    assert bound.recv() == b"one"
    assert poller.poll(0) == []
    poller.register(connected, POLLIN | POLLOUT)
    assert poller.poll(LIMIT) == [(connected, POLLOUT)]
    bound.send(b"two")
    poller.modify(connected, POLLIN)
    assert poller.poll(LIMIT) == [(connected, POLLIN)]
    assert connected.recv() == b"two"
    assert poller.poll(0) == []


def test_only_what_was_asked_for(pair, poller):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    connected.send(b"one")
    assert bound.poll(LIMIT) == POLLIN
    poller.register(bound, POLLERR)
    assert poller.poll(0) == []
    poller.modify(bound, POLLPRI)
    assert poller.poll(0) == []
    poller.modify(bound, POLLOUT)
    assert poller.poll(LIMIT) == [(bound, POLLOUT)]


def test_results_are_in_order_of_registration(socket, poller, pipe):
    order = [pipe()[1], socket(zmqcy.PUB), pipe()[1].fileno(), socket(zmqcy.PUB), socket(zmqcy.ROUTER), pipe()[1]]
    for each in order:
        poller.register(each, POLLOUT)
    assert poller.poll(0) == [(each, POLLOUT) for each in order]


def test_pollout_at_high_water_mark(socket, poller):
    pull = socket(zmqcy.PULL, rcvhwm=2)
    pull.bind("inproc://full")
    push = socket(zmqcy.PUSH, sndhwm=2)
    poller.register(push, POLLOUT)
    assert poller.poll(0) == []  # no peer
    push.connect("inproc://full")
    assert poller.poll(0) == [(push, POLLOUT)]
    assert fill(push) == 4
    assert poller.poll(0) == []
    with at_least(20):
        assert poller.poll(20) == []
    assert pull.recv() and pull.recv()
    assert poller.poll(LIMIT) == [(push, POLLOUT)]
    fill(push)
    assert poller.poll(0) == []


def test_pollout_at_high_water_mark_over_transports(pair, poller):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 2, "rcvbuf": 4096}, {"sndhwm": 2, "sndbuf": 4096})
    poller.register(push, POLLOUT)
    text, sent = bytes(1 << 16), 0
    while poller.poll(500):
        push.send(text)
        sent += 1
    assert sent >= 4
    assert not push.try_send(b"")
    for _ in range(sent):
        assert pull.recv() == text
    assert poller.poll(LIMIT) == [(push, POLLOUT)]


@pytest.mark.parametrize("timeout", [1, 50, 30.5, timedelta(milliseconds=50), 0.2], ids=str)
def test_poll_does_not_end_early(socket, poller, pipe, timeout):
    poller.register(socket(zmqcy.PULL), POLLIN)
    poller.register(pipe()[0], POLLIN)
    with at_least(timeout / timedelta(milliseconds=1) if isinstance(timeout, timedelta) else timeout):
        assert poller.poll(timeout) == []


@rows("timeout", [None, -1, float("inf"), LIMIT, timedelta(seconds=10)], ids=str)
def test_poll_until_another_thread_sends(pairs, pool, timeout):
    bound, connected = pairs(zmqcy.PULL, zmqcy.PUSH)
    poller = zmqcy.Poller()
    poller.register(bound, POLLIN)

    def send():
        in_use(poller.poll, 0)
        connected.send(b"from the thread")

    sent = pool.submit(send)
    assert poller.poll(timeout) == [(bound, POLLIN)]
    assert bound.recv() == b"from the thread"
    sent.result(30)


def test_poll_until_another_thread_writes(socket, poller, pool, pipe):
    reader, writer = pipe()
    poller.register(socket(zmqcy.PULL), POLLIN)
    poller.register(reader, POLLIN)

    def write():
        in_use(poller.poll, 0)
        writer.write(b"x")

    written = pool.submit(write)
    assert poller.poll() == [(reader, POLLIN)]
    written.result(30)


def test_poll_until_room(socket, poller, pool):
    """Another thread reads, and so makes room."""
    pull = socket(zmqcy.PULL, rcvhwm=1)
    pull.bind("inproc://room")
    push = socket(zmqcy.PUSH, sndhwm=1)
    push.connect("inproc://room")
    assert fill(push) == 2
    poller.register(push, POLLOUT)

    def read():
        in_use(poller.poll, 0)
        return [pull.recv(), pull.recv()]

    done = pool.submit(read)
    assert poller.poll() == [(push, POLLOUT)]
    assert done.result(30) == [b"x", b"x"]


def test_peer_that_comes_and_goes(socket, url, poller):
    """A first peer gives room to send; when it goes, that is seen too."""
    push = socket(zmqcy.PUSH)
    push.bind(url)
    poller.register(push, POLLOUT)
    assert poller.poll(0) == []
    pull = socket(zmqcy.PULL)
    pull.connect(push.last_endpoint)
    assert poller.poll(LIMIT) == [(push, POLLOUT)]
    pull.close()
    deadline = time.monotonic() + LIMIT / 1000
    while poller.poll(0) and time.monotonic() < deadline:
        pass
    assert poller.poll(0) == []
    again = socket(zmqcy.PULL)
    again.connect(push.last_endpoint)
    assert poller.poll(LIMIT) == [(push, POLLOUT)]


def test_rep_turns(pair, poller):
    """REQ and REP can send or receive, in turns."""
    rep, req = pair(zmqcy.REP, zmqcy.REQ)
    poller.register(rep)
    poller.register(req)
    assert poller.poll(LIMIT) == [(req, POLLOUT)]
    req.send(b"request")
    assert poller.poll(LIMIT) == [(rep, POLLIN)]
    assert rep.recv() == b"request"
    assert poller.poll(LIMIT) == [(rep, POLLOUT)]
    rep.send(b"reply")
    assert poller.poll(LIMIT) == [(req, POLLIN)]
    assert req.recv() == b"reply"
    assert poller.poll(LIMIT) == [(req, POLLOUT)]


def test_sockets_of_two_contexts(pair, poller):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    with zmqcy.Context() as other:
        pull, push = other.socket(zmqcy.PULL, linger=0), other.socket(zmqcy.PUSH, linger=0)
        pull.bind("tcp://127.0.0.1:*")
        push.connect(pull.last_endpoint)
        poller.register(bound, POLLIN)
        poller.register(pull, POLLIN)
        assert poller.poll(0) == []
        push.send(b"in the other")
        assert poller.poll(LIMIT) == [(pull, POLLIN)]
        assert pull.recv() == b"in the other"
        connected.send(b"in the first")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        poller.unregister(pull)
    assert poller.poll(0) == [(bound, POLLIN)]


def test_socket_in_two_pollers(pair, poller):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    second = zmqcy.Poller()
    poller.register(bound, POLLIN)
    second.register(bound, POLLIN)
    for _ in range(3):
        assert poller.poll(0) == second.poll(0) == []
        connected.send(b"one")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert second.poll(LIMIT) == [(bound, POLLIN)]
        assert bound.recv() == b"one"


def test_poller_may_go_from_thread_to_thread(pair, poller, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    pool.submit(poller.register, bound, POLLIN).result(30)
    assert poller.poll(0) == []
    connected.send(b"one")
    assert pool.submit(poller.poll, LIMIT).result(30) == [(bound, POLLIN)]
    assert poller.poll(0) == [(bound, POLLIN)]


def test_many_sockets(ctx, poller):
    """500 sockets, of which some are ready: those, and in order."""
    pulls, pushes = [], []
    for number in range(250):
        pull, push = ctx.socket(zmqcy.PULL, linger=0), ctx.socket(zmqcy.PUSH, linger=0)
        pull.bind(f"inproc://many/{number}")
        push.connect(f"inproc://many/{number}")
        poller.register(pull, POLLIN)
        poller.register(push, POLLIN)
        pulls.append(pull)
        pushes.append(push)
    assert len(poller) == 500
    assert poller.poll(0) == []
    choice = random.Random(3)
    for _ in range(50):
        some = sorted(choice.sample(range(250), choice.randrange(1, 60)))
        for number in some:
            pushes[number].send(b"%d" % number)
        assert poller.poll(LIMIT) == [(pulls[number], POLLIN) for number in some]
        for number in some:
            assert pulls[number].recv() == b"%d" % number
        assert poller.poll(0) == []


# ---- descriptors


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
    """Nobody has to ask for an error or a hang-up."""
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
    """A file is ready always."""
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
    """The descriptor says only that something may have changed; the socket itself is what to register."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound.fileno(), POLLIN)
    assert bound.poll(0) == 0
    connected.send(b"one")
    deadline = time.monotonic() + LIMIT / 1000
    while not bound.events & POLLIN and time.monotonic() < deadline:
        poller.poll(100)
    assert bound.recv() == b"one"


# ---- what was remembered of the sockets


def operations():
    """What a user may do between two polls that makes libzmq look at its commands, and so empties the descriptor."""
    return {
        "events": lambda socket: socket.getsockopt(zmqcy.EVENTS),
        "property": lambda socket: socket.events,
        "poll": lambda socket: socket.poll(0),
        "poll for ever": lambda socket: socket.poll(),
        "another poller": second_poll,
        "select": lambda socket: zmqcy.select([socket], [socket], [socket], 0),
        "option": lambda socket: socket.getsockopt(zmqcy.RCVMORE),
        "set option": lambda socket: socket.setsockopt(zmqcy.LINGER, 0),
        "bind": lambda socket: socket.bind("tcp://127.0.0.1:*"),
        "connect": lambda socket: socket.connect("tcp://127.0.0.1:9"),
        "recv one": lambda socket: socket.recv(),
        "try_recv one": lambda socket: socket.try_recv() or socket.recv(),
        "recv_into one": lambda socket: socket.recv_into(bytearray(10)),
        "recv_multipart one": lambda socket: socket.recv_multipart(),
        "recv_string one": lambda socket: socket.recv_string(),
        "next one": lambda socket: next(socket),
        "send": lambda socket: socket.try_send(b""),
        "recv_into too small": recv_into_too_small,
        "repr": lambda socket: repr(socket),
        "fileno": lambda socket: socket.fileno(),
        "underlying": lambda socket: socket.underlying,
    }


def recv_into_too_small(socket):
    with pytest.raises(zmqcy.ZMQError, match="into a buffer of 1"):
        socket.recv_into(bytearray(1))


def second_poll(socket):
    poller = zmqcy.Poller()
    poller.register(socket)
    assert poller.poll(0)


@pytest.mark.parametrize("crowded", [False, True])
@rows("name", operations())
def test_events_are_seen_after_any_operation(ctx, pairs, name, crowded):
    """The descriptor is edge-triggered: what an operation of the user found there is not found again."""
    bound, connected = pairs(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    poller.register(bound, POLLIN)
    idle = crowd(poller, ctx) if crowded else []
    for _ in range(3):
        assert poller.poll(0) == []
        connected.send(b"first")
        connected.send(b"second")
        assert select.select([bound.fileno()], [], [], LIMIT / 1000)[0]  # the edge is there; nobody has looked yet
        operations()[name](bound)
        for _ in range(1 if "one" in name else 2):
            assert poller.poll(LIMIT) == [(bound, POLLIN)]
            assert poller.poll(0) == [(bound, POLLIN)]
            bound.recv()
        assert poller.poll(0) == []
        assert not bound.events & POLLIN
    for each in [bound, connected, *idle]:
        each.close()


def test_swallowed_edge(socket, poller):
    """getsockopt(EVENTS) after the message has come: the descriptor is quiet, the message is there."""
    pull = socket(zmqcy.PULL)
    pull.bind("inproc://edge")
    push = socket(zmqcy.PUSH)
    push.connect("inproc://edge")
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []
    push.send(b"one")
    assert pull.getsockopt(zmqcy.EVENTS) & POLLIN
    assert select.select([pull.fileno()], [], [], 0)[0] == []
    assert poller.poll(0) == [(pull, POLLIN)]
    assert poller.poll(0) == [(pull, POLLIN)]
    assert pull.recv() == b"one"
    assert poller.poll(0) == []


def test_second_of_two_messages(socket, poller):
    pull = socket(zmqcy.PULL)
    pull.bind("inproc://two")
    push = socket(zmqcy.PUSH)
    push.connect("inproc://two")
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []
    push.send(b"one")
    push.send(b"two")
    assert pull.recv() == b"one"
    assert poller.poll(0) == [(pull, POLLIN)]
    assert pull.recv() == b"two"
    assert poller.poll(0) == []


def test_second_part_of_a_message(pair, poller):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    connected.send_multipart([b"one", b"two", b""])
    assert poller.poll(LIMIT) == [(bound, POLLIN)]
    assert bound.recv() == b"one"
    assert poller.poll(0) == [(bound, POLLIN)]
    assert bound.recv() == b"two"
    assert poller.poll(0) == [(bound, POLLIN)]
    assert bound.recv() == b""
    assert poller.poll(0) == []


def test_message_that_did_not_fit(pair, poller):
    """It waits in the socket, where libzmq does not see it."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    assert poller.poll(0) == []
    connected.send(b"too large")
    with pytest.raises(zmqcy.ZMQError) as caught:
        bound.recv_into(bytearray(2))
    assert caught.value.errno == zmqcy.EMSGSIZE
    assert poller.poll(0) == bound.poll(0) * [(bound, POLLIN)] == [(bound, POLLIN)]
    assert bound.events & POLLIN
    assert zmqcy.select([bound], [], [], 0)[0] == [bound]
    assert bound.recv() == b"too large"
    assert poller.poll(0) == []
    assert bound.poll(0) == 0


def test_own_send_fills_it(socket, poller):
    """The room to send changes by the socket's own sends, of which its descriptor says nothing."""
    pull = socket(zmqcy.PULL, rcvhwm=1)
    pull.bind("inproc://fill")
    push = socket(zmqcy.PUSH, sndhwm=1)
    push.connect("inproc://fill")
    poller.register(push, POLLOUT)
    for _ in range(5):
        assert poller.poll(LIMIT) == [(push, POLLOUT)]
        push.send(b"x")
        assert poller.poll(0) == [(push, POLLOUT)]
        push.send(b"x")
        assert poller.poll(0) == []
        pull.recv()
        pull.recv()


@rows("crowded", [False, True])
@rows("early", [True, False])
def test_shadow_behind_the_back(ctx, pairs, early, crowded):
    """Another wrapper of the same socket takes messages and edges that the registered one knows nothing of."""
    bound, connected = pairs(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    if early:
        shadow = zmqcy.Socket.shadow(bound.underlying)
    poller.register(bound, POLLIN)
    if crowded:
        crowd(poller, ctx)
    assert poller.poll(0) == []
    connected.send(b"one")
    assert poller.poll(LIMIT) == [(bound, POLLIN)]
    if not early:
        shadow = zmqcy.Socket.shadow(bound)
    assert poller.poll(0) == [(bound, POLLIN)]
    assert shadow.recv() == b"one"
    assert poller.poll(0) == []
    for _ in range(5):
        connected.send(b"first")
        connected.send(b"second")
        assert shadow.poll(LIMIT) == POLLIN  # the edge is gone
        assert poller.poll(0) == [(bound, POLLIN)]
        assert shadow.recv(timeout=LIMIT) == b"first"
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert shadow.recv(timeout=LIMIT) == b"second"
        assert poller.poll(0) == []


def test_shadow_is_polled(pair, poller):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    shadow = zmqcy.Socket.shadow(bound)
    poller.register(shadow, POLLIN)
    for _ in range(5):
        assert poller.poll(0) == []
        connected.send(b"first")
        connected.send(b"second")
        assert bound.poll(LIMIT) == POLLIN
        assert poller.poll(0) == [(shadow, POLLIN)]
        assert bound.recv() == b"first"
        assert poller.poll(LIMIT) == [(shadow, POLLIN)]
        assert shadow.recv() == b"second"


def test_shadow_closes_it(socket, poller):
    """`close` on a shadow closes the socket of both: the other one is told, not let into freed memory."""
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []
    shadow = zmqcy.Socket.shadow(pull)
    poller.register(shadow, POLLIN)
    assert poller.poll(0) == []
    pull.close()
    with pytest.raises(zmqcy.ZMQError) as caught:
        poller.poll(0)
    assert caught.value.errno == zmqcy.ENOTSOCK


def test_poll_forwards_everything(pair, poller):
    """Messages come while some were taken and others not: each one is seen, with nothing but the poller to wait on."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    choice = random.Random(7)
    poller.register(bound, POLLIN)
    sent = received = 0
    while received < 2_000:
        for _ in range(min(choice.randrange(4), 2_000 - sent)):
            connected.send(b"%d" % sent)
            sent += 1
        if sent == received:
            assert poller.poll(0) == []
            continue
        if choice.random() < 0.3:
            bound.events  # noqa: B018
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        for _ in range(choice.randrange(1, 4)):
            message = bound.try_recv()
            if message is not None:
                assert message == b"%d" % received
                received += 1
    assert poller.poll(0) == []


class Polling(RuleBasedStateMachine):
    """Random operations on connected sockets; what the poller says is what each socket says of itself.

    Over inproc everything has come when a send is back. To ask a socket for its events lets the poller forget what it
    remembered: so it is not asked each time, and the parts that have come are counted here as well.
    """

    OPERATIONS = ("send", "receive", "receive all", "receive too small", "look", "poll", "shadow")

    def __init__(self):
        super().__init__()
        self.ctx = zmqcy.Context(io_threads=0, linger=0, sndhwm=2, rcvhwm=2)
        self.poller = zmqcy.Poller()
        self.second = zmqcy.Poller()
        self.router = self.ctx.socket(zmqcy.ROUTER, router_mandatory=True)
        self.router.bind("inproc://router")
        self.dealers = [self.ctx.socket(zmqcy.DEALER, routing_id=b"%d" % number) for number in range(2)]
        pairs = [self.ctx.socket(zmqcy.PAIR) for _ in range(4)]
        for dealer in self.dealers:
            dealer.connect("inproc://router")
        self.peers = dict(zip(pairs, (pairs[1], pairs[0], pairs[3], pairs[2]), strict=True))
        self.peers |= dict.fromkeys(self.dealers, self.router) | {self.router: self.dealers[0]}
        for number in (0, 2):
            pairs[number].bind(f"inproc://pair{number}")
            pairs[number + 1].connect(f"inproc://pair{number}")
        self.sockets = list(self.peers)
        self.shadows = {}  # by socket: the wrapper to use instead
        self.parts = dict.fromkeys(self.sockets, 0)  # that have come, and were not received
        self.flags = {}
        for each in self.sockets:
            self.poller.register(each)
            self.flags[each] = POLLIN | POLLOUT

    def operate(self, socket, operation, number):
        wrapper = self.shadows.get(socket, socket)
        if operation == "send":
            peer = self.dealers[number % 2] if socket is self.router else self.peers[socket]
            parts = [b"x"] * (1 + number % 3)
            head = [b"%d" % self.dealers.index(peer)] if socket is self.router else []
            try:
                wrapper.send_multipart(head + parts, zmqcy.DONTWAIT)
            except zmqcy.Again:
                return
            self.parts[peer] += len(parts) + (peer is self.router)
        elif operation == "receive":
            assert (wrapper.try_recv() is not None) == (self.parts[socket] > 0)
            self.parts[socket] = max(0, self.parts[socket] - 1)
        elif operation == "receive all":
            while wrapper.try_recv() is not None:
                self.parts[socket] -= 1
            assert self.parts[socket] == 0
        elif operation == "receive too small":
            if self.parts[socket] and socket not in self.shadows:
                room = bytearray(1)
                try:
                    wrapper.recv_into(room)
                except zmqcy.ZMQError as error:  # the routing id of a message is longer
                    assert error.errno == zmqcy.EMSGSIZE
                else:
                    self.parts[socket] -= 1
        elif operation == "look":
            assert bool(wrapper.getsockopt(zmqcy.EVENTS) & POLLIN) == (self.parts[socket] > 0)
        elif operation == "poll":
            assert bool(wrapper.poll(0)) == (self.parts[socket] > 0)
        elif self.parts[socket] == 0:  # what waits in one wrapper is not in the other
            self.shadows[socket] = zmqcy.Socket.shadow(socket)

    @rule(
        number=st.integers(0, 6),
        operations=st.lists(
            st.tuples(st.sampled_from(OPERATIONS), st.booleans(), st.integers(0, 5)), min_size=1, max_size=4
        ),
        compare=st.integers(0, 3),
    )
    def work_and_poll(self, number, operations, compare):
        """Operate on a socket and its peer, then poll."""
        socket = self.sockets[number]
        for operation, here, detail in operations:
            self.operate(socket if here else self.peers[socket], operation, detail)
        ready = dict(self.poller.poll(0))
        for each, flags in self.flags.items():
            assert not ready.get(each, 0) & ~flags
            if flags & POLLIN:
                assert bool(ready.get(each, 0) & POLLIN) == (self.parts[each] > 0), (each, self.parts[each])
        assert ready.keys() <= self.flags.keys()
        if compare == 0:
            truth = {each: each.events & flags for each, flags in self.flags.items()}
            assert ready == {each: events for each, events in truth.items() if events}

    @rule(number=st.integers(0, 6), flags=st.sampled_from((0, POLLIN, POLLOUT, POLLIN | POLLOUT)))
    def register(self, number, flags):
        socket = self.sockets[number]
        self.poller.register(socket, flags)
        if flags:
            self.flags[socket] = flags
        else:
            self.flags.pop(socket, None)
        assert dict(self.poller.sockets) == self.flags

    @rule(number=st.integers(0, 6))
    def poll_elsewhere(self, number):
        """Another poller, that knows some of the sockets, reads their events too."""
        ready = dict(self.second.poll(0))
        for each, _ in self.second.sockets:
            assert bool(ready.get(each, 0) & POLLIN) == (self.parts[each] > 0), (each, self.parts[each])
        self.second.register(self.sockets[number], 0 if self.sockets[number] in self.second else POLLIN)

    def teardown(self):
        self.ctx.destroy(0)


class PollingInCrowd(Polling):
    """The same among many idle sockets: in the epoll set, in the array, and in both by turns."""

    def __init__(self):
        super().__init__()
        idle = crowd(self.poller, self.ctx)
        for each in idle:  # the set stays
            self.poller.unregister(each)
        self.idle = idle[:5]

    @rule()
    def gather(self):
        for each in self.idle:
            self.poller.register(each, POLLIN)
        self.poller.poll(0)
        for each in self.idle:
            self.poller.unregister(each)


TestPollingInCrowd = pytest.mark.timeout(400)(PollingInCrowd.TestCase)
TestPollingInCrowd.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
TestPolling = pytest.mark.timeout(400)(Polling.TestCase)  # to find the smallest example takes its time
TestPolling.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


# ---- many sockets, which wait in an epoll set


@pytest.fixture
def thousand():
    """A thousand connected pairs over inproc, the first of each bound."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4000:
        pytest.skip("too few descriptors")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4000), hard))
    context = zmqcy.Context(io_threads=0, max_sockets=2500)
    pairs = []
    for number in range(1000):
        first, second = context.socket(zmqcy.PAIR, linger=0), context.socket(zmqcy.PAIR, linger=0)
        first.bind(f"inproc://{number}")
        second.connect(f"inproc://{number}")
        pairs.append((first, second))
    yield pairs
    context.destroy(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_sockets(thousand, poller):
    """Readiness appears and disappears, by messages, by calls, by what is wanted."""
    for first, _ in thousand:
        poller.register(first, POLLIN)
    assert poller.poll(0) == poller.poll(0) == []
    if sys.platform.startswith("linux"):
        descriptors = in_epoll_sets()
        assert all(descriptors.count(first.fileno()) == 1 for first, _ in thousand)
        assert poller.poll(0) == []
    choice = random.Random(11)
    for round in range(60):
        some = sorted(choice.sample(range(1000), choice.choice((1, 1, 3, 70, 200, 1000))))
        for number in some:
            thousand[number][1].send(b"%d" % number)
        if round % 3 == 0:
            for number in some[::2]:
                assert thousand[number][0].getsockopt(zmqcy.EVENTS) & POLLIN  # which takes the edge
        expected = [(thousand[number][0], POLLIN) for number in some]
        assert poller.poll(LIMIT) == expected
        assert poller.poll(0) == expected
        poller.modify(thousand[some[0]][0], POLLOUT)
        assert poller.poll(0) == [(thousand[some[0]][0], POLLOUT), *expected[1:]]
        poller.modify(thousand[some[0]][0], POLLIN)
        for number in some:
            assert thousand[number][0].recv() == b"%d" % number
        assert poller.poll(0) == []
    for first, _ in thousand:
        poller.modify(first, POLLOUT)
    assert poller.poll(0) == [(first, POLLOUT) for first, _ in thousand]


def test_a_thousand_sockets_wake_a_poll_that_sleeps(thousand, poller, pool):
    for first, _ in thousand:
        poller.register(first, POLLIN)
    for number in (0, 500, 999):

        def send(number=number):
            in_use(poller.poll, 0)
            thousand[number][1].send(b"%d" % number)

        sent = pool.submit(send)
        assert poller.poll() == [(thousand[number][0], POLLIN)]
        assert thousand[number][0].recv() == b"%d" % number
        sent.result(30)


def test_unregister_in_a_crowd(ctx, pair, poller):
    """A ready one goes, and comes back; what it left behind is not polled."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    idle = crowd(poller, ctx)
    for _ in range(3):
        connected.send(b"one")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        poller.unregister(bound)
        assert poller.poll(0) == []
        assert poller.sockets == [(each, POLLIN) for each in idle]
        connected.send(b"two")
        with at_least(20):
            assert poller.poll(20) == []
        poller.register(bound, POLLIN)
        assert poller.poll(0) == [(bound, POLLIN)]
        assert bound.recv() == b"one"
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert bound.recv() == b"two"
        crowd(poller, ctx, 5)
        idle = [each for each, _ in poller.sockets if each is not bound]


def test_pollout_is_lost_in_a_crowd(ctx, socket, poller):
    pull = socket(zmqcy.PULL, rcvhwm=2)
    pull.bind("inproc://full")
    push = socket(zmqcy.PUSH, sndhwm=2)
    poller.register(push, POLLOUT)
    crowd(poller, ctx)
    push.connect("inproc://full")
    for _ in range(3):
        assert poller.poll(LIMIT) == [(push, POLLOUT)]
        while poller.poll(0):
            push.send(b"x")
        assert not push.try_send(b"x")
        assert pull.recv() and pull.recv()


def test_socket_in_two_crowded_pollers(ctx, pair, poller):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    second = zmqcy.Poller()
    for each in (poller, second):
        each.register(bound, POLLIN)
        crowd(each, ctx)
    for _ in range(3):
        assert poller.poll(0) == second.poll(0) == []
        connected.send(b"one")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]  # this reads the events, and takes the edge
        assert second.poll(LIMIT) == [(bound, POLLIN)]
        assert bound.recv() == b"one"
    second.unregister(bound)
    connected.send(b"one")
    assert poller.poll(LIMIT) == [(bound, POLLIN)]
    assert second.poll(0) == []
    del second
    assert bound.recv() == b"one"
    connected.send(b"two")
    assert poller.poll(LIMIT) == [(bound, POLLIN)]


def test_socket_that_goes_from_thread_to_thread(ctx, pair, poller, pool):
    """What another thread did is seen by the next poll, as an own call is."""
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    poller.register(bound, POLLIN)
    crowd(poller, ctx)
    for number in range(50):
        connected.send(b"%d" % number)
        connected.send(b"second")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert pool.submit(bound.recv).result(30) == b"%d" % number
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert pool.submit(poller.poll, 0).result(30) == [(bound, POLLIN)]
        assert pool.submit(bound.recv).result(30) == b"second"
        assert poller.poll(0) == []


def test_sockets_and_many_descriptors(ctx, poller):
    """Random registering and readiness of 40 of each kind, in the order of registration."""
    choice = random.Random(13)
    everything, peers, write, read = [], [], {}, {}
    for number in range(40):
        first, second = ctx.socket(zmqcy.PAIR, linger=0), ctx.socket(zmqcy.PAIR, linger=0)
        first.bind(f"inproc://{number}")
        second.connect(f"inproc://{number}")
        one, other = sockets.socketpair()
        everything += [first, one]
        peers.append(other)
        write |= {first: lambda peer=second: peer.send(b"x"), one: lambda peer=other: peer.send(b"x")}
        read |= {first: first.recv, one: lambda one=one: one.recv(1)}
    registered, waiting = [], dict.fromkeys(everything, 0)
    for _ in range(3_000):
        each = choice.choice(everything)
        what = choice.random()
        if what < 0.35:
            write[each]()
            waiting[each] += 1
        elif what < 0.7:
            if waiting[each]:
                read[each]()
                waiting[each] -= 1
        elif each in registered:
            poller.unregister(each)
            registered.remove(each)
        else:
            poller.register(each, POLLIN)
            registered.append(each)
        if choice.random() < 0.5:
            assert poller.poll(0) == [(each, POLLIN) for each in registered if waiting[each]]
    assert [each for each, _ in poller.sockets] == registered
    for each in everything + peers:
        each.close()


def test_closed_socket_in_a_crowd(ctx, socket, poller):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    crowd(poller, ctx)
    pull.close()
    for _ in range(3):
        with pytest.raises(zmqcy.ZMQError, match=r"^poll \(PULL\): the socket is closed"):
            poller.poll(0)
    poller.unregister(pull)
    assert poller.poll(0) == []


def test_number_of_a_closed_socket_in_a_crowd(ctx, poller):
    """A new socket gets the descriptor's number of a closed one: to take that out leaves the new one in."""
    old = ctx.socket(zmqcy.PULL)
    number = old.fileno()
    poller.register(old, POLLIN)
    crowd(poller, ctx)
    old.close()
    deadline = time.monotonic() + LIMIT / 1000
    with suppress(OSError):
        while os.fstat(number):  # libzmq closes it in the background
            assert time.monotonic() < deadline
    made = [ctx.socket(zmqcy.PULL, linger=0)]
    while made[-1].fileno() != number:
        assert len(made) < 200
        made.append(ctx.socket(zmqcy.PULL, linger=0))
    new = made[-1]
    new.bind("inproc://new")
    push = ctx.socket(zmqcy.PUSH, linger=0)
    push.connect("inproc://new")
    other = zmqcy.Poller()
    for each in (poller, other):
        each.register(new, POLLIN)
    with pytest.raises(zmqcy.ZMQError, match="closed"):
        poller.poll(0)
    poller.unregister(old)
    crowd(poller, ctx, 5)
    push.send(b"one")
    assert poller.poll(LIMIT) == [(new, POLLIN)]
    assert other.poll(LIMIT) == [(new, POLLIN)]


@linux
@pytest.mark.parametrize("how", ["close", "shadow", "unregister", "underlying"])
def test_what_leaves_the_set_while_a_child_has_its_descriptors(run, how):
    """A closed descriptor stays in an epoll set as long as another process has it: it must be taken out before."""
    run("""
        import os, sys, warnings, zmqcy
        from crowds import crowd, epoll_sets, in_epoll_sets
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        ctx = zmqcy.Context(linger=0)
        poller = zmqcy.Poller()
        pull = ctx.socket(zmqcy.PULL)
        number = pull.fileno()
        poller.register(pull, zmqcy.POLLIN)
        crowd(poller, ctx)
        assert number in in_epoll_sets()
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        match sys.argv[1]:
            case "close":
                pull.close()
                poller.unregister(pull)
            case "shadow":
                zmqcy.Socket.shadow(pull).close()
                poller.unregister(pull)
            case "unregister":
                poller.unregister(pull)
            case "underlying":
                pull.underlying
        mine = max(epoll_sets(), key=len)
        assert len(mine) == 20, mine
        assert number not in mine
        assert poller.poll(20) == []
        os.close(writer)
        os.waitpid(child, 0)
    """, how, env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip


@linux
def test_shared_socket_is_in_no_set(ctx, socket, poller):
    """Who else has it may close it, of which we would not know."""
    pull = socket(zmqcy.PULL)
    number = pull.fileno()
    shadow = zmqcy.Socket.shadow(pull.underlying)
    poller.register(pull, POLLIN)
    poller.register(shadow, POLLIN)
    idle = crowd(poller, ctx)
    found = in_epoll_sets()
    assert number not in found
    assert all(each.fileno() in found for each in idle)


def test_fork_in_a_crowd(run):
    """The child's epoll set would be its parent's: what it does there is not seen here."""
    done = run("""
        import os, sys, warnings, zmqcy
        from crowds import in_epoll_sets
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        with zmqcy.Context(linger=0) as ctx:
            poller = zmqcy.Poller()
            pairs = []
            for number in range(30):
                pull, push = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
                pull.bind(f"inproc://{number}")
                push.connect(f"inproc://{number}")
                poller.register(pull, zmqcy.POLLIN)
                pairs.append((pull, push))
            assert poller.poll(0) == poller.poll(0) == []
            descriptors = {pull.fileno() for pull, _ in pairs}
            assert poller.poll(0) == []
            child = os.fork()
            if not child:
                try:
                    poller.poll(0)
                except zmqcy.ForkedError:
                    pass
                else:
                    os._exit(1)
                if sys.platform.startswith("linux") and descriptors & set(in_epoll_sets()):
                    os._exit(2)
                for pull, push in pairs:
                    poller.unregister(pull)
                    pull.close()
                with zmqcy.Context(linger=0) as own:
                    pulls = [own.socket(zmqcy.PULL) for _ in range(30)]
                    for number, pull in enumerate(pulls):
                        pull.bind(f"inproc://{number}")
                        poller.register(pull, zmqcy.POLLIN)
                    assert poller.poll(0) == poller.poll(0) == []
                    push = own.socket(zmqcy.PUSH)
                    push.connect("inproc://17")
                    push.send(b"x")
                    assert poller.poll(5000) == [(pulls[17], zmqcy.POLLIN)]
                    own.destroy()
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            for pull, push in pairs:
                assert poller.poll(0) == []
                push.send(b"x")
                assert poller.poll(5000) == [(pull, zmqcy.POLLIN)]
                pull.recv()
            ctx.destroy()
    """, env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.stdout == "7\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_handler_that_forks_in_a_poll(run):
    """The child goes on with the poll that the handler broke into: it must see that the sockets are its parent's."""
    done = run("""
        import os, signal, warnings, zmqcy
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        children = []
        with zmqcy.Context(linger=0) as ctx:
            poller = zmqcy.Poller()
            for _ in range(30):
                poller.register(ctx.socket(zmqcy.PULL), zmqcy.POLLIN)
            poller.poll(0)
            signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                assert poller.poll(600) == []
            except zmqcy.ForkedError:
                os._exit(7 if children == [0] else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
            ctx.destroy()
    """)
    assert done.stdout == "7\n"


@linux
def test_no_descriptor_for_the_set(run):
    """The sockets are polled all the same, and go into a set once one can be had."""
    run("""
        import os, resource, zmqcy
        from crowds import in_epoll_sets
        with zmqcy.Context(linger=0) as ctx:
            poller = zmqcy.Poller()
            pairs = []
            for number in range(60):
                pull, push = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
                pull.bind(f"inproc://{number}")
                push.connect(f"inproc://{number}")
                pairs.append((pull, push))

            def check(some):
                for pull, push in some:
                    push.send(b"x")
                    assert poller.poll(5000) == [(pull, zmqcy.POLLIN)]
                    pull.recv()
                assert poller.poll(0) == []

            descriptors = [pull.fileno() for pull, _ in pairs]
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            most = os.open("/dev/null", os.O_RDONLY)
            os.close(most)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            for pull, _ in pairs[:20]:
                poller.register(pull, zmqcy.POLLIN)
            check(pairs[:20])
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            assert not set(descriptors) & set(in_epoll_sets())
            for pull, _ in pairs[20:]:
                poller.register(pull, zmqcy.POLLIN)
            check(pairs)
            assert set(descriptors) <= set(in_epoll_sets())
            ctx.destroy()
    """, env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip


def test_destroyed_context_in_a_crowd(poller):
    context = zmqcy.Context(linger=0)
    idle = crowd(poller, context)
    context.destroy()
    for _ in range(2):
        with pytest.raises(zmqcy.ContextTerminated):
            poller.poll(0)
    for each in idle:
        poller.unregister(each)
    assert poller.poll(0) == []


def test_shutdown_context_in_a_crowd(ctx, poller):
    idle = crowd(poller, ctx)
    ctx.shutdown()
    for each in idle:
        with pytest.raises(zmqcy.ContextTerminated):
            poller.poll()
        poller.unregister(each)
    assert poller.poll(0) == []


@rows("count", [0, 20])
@rows("first", ["poller", "socket"])
def test_poller_and_socket_end_in_any_order(ctx, near, first, count):
    bound, connected = near(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    poller.register(bound)
    poller.register(connected, POLLOUT)
    idle = crowd(poller, ctx, count)
    if first == "poller":
        del poller
        connected.send(b"one")
        assert bound.recv() == b"one"
        bound.close()
        connected.close()
    else:
        for each in (bound, connected):
            poller.unregister(each)
            each.close()
        del bound, connected, each
        assert poller.poll(0) == []
        assert [each for each, _ in poller.sockets] == idle


def test_poller_and_sockets_in_a_cycle(ctx):
    """The collector ends them in whatever order."""

    class Knot(zmqcy.Socket):
        pass

    for count in (0, 20):
        made = [Knot(ctx, zmqcy.PULL) for _ in range(10)]
        for each in made:
            each.linger = 0
            each.poller = zmqcy.Poller()
        for each in made:
            for other in made:
                each.poller.register(other, POLLIN)
            crowd(each.poller, ctx, count)
        alive = [weakref.ref(each) for each in made]
        del made, each, other
        gc.collect()
        assert not any(each() for each in alive)


def test_what_a_debugger_keeps_of_a_poller(ctx, pair):
    """The parts of a poller that is gone, found through the collector, are harmless to its sockets."""
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    poller.register(bound, POLLIN)
    crowd(poller, ctx)
    kept = [each for each in gc.get_objects() if type(each).__module__ == "zmqcy._poll"]
    kept = [each for each in kept if each is not poller]
    assert len(kept) >= 21
    del poller
    connected.send(b"one")
    assert bound.recv(timeout=LIMIT) == b"one"
    bound.close()
    kept.clear()


def test_registering_while_fileno_registers(ctx, poller, pipe):
    """`fileno()` is Python code, which may register the same object."""
    reader, writer = pipe()

    class Eager(Thing):
        def fileno(self):
            if len(poller) == 0:
                self.descriptor = reader.fileno()
                first, Eager.fileno = Eager.fileno, Thing.fileno
                poller.register(self, POLLIN)
                Eager.fileno = first
            return self.descriptor

    thing = Eager(None)
    poller.register(thing, POLLIN)
    assert poller.sockets == [(thing, POLLIN)]
    writer.write(b"x")
    assert poller.poll(0) == [(thing, POLLIN)]
    poller.unregister(thing)
    crowd(poller, ctx)
    assert poller.poll(0) == []


# ---- errors


def test_closed_socket(socket, poller):
    pull, other = socket(zmqcy.PULL), socket(zmqcy.PUB)
    poller.register(pull, POLLIN)
    poller.register(other, POLLOUT)
    assert poller.poll(0) == [(other, POLLOUT)]
    pull.close()
    for _ in range(2):
        with pytest.raises(zmqcy.ZMQError, match=r"^poll \(PULL\): the socket is closed") as caught:
            poller.poll(0)
        assert caught.value.errno == zmqcy.ENOTSOCK
    assert pull in poller
    poller.modify(pull, POLLIN | POLLOUT)
    poller.unregister(pull)
    assert poller.poll(0) == [(other, POLLOUT)]


def test_closed_socket_whose_descriptor_lives_again(ctx, poller):
    """Another socket may have got the number of the closed one."""
    pull = ctx.socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []
    pull.close()
    for _ in range(10):
        ctx.socket(zmqcy.PULL)
        with pytest.raises(zmqcy.ZMQError, match="closed"):
            poller.poll(0)


def test_terminated_context(ctx, socket, poller):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []
    ctx.shutdown()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^poll \(PULL\): "):
        poller.poll()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^poll \(PULL\): "):
        pull.poll()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^register \(PULL\): "):
        zmqcy.Poller().register(pull)
    poller.unregister(pull)
    assert poller.poll(0) == []


@pytest.mark.parametrize("who", ["poller", "socket"])
def test_context_that_is_ended_during_the_poll(ctx, socket, poller, pool, who):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []

    def end():
        in_use(*((poller.poll, 0) if who == "poller" else (pull.getsockopt, zmqcy.EVENTS)))
        ctx.shutdown()

    ended = pool.submit(end)
    with pytest.raises(zmqcy.ContextTerminated):
        (poller if who == "poller" else pull).poll()
    ended.result(30)


def test_poller_in_two_threads(pair, poller, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    assert poller.poll(0) == []
    done = pool.submit(poller.poll)
    in_use(poller.poll, 0)
    for call, name in (
        (lambda: poller.poll(0), "poll"),
        (lambda: poller.poll(), "poll"),
        (lambda: poller.register(0), "register"),
        (lambda: poller.register(bound, POLLIN | POLLOUT), "register"),
        (lambda: poller.modify(bound, POLLOUT), "modify"),
        (lambda: poller.unregister(bound), "unregister"),
    ):
        with pytest.raises(zmqcy.SocketInUse, match=f"^{name}: another thread is in a call on this poller") as caught:
            call()
        assert caught.value.errno == errno.EBUSY
    assert len(poller) == 1 and bound in poller and poller.sockets == [(bound, POLLIN)]
    connected.send(b"one")
    assert done.result(30) == [(bound, POLLIN)]
    assert poller.poll(0) == [(bound, POLLIN)]


def test_socket_in_another_thread(pair, poller, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    assert poller.poll(0) == []
    done = pool.submit(bound.recv)
    in_use(bound.getsockopt, zmqcy.EVENTS)
    with pytest.raises(zmqcy.SocketInUse, match=r"^poll \(PULL\): "):
        poller.poll(0)
    with pytest.raises(zmqcy.SocketInUse, match=r"^poll \(PULL\): "):
        bound.poll(0)
    with pytest.raises(zmqcy.SocketInUse, match=r"^register \(PULL\): "):
        zmqcy.Poller().register(bound)
    connected.send(b"one")
    assert done.result(30) == b"one"
    assert poller.poll(0) == []


def test_many_threads_on_one_poller(pair, poller):
    """Each gets what is ready or SocketInUse, and nothing breaks."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    other = Thing(0)
    unexpected = []

    def use():
        for number in range(500):
            try:
                if number % 5 == 0:
                    poller.register(other, POLLPRI)
                elif number % 5 == 1:
                    poller.unregister(other)
                else:
                    poller.poll(0 if number % 2 else 1)
            except (zmqcy.SocketInUse, KeyError):
                pass
            except Exception as error:
                unexpected.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert unexpected == []
    connected.send(b"one")
    assert (bound, POLLIN) in poller.poll(LIMIT)


def test_fork(run):
    done = run("""
        import os, warnings, zmqcy
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        with zmqcy.Context() as ctx, ctx.socket(zmqcy.PULL) as pull:
            poller = zmqcy.Poller()
            poller.register(pull, zmqcy.POLLIN)
            assert poller.poll(0) == []
            child = os.fork()
            if not child:
                for call in (lambda: poller.poll(0), pull.poll, lambda: zmqcy.Poller().register(pull)):
                    try:
                        call()
                    except zmqcy.ForkedError:
                        continue
                    os._exit(1)
                poller.unregister(pull)
                reader, writer = os.pipe()
                poller.register(reader, zmqcy.POLLIN)
                os.write(writer, b"x")
                os._exit(7 if poller.poll(1000) == [(reader, zmqcy.POLLIN)] else 2)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))
            assert poller.poll(0) == []
    """)
    assert done.stdout == "7\n"


def test_finalizer_that_changes_the_poller(run):
    """The collector runs where it likes, as between two sockets of a poll: what is freed there is not looked at."""
    run("""
        import gc, zmqcy

        class Cycle:
            def __init__(self, poller, gone):
                self.itself, self.poller, self.gone = self, poller, gone
            def __del__(self):
                while self.gone:
                    self.poller.unregister(self.gone[-1])
                    self.gone.pop().close(0)

        gc.disable()
        with zmqcy.Context() as ctx:
            for threshold in range(1, 60):
                poller = zmqcy.Poller()
                kept = [ctx.socket(zmqcy.PUB, linger=0) for _ in range(20)]
                gone = [ctx.socket(zmqcy.PUB, linger=0) for _ in range(20)]
                for socket in kept + gone:
                    poller.register(socket)
                del socket
                Cycle(poller, gone)
                gc.set_threshold(threshold)
                gc.enable()
                try:
                    ready = poller.poll(0)
                except (zmqcy.SocketInUse, zmqcy.ZMQError, RuntimeError):
                    pass
                else:
                    assert [socket for socket, _ in ready][:20] == kept
                gc.disable()
                gc.collect()
                assert len(poller) in (20, 40)
                for socket in kept + gone:
                    socket.close(0)
    """)


# ---- signals


def test_signals_keep_the_time(socket, poller, alarms):
    """A poll goes on after a handler with the time that is left: not anew, and not at once."""
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    rung = []
    with alarms(lambda *_: rung.append(1)):
        for call in (poller.poll, pull.poll):
            rung.clear()
            with at_least(200):
                assert not call(200)
            assert len(rung) >= 2
        rung.clear()
        with at_least(200):
            assert zmqcy.select([pull], [], [], 0.2) == ([], [], [])
        assert len(rung) >= 2


class Stop(Exception):
    pass


def stop(*_):
    raise Stop


@rows("timeout", [None, LIMIT])
def test_handler_that_raises(near, alarms, timeout):
    """It ends the poll, which is of use again afterwards."""
    bound, connected = near(zmqcy.PULL, zmqcy.PUSH)
    poller = zmqcy.Poller()
    poller.register(bound, POLLIN)
    for _ in range(3):
        for call in (poller.poll, bound.poll):
            with pytest.raises(Stop), alarms(stop):
                call(timeout)
        assert poller.poll(0) == []
        connected.send(b"one")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert bound.poll(0) == POLLIN
        assert bound.recv() == b"one"


def test_interrupt(run):
    """Ctrl-C ends any wait."""
    done = run("""
        import signal, zmqcy
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        ended = 0
        with zmqcy.Context() as ctx, ctx.socket(zmqcy.PULL) as pull:
            poller = zmqcy.Poller()
            poller.register(pull, zmqcy.POLLIN)
            for call in (poller.poll, pull.poll, lambda: zmqcy.select([pull], [], [])):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                try:
                    call()
                except KeyboardInterrupt:
                    ended += 1
            assert poller.poll(0) == []
        print(ended)
    """)
    assert done.stdout == "3\n"


def test_handler_that_sends(pair, poller, alarms):
    """What a handler does is seen by the poll that it broke into."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    for call in (poller.poll, bound.poll):
        sent = []

        def send(*_, sent=sent):
            if not sent:
                connected.send(b"from the handler")
                sent.append(1)

        with alarms(send):
            assert call()
        assert bound.recv() == b"from the handler"


def test_handler_that_receives_one_of_two(socket, poller, alarms):
    """It swallows the edge of both; the poll finds the second message all the same."""
    pull = socket(zmqcy.PULL)
    pull.bind("inproc://handler")
    push = socket(zmqcy.PUSH)
    push.connect("inproc://handler")
    poller.register(pull, POLLIN)
    received = []

    def handler(*_):
        if not received:
            push.send(b"one")
            push.send(b"two")
            received.append(pull.recv())

    with alarms(handler):
        assert poller.poll() == [(pull, POLLIN)]
    assert received == [b"one"]
    assert pull.recv() == b"two"


def test_handler_that_polls_what_a_device_has_in_hand(socket, poller, alarms):
    """The device has the message when the handler polls its socket, and gives it back afterwards."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)  # which has no peer
    pull.bind("inproc://hand")
    sender = socket(zmqcy.PUSH)
    sender.connect("inproc://hand")
    poller.register(pull, POLLIN)
    sender.send(b"one")
    looks = []

    def handler(*_):
        looks.append(poller.poll(0))
        raise Stop

    with pytest.raises(Stop), alarms(handler):
        zmqcy.proxy(pull, push)
    assert looks[0] == []
    assert poller.poll(0) == [(pull, POLLIN)]
    assert pull.recv() == b"one"
    assert poller.poll(0) == []


def test_handler_that_changes_the_poller(socket, poller, alarms, pipe):
    """Between two waits the poller is free: a handler may register and unregister."""
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    writers = [pipe()[1] for _ in range(40)]

    def handler(*_):
        if pull in poller:
            poller.unregister(pull)
            for writer in writers:
                poller.register(writer, POLLOUT)

    with alarms(handler):
        assert poller.poll() == [(writer, POLLOUT) for writer in writers]


def test_handler_that_closes_the_socket(socket, poller, alarms):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    with alarms(lambda *_: pull.close()), pytest.raises(zmqcy.ZMQError, match="closed"):
        poller.poll()
    other = socket(zmqcy.PULL)
    with alarms(lambda *_: other.close()), pytest.raises(zmqcy.ZMQError, match="closed"):
        other.poll(1_000)


# ---- select


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
    """As select.select has it, the end of a file can be read, and a broken pipe be written to: neither call waits."""
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
    with pytest.raises(ValueError, match=f"not negative: {timeout}"):
        zmqcy.select([], [socket(zmqcy.PUB)], [], timeout)


def test_select_of_a_socket_instead_of_a_list(pair):
    """To iterate a socket is to receive: a slip like this may not cost a message."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvtimeo": 100})
    connected.send(b"one")
    assert bound.poll(LIMIT)
    with pytest.raises(TypeError):
        zmqcy.select(bound, [], [], 0)
    assert bound.recv() == b"one"
