"""Send measurements from many processes to a collector that sums them up. Sources never block.

    python metrics_pipeline.py collector ENDPOINT SOURCES   binds; prints the sums when SOURCES sources have finished
    python metrics_pipeline.py source ENDPOINT NAME [COUNT] counts and times COUNT pieces of work (10,000)

A source sends its samples in batches. If the collector is slow or down, samples are queued up to the high-water mark.
Further samples are dropped and counted.
"""

import struct
import sys
import time
from contextlib import suppress

import zmqcy

SAMPLE = struct.Struct("<16sd")  # the name of a sum, and the value to add
BATCH = 500
QUEUE = 100_000  # messages


class Meter:
    """The API for programs: `add` is fast and never blocks."""

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
            with suppress(zmqcy.Again):  # the queue is full
                sent = self.socket.send_many(self.samples, flags=zmqcy.DONTWAIT)
        self.dropped += len(self.samples) - sent
        self.samples.clear()

    def close(self):
        """Send the rest and an end marker; this may block. Then close."""
        self.flush()
        if self.dropped:
            self.socket.send(SAMPLE.pack(b"dropped", self.dropped))
        self.socket.send(b"")
        self.socket.close()


def collect(context, url, sources):
    """Return the sums by name, and the number of samples."""
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
        number * number  # the measured work
        meter.add(f"{name}.done")
        meter.add("seconds", time.perf_counter() - begin)


def main(arguments):
    with zmqcy.Context(linger=10_000) as context:
        match arguments:
            case "collector", url, sources:
                sums, messages = collect(context, url, int(sources))
                print(f"{messages} samples")
                for name in sorted(sums):
                    print(name, f"{sums[name]:.3f}" if name == "seconds" else int(sums[name]))
            case "source", url, name, *count:
                meter = Meter(context, url)
                work(meter, name, int(*count or [10_000]))
                meter.close()
            case _:
                sys.exit(__doc__ or "wrong arguments: see the top of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
