"""Batches: the number of sent messages is exact, and messages arrive whole and in order, however a call ends."""

import contextlib
import gc
import itertools
import os
import random
import signal
import threading
import time
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from leaving import peers_that_leave
from waits import until_in_use

import zmqcy

SIZES = [0, 1, 33, 34, 8193, 16383, 16384, 65535, 65536, 1_000_000]
END = b"the end"
SENDS, RECEIVES = ["send_many", "send_multipart_many"], ["recv_many", "recv_multipart_many"]


class Stop(Exception):
    """The exception of a handler or generator."""


@pytest.fixture
def alarm():
    """A function that makes SIGALRM call a handler at an interval in seconds, until the end of the test."""
    previous = signal.getsignal(signal.SIGALRM)

    def start(handler, interval=0):
        signal.signal(signal.SIGALRM, lambda *_: handler())
        signal.setitimer(signal.ITIMER_REAL, interval, interval)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def raise_stop():
    raise Stop


def ring_in_use(socket):
    until_in_use(socket.poll, 0)
    os.kill(os.getpid(), signal.SIGALRM)


def sent_messages(call, count, size=10_000):
    """Return different messages, as arguments for a batch call."""
    if call == "send_many":
        return [b"%d." % i * (size // 8) for i in range(count)]
    return [[b"%d" % i, b"%d." % i * (size // 8), b""] for i in range(count)]


def whole(messages):
    return [message if isinstance(message, list) else [message] for message in messages]


def everything(receiver, sender):
    """Receive all messages under way, in order. A last message marks the end."""
    got = []
    while not sender.try_send(END):
        got += receiver.recv_multipart_many()
    while not got or got[-1] != [END]:
        got += receiver.recv_multipart_many()
    return got[:-1]


def connected(pull, push):
    push.send(b"connected")
    assert pull.recv() == b"connected"


# ---- plain batches


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda each: (x for x in each), lambda each: dict.fromkeys(each)])
def test_any_iterable_of_messages(near, kind):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    messages = [b"%d" % i for i in range(20)]
    assert push.send_many(kind(messages)) == 20
    assert [pull.recv() for _ in messages] == messages
    parts = [(b"%d" % i, b"", b"x" * i) for i in range(20)]
    assert push.send_multipart_many(kind(parts)) == 20
    assert [pull.recv_multipart() for _ in parts] == [list(each) for each in parts]


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_any_iterable_of_parts(near, kind):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    assert push.send_multipart_many([kind([b"a", b"b"]), kind([b"c"])]) == 2
    assert everything(pull, push) == [[b"a", b"b"], [b"c"]]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, zmqcy.Frame, type("Bytes", (bytes,), {})])
@pytest.mark.parametrize("size", [0, 33, 70_000])
def test_any_buffer_in_a_batch(near, kind, size):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    assert push.send_many([kind(b"%d" % i * size) for i in range(10)]) == 10
    assert everything(pull, push) == [[b"%d" % i * size] for i in range(10)]
    assert push.send_multipart_many([[b"", kind(b"%d" % i * size)] for i in range(10)]) == 10
    assert everything(pull, push) == [[b"", b"%d" % i * size] for i in range(10)]


@pytest.mark.parametrize("call", SENDS)
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_an_empty_batch(near, call, kind):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    assert getattr(push, call)(kind([])) == 0
    assert everything(pull, push) == []


def test_parts_that_went_before_a_batch_belong_to_its_first_message(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"a", zmqcy.SNDMORE)
    assert push.send_many([b"b", b"c"]) == 2
    assert everything(pull, push) == [[b"a", b"b"], [b"c"]]


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 9, 255, 256, 257, 600, 1000, 2**31 - 1])
def test_limits_are_kept(near, limit):
    pull, push = near(rcvhwm=0, sndhwm=0)
    messages = [b"%d" % i for i in range(700)]
    for receive, expected in [(pull.recv_many, messages), (pull.recv_multipart_many, whole(messages))]:
        push.send_many(messages)
        got = []
        while len(got) < 700:
            batch = receive(limit)
            assert 1 <= len(batch) <= limit
            got += batch
        assert got == expected


@pytest.mark.parametrize("call", RECEIVES)
def test_what_is_there_comes_at_once(socket, call):
    a, b = socket(zmqcy.PAIR), socket(zmqcy.PAIR)
    a.bind("inproc://there")
    b.connect("inproc://there")
    b.send_many([b"%d" % i for i in range(600)])
    assert len(getattr(a, call)()) == 600
    b.send_many([b"%d" % i for i in range(600)])
    assert [len(getattr(a, call)(limit)) for limit in (1, 8, 257, 1000)] == [1, 8, 257, 334]


