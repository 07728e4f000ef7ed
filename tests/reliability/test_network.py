"""Network failures: connections that are reset, silent or slow, addresses that change, hosts that restart.

Most tests use `wire.Proxy`, which works everywhere. Some use network namespaces as three hosts, if the system allows
it. ZMQCY_LONG=1 makes each test last longer.
"""

import contextlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
from socket import SHUT_WR

import pytest
from wire import DOWN, UP, Proxy, closed_by_peer, frame, reset, shaken

import zmqcy
from zmqcy import Event

SECONDS = 60 if "ZMQCY_LONG" in os.environ else 1.5  # duration of each storm
LIMIT = 10_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + SECONDS)]
QUICK = {"reconnect_ivl": 1, "linger": 0}
HEARTBEATS = {"heartbeat_ivl": 50, "heartbeat_timeout": 200, "heartbeat_ttl": 300}


@pytest.fixture
def through(socket):
    """A function that creates two sockets with a proxy between them. The first one is bound."""
    proxies = []

    def make(bound, connected, bound_options=(), connected_options=()):
        first = socket(bound, **QUICK, **dict(bound_options))
        first.bind("tcp://127.0.0.1:*")
        proxy = Proxy(first.last_endpoint)
        proxies.append(proxy)
        proxy.__enter__()
        second = socket(connected, **QUICK, **dict(connected_options))
        second.connect(proxy.endpoint)
        return first, second, proxy

    yield make
    for proxy in proxies:
        proxy.__exit__()


def storm(proxy, rng):
    """Disturb the connections once."""
    match rng.randrange(5):
        case 0:
            proxy.cut(reset)
        case 1:
            proxy.cut(lambda end: end.close())
        case 2:
            proxy.hold = set(rng.sample([UP, DOWN], rng.randrange(3)))
        case 3:
            proxy.delay = rng.choice([0, 0.001, 0.01])
        case 4:
            proxy.refuse = rng.random() < 0.3


def calm(proxy):
    proxy.hold, proxy.delay, proxy.refuse = set(), 0.0, False


@pytest.mark.parametrize("seed", [1, 2])
def test_requests_are_asked_again_until_answered(through, seed):
    """REQ with `req_relaxed` and `req_correlate`: each request gets its own answer, however often it was sent."""
    rng = random.Random(seed)
    options = {"req_relaxed": True, "req_correlate": True}
    server, client, proxy = through(zmqcy.REP, zmqcy.REQ, HEARTBEATS, {**options, **HEARTBEATS})
    end = time.monotonic() + SECONDS
    asked = 0
    for number in itertools.count():
        if time.monotonic() > end:
            break
        while True:
            if rng.random() < 0.2:
                storm(proxy, rng)
            client.send(b"%d" % number)
            asked += 1
            if server.poll(20):
                server.send(b"answer to " + server.recv())
            try:  # not with `poll`: it reports answers to earlier requests, which `recv` skips
                answer = client.recv(timeout=20)
            except zmqcy.Again:
                calm(proxy)
            else:
                break
        assert answer == b"answer to %d" % number, f"seed {seed}"
    assert asked > number > 0


