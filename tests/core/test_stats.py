"""`stats`: exact counts of the messages, bytes and waits of a socket."""

import threading
import time

import pytest

import zmqcy

BIG = 100_000


def sent(socket):
    return socket.stats.messages_sent, socket.stats.bytes_sent


def received(socket):
    return socket.stats.messages_received, socket.stats.bytes_received


def test_a_new_socket_has_none(socket):
    stats = socket(zmqcy.PULL).stats
    assert stats == (0, 0, 0, 0, 0, 0)
    assert stats._fields == (
        "messages_sent", "bytes_sent", "messages_received", "bytes_received", "waits", "would_blocks",
    )  # fmt: skip
    with pytest.raises(AttributeError):
        stats.waits = 1


SENDS = {
    "send": (lambda s: s.send(b"12345"), 1, 5),
    "nothing": (lambda s: s.send(b""), 1, 0),
    "big": (lambda s: s.send(bytes(BIG)), 1, BIG),
    "big copy": (lambda s: s.send(bytes(BIG), copy=True), 1, BIG),
    "lent": (lambda s: s.send(bytearray(BIG), copy=False), 1, BIG),
    "tracked": (lambda s: s.send(b"123", track=True), 1, 3),
    "try_send": (lambda s: s.try_send(b"1234"), 1, 4),
    "frame": (lambda s: s.send(zmqcy.Frame(b"123456")), 1, 6),
    "text": (lambda s: s.send_string("é"), 1, 2),
    "json": (lambda s: s.send_json([1]), 1, 3),
    "more": (lambda s: (s.send(b"ab", zmqcy.SNDMORE), s.send(bytes(BIG), zmqcy.SNDMORE), s.send(b"c")), 1, BIG + 3),
    "multipart": (lambda s: s.send_multipart([b"12", b"", bytearray(BIG), zmqcy.Frame(b"x")]), 1, BIG + 3),
    "tracked parts": (lambda s: s.send_multipart([b"12", b"3"], track=True), 1, 3),
    "many": (lambda s: s.send_many([b"1", b"22", b"", bytes(BIG)] * 10), 40, 10 * (BIG + 3)),
    "few": (lambda s: s.send_many([b"1", bytearray(b"22"), zmqcy.Frame(b"333")]), 3, 6),
    "multipart many": (lambda s: s.send_multipart_many([[b"1", b"22"], [b""], [bytes(BIG)]] * 5), 15, 5 * (BIG + 3)),
    "none": (lambda s: s.send_many([]), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("way", SENDS)
def test_every_send_is_counted(near, way):
    pull, push = near()
    send, messages, size = SENDS[way]
    send(push)
    assert sent(push) == (messages, size)
    assert received(push) == sent(pull) == (0, 0)
    for _ in range(messages):
        pull.recv_multipart()
    assert received(pull) == (messages, size)


RECEIVES = {
    "recv": lambda s: [s.recv() for _ in range(6)],
    "frames": lambda s: [s.recv(copy=False) for _ in range(6)],
    "try_recv": lambda s: [s.try_recv() if s.poll(5000) else None for _ in range(6)],
    "recv_into": lambda s: [s.recv_into(bytearray(BIG)) for _ in range(6)],
    "recv_multipart": lambda s: [s.recv_multipart() for _ in range(4)],
    "multipart frames": lambda s: [s.recv_multipart(copy=False) for _ in range(4)],
    "multipart into": lambda s: [s.recv_multipart_into([bytearray(BIG)] * 3) for _ in range(4)],
    "recv_many": lambda s: all_of(s.recv_many, 6),
    "recv_multipart_many": lambda s: all_of(s.recv_multipart_many, 4),
    "iteration": lambda s: [next(s) for _ in range(6)],
    "one by one": lambda s: [s.recv_many(1) for _ in range(4)],
}


def all_of(receive, count):
    got = []
    while len(got) < count:
        got += receive()


@pytest.mark.parametrize("way", RECEIVES)
def test_every_receive_is_counted(near, way):
    pull, push = near()
    push.send_multipart_many([[b"1"], [b"22", b"", bytes(BIG)], [b""], [b"x" * 40]])
    RECEIVES[way](pull)
    assert received(pull) == (4, BIG + 43)
    assert sent(push) == (4, BIG + 43)


def test_a_message_counts_when_its_last_part_does(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"12", zmqcy.SNDMORE)
    assert sent(push) == (0, 2)
    push.send(b"3")
    assert sent(push) == (1, 3)
    pull.recv()
    assert received(pull) == (0, 2)
    pull.recv()
    assert received(pull) == (1, 3)


def test_a_message_that_did_not_fit_counts_once_it_is_handed_over(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"12345")
    for _ in range(3):
        with pytest.raises(zmqcy.ZMQError):
            pull.recv_into(bytearray(4))
        assert received(pull) == (0, 0)
    pull.recv_into(bytearray(5))
    assert received(pull) == (1, 5)
    push.send_multipart([b"12", b"345", bytes(BIG)])
    for buffers in ([bytearray(9)] * 2, [bytearray(2), bytearray(2), bytearray(BIG)], []):
        with pytest.raises(zmqcy.ZMQError):
            pull.recv_multipart_into(buffers)
        assert received(pull) == (1, 5)
    pull.recv()
    assert received(pull) == (1, 7)
    assert pull.recv_many() == [b"345", bytes(BIG)]
    assert received(pull) == (2, BIG + 10)


def test_what_was_not_sent_does_not_count(socket):
    push, req = socket(zmqcy.PUSH), socket(zmqcy.REQ)
    req.bind("inproc://req")
    rep = socket(zmqcy.REP)
    rep.connect("inproc://req")
    for fail in (
        lambda: push.send(b"x", zmqcy.DONTWAIT),
        lambda: push.send(bytes(BIG), zmqcy.DONTWAIT),
        lambda: push.send_many([b"x"] * 20, flags=zmqcy.DONTWAIT),
        lambda: push.send_multipart([b"x", b"y"], timeout=1),
    ):
        with pytest.raises(zmqcy.Again):
            fail()
    with pytest.raises(TypeError):
        push.send_many([b"x", None])
    assert push.try_send(b"x") is False
    assert sent(push) == (0, 0)
    with pytest.raises(zmqcy.StateError):
        req.send_many([b"first", b"second"])
    assert sent(req) == (1, 5)


def test_what_went_of_a_batch_counts(socket):
    pull, push = socket(zmqcy.PULL, rcvhwm=5), socket(zmqcy.PUSH, sndhwm=5)
    pull.bind("inproc://some")
    push.connect("inproc://some")
    assert push.send_multipart_many([[b"1", b"2"]] * 30, flags=zmqcy.DONTWAIT) == 10
    assert sent(push) == (10, 20)
    pull.recv_many()
    assert received(pull) == (10, 20)


def test_waits(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"spin": 0})
    push.send(b"x")
    pull.poll(5000)
    before = pull.stats.waits
    pull.recv()
    pull.try_recv()
    pull.poll(0)
    with pytest.raises(zmqcy.Again):
        pull.recv(zmqcy.DONTWAIT)
    assert pull.stats.waits == before
    for wait in (
        lambda: pull.recv(timeout=5),
        lambda: pull.recv_many(timeout=5),
        lambda: pull.recv_multipart(timeout=5),
    ):
        with pytest.raises(zmqcy.TimedOut):
            wait()
        assert pull.stats.waits > before
        before = pull.stats.waits


@pytest.mark.parametrize("receive", [lambda s: s.recv(), lambda s: s.recv_many(), lambda s: s.recv_into(bytearray(1))])
def test_a_wait_that_ends_well_counts_as_a_wait_alone(near, receive):
    pull, push = near()
    thread = threading.Thread(target=receive, args=[pull])
    thread.start()
    deadline = time.monotonic() + 10
    while pull.stats.waits == 0:  # `stats` is readable while another thread is in a call
        assert time.monotonic() < deadline
    push.send(b"x")
    thread.join()
    assert pull.stats.waits >= 1
    assert pull.stats.would_blocks == 0
    assert received(pull) == (1, 1)


def test_would_blocks(socket):
    pull, push = socket(zmqcy.PULL, rcvhwm=1), socket(zmqcy.PUSH, sndhwm=1)
    for count, (owner, call) in enumerate(
        [
            (pull, lambda: pull.recv(zmqcy.DONTWAIT)),
            (pull, lambda: pull.recv(timeout=1)),
            (pull, lambda: pull.recv(copy=False, timeout=0)),
            (pull, lambda: pull.recv_many(flags=zmqcy.DONTWAIT)),
            (pull, lambda: pull.recv_multipart_into([bytearray(1)], timeout=1)),
        ],
        1,
    ):
        with pytest.raises(zmqcy.Again):
            call()
        assert owner.stats.would_blocks == count
    assert pull.try_recv() is None
    assert pull.stats.would_blocks == 6
    for count, call in enumerate(
        [
            lambda: push.send(b"", zmqcy.DONTWAIT),
            lambda: push.send(b"", timeout=1),
            lambda: push.send_many([b"x"] * 20, flags=zmqcy.DONTWAIT),
            lambda: push.send_multipart_many([[b"x"]], timeout=1),
        ],
        1,
    ):
        with pytest.raises(zmqcy.Again):
            call()
        assert push.stats.would_blocks == count
    assert push.try_send(b"") is False
    assert push.stats.would_blocks == 5


@pytest.mark.parametrize("how", [{"flags": zmqcy.DONTWAIT}, {"timeout": 5}])
def test_a_batch_that_ended_short_would_have_had_to_wait(socket, how):
    """A batch that stops early counts as a call that would block."""
    pull, push = socket(zmqcy.PULL, rcvhwm=2), socket(zmqcy.PUSH, sndhwm=2)
    pull.bind("inproc://short")
    push.connect("inproc://short")
    assert push.send_many([b"x"] * 20, **how) == 4
    assert push.stats.would_blocks == 1


def test_both_directions_of_one_socket(pair):
    rep, req = pair(zmqcy.REP, zmqcy.REQ)
    for i in range(10):
        req.send(b"x" * i)
        rep.send(rep.recv() * 2)
        req.recv()
    assert req.stats[:4] == (10, 45, 10, 90)
    assert rep.stats[:4] == (10, 90, 10, 45)


def test_routing_ids_count_where_they_are_parts(pair):
    router, dealer = pair(zmqcy.ROUTER, zmqcy.DEALER, connected_options={"routing_id": b"me"})
    dealer.send(b"12345")
    assert router.recv_multipart() == [b"me", b"12345"]
    assert sent(dealer) == (1, 5)
    assert received(router) == (1, 7)


def test_stats_of_a_closed_socket(pair):
    _, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"123")
    push.close()
    assert sent(push) == (1, 3)


def test_stats_of_many_calls(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 10}, {"sndhwm": 10})
    thread = threading.Thread(target=lambda: [push.send_many([b"%d" % i] * (i % 30 + 1)) for i in range(300)])
    thread.start()
    count = size = 0
    while count < 10 * sum(range(1, 31)):
        batch = pull.recv_many()
        count += len(batch)
        size += sum(map(len, batch))
    thread.join()
    assert sent(push) == received(pull) == (count, size)
