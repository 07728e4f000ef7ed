"""A streamer and a queue over tcp, between two C programs: messages/s and round trips/s.

Also the overhead of a filter: a C hook that does nothing, and a Python function that returns its messages unchanged.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from common import HERE, RESULTS, START, Cell, Process, Table, arguments, label, measure, result, rivals, words

import zmqcy

STREAMED = (8, 1 << 10, 1 << 16)
FILTERED = (8, 1 << 10)
FILTERS = {"zmqcy": "single", "zmqcy, C hook": "hook", "zmqcy, Python filter": "filter", "C": ""}
TCP = "@tcp://127.0.0.1:*"


@cache
def build_hook():
    """Compile bench_hook.pyx against the measured zmqcy."""
    folder = RESULTS / "hook"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "bench_hook.pyx", folder)
    text = (HERE.parent / "examples" / "cython_hook" / "setup.py").read_text()
    (folder / "setup.py").write_text(text.replace("guard", "bench_hook"))
    environment = {**os.environ, "PYTHONPATH": str(Path(zmqcy.__file__).parent.parent)}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def through(device, work, c, works, mode="", **plan):
    """Run a work in C through a device that the command starts. The receiver or the requester measures."""
    if mode == "hook":
        build_hook()
    with Process(device, work, TCP, f"back={TCP}", *([f"mode={mode}"] if mode else [])) as middle:
        front, back = middle.line(), middle.line()
        with (
            Process(c, works[0], ">" + back, *words(plan)) as behind,
            Process(c, works[1], ">" + front, *words(plan)) as before,
        ):
            return result(before if works[1] == "req" else behind, middle)


def cell(work, size, options):
    c = rivals("C")["C"]
    works, group, unit = {
        "streamer": (("pull", "push"), "streamer between two C programs over tcp", "messages/s"),
        "queue": (("rep", "req"), "queue between two C programs over tcp", "round trips/s"),
    }[work]
    runs = {
        name: lambda d=command: through(d, work, c, works, size=size, seconds=options.seconds)
        for name, command in rivals("zmqcy", "C", "pyzmq", "pyomq").items()
    }
    tables = [Table(group, size, unit, {name: name for name in runs})]
    return Cell(f"{work} {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START, options.fewer)


def filtering(size, options):
    """Return the cell of a streamer with a filter, compared with one without a filter and with zmq_proxy."""
    c = rivals("C")["C"]
    ours = rivals("zmqcy")["zmqcy"]
    runs = {
        name: lambda d=c if name == "C" else ours, m=mode: through(
            d, "streamer", c, ("pull", "push"), m, size=size, seconds=options.seconds
        )
        for name, mode in FILTERS.items()
    }
    group = "streamer with a filter between two C programs over tcp"
    tables = [Table(group, size, "messages/s", {name: name for name in runs})]
    return Cell(f"filter {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START, options.fewer)


def cells(options):
    streamed, filtered = (STREAMED[:1], FILTERED[:1]) if options.quick else (STREAMED, FILTERED)
    return [
        *(cell("streamer", size, options) for size in streamed),
        cell("queue", 8, options),
        *(filtering(size, options) for size in filtered),
    ]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("device", cells(options), options)
