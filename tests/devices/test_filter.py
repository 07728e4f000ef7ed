"""Filters of devices: Python functions, called with a batch of messages."""

import os
import signal
import struct
import threading

import pytest
from rows import rows
from waits import until

import zmqcy

AHEAD, BACK = "front_to_back", "back_to_front"


@pytest.fixture
def filtered(ctx, socket):
    """A function that runs a device with a filter in a thread, over inproc. It returns a socket on each side."""
    runs = []

    def start(
        filter, types=(zmqcy.PULL, zmqcy.PUSH), peers=(zmqcy.PUSH, zmqcy.PULL), capture=None, sizes=(), **options
    ):
        sockets = [socket(kind, rcvtimeo=-1, sndtimeo=-1, **dict(sizes)) for kind in types]
        sockets += [socket(capture)] if capture is not None else [None]
        steering = socket(zmqcy.PAIR)
        for name, each in zip(("front", "back", "capture", "steering"), (*sockets, steering), strict=True):
            if each is not None:
                each.bind(f"inproc://{name}")
        run = Run(sockets, steering, filter)
        run.control = socket(zmqcy.PAIR)
        run.control.connect("inproc://steering")
        for name, kind in zip(("front", "back"), peers, strict=True):
            each = socket(kind, **options.get(name, {}))
            each.connect(f"inproc://{name}")
            run.peers.append(each)
        if not options.get("later"):
            run.start()
        runs.append(run)
        return run

    yield start
    for run in runs:
        run.stop()


class Run:
    def __init__(self, sockets, steering, filter):
        self.sockets, self.steering, self.filter = sockets, steering, filter
        self.peers = []
        self.error = self.thread = None

    def start(self):
        self.error = None
        self.thread = threading.Thread(target=self.forward)
        self.thread.start()

    def forward(self):
        front, back, capture = self.sockets
        try:
            zmqcy.proxy_steerable(front, back, capture, self.steering, filter=self.filter)
        except BaseException as error:
            self.error = error

    def command(self, word):
        self.control.send(word)

    def statistics(self):
        self.command(b"STATISTICS")
        return [struct.unpack("=Q", part)[0] for part in self.control.recv_multipart()]

    def join(self):
        """Wait for the end of the device, and return its exception."""
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.error

    def stop(self):
        if self.thread is not None and self.thread.is_alive():
            self.command(b"TERMINATE")
            self.join()


def leave_no_room(run):
    """Close the peer at the back, before the device runs, and wait until its socket has noticed that."""
    run.peers[1].close()
    until(lambda: not run.sockets[1].poll(0, zmqcy.POLLOUT))


def same(direction, messages):
    return messages


# ---- forwarding


def test_the_same_list_is_forwarded_in_order(filtered):
    seen = []

    def look(direction, messages):
        seen.append((direction, len(messages)))
        return messages

    run = filtered(look)
    push, pull = run.peers
    sender = threading.Thread(target=lambda: [push.send(b"%d" % i) for i in range(5000)])
    sender.start()
    assert [pull.recv() for _ in range(5000)] == [b"%d" % i for i in range(5000)]
    sender.join()
    assert {direction for direction, _ in seen} == {AHEAD}
    assert sum(count for _, count in seen) == 5000
    assert max(count for _, count in seen) <= 256


def test_a_batch_is_what_was_there(filtered):
    counts = []

    def look(direction, messages):
        counts.append([len(messages), sum(len(each[0]) for each in messages)])
        return messages

    run = filtered(look, later=True)
    push, pull = run.peers
    for _ in range(300):
        push.send(b"x")
    for _ in range(5):
        push.send(b"x" * 600_000)
    run.start()
    assert [len(pull.recv()) for _ in range(305)] == [1] * 300 + [600_000] * 5
    assert counts == [[256, 256], [46, 1_200_044], [2, 1_200_000], [1, 600_000]]


def test_drop_change_and_insert(filtered):
    def edit(direction, messages):
        made = []
        for parts in messages:
            if parts[0] == b"drop":
                continue
            if parts[0] == b"twice":
                made.append(parts)
            made.append(tuple(memoryview(part) if part == b"view" else part.upper() for part in parts))
        return tuple(made)

    run = filtered(edit)
    push, pull = run.peers
    for parts in ([b"a"], [b"drop", b"x"], [b"twice", b"b", b"c"], [b"drop"], [b"view"], [b"", b""]):
        push.send_multipart(parts)
    expected = [[b"A"], [b"twice", b"b", b"c"], [b"TWICE", b"B", b"C"], [b"view"], [b"", b""]]
    assert [pull.recv_multipart() for _ in expected] == expected
    # dropped messages were received and not sent; inserted ones were sent only
    assert run.statistics() == [6, 1 + 5 + 7 + 4 + 4, 0, 0, 0, 0, 5, 1 + 7 + 7 + 4]