@pytest.mark.parametrize("call", RECEIVES)
@pytest.mark.parametrize("limit", [0, -1, -(2**40), 2**31])
def test_what_is_no_limit(near, call, limit):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"kept")
    with pytest.raises(ValueError, match=f"{call}: limit .*{limit}"):
        getattr(pull, call)(limit)
    for wrong in (None, "1", 1.0):
        with pytest.raises(TypeError, match=f"{call}: limit"):
            getattr(pull, call)(wrong)
    assert pull.recv() == b"kept"


@pytest.mark.parametrize("call", RECEIVES)
def test_a_batch_that_waits_for_its_first_message(pair, thread, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    with pytest.raises(zmqcy.Again) as caught:
        getattr(pull, call)(flags=zmqcy.DONTWAIT)
    assert not isinstance(caught.value, TimeoutError)
    with pytest.raises(zmqcy.TimedOut):
        getattr(pull, call)(timeout=20)
    result = thread(getattr(pull, call))
    until_in_use(pull.poll, 0)
    push.send(b"first")
    assert result() in ([b"first"], [[b"first"]])


# ---- messages stay whole


@pytest.mark.parametrize("limit", [1, 10, 300, 2000])
def test_recv_many_cuts_no_message(pair, limit):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    messages = [[b"%d" % i, b"s"] for i in range(100)] + [[b"%d" % i for i in range(1000)], [b"x"], [b"y"] * 257]
    push.send_multipart_many(messages)
    ends = {0, *itertools.accumulate(map(len, messages))}
    got = []
    while len(got) < max(ends):
        batch = pull.recv_many(limit)
        assert got or batch[0] == b"0"
        got += batch
        assert len(got) in ends
        assert len(batch) < limit + 1000
    assert got == [part for message in messages for part in message]
    assert pull.try_recv() is None


def test_a_message_that_is_longer_than_the_limit_and_the_room(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    parts = [b"%d" % i for i in range(5000)]
    push.send_multipart(parts)
    push.send(b"next")
    assert pull.recv_many(3) == parts
    assert pull.recv_many(3) == [b"next"]


@pytest.mark.parametrize("max_bytes", [1, 3000, 3001, 10_000])
def test_a_batch_ends_with_the_message_that_has_the_last_of_its_bytes(pair, max_bytes):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    messages = [[b"%03d" % i * 500, b"%03d" % i * 500] for i in range(30)]  # 3,000 bytes each
    for nested in (True, False):
        push.send_multipart_many(messages)
        got = []
        while len(got) < (30 if nested else 60):
            receive = pull.recv_multipart_many if nested else pull.recv_many
            batch = receive(max_bytes=max_bytes)
            sizes = [sum(map(len, message)) for message in batch] if nested else [2 * len(part) for part in batch[::2]]
            assert sum(sizes[:-1]) < max_bytes
            got += batch
        assert got == (messages if nested else [part for message in messages for part in message])


def test_a_batch_of_large_messages_is_a_mebibyte(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    data = bytes(300_000)
    push.send_many([data] * 8)
    batches = []
    while sum(map(len, batches)) < 8:
        batches.append(pull.recv_many())
    assert max(map(len, batches)) <= 4  # the fourth exceeds the bound
    push.send_many([data] * 8)
    got = []
    while len(got) < 8:
        got += pull.recv_many(max_bytes=1 << 62)
    assert got == [data] * 8


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1 << 64, ValueError), (1.5, TypeError), (None, TypeError)]
)
def test_max_bytes_is_a_number_of_bytes(pair, value, error):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"stays")
    for call in (pull.recv_many, pull.recv_multipart_many):
        with pytest.raises(error, match=rf"^{call.__name__}: max_bytes must be "):
            call(max_bytes=value)
    assert pull.recv() == b"stays"


def test_recv_many_in_the_middle_of_a_message(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send_multipart_many([[b"a", b"b", b"c"], [b"d", b"e"]])
    assert pull.recv() == b"a"
    assert pull.recv_many(1) == [b"b", b"c"]
    assert pull.recv() == b"d"
    assert pull.recv_multipart_many(1) == [[b"e"]]


def test_messages_of_1_to_1000_parts(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 0}, {"sndhwm": 0})
    counts = [*range(1, 1001, 41), 255, 256, 257, 511, 512, 513, 1000, 1]
    messages = [[b"%d of %d" % (i, count) for i in range(count)] for count in counts]
    for limit in (1, 3, 1000):
        assert push.send_multipart_many(messages) == len(messages)
        got = []
        while len(got) < len(messages):
            batch = pull.recv_multipart_many(limit)
            assert len(batch) <= limit
            got += batch
        assert got == messages