def test_without_req_relaxed_a_lost_request_is_the_last(through):
    server, client, proxy = through(zmqcy.REP, zmqcy.REQ)
    client.send(b"lost")
    assert server.recv() == b"lost"
    with client.watch(Event.DISCONNECTED) as monitor:
        proxy.cut()
        monitor.recv(LIMIT)
    server.send(b"nobody hears")
    assert client.poll(100) == 0
    with pytest.raises(zmqcy.StateError):
        client.send(b"again")


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("bound", ["PULL", "PUSH"])
def test_what_push_sends_comes_whole_and_once_at_most_in_the_order_of_its_connection(through, bound, seed):
    """A cut loses the messages under way. None is repeated or torn, and afterwards messages arrive again.

    A bound PULL has a pipe for each connection, and reads fair-queued from the new pipe and from the rest of the old
    one. Each connection carries numbers in order, after the last number of the previous connection. So if two
    neighbouring numbers arrive in reverse order, they come from two connections. There can be no more such pairs than
    new connections. A connecting PULL keeps its pipe, and so the whole order.
    """
    rng = random.Random(seed)
    reading = {**HEARTBEATS, "rcvhwm": 0}  # libzmq aborts the process if heartbeats, a full queue and a reset coincide
    if bound == "PULL":
        pull, push, proxy = through(zmqcy.PULL, zmqcy.PUSH, reading, HEARTBEATS)
    else:
        push, pull, proxy = through(zmqcy.PUSH, zmqcy.PULL, HEARTBEATS, reading)
    push.send_multipart([b"0", b""])
    sent, received, seen = 1, [pull.recv_multipart()], 0

    def receive(timeout):
        while pull.poll(timeout):
            received.append(pull.recv_multipart())

    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        # A bound PUSH loses its queue for a connection with the connection: leave some connections open.
        if rng.random() < 0.02 and (bound == "PULL" or len(received) > seen):
            storm(proxy, rng)
            seen = len(received)
        if push.poll(1, zmqcy.POLLOUT):
            with contextlib.suppress(zmqcy.Again):  # the peer has disconnected: `calm` would not come
                push.send_multipart([b"%d" % sent, b"x" * (sent % 1000)], zmqcy.DONTWAIT)
                sent += 1
        receive(0)
        if rng.random() < 0.02:
            calm(proxy)
    calm(proxy)
    last, deadline = [b"last", b""], time.monotonic() + LIMIT / 1000
    while last not in received:  # the first one may be sent on a connection that is about to close
        assert time.monotonic() < deadline
        push.send_multipart(last)
        receive(20)
    messages = [(int(number), body) for number, body in received if number != b"last"]
    places = {number: place for place, (number, _) in enumerate(messages)}
    turned = sum(places[first] > places[second] for first, second in itertools.pairwise(sorted(places)))
    assert len(places) == len(messages), f"seed {seed}"
    assert all(len(body) == number % 1000 for number, body in messages), f"seed {seed}"
    assert turned <= (proxy.accepted - 1 if bound == "PULL" else 0), f"seed {seed}"
    assert set(places) <= set(range(sent))


def test_a_pull_that_is_bound_reads_the_old_and_the_new_connection_of_a_peer_in_turn(socket):
    """Messages of the old connection do not all arrive first: there is no order across a reconnect."""
    pull = socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    for name in (b"old", b"new"):
        connection = shaken(pull.last_endpoint, "PUSH")
        connection.sendall(frame(name + b" 1") + frame(name + b" 2"))
        connection.shutdown(SHUT_WR)
        assert closed_by_peer(connection)  # it has read all data
        connection.close()
    assert pull.poll(LIMIT)  # it processes both here: `recv` does not process commands while there are messages
    received = [pull.recv() for _ in range(4)]
    assert [word for word in received if word.startswith(b"old")] == [b"old 1", b"old 2"]
    assert [word for word in received if word.startswith(b"new")] == [b"new 1", b"new 2"]
    assert received.index(b"new 1") < received.index(b"old 2")


def test_what_push_has_queued_survives_a_cut(through):
    """Messages not yet written to the old connection are sent on the next one."""
    pull, push, proxy = through(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"first")
    assert pull.recv() == b"first"
    with push.watch(Event.DISCONNECTED) as monitor:
        proxy.refuse = True
        proxy.cut()
        monitor.recv(LIMIT)
    push.send_many([b"%d" % number for number in range(500)])
    proxy.refuse = False
    assert [pull.recv() for _ in range(500)] == [b"%d" % number for number in range(500)]


def test_subscriptions_come_back_and_what_was_published_meanwhile_is_lost(through):
    """The SUB sends its subscriptions again only within a call such as recv or poll."""
    pub, sub, proxy = through(zmqcy.XPUB, zmqcy.SUB, {"xpub_verbose": True}, {"subscribe": b"a"})
    assert pub.recv() == b"\x01a"
    for turn in range(5):
        pub.send(b"a%d" % turn)
        assert sub.recv() == b"a%d" % turn
        proxy.refuse = True
        proxy.cut()
        assert pub.recv() == b"\x00a"  # the connection is closed
        pub.send(b"a: lost")
        proxy.refuse = False
        assert pub.poll(200) == 0
        for _ in range(500):
            assert sub.poll(0) == 0
            if pub.poll(20):
                break
        assert pub.recv() == b"\x01a"


@pytest.mark.parametrize("silent", [{UP}, {DOWN}, {UP, DOWN}], ids=["up", "down", "both"])
def test_heartbeats_find_a_peer_that_is_silent(through, silent):
    """A connection that is silent in one or both directions is closed, and a new one is opened."""
    server, client, proxy = through(zmqcy.DEALER, zmqcy.DEALER, HEARTBEATS, HEARTBEATS)
    client.send(b"before")
    assert server.recv() == b"before"
    with client.watch(Event.DISCONNECTED) as monitor:
        proxy.hold = silent
        assert monitor.recv(LIMIT).name == "DISCONNECTED"
        proxy.cut()  # otherwise the held data would still arrive
        proxy.hold = set()
    client.send(b"after")
    assert server.recv() == b"after"


