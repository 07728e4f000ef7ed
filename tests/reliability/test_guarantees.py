"""docs/guarantees.md: rows without another test, and a check that each test it names exists."""

import re

import pytest
from paths import ROOT, TESTS
from rows import rows

import zmqcy

NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text())


def test_the_page_names_tests_that_are_there():
    assert len(NAMED) > 20
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not re.search(rf"^(async )?def {name}\(", TESTS[file].read_text(), re.M)
    ]
    assert missing == []


def test_each_row_of_the_page_names_a_test():
    rows = [line for line in (ROOT / "docs" / "guarantees.md").read_text().splitlines() if line.startswith("| ")]
    assert [row for row in rows if "::test_" not in row and not row.startswith("| what")] == []


def test_a_router_drops_what_has_no_peer(socket):
    socket(zmqcy.ROUTER).send_multipart([b"nobody", b"lost"])


def test_router_mandatory_says_that_there_is_no_peer(socket):
    with pytest.raises(zmqcy.HostUnreachable):
        socket(zmqcy.ROUTER, router_mandatory=True).send_multipart([b"nobody", b"kept"])


@pytest.mark.parametrize("handover", [False, True])
def test_router_handover_gives_the_name_to_the_newest(socket, handover):
    router = socket(zmqcy.ROUTER, router_handover=handover)
    router.bind("inproc://a")
    dealers = []
    for number in b"1", b"2":
        dealers.append(socket(zmqcy.DEALER, identity=b"name"))
        dealers[-1].connect("inproc://a")
        dealers[-1].send(number)
        heard = router.poll(10_000 if number == b"1" or handover else 50)
        assert bool(heard) == (number == b"1" or handover)
        if heard:
            assert router.recv_multipart() == [b"name", number]
    router.send_multipart([b"name", b"answer"])
    assert dealers[handover].recv() == b"answer"
    assert dealers[not handover].poll(0) == 0


@rows("sender", [zmqcy.PUSH, zmqcy.DEALER, zmqcy.PAIR, zmqcy.REQ])
def test_who_has_no_peer_waits(socket, sender):
    with pytest.raises(zmqcy.Again):
        socket(sender).send(b"kept", zmqcy.DONTWAIT)


def test_a_pub_drops_what_a_slow_subscriber_has_no_room_for(near):
    sub, pub = near(zmqcy.SUB, zmqcy.PUB, sndhwm=5, rcvhwm=5)
    sub.subscribe(b"")
    assert sub.poll(0) == 0  # it sends its subscription
    pub.send_many([b"%d" % number for number in range(100)])
    received = [sub.recv()]
    while sub.poll(0):
        received.append(sub.recv())
    assert received == [b"%d" % number for number in range(10)]


def test_xpub_nodrop_says_that_there_is_no_room(near):
    sub, pub = near(zmqcy.SUB, zmqcy.XPUB, sndhwm=5, rcvhwm=5)
    pub.xpub_nodrop = True
    sub.subscribe(b"")
    assert sub.poll(0) == 0  # it sends its subscription
    assert pub.recv() == b"\x01"
    assert pub.send_many([b"%d" % number for number in range(100)], flags=zmqcy.DONTWAIT) == 10
    with pytest.raises(zmqcy.Again):
        pub.send(b"kept", zmqcy.DONTWAIT)


def test_immediate_queues_for_peers_that_are_there_alone(socket):
    """Without `immediate`, a connect creates a queue for messages at once."""
    assert socket(zmqcy.PUSH).connect("tcp://127.0.0.1:1").endpoint
    queued, refused = socket(zmqcy.PUSH), socket(zmqcy.PUSH, immediate=True)
    for each in (queued, refused):
        each.connect("tcp://127.0.0.1:1")
    assert queued.try_send(b"queued for a later peer") is True
    assert refused.try_send(b"kept") is False


def test_conflate_keeps_the_last_alone(near):
    pull, push = near(conflate=True)
    push.send_many([b"1", b"2", b"3"])
    assert pull.recv() == b"3"
    assert pull.poll(0) == 0


@pytest.mark.parametrize(("bound", "connected"), [(zmqcy.PAIR, zmqcy.PAIR), (zmqcy.ROUTER, zmqcy.DEALER)])
def test_a_second_peer_is_kept_out_until_it_connects_anew(socket, bound, connected):
    """The second peer counts as connected, but is not served, even after the first peer has closed."""
    one = socket(bound)
    endpoint = one.bind("tcp://127.0.0.1:*").endpoint
    with one.watch(zmqcy.Event.DISCONNECTED) as monitor:
        first, second = (socket(connected, routing_id=b"name") for _ in range(2))
        first.connect(endpoint)
        first.send(b"first")
        assert one.recv_multipart()[-1] == b"first"
        with second.watch() as other:
            second.connect(endpoint)
            other.wait_connected(10_000)
        first.close()
        monitor.recv(10_000)
        second.send(b"lost")
        assert one.poll(200) == 0
        if connected == zmqcy.PAIR:  # it accepts no new connection until libzmq has closed the old one
            second.close()
            second = socket(connected)
        else:
            second.disconnect(endpoint)
        second.connect(endpoint)
        second.send(b"second")
        assert one.recv_multipart()[-1] == b"second"