@pytest.mark.parametrize("call", SENDS)
def test_order_is_kept_over_many_calls(pair, thread, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 20}, {"sndhwm": 20})
    choose = random.Random(5)
    messages = []
    for i in range(300):
        size = choose.choice([0, 33, 65535, 65536, 200_000] if i % 10 == 0 else [0, 33, 100])
        message = (b"%d." % i * (size // 2))[:size]
        messages.append(message if call == "send_many" else [message, b"%d" % i] * choose.choice([1, 1, 150]))

    def send():
        left, count = list(messages), 0
        while left:
            size = choose.choice([1, 2, 9, 40])
            count += getattr(push, call)(left[:size])
            del left[:size]
        return count

    result = thread(send)
    got = []
    while len(got) < len(messages):
        got += pull.recv_multipart_many(choose.choice([1, 5, 1000]))
    assert got == whole(messages)
    assert result() == len(messages)


# ---- checks before the first message is sent


NO_BUFFERS = [(None, TypeError), ("text", TypeError), (5, TypeError), (memoryview(b"abcdef")[::2], BufferError)]
PLACES = [(place, count) for count in (1, 3, 8, 9, 300) for place in sorted({0, count // 2, count - 1})]


@pytest.mark.parametrize(
    ("place", "count", "wrong", "error"),
    [(*place, *wrong) for place, wrong in zip(PLACES, itertools.cycle(NO_BUFFERS), strict=False)],
)
def test_what_is_no_buffer_anywhere_in_a_batch(near, place, count, wrong, error):
    pull, push = near()
    messages = [b"x"] * count
    messages[place] = wrong
    with pytest.raises(error, match=f"send_many: message {place}: ") as caught:
        push.send_many(messages)
    assert caught.value.sent == 0
    for parts, part in ([wrong], 0), ([b"a", bytearray(70_000), wrong], 2):
        nested = [[b"a", b"b"]] * count
        nested[place] = parts
        with pytest.raises(error, match=f"send_multipart_many: message {place}, part {part}: ") as caught:
            push.send_multipart_many(nested)
        assert caught.value.sent == 0
    assert everything(pull, push) == []


@pytest.mark.parametrize("wrong", [b"bytes", "text", bytearray(3), memoryview(b"xyz"), zmqcy.Frame(b"x"), None, 5])
def test_what_is_no_batch(near, wrong):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    for call, batch in [("send_many", wrong), ("send_multipart_many", wrong), ("send_multipart_many", [[b"a"], wrong])]:
        with pytest.raises(TypeError, match=f"{call}: .*must be ") as caught:
            getattr(push, call)(batch)
        assert caught.value.sent == 0
    assert everything(pull, push) == []


def test_a_released_frame_in_a_batch(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    frame = zmqcy.Frame(b"x")
    frame.release()
    for call, batch in [("send_many", [b"a", frame]), ("send_multipart_many", [[b"a"], [b"b", frame]])]:
        with pytest.raises(ValueError, match=f"{call}: the Frame was released") as caught:
            getattr(push, call)(batch)
        assert caught.value.sent == 0
    assert everything(pull, push) == []


def test_a_message_without_parts(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    with pytest.raises(ValueError, match="send_multipart_many: message 2 has no parts") as caught:
        push.send_multipart_many([[b"a"], [b"b"], []])
    assert caught.value.sent == 0
    assert everything(pull, push) == []


@pytest.mark.parametrize("call", SENDS)
@pytest.mark.parametrize("flags", [zmqcy.SNDMORE, zmqcy.SNDMORE | zmqcy.DONTWAIT, -1, 1 << 20])
def test_flags_that_a_batch_does_not_take(near, call, flags):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    for batch in ([], [b"a"], [[b"a"]]):
        with pytest.raises(ValueError, match=f"{call}: ") as caught:
            getattr(push, call)(batch, flags=flags)
        assert caught.value.sent == 0
    assert everything(pull, push) == []


@pytest.mark.parametrize("call", SENDS)
@pytest.mark.parametrize("error", [Stop, TypeError, KeyboardInterrupt, GeneratorExit])
def test_a_generator_that_raises(near, call, error):
    def generate():
        for _ in range(20):
            yield b"x" if call == "send_many" else [b"x"]
        raise error("in the middle")

    pull, push = near()
    with pytest.raises(error, match="in the middle") as caught:
        getattr(push, call)(generate())
    assert caught.value.sent == 0
    assert everything(pull, push) == []


def test_a_generator_of_parts_that_raises(pair):
    def generate():
        yield b"x"
        raise Stop

    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    with pytest.raises(Stop) as caught:
        push.send_multipart_many([[b"a"], generate()])
    assert caught.value.sent == 0
    assert everything(pull, push) == []


def test_a_generator_that_uses_the_socket(pair):
    def generate():
        for i in range(3):
            push.send(b"inner %d" % i)
            yield b"outer %d" % i

    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    assert push.send_many(generate()) == 3
    expected = [b"inner 0", b"inner 1", b"inner 2", b"outer 0", b"outer 1", b"outer 2"]
    assert everything(pull, push) == whole(expected)


def test_a_generator_that_closes_the_socket(pair):
    def generate():
        yield b"x"
        push.close()

    _, push = pair(zmqcy.PULL, zmqcy.PUSH)
    with pytest.raises(zmqcy.ZMQError, match=r"send_many \(PUSH\): the socket is closed") as caught:
        push.send_many(generate())
    assert caught.value.sent == 0


# ---- sockets that cannot send or receive


BATCHES = {
    "send_many": [([],), ([b"a", b"b"],)],
    "send_multipart_many": [([],), ([[b"a", b"b"]],)],
    "recv_many": [(), (1,)],
    "recv_multipart_many": [(), (1,)],
}


@pytest.mark.parametrize("call", BATCHES)
def test_a_closed_socket(socket, call):
    pair = socket(zmqcy.PAIR)
    pair.close()
    for arguments in BATCHES[call]:
        with pytest.raises(zmqcy.ZMQError, match=rf"{call} \(PAIR\): the socket is closed") as caught:
            getattr(pair, call)(*arguments)
        if call in SENDS:
            assert caught.value.sent == 0


@pytest.mark.parametrize("end", [lambda context: context.shutdown(), lambda context: context.destroy(0)])
@pytest.mark.parametrize("call", BATCHES)
def test_a_context_that_has_ended(call, end):
    context = zmqcy.Context()
    pair = context.socket(zmqcy.PAIR, linger=0)
    end(context)
    for arguments in BATCHES[call]:
        with pytest.raises(zmqcy.ContextTerminated, match=call) as caught:
            getattr(pair, call)(*arguments)
        if call in SENDS:
            assert caught.value.sent == 0
    pair.close()
    context.term(timeout=10_000)


def test_types_that_do_not_send_or_receive(socket):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    for call, batch in [("send_many", [b"x"] * 20), ("send_multipart_many", [[b"x", b"y"]] * 20)]:
        with pytest.raises(zmqcy.NotSupported, match=rf"{call} \(PULL\)") as caught:
            getattr(pull, call)(batch)
        assert caught.value.sent == 0
    for call in RECEIVES:
        with pytest.raises(zmqcy.NotSupported, match=rf"{call} \(PUSH\)"):
            getattr(push, call)()


@pytest.mark.parametrize("call", BATCHES)
def test_a_second_thread_is_refused(near, thread, call):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    result = thread(a.recv)
    until_in_use(a.poll, 0)
    for arguments in BATCHES[call]:
        with pytest.raises(zmqcy.SocketInUse, match=rf"{call} \(PAIR\)") as caught:
            getattr(a, call)(*arguments)
        if call in SENDS:
            assert caught.value.sent == 0
    b.send(b"unharmed")
    assert result() == b"unharmed"
    assert a.try_recv() is None
    assert b.try_recv() is None


def test_the_second_request_is_out_of_turn(pair):
    rep, req = pair(zmqcy.REP, zmqcy.REQ)
    with pytest.raises(zmqcy.StateError, match=r"send_many \(REQ\)") as caught:
        req.send_many([b"first", b"second"])
    assert caught.value.sent == 1
    assert rep.recv_many() == [b"first"]
    with pytest.raises(zmqcy.StateError) as caught:
        rep.send_multipart_many([[b"re", b"ply"]] * 20)
    assert caught.value.sent == 1
    assert req.recv_multipart_many() == [[b"re", b"ply"]]


@pytest.mark.parametrize(("good", "transport"), [(0, "inproc"), (1, "tcp"), (5, "ipc"), (20, "tcp"), (20, "inproc")])
def test_a_peer_that_no_one_knows(pair, good):
    router, dealer = pair(zmqcy.ROUTER, zmqcy.DEALER, {"router_mandatory": True}, {"routing_id": b"me"})
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"me", b"hello"]
    messages = [[b"me", b"%d" % i] for i in range(good)] + [[b"nobody", b"x"], [b"me", b"never"]]
    with pytest.raises(zmqcy.HostUnreachable, match="send_multipart_many") as caught:
        router.send_multipart_many(messages)
    assert caught.value.sent == good
    router.send_multipart([b"me", END])
    got = []
    while got[-1:] != [END]:
        got += dealer.recv_many()
    assert got == [*(b"%d" % i for i in range(good)), END]


# ---- counts of sent messages


@pytest.mark.parametrize("call", SENDS)
def test_the_count_at_the_high_water_mark(pair, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 5}, {"sndhwm": 5})
    connected(pull, push)
    messages = sent_messages(call, 3000)
    went = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            went.append(getattr(push, call)(messages[sum(went) :], flags=zmqcy.DONTWAIT))
        except zmqcy.Again as error:
            assert error.sent == 0
            assert not isinstance(error, TimeoutError)
            break
    assert 0 not in went
    assert 0 < sum(went) < 3000
    assert everything(pull, push) == whole(messages[: sum(went)])


@pytest.mark.parametrize("call", SENDS)
def test_the_high_water_mark_of_inproc_to_the_message(socket, call):
    pull, push = socket(zmqcy.PULL, rcvhwm=30), socket(zmqcy.PUSH, sndhwm=40)
    pull.bind("inproc://mark")
    push.connect("inproc://mark")
    messages = sent_messages(call, 100, 100)
    assert getattr(push, call)(messages, flags=zmqcy.DONTWAIT) == 70
    for options in ({"flags": zmqcy.DONTWAIT}, {"timeout": 0}, {"timeout": 20}):
        with pytest.raises(zmqcy.Again) as caught:
            getattr(push, call)(messages[70:], **options)
        assert caught.value.sent == 0
        assert isinstance(caught.value, zmqcy.TimedOut) == ("timeout" in options)
    assert everything(pull, push) == whole(messages[:70])


@pytest.mark.parametrize("call", SENDS)
def test_the_count_when_a_peer_takes_some_and_stops(pair, thread, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 5}, {"sndhwm": 5})
    connected(pull, push)
    messages = sent_messages(call, 3000)
    taken = thread(lambda: [pull.recv_multipart() for _ in range(50)])
    went = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            went.append(getattr(push, call)(messages[sum(went) :], timeout=20))
        except zmqcy.TimedOut as error:
            assert error.sent == 0
            if sum(went) >= 50:
                break
    assert 50 <= sum(went) < 3000
    assert taken() + everything(pull, push) == whole(messages[: sum(went)])


@pytest.mark.parametrize("call", SENDS)
def test_the_count_when_sndtimeo_ends(pair, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 5}, {"sndhwm": 5})
    connected(pull, push)
    push.sndtimeo = 50
    messages = sent_messages(call, 3000)
    went = getattr(push, call)(messages)
    assert 0 < went < 3000
    assert everything(pull, push) == whole(messages[:went])


@pytest.mark.parametrize("call", SENDS)
def test_the_count_when_a_handler_raises(pair, thread, alarm, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 5}, {"sndhwm": 5, "sndtimeo": -1})
    connected(pull, push)
    messages = sent_messages(call, 3000)
    alarm(raise_stop)
    thread(ring_in_use, push)
    with pytest.raises(Stop) as caught:
        getattr(push, call)(messages)
    assert 0 < caught.value.sent < 3000
    assert everything(pull, push) == whole(messages[: caught.value.sent])


@pytest.mark.parametrize("call", SENDS)
def test_ctrl_c_ends_a_batch_that_a_peer_receives(socket, thread, call):
    """The batch blocks repeatedly, each time briefly."""
    pull, push = socket(zmqcy.PULL, rcvhwm=2), socket(zmqcy.PUSH, sndhwm=2, sndtimeo=-1)
    pull.bind("inproc://moving")
    push.connect("inproc://moving")
    messages = sent_messages(call, 50_000, 50)
    got = []

    def receive():
        while not got or got[-1] != [END]:
            got.extend(pull.recv_multipart_many(1))
            if len(got) == 500:
                os.kill(os.getpid(), signal.SIGINT)
        return True

    result = thread(receive)
    with pytest.raises(KeyboardInterrupt) as caught:
        getattr(push, call)(messages)
    push.send(END, timeout=10_000)
    assert result() is True
    assert len(got) < 50_000
    assert got[:-1] == whole(messages[: caught.value.sent])


@pytest.mark.parametrize("call", SENDS)
def test_the_count_after_ctrl_c(pair, thread, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 5}, {"sndhwm": 5, "sndtimeo": -1})
    messages = sent_messages(call, 3000)

    def strike():
        got = [pull.recv_multipart() for _ in range(40)]
        until_in_use(push.poll, 0)
        os.kill(os.getpid(), signal.SIGINT)
        return got

    result = thread(strike)
    with pytest.raises(KeyboardInterrupt) as caught:
        getattr(push, call)(messages)
    assert 40 <= caught.value.sent < 3000
    assert result() + everything(pull, push) == whole(messages[: caught.value.sent])


@pytest.mark.parametrize("call", SENDS)
def test_the_count_when_the_context_is_shut_down(socket, thread, call):
    pull = socket(zmqcy.PULL, rcvhwm=5)
    pull.bind("tcp://127.0.0.1:*")
    with zmqcy.Context() as context:
        push = context.socket(zmqcy.PUSH, sndhwm=5, linger=-1)
        push.connect(pull.last_endpoint)
        messages = sent_messages(call, 3000)
        result = thread(getattr(push, call), messages)
        first = pull.recv_multipart()
        until_in_use(push.poll, 0)
        context.shutdown()
        error = result()
        assert isinstance(error, zmqcy.ContextTerminated)
        assert 0 < error.sent < 3000
        push.close()
        got = [first, *(pull.recv_multipart() for _ in range(error.sent - 1))]
    assert got == whole(messages[: error.sent])
    assert pull.poll(50) == 0


@pytest.mark.parametrize("transport", ["inproc", "tcp"])  # libzmq's ipc may lose queued messages of a closed socket
@pytest.mark.parametrize("call", SENDS)
def test_the_count_when_a_handler_closes_the_socket(pair, thread, alarm, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 5}, {"sndhwm": 5, "sndtimeo": -1, "linger": -1})
    connected(pull, push)
    messages = sent_messages(call, 3000)
    alarm(push.close)
    thread(ring_in_use, push)
    with pytest.raises(zmqcy.ZMQError, match=f"{call} .*the socket is closed") as caught:
        getattr(push, call)(messages)
    assert 0 < caught.value.sent < 3000
    assert [pull.recv_multipart() for _ in range(caught.value.sent)] == whole(messages[: caught.value.sent])
    assert pull.poll(50) == 0


