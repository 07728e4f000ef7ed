"""Attack sockets of every type and mechanism: the process must not crash or grow, and must serve well-behaved peers.

    python tests/kit/fuzz_wire.py SECONDS [SEED]

An untrusted peer corrupts a conversation. Or a well-behaved peer uses a proxy that corrupts its data, also after the
handshake of CURVE.
"""

import contextlib
import os
import random
import socket
import struct
import sys
import time

from host import PARTNERS, Host, client_options, is_served
from wire import KINDS, LIMIT, UP, Proxy, command, frame, greeting, handshake, opened, ready, reset, shaken, stranger

import zmqcy

# Max growth of the process's memory in bytes. A sanitizer keeps freed memory.
GROWTH = float("inf") if os.environ.get("ZMQCY_INSTRUMENTED") else 64 << 20


class Wire:
    """Random conversations with a host."""

    def __init__(self, context, host, seed):
        self.context, self.host, self.seed = context, host, seed
        self.rng = random.Random(seed)
        self.open = []
        self.done = 0

    def spoil(self, data):
        """Return data with parts removed, changed or repeated, or with a wrong length."""
        rng, data = self.rng, bytearray(data)
        for _ in range(rng.choice([0, 1, 1, 2, 5])):
            place = rng.randrange(len(data)) if data else 0
            match rng.randrange(6):
                case 0:
                    del data[place:]
                case 1:
                    data[place : place + 1] = bytes([rng.randrange(256)])
                case 2:
                    data[place:place] = rng.randbytes(rng.choice([1, 2, 8, 300]))
                case 3:
                    data[place : place + 8] = struct.pack(">Q", rng.choice([0, 1, 255, 2**31, 2**62, 2**63, 2**64 - 1]))
                case 4:
                    data += data[place:]
                case 5:
                    del data[place : place + rng.randrange(1, 9)]
        return bytes(data)

    def conversation(self, kind, mechanism):
        """Return the bytes of an almost correct conversation with a socket of a type."""
        rng = self.rng
        if rng.random() < 0.1:
            return rng.randbytes(rng.choice([1, 10, 64, 65, 1000, 20_000]))
        if rng.random() < 0.2:
            start = greeting(rng.choice(["1.0", "2.0", "3.0", "3.1"]), kind=rng.choice(KINDS))
        elif mechanism == b"CURVE":
            hello = command(b"HELLO", b"\x01\x00" + bytes(72) + rng.randbytes(32 + 8 + 80))
            initiate = command(b"INITIATE", rng.randbytes(rng.randrange(300)))
            start = greeting(mechanism=mechanism) + hello + initiate
        else:
            partner = PARTNERS.get(kind, "DEALER") if rng.random() < 0.8 else rng.choice(KINDS)
            start = handshake(partner, mechanism)
        frames = [
            frame(b"", 1),
            frame(b"body"),
            frame(b"x" * 300, rng.randrange(2)),
            frame(b"y" * 10_000),
            frame(b"\x01topic"),
            frame(b"\0" + b"t" * 200),
            frame(rng.randbytes(40), rng.randrange(256)),
            frame(b"\0" * 5, 1) + frame(b"", 1) + frame(b"request"),
            command(b"PING", b"\0\x01" + b"context"),
            command(b"PONG"),
            command(b"SUBSCRIBE", b"a"),
            command(b"CANCEL", b"a"),
            command(b"ERROR", b"\x03bad"),
            command(b"MESSAGE", rng.randbytes(40)),
            ready("REQ"),
            b"\x02" + struct.pack(">Q", rng.choice([0, 1, 2**40, 2**63, 2**64 - 1])),
        ]
        return start + b"".join(rng.choices(frames, k=rng.randrange(8)))

    def talk(self):
        key = self.rng.choice(list(self.host.endpoints))
        kind, mechanism = key.split()
        talk = self.conversation(kind, mechanism.encode())
        if mechanism != "CURVE" and kind != "STREAM" and self.rng.random() < 0.4:
            connection = shaken(self.host.endpoints[key], PARTNERS[kind], mechanism)
            with contextlib.suppress(OSError):  # the host may close the connection
                connection.sendall(self.spoil(talk[len(handshake(PARTNERS[kind], mechanism.encode())) :]))
        else:
            connection = stranger(self.host.endpoints[key], self.spoil(talk))
        self.open.append(connection)
        if len(self.open) > 100:
            connection = self.open.pop(self.rng.randrange(len(self.open)))
            self.rng.choice([reset, socket.socket.close])(connection)
        self.done += 1
        opened.clear()  # `open` has them

    def spoil_a_peer(self):
        """Connect a well-behaved peer through a proxy that corrupts one piece of data."""
        key = self.rng.choice([each for each in self.host.endpoints if not each.startswith("STREAM")])
        kind, mechanism = key.split()
        when = self.rng.randrange(8)
        pieces = [0]

        def alter(data, direction):
            if direction == UP:
                pieces[0] += 1
            return self.spoil(data) if direction == UP and pieces[0] == when and len(data) < 4096 else data

        partner = getattr(zmqcy, PARTNERS[kind])
        with Proxy(self.host.endpoints[key]) as proxy:
            proxy.alter = alter
            with self.context.socket(
                partner, linger=0, rcvtimeo=20, sndtimeo=20, reconnect_ivl=1, **client_options(mechanism)
            ) as peer:
                if partner == zmqcy.SUB:
                    peer.subscribe(b"")
                peer.connect(proxy.endpoint)
                for _ in range(3):
                    for action in (lambda: peer.send(b"x" * 40), peer.recv):
                        with contextlib.suppress(zmqcy.ZMQError):
                            action()

    def check(self):
        """Check that well-behaved peers are served, except by a PAIR, which has one peer at a time."""
        for key in self.host.endpoints:
            if not key.startswith("PAIR"):
                try:
                    assert is_served(self.context, self.host, key), f"seed {self.seed}: {key} does not serve"
                except zmqcy.ZMQError as error:
                    raise AssertionError(f"seed {self.seed}: {key} does not serve: {error}") from None

    def run(self, conversations=None, seconds=None):
        self.check()
        memory, descriptors = self.host.memory(), self.host.descriptors()
        end = None if seconds is None else time.monotonic() + seconds
        while time.monotonic() < end if end else self.done < conversations:
            try:
                self.talk()
                if self.done % 100 == 0:
                    self.spoil_a_peer()
                if self.done % 300 == 0:
                    self.check()
                    self.host.report()
            except OSError as error:
                raise AssertionError(f"seed {self.seed}: {error}") from error
        for connection in self.open:
            connection.close()
        self.check()
        # A PAIR ignores other connections while it has a peer: libzmq does not read from them or notice their end.
        self.host.report(close=[key for key in self.host.endpoints if key.startswith("PAIR")])
        deadline = time.monotonic() + LIMIT
        while (left := self.host.descriptors() - descriptors) > 0 and time.monotonic() < deadline:
            self.host.report()
        assert left <= 0, f"seed {self.seed}: {left} file descriptors are left"
        grown = self.host.memory() - memory
        assert grown < GROWTH, f"seed {self.seed}: the process grew by {grown} bytes"


def main(seconds, seed):
    print(f"seed {seed}", flush=True)
    with Host() as host, zmqcy.Context() as context:
        wire = Wire(context, host, seed)
        wire.run(seconds=seconds)
    print(f"{wire.done} conversations")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30))
