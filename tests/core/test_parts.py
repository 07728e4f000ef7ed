"""Multipart messages, sent in one call or part by part: each arrives whole, or not at all.

With ZMQCY_LONG=1, each loop runs 1,000 times instead of 20.
"""

import asyncio
import contextlib
import gc
import itertools
import os
import re
import time
import weakref

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from rows import rows
from waits import until

import zmqcy
import zmqcy.asyncio
import zmqcy.compat.asyncio

SNDMORE, DONTWAIT, POLLOUT = zmqcy.SNDMORE, zmqcy.DONTWAIT, zmqcy.POLLOUT
ROUNDS = 1000 if "ZMQCY_LONG" in os.environ else 20
LIMIT = 10  # seconds
KINDS = {"PUSH": zmqcy.PULL, "DEALER": zmqcy.DEALER}
names = itertools.count()


def ready(sender):
    return sender.getsockopt(zmqcy.EVENTS) & POLLOUT


@pytest.fixture
def bound(socket):
    """Return a function that makes a bound socket, and a function that connects another peer to it, over inproc."""

    def make(kind, **options):
        sender = socket(getattr(zmqcy, kind), **options)
        sender.bind(f"inproc://parts{next(names)}")

        def peer():
            deadline = time.monotonic() + LIMIT
            while time.monotonic() < deadline:
                other = socket({"REQ": zmqcy.REP, **KINDS}[kind])
                other.connect(sender.last_endpoint)
                for _ in range(50):
                    if ready(sender):
                        return other
                    time.sleep(0.001)
                other.close(0)  # a PAIR rejects a peer until it has disconnected the last one
            raise TimeoutError("no peer")

        return sender, peer

    return make


# ---------------------------------------------------------------------------- peers that disconnect between two parts

WAYS = {
    "send": lambda s, text, flags: s.send(text.encode(), flags),
    "string": lambda s, text, flags: s.send_string(text, flags),
    "frame": lambda s, text, flags: s.send(zmqcy.Frame(text.encode()), flags),
    "view": lambda s, text, flags: s.send(memoryview(text.encode()), flags),
    "copy": lambda s, text, flags: s.send(text.encode(), flags, copy=True),
    "multipart": lambda s, text, flags: s.send_multipart([text.encode()], flags),
}


def shake(sender, i):
    """Let libzmq process the disconnection of the peer at one of several moments, or not at all."""
    if i % 3 == 1:
        sender.getsockopt(zmqcy.EVENTS)
    elif i % 3 == 2:
        time.sleep(0.002)


def notice(sender):
    """Give libzmq time to process a disconnection, which it does not report in the middle of a message."""
    for _ in range(50):
        ready(sender)
        time.sleep(0.001)


def check_round(got, i, marker):
    for message in got:
        assert message in ([b"a1 %d" % i, b"a2 %d" % i], marker)


