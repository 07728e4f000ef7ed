"""Draft sockets. They work if libzmq has drafts. Otherwise the error says how to get drafts.

`make test-drafts` runs these tests with a libzmq that has drafts.
"""

import asyncio
import contextlib
import ctypes
import datetime
import itertools
import os
import platform
import re
import select
import signal
import socket as plain
import threading
import time
import warnings

import pytest
from paths import ROOT
from rows import rows
from waits import until

import zmqcy
import zmqcy.anyio
import zmqcy.asyncio

DRAFTS = zmqcy.has("draft")
with_drafts = pytest.mark.skipif(not DRAFTS, reason="this libzmq has no draft sockets")
without_drafts = pytest.mark.skipif(DRAFTS, reason="this libzmq has draft sockets")
since_435 = pytest.mark.skipif(zmqcy.zmq_version_info() < (4, 3, 5), reason="needs libzmq 4.3.5 or newer")
TYPES = [kind for kind in zmqcy.SocketType if kind > zmqcy.STREAM]
SAFE = [kind for kind in TYPES if kind != zmqcy.DGRAM]
PAIRS = [  # sender, receiver
    (zmqcy.CLIENT, zmqcy.SERVER),
    (zmqcy.SCATTER, zmqcy.GATHER),
    (zmqcy.CHANNEL, zmqcy.CHANNEL),
]
TUNED = 98_304, 98_304
NO_DRAFTS = r"this libzmq was built without the draft API; install a wheel"
THREADS = 4
each = pytest.mark.parametrize


def name_of(kind):
    return getattr(kind, "name", None)


