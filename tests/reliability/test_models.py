"""Random histories of plain sockets, compared with models of queues.

A model follows libzmq's manual: over inproc exactly (which socket may send, the result of the next receive, the
events). Over tcp it requires that each sent message arrives once, whole and in order. Each step runs in another thread
than the previous step.

MODELS=500 in the environment runs so many histories of each kind, which takes hours.
"""

import itertools
import os
import sys
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import zmqcy

pytestmark = pytest.mark.slow

LIMIT = 10_000  # max ms until messages under way have arrived
THREADS = [ThreadPoolExecutor(1) for _ in range(3)]
PATIENCE = {"now": {"flags": zmqcy.DONTWAIT}, "zero": {"timeout": 0}, "soon": {"timeout": 1}, "option": {}}
names = itertools.count()
sizes = st.sampled_from([0, 1, 20, 24, 40, 3_000, 70_000])
patience = st.sampled_from([*PATIENCE, "try"])
which = st.integers(0, 5)


class Pipe:
    """One direction of a connection: a queue of messages. The writer learns of reads in groups."""

    def __init__(self, room):
        self.queue = deque()
        self.room = room
        self.written = self.read = self.heard = 0

    @property
    def free(self):
        return self.room - (self.written - self.heard) if self.room else 1_000_000

    def free_if(self, ahead):
        """Return how many messages can be sent if the reader has prefetched the first one."""
        if not (ahead and self.queue and self.room and (self.read + 1) % ((self.room + 1) // 2) == 0):
            return self.free
        return self.room - (self.written - self.read - 1)

    def put(self, message):
        self.queue.append(message)
        self.written += 1

    def take(self):
        self.read += 1
        if self.room and self.read % ((self.room + 1) // 2) == 0:  # ZMQ's low-water mark
            self.heard = self.read
        return self.queue.popleft()


def room(*options):
    """Return the combined limit of two high-water marks over inproc. 0: no limit."""
    return 0 if 0 in options else sum(options)


class Threaded(RuleBasedStateMachine):
    """A context, and calls that alternate between threads."""

    def __init__(self):
        super().__init__()
        self.context = zmqcy.Context(linger=0)
        self.steps = itertools.count()
        self.numbers = itertools.count()
        self.frames = []

    def call(self, function, *arguments, **options):
        return THREADS[next(self.steps) % 3].submit(function, *arguments, **options).result(20)

    def holds(self, name):
        """Return whether the history has started, and nothing has failed: otherwise there is nothing to compare."""
        return hasattr(self, name) and sys.exc_info()[0] is None

    def message(self, size, parts=1):
        return [b"%d." % next(self.numbers) + b"x" * size, b"", b"y" * size][:parts]

    def receive(self, socket, how, limit=1):
        """Receive in one of several ways. Return a list of messages, empty if there were none."""
        options = PATIENCE.get(how, {})
        try:
            if how == "try":
                first = self.call(socket.try_recv)
                if first is None:
                    return []
                rest = self.call(socket.recv_multipart, timeout=0) if socket.rcvmore else []
                return [[first, *rest]]
            if how == "frames":
                frames = self.call(socket.recv_multipart, copy=False, timeout=1)
                self.frames.append((frames, [bytes(frame) for frame in frames]))
                return [self.frames[-1][1]]
            if how == "into":
                buffers = [bytearray(70_100) for _ in range(60)]
                counts = self.call(socket.recv_multipart_into, buffers, timeout=0)
                return [[bytes(b[:n]) for b, n in zip(buffers, counts, strict=False)]]
            if how == "parts":
                parts = [self.call(socket.recv, timeout=1)]
                while socket.rcvmore:
                    parts.append(self.call(socket.recv, zmqcy.DONTWAIT))
                return [parts]
            if limit > 1:
                return self.call(socket.recv_multipart_many, limit, **options)
            return [self.call(socket.recv_multipart, **options)]
        except zmqcy.Again as error:
            assert isinstance(error, TimeoutError) == (how not in ("now", "try"))
            return []

    ways = st.sampled_from([*PATIENCE, "try", "frames", "into", "parts"])

    @rule(index=which, release=st.booleans())
    def drop_frames(self, index, release):
        if self.frames:
            frames, _ = self.frames.pop(index % len(self.frames))
            for frame in frames if release else []:
                frame.release()

    @invariant()
    def frames_keep_their_content(self):
        for frames, content in self.frames:
            assert [bytes(frame) for frame in frames] == content

    def teardown(self):
        self.context.destroy(0)
        self.context.term(timeout=LIMIT)
        self.frames_keep_their_content()


class Peer:
    """A socket that is, or was, connected to the hub. `inward`: its sent messages, `outward`: those it will receive."""

    def __init__(self, socket, inward, outward, name):
        self.socket = socket
        self.inward = inward
        self.outward = outward
        self.name = name
        self.begun = []  # parts that were sent with SNDMORE
        self.there = True


class Star(Threaded):
    """Peers around a hub: PULL, PAIR or ROUTER, and PUSH, PAIR and DEALER."""

    @initialize(
        kind=st.sampled_from(["PULL", "PAIR", "ROUTER", "ROUTER"]),
        tcp=st.booleans(),
        hwm=st.sampled_from([1, 2, 5, 0]),
        mandatory=st.booleans(),
    )
    def begin(self, kind, tcp, hwm, mandatory):
        self.kind, self.exact, self.hwm, self.mandatory = kind, not tcp, hwm, mandatory
        self.hub = self.context.socket(getattr(zmqcy, kind), rcvhwm=hwm, sndhwm=hwm, rcvtimeo=1, sndtimeo=1)
        if kind == "ROUTER":
            self.hub.router_mandatory = mandatory
        self.peers = []
        self.bound = None
        self.bind()
        self.connect()

    @property
    def alive(self):
        return [peer for peer in self.peers if not peer.socket.closed]

    @precondition(lambda self: self.bound is None and self.kind != "PAIR")
    @rule()
    def bind(self):
        self.call(self.hub.bind, f"inproc://star{next(names)}" if self.exact else "tcp://127.0.0.1:*")
        self.bound = self.hub.last_endpoint

    @precondition(lambda self: self.bound and self.kind != "PAIR" and self.exact)
    @rule()
    def unbind(self):
        """Peers over inproc stay connected; libzmq disconnects the others."""
        self.call(self.hub.unbind, self.bound)
        self.bound = None

    @precondition(lambda self: self.bound and len(self.alive) < (1 if self.kind == "PAIR" else 4))
    @rule()
    def connect(self):
        if self.kind == "PAIR" and self.peers:
            return  # a PAIR accepts a new peer only after it has noticed the end of the old one
        other = {"PULL": zmqcy.PUSH, "PAIR": zmqcy.PAIR, "ROUTER": zmqcy.DEALER}[self.kind]
        name = b"peer%d" % next(self.numbers)
        options = {"routing_id": name} if self.kind == "ROUTER" else {}
        socket = self.context.socket(other, rcvhwm=self.hwm, sndhwm=self.hwm, rcvtimeo=1, sndtimeo=1, **options)
        self.call(socket.connect, self.bound)
        both = room(self.hwm, self.hwm)
        self.peers.append(peer := Peer(socket, Pipe(both), Pipe(both) if self.kind != "PULL" else None, name))
        if not self.exact:
            socket.linger = -1
            self.sent(peer, [[b"here%d" % next(self.numbers)]], "zero", 1)
            self.drain(peer)

    def drain(self, peer):
        """Receive all messages under way from and to a peer."""
        while peer.inward.queue:
            assert self.arrived("patient", 1)
        while peer.outward and peer.outward.queue and not peer.socket.closed:
            self.answered(peer, "patient", 1)

    def free(self, peer):
        """Return how many messages of a peer fit: a ROUTER prefetches one to know whether it has any."""
        if not peer.there:
            return {0}
        return {peer.inward.free_if(ahead) for ahead in (False, self.kind == "ROUTER")}

    def sent(self, peer, messages, how, count):
        """Send messages with a peer's socket, and record the number of sent ones."""
        socket, pipe = peer.socket, peer.inward
        options = PATIENCE.get(how, {})
        went = 0
        try:
            if how == "try":
                messages = [[messages[0][0]]]
                went = int(self.call(socket.try_send, messages[0][0]))
            elif count > 1 and not peer.begun:
                went = self.call(socket.send_multipart_many, messages[:count], **options)
                assert went
            else:
                messages = messages[:1]
                self.call(socket.send_multipart, messages[0], **options)
                went = 1
        except zmqcy.Again as error:
            assert error.sent == 0 if count > 1 and not peer.begun and how != "try" else True
        if self.exact and not peer.begun:
            assert went in {min(free, len(messages)) for free in self.free(peer)}
        for message in messages[:went]:
            pipe.put(peer.begun + message)
            peer.begun = []

    @precondition(lambda self: self.alive)
    @rule(index=which, size=sizes, parts=st.integers(1, 3), how=patience, count=st.integers(1, 12))
    def send(self, index, size, parts, how, count):
        peer = self.alive[index % len(self.alive)]
        if count > 1 and how != "try" and peer.begun:
            count = 1
        self.sent(peer, [self.message(size, parts) for _ in range(count)], how, count)

    @precondition(lambda self: self.alive)
    @rule(index=which, size=sizes)
    def begin_message(self, index, size):
        """No socket receives a message before its last part is sent."""
        peer = self.alive[index % len(self.alive)]
        parts = self.message(size)
        try:
            self.call(peer.socket.send, parts[0], zmqcy.SNDMORE | zmqcy.DONTWAIT)
        except zmqcy.Again:
            assert not peer.begun
            assert not self.exact or min(self.free(peer)) <= 0
        else:
            assert peer.begun or not self.exact or max(self.free(peer)) > 0
            peer.begun += parts

    @precondition(lambda self: self.alive)
    @rule(index=which, copy=st.booleans(), bad=st.sampled_from([None, 7, "text"]))
    def send_what_is_wrong(self, index, copy, bad):
        """No part of a rejected message is sent."""
        peer = self.alive[index % len(self.alive)]
        with pytest.raises(TypeError):
            self.call(peer.socket.send_multipart, [b"lost", b"x" * 30_000, bad], copy=copy)

    @precondition(lambda self: self.alive)
    @rule(index=which)
    def send_frames(self, index):
        """A received message is sent on, unchanged."""
        if not self.frames:
            return
        peer, (frames, content) = self.alive[index % len(self.alive)], self.frames[index % len(self.frames)]
        if peer.begun or any(content == message for pipe in self.inwards for message in pipe.queue):
            return
        try:
            self.call(peer.socket.send_multipart, frames, timeout=0)
        except zmqcy.Again:
            return
        peer.inward.put(content)

    @property
    def inwards(self):
        return [peer.inward for peer in self.peers]

    def arrived(self, how, limit):
        """Receive with the hub, and compare. Return the number of messages."""
        waiting = sum(len(pipe.queue) for pipe in self.inwards)
        if how == "patient":
            got = [self.call(self.hub.recv_multipart, timeout=LIMIT)]
        else:
            got = self.receive(self.hub, how, limit)
            most = limit if how in PATIENCE else 1
            assert len(got) <= min(waiting, most)
            assert not self.exact or len(got) == min(waiting, most)
        for message in got:
            sources = self.peers
            if self.kind == "ROUTER":
                name, *message = message
                sources = [peer for peer in self.peers if peer.name == name]
            heads = [peer.inward for peer in sources if peer.inward.queue and peer.inward.queue[0] == message]
            assert heads, (
                f"{[m[:20] for m in message]} was not next: {[list(p.inward.queue)[:2] for p in sources]!r:.2000}"
            )
            heads[0].take()
        return len(got)

    @rule(how=Threaded.ways, limit=st.integers(1, 8))
    def hub_receives(self, how, limit):
        self.arrived(how, limit)

    @precondition(lambda self: self.kind != "PULL" and self.peers)
    @rule(index=which, size=sizes, parts=st.integers(1, 3), how=st.sampled_from(list(PATIENCE)))
    def hub_sends(self, index, size, parts, how):
        peer = self.peers[index % len(self.peers)]
        message = self.message(size, parts)
        prefix = [peer.name] if self.kind == "ROUTER" else []
        there = peer.there and not peer.socket.closed
        if self.exact:
            assert isinstance(self.hub.events, int)  # a ROUTER that drops does not check its peers
        try:
            self.call(self.hub.send_multipart, prefix + message, **PATIENCE[how])
        except zmqcy.HostUnreachable:
            assert self.mandatory and (not there or not self.exact)
            return
        except zmqcy.Again:
            assert self.kind == "PAIR" or self.mandatory
            assert not self.exact or not there or peer.outward.free <= 0
            return
        if not there:
            pass  # libzmq's thread had not closed it yet: the message is lost, as for any closing peer
        elif self.kind == "PAIR" or self.mandatory:
            assert not self.exact or peer.outward.free > 0
            peer.outward.put(message)
        elif self.exact and peer.outward.free > 0:
            peer.outward.put(message)
        elif not self.exact:
            self.call(self.hub.poll, 0)
            # Whether it was full is unknown; the next receive shows it.
            peer.outward.put(("perhaps", message))

    def answered(self, peer, how, limit):
        pipe = peer.outward
        if how == "patient":
            try:
                got = [self.call(peer.socket.recv_multipart, timeout=LIMIT if self.certain(pipe) else 100)]
            except zmqcy.Again:
                assert not self.certain(pipe)
                pipe.queue.clear()
                return
        else:
            got = self.receive(peer.socket, how, limit)
        if self.exact:
            assert len(got) == min(len(pipe.queue), limit if how in PATIENCE else 1)
        for message in got:
            while pipe.queue and pipe.queue[0][0] == "perhaps" and pipe.queue[0][1] != message:
                pipe.queue.popleft()
            assert pipe.queue
            head = pipe.take()
            assert message == (head[1] if head[0] == "perhaps" else head)

    @staticmethod
    def certain(pipe):
        return any(message[0] != "perhaps" for message in pipe.queue)

    @precondition(lambda self: self.kind != "PULL" and self.alive)
    @rule(index=which, how=Threaded.ways, limit=st.integers(1, 8))
    def peer_receives(self, index, how, limit):
        self.answered(self.alive[index % len(self.alive)], how, limit)

    @precondition(lambda self: self.alive)
    @rule(index=which, disconnect=st.booleans())
    def leave(self, index, disconnect):
        """Whole messages that a peer has sent still arrive. Those that it has not received are lost."""
        peer = self.alive[index % len(self.alive)]
        if not self.exact:  # both ends of a connection must not close within a message: a limit of libzmq
            self.drain(peer)
        if peer.begun and not self.exact:
            self.call(peer.socket.send, b"", timeout=LIMIT)
            peer.inward.put([*peer.begun, b""])
            self.drain(peer)
        if disconnect and peer.there and not (self.exact and peer.begun):
            self.call(peer.socket.disconnect, peer.socket.last_endpoint)
        else:
            self.call(peer.socket.close)
            for use in (peer.socket.try_recv, lambda: peer.socket.send(b"")):
                with pytest.raises(zmqcy.ZMQError) as caught:
                    use()
                assert caught.value.errno == zmqcy.ENOTSOCK
        peer.there = False
        peer.begun = []
        if peer.outward:
            peer.outward.queue.clear()

    @rule(time=st.sampled_from([0, 1]))
    def set_options(self, time):
        for socket in [self.hub, *(peer.socket for peer in self.alive)]:
            socket.rcvtimeo = socket.sndtimeo = time
            assert (socket.rcvtimeo, socket.getsockopt(zmqcy.SNDTIMEO)) == (time, time)

    @rule(timeout=st.sampled_from([0, 1]))
    def poll(self, timeout):
        waiting = any(pipe.queue for pipe in self.inwards)
        events = self.call(self.hub.poll, timeout)
        poller = zmqcy.Poller()
        poller.register(self.hub, zmqcy.POLLIN)
        readers = [peer for peer in self.alive if peer.outward]
        for peer in readers:
            poller.register(peer.socket, zmqcy.POLLIN)
        ready = self.call(poller.poll, timeout)
        if self.exact:
            assert events == zmqcy.POLLIN * waiting
            wanted = [self.hub] * waiting + [peer.socket for peer in readers if peer.outward.queue]
            assert ready == [(socket, zmqcy.POLLIN) for socket in wanted]
            for peer in self.alive:
                if not peer.begun:
                    may_send = bool(peer.socket.events & zmqcy.POLLOUT)
                    assert may_send in {free > 0 for free in self.free(peer)}
        else:
            assert waiting or not events

    @precondition(lambda self: self.alive)
    @rule(
        index=which, calls=st.lists(st.sampled_from(["send", "many", "recv", "poll", "option"]), min_size=2, max_size=2)
    )
    def two_threads_at_once(self, index, calls):
        """Each call of two threads on one socket is refused, or works as if it were the only one."""
        peer = self.alive[index % len(self.alive)]
        if not peer.there or peer.begun:
            return
        messages = [
            [self.message(200)] * 1 if name == "send" else [self.message(30) for _ in range(5)] for name in calls
        ]
        barrier = threading.Barrier(2)

        def work(name, mine):
            barrier.wait(10)
            try:
                if name == "send":
                    peer.socket.send_multipart(mine[0], timeout=1)
                    return mine[:1], []
                if name == "many":
                    return mine[: peer.socket.send_multipart_many(mine, timeout=1)], []
                if name == "recv" and peer.outward:
                    return [], [peer.socket.recv_multipart(timeout=1)]
                if name == "poll":
                    peer.socket.poll(1)
                else:
                    peer.socket.events  # noqa: B018
            except (zmqcy.SocketInUse, zmqcy.Again):
                pass
            return [], []

        tasks = [THREADS[i].submit(work, name, messages[i]) for i, name in enumerate(calls)]
        ended = [task.result(20) for task in tasks]
        for message in (m for _, got in ended for m in got):
            queue = peer.outward.queue
            found = next(i for i, m in enumerate(queue) if message in (m, m[-1]))  # fails if it was never sent
            queue.rotate(-found)
            peer.outward.take()
            queue.rotate(found)
        went = [sent for sent, _ in ended if sent]
        if not went:
            return
        for message in itertools.chain(*went):
            peer.inward.put(message)
        if len(went) == 2:  # either may have been first, or they have alternated: all messages are there
            while len(peer.inward.queue) > sum(map(len, went)):
                assert self.arrived("patient", 1)
            rest = Counter(tuple(m) for m in peer.inward.queue)
            while peer.inward.queue:
                parts = self.call(self.hub.recv_multipart, timeout=LIMIT)[self.kind == "ROUTER" :]
                if tuple(parts) in rest:
                    rest -= Counter([tuple(parts)])
                    peer.inward.take()
                else:
                    other = [p for p in self.inwards if p is not peer.inward and p.queue and p.queue[0] == parts]
                    assert other, f"{parts!r:.100} came twice, or from nowhere"
                    other[0].take()
            assert not rest

    def teardown(self):
        if self.holds("hub"):
            for peer in self.peers:
                self.drain(peer)
            assert self.call(self.hub.try_recv) is None
            for peer in self.alive if self.kind != "PULL" else []:
                assert self.call(peer.socket.try_recv) is None
        super().teardown()


class Spread(Threaded):
    """A PUSH or DEALER with many receivers: each message is sent to one that is not full."""

    @initialize(
        kinds=st.sampled_from(["PUSH PULL", "DEALER DEALER"]), tcp=st.booleans(), hwm=st.sampled_from([1, 3, 0])
    )
    def begin(self, kinds, tcp, hwm):
        source, self.sink = (getattr(zmqcy, kind) for kind in kinds.split())
        self.exact, self.hwm = not tcp, hwm
        self.hub = self.context.socket(source, sndhwm=hwm, sndtimeo=1)
        self.hub.bind(f"inproc://spread{next(names)}" if self.exact else "tcp://127.0.0.1:*")
        self.sinks = []
        self.flying = {}  # the sinks that may have each message
        self.order = {}
        self.connect()

    @precondition(lambda self: len(self.sinks) < 4)
    @rule()
    def connect(self):
        self.sinks.append(self.context.socket(self.sink, rcvhwm=self.hwm, rcvtimeo=1))
        self.call(self.sinks[-1].connect, self.hub.last_endpoint)
        self.order[self.sinks[-1]] = -1

    @rule(size=sizes, parts=st.integers(1, 3), count=st.integers(1, 9), how=st.sampled_from(list(PATIENCE)))
    def send(self, size, parts, count, how):
        messages = [self.message(size, parts) for _ in range(count)]
        try:
            went = self.call(self.hub.send_multipart_many, messages, **PATIENCE[how])
        except zmqcy.Again:
            went = 0
        for message in messages[:went]:
            self.flying[tuple(message)] = set(self.sinks)
        if self.exact:
            capacity = room(self.hwm, self.hwm) * len(self.sinks) or 1_000_000
            assert len(self.flying) <= capacity
            if went < count:  # all are full, as far as the sender knows
                assert len(self.flying) > (capacity // 2 - len(self.sinks)), "it refused while there was room"

    @rule(index=which, how=Threaded.ways, limit=st.integers(1, 9))
    def receive_some(self, index, how, limit):
        sink = self.sinks[index % len(self.sinks)]
        got = self.receive(sink, how, limit)
        for message in got:
            holders = self.flying.pop(tuple(message))
            assert sink in holders, "it was not to be here"
            number = int(message[0].split(b".")[0])
            assert number > self.order[sink], "out of order"
            self.order[sink] = number
        if not got and self.exact:
            for holders in self.flying.values():
                holders.discard(sink)
                assert holders, "a message is nowhere"

    def teardown(self):
        if self.holds("hub"):
            poller = zmqcy.Poller()
            for sink in self.sinks:
                poller.register(sink, zmqcy.POLLIN)
            while self.flying:
                ready = self.call(poller.poll, LIMIT)
                assert ready, f"{len(self.flying)} messages are lost"
                for sink, _ in ready:
                    self.receive_some(self.sinks.index(sink), "now", 9)
            assert self.call(poller.poll, 0) == []
        super().teardown()


class News(Threaded):
    """A PUB or XPUB, and subscribers. (Over inproc, where it is known when a subscription has arrived.)"""

    topics = st.sampled_from([b"", b"a", b"ab", b"b", b"abc"])

    @initialize(kind=st.sampled_from(["PUB", "XPUB"]), hwm=st.sampled_from([1, 4, 0]))
    def begin(self, kind, hwm):
        self.hwm = hwm
        self.hub = self.context.socket(getattr(zmqcy, kind), sndhwm=hwm)
        self.hub.bind(f"inproc://news{next(names)}")
        self.readers = []
        self.connect()

    @precondition(lambda self: len(self.readers) < 4)
    @rule()
    def connect(self):
        socket = self.context.socket(zmqcy.SUB, rcvhwm=self.hwm, rcvtimeo=1)
        self.call(socket.connect, self.hub.last_endpoint)
        self.readers.append((socket, Pipe(room(self.hwm, self.hwm)), Counter()))

    def reader(self, index):
        return self.readers[index % len(self.readers)]

    @rule(index=which, topic=topics)
    def subscribe(self, index, topic):
        socket, _, topics = self.reader(index)
        self.call(socket.subscribe, topic)
        topics[topic] += 1

    @rule(index=which, topic=topics)
    def unsubscribe(self, index, topic):
        socket, pipe, topics = self.reader(index)
        while pipe.queue:  # otherwise messages that have already arrived would be checked again
            self.read(index, "now", 9)
        self.call(socket.unsubscribe, topic)
        topics[topic] = max(topics[topic] - 1, 0)

    @rule(topic=topics, size=sizes, parts=st.integers(1, 3), many=st.integers(1, 7))
    def publish(self, topic, size, parts, many):
        messages = [[topic + b"-" + first, *rest] for first, *rest in (self.message(size, parts) for _ in range(many))]
        assert isinstance(self.hub.events, int)  # it processes subscriptions and reads now
        if many == 1:
            self.call(self.hub.send_multipart, messages[0], timeout=0)
        else:
            assert self.call(self.hub.send_multipart_many, messages) == many
        for message in messages:
            for _, pipe, topics in self.readers:
                if any(message[0].startswith(topic) for topic in +topics) and pipe.free > 0:
                    pipe.put(message)

    @rule(index=which, how=Threaded.ways, limit=st.integers(1, 9))
    def read(self, index, how, limit):
        socket, pipe, _ = self.reader(index)
        got = self.receive(socket, how, limit)
        assert len(got) == min(len(pipe.queue), limit if how in PATIENCE else 1)
        for message in got:
            assert message == pipe.take()

    @rule(index=which)
    def leave(self, index):
        if len(self.readers) > 1:
            self.call(self.readers.pop(index % len(self.readers))[0].close)

    @rule(index=which)
    def use_what_it_cannot(self, index):
        socket, _, _ = self.reader(index)
        with pytest.raises(zmqcy.NotSupported):
            self.call(socket.send, b"")

    def teardown(self):
        if self.holds("hub"):
            for index, (_, pipe, _) in enumerate(self.readers):
                while pipe.queue:
                    self.read(index, "now", 9)
                self.read(index, "zero", 9)
        super().teardown()


class Asking(Threaded):
    """REQs and a REP: which socket may send or receive, and which answer it gets."""

    @initialize(relaxed=st.booleans())
    def begin(self, relaxed):
        self.relaxed = relaxed
        self.rep = self.context.socket(zmqcy.REP, rcvtimeo=1, sndtimeo=1)
        self.rep.bind(f"inproc://asking{next(names)}")
        self.asked = None  # the client of the current request, and the request
        self.clients = []
        self.connect()

    @precondition(lambda self: len(self.clients) < 3)
    @rule()
    def connect(self):
        options = {"req_relaxed": True, "req_correlate": True} if self.relaxed else {}
        socket = self.context.socket(zmqcy.REQ, rcvtimeo=1, sndtimeo=1, **options)
        self.call(socket.connect, self.rep.last_endpoint)
        # requests in transit; the request that awaits its answer; answers in transit, each with its request
        self.clients.append({"socket": socket, "requests": deque(), "open": None, "answers": deque()})

    def client(self, index):
        return self.clients[index % len(self.clients)]

    @rule(index=which, size=sizes, parts=st.integers(1, 3), how=st.sampled_from([*PATIENCE, "try", "many"]))
    def ask(self, index, size, parts, how):
        client = self.client(index)
        message = self.message(size, 1 if how in ("try", "many") else parts)
        send = client["socket"].send_multipart
        if how == "try":
            call = lambda: client["socket"].try_send(message[0])  # noqa: E731
        elif how == "many":
            call = lambda: client["socket"].send_many([message[0]], timeout=0)  # noqa: E731
        else:
            call = lambda: send(message, **PATIENCE[how])  # noqa: E731
        if client["open"] and not self.relaxed:
            with pytest.raises(zmqcy.StateError):
                self.call(call)
            return
        assert self.call(call) in (None, True)
        client["requests"].append(message)
        client["open"] = message

    @rule(how=Threaded.ways)
    def take(self, how):
        if self.asked:
            with pytest.raises(zmqcy.StateError):
                self.receive(self.rep, how)
            return
        got = self.receive(self.rep, how)
        if not got:
            assert not any(client["requests"] for client in self.clients)
            return
        (client,) = [c for c in self.clients if c["requests"] and c["requests"][0] == got[0]]
        self.asked = client, client["requests"].popleft()

    @rule(size=sizes, parts=st.integers(1, 3), how=st.sampled_from(list(PATIENCE)))
    def answer(self, size, parts, how):
        message = self.message(size, parts)
        if not self.asked:
            with pytest.raises(zmqcy.StateError):
                self.call(self.rep.send_multipart, message, **PATIENCE[how])
            return
        self.call(self.rep.send_multipart, message, **PATIENCE[how])
        client, request = self.asked
        client["answers"].append((request, message))
        self.asked = None

    @rule(index=which, how=Threaded.ways)
    def get_answer(self, index, how):
        client = self.client(index)
        if not client["open"]:
            with pytest.raises(zmqcy.StateError):
                self.receive(client["socket"], how)
            return
        got = self.receive(client["socket"], how)
        wanted = [answer for request, answer in client["answers"] if request is client["open"]]
        assert got == wanted[:1]
        client["answers"].clear()
        if got:
            client["open"] = None

    @rule(index=which)
    def events(self, index):
        client = self.client(index)
        client_may_send = not client["open"] or self.relaxed
        assert bool(client["socket"].events & zmqcy.POLLOUT) == client_may_send
        if not self.relaxed:
            assert bool(client["socket"].events & zmqcy.POLLIN) == bool(client["open"] and client["answers"])
        waiting = not self.asked and any(c["requests"] for c in self.clients)
        assert self.call(self.rep.poll, 0, zmqcy.POLLIN | zmqcy.POLLOUT) == (
            zmqcy.POLLOUT if self.asked else zmqcy.POLLIN if waiting else 0
        )

    @precondition(lambda self: len(self.clients) > 1)
    @rule(index=which)
    def leave(self, index):
        """Close a client. The REP may still receive its request; the answer is dropped."""
        client = self.client(index)
        if not client["requests"]:
            self.call(client["socket"].close)
            self.clients.remove(client)


@pytest.mark.timeout(0 if "MODELS" in os.environ else 300)
@pytest.mark.parametrize("machine", [Star, Spread, News, Asking])
def test_any_history_is_what_the_model_says(machine):
    examples = int(os.environ.get("MODELS", "50"))
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine.TestCase().runTest()