@pytest.mark.parametrize("kind", ["PUSH", "DEALER"])
def test_no_message_is_torn_whose_peer_goes_between_its_parts(socket, url, kind):
    sender = socket(getattr(zmqcy, kind), sndtimeo=0)
    sender.bind(url)
    for i in range(ROUNDS):
        way = list(WAYS.values())[i // 3 % len(WAYS)]
        peer = socket(KINDS[kind])
        peer.connect(sender.last_endpoint)
        until(lambda: ready(sender))
        way(sender, f"a1 {i}", SNDMORE)
        peer.close(0)
        shake(sender, i)
        peer = socket(KINDS[kind])
        peer.connect(sender.last_endpoint)
        with contextlib.suppress(zmqcy.HostUnreachable):
            way(sender, f"a2 {i}", 0)
        marker = [b"m", b"%d" % i]
        got = []

        def arrived(peer=peer, marker=marker, got=got):
            with contextlib.suppress(zmqcy.Again):
                sender.send_multipart(marker)
            while peer.poll(1):
                got.append(peer.recv_multipart())
            return marker in got

        until(arrived)
        check_round(got, i, marker)
        peer.close(0)
        until(lambda: not ready(sender))


@pytest.mark.parametrize("kind", ["PUSH", "DEALER"])
def test_no_message_is_torn_whose_peer_goes_between_its_parts_asyncio(url, kind):
    async def main():
        with zmqcy.asyncio.Context(linger=0) as ctx:
            sender = ctx.socket(getattr(zmqcy, kind), sndtimeo=0)
            sender.bind(url)
            for i in range(ROUNDS):
                peer = ctx.socket(KINDS[kind])
                peer.connect(sender.last_endpoint)
                assert await sender.poll(LIMIT * 1000, POLLOUT)
                await sender.send(b"a1 %d" % i, SNDMORE)
                peer.close(0)
                shake(sender, i)
                peer = ctx.socket(KINDS[kind])
                peer.connect(sender.last_endpoint)
                with contextlib.suppress(zmqcy.HostUnreachable):
                    await sender.send(b"a2 %d" % i)
                marker = [b"m", b"%d" % i]
                got = []
                deadline = time.monotonic() + LIMIT
                while marker not in got:
                    assert time.monotonic() < deadline
                    with contextlib.suppress(zmqcy.Again):
                        await sender.send_multipart(marker)
                    while await peer.poll(1):
                        got.append(await peer.recv_multipart())
                check_round(got, i, marker)
                peer.close(0)
                while ready(sender):
                    assert time.monotonic() < deadline + LIMIT
                    await asyncio.sleep(0.001)
            ctx.destroy(0)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flags", [0, DONTWAIT])
def test_a_later_part_whose_peer_has_gone_is_no_first_one(bound, kind, way, flags):
    sender, peer = bound(kind)
    for more in (0, SNDMORE):
        first = peer()
        WAYS[way](sender, "a1", SNDMORE)
        first.close(0)
        notice(sender)
        try:  # libzmq drops the other parts, or the call reports the loss
            WAYS[way](sender, "a2", flags | more)
            if more:
                WAYS[way](sender, "a3", flags)
        except zmqcy.HostUnreachable as error:
            assert re.search(rf"send.* .{kind}.: .*send it again from its first part", str(error))
        second = peer()
        sender.send_multipart([b"b1", b"b2"])
        assert second.recv_multipart() == [b"b1", b"b2"]
        second.close(0)
        until(lambda: not ready(sender))


def test_a_task_whose_peer_has_gone_goes_on_with_the_next_message():
    async def main():
        with zmqcy.asyncio.Context(linger=0) as ctx:
            sender, peer = ctx.socket(zmqcy.DEALER), ctx.socket(zmqcy.DEALER)
            sender.bind("inproc://lost")
            peer.connect("inproc://lost")
            await sender.send(b"a1", SNDMORE)
            peer.close(0)
            notice(sender)
            with contextlib.suppress(zmqcy.HostUnreachable):  # libzmq may drop it instead
                await sender.send(b"a2")
            peer = ctx.socket(zmqcy.DEALER)
            peer.connect("inproc://lost")
            await sender.send(b"b1", SNDMORE)
            await sender.send(b"b2")
            assert await peer.recv_multipart() == [b"b1", b"b2"]
            ctx.destroy(0)

    asyncio.run(asyncio.wait_for(main(), LIMIT))


# ----------------------------------------------------------------------------------------------------------- conflate

SEVERAL = {
    "send": lambda s: s.send(b"a", SNDMORE),
    "string": lambda s: s.send_string("a", SNDMORE),
    "frame": lambda s: s.send(zmqcy.Frame(b"a"), SNDMORE),
    "tracked": lambda s: s.send(b"a", SNDMORE, track=True),
    "multipart": lambda s: s.send_multipart([b"a", b"b"]),
    "multipart more": lambda s: s.send_multipart([b"a"], SNDMORE),
    "multipart many": lambda s: s.send_multipart_many([[b"a"], [b"a", b"b"]]),
    "serialized": lambda s: s.send_serialized(["a", "b"], lambda parts: [part.encode() for part in parts]),
}


@pytest.mark.parametrize("way", SEVERAL)
@pytest.mark.parametrize("kind", [zmqcy.PUSH, zmqcy.PUB, zmqcy.DEALER])
def test_a_conflating_socket_sends_single_parts_alone(socket, way, kind):
    sender = socket(kind, conflate=True)
    sender.bind("inproc://conflate")
    receiver = socket({zmqcy.PUSH: zmqcy.PULL, zmqcy.PUB: zmqcy.SUB}.get(kind, zmqcy.DEALER))
    if kind == zmqcy.PUB:
        receiver.subscribe(b"")
    receiver.connect("inproc://conflate")
    for each in (sender, zmqcy.Socket.shadow(sender)):
        with pytest.raises(zmqcy.InvalidArgument, match=rf"{kind.name}.: .*conflate"):
            SEVERAL[way](each)
    until(lambda: sender.send(b"one") or receiver.poll(1))
    assert receiver.recv_multipart() == [b"one"]


def test_a_conflating_socket_sends_single_parts_alone_in_asyncio_and_compat():
    async def main():
        for module in (zmqcy.asyncio, zmqcy.compat.asyncio):
            ctx = module.Context()
            push = ctx.socket(zmqcy.PUSH)
            push.setsockopt(zmqcy.CONFLATE, 1)
            push.bind(f"inproc://{next(names)}")
            with pytest.raises(zmqcy.InvalidArgument, match="conflate"):
                await push.send(b"a", SNDMORE)
            with pytest.raises(zmqcy.InvalidArgument, match="conflate"):
                await push.send_multipart([b"a", b"b"])
            ctx.destroy(0)

    asyncio.run(main())


def test_a_type_that_does_not_conflate_sends_several_parts_whatever_the_option_says(socket):
    a, b = socket(zmqcy.PAIR, conflate=True), socket(zmqcy.PAIR)
    a.bind("inproc://pair")
    b.connect("inproc://pair")
    a.send_multipart([b"a", b"b"])
    assert b.recv_multipart() == [b"a", b"b"]


# ----------------------------------------------------------------------------------- XSUB and its subscription commands

TORN = {
    "send": lambda s, part: (s.send(b"t", SNDMORE), s.send(part)),
    "first": lambda s, part: s.send(part, SNDMORE),
    "frame": lambda s, part: (s.send(b"t", SNDMORE), s.send(zmqcy.Frame(part))),
    "try": lambda s, part: (s.send(b"t", SNDMORE), s.try_send(part)),
    "multipart": lambda s, part: s.send_multipart([b"t", part]),
    "multipart frames": lambda s, part: s.send_multipart([zmqcy.Frame(part), b"t"]),
    "many": lambda s, part: (s.send(b"t", SNDMORE), s.send_many([part, b"u"])),
    "multipart many": lambda s, part: s.send_multipart_many([[b"\1t"], [b"t", part]]),
}


@pytest.mark.parametrize("way", TORN)
@pytest.mark.parametrize("part", [b"\0", b"\1topic"], ids=["unsubscribe", "subscribe"])
def test_an_xsub_sends_no_part_that_its_libzmq_takes_for_a_subscription(socket, way, part):
    xpub, xsub = socket(zmqcy.XPUB), socket(zmqcy.XSUB)
    xpub.bind("inproc://xpub")
    xsub.connect("inproc://xpub")
    with pytest.raises(zmqcy.InvalidArgument, match=r"XSUB.: .*byte 0 or 1.*only_first_subscribe"):
        TORN[way](xsub, part)
    if xsub.stats.bytes_sent:  # the first part was sent, so the message continues
        xsub.send(b"end")
        assert xpub.recv_multipart()[-2:] == [b"t", b"end"]
    xsub.send_multipart([b"\2", b"", b"x"])
    xsub.send(b"\1topic")
    assert xpub.recv_multipart() == [b"\2", b"", b"x"]
    assert xpub.recv_multipart() == [b"\1topic"]


def test_an_xsub_whose_first_part_alone_subscribes_sends_any_parts(socket):
    xpub, xsub = socket(zmqcy.XPUB), socket(zmqcy.XSUB)
    try:
        xpub.setsockopt(zmqcy.ONLY_FIRST_SUBSCRIBE, 1)
    except zmqcy.ZMQError as error:
        pytest.skip(f"this libzmq has no such option: {error}")
    xsub.only_first_subscribe = True
    xpub.bind("inproc://xpub")
    xsub.connect("inproc://xpub")
    message = [b"t", b"\0", b"\1topic"]
    xsub.send_multipart(message)
    for i, part in enumerate(message):
        xsub.send(part, 0 if i == 2 else SNDMORE)
    assert [xpub.recv_multipart() for _ in range(2)] == [message] * 2


@pytest.mark.parametrize("target", ["XSUB", "conflate"])
def test_a_device_drops_what_its_target_would_tear_and_warns(socket, target):
    front, control = socket(zmqcy.PULL), socket(zmqcy.PAIR)
    back = socket(zmqcy.XSUB) if target == "XSUB" else socket(zmqcy.PUSH, conflate=True)
    end = socket(zmqcy.XPUB if target == "XSUB" else zmqcy.PULL)
    push, steering = socket(zmqcy.PUSH), socket(zmqcy.PAIR)
    for one, other in [(front, push), (end, back), (control, steering)]:
        one.bind(f"inproc://{next(names)}")
        other.connect(one.last_endpoint)
    push.send_multipart_many([[b"t", b"\1topic"], [b"t", b"\0"]])
    push.send(b"whole")
    steering.send(b"DRAIN")
    with pytest.warns(RuntimeWarning, match=r"proxy_steerable .*some multipart messages are dropped"):
        zmqcy.proxy_steerable(front, back, None, control)
    assert end.recv_multipart() == [b"whole"]
    assert not end.poll(0)


# ------------------------------------------------------------------------------------ parts kept after a failed receive

HOLDS = {  # number of parts received before the failing call, and that call
    "a part": (0, lambda s: s.recv_into(bytearray(1))),
    "a part, twice": (0, lambda s: [failed(s.recv_into, bytearray(i)) for i in (1, 2)] and s.recv_into(bytearray(1))),
    "a later part": (1, lambda s: s.recv_into(bytearray(1))),
    "the last part": (2, lambda s: s.recv_into(bytearray(1))),
    "a message": (0, lambda s: s.recv_multipart_into([bytearray(10)])),
    "the rest of a message": (1, lambda s: s.recv_multipart_into([bytearray(10), bytearray(1)])),
    "a message, then a part": (0, lambda s: failed(s.recv_multipart_into, []) and s.recv_into(bytearray(1))),
}
THREE = [b"first", b"second", b"third"]
RECEIVES = {  # ways to receive one message, part by part or in one call
    "recv": lambda s: part_by_part(s, s.recv),
    "try_recv": lambda s: part_by_part(s, s.try_recv),
    "frames": lambda s: part_by_part(s, lambda: bytes(s.recv(copy=False))),
    "recv_into": lambda s: part_by_part(s, lambda: into(s)),
    "recv_multipart": lambda s: s.recv_multipart(),
    "frames of a message": lambda s: [bytes(frame) for frame in s.recv_multipart(copy=False)],
    "recv_multipart_many": lambda s: s.recv_multipart_many(1)[0],
    "recv_many": lambda s: s.recv_many(1),
}


def failed(call, *arguments):
    with pytest.raises(zmqcy.ZMQError) as caught:
        call(*arguments)
    assert caught.value.errno == zmqcy.EMSGSIZE
    return caught.value


def into(receiver):
    target = bytearray(10)
    return bytes(target[: receiver.recv_into(target)])


def part_by_part(receiver, receive):
    parts = [receive()]
    while receiver.rcvmore:
        parts.append(receive())
    return parts


@rows("receive", RECEIVES)
@rows("held", HOLDS)
def test_parts_that_wait_are_seen_by_every_look_and_come_first(near, held, receive):
    pull, push = near()
    before, call = HOLDS[held]
    poller, early = zmqcy.Poller(), zmqcy.Poller()
    early.register(pull, zmqcy.POLLIN)
    push.send_multipart(THREE)
    push.send_multipart([b"next", b"one"])
    for part in THREE[:before]:
        assert pull.recv() == part
    received = pull.stats
    failed(call, pull)
    poller.register(pull, zmqcy.POLLIN)
    for _ in range(2):
        assert pull.rcvmore == (before > 0)  # the failed call has not changed it
        assert pull.getsockopt(zmqcy.RCVMORE) == (before > 0)
        assert pull.poll(0) == zmqcy.POLLIN
        assert pull.events & zmqcy.POLLIN
        assert poller.poll(0) == early.poll(0) == [(pull, zmqcy.POLLIN)]
        assert zmqcy.select([pull], [], [], 0)[0] == [pull]
    assert pull.stats == received
    assert RECEIVES[receive](pull) == THREE[before:]
    assert not pull.rcvmore
    assert pull.poll(0) == zmqcy.POLLIN
    assert RECEIVES[receive](pull) == [b"next", b"one"]
    assert pull.poll(0) == 0
    assert poller.poll(0) == early.poll(0) == []
    assert pull.stats.messages_received == 2
    pull.close()


def test_parts_that_wait_go_with_those_that_follow_them(near):
    pull, push = near()
    for limit in (1, 2, 3, 4, 1000):
        push.send_many([b"long", b"short"])
        push.send_multipart(THREE)
        failed(pull.recv_into, bytearray(1))
        got = pull.recv_many(limit)
        assert len(got) == {1: 1, 2: 2}.get(limit, 5)  # a batch contains whole messages only
        while pull.poll(0):
            got += pull.recv_many(limit)
        assert got == [b"long", b"short", *THREE]


@rows("held", HOLDS)
def test_parts_that_wait_go_through_a_device_first(near, held):
    (pull, push), (end, back) = near(), near()
    control, steering = near()
    before, call = HOLDS[held]
    push.send_multipart(THREE)
    push.send_multipart([b"next", b"one"])
    for part in THREE[:before]:
        assert pull.recv() == part
    failed(call, pull)
    steering.send(b"DRAIN")
    zmqcy.proxy_steerable(pull, back, None, control)
    assert [end.recv_multipart() for _ in range(2)] == [THREE[before:], [b"next", b"one"]]
    assert end.try_recv() is None


def test_parts_that_wait_are_let_go_with_their_socket(near):
    for call in ("close", "drop"):
        pull, push = near()
        push.send_multipart(THREE)
        failed(pull.recv_multipart_into, [])
        if call == "close":
            pull.close()
            for receive in RECEIVES.values():
                with pytest.raises(zmqcy.ZMQError, match="the socket is closed"):
                    receive(pull)
        reference = weakref.ref(pull)
        del pull
        gc.collect()
        assert reference() is None


# -------------------------------------------------------------------------------------------------- random sequences


class Senders(RuleBasedStateMachine):
    """Send parts and messages while peers connect and disconnect. Each message arrives whole and at most once."""

    @initialize(kind=st.sampled_from([*KINDS, "ROUTER"]), tcp=st.booleans())
    def begin(self, kind, tcp):
        self.kind, self.tcp = kind, tcp
        self.context = zmqcy.Context(linger=0)
        self.sender = self.context.socket(getattr(zmqcy, kind), sndtimeo=0)
        self.sender.bind("tcp://127.0.0.1:*" if tcp else f"inproc://{next(names)}")
        self.peers, self.parts, self.sent, self.seen = [], [], [], set()
        self.numbers = itertools.count()

    def teardown(self):
        if hasattr(self, "context"):
            for peer in self.alive:  # libzmq may abort if parts are in transit: docs/reliability.md
                while self.tcp and peer.poll(5):
                    self.receive(peer)
            self.context.destroy(0)
            self.context.term(timeout=LIMIT * 1000)

    def part(self, size):
        return b"%d.%s" % (next(self.numbers), b"x" * size)

    def message(self, sizes):
        parts = [self.part(size) for size in sizes]
        if self.kind == "ROUTER" and not self.parts:
            parts.insert(0, b"peer%d" % (sizes[0] % (len(self.peers) + 1)))
        return parts

    def attempt(self, function, parts, last):
        """Send parts. Accepted parts belong to the open message, and may complete it."""
        try:
            function()
        except zmqcy.HostUnreachable:
            assert self.parts
            self.parts = []
        except zmqcy.Again:
            assert not self.parts
        else:
            self.parts += parts
            if last:
                self.sent.append(self.parts[1:] if self.kind == "ROUTER" else self.parts)
                self.parts = []

    sizes = st.sampled_from([0, 1, 30, 40, 9_000])

    @property
    def alive(self):
        return [peer for peer in self.peers if not peer.closed]

    @property
    def whole_only(self):
        """Whether libzmq may truncate a message that is sent part by part: docs/reliability.md."""
        return self.kind in KINDS and len(self.peers) > 2

    @rule()
    def connect(self):
        if len(self.alive) == 4 or (self.parts and self.kind in KINDS and len(self.peers) == 2):
            return
        kind = zmqcy.DEALER if self.kind == "ROUTER" else KINDS[self.kind]
        options = {"routing_id": b"peer%d" % len(self.peers)} if self.kind == "ROUTER" else {}
        peer = self.context.socket(kind, **options)
        peer.connect(self.sender.last_endpoint)
        self.peers.append(peer)

    @rule(index=st.integers(0, 3))
    def disconnect(self, index):
        if self.alive:
            peer = self.alive[index % len(self.alive)]
            self.receive(peer)
            peer.close(0)

    @rule(size=sizes, way=st.sampled_from(list(WAYS)))
    def send_more(self, size, way):
        if self.whole_only:
            return
        for part in self.message([size]):
            self.attempt(lambda part=part: WAYS[way](self.sender, part.decode(), SNDMORE), [part], False)

    @rule(size=sizes, way=st.sampled_from(list(WAYS)))
    def send(self, size, way):
        parts = self.message([size])
        for i, part in enumerate(parts, 1):
            last = i == len(parts)
            flags = 0 if last else SNDMORE
            self.attempt(lambda part=part, flags=flags: WAYS[way](self.sender, part.decode(), flags), [part], last)

    @rule(sizes=st.lists(sizes, min_size=1, max_size=12), more=st.booleans())
    def send_multipart(self, sizes, more):
        parts = self.message(sizes)
        more = more and not self.whole_only
        self.attempt(lambda: self.sender.send_multipart(parts, SNDMORE if more else 0), parts, not more)

    @rule(wait=st.booleans())
    def look(self, wait):
        """Let libzmq process connections and disconnections."""
        if wait:
            time.sleep(0.002)
        self.sender.getsockopt(zmqcy.EVENTS)

    def receive(self, peer):
        while peer.poll(0):
            message = peer.recv_multipart()
            assert message in self.sent
            assert message[0] not in self.seen
            self.seen.add(message[0])

    @invariant()
    def receive_all(self):
        if hasattr(self, "peers"):
            for peer in self.alive:
                self.receive(peer)


TestSenders = Senders.TestCase
TestSenders.settings = settings(
    max_examples=1000 if "ZMQCY_LONG" in os.environ else 40, stateful_step_count=30, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