def run_all(functions):
    """Run each function in its own thread; return the return values and exceptions."""
    results = [None] * len(functions)

    def run(place, function):
        try:
            results[place] = function()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def free_udp_port():
    with plain.socket(plain.AF_INET, plain.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# ---- without drafts


@without_drafts
@rows("kind", TYPES, ids=name_of)
def test_types_that_are_not_there(ctx, kind):
    with pytest.raises(zmqcy.NotSupported, match=f"socket type={kind.name}: {NO_DRAFTS}"):
        ctx.socket(kind)


@without_drafts
@each("name", ["group", "routing_id"])
def test_frames_without_drafts(name):
    frame = zmqcy.Frame(b"x")
    with pytest.raises(zmqcy.NotSupported, match=f"{name}: {NO_DRAFTS}"):
        getattr(frame, name)
    with pytest.raises(zmqcy.NotSupported, match=f"{name}: {NO_DRAFTS}"):
        setattr(frame, name, "a" if name == "group" else 1)


@without_drafts
@rows(
    "call",
    [
        lambda one: one.join("a"), lambda one: one.leave("a"), lambda one: one.connect_peer("inproc://a"),
        lambda one: one.disconnect_peer(1), lambda one: one.send(b"", group="a"),
        lambda one: one.send(b"", routing_id=1), lambda one: one.send_string("", group="a"),
        lambda one: one.send_json(1, routing_id=1), lambda one: one.pipes_stats(),
    ],
    ids=["join", "leave", "connect_peer", "disconnect_peer", "group", "routing_id", "text", "json", "pipes_stats"],
)  # fmt: skip
def test_calls_without_drafts(socket, call):
    with pytest.raises(zmqcy.NotSupported, match=NO_DRAFTS):
        call(socket(zmqcy.PUSH))


@without_drafts
def test_an_option_says_what_it_needs(socket):
    one = socket(zmqcy.PUSH)
    with pytest.raises(zmqcy.InvalidArgument, match=r"set out_batch_size=1000 .PUSH.: .*built without the draft API"):
        one.out_batch_size = 1000
    with pytest.raises(zmqcy.InvalidArgument, match=r"get out_batch_size .PUSH.: .*built without the draft API"):
        one.out_batch_size  # noqa: B018
    with pytest.raises(zmqcy.InvalidArgument, match=r"set hello_msg=b'x' .PUSH.: .*built without the draft API"):
        one.hello_msg = b"x"
    with pytest.raises(zmqcy.InvalidArgument, match=r"set rcvhwm=-1 .PUSH.: Invalid argument$"):
        one.rcvhwm = -1


# ---- throughput


def batch_sizes(socket):
    return socket.in_batch_size, socket.out_batch_size


@with_drafts
@each("kind", [zmqcy.PUSH, zmqcy.SUB, zmqcy.ROUTER, zmqcy.SERVER], ids=name_of)
@each("module", [zmqcy, zmqcy.asyncio, zmqcy.anyio], ids=lambda module: module.__name__)
def test_a_context_is_tuned_by_default(module, kind):
    """Options that the user sets on the context or the socket take precedence."""
    with module.Context() as ctx:
        assert ctx.tuned
        shadows = module.Context.shadow(ctx), zmqcy.Context.shadow(ctx.underlying)
        for each_context in (ctx, *shadows):
            with each_context.socket(kind) as one:
                assert batch_sizes(one) == TUNED
        with ctx.socket(kind, in_batch_size=4096) as one:
            assert batch_sizes(one) == (4096, TUNED[1])
        ctx.out_batch_size = 4096
        with ctx.socket(kind) as one:
            assert batch_sizes(one) == (TUNED[0], 4096)


@with_drafts
@each("module", [zmqcy, zmqcy.asyncio, zmqcy.anyio], ids=lambda module: module.__name__)
def test_a_context_that_is_not_to_be_tuned(module):
    with module.Context(tuned=False, linger=0) as ctx:
        shadow = zmqcy.Context.shadow(ctx)
        assert not ctx.tuned
        assert not shadow.tuned
        assert batch_sizes(ctx.socket(zmqcy.PUSH)) == batch_sizes(shadow.socket(zmqcy.PUSH)) == (8192, 8192)
        shadow.tuned = True
        assert ctx.tuned
        assert batch_sizes(ctx.socket(zmqcy.PUSH)) == TUNED


@without_drafts
def test_a_context_that_cannot_be_tuned():
    with pytest.raises(
        zmqcy.NotSupported, match=r"^Context tuned=True: this libzmq was built without the draft API; install"
    ):
        zmqcy.Context(tuned=True)
    with zmqcy.Context() as ctx, zmqcy.Context(tuned=False) as other:
        assert not ctx.tuned
        assert not other.tuned


@with_drafts
@each("tuned", [(False, True), (True, False), (True, True)], ids=str)
def test_messages_of_any_size_between_tuned_contexts(tuned):
    """Test message sizes around the batch sizes, with tuning on either side of a connection or on both."""
    around = [8, 1000, 8191, 8192, 8193, 98_303, 98_304, 98_305, 262_144, 1_000_000]
    messages = [bytes([i]) * size for i in range(20) for size in around]
    contexts = [zmqcy.Context(tuned=each_tuned, linger=0, sndhwm=0, rcvtimeo=10_000) for each_tuned in tuned]
    with contexts[0] as here, contexts[1] as there:
        pull, push = here.socket(zmqcy.PULL), there.socket(zmqcy.PUSH)
        pull.bind("tcp://127.0.0.1:*")
        push.connect(pull.last_endpoint)
        assert push.send_many(messages) == len(messages)
        assert [pull.recv() for _ in messages] == messages


# ---- options


@with_drafts
@rows(
    ("kind", "name", "value"),
    [
        (zmqcy.PUSH, "in_batch_size", 1000), (zmqcy.PUSH, "out_batch_size", 1000), (zmqcy.PUSH, "priority", 3),
        (zmqcy.PUSH, "zap_enforce_domain", True), (zmqcy.PUSH, "multicast_loop", False),
        (zmqcy.PUSH, "reconnect_stop", zmqcy.RECONNECT_STOP_CONN_REFUSED),
        (zmqcy.ROUTER, "router_notify", zmqcy.NOTIFY_CONNECT),
    ],
)  # fmt: skip
def test_options_that_are_kept(socket, kind, name, value):
    if name == "priority" and zmqcy.zmq_version_info() < (4, 3, 5):
        pytest.skip("libzmq has it since 4.3.5")
    one = socket(kind, **{name: value})
    assert getattr(one, name) == value


@with_drafts
def test_messages_of_a_connection(socket):
    """A connected peer receives the hello message. A disconnect message arrives when its connection closes."""
    server = socket(zmqcy.SERVER, hello_msg=b"hello", disconnect_msg=b"gone")
    server.bind("tcp://127.0.0.1:*")
    client = socket(zmqcy.CLIENT)
    client.connect(server.last_endpoint)
    assert client.recv() == b"hello"
    client.close()
    assert server.recv() == b"gone"


@with_drafts
@since_435
def test_a_message_when_a_connection_is_lost(socket):
    server = socket(zmqcy.SERVER)
    server.bind("tcp://127.0.0.1:*")
    client = socket(zmqcy.CLIENT, hiccup_msg=b"hiccup")
    client.connect(server.last_endpoint)
    client.send(b"x")
    assert server.recv() == b"x"
    server.close()
    assert client.recv() == b"hiccup"


@with_drafts
@since_435
def test_topics_are_counted(near):
    pub, sub = near(zmqcy.XPUB, zmqcy.SUB)
    for topic in ("a", "b", "b"):
        sub.subscribe(topic)
    assert {pub.recv(), pub.recv()} == {b"\1a", b"\1b"}
    assert pub.topics_count == 2
    sub.unsubscribe("a")
    assert pub.recv() == b"\0a"
    assert pub.topics_count == 1


@with_drafts
def test_a_subscriber_gets_the_last_value_alone(near, socket):
    pub, first = near(zmqcy.XPUB, zmqcy.SUB)
    pub.xpub_manual_last_value = True
    second = socket(zmqcy.SUB)
    second.connect(pub.last_endpoint)
    for sub in (first, second):
        sub.subscribe("a")
        assert pub.recv() == b"\1a"
        pub.setsockopt(zmqcy.SUBSCRIBE, b"a")
        pub.send(b"a: the last one")
        assert sub.recv() == b"a: the last one"
    assert first.try_recv() is None


# ---- pipe statistics


def pipes_when(ask, as_expected):
    """Call `ask` until its answers are as expected or the deadline passes; return the last answers."""
    deadline = time.monotonic() + 10
    while not as_expected(pipes := ask()) and time.monotonic() < deadline:
        pass
    return pipes


@with_drafts
@each(("sender", "receiver"), [(zmqcy.PUSH, zmqcy.PULL), *PAIRS], ids=name_of)
def test_what_waits_in_connections(socket, sender, receiver):
    taker = socket(receiver, rcvhwm=1)
    assert taker.pipes_stats() == []
    taker.bind("tcp://127.0.0.1:*")
    giver = socket(sender, sndhwm=10)
    giver.connect(taker.last_endpoint)
    for _ in range(3):
        giver.send(b"x")
    (pipe,) = pipes_when(taker.pipes_stats, lambda pipes: [pipe.inbound for pipe in pipes] == [1])
    assert (pipe.local, pipe.outbound, pipe.inbound) == (taker.last_endpoint, 0, 1)
    assert re.fullmatch(r"tcp://127\.0\.0\.1:[0-9]+", pipe.remote)
    assert pipe.remote != pipe.local
    assert giver.pipes_stats(wait=1000) == [("", taker.last_endpoint, 3, 0)]  # nothing is acknowledged yet
    assert [taker.recv() for _ in range(3)] == [b"x"] * 3


@with_drafts
def test_each_connection_answers(socket):
    router = socket(zmqcy.ROUTER)
    router.bind("tcp://127.0.0.1:*")
    dealers = [socket(zmqcy.DEALER) for _ in range(3)]
    for number, dealer in enumerate(dealers, 1):
        dealer.connect(router.last_endpoint)
        for _ in range(number):
            dealer.send(b"x")
    expected = [1, 2, 3]
    pipes = pipes_when(router.pipes_stats, lambda pipes: sorted(pipe.inbound for pipe in pipes) == expected)
    assert sorted(pipe.inbound for pipe in pipes) == expected
    assert len({pipe.remote for pipe in pipes}) == 3


@with_drafts
def test_a_connection_over_inproc_answers_when_its_other_socket_is_used(socket):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://a")
    push.connect("inproc://a")
    push.send(b"x")
    assert push.pipes_stats() == []
    assert pull.poll(10_000)
    assert push.events & zmqcy.POLLOUT  # reads the late answer, and discards it
    assert push.pipes_stats() == []

    def ask():
        timer = threading.Timer(0.01, lambda: pull.events)
        timer.start()
        pipes = push.pipes_stats(wait=100)
        timer.join()
        return pipes

    assert pipes_when(ask, bool)[-1] == ("", "", 1, 0)


@with_drafts
def test_one_monitor_for_each_socket(socket):
    one = socket(zmqcy.PULL)
    one.bind("tcp://127.0.0.1:*")
    with one.watch(), pytest.raises(zmqcy.StateError, match=r"pipes_stats \(PULL\): the socket is watched"):
        one.pipes_stats()
    one.get_monitor_socket()
    with pytest.raises(zmqcy.StateError, match=r"pipes_stats \(PULL\): the socket has a monitor"):
        one.pipes_stats()
    one.disable_monitor()
    for _ in range(100):
        assert one.pipes_stats(wait=0) == []
    with one.watch(zmqcy.Event.ACCEPTED) as monitor:
        socket(zmqcy.PUSH).connect(one.last_endpoint)
        assert monitor.recv(timeout=10_000).event == zmqcy.Event.ACCEPTED


@with_drafts
def test_pipes_stats_refuses(socket):
    one = socket(zmqcy.PULL)
    for wait, error in [(None, ValueError), (-1, ValueError), (-2, ValueError), ("1", TypeError)]:
        with pytest.raises(error, match="pipes_stats"):
            one.pipes_stats(wait)
    with pytest.raises(zmqcy.NotSupported, match="shadow"):
        zmqcy.Socket.shadow(one).pipes_stats()
    one.close()
    with pytest.raises(zmqcy.ZMQError, match="closed"):
        one.pipes_stats()


@with_drafts
def test_pipes_stats_while_a_thread_waits(near):
    """libzmq would read its list of connections without the lock that the other thread holds."""
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    waiting = threading.Thread(target=server.recv)
    waiting.start()
    with pytest.raises(zmqcy.SocketInUse, match=r"pipes_stats \(SERVER\): another thread is in a call"):
        pipes_when(lambda: server.pipes_stats(wait=0), lambda pipes: False)
    client.send(b"x")
    waiting.join(10)
    with server.watch():  # the refused call has removed its monitor
        pass


# ---- messages


@with_drafts
@each(("sender", "receiver"), PAIRS, ids=name_of)
def test_messages(pair, sender, receiver):
    taker, giver = pair(receiver, sender)
    giver.send(b"one")
    assert taker.recv() == b"one"
    assert giver.send_many([b"a", b"b" * 100_000, b"c"]) == 3
    taken = []
    while len(taken) < 3:
        taken += taker.recv_many()
    assert taken == [b"a", b"b" * 100_000, b"c"]
    assert taker.try_recv() is None
    assert taker.stats.messages_received == giver.stats.messages_sent == 4
    assert taker.stats.bytes_received == giver.stats.bytes_sent == 100_005


@with_drafts
def test_a_server_answers_each_client(socket, pair):
    server, first = pair(zmqcy.SERVER, zmqcy.CLIENT)
    second = socket(zmqcy.CLIENT)
    second.connect(server.last_endpoint)
    first.send(b"first")
    second.send(b"second")
    requests = [server.recv(copy=False) for _ in range(2)]
    assert sorted(request.bytes for request in requests) == [b"first", b"second"]
    assert len({request.routing_id for request in requests} - {0}) == 2
    for request in requests:
        server.send(request.bytes.upper(), routing_id=request.routing_id)
    assert first.recv() == b"FIRST"
    assert second.recv() == b"SECOND"


@with_drafts
def test_text_and_json_to_a_peer(near):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    client.send_json(["grüße"])
    request = server.recv(copy=False)
    server.send_string("grüße", routing_id=request.routing_id)
    server.send_json({"answer": 1}, routing_id=request.routing_id, sort_keys=True)
    assert client.recv_string() == "grüße"
    assert client.recv_json() == {"answer": 1}


@with_drafts
@rows("copy", [None, True, False])
@rows("track", [False, True])
@rows("viewed", [False, True])
def test_a_frame_goes_back_to_where_it_came_from(near, copy, track, viewed):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    client.send(b"a" * 20)
    frame = server.recv(copy=False)
    view = frame.buffer if viewed else None
    tracker = server.send(frame, copy=copy, track=track)
    assert client.recv() == b"a" * 20
    del view, frame
    if track:
        tracker.wait(10)


@with_drafts
def test_attributes_of_frames():
    frame = zmqcy.Frame(b"x")
    assert (frame.routing_id, frame.group) == (0, "")
    frame.routing_id, frame.group = 2**32 - 1, "gruß" * 50
    assert (frame.routing_id, frame.group) == (2**32 - 1, "gruß" * 50)
    for value, error in [(0, ValueError), (2**32, ValueError), (-1, ValueError), ("1", TypeError)]:
        with pytest.raises(error, match=r"routing_id: "):
            frame.routing_id = value
    for value, error in [("a\0b", ValueError), (1, TypeError), ("a" * 256, zmqcy.InvalidArgument)]:
        with pytest.raises(error, match=r"group"):
            frame.group = value
    frame.release()
    with pytest.raises(ValueError, match="released"):
        frame.group = "a"


@with_drafts
def test_nobody_has_the_routing_id(near):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    with pytest.raises(zmqcy.HostUnreachable):
        server.send(b"x")
    with pytest.raises(zmqcy.HostUnreachable):
        server.send(b"x", routing_id=1)
    client.send(b"still there")
    assert server.recv() == b"still there"


@with_drafts
def test_words_of_other_types(socket):
    with pytest.raises(zmqcy.NotSupported, match=r"send routing_id \(PUSH\): only SERVER and PEER"):
        socket(zmqcy.PUSH).send(b"x", routing_id=1)
    with pytest.raises(zmqcy.NotSupported, match=r"send group \(CLIENT\): only RADIO"):
        socket(zmqcy.CLIENT).send(b"x", group="a")
    with pytest.raises(zmqcy.NotSupported, match=r"send routing_id \(DEALER\): only SERVER and PEER"):
        socket(zmqcy.DEALER).send_string("x", routing_id=1)
    with pytest.raises(zmqcy.NotSupported, match=r"send group \(DEALER\): only RADIO"):
        socket(zmqcy.DEALER).send_json(1, group="a")
    with pytest.raises(zmqcy.NotSupported, match=r"join group='a' \(CLIENT\)"):
        socket(zmqcy.CLIENT).join("a")
    with pytest.raises(zmqcy.NotSupported, match="connect_peer"):
        socket(zmqcy.CLIENT).connect_peer("inproc://a")


@with_drafts
@each("url", ["inproc://peers", "tcp://127.0.0.1:*"])
def test_peers(socket, url):
    here, there = socket(zmqcy.PEER), socket(zmqcy.PEER)
    there.bind(url)
    number = here.connect_peer(there.last_endpoint)
    assert number > 0
    here.send(b"hello", routing_id=number)
    there.send(b"back", routing_id=there.recv(copy=False).routing_id)
    answer = here.recv(copy=False)
    assert (answer.bytes, answer.routing_id) == (b"back", number)
    with pytest.raises(zmqcy.InvalidArgument, match="connect_peer nowhere"):
        here.connect_peer("nowhere")


@with_drafts
def test_groups(socket, pair):
    dish, radio = pair(zmqcy.DISH, zmqcy.RADIO)
    dish.join("weather")
    deadline = time.monotonic() + 10
    message = None
    while message is None and time.monotonic() < deadline:  # until the RADIO has received the subscription to the group
        radio.send(b"dry", group="weather")
        radio.send(b"nobody", group="sports")
        message = dish.recv(copy=False) if dish.poll(20) else None
    assert (message.bytes, message.group) == (b"dry", "weather")
    frame = zmqcy.Frame(b"wet")
    frame.group = "weather"
    radio.send(frame)
    while (message := dish.recv(copy=False)).bytes == b"dry":
        pass
    assert (message.bytes, message.group) == (b"wet", "weather")
    radio.send_string("windy", group="weather")
    radio.send_json([1], group="weather")
    assert (dish.recv_string(), dish.recv_json()) == ("windy", [1])
    with pytest.raises(zmqcy.InvalidArgument, match="join group='weather'"):
        dish.join("weather")
    dish.leave("weather")
    with pytest.raises(zmqcy.InvalidArgument, match="leave group='weather'"):
        dish.leave("weather")


@with_drafts
def test_groups_by_udp(socket):
    port = free_udp_port()
    dish, radio = socket(zmqcy.DISH), socket(zmqcy.RADIO)
    dish.bind(f"udp://127.0.0.1:{port}")
    dish.join("a")
    radio.connect(f"udp://127.0.0.1:{port}")
    radio.send(b"b", group="b")
    deadline = time.monotonic() + 10
    while not dish.poll(20) and time.monotonic() < deadline:  # an I/O thread binds it
        radio.send(b"x" * 8190, group="a")
    message = dish.recv(copy=False)
    assert (message.bytes, message.group) == (b"x" * 8190, "a")
    with pytest.raises(zmqcy.ZMQError, match="8193 bytes into a datagram of 8192") as caught:
        radio.send(b"x" * 8191, group="a")
    assert caught.value.errno == zmqcy.EMSGSIZE


@with_drafts
def test_an_endpoint_of_udp_can_be_fed_back(socket):
    dish, radio = socket(zmqcy.DISH), socket(zmqcy.RADIO)
    endpoint = f"udp://127.0.0.1:{free_udp_port()}"
    with dish.bind(endpoint) as bound, radio.connect(bound.endpoint) as connected:
        assert endpoint == bound.endpoint == dish.last_endpoint == connected.endpoint == radio.last_endpoint
        assert endpoint in repr(dish)
    with pytest.raises(zmqcy.ZMQError):  # it is already disconnected
        radio.disconnect(endpoint)
    with pytest.raises(
        zmqcy.NotSupported, match=f"unbind {endpoint} .DISH.: libzmq cannot unbind a udp endpoint; close"
    ):
        dish.unbind(endpoint)
    with pytest.raises(KeyError, match="mine"), dish.bind(f"udp://127.0.0.1:{free_udp_port()}"):
        raise KeyError("mine")


@with_drafts
def test_a_long_group_is_refused_over_udp(socket):
    """A DISH reads the length 128 as a negative number, and its process aborts."""
    endpoint = f"udp://127.0.0.1:{free_udp_port()}"
    dish, radio = socket(zmqcy.DISH), socket(zmqcy.RADIO)
    long, fits = "g" * 128, "g" * 127
    dish.join(long)
    with pytest.raises(zmqcy.InvalidArgument, match=f"bind {endpoint} .DISH.: a joined group has more than 127 bytes"):
        dish.bind(endpoint)
    dish.leave(long)
    dish.bind(endpoint)
    dish.join(fits)
    with pytest.raises(zmqcy.InvalidArgument, match=r"join group='ggg.*more than 127 bytes"):
        dish.join(long)
    radio.connect(endpoint)
    frame = zmqcy.Frame(b"x")
    frame.group = long
    for send in (
        lambda: radio.send(b"x", group=long), lambda: radio.send(frame), lambda: radio.try_send(frame),
        lambda: radio.send_many([frame]), lambda: radio.send_multipart([frame]),
        lambda: radio.send_string("x", group=long),
    ):  # fmt: skip
        with pytest.raises(zmqcy.InvalidArgument, match="more than 127 bytes"):
            send()
    radio.send(b"fits", group=fits)
    assert dish.recv() == b"fits"


@with_drafts
def test_a_frame_is_sent_on_by_a_group_that_is_no_text(socket):
    endpoint = f"udp://127.0.0.1:{free_udp_port()}"
    dish, radio = socket(zmqcy.DISH), socket(zmqcy.RADIO)
    dish.join(b"\xff")
    dish.bind(endpoint)
    radio.connect(endpoint)
    radio.send(b"x", group=b"\xff")
    radio.send(dish.recv(copy=False))
    assert dish.recv() == b"x"


@with_drafts
@each(
    ("endpoint", "warns"),
    [
        ("udp://*:{}", True), ("udp://127.0.0.1;239.0.0.1:{}", True), ("udp://127.0.0.2:{}", False),
        ("udp://lo:{}", False),
    ],
    ids=str,
)  # fmt: skip
def test_a_dish_that_others_can_reach_warns(socket, endpoint, warns):
    if zmqcy.zmq_version_info() > (4, 3, 5) or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("this libzmq reads the length of a group as it is meant")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        socket(zmqcy.DISH).bind(endpoint.format(free_udp_port()))
    assert [(each.category, each.filename) for each in caught] == [(RuntimeWarning, __file__)] * warns
    assert all("any host that can send a datagram to this address" in str(each.message) for each in caught)


@with_drafts
def test_datagrams_of_ipv6_are_refused(socket):
    """libzmq aborts at the first IPv6 datagram."""
    one = socket(zmqcy.DGRAM, ipv6=True)
    endpoint = f"udp://127.0.0.1:{free_udp_port()}"
    with pytest.raises(zmqcy.NotSupported, match=f"bind {endpoint} .DGRAM.: with ipv6 .*set ipv6=False"):
        one.bind(endpoint)
    one.ipv6 = False
    one.bind(endpoint)


@with_drafts
@each("kind", [zmqcy.RADIO, zmqcy.DISH], ids=name_of)
def test_heartbeats_are_refused_where_they_end_connections(ctx, socket, kind):
    one = socket(kind)
    for step in (lambda: None, lambda: one.connect("tcp://127.0.0.1:1")):
        step()
        with pytest.raises(
            zmqcy.NotSupported, match=f"set heartbeat_ivl=100 .{kind.name}.: heartbeats close the connections"
        ):
            one.heartbeat_ivl = 100
    one.heartbeat_ivl = 0
    ctx.heartbeat_ivl = 100  # a default for the types that support it
    assert socket(kind).heartbeat_ivl == 0
    assert socket(zmqcy.SCATTER).heartbeat_ivl == 100


@with_drafts
@each(("sender", "receiver"), PAIRS, ids=name_of)
def test_heartbeats_of_other_types_keep_connections(socket, sender, receiver):
    one, other = socket(sender, heartbeat_ivl=20), socket(receiver, heartbeat_ivl=20)
    with one.watch(zmqcy.Event.DISCONNECTED) as monitor:
        other.bind("tcp://127.0.0.1:*")
        one.connect(other.last_endpoint)
        for _ in range(5):
            one.send(b"x")
            assert other.recv() == b"x"
            assert not monitor.poll(50)


@with_drafts
@each("address", ["127.0.0.1", "127.0.0.1;239.0.0.1"])
def test_two_sockets_on_a_port_of_udp(socket, recwarn, address):
    """Unicast: only the socket that was bound last receives. Multicast: both receive, also from the other's group."""
    with plain.socket(plain.AF_INET, plain.SOCK_DGRAM) as probe:
        try:
            members = plain.inet_aton("239.0.0.1") + plain.inet_aton("127.0.0.1")
            probe.setsockopt(plain.IPPROTO_IP, plain.IP_ADD_MEMBERSHIP, members)
        except OSError:
            pytest.skip("no multicast here")
    port = free_udp_port()
    others = address.replace("239.0.0.1", "239.0.0.2")
    first, second = (socket(zmqcy.DISH) for _ in range(2))
    for one, place in ((first, others), (second, address)):
        one.join("g")
        one.bind(f"udp://{place}:{port}")
    radio = socket(zmqcy.RADIO, multicast_loop=True)
    radio.connect(f"udp://{address}:{port}")
    deadline = time.monotonic() + 10
    while not second.poll(20):  # an I/O thread binds it
        radio.send(b"x", group="g")
        assert time.monotonic() < deadline
    assert bool(first.poll(1000 if ";" in address else 0)) == (";" in address)


@with_drafts
def test_a_long_group_is_refused_by_asyncio_too():
    async def main():
        async with zmqcy.asyncio.Context(linger=0) as ctx:
            radio = ctx.socket(zmqcy.RADIO)
            radio.connect(f"udp://127.0.0.1:{free_udp_port()}")
            frame = zmqcy.Frame(b"x")
            frame.group = "g" * 128
            for send in (lambda: radio.send(frame), lambda: radio.send(b"x", group="g" * 128)):
                with pytest.raises(zmqcy.InvalidArgument, match="more than 127 bytes"):
                    await send()

    asyncio.run(main())


@with_drafts
def test_datagrams(socket):
    port = free_udp_port()
    one = socket(zmqcy.DGRAM)
    one.bind(f"udp://127.0.0.1:{port}")
    with plain.socket(plain.AF_INET, plain.SOCK_DGRAM) as other:
        other.settimeout(10)
        other.bind(("127.0.0.1", 0))
        deadline = time.monotonic() + 10
        while not one.poll(20) and time.monotonic() < deadline:  # an I/O thread binds it
            other.sendto(b"ping", ("127.0.0.1", port))
        address, content = one.recv_multipart()
        assert content == b"ping"
        assert address.rstrip(b"\0").decode() == f"127.0.0.1:{other.getsockname()[1]}"
        one.send_multipart([address, b"p" * 8192])
        assert other.recv(10_000) == b"p" * 8192
        for parts in ([b"one"], [address, b"a", b"b"]):
            with pytest.raises(zmqcy.InvalidArgument, match=f"{len(parts)} parts .DGRAM.: a message has two parts"):
                one.send_multipart(parts)
        with pytest.raises(zmqcy.InvalidArgument, match="two parts"):
            one.send(address, zmqcy.SNDMORE)
        with pytest.raises(zmqcy.ZMQError, match="8193 bytes into a datagram"):
            one.send_multipart([address, b"p" * 8193])
        assert one.send_multipart_many([[address, b"a"], [address, b"b"]]) == 2
        assert [other.recv(10), other.recv(10)] == [b"a", b"b"]


@with_drafts
def test_datagrams_without_an_endpoint_wait(socket):
    """Without the check, libzmq would abort."""
    one = socket(zmqcy.DGRAM)
    with pytest.raises(zmqcy.Again):
        one.send_multipart([b"127.0.0.1:9", b"x"], zmqcy.DONTWAIT)
    with pytest.raises(zmqcy.TimedOut):
        one.send_multipart([b"127.0.0.1:9", b"x"], timeout=20)


@with_drafts
@each("kind", [kind for kind in SAFE if kind not in (zmqcy.DISH, zmqcy.GATHER)], ids=name_of)
def test_one_part_only(socket, kind):
    one = socket(kind)
    text = rf"\({kind.name}\): a message of this socket type has exactly one part"
    with pytest.raises(zmqcy.InvalidArgument, match=text):
        one.send(b"x", zmqcy.SNDMORE)
    with pytest.raises(zmqcy.InvalidArgument, match=text):
        one.send_multipart([b"x", b"y"])
    with pytest.raises(zmqcy.InvalidArgument, match=text) as caught:
        one.send_multipart_many([[b"x"], [b"x", b"y"]])
    assert caught.value.sent == 0


@with_drafts
def test_one_part_by_the_calls_for_several(near):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    client.send_multipart([b"x"])
    assert client.send_multipart_many([[b"y"], [b"z"]]) == 2
    assert server.recv_multipart() == [b"x"]
    assert server.recv_multipart_many() == [[b"y"], [b"z"]]


@with_drafts
@each(("kind", "word"), [(zmqcy.DISH, "send"), (zmqcy.GATHER, "send"), (zmqcy.RADIO, "recv"), (zmqcy.SCATTER, "recv")])
def test_one_way(socket, kind, word):
    with pytest.raises(zmqcy.NotSupported, match=rf"{word} \({kind.name}\)"):
        getattr(socket(kind), word)(*[b"x"] * (word == "send"))


# ---- waiting


@with_drafts
@each("kind", [zmqcy.CLIENT, zmqcy.SERVER, zmqcy.DISH, zmqcy.GATHER, zmqcy.PEER, zmqcy.CHANNEL], ids=name_of)
def test_a_time_out(socket, kind):
    one = socket(kind)
    with pytest.raises(zmqcy.TimedOut, match="after [0-9]+ ms"):
        one.recv(timeout=20)
    assert one.poll(20) == 0
    one.rcvtimeo = 10
    with pytest.raises(zmqcy.TimedOut):
        one.recv()
    assert one.stats.waits > 0


@with_drafts
@each(("sender", "receiver"), PAIRS, ids=name_of)
def test_a_receive_that_waits(pair, sender, receiver):
    taker, giver = pair(receiver, sender)
    timer = threading.Timer(0.05, giver.send, [b"late"])
    timer.start()
    assert taker.recv() == b"late"
    timer.join()


@with_drafts
@each("sender", [zmqcy.CLIENT, zmqcy.SCATTER, zmqcy.CHANNEL], ids=name_of)
def test_a_send_that_waits(socket, near, sender):
    receiver = dict(PAIRS)[sender]
    taker, giver = near(receiver, sender, sndhwm=1, rcvhwm=1)
    sent = 0
    while True:
        try:
            giver.send(b"%d" % sent, zmqcy.DONTWAIT)
        except zmqcy.Again:
            break
        sent += 1
    with pytest.raises(zmqcy.TimedOut):
        giver.send(b"lost?", timeout=20)
    taken = []
    timer = threading.Timer(0.05, lambda: taken.append(taker.recv()))
    timer.start()
    giver.send(b"%d" % sent)
    timer.join()
    taken += [taker.recv() for _ in range(sent)]
    assert taken == [b"%d" % i for i in range(sent + 1)]


@with_drafts
def test_a_server_waits_for_room(near):
    """A SERVER always reports POLLOUT, so a wait for POLLOUT would be a busy loop."""
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT, sndhwm=1, rcvhwm=1)
    client.send(b"x")
    peer = server.recv(copy=False).routing_id
    sent = 0
    with pytest.raises(zmqcy.Again):
        while True:
            server.send(b"%d" % sent, zmqcy.DONTWAIT, routing_id=peer)
            sent += 1
    with pytest.raises(zmqcy.TimedOut):
        server.send(b"lost?", routing_id=peer, timeout=400)
    assert server.stats.waits < 20
    timer = threading.Timer(0.05, client.recv)
    timer.start()
    server.send(b"%d" % sent, routing_id=peer)
    timer.join()
    assert [client.recv() for _ in range(sent)] == [b"%d" % i for i in range(1, sent + 1)]


