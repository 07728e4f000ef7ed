"""Two network namespaces, joined by a link with limited bandwidth and a delay: messages/s and round trips/s."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

from common import arguments, in_turns, rivals, save, show, summary, two

LINKS = {"LAN": (1000, 0.1), "WAN": (100, 10)}  # Mbit/s, ms in each direction
WORK = [("push to pull", 8), ("push to pull", 1024), ("push to pull", 65536), ("req to rep", 8)]
ADDRESSES = ("10.213.0.1", "10.213.0.2")
PACKETS = 4000  # netem's queue includes packets in flight: 1,900 of the smallest ones in 10 ms at 100 Mbit/s


class Refused(Exception):
    """A command that this system does not have or does not allow, with its error."""


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{' '.join(words)}: {' '.join(done.stderr.split())}")


@contextlib.contextmanager
def uninterrupted():
    """Block SIGINT, SIGTERM and SIGHUP, also in commands that start here, until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Network:
    """Two network namespaces and the link between them. A `with` block makes and removes them.

    `shaping` names the queueing discipline of the link: "netem", "tbf" (bandwidth but no delay) or "nothing". `missing`
    lists the errors of those that the kernel refused.
    """

    def __init__(self, bandwidth, delay):
        self.bandwidth, self.delay = bandwidth, delay
        self.names = [f"zmqcy-{os.getpid()}-{end}" for end in "ab"]
        self.made = []
        self.missing = []

    def __enter__(self):
        try:
            with uninterrupted():
                self.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exception):
        self.remove()

    def make(self):
        for name in self.names:
            run("ip", "netns", "add", name)
            self.made.append(name)
        a, b = self.names
        # Both ends are made inside their namespaces, never in the namespace of this process.
        run("ip", "link", "add", "name", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b)
        for name, address in zip(self.names, ADDRESSES, strict=True):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        self.shaping = self.shape()

    def shape(self):
        rate = f"{self.bandwidth}mbit"
        ways = {
            "netem": ["limit", str(PACKETS), "rate", rate, "delay", f"{self.delay}ms"],
            "tbf": ["rate", rate, "burst", "128kb", "latency", "50ms"],
        }
        for kind, words in ways.items():
            try:
                for name in self.names:
                    run("tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", kind, *words)
            except Refused as error:
                self.missing.append(str(error))
            else:
                return kind
        return "nothing"

    def remove(self):
        with uninterrupted():
            while self.made:
                try:
                    run("ip", "netns", "delete", self.made.pop())
                except Refused as error:
                    print(error, file=sys.stderr)  # and continue with the other one

    def inside(self, end, command):
        """Return a command that runs `command` at an end, 0 or 1."""
        return ["ip", "netns", "exec", self.names[end], *command]

    def title(self):
        delay = f"{self.delay} ms in each direction" if self.shaping == "netem" else "no delay"
        bandwidth = "no bandwidth limit" if self.shaping == "nothing" else f"{self.bandwidth} Mbit/s"
        return f"{bandwidth}, {delay}"


def needed(work, size, network, seconds):
    """Return how many messages or round trips take about `seconds`, on this link or with the slowest library."""
    if work == "push to pull":
        pace = min(1_000_000, network.bandwidth * 1e6 / 8 / (size * 1.05 + 2))
    else:
        pace = 500 / network.delay if network.shaping == "netem" else 5000
    return max(2, int(seconds * pace))


def measure(network, command, work, size, count):
    """Run the two parts of a work at the two ends of a network; return the rate."""
    works = {"push to pull": ("pull", "push"), "req to rep": ("rep", "req")}[work]
    ends = [network.inside(end, command) for end in (0, 1)]
    return two(*ends, works, f"tcp://{ADDRESSES[0]}:*", size, count)


def lacking():
    """Return whether this process lacks root, `ip` or `tc`."""
    return os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc"))


def main():
    options = arguments(__doc__)
    if lacking():
        print("two hosts: skipped: needs root and iproute2")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `with` removes the namespaces
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(1))
    seconds = 0.1 if options.quick else 0.5
    rounds = 1 if options.quick else options.rounds
    commands = rivals("zmqcy", "C", "pyzmq", "pyomq")
    tables = {}
    for link, settings in LINKS.items():
        try:
            with Network(*settings) as network:
                print(f"\n{link}: {network.title()}; link shaped by {network.shaping}", flush=True)
                for missing in network.missing:
                    print(f"refused: {missing}", flush=True)
                for work, size in WORK:
                    count = needed(work, size, network, seconds)
                    runs = {
                        name: lambda c=command: measure(network, c, work, size, count)
                        for name, command in commands.items()
                    }
                    title = f"{link} ({network.title()}), {work}, {size} B"
                    tables[title] = summary(in_turns(title, runs, rounds))
                    show(title, "per second", tables[title])
                    for row in tables[title]:
                        row.update(shaping=network.shaping, missing=network.missing)
        except Refused as error:
            print(f"two hosts: skipped: {error}")
            return
    save("network", tables)


if __name__ == "__main__":
    main()