@pytest.mark.parametrize("another", [True, False], ids=["and another comes", "alone"])
@pytest.mark.parametrize("call", SENDS)
def test_the_count_when_the_peer_goes(socket, thread, call, another):
    """Messages in the peer's queue are lost with it, and count as sent."""

    def peer():
        pull = socket(zmqcy.PULL, rcvhwm=1)
        pull.connect("inproc://goes")
        return pull

    push = socket(zmqcy.PUSH, sndhwm=1)
    push.bind("inproc://goes")
    messages = sent_messages(call, 50, 50)
    first = peer()
    result = thread(getattr(push, call), messages, timeout=10_000 if another else 200)
    assert [first.recv_multipart() for _ in range(5)] == whole(messages[:5])
    first.close()
    if another:
        second, got = peer(), []
        while whole(messages)[-1] not in got:
            got.append(second.recv_multipart())
        assert result() == 50
        assert got == [message for message in whole(messages[5:]) if message in got]
        assert 50 - 5 - len(got) <= 3
    else:
        assert 5 <= result() <= 5 + 3
        second = peer()
    push.send(END)
    assert second.recv_multipart() == [END]


def test_a_list_that_changes_meanwhile(pair, thread):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 5}, {"sndhwm": 5})
    messages = sent_messages("send_many", 3000)
    given, kept = list(messages), sent_messages("send_multipart_many", 3000)
    nested = [list(message) for message in kept]
    for call, batch, expected in [("send_many", given, messages), ("send_multipart_many", nested, kept)]:
        result = thread(getattr(push, call), batch)
        got = [pull.recv_multipart()]
        until_in_use(push.poll, 0)
        for message in batch[1000:]:
            if isinstance(message, list):
                message.clear()
        del batch[:1500]
        batch += [None] * 10_000
        while len(got) < 3000:
            got += pull.recv_multipart_many()
        assert result() == 3000
        assert got == whole(expected)