@with_drafts
@each("call", ["recv", "poll", "recv_many"])
def test_signals(socket, call):
    """A signal handler runs while the call blocks. If it raises, the call ends, and no message is lost."""
    server, client = socket(zmqcy.SERVER), socket(zmqcy.CLIENT)
    server.bind("inproc://signals")
    client.connect("inproc://signals")
    count = []

    def handler(*_):
        count.append(1)
        if len(count) == 2:
            raise KeyError("from the handler")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
    try:
        with pytest.raises(KeyError):
            getattr(server, call)(timeout=10_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    client.send(b"x")
    assert server.recv() == b"x"


@with_drafts
def test_term_ends_a_wait():
    ctx = zmqcy.Context()
    sockets = [ctx.socket(zmqcy.SERVER), ctx.socket(zmqcy.GATHER)]
    timer = threading.Timer(0.05, ctx.shutdown)
    timer.start()
    results = run_all([lambda one=one: one.recv(timeout=10_000) for one in sockets])
    assert [type(result) for result in results] == [zmqcy.ContextTerminated] * 2
    timer.join()
    ctx.destroy()


@with_drafts
def test_poller(socket):
    server, client, pull, push = map(socket, (zmqcy.SERVER, zmqcy.CLIENT, zmqcy.PULL, zmqcy.PUSH))
    server.bind("inproc://draft")
    client.connect("inproc://draft")
    pull.bind("inproc://plain")
    push.connect("inproc://plain")
    poller = zmqcy.Poller()
    poller.register(server, zmqcy.POLLIN)
    poller.register(pull, zmqcy.POLLIN)
    assert poller.poll(10) == []
    for turn in range(3):
        timer = threading.Timer(0.03, client.send, [b"x"])
        timer.start()
        assert poller.poll(10_000) == [(server, zmqcy.POLLIN)]
        timer.join()
        push.send(b"y")
        assert dict(poller.poll(10_000)) == {server: zmqcy.POLLIN, pull: zmqcy.POLLIN}
        assert (server.recv(), pull.recv()) == (b"x", b"y")
        assert poller.poll(0) == [], turn
    poller.modify(server, zmqcy.POLLIN | zmqcy.POLLOUT)
    assert poller.poll(0) == [(server, zmqcy.POLLOUT)]
    poller.unregister(server)
    poller.register(server, zmqcy.POLLIN)
    server.close()
    with pytest.raises(zmqcy.ZMQError, match="closed"):
        poller.poll(0)


@with_drafts
def test_a_poller_sleeps(near):
    """The file descriptor stays readable until it is drained. Without draining, poll would be a busy loop."""
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    poller = zmqcy.Poller()
    poller.register(server, zmqcy.POLLIN)
    client.send(b"x")
    assert poller.poll(10_000)
    server.recv()
    used = time.thread_time()
    assert poller.poll(300) == []
    assert time.thread_time() - used < 0.1


@with_drafts
def test_two_pollers_in_two_threads(near):
    """Each poller has its own file descriptor, so neither misses an event."""
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)

    def wait():
        poller = zmqcy.Poller()
        poller.register(server, zmqcy.POLLIN)
        return poller.poll(10_000)

    timer = threading.Timer(0.1, client.send, [b"x"])
    timer.start()
    assert run_all([wait] * 3) == [[(server, zmqcy.POLLIN)]] * 3
    timer.join()