def test_parts_are_bytes_and_big_ones_are_not_torn(filtered):
    kinds = set()

    def look(direction, messages):
        kinds.update(type(part) for parts in messages for part in parts)
        return [[b"head", *parts] for parts in messages]

    run = filtered(look)
    push, pull = run.peers
    for size in (0, 1, 33, 65_535, 65_536, 3_000_000):
        push.send_multipart([b"x" * size, b"y" * size])
        assert pull.recv_multipart() == [b"head", b"x" * size, b"y" * size]
    assert kinds == {bytes}


def test_both_directions_of_a_queue_with_routing_ids(filtered):
    seen = []

    def look(direction, messages):
        seen.extend((direction, parts) for parts in messages)
        word = b"?" if direction == AHEAD else b"!"
        return [[*parts[:-1], parts[-1] + word] for parts in messages]

    run = filtered(
        look, (zmqcy.ROUTER, zmqcy.DEALER), (zmqcy.REQ, zmqcy.REP), capture=zmqcy.PUSH, front={"routing_id": b"me"}
    )
    listener = run.steering.context.socket(zmqcy.PULL, rcvtimeo=10_000)
    listener.connect("inproc://capture")
    req, rep = run.peers
    req.send(b"question")
    assert rep.recv() == b"question?"
    rep.send(b"answer")
    assert req.recv() == b"answer!"
    assert seen == [(AHEAD, [b"me", b"", b"question"]), (BACK, [b"me", b"", b"answer"])]
    # the capture socket gets the forwarded messages
    assert [listener.recv_multipart() for _ in range(2)] == [[b"me", b"", b"question?"], [b"me", b"", b"answer!"]]


def test_the_way_back_alone(filtered):
    seen = []
    run = filtered(
        lambda direction, messages: seen.append(direction) or messages,
        (zmqcy.PUSH, zmqcy.PULL), (zmqcy.PULL, zmqcy.PUSH),
    )  # fmt: skip
    run.peers[1].send(b"x")
    assert run.peers[0].recv() == b"x"
    assert seen == [BACK]


def test_a_busy_direction_leaves_the_other_its_turn(filtered):
    turns = []
    run = filtered(
        lambda direction, messages: turns.append(direction) or messages,
        (zmqcy.DEALER, zmqcy.DEALER), (zmqcy.DEALER, zmqcy.DEALER), later=True,
    )  # fmt: skip
    a, b = run.peers
    for _ in range(900):
        a.send(b"x")
        b.send(b"y")
    run.start()
    assert [b.recv() for _ in range(900)] == [b"x"] * 900
    assert [a.recv() for _ in range(900)] == [b"y"] * 900
    assert turns == [AHEAD, BACK] * 4


# ---- pause, stop, drain


def test_pause_and_resume(filtered):
    run = filtered(same)
    push, pull = run.peers
    push.send(b"1")
    assert pull.recv() == b"1"
    run.command(b"PAUSE")
    run.statistics()
    push.send(b"2")
    assert not pull.poll(100)
    run.command(b"RESUME")
    assert pull.recv() == b"2"


def test_drain_forwards_what_is_in_the_filters_hand(filtered):
    entered, leave = threading.Event(), threading.Event()

    def slow(direction, messages):
        entered.set()
        assert leave.wait(10)
        return [[*parts, b"seen"] for parts in messages]

    run = filtered(slow, later=True)
    push, pull = run.peers
    for i in range(1000):  # several batches; the filter has the first one when DRAIN arrives
        push.send(b"%d" % i)
    run.start()
    assert entered.wait(10)
    run.command(b"DRAIN")
    leave.set()
    assert [pull.recv_multipart() for _ in range(1000)] == [[b"%d" % i, b"seen"] for i in range(1000)]
    assert run.join() is None


def test_terminate_leaves_what_found_no_room_to_the_next_receives(filtered):
    """Messages that the filter has returned come first, with all parts. Messages that it has not seen follow."""
    seen = []

    def edit(direction, messages):
        seen.extend(messages)
        return [[b"seen", *parts, b"end"] for parts in messages if parts[0] != b"3"]

    run = filtered(edit, peers=(zmqcy.PUSH, zmqcy.PULL), later=True)
    push, _ = run.peers
    leave_no_room(run)
    total = 400
    for i in range(total):
        push.send_multipart([b"%d" % i, b"x"])
    run.start()
    until(lambda: len(seen) == 256)
    run.command(b"TERMINATE")
    assert run.join() is None
    front = run.sockets[0]
    left = [front.recv_multipart(timeout=10_000) for _ in range(total - 1)]
    assert left == [
        [b"seen", b"%d" % i, b"x", b"end"] if i < 256 else [b"%d" % i, b"x"] for i in range(total) if i != 3
    ]
    assert front.try_recv() is None
    assert len(seen) == 256


