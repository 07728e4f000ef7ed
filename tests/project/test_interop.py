"""Interoperability: with other implementations, with old versions of ZMTP, and with another binding in one process.

The short form runs pyzmq, pyomq and C, if they are installed; `make interop` installs the others and runs all.
"""

import importlib.util
import re
import socket as sockets
import sys
from pathlib import Path

import pytest

import zmqcy

sys.path.insert(0, str(Path(__file__).with_name("interop")))

import matrix


@pytest.fixture(scope="module")
def peer(request):
    try:
        peer = matrix.Peer(request.param)
    except matrix.Absent as absent:
        pytest.skip(str(absent))
    yield peer
    peer.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("peer", matrix.COMMANDS, indirect=True)
def test_the_table_is_what_a_run_gives(peer):
    """With versions other than those in the table, a cell may change to `works` or `not supported`."""
    title, cells = matrix.written()[peer.name]
    as_written = (title, matrix.written_on()) == (peer.title, zmqcy.zmq_version())
    wrong = {}
    for row in matrix.ROWS:
        if row.transport == "ws" and not zmqcy.has("ws"):
            continue
        came = matrix.outcome(peer, row)
        if came != cells[row] and (as_written or came not in (matrix.WORKS, matrix.UNKNOWN)):
            wrong[row] = came
    assert wrong == {}


def test_the_table_has_all_rows_and_peers():
    columns = matrix.written()
    assert list(columns) == list(matrix.COMMANDS)
    for _, cells in columns.values():
        assert list(cells) == matrix.ROWS


def test_a_peer_that_exits_or_answers_something_else_is_reported():
    peer = object.__new__(matrix.Peer)
    script = "print('hello x 1 knows tcp', flush=True); input(); print('got 1 1 1 1', flush=True)"
    peer.command = [sys.executable, "-c", script]
    peer.start()
    assert (peer.title, peer.known) == ("x 1", {"tcp"})
    with pytest.raises(matrix.Failed, match="the peer got 1 1 1 1, but should have got 1 1 5"):
        peer.receives([[b"hello"]])
    with pytest.raises(matrix.Failed, match="the peer exited"):
        peer.hear()
    peer.stop()


# ---- old versions of the protocol, byte by byte

SIGNATURE = b"\xff" + bytes(8) + b"\x7f"


def read(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        assert more, data
        data += more
    return data


@pytest.fixture
def raw(socket):
    """A REP of zmqcy that echoes once, and a bare connection to it."""
    rep = socket(zmqcy.REP)
    port = rep.bind_to_random_port("tcp://127.0.0.1")
    with sockets.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield rep, connection


def test_a_peer_of_zmtp_1_0(raw):
    """ZMTP 1.0 has no greeting: a peer begins with its identity frame, and reads libzmq's signature as one."""
    rep, connection = raw
    connection.sendall(b"\x01\x00" + b"\x01\x01" + b"\x06\x00hello")  # lengths include the byte of flags
    assert rep.recv() == b"hello"
    rep.send(b"world!")
    assert read(connection, 10) == b"\xff" + bytes(7) + b"\x01\x7f"  # an empty frame: 8-byte length, flags
    assert read(connection, 10) == b"\x01\x01" + b"\x07\x00world!"


def test_a_peer_of_zmtp_2_0(raw):
    rep, connection = raw
    connection.sendall(SIGNATURE + b"\x01" + b"\x03" + b"\x00\x00" + b"\x01\x00" + b"\x00\x05hello")  # revision, REQ
    assert rep.recv() == b"hello"
    rep.send(b"world!")
    assert read(connection, 10)[-1:] == b"\x7f"
    assert read(connection, 4) == b"\x03\x04" + b"\x00\x00"  # libzmq's own version, REP, no identity
    assert read(connection, 10) == b"\x01\x00" + b"\x00\x06world!"


@pytest.mark.parametrize("minor", [0, 1])
def test_a_peer_of_zmtp_3(raw, minor):
    rep, connection = raw
    connection.sendall(SIGNATURE + bytes([3, minor]) + b"NULL".ljust(20, b"\0") + bytes(32))
    greeting = read(connection, 64)
    assert greeting[10] == 3
    assert greeting[12:32] == b"NULL".ljust(20, b"\0")
    ready = b"\x05READY\x0bSocket-Type" + (3).to_bytes(4, "big") + b"REQ"
    connection.sendall(b"\x04" + bytes([len(ready)]) + ready + b"\x01\x00" + b"\x00\x05hello")
    flags, size = read(connection, 2)
    assert flags == 4
    answer = read(connection, size)
    assert answer.startswith(b"\x05READY\x0bSocket-Type\0\0\0\x03REP")
    assert rep.recv() == b"hello"
    rep.send(b"world!")
    assert read(connection, 10) == b"\x01\x00" + b"\x00\x06world!"


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32),
        SIGNATURE + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32) + b"\x04\x03\x05REA",
        SIGNATURE + b"\x01" + b"\x63" + b"\x00\x00" + b"\x01\x00\x00\x05hello"[:4],
    ],
    ids=["another mechanism", "a broken command", "an unknown type"],
)
def test_a_peer_that_speaks_nonsense_disturbs_nobody(raw, socket, data):
    rep, connection = raw
    connection.sendall(data)
    req = socket(zmqcy.REQ)
    req.connect(rep.last_endpoint)
    for _ in range(3):
        req.send(b"hello")
        rep.send(rep.recv().upper())
        assert req.recv() == b"HELLO"
    connection.shutdown(sockets.SHUT_RDWR)


