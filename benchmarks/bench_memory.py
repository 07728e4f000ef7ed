"""Memory growth over millions of messages, and the CPU use of a blocked recv and of idle devices."""

import time

from bench_device import TCP
from common import Cell, Process, Table, arguments, between, measure, result, rivals, words

URL = "tcp://127.0.0.1:*"
MANY = {"size": 20, "count": 10_000_000}
LARGE = {"size": 1 << 20, "count": 10_000}
RUNS = {  # column, library, plan, seconds for the plan
    "20 B": (
        ("zmqcy", "zmqcy", {"mode": "single"}, 3),
        ("zmqcy batch", "zmqcy", {"mode": "batch", "batch": 1000}, 3),
        ("C", "C", {}, 3),
        ("pyzmq", "pyzmq", {}, 7),
    ),
    "1 MB": (
        ("zmqcy", "zmqcy", {}, 6),
        ("zmqcy views", "zmqcy", {"mode": "views"}, 6),
        ("C", "C", {}, 6),
        ("pyzmq", "pyzmq", {}, 6),
    ),
}
FIGURES = (
    ("receiver, growth", "grown"),
    ("receiver, peak", "peak"),
    ("sender, growth", "grown_other"),
    ("sender, peak", "peak_other"),
)
IDLE = 3  # seconds


def growth(title, common, options):
    """Return the memory growth after the first tenth of the messages, which warms up."""
    plan = {**common, "count": int(common["count"] * options.scale), "seconds": 1000}
    runs, cost = {}, 0.0
    for name, rival, more, seconds in RUNS[title]:
        for command in rivals(rival).values():
            every = {**plan, **more}
            runs[name] = lambda c=command, e=every: between(c, c, ("pull", "push"), URL, limit=120, **e)
            cost += seconds * 1.1 * options.scale + 0.2
    group = f"memory growth with messages of {title}"
    unit = f"MB over {plan['count']:,} messages"
    tables = [
        Table(group, what, unit, {name: name for name in runs}, metric, axis="memory", ratios=False, scale=1e-6)
        for what, metric in FIGURES
    ]
    return Cell(group, runs, tables, cost / len(runs), (1 if options.quick else 2, 0))


def idle_recv(command):
    with Process(command, "idle", ".") as process:
        process.line()
        return share(process)


def idle_device(command, work="queue", works=("rep", "req")):
    """Return the CPU use of a device that has forwarded messages and is idle. A queue then holds no messages."""
    c = rivals("C")["C"]
    plan = words({"seconds": 0.05})
    with Process(command, work, TCP, f"back={TCP}") as middle:
        front, back = middle.line(), middle.line()
        with (
            Process(c, works[0], ">" + back, *plan) as behind,
            Process(c, works[1], ">" + front, *plan) as before,
        ):
            result(before if works[1] == "req" else behind, middle)
        time.sleep(0.1)  # until the device has noticed that both disconnected
        return share(middle)


def stuck_device(command):
    """Return the CPU use of a device with messages that it cannot deliver."""
    return idle_device(command, "streamer", ("pull", "push"))


def share(process):
    """Return the CPU use of a process in percent of one core, over the next 3 s."""
    before, start = process.used()[0], time.monotonic()
    time.sleep(IDLE)
    return {"share": (process.used()[0] - before) / (time.monotonic() - start) * 100}


def idle(options):
    commands = rivals("zmqcy") if options.quick else rivals("zmqcy", "C", "pyzmq")
    waits = {"a blocked recv": idle_recv, "an idle device": idle_device}
    if not options.quick:
        waits["a device with undeliverable messages"] = stuck_device
    runs = {
        f"{name}, {what}": lambda c=command, w=wait: w(c)
        for what, wait in waits.items()
        for name, command in commands.items()
    }
    group = "CPU while idle"
    tables = [
        Table(group, what, "%", {name: f"{name}, {what}" for name in commands}, "share", axis="idle", ratios=False)
        for what in waits
    ]
    return Cell(group, runs, tables, IDLE + 0.4, (1 if options.quick else 2, 0))


def cells(options):
    return [growth("20 B", MANY, options), growth("1 MB", LARGE, options), idle(options)]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("memory", cells(options), options)