@with_drafts
def test_select_and_descriptor(near):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    fd = server.fileno()
    assert fd == server.fileno() >= 0
    for _ in range(3):
        assert not server.events & zmqcy.POLLIN
        assert select.select([fd], [], [], 0)[0] == []
        client.send(b"x")
        assert select.select([fd], [], [], 10)[0] == [fd]
        assert server.events & zmqcy.POLLIN
        assert server.recv() == b"x"
    assert zmqcy.select([server], [], [], 0.01) == ([], [], [])
    client.send(b"x")
    assert zmqcy.select([server], [], [], 10) == ([server], [], [])


@with_drafts
def test_descriptors_are_given_back(ctx):
    def count():
        return len(os.listdir("/proc/self/fd"))

    def use():
        server = ctx.socket(zmqcy.SERVER, linger=0)
        poller = zmqcy.Poller()
        poller.register(server, zmqcy.POLLIN)
        server.fileno()
        assert poller.poll(1) == []
        with pytest.raises(zmqcy.TimedOut):
            server.recv(timeout=1)
        return server, poller

    use()[0].close()
    before = count()
    for turn in range(20):
        server, poller = use()
        if turn % 2:
            server.close()
            del poller
        else:
            del poller, server
    assert count() <= before


# ---- threads


@with_drafts
@each("url", ["inproc://threads", "tcp://127.0.0.1:*"])
def test_many_threads_in_two_sockets(socket, url):
    gather, scatter = socket(zmqcy.GATHER, rcvhwm=0), socket(zmqcy.SCATTER, sndhwm=0)
    gather.bind(url)
    scatter.connect(gather.last_endpoint)
    each_sends = 2000

    def send(number):
        for i in range(each_sends):
            scatter.send(b"%d %d" % (number, i))

    def receive():
        taken = []
        while (message := gather.recv()) != b"end":
            taken.append(message)
        return taken

    senders = [lambda n=n: send(n) for n in range(THREADS)]
    enders = threading.Thread(target=lambda: (run_all(senders), scatter.send_many([b"end"] * THREADS)))
    enders.start()
    results = run_all([receive] * THREADS)
    enders.join()
    sent = [b"%d %d" % (n, i) for n in range(THREADS) for i in range(each_sends)]
    assert sorted(itertools.chain(*results)) == sorted(sent)
    assert gather.stats.messages_received == scatter.stats.messages_sent == THREADS * (each_sends + 1)
    assert gather.stats.bytes_received == scatter.stats.bytes_sent