# ---- with pyzmq in one process

needs_pyzmq = pytest.mark.skipif(importlib.util.find_spec("zmq") is None, reason="pyzmq is not installed")

SIDE_BY_SIDE = """
import threading
{imports}

def serve(module, ready):
    with module.Context() as context, context.socket(module.REP) as socket:
        socket.setsockopt(module.LINGER, 1000)
        ready.append(socket.bind_to_random_port("tcp://127.0.0.1"))
        event.release()
        for _ in range(200):
            socket.send(socket.recv().upper())

event, ports = threading.Semaphore(0), ([], [])
threads = [threading.Thread(target=serve, args=each) for each in zip((zmq, zmqcy), ports)]
for thread in threads:
    thread.start()
for thread in threads:
    assert event.acquire(timeout=10)

def ask(module, port):
    with module.Context() as context, context.socket(module.REQ) as socket:
        socket.setsockopt(module.RCVTIMEO, 10000)
        socket.connect(f"tcp://127.0.0.1:{{port}}")
        for i in range(200):
            socket.send(b"a%d" % i)
            assert socket.recv() == b"A%d" % i

askers = [threading.Thread(target=ask, args=(each, port[0])) for each, port in zip((zmqcy, zmq), ports)]
for thread in askers:
    thread.start()
for thread in askers + threads:
    thread.join()
print("both")
"""


@needs_pyzmq
@pytest.mark.parametrize("imports", ["import zmq\nimport zmqcy", "import zmqcy\nimport zmq"])
def test_both_at_once_in_threads(run, imports):
    assert run(SIDE_BY_SIDE.format(imports=imports)).stdout == "both\n"


@needs_pyzmq
def test_a_socket_of_the_other(run):
    """An address is valid only in the libzmq that created it. The wheels of pyzmq contain their own libzmq."""
    done = run("""
        import re, zmq, zmqcy
        with open("/proc/self/maps") as maps:
            libraries = set(re.findall(r"/\\S*libzmq\\S*", maps.read()))
        ours, theirs = zmqcy.Context(), zmq.Context()
        a, b = ours.socket(zmqcy.PULL), theirs.socket(zmq.PULL)
        if len(libraries) == 1:
            b.bind("inproc://b")
            push = theirs.socket(zmq.PUSH)
            push.connect("inproc://b")
            push.send(b"one")
            assert zmqcy.Socket.shadow(b.underlying).recv() == b"one"
            assert zmqcy.Socket.shadow(b).type == zmq.Socket.shadow(a.underlying).type == zmq.PULL
            push.close()
        else:
            try:
                zmqcy.Socket.shadow(b.underlying)
            except zmqcy.ZMQError as error:
                assert str(error) == f"shadow {hex(b.underlying)}: the socket was made by another libzmq"
            else:
                raise AssertionError("taken")
        b.close()
        theirs.term()
        print("done")
    """)
    assert done.stdout == "done\n"


def test_the_context_of_another_libzmq_is_refused(run):
    """Each form of a pyzmq context is rejected if pyzmq has its own libzmq. Each form of zmqcy's is accepted."""
    if importlib.util.find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    done = run("""
        import re, zmq, zmq.asyncio, zmqcy, zmqcy.asyncio
        from zmqcy.compat import core
        from zmqcy.compat.asyncio import Context as AsyncContext
        with open("/proc/self/maps") as maps:
            one = len(set(re.findall(r"/\\S*libzmq\\S*", maps.read()))) == 1

        kinds = [zmqcy.Context, zmqcy.asyncio.Context, core.Context, AsyncContext]
        made = [zmq.Context(), zmq.asyncio.Context(), zmq.Context()]
        used = [made[2].socket(zmq.PUSH) for _ in range(50)]
        for context in made:
            for what in (context, context.underlying):
                for kind in kinds:
                    for shadow in (kind.shadow, lambda what: kind(shadow=what)):
                        try:
                            shadow(what).socket(zmqcy.PUSH).close(0)
                        except zmqcy.ZMQError as error:
                            assert error.errno == zmqcy.EFAULT and not one
                            where = hex(context.underlying)
                            assert str(error) == f"shadow {where}: the context was made by another libzmq"
                        else:
                            assert one
        for socket in used:
            for kind in (zmqcy.Socket, zmqcy.asyncio.Socket, core.Socket):
                try:
                    kind.shadow(socket)
                except zmqcy.ZMQError as error:
                    assert error.errno == zmqcy.ENOTSOCK and not one
                else:
                    assert one
            socket.close(0)
        for context in made:
            context.term()
        own = [kind() for kind in kinds]
        for threads in (0, 3):
            own.append(zmqcy.Context(threads))
            own.append(core.Context(threads))
        busy = own[0].socket(zmqcy.PUSH)
        busy.bind("inproc://busy")
        for context in own:
            for kind in kinds:
                for what in (context, context.underlying):
                    kind.shadow(what).socket(zmqcy.PUSH).close(0)
        for context in own:
            context.destroy(0)
        print("done")
    """)
    assert done.stdout == "done\n"


def test_the_page_explains_every_failure():
    """Each peer with a failure in the table is explained below the table, by its name."""
    text = matrix.PAGE.read_text()
    below = text.partition(matrix.END)[2]
    for name, (_, cells) in matrix.written().items():
        if {*cells.values()} - {matrix.WORKS, matrix.UNKNOWN}:
            assert re.search(rf"^- .*\b{re.escape(name)}\b", below, re.M), name
