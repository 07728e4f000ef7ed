"""A peer on another binding of Python: `python peer.py zmq` or `python peer.py pyomq`. The protocol is in matrix.py."""

import importlib
import sys
import zlib
from importlib import metadata

zmq = importlib.import_module(sys.argv[1])
PATTERN = bytes(range(251))


def part(spec):
    return spec[1:].encode() if spec[0] == "=" else (PATTERN * (int(spec) // 251 + 1))[: int(spec)]


def message(spec):
    parts = []
    for each in spec.split(","):
        size, _, count = each.partition("x") if each[0] != "=" else (each, "", "")
        parts += [part(size)] * int(count or 1)
    return parts


def binds(url):
    """Return whether the library supports a transport. Not `has`: libzmq lists WS in capitals only."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        try:
            socket.bind(url)
        except zmq.ZMQError:
            return False
        return True


class Peer:
    def __init__(self):
        self.context = zmq.Context()
        self.socket = self.authenticator = None

    def open(self, kind, how, url, mechanism, *keys):
        self.socket = socket = self.context.socket(getattr(zmq, kind))
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDTIMEO, 5000)
        if mechanism == "curve-server":
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, keys[0].encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, keys[1].encode())
        elif mechanism == "curve-client":
            options = zmq.CURVE_SERVERKEY, zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY
            for option, key in zip(options, keys, strict=True):
                socket.setsockopt(option, key.encode())
        elif mechanism == "plain-server":
            from zmq.auth.thread import ThreadAuthenticator

            self.authenticator = ThreadAuthenticator(self.context)
            self.authenticator.start()
            self.authenticator.configure_plain(passwords={keys[0]: keys[1]})
            socket.setsockopt(zmq.PLAIN_SERVER, 1)
        elif mechanism == "plain-client":
            socket.setsockopt(zmq.PLAIN_USERNAME, keys[0].encode())
            socket.setsockopt(zmq.PLAIN_PASSWORD, keys[1].encode())
        getattr(socket, how)(url)
        endpoint = socket.getsockopt(zmq.LAST_ENDPOINT) if how == "bind" else url.encode()
        return "ok " + endpoint.rstrip(b"\0").decode()

    def subscribe(self, topic):
        if self.socket.getsockopt(zmq.TYPE) == zmq.XSUB:
            self.socket.send(b"\x01" + topic.encode())
        else:
            self.socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        return "ok"

    def send(self, spec):
        for each in spec.split("/"):
            self.socket.send_multipart(message(each))
        return "ok"

    def recv(self, count, milliseconds):
        self.socket.setsockopt(zmq.RCVTIMEO, int(milliseconds))
        number = size = total = crc = 0
        try:
            while number < int(count):
                parts = self.socket.recv_multipart()
                for index, each in enumerate(parts):
                    mark = "." if index == len(parts) - 1 else "+"
                    crc = zlib.crc32(each, zlib.crc32(f"{len(each)}{mark}".encode(), crc))
                    size += len(each)
                total += len(parts)
                number += 1
        except zmq.Again:
            pass
        return f"got {number} {total} {size} {crc}"

    def echo(self, count, milliseconds):
        self.socket.setsockopt(zmq.RCVTIMEO, int(milliseconds))
        for _ in range(int(count)):
            self.socket.send_multipart(self.socket.recv_multipart())
        return "ok"

    def close(self):
        self.socket.close()
        if self.authenticator:
            self.authenticator.stop()
            self.authenticator = None
        return "ok"


known = ["tcp", "plain", *(name for name in ("ipc", "curve") if zmq.has(name))]
if binds("ws://127.0.0.1:*"):
    known.append("ws")
if zmq.__name__ == "zmq":
    known.append("plain-server")
library = f"libzmq-{zmq.zmq_version()}" if zmq.__name__ == "zmq" else ""
name = {"zmq": "pyzmq"}.get(sys.argv[1], sys.argv[1])
print("hello", name, metadata.version(name) + f" ({library})" * bool(library), "knows", *known, flush=True)
peer = Peer()
for line in sys.stdin:
    verb, *arguments = line.split()
    try:
        answer = getattr(peer, verb)(*arguments)
    except Exception as error:
        answer = f"error {type(error).__name__}: {error}"
    print(answer, flush=True)
peer.context.term()