@with_drafts
def test_clients_of_one_server_in_threads(near):
    """Several threads serve requests on one SERVER."""
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)

    def serve():
        while (request := server.recv(copy=False)).bytes != b"end":
            server.send(request)

    servers = threading.Thread(target=run_all, args=([serve] * THREADS,))
    servers.start()
    for turn in range(500):
        client.send(b"%d" % turn)
        assert client.recv() == b"%d" % turn
    client.send_many([b"end"] * THREADS)
    servers.join(30)
    assert not servers.is_alive()


@with_drafts
def test_close_while_a_thread_waits(near):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    waiting = threading.Thread(target=server.recv)
    waiting.start()
    deadline = time.monotonic() + 10
    while server.stats.waits == 0 and time.monotonic() < deadline:
        try:
            server.close()
        except zmqcy.SocketInUse:
            break
        assert not server.closed
    with pytest.raises(zmqcy.SocketInUse, match="close"):
        server.close()
    client.send(b"x")
    waiting.join(10)
    server.close()
    with pytest.raises(zmqcy.ZMQError, match="closed"):
        server.recv()


@with_drafts
def test_destroy_while_threads_wait():
    ctx = zmqcy.Context()
    server = ctx.socket(zmqcy.SERVER)
    timer = threading.Timer(0.1, ctx.destroy, [0])
    timer.start()
    results = run_all([server.recv] * THREADS)
    assert {type(result) for result in results} == {zmqcy.ContextTerminated}
    timer.join(10)
    assert ctx.closed