@pytest.mark.parametrize("call", SENDS)
def test_a_storm_of_signals_in_the_sender(pair, thread, alarm, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 3}, {"sndhwm": 3})
    messages = sent_messages(call, 3000, 50)
    result = thread(lambda: [pull.recv_multipart() for _ in messages])
    strikes = []
    alarm(lambda: strikes.append(1), 0.001)
    for first in range(0, 3000, 300):
        assert getattr(push, call)(messages[first : first + 300]) == 300
    assert result() == whole(messages)
    assert strikes


@pytest.mark.parametrize("call", RECEIVES)
def test_a_storm_of_signals_in_the_receiver(pair, thread, alarm, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 3}, {"sndhwm": 3})
    messages = sent_messages("send_multipart_many", 3000, 50)
    strikes = []
    alarm(lambda: strikes.append(1), 0.001)
    result = thread(push.send_multipart_many, messages)
    got, wanted = [], 3000 if call == "recv_multipart_many" else 9000
    while len(got) < wanted:
        got += getattr(pull, call)()
    assert got == (messages if wanted == 3000 else [part for message in messages for part in message])
    assert result() == 3000
    assert strikes


@pytest.mark.parametrize("call", RECEIVES)
def test_a_receive_that_is_interrupted_loses_nothing(pair, thread, alarm, call):
    """The loop over the calls is in C, so that a handler runs and raises only within the call."""
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 3}, {"sndhwm": 3})
    messages = sent_messages("send_multipart_many", 5000, 50)
    expected = messages if call == "recv_multipart_many" else [part for message in messages for part in message]
    got, armed, stops = [], [], 0

    def handler():
        if armed:
            armed.clear()
            raise Stop

    result = thread(push.send_multipart_many, messages)
    gc.disable()  # it may run Python code within the call, which swallows the handler's exception
    try:
        alarm(handler, 0.001)
        while len(got) < len(expected):
            try:
                armed.append(True)
                got.extend(itertools.chain.from_iterable(iter(getattr(pull, call), None)))
            except Stop:
                stops += 1
    finally:
        gc.enable()
    assert got == expected
    assert result() == 5000
    assert stops


