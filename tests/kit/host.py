"""A process with a bound socket of every type and mechanism, as the target of untrusted peers.

Each line on its standard input is a command in JSON, and each answer is a line on its standard output. Sockets that can
answer echo messages. Sockets that can only send do so all the time. Sockets that can only receive count messages.
"""

import collections
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import zmqcy

TYPES = ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB", "STREAM"]
ECHO = ("PAIR", "REP", "DEALER", "ROUTER", "STREAM")
SEND = ("PUB", "PUSH", "XPUB", "REQ")
SECRET = b"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"  # from the key pair in zmq_curve(7)
PUBLIC = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


def mechanisms():
    return ["NULL", "PLAIN", *(["CURVE"] if zmqcy.has("curve") else [])]


def server_options(mechanism):
    return {
        "NULL": {},
        "PLAIN": {"plain_server": True, "zap_domain": "test"},
        "CURVE": {"curve_server": True, "curve_secretkey": SECRET, "zap_domain": "test"},
    }[mechanism]


def client_options(mechanism):
    if mechanism == "CURVE":
        public, secret = zmqcy.curve_keypair()
        return {"curve_serverkey": PUBLIC, "curve_publickey": public, "curve_secretkey": secret}
    return {"plain_username": "admin", "plain_password": "secret"} if mechanism == "PLAIN" else {}


def allow(handler):
    """Answer ZAP requests: accept peers with the password, or with any key."""
    while True:
        try:
            version, number, _, _, _, mechanism, *credentials = handler.recv_multipart()
            good = mechanism != b"PLAIN" or credentials == [b"admin", b"secret"]
            handler.send_multipart([version, number, b"200" if good else b"400", b"", b"", b""])
        except zmqcy.ContextTerminated:  # in a send too: peers connect until the end
            handler.close()
            return


def serve(types, kinds, options, watch):
    context = zmqcy.Context(linger=0, sndtimeo=0)
    handler = context.socket(zmqcy.REP, sndtimeo=-1)
    handler.bind("inproc://zeromq.zap.01")  # before a peer can connect
    zap = threading.Thread(target=allow, args=[handler])
    zap.start()
    poller = zmqcy.Poller()
    poller.register(sys.stdin, zmqcy.POLLIN)
    sockets, monitors, events, received = {}, {}, collections.Counter(), collections.Counter()
    for mechanism in kinds:
        for name in types:
            more = {"req_relaxed": True, "req_correlate": True} if name == "REQ" else {}
            socket = context.socket(getattr(zmqcy, name), **server_options(mechanism), **more, **options)
            key = f"{name} {mechanism}"
            if watch:
                monitors[key] = socket.watch()
            socket.bind("tcp://127.0.0.1:*")
            if name == "SUB":
                socket.subscribe(b"")
            elif name == "XSUB":
                socket.send(b"\x01")
            sockets[key] = socket
            if name not in ("PUB", "PUSH"):
                poller.register(socket, zmqcy.POLLIN)
    print(json.dumps({key: socket.last_endpoint for key, socket in sockets.items()}), flush=True)
    keys = {id(socket): key for key, socket in sockets.items()}

    def answer(socket, key):
        for _ in range(100):
            try:
                message = socket.recv_multipart(zmqcy.DONTWAIT)
            except zmqcy.ZMQError:
                return
            received[key] += 1
            news = socket.type == zmqcy.STREAM and not message[1]  # a connection was opened or closed
            if key.split()[0] in ECHO and not news:
                try:
                    socket.send_multipart(message, zmqcy.DONTWAIT)
                except zmqcy.ZMQError:
                    received[f"{key} unanswered"] += 1

    while True:
        for thing, _ in poller.poll(5):
            if thing is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    for monitor in monitors.values():
                        monitor.close()
                    for socket in sockets.values():
                        socket.close()
                    context.term()
                    zap.join()
                    return
                for key in json.loads(line).get("close", []):
                    poller.unregister(sockets[key])
                    monitors.pop(key).close()
                    sockets.pop(key).close()
                for key, monitor in monitors.items():
                    for event in itertools.islice(iter(monitor.try_recv, None), 1000):  # there may be endlessly many
                        events[f"{key}: {event.name}: {event.reason}"] += 1
                print(json.dumps({"events": events, "received": received}), flush=True)
                events.clear()
            else:
                answer(thing, keys[id(thing)])
        for key, socket in sockets.items():
            if key.split()[0] in SEND:
                with contextlib.suppress(zmqcy.ZMQError):  # there is no peer, or a REQ waits for its answer
                    socket.send(b"tick")


class Host:
    """A running host process, for a `with` block. At its end the process must still run, and exit without errors."""

    def __init__(self, types=TYPES, kinds=None, watch=True, **options):
        self.arguments = json.dumps([list(types), kinds or mechanisms(), options, watch])

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, self.arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.endpoints = json.loads(self.process.stdout.readline())
        self.events = collections.Counter()
        return self

    def __exit__(self, kind, *exception):
        if kind is not None:
            self.process.kill()
        _, errors = self.process.communicate(timeout=30)
        if kind is None:
            assert (self.process.returncode, errors) == (0, ""), errors

    def report(self, **command):
        """Return the number of messages that each socket has received, and add monitor events to `events`.

        `close` is a list of keys of `endpoints`: their sockets are closed first.
        """
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the process died with {self.process.wait()}: {self.process.stderr.read()}"
        answer = json.loads(line)
        self.events.update(answer["events"])
        return answer["received"]

    def memory(self):
        """Return the resident memory in bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


PARTNERS = {
    "PAIR": "PAIR", "PUB": "SUB", "SUB": "PUB", "REQ": "REP", "REP": "REQ", "DEALER": "DEALER", "ROUTER": "DEALER",
    "PULL": "PUSH", "PUSH": "PULL", "XPUB": "SUB", "XSUB": "PUB", "STREAM": "STREAM",
}  # fmt: skip


def is_served(context, host, key, limit=10_000):
    """Return whether a well-behaved peer is served by a socket of the host. Raise `Again` if it gets nothing."""
    name, mechanism = key.split()
    options = client_options(mechanism) if name != "STREAM" else {}
    if name == "REP":  # an untrusted peer may cause the loss of one reply: send the request again
        options |= {"req_relaxed": True, "req_correlate": True}
    with context.socket(getattr(zmqcy, PARTNERS[name]), linger=0, rcvtimeo=limit, sndtimeo=limit, **options) as peer:
        if peer.type == zmqcy.SUB:
            peer.subscribe(b"")
        before = host.report().get(key, 0)
        peer.connect(host.endpoints[key])
        if name in SEND:
            return peer.recv() == b"tick"
        if name in ("PULL", "SUB", "XSUB"):
            for _ in range(limit):
                peer.send(b"good")
                if host.report().get(key, 0) > before:
                    return True
            return False
        if name == "STREAM":
            identity, _ = peer.recv_multipart()
            peer.send_multipart([identity, b"good"])
            return peer.recv_multipart()[1] == b"good"
        peer.send(b"good")
        while name == "REP" and not peer.poll(1000) and limit > 0:
            peer.send(b"good")
            limit -= 1000
        while name == "DEALER" and limit > 0 and (not peer.poll(10) or peer.recv() != b"good"):
            peer.send(b"good")  # a DEALER sends round-robin, so other peers may get the answer
            limit -= 10
        if name == "DEALER":
            return limit > 0
        return peer.recv() == b"good"


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
