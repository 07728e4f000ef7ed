"""A poller caches correct events, although the file descriptor of a socket is edge-triggered."""

import random
import select

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from polling import crowd
from rows import rows
from waits import LIMIT

import zmqcy
from zmqcy import POLLIN, POLLOUT


def operations():
    """Calls between two polls that make libzmq process its commands, and so consume the edge of the file descriptor."""
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
    """The file descriptor is edge-triggered: an edge that a user's call has consumed does not come again."""
    bound, connected = pairs(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    poller.register(bound, POLLIN)
    idle = crowd(poller, ctx) if crowded else []
    for _ in range(3):
        assert poller.poll(0) == []
        connected.send(b"first")
        connected.send(b"second")
        assert select.select([bound.fileno()], [], [], LIMIT / 1000)[0]  # the edge is pending: no call has read it yet
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
    """getsockopt(EVENTS) after the message has arrived: no edge is left, but the message is there."""
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
    """zmqcy keeps the message, so libzmq does not report it."""
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
    """The socket's own sends change its readiness to send, without an edge."""
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
    """Another wrapper of the same socket receives messages and edges without the registered wrapper."""
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
        assert shadow.poll(LIMIT) == POLLIN  # consumes the edge
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
    """`close` on a shadow closes the socket of both; the other one raises, and does not use freed memory."""
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
    """Messages arrive while others are received: the poller notices each one by itself."""
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
    """Random operations on connected sockets. The poller reports the events of each socket.

    Over inproc a message has arrived when its send returns. Reading a socket's events makes the poller forget what it
    remembered. So the events are not read each time, and the arrived parts are counted here too.
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
        self.parts = dict.fromkeys(self.sockets, 0)  # arrived, and not yet received
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
                except zmqcy.ZMQError as error:  # a message with a routing id is longer
                    assert error.errno == zmqcy.EMSGSIZE
                else:
                    self.parts[socket] -= 1
        elif operation == "look":
            assert bool(wrapper.getsockopt(zmqcy.EVENTS) & POLLIN) == (self.parts[socket] > 0)
        elif operation == "poll":
            assert bool(wrapper.poll(0)) == (self.parts[socket] > 0)
        elif self.parts[socket] == 0:  # a part held in one wrapper is not in the other
            self.shadows[socket] = zmqcy.Socket.shadow(socket)

    @rule(
        number=st.integers(0, 6),
        operations=st.lists(
            st.tuples(st.sampled_from(OPERATIONS), st.booleans(), st.integers(0, 5)), min_size=1, max_size=4
        ),
        compare=st.integers(0, 3),
    )
    def work_and_poll(self, number, operations, compare):
        """Use a socket and its peer, then poll."""
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
        """Another poller with some of the sockets reads their events too."""
        ready = dict(self.second.poll(0))
        for each, _ in self.second.sockets:
            assert bool(ready.get(each, 0) & POLLIN) == (self.parts[each] > 0), (each, self.parts[each])
        self.second.register(self.sockets[number], 0 if self.sockets[number] in self.second else POLLIN)

    def teardown(self):
        self.ctx.destroy(0)


class PollingInCrowd(Polling):
    """Polling among many idle sockets: in the epoll set, in the array, and alternately in both."""

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
TestPolling = pytest.mark.timeout(400)(Polling.TestCase)  # finding the smallest example takes time
TestPolling.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
