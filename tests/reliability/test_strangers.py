"""Untrusted peers: bytes that are not ZMTP, incomplete handshakes, wrong lengths, silence, and fuzzed conversations.

The sockets are in a separate process (`host.Host`). The tests check that it runs, serves well-behaved peers, and does
not grow. ZMQCY_LONG=1 opens 100,000 silent connections instead of 300.
"""

import os
import resource
import time

import pytest
from fuzz_wire import Wire
from host import Host, is_served, mechanisms
from wire import closed_by_peer, command, frame, greeting, handshake, opened, reset, shaken, stranger

import zmqcy

pytestmark = pytest.mark.slow

LONG = "ZMQCY_LONG" in os.environ
SMALL = 32 << 20  # max growth in bytes
VERSIONS = ["1.0", "2.0", "3.0", "3.1"]


@pytest.fixture(autouse=True)
def strangers_go():
    yield
    while opened:
        opened.pop().close()


@pytest.fixture
def seen():
    """A function that collects a host's monitor events until one with a name has come so often."""

    def until(host, key, name, count=1):
        reasons = []
        deadline = time.monotonic() + 10
        while len(reasons) < count:
            assert time.monotonic() < deadline, f"{len(reasons)} of {count} {name} on {key}: {set(reasons)}"
            host.report()
            for event in list(host.events):
                where, what, reason = event.split(": ", 2)
                if where == key and what.startswith(name):
                    reasons += [reason] * host.events.pop(event)
        return reasons

    return until


@pytest.mark.parametrize("mechanism", mechanisms())
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_greeting_cut_at_each_byte(ctx, seen, mechanism, how):
    key = f"REP {mechanism}"
    with Host(["REP"], [mechanism]) as host:
        count = 0
        for version in VERSIONS:
            whole = greeting(version, mechanism.encode(), kind="REQ")
            for size in range(len(whole) + (version[0] == "3")):  # a complete one of 1.0 and 2.0 is a handshake
                connection = stranger(host.endpoints[key], whole[:size])
                reset(connection) if how == "reset" else connection.close()
                count += 1
            assert is_served(ctx, host, key)
        reasons = seen(host, key, "DISCONNECTED", count)
        assert set(reasons) == {"None"}


@pytest.mark.parametrize("mechanism", mechanisms())
def test_half_a_handshake_is_told_with_a_reason(seen, mechanism):
    key = f"PULL {mechanism}"
    with Host(["PULL"], [mechanism]) as host:
        whole = handshake("PUSH", mechanism.encode())
        for size in range(64, len(whole)):
            stranger(host.endpoints[key], whole[:size]).close()
        reasons = seen(host, key, "HANDSHAKE_FAILED", len(whole) - 64)
        assert set(reasons) <= {"the peer hung up", "zmtp malformed command unspecified"}


@pytest.mark.parametrize(
    "data, reason",
    [
        (greeting(mechanism=b"PLAIN"), "zmtp mechanism mismatch"),
        (greeting() + command(b"NONSENSE"), "zmtp unexpected command"),
        (greeting() + frame(b"a message"), "zmtp unexpected command"),
        (greeting() + command(b"ERROR", b"\x05x"), "zmtp malformed command error"),
    ],
    ids=["mechanism", "command", "message", "error"],
)
def test_a_wrong_handshake_is_told_with_a_reason(ctx, seen, data, reason):
    with Host(["PULL"], ["NULL"]) as host:
        connection = stranger(host.endpoints["PULL NULL"], data)
        assert seen(host, "PULL NULL", "HANDSHAKE_FAILED") == [reason]
        assert closed_by_peer(connection)
        assert is_served(ctx, host, "PULL NULL")


def test_a_request_of_a_stranger_that_goes_costs_one_reply_at_most(ctx):
    """libzmq may treat the next message of a REP as a part of its answer to an invalid request."""
    with ctx.socket(zmqcy.REP, linger=0, rcvtimeo=10_000) as server:
        server.bind("tcp://127.0.0.1:*")
        with server.watch(zmqcy.Event.DISCONNECTED) as monitor:
            connection = shaken(server.last_endpoint, "REQ")
            connection.sendall(frame(b"no request: it has no empty part"))
            connection.close()
            monitor.recv(10_000)
        options = {"linger": 0, "req_relaxed": True, "req_correlate": True}
        with ctx.socket(zmqcy.REQ, **options) as client:
            client.connect(server.last_endpoint)
            for _ in range(2):
                client.send(b"request")
                server.send(server.recv())
                if client.poll(300):
                    break
            assert client.recv(timeout=0) == b"request"