# ---- event loops


@with_drafts
async def test_asyncio(flavour, ctx):
    server, client = ctx.socket(zmqcy.SERVER, linger=0), ctx.socket(zmqcy.CLIENT, linger=0)
    server.bind("inproc://loop")
    client.connect("inproc://loop")
    for turn in range(3):
        with pytest.raises(zmqcy.TimedOut):
            await server.recv(timeout=10)
        await client.send(b"%d" % turn)
        request = await server.recv(copy=False)
        await server.send(request.bytes * 2, routing_id=request.routing_id)
        assert await client.recv(timeout=10_000) == b"%d" % turn * 2
        await server.send_string("text", routing_id=request.routing_id)
        await server.send_json([turn], routing_id=request.routing_id)
        assert await client.recv_string(timeout=10_000) == "text"
        assert await client.recv_json(timeout=10_000) == [turn]
    assert await server.poll(10) == 0
    for one in (server, client):
        one.close()
    server, client = ctx.socket(zmqcy.SERVER, linger=0), ctx.socket(zmqcy.CLIENT, linger=0)
    server.bind("tcp://127.0.0.1:*")
    client.connect(server.last_endpoint)
    await client.send(b"x")
    assert await server.poll(10_000) == zmqcy.POLLIN
    assert [pipe.inbound for pipe in await server.pipes_stats(wait=1000)] == [1]
    assert await server.recv() == b"x"