@pytest.mark.parametrize("size", [8, 70_000])
@pytest.mark.parametrize("call", SENDS)
def test_two_threads_with_batches_on_one_socket(pair, thread, call, size):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 0}, {"sndhwm": 0})
    start = threading.Barrier(2)

    def work(number):
        sent = []
        start.wait()
        for i in range(30):
            head = b"%d-%d-" % (number, i)
            messages = [[head + b"%d" % j, bytes(size)][: 1 + nested] for j in range(20)]
            try:
                assert getattr(push, call)(messages if nested else [each[0] for each in messages]) == 20
                sent += messages
            except zmqcy.SocketInUse as error:
                assert error.sent == 0
        return sent

    nested = call == "send_multipart_many"
    results = [thread(work, number) for number in range(2)]
    sent = [result() for result in results]
    got = everything(pull, push)
    for number in range(2):
        assert [message for message in got if message[0].startswith(b"%d-" % number)] == sent[number]
    assert len(got) == len(sent[0]) + len(sent[1])


@pytest.mark.parametrize("call", RECEIVES)
def test_two_threads_that_receive_batches_from_one_socket(pair, thread, call):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 0}, {"sndhwm": 0})
    total = 3000
    push.send_multipart_many([[b"%d" % i, b"%d" % i * (20_000 if i % 100 == 0 else 1)] for i in range(total)])
    deadline = time.monotonic() + 20
    got = [[], []]

    def work(mine):
        while len(got[0]) + len(got[1]) < total and time.monotonic() < deadline:
            try:
                batch = getattr(pull, call)(7, timeout=20)
            except (zmqcy.SocketInUse, zmqcy.Again):
                continue
            if call == "recv_many":
                batch = [batch[i : i + 2] for i in range(0, len(batch), 2)]
            assert all(set(second) <= set(first) for first, second in batch)
            mine += [int(first) for first, _ in batch]

    results = [thread(work, each) for each in got]
    assert [result() for result in results] == [None, None]
    assert sorted(got[0] + got[1]) == list(range(total))
    assert got == [sorted(got[0]), sorted(got[1])]