@pytest.mark.parametrize("data", [handshake("REP"), greeting() + command(b"READY", b"\xff")], ids=["type", "metadata"])
def test_a_wrong_partner_is_told_without_a_reason(seen, data):
    with Host(["PULL"], ["NULL"]) as host:
        assert closed_by_peer(stranger(host.endpoints["PULL NULL"], data))
        assert seen(host, "PULL NULL", "DISCONNECTED") == ["None"]
        assert [event for event in host.events if "HANDSHAKE" in event] == []


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("mechanism", [each for each in mechanisms() if each != "NULL"])
def test_an_old_version_does_not_get_around_a_mechanism(ctx, seen, mechanism, version):
    """ZMTP 1.0 and 2.0 have no mechanisms: a monitor reports the end of the connection without a reason."""
    key = f"PULL {mechanism}"
    with Host(["PULL"], [mechanism]) as host:
        connection = stranger(host.endpoints[key], greeting(version, kind="PUSH") + frame(b"message"))
        assert closed_by_peer(connection)
        seen(host, key, "DISCONNECTED")
        assert host.report() == {}
        assert is_served(ctx, host, key)


LENGTHS = [2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 65, 2**64 - 64, 2**64 - 8, 2**64 - 1]


@pytest.mark.parametrize("key", ["PULL NULL", "ROUTER PLAIN"])
def test_a_length_that_is_a_lie_costs_no_memory(ctx, key):
    name, mechanism = key.split()
    with Host([name], [mechanism]) as host:
        assert is_served(ctx, host, key)
        before = host.memory()
        for length in LENGTHS:
            for flags in (2, 3, 6):
                connection = shaken(host.endpoints[key], "PUSH" if name == "PULL" else "DEALER", mechanism)
                connection.sendall(bytes([flags]) + length.to_bytes(8, "big") + b"x" * 1000)
        assert is_served(ctx, host, key)
        assert host.memory() < before + SMALL


def test_maxmsgsize_ends_the_connection_at_the_length(ctx, seen):
    with Host(["PULL"], ["NULL"], maxmsgsize=1000) as host:
        for length in [1001, *LENGTHS]:
            lie = b"\x02" + length.to_bytes(8, "big")
            connection = shaken(host.endpoints["PULL NULL"], "PUSH")
            connection.sendall(lie)
            assert closed_by_peer(connection), length
        assert set(seen(host, "PULL NULL", "DISCONNECTED", 1 + len(LENGTHS))) == {"None"}
        connection = shaken(host.endpoints["PULL NULL"], "PUSH")
        connection.sendall(frame(b"x" * 1000))
        while host.report().get("PULL NULL", 0) == 0:
            assert host.process.poll() is None
        connection.close()


def test_without_maxmsgsize_a_stranger_can_fill_the_memory(seen):
    """docs/guarantees.md recommends `maxmsgsize`, because parts of an incomplete message stay in memory."""
    size = 64 << 20
    with Host(["PULL"], ["NULL"]) as host:
        before = host.memory()
        lie = b"\x02" + (1 << 32).to_bytes(8, "big")
        connection = shaken(host.endpoints["PULL NULL"], "PUSH")
        connection.sendall(lie)
        for _ in range(64):
            connection.sendall(bytes(1 << 20))
        deadline = time.monotonic() + 10
        while host.memory() < before + size * 9 // 10 and time.monotonic() < deadline:
            host.report()
        assert host.memory() > before + size * 9 // 10
        connection.close()
        seen(host, "PULL NULL", "DISCONNECTED")


def test_many_parts_fill_the_memory_in_spite_of_maxmsgsize(seen):
    """`maxmsgsize` applies to each part; neither it nor `rcvhwm` bounds the number of parts in a message."""
    with Host(["PULL"], ["NULL"], maxmsgsize=1000, rcvhwm=1) as host:
        before = host.memory()
        connection = shaken(host.endpoints["PULL NULL"], "PUSH")
        for _ in range(300):
            connection.sendall(frame(b"x" * 200, 1) * 1000)
        deadline = time.monotonic() + 10
        while host.memory() < before + SMALL and time.monotonic() < deadline:
            host.report()
        assert host.memory() > before + SMALL
        assert host.report() == {}
        connection.close()


@pytest.mark.parametrize(
    "options", [{"tcp_keepalive": 1}, {"heartbeat_ivl": 100, "heartbeat_timeout": 60_000, "rcvhwm": 0}], ids=str
)
def test_who_resets_at_the_high_water_mark(options):
    """With `heartbeat_ivl` and an `rcvhwm` libzmq aborts the process: these are the settings of docs/reliability.md."""
    with Host(["PUSH"], ["NULL"], **{"rcvhwm": 1, **options}) as host:  # which never receives
        connection = shaken(host.endpoints["PUSH NULL"], "PULL")
        connection.sendall(frame(b"x" * 200) * 20)
        assert b"tick" in connection.recv(1000)  # it had time to read the messages
        reset(connection)
        other = shaken(host.endpoints["PUSH NULL"], "PULL")
        ticks = 0
        while ticks < 100:  # longer than `heartbeat_ivl`: one is sent each 5 ms
            said = other.recv(1000)
            assert said, "the process ended"
            ticks += said.count(b"tick")
        other.close()