def test_a_device_goes_on_with_what_the_last_one_left(filtered, socket):
    """Several held messages stay separate, with and without a filter."""
    run = filtered(lambda direction, messages: [[*parts, b"1"] for parts in messages], later=True)
    push, _ = run.peers
    leave_no_room(run)
    for i in range(10):
        push.send_multipart([b"%d" % i, b"x"])
    for filter in (run.filter, same, None):
        run.filter = filter
        run.start()
        while run.statistics()[0] != 10:  # they arrive with the first round
            pass
        run.statistics()  # after a round in which the filter was called
        run.command(b"TERMINATE")
        assert run.join() is None
    run.start()
    pull = socket(zmqcy.PULL)
    pull.connect("inproc://back")
    assert [pull.recv_multipart() for _ in range(10)] == [[b"%d" % i, b"x", b"1"] for i in range(10)]


def test_the_high_water_mark_is_felt(filtered):
    run = filtered(same, sizes={"rcvhwm": 2, "sndhwm": 2}, later=True)
    push, _ = run.peers
    leave_no_room(run)
    run.start()
    sent = 0
    while push.poll(300, zmqcy.POLLOUT):
        push.send(b"x")
        sent += 1
    assert sent < 2000


# ---- errors


class Broken(Exception):
    pass


@pytest.mark.parametrize("parts", [[b"x"], [b"x", b"y", b"z"]])
def test_an_exception_ends_the_device_and_loses_nothing(filtered, parts):
    def fail(direction, messages):
        if fail.error is not None:
            messages.clear()  # the list is the filter's own
            raise fail.error
        return messages

    fail.error = Broken("no")
    run = filtered(fail, later=True)
    push, pull = run.peers
    messages = [[b"%d" % i, *parts] for i in range(300)]
    for each in messages:
        push.send_multipart(each)
    run.start()
    assert run.join() is fail.error
    front = run.sockets[0]
    assert front.recv_multipart(timeout=10_000) == messages[0]
    fail.error = None
    run.start()  # it continues with the rest
    assert [pull.recv_multipart() for _ in messages[1:]] == messages[1:]


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (None, TypeError, "the filter must return a list of messages, not None"),
        (b"x", TypeError, "the filter must return a list of messages, not b'x'"),
        ({}, TypeError, "the filter must return a list of messages, not {}"),
        ([[b"x"], b"y"], TypeError, "message 1 of the filter must be a list of parts, not b'y'"),
        ([[b"x"], None], TypeError, "message 1 of the filter must be a list of parts, not None"),
        ([[b"x"], [b"y", "z"]], TypeError, "message 1 of the filter, part 1: a bytes-like object .* not str 'z'"),
        ([[b"x"], [3]], TypeError, "message 1 of the filter, part 0: a bytes-like object is required, not int 3"),
        ([[b"x"], []], ValueError, "message 1 of the filter has no parts"),
        ([[b"x"], [memoryview(b"abcd")[::2]]], BufferError, "message 1 of the filter, part 0: .* not contiguous"),
    ],
)
def test_what_a_filter_must_not_return(filtered, answer, error, text):
    run = filtered(lambda direction, messages: answer)
    push, _ = run.peers
    push.send_multipart([b"first", b"part"])
    with pytest.raises(error, match=f"^proxy_steerable: {text}"):
        raise run.join()
    assert run.sockets[0].recv_multipart(timeout=10_000) == [b"first", b"part"]


@rows("bad", [5, "x", [], object()])
def test_what_is_no_filter(ctx, bad):
    sockets = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
    for call in (zmqcy.proxy, zmqcy.proxy_steerable):
        with pytest.raises(TypeError, match=f"^{call.__name__}: filter must be a function or a Hook, not "):
            call(*sockets, filter=bad)


def test_a_hook_without_a_function(ctx):
    from zmqcy._proxy import Hook

    with pytest.raises(ValueError, match="^proxy: the hook <zmqcy._proxy.Hook .* has no function"):
        zmqcy.proxy(ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH), filter=Hook())


def test_the_sockets_are_in_use_while_the_filter_runs(filtered):
    def use(direction, messages):
        run.sockets[0].recv()

    run = filtered(use, later=True)
    run.peers[0].send(b"x")
    run.start()
    assert isinstance(run.join(), zmqcy.SocketInUse)
    assert run.sockets[0].recv(timeout=10_000) == b"x"


def test_ctrl_c_in_the_filter(near):
    """Exceptions of other signal handlers are raised too, and the messages in hand are not lost."""

    def handler(*_):
        raise Broken

    def wait(direction, messages):
        os.kill(os.getpid(), signal.SIGALRM)
        until(lambda: False)

    front, push = near()
    back, _ = near(zmqcy.PUSH, zmqcy.PULL)
    push.send_multipart([b"1", b"2"])
    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Broken):
            zmqcy.proxy(front, back, filter=wait)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert front.recv_multipart(timeout=10_000) == [b"1", b"2"]