def test_without_heartbeats_a_silent_peer_is_not_found(through):
    server, client, proxy = through(zmqcy.DEALER, zmqcy.DEALER)
    client.send(b"before")
    assert server.recv() == b"before"
    with client.watch(Event.DISCONNECTED) as monitor:
        proxy.hold = {UP, DOWN}
        client.send(b"held")
        with pytest.raises(zmqcy.TimedOut):
            monitor.recv(1000)
        proxy.hold = set()
    assert server.recv() == b"held"


def test_an_address_that_changes(socket, through):
    """The name stays, but its address changes: the client finds the new host itself."""
    first, client, proxy = through(zmqcy.REP, zmqcy.REQ)
    client.send(b"1")
    first.send(first.recv())
    client.recv()
    second = socket(zmqcy.REP)
    second.bind("tcp://127.0.0.1:*")
    proxy.target = second.last_endpoint
    with client.watch(Event.DISCONNECTED) as monitor:
        proxy.cut()
        monitor.recv(LIMIT)
    first.close()
    client.send(b"2")
    assert second.recv() == b"2"
    second.send(b"3")
    assert client.recv() == b"3"


@pytest.mark.parametrize("order", [*itertools.product(["bound", "connected"], repeat=3)], ids="-".join)
def test_either_side_starts_again(socket, order):
    """The sides restart in any order. Messages that are sent after both have started arrive."""
    pull = socket(zmqcy.PULL, **QUICK)
    pull.bind("tcp://127.0.0.1:*")
    endpoint = pull.last_endpoint
    push = socket(zmqcy.PUSH, **QUICK)
    push.connect(endpoint)
    for side in order:
        if side == "bound":
            pull.close()
            pull = socket(zmqcy.PULL, **QUICK)
            deadline = time.monotonic() + 10
            while True:
                try:
                    pull.bind(endpoint)  # the old one is closed in the background
                except zmqcy.ZMQError:
                    assert time.monotonic() < deadline
                else:
                    break
        else:
            push.close()
            push = socket(zmqcy.PUSH, **QUICK)
            push.connect(endpoint)
        number = 0
        while not pull.poll(20):
            push.send(b"%d" % number)  # the first one may be sent on the connection of the closed socket
            number += 1
            assert number < 500
        while pull.poll(20):
            pull.recv()