@with_drafts
def test_asyncio_waits_and_loses_nothing():
    async def main():
        async with zmqcy.asyncio.Context(linger=0) as ctx:
            gather, scatter = ctx.socket(zmqcy.GATHER), ctx.socket(zmqcy.SCATTER)
            gather.bind("tcp://127.0.0.1:*")
            scatter.connect(gather.last_endpoint)
            taken = []

            async def take():
                while len(taken) < 300:
                    with contextlib.suppress(asyncio.TimeoutError):
                        taken.append(await asyncio.wait_for(gather.recv(), 0.001))

            async def give():
                for i in range(300):
                    await scatter.send(b"%d" % i)
                    await asyncio.sleep(0.0005 * (i % 3))

            await asyncio.wait_for(asyncio.gather(take(), give()), 30)
            assert taken == [b"%d" % i for i in range(300)]

            used = time.thread_time()
            with pytest.raises(zmqcy.TimedOut):
                await gather.recv(timeout=300)
            assert time.thread_time() - used < 0.1

    asyncio.run(main())


@with_drafts
def test_poller_of_asyncio():
    async def main():
        async with zmqcy.asyncio.Context(linger=0) as ctx:
            server, client = ctx.socket(zmqcy.SERVER), ctx.socket(zmqcy.CLIENT)
            server.bind("inproc://poller")
            client.connect("inproc://poller")
            poller = zmqcy.asyncio.Poller()
            poller.register(server, zmqcy.POLLIN)
            assert await poller.poll(10) == []
            asyncio.get_running_loop().call_later(0.03, client.send, b"x")
            assert await poller.poll(10_000) == [(server, zmqcy.POLLIN)]
            assert await server.recv() == b"x"
            assert await poller.poll(10) == []

    asyncio.run(main())


