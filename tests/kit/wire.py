"""The wire protocol: ZMTP by hand, untrusted peers, and a proxy that resets, holds, delays and changes connections.

The proxy simulates networks: a connection is reset, slow, or silent in one or both directions. It never loses bytes in
the middle of a stream, as TCP does not.
"""

import contextlib
import select
import socket
import struct
import threading
import time

LIMIT = 10  # max seconds that a test waits
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
UP, DOWN = "up", "down"  # from the connecting side to the listening side, and back


def greeting(version="3.1", mechanism=b"NULL", as_server=False, kind="DEALER"):
    """Return the first bytes of a peer of a version, up to the point where it must wait for an answer."""
    if version == "1.0":
        return b"\x01\x00"  # the frame of an empty identity
    if version == "2.0":
        return SIGNATURE + b"\x01" + bytes([KINDS.index(kind)]) + b"\x00\x00"
    major, minor = map(int, version.split("."))
    return SIGNATURE + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


KINDS = ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB", "STREAM"]


def frame(body, flags=0):
    """Return a frame. Flags: 1 for more, 4 for a command."""
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
    """Return all bytes that a client of a type sends before messages, for NULL and PLAIN."""
    if mechanism == b"PLAIN":
        hello = command(b"HELLO", b"\x05admin\x06secret")
        return greeting(mechanism=mechanism) + hello + command(b"INITIATE", ready(kind)[8:])
    return greeting(mechanism=mechanism) + ready(kind)


def shaken(endpoint, kind, mechanism="NULL"):
    """Return a connection after the handshake of NULL or PLAIN. (libzmq ignores messages before it has sent READY.)"""
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


opened = []  # the connections of `stranger`, so that a caller can close them all


def stranger(endpoint, data=b""):
    """Open a plain TCP connection, and send data as far as the other side accepts it."""
    connection = socket.create_connection(address(endpoint), timeout=LIMIT)
    opened.append(connection)
    with contextlib.suppress(OSError):  # the other side may close the connection
        connection.sendall(data)
    return connection


def reset(connection):
    """Close a connection with RST instead of FIN."""
    with contextlib.suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closed_by_peer(connection):
    """Read until the other side closes the connection. Fail after the time limit."""
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
    """A TCP proxy in a thread, which disturbs connections, for a `with` block.

    Attributes
    ----------
    endpoint : str
        The endpoint on which it listens. It does not change.
    target : str
        The endpoint to which new connections are forwarded.
    hold : set of UP and DOWN
        The directions in which data is held back.
    delay : float
        Seconds by which each piece of data is delayed.
    alter : callable or None
        A function of bytes and their direction, which returns the bytes to forward.
    refuse : bool
        Whether new connections are reset.
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
        """Close all connections: with RST or, with `socket.socket.close`, with FIN."""
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
                continue  # a connection was closed meanwhile

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
    """Two connections that a proxy joins."""

    def __init__(self, client, server):
        self.ends = {UP: client, DOWN: server}  # direction: the connection to read its data from
        self.waiting = {UP: [], DOWN: []}  # pieces of data, with the times when they are due
        for end in self.ends.values():
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def readable(self):
        return [end for direction, end in self.ends.items() if len(self.waiting[direction]) < 100]

    def move(self, proxy):
        """Forward the data that is due. Return False when both connections are closed."""
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
            if not data:  # after a FIN close both connections
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