def test_connections_that_say_nothing(ctx, seen):
    """Each silent connection holds a file descriptor until `handshake_ivl`. Well-behaved peers are served meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wave, waves = (5000, 20) if LONG else (300, 1)
    if hard < wave * 2 + 100:
        pytest.skip(f"needs {wave * 2 + 100} descriptors, may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with Host(["REP"], ["NULL"], handshake_ivl=2000, backlog=4096) as host:
            assert is_served(ctx, host, "REP NULL")
            before, memory = host.descriptors(), host.memory()
            for _ in range(waves):
                connections = [stranger(host.endpoints["REP NULL"]) for _ in range(wave)]
                assert is_served(ctx, host, "REP NULL")
                reasons = seen(host, "REP NULL", "HANDSHAKE_FAILED", wave)
                late = "the peer, or the ZAP handler, took longer than handshake_ivl"
                assert set(reasons) <= {"the peer hung up", late}
                assert all(closed_by_peer(connection) for connection in connections)
                for connection in connections:
                    connection.close()
            assert is_served(ctx, host, "REP NULL")
            deadline = time.monotonic() + 10
            while host.descriptors() > before and time.monotonic() < deadline:
                host.report()
            assert host.descriptors() <= before
            assert host.memory() < memory + SMALL + waves * (1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_out_of_descriptors_good_peers_are_served_again_afterwards(ctx):
    """No monitor is used, because libzmq retries accept without a pause, and reports each attempt."""
    with Host(["REP"], ["NULL"], watch=False) as host:
        assert is_served(ctx, host, "REP NULL")
        most = host.descriptors() + 20
        resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, (most, most))
        connections = [stranger(host.endpoints["REP NULL"]) for _ in range(100)]
        deadline = time.monotonic() + 10
        while host.descriptors() < most and time.monotonic() < deadline:
            host.report()
        assert host.descriptors() == most
        for connection in connections:
            connection.close()
        assert is_served(ctx, host, "REP NULL")


def test_a_stranger_at_a_pair_keeps_others_out_until_it_goes(ctx, seen):
    with Host(["PAIR"], ["NULL"]) as host:
        connection = shaken(host.endpoints["PAIR NULL"], "PAIR")
        seen(host, "PAIR NULL", "HANDSHAKE_SUCCEEDED")
        with pytest.raises(Exception, match="timed out"):
            is_served(ctx, host, "PAIR NULL", limit=200)
        connection.close()
        seen(host, "PAIR NULL", "DISCONNECTED")
        assert is_served(ctx, host, "PAIR NULL")


def websocket_frame(opcode, body, final=True, masked=True):
    mask = os.urandom(4) if masked else b""
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(body)) if masked else body
    return bytes([final << 7 | opcode, masked << 7 | len(body)]) + mask + body


@pytest.mark.skipif(not zmqcy.has("ws"), reason="this libzmq has no WebSocket")
@pytest.mark.parametrize(
    ("frames", "is_read"),
    [
        ([websocket_frame(2, b"\0first")], True),
        ([websocket_frame(9, b"ping"), websocket_frame(2, b"\0first")], True),
        ([websocket_frame(1, b"\0first")], False),
        ([websocket_frame(2, b"\0fi", final=False), websocket_frame(0, b"rst")], False),
        ([websocket_frame(2, b"\0first", masked=False)], False),
        ([websocket_frame(2, b"")], False),
    ],
    ids=["binary", "ping", "text", "fragments", "unmasked", "empty"],
)
def test_a_frame_of_websocket_that_libzmq_cannot_read_ends_what_it_reads(socket, frames, is_read):
    """libzmq drops the frame and all later data of the connection, without an event."""
    pull, good = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("ws://127.0.0.1:*")
    with pull.watch() as monitor:
        connection = stranger(pull.last_endpoint.replace("ws:", "tcp:").rstrip("/"))
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ZWS2.0\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 101")
        routing_id = websocket_frame(2, b"\0")
        connection.sendall(routing_id + b"".join(frames) + websocket_frame(2, b"\0later"))
        if is_read:
            assert [pull.recv(), pull.recv()] == [b"first", b"later"]
        else:
            assert pull.poll(300) == 0
        good.connect(pull.last_endpoint)
        good.send(b"good")
        assert pull.recv() == b"good"
        names = set()
        while (event := monitor.try_recv()) is not None:
            names.add(event.name)
        assert "DISCONNECTED" not in names


@pytest.mark.slow
def test_fuzzed_bytes_against_every_type_and_mechanism(ctx):
    """A failure shows the seed. tests/kit/fuzz_wire.py runs a seed again, or other seeds for longer."""
    with Host() as host:
        Wire(ctx, host, seed=1).run(conversations=600)