@pytest.mark.parametrize("kind", ["PUSH", "DEALER", "PAIR"])
def test_a_peer_that_goes_in_the_middle_tears_no_message(ctx, kind):
    receiver = {"PUSH": zmqcy.PULL, "DEALER": zmqcy.DEALER, "PAIR": zmqcy.PAIR}[kind]
    sender = ctx.socket(zmqcy.SocketType[kind], linger=0, sndhwm=10)
    sender.bind("tcp://127.0.0.1:*")
    counts = []
    with peers_that_leave(sender, receiver) as got:
        deadline = time.monotonic() + 20
        while len(got) < 30 and time.monotonic() < deadline:
            with contextlib.suppress(zmqcy.Again):
                counts.append(
                    sender.send_multipart_many(
                        [[b"a" * 200_000, b"b" * 200_000, b"c", b"d" * 200_000]] * 20, timeout=300
                    )
                )
    assert all(message == [b"a", b"b", b"c", b"d"] for message in got)
    assert 3 < len(got) <= sum(counts) + 20  # the last batch may have ended without an answer


# ---- equal results of all methods


WAYS = {
    "send": lambda s, messages: [s.send_multipart(each) for each in messages],
    "copied": lambda s, messages: [s.send_multipart(each, copy=True) for each in messages],
    "lent": lambda s, messages: [s.send_multipart(each, copy=False) for each in messages],
    "parts": lambda s, messages: [
        s.send(part, 0 if i == len(each) - 1 else zmqcy.SNDMORE) for each in messages for i, part in enumerate(each)
    ],
    "batch": lambda s, messages: s.send_multipart_many(messages),
    "batch of frames": lambda s, messages: s.send_multipart_many([[zmqcy.Frame(p) for p in each] for each in messages]),
    "batch, lent": lambda s, messages: (setattr(s, "copy_threshold", 0), s.send_multipart_many(messages)),
    "batch, copied": lambda s, messages: (setattr(s, "copy_threshold", 1 << 40), s.send_multipart_many(messages)),
}


