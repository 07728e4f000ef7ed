"""Devices in a thread, in a process and from the command line, with capture and metrics, and idle; `zmqcy info`."""

import socket
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack

from bench_device import STREAMED, TCP
from bench_memory import share
from common import START, Cell, Process, Table, arguments, label, measure, result, rivals, words

IDLE = 100  # devices
SCRAPED = 1.0  # seconds per run with metrics
SCRAPES = 0.2  # seconds between two requests for metrics
COMMAND = [sys.executable, "-m", "zmqcy"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def between(front, back, size, seconds, middle, capture=None):
    """Send messages from C through a device to C; return the results of the receiver."""
    c = rivals("C")["C"]
    plan = words({"size": size, "seconds": seconds})
    with ExitStack() as stack:
        if capture:
            stack.enter_context(Process(c, "pull", ">" + capture, *words({"size": size, "seconds": 1000})))
        behind = stack.enter_context(Process(c, "pull", ">" + back, *plan))
        stack.enter_context(Process(c, "push", ">" + front, *plan))
        return result(behind, middle)


def run_work(command, work, size, seconds, mode="", captured=False):
    """Measure a device that a work of peer.py or baseline.c runs."""
    plan = {"size": size, "back": TCP, "mode": mode, **({"capture": TCP} if captured else {})}
    with Process(command, work, TCP, *words({key: value for key, value in plan.items() if value})) as middle:
        front, back, *rest = (middle.line() for _ in range(2 + captured))
        return between(front, back, size, seconds, middle, *rest)


def run_command(size, seconds, metrics=False):
    """Measure a device that ``zmqcy device`` runs."""
    front, back, page = (f"127.0.0.1:{free_port()}" for _ in range(3))
    most = max(4, min(1000, (64 << 20) // size))
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write('kind = "STREAMER"\n')
        for side, place in (("front", front), ("back", back)):
            config.write(f'[{side}]\nendpoints = "tcp://{place}"\n')
            config.write(f"options = {{ backlog = 4096, sndhwm = {most}, rcvhwm = {most} }}\n")
        config.flush()
        more = ["--metrics", page] if metrics else []
        with Process([*COMMAND, "device", "--config", config.name, *more]) as middle, ExitStack() as stack:
            if metrics:
                stack.enter_context(Process([sys.executable, __file__, "--read", f"http://{page}/metrics"]))
            try:
                return between(f"tcp://{front}", f"tcp://{back}", size, seconds, middle)
            finally:
                middle.process.terminate()


def read_metrics(url):
    """Request the metrics every 0.2 s, as Prometheus does less often, until stdin is closed."""
    import select

    while not select.select([sys.stdin], [], [], SCRAPES)[0]:
        try:
            urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            continue  # the page is not up yet, or already closed


def forwarding(size, options):
    ours, c = rivals("zmqcy", "C").values()
    seconds = options.seconds
    ways = {
        "zmqcy, thread": lambda: run_work(ours, "service", size, seconds, "thread"),
        "zmqcy, process": lambda: run_work(ours, "service", size, seconds, "process"),
        "zmqcy, command": lambda: run_command(size, seconds),
        "C": lambda: run_work(c, "streamer", size, seconds),
    }
    tables = [
        Table(
            f"streamer {where} compared with C over tcp",
            size,
            "messages/s",
            {"zmqcy": f"zmqcy, {run}", "C": "C"},
        )
        for where, run in (("in a thread", "thread"), ("in a process", "process"), ("from the command line", "command"))
    ]
    if size < 1 << 16:
        ways["zmqcy, captured"] = lambda: run_work(ours, "service", size, seconds, "thread", captured=True)
        ways["C, captured"] = lambda: run_work(c, "streamer", size, seconds, captured=True)
        with_capture = {"zmqcy": "zmqcy, captured", "C": "C, captured"}
        tables.append(Table("streamer with capture compared with C over tcp", size, "messages/s", with_capture))
    return Cell(f"services {label(size, 'bytes')}", ways, tables, seconds * 1.1 + START, options.fewer)


def metrics(options):
    runs = {
        "zmqcy": lambda: run_command(1024, SCRAPED, metrics=True),
        "without metrics": lambda: run_command(1024, SCRAPED),
    }
    table = Table("streamer with metrics read five times per second", 1024, "messages/s", {name: name for name in runs})
    return Cell("metrics", runs, [table], SCRAPED * 1.1 + START, (1 if options.quick else 3, 1))


def idle(options):
    def many(command):
        plan = words({"back": TCP, "mode": "thread", "peers": IDLE})
        with Process(command, "service", TCP, *plan) as process:
            process.line()
            time.sleep(0.5)
            return share(process)

    runs = {"zmqcy": lambda: many(rivals("zmqcy")["zmqcy"])}
    group, what = "CPU of idle devices in one process", f"{IDLE} devices"
    table = Table(group, what, "%", {"zmqcy": "zmqcy"}, "share", axis="idle", ratios=False)
    return Cell("idle devices", runs, [table], 4, (1, 0))


def start_of_the_command(options):
    def timed():
        begin = time.perf_counter()
        with Process([*COMMAND, "info", "--json"]) as process:
            while process.process.stdout.read(65536):
                pass
        return {"ms": (time.perf_counter() - begin) * 1000}

    table = Table("zmqcy info", "from start to exit", "ms", {"zmqcy": "zmqcy"}, "ms", less=True, ratios=False)
    return Cell("zmqcy info", {"zmqcy": timed}, [table], 0.2)


def cells(options):
    through = [forwarding(size, options) for size in (STREAMED[:1] if options.quick else STREAMED)]
    return [*through, metrics(options), idle(options), start_of_the_command(options)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read_metrics(sys.argv[2])
    else:
        options = arguments(__doc__)
        measure("service", cells(options), options)