NAMES = [f"zmqcy-net-{os.getpid()}-{number}" for number in range(3)]


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Three namespaces on a bridge, which is in the first one: 10.214.0.1, .2 and .3."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and iproute2")
    try:
        try:
            for name in NAMES:
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip("-n", NAMES[0], "link", "add", "bridge", "type", "bridge")
            ip("-n", NAMES[0], "address", "add", "10.214.0.1/24", "dev", "bridge")
            ip("-n", NAMES[0], "link", "set", "bridge", "up")
            for number, name in enumerate(NAMES[1:], 2):
                ip(
                    "link",
                    "add",
                    "name",
                    f"port{number}",
                    "netns",
                    NAMES[0],
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    name,
                )
                ip("-n", NAMES[0], "link", "set", f"port{number}", "master", "bridge", "up")
                ip("-n", name, "address", "add", f"10.214.0.{number}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        yield NAMES
    finally:
        for name in NAMES:
            ip("netns", "delete", name, check=False)


WORKER = """
import sys, zmqcy
context = zmqcy.Context(linger=0)
socket = context.socket(zmqcy.DEALER, heartbeat_ivl=50, heartbeat_timeout=200, reconnect_ivl=10,
                        connect_timeout=300, identity=sys.argv[1].encode())
socket.connect("tcp://10.214.0.1:5555")
while True:
    socket.send(sys.argv[1].encode())
    if socket.poll(50):
        socket.recv()
"""
SERVER = """
import sys, time, zmqcy
context = zmqcy.Context(linger=0)
socket = context.socket(zmqcy.ROUTER, heartbeat_ivl=50, heartbeat_timeout=200, router_handover=True)
socket.bind("tcp://10.214.0.1:5555")
while True:
    peer, message = socket.recv_multipart()
    assert peer == message
    print(message.decode(), flush=True)
    socket.send_multipart([peer, b"heard"])
"""


@pytest.mark.slow
def test_three_hosts_and_a_partition(hosts):
    """A link fails and recovers: the other host is always served, and the first one again afterwards."""

    def start(number, code, *arguments):
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
        return subprocess.Popen(["ip", "netns", "exec", hosts[number], *command], stdout=subprocess.PIPE, text=True)

    def heard(name):
        """Read the server's messages up to one of a host. Return how many the others have sent."""
        others = 0
        deadline = time.monotonic() + 20
        while (line := server.stdout.readline().strip()) != name:
            assert line and time.monotonic() < deadline
            others += 1
        return others

    server = start(0, SERVER)
    workers = [start(1, WORKER, "b"), start(2, WORKER, "c")]
    try:
        for _ in range(2):
            heard("b")
            heard("c")
            ip("-n", hosts[0], "link", "set", "port2", "down")
            for _ in range(100):
                heard("c")
            ip("-n", hosts[0], "link", "set", "port2", "up")
            heard("b")
        assert [each.poll() for each in [server, *workers]] == [None] * 3
    finally:
        for each in [server, *workers]:
            each.kill()
            each.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs root and unshare")
@pytest.mark.parametrize(
    ("endpoint", "setting", "is_served"),
    [
        ("tcp://127.0.0.1:40010", "ip_local_port_range=40000 40020", False),
        ("tcp://127.0.0.2:0;127.0.0.1:40010", "ip_local_port_range=40000 40020", True),
        ("tcp://127.0.0.1:40010", "ip_local_port_range=40011 40020", True),
        ("tcp://127.0.0.1:40010", "ip_local_reserved_ports=40010", True),
    ],
    ids=["plain", "source address", "port below the range", "reserved port"],
)
def test_a_source_address_keeps_a_client_from_connecting_to_itself(endpoint, setting, is_served):
    """In a namespace with few client ports, a client tries 300 times before its server starts."""
    code = """
        import sys, time, zmqcy
        context = zmqcy.Context(linger=0)
        push = context.socket(zmqcy.PUSH, reconnect_ivl=1)
        monitor = push.watch()
        push.connect(sys.argv[1])
        count, event = 0, None
        while count < 300 and (event is None or event.name != "DISCONNECTED"):
            event = monitor.recv(10_000)
            count += event.name == "CONNECT_RETRIED"
        pull = context.socket(zmqcy.PULL)
        try:
            pull.bind("tcp://127.0.0.1:40010")
            push.send(b"x")
            print(pull.recv(timeout=10_000) == b"x")
        except zmqcy.ZMQError as error:
            assert error.errno == zmqcy.EADDRINUSE
            print(False)
        context.destroy(0)
    """
    port = "ip_local_port_range=40000 40020"
    script = f'ip link set lo up; sysctl -qw "net.ipv4.{port}"; sysctl -qw "net.ipv4.{setting}"; exec "$@"'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, "sh", sys.executable, "-c", textwrap.dedent(code), endpoint],
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    if "unshare" in done.stderr or "sysctl" in done.stderr:
        pytest.skip("needs the right to make a network namespace")
    assert (done.stdout.strip(), done.stderr) == (str(is_served), "")


RATE = 800_000  # bytes/s of a slow connection


@pytest.mark.parametrize("whose", ["receiver", "sender"])
def test_heartbeats_cut_a_message_that_takes_longer(through, whose):
    """A message of 0.5 s: no heartbeat can be sent or answered before its end."""
    options = {"heartbeat_ivl": 50, "heartbeat_timeout": 250}
    pull, push, proxy = through(
        zmqcy.PULL, zmqcy.PUSH, options if whose == "receiver" else {}, options if whose == "sender" else {}
    )
    proxy.alter = lambda data, _: time.sleep(len(data) / RATE) or data
    with (pull if whose == "receiver" else push).watch(Event.DISCONNECTED) as monitor:
        push.send(b"small")
        assert pull.recv() == b"small"
        push.send(bytes(400_000))
        assert "a message took longer than heartbeat_timeout" in monitor.recv(LIMIT).reason
        if whose == "receiver":  # otherwise the kernel may have all of it, and send it before it closes the connection
            assert pull.poll(100) == 0


def test_a_long_message_arrives_within_heartbeat_timeout(through):
    options = {"heartbeat_ivl": 50, "heartbeat_timeout": LIMIT, "heartbeat_ttl": LIMIT}
    pull, push, proxy = through(zmqcy.PULL, zmqcy.PUSH, options, options)
    proxy.alter = lambda data, _: time.sleep(len(data) / RATE) or data
    push.send(bytes(400_000))
    assert len(pull.recv()) == 400_000