@pytest.mark.parametrize(("way", "spin"), [*zip(WAYS, itertools.cycle([0, 50]), strict=False)])
def test_twins(pair, thread, way, spin):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"spin": spin, "rcvhwm": 4}, {"spin": spin, "sndhwm": 4})
    messages = [[b"%d" % i * (size // 2) for size in (SIZES[i % 7], 5, SIZES[i % 5])][: i % 3 + 1] for i in range(60)]
    result = thread(WAYS[way], push, messages)
    got = []
    while len(got) < len(messages):
        got += pull.recv_multipart_many(5) if len(got) % 2 else [pull.recv_multipart()]
    assert got == messages
    assert not isinstance(result(), BaseException)


def split(messages, cuts):
    """Split a list into runs with the given lengths in turn."""
    start, cuts = 0, itertools.cycle(cuts)
    while start < len(messages):
        end = start + next(cuts)
        yield messages[start:end]
        start = end


def send_run(socket, run, way, copy, kind):
    wrap = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview, "Frame": zmqcy.Frame}[kind]
    run = [[wrap(part) for part in message] for message in run]
    if way == "parts":
        for message in run:
            for part in message[:-1]:
                socket.send(part, zmqcy.SNDMORE, copy)
            socket.send(message[-1], copy=copy)
    elif way == "multipart":
        for message in run:
            socket.send_multipart(message, copy=copy)
    elif way == "batch" and all(len(message) == 1 for message in run):
        assert socket.send_many(message[0] for message in run) == len(run)
    else:
        assert socket.send_multipart_many(run) == len(run)


def receive_run(socket, way):
    """Receive at least one message. Return lists of bytes."""
    if way == "parts":
        message = [socket.recv(timeout=5000)]
        while socket.rcvmore:
            message.append(socket.recv())
        return [message]
    if way == "frames":
        message = [socket.recv(copy=False, timeout=5000)]
        while message[-1].more:
            message.append(socket.recv(copy=False))
        return [[bytes(frame) for frame in message]]
    if way == "multipart frames":
        return [[frame.bytes for frame in socket.recv_multipart(copy=False, timeout=5000)]]
    if way == "into":
        buffers = [bytearray(70_000) for _ in range(9)]
        sizes = socket.recv_multipart_into(buffers, timeout=5000)
        return [[bytes(buffer[:size]) for buffer, size in zip(buffers, sizes, strict=False)]]
    if way == "batch":
        return socket.recv_multipart_many(3, timeout=5000)
    return [socket.recv_multipart(timeout=5000)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    transport=st.sampled_from(["inproc", "tcp"]),
    messages=st.lists(
        st.lists(
            st.binary(max_size=100)
            | st.builds(lambda size, fill: fill * size, st.sampled_from(SIZES[:-1]), st.binary(min_size=1, max_size=1)),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=12,
    ),
    cuts=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    sends=st.lists(
        st.tuples(
            st.sampled_from(["parts", "multipart", "batch", "multipart batch"]),
            st.sampled_from([None, True, False]),
            st.sampled_from(["bytes", "bytearray", "memoryview", "Frame"]),
        ),
        min_size=1,
        max_size=4,
    ),
    receives=st.lists(
        st.sampled_from(["parts", "frames", "multipart", "multipart frames", "into", "batch"]), min_size=1, max_size=4
    ),
    threshold=st.sampled_from([0, 34, 65536]),
)
def test_any_messages_by_any_mix_of_ways(ctx, transport, messages, cuts, sends, receives, threshold):
    options = {"linger": 0, "rcvhwm": 0, "sndhwm": 0}
    with ctx.socket(zmqcy.PULL, **options) as pull, ctx.socket(zmqcy.PUSH, **options) as push:
        push.copy_threshold = threshold
        pull.bind(f"inproc://{uuid.uuid4()}" if transport == "inproc" else "tcp://127.0.0.1:*")
        push.connect(pull.last_endpoint)
        ways = itertools.cycle(sends)
        for run in split(messages, cuts):
            send_run(push, run, *next(ways))
        got, ways = [], itertools.cycle(receives)
        while len(got) < len(messages):
            got += receive_run(pull, next(ways))
        assert got == messages
        assert pull.try_recv() is None
        total = sum(len(part) for message in messages for part in message)
        assert push.stats[:2] == pull.stats[2:4] == (len(messages), total)
