"""What goes over the wire: ZMTP by hand, strangers that speak it, a proxy that cuts, holds, delays and alters.

The proxy stands for what networks do to TCP: a connection is reset, or falls silent one way or both, or is slow. It
never loses bytes in the middle of a stream, since TCP does not.
"""

import contextlib
import select
import socket
import struct
import threading
import time

LIMIT = 10  # seconds that what a test waits for may take
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
UP, DOWN = "up", "down"  # from who connected to who listens, and back


def greeting(version="3.1", mechanism=b"NULL", as_server=False, kind="DEALER"):
    """Return the bytes that a peer of a version begins with, as far as it may send them without an answer."""
    if version == "1.0":
        return b"\x01\x00"  # the frame of an empty identity
    if version == "2.0":
        return SIGNATURE + b"\x01" + bytes([KINDS.index(kind)]) + b"\x00\x00"
    major, minor = map(int, version.split("."))
    return SIGNATURE + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


KINDS = ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB", "STREAM"]


def frame(body, flags=0):
    """Return a frame: flags 1 more, 4 a command."""
    if len(body) > 255:
        return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body
    return bytes([flags, len(body)]) + body


def command(name, body=b""):
    return frame(bytes([len(name)]) + name + body, 4)


def metadata(**properties):
    return b"".join(
        bytes([len(name)]) + name.replace("_", "-").encode() + struct.pack(">I", len(value)) + value
        for name, value in properties.items()
    )


def ready(kind, identity=b""):
    return command(b"READY", metadata(Socket_Type=kind.encode(), Identity=identity))


def handshake(kind, mechanism=b"NULL"):
    """Return all that a client of a type sends until messages follow; without a key, for NULL and PLAIN."""
    if mechanism == b"PLAIN":
        hello = command(b"HELLO", b"\x05admin\x06secret")
        return greeting(mechanism=mechanism) + hello + command(b"INITIATE", ready(kind)[8:])
    return greeting(mechanism=mechanism) + ready(kind)


def shaken(endpoint, kind, mechanism="NULL"):
    """Return a connection after the handshake of NULL or PLAIN; libzmq takes no message before it has sent READY."""
    connection = stranger(endpoint, greeting(mechanism=mechanism.encode()))
    answer = b""
    if mechanism == "PLAIN":
        connection.sendall(command(b"HELLO", b"\x05admin\x06secret"))
        while b"WELCOME" not in answer:
            answer += connection.recv(1)
        connection.sendall(command(b"INITIATE", ready(kind)[8:]))
    else:
        connection.sendall(ready(kind))
    while b"READY" not in answer:
        answer += connection.recv(1000)
    return connection


def address(endpoint):
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(port)


opened = []  # by `stranger`, for whoever closes them all


def stranger(endpoint, data=b""):
    """Return a plain TCP connection over which something was sent, as far as the other side has it taken."""
    connection = socket.create_connection(address(endpoint), timeout=LIMIT)
    opened.append(connection)
    with contextlib.suppress(OSError):  # it may be shown the door in the middle
        connection.sendall(data)
    return connection


def reset(connection):
    """Close a connection with RST instead of FIN."""
    with contextlib.suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closed_by_peer(connection):
    """Read until the other side closes, or fail after the time limit."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            if not connection.recv(65536):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


class Proxy:
    """A TCP proxy in a thread, which does to connections what a test says; in a `with` block.

    Attributes
    ----------
    endpoint : str
        Where it listens; stays the same.
    target : str
        The endpoint that new connections go on to.
    hold : set of UP and DOWN
        Directions in which nothing is passed on now; what comes waits.
    delay : float
        Seconds that each piece takes.
    alter : callable or None
        Takes bytes and their direction and returns others.
    refuse : bool
        Reset whoever connects.
    """

    def __init__(self, target):
        self.target = target
        self.hold = set()
        self.delay = 0.0
        self.alter = None
        self.refuse = False
        self.accepted = 0
        self.passed = {UP: 0, DOWN: 0}
        self.pairs = []
        self.ended = False
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.ended = True
        self.thread.join()
        self.cut()
        self.listener.close()

    def cut(self, how=reset):
        """End all connections: with RST, or `socket.socket.close` for FIN."""
        with self.lock:
            for pair in self.pairs:
                for end in pair.ends.values():
                    how(end)
            self.pairs = []

    def run(self):
        while not self.ended:
            with self.lock:
                self.turn()
            ends = [self.listener] + [end for pair in self.pairs for end in pair.readable()]
            try:
                select.select(ends, [], [], 0.002)
            except (OSError, ValueError):
                continue  # one was cut meanwhile

    def turn(self):
        while select.select([self.listener], [], [], 0)[0]:
            connection, _ = self.listener.accept()
            self.accepted += 1
            if self.refuse:
                reset(connection)
                continue
            try:
                self.pairs.append(Pair(connection, socket.create_connection(address(self.target), timeout=LIMIT)))
            except OSError:
                reset(connection)
        self.pairs = [pair for pair in self.pairs if pair.move(self)]


class Pair:
    """The two connections that a proxy joins."""

    def __init__(self, client, server):
        self.ends = {UP: client, DOWN: server}  # by the direction of what is read there
        self.waiting = {UP: [], DOWN: []}  # pieces, and when they are due
        for end in self.ends.values():
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def readable(self):
        return [end for direction, end in self.ends.items() if len(self.waiting[direction]) < 100]

    def move(self, proxy):
        """Pass on what is due; return False when the two have come to their end."""
        try:
            return all([self.move_one_way(proxy, UP), self.move_one_way(proxy, DOWN)])
        except OSError:
            for end in self.ends.values():
                reset(end)
            return False

    def move_one_way(self, proxy, direction):
        source, waiting = self.ends[direction], self.waiting[direction]
        other = self.ends[DOWN if direction == UP else UP]
        if len(waiting) < 100:
            try:
                data = source.recv(65536)
                waiting.append((time.monotonic() + proxy.delay, data))
            except BlockingIOError:
                pass
        while waiting and direction not in proxy.hold and waiting[0][0] <= time.monotonic():
            data = waiting.pop(0)[1]
            if not data:  # FIN is passed on as the end of both, as most of what goes wrong is
                source.close()
                other.close()
                return False
            if proxy.alter:
                data = proxy.alter(data, direction)
            try:
                sent = other.send(data)
            except BlockingIOError:
                sent = 0
            proxy.passed[direction] += sent
            if sent < len(data):
                assert not proxy.alter or not data[sent:], "altering needs small messages"
                waiting.insert(0, (0, data[sent:]))
                break
        return True
