"""Numbers from many processes to one that adds them up, without holding anybody up.

    python metrics_pipeline.py collector ENDPOINT SOURCES   it binds, and prints sums when so many sources have ended
    python metrics_pipeline.py source ENDPOINT NAME [COUNT] count and time so many pieces of work (10,000)

A source collects its numbers and sends them in batches. Where the collector is slow or away they stay in the queue, up
to the high-water mark; what finds no room after that is dropped and counted: the work matters more than its numbers.
"""

import struct
import sys
import time
from contextlib import suppress

import zmqcy

SAMPLE = struct.Struct("<16sd")  # the name of a number, and what to add to it
BATCH = 500
QUEUE = 100_000  # messages


class Meter:
    """What a program uses: `add` is cheap, and never waits."""

    def __init__(self, context, url):
        self.socket = context.socket(zmqcy.PUSH, sndhwm=QUEUE)
        self.socket.connect(url)
        self.samples = []
        self.dropped = 0

    def add(self, name, value=1.0):
        self.samples.append(SAMPLE.pack(name.encode(), value))
        if len(self.samples) >= BATCH:
            self.flush()

    def flush(self):
        sent = 0
        if self.samples:
            with suppress(zmqcy.Again):  # nothing found room
                sent = self.socket.send_many(self.samples, flags=zmqcy.DONTWAIT)
        self.dropped += len(self.samples) - sent
        self.samples.clear()

    def close(self):
        """Send the rest, and the end, for which it waits; then close."""
        self.flush()
        if self.dropped:
            self.socket.send(SAMPLE.pack(b"dropped", self.dropped))
        self.socket.send(b"")
        self.socket.close()


def collect(context, url, sources):
    """Return the sums by name, and how many messages they were made of."""
    with context.socket(zmqcy.PULL, rcvhwm=QUEUE) as socket:
        print("ready on", socket.bind(url).endpoint, flush=True)
        sums: dict[bytes, float] = {}
        messages = 0
        while sources:
            for sample in socket.recv_many(10_000):
                if not sample:
                    sources -= 1
                    continue
                messages += 1
                name, value = SAMPLE.unpack(sample)
                sums[name] = sums.get(name, 0.0) + value
    return {name.rstrip(b"\0").decode(): value for name, value in sums.items()}, messages


def work(meter, name, count):
    for number in range(count):
        begin = time.perf_counter()
        number * number  # what is measured
        meter.add(f"{name}.done")
        meter.add("seconds", time.perf_counter() - begin)


def main(arguments):
    with zmqcy.Context(linger=10_000) as context:
        match arguments:
            case "collector", url, sources:
                sums, messages = collect(context, url, int(sources))
                print(f"{messages} numbers")
                for name in sorted(sums):
                    print(name, f"{sums[name]:.3f}" if name == "seconds" else int(sums[name]))
            case "source", url, name, *count:
                meter = Meter(context, url)
                work(meter, name, int(*count or [10_000]))
                meter.close()
            case _:
                sys.exit(__doc__ or "wrong arguments: see the head of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
