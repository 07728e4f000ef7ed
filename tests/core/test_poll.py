"""Socket.poll and Poller: registration, and the results of polls over every transport."""

import gc
import random
import socket as sockets
import time
import weakref
from datetime import timedelta

import pytest
from polling import Thing
from rows import rows
from waits import LIMIT, at_least, until_in_use

import zmqcy
from zmqcy import POLLERR, POLLIN, POLLOUT, POLLPRI


def fill(socket):
    """Send up to the high-water mark. Return the number of sent messages."""
    count = 0
    while socket.try_send(b"x"):
        count += 1
    return count


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
    """Without flags a poll only times out."""
    dealer = socket(zmqcy.DEALER)
    dealer.bind("inproc://nothing")
    with at_least(20):
        assert dealer.poll(20, 0) == 0


def test_poll_of_one_socket_until_another_thread_sends(pair, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)

    def send():
        until_in_use(bound.getsockopt, zmqcy.EVENTS)
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
    while push.poll(500, POLLOUT):  # over tcp the kernel takes some messages later
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
        with pytest.raises(TypeError, match="^poll: a timeout must be"):
            call(timeout)


@rows("timeout", [-2, -2.0, -1000, timedelta(seconds=-1), float("nan")], ids=str)
def test_timeout_that_is_none(near, poller, timeout):
    """-1 waits indefinitely. Any other negative time is an error in the caller's arithmetic."""
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


# ---- registration


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
    poller.register(reader.fileno(), POLLIN)  # the object and its number are two registrations
    writer.write(b"x")
    assert poller.poll(0) == [(writer.fileno(), POLLOUT), (reader, POLLIN), (reader.fileno(), POLLIN)]


def test_flags_0(socket, poller, pipe):
    """Registering with 0 removes; modifying to 0 keeps."""
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
    """A poller keeps registered sockets alive."""
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
    """A registered object may refer to the poller."""
    thing = Thing(0)
    thing.poller = zmqcy.Poller()
    thing.poller.register(thing, POLLIN)
    alive = weakref.ref(thing)
    del thing
    gc.collect()
    assert alive() is None


def test_random_registering(ctx):
    """The arrays match the list, whichever item is removed."""
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
    assert poller.poll(0) == [(bound, POLLIN)]  # level-triggered: ready until the message is received
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
        until_in_use(poller.poll, 0)
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
        until_in_use(poller.poll, 0)
        writer.write(b"x")

    written = pool.submit(write)
    assert poller.poll() == [(reader, POLLIN)]
    written.result(30)


def test_poll_until_room(socket, poller, pool):
    """Another thread receives, which ends the backpressure."""
    pull = socket(zmqcy.PULL, rcvhwm=1)
    pull.bind("inproc://room")
    push = socket(zmqcy.PUSH, sndhwm=1)
    push.connect("inproc://room")
    assert fill(push) == 2
    poller.register(push, POLLOUT)

    def read():
        until_in_use(poller.poll, 0)
        return [pull.recv(), pull.recv()]

    done = pool.submit(read)
    assert poller.poll() == [(push, POLLOUT)]
    assert done.result(30) == [b"x", b"x"]


def test_peer_that_comes_and_goes(socket, url, poller):
    """The first peer makes the socket ready to send; its disconnect is noticed too."""
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
    """REQ and REP alternate between sending and receiving."""
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
    """Among 500 sockets exactly the ready ones are returned, in order."""
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