# ---- rejected calls


@with_drafts
def test_devices_refuse(socket):
    with pytest.raises(zmqcy.NotSupported, match="SERVER.*a device cannot forward a draft socket"):
        zmqcy.proxy(socket(zmqcy.SERVER), socket(zmqcy.CLIENT))
    with pytest.raises(zmqcy.NotSupported, match="DGRAM.*a device cannot forward a draft socket"):
        zmqcy.proxy(socket(zmqcy.DGRAM), socket(zmqcy.DEALER))


@with_drafts
def test_shadows(near):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    shadow = zmqcy.Socket.shadow(server)
    client.send(b"x")
    assert shadow.recv(timeout=10_000) == b"x"
    with pytest.raises(zmqcy.TimedOut):
        shadow.recv(timeout=10)
    assert shadow.fileno() == server.fileno()
    assert not shadow.events & zmqcy.POLLIN  # re-arms the file descriptor for the next message
    client.send(b"y")
    assert select.select([shadow.fileno()], [], [], 10)[0]
    assert shadow.events & zmqcy.POLLIN
    server.close()
    with pytest.raises(zmqcy.ZMQError, match="the socket is closed"):
        shadow.fileno()


@with_drafts
def test_the_shadow_of_a_socket_that_is_not_ours_has_no_descriptor(ctx):
    """The file descriptor belongs to a poller that must be destroyed before the socket. zmqcy cannot know when."""
    library = ctypes.CDLL(zmqcy._library.__file__)
    library.zmq_socket.restype = ctypes.c_void_p
    address = library.zmq_socket(ctypes.c_void_p(ctx.underlying), zmqcy.SERVER)
    client = ctx.socket(zmqcy.CLIENT)
    with zmqcy.Socket.shadow(address) as server:
        server.bind("inproc://theirs")
        client.connect("inproc://theirs")
        client.send(b"x")
        assert server.recv(timeout=10_000) == b"x"
        with pytest.raises(zmqcy.TimedOut):
            server.recv(timeout=10)
        with pytest.raises(
            zmqcy.NotSupported, match="thread-safe socket that another library made has no file descriptor"
        ):
            server.fileno()
        with pytest.raises(zmqcy.NotSupported, match="has no file descriptor"):
            zmqcy.Poller().register(server, zmqcy.POLLIN)


@with_drafts
def test_a_thread_that_comes_while_the_linger_is_converted_keeps_the_socket_open(near, thread):
    server, client = near(zmqcy.SERVER, zmqcy.CLIENT)
    outcomes = []

    class Linger(datetime.timedelta):
        def total_seconds(self):
            outcomes.append(thread(server.recv))
            until(server._is_busy)
            return 0.0

    with pytest.raises(zmqcy.SocketInUse, match=r"^close \(SERVER\): another thread is in a call"):
        server.close(Linger())
    client.send(b"unharmed")
    assert outcomes[0]() == b"unharmed"


@with_drafts
def test_a_receive_that_ends_lets_nobody_into_a_socket_that_closes(ctx, thread):
    """When close begins, the call of another thread has returned from libzmq, and copies a large message."""
    closing, received = threading.Event(), threading.Event()

    class Closing(zmqcy.Socket):
        def _leave(self):
            closing.set()
            received.wait(10)

    def close():
        until(lambda: not server.events & zmqcy.POLLIN)
        server.close()

    for _ in range(20):
        closing.clear()
        received.clear()
        server, client = Closing(ctx, zmqcy.SERVER), ctx.socket(zmqcy.CLIENT, linger=0)
        server.bind("inproc://closing")
        client.connect("inproc://closing")
        client.send(bytes(1 << 24))
        closed = thread(close)
        assert len(server.recv_many()[0]) == 1 << 24
        if met := closing.is_set():
            with pytest.raises(zmqcy.SocketInUse):
                server.recv(timeout=10)
        received.set()
        assert closed() is None
        client.close()
        if met:
            return
    pytest.fail("the close never came while the message was copied")


@with_drafts
def test_a_child_has_none_of_the_sockets(run):
    done = run("""
        import os, zmqcy
        ctx = zmqcy.Context()
        server = ctx.socket(zmqcy.SERVER)
        poller = zmqcy.Poller()
        poller.register(server, zmqcy.POLLIN)
        server.fileno()
        child = os.fork()
        if child == 0:
            try:
                server.recv()
            except zmqcy.ForkedError:
                print("forked", flush=True)
            del server, poller
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("ended")
    """)
    assert done.stdout.split() == ["forked", "ended"]


@with_drafts
def test_the_page_on_drafts_runs(run):
    page = ROOT / "docs" / "drafts.md"
    programs = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    assert programs
    for program in programs:
        run(program)
