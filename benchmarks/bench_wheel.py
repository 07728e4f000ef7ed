"""The tuned wheel over tcp, two processes, beside C on the system's libzmq: by size, by batch, and round trips.

zmqcy is that of a wheel whose libzmq has drafts, with Context(tuned=True): that of the Python which ZMQCY_WHEEL_PYTHON
names, or the newest of wheelhouse/, which is installed into results/wheel. Beside it are the same wheel untuned, zmqcy
on the system's libzmq, C on that, pyomq and pyzmq. Where there is no such wheel nothing is measured.
"""

import os
import subprocess
import sys
from functools import cache

from bench_throughput import batch
from common import (
    HERE,
    PEER,
    RESULTS,
    START,
    Cell,
    Failed,
    Table,
    arguments,
    between,
    console_print,
    endpoint,
    label,
    machine,
    measure,
    missing,
    rivals,
)

SIZES = (8, 64, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20)
TRIPS = (8, 1 << 10, 1 << 16)
BATCHES = (1, 10, 100, 1000)
RIVALS = ("C", "pyomq", "pyzmq")
PROBE = """
import zmqcy
with zmqcy.Context(tuned=True) as context:
    print(zmqcy.zmq_version(), "tuned" if context.tuned else "")
"""


def run(*words):
    """Return what a command prints, without the zmqcy of PYTHONPATH in its way; None where it fails."""
    done = subprocess.run(["env", "-u", "PYTHONPATH", *words], cwd=RESULTS, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def wheel_python():
    """Return the Python that has the wheel, or ""; say what is to be done where there is none."""
    RESULTS.mkdir(exist_ok=True)
    python = os.environ.get("ZMQCY_WHEEL_PYTHON", "")
    if not python:
        wheels = sorted((HERE.parent / "wheelhouse").glob("*.whl"), key=lambda path: path.stat().st_mtime)
        home = RESULTS / "wheel"
        python = str(home / "bin" / "python")
        if not wheels:
            console_print(
                "There is no wheel: make wheel LIBZMQ=ARCHIVE makes one, or ZMQCY_WHEEL_PYTHON names one's Python."
            )
            return ""
        run(sys.executable, "-m", "venv", "--clear", home)
        if run(python, "-m", "pip", "install", "-q", "--no-index", wheels[-1]) is None:
            console_print(f"{wheels[-1].name} cannot be installed here.")
            return ""
    said = run(python, "-c", PROBE)
    if said is None or not said.endswith("tuned"):
        console_print(f"The libzmq of {python} has no drafts, or there is no zmqcy: make wheel LIBZMQ=ARCHIVE")
        return ""
    if os.environ.get("ZMQCY_LIBZMQ"):
        raise SystemExit("ZMQCY_LIBZMQ is set: C is to be on the system's libzmq here")
    machine()["libzmq of the wheel"] = said.split()[0]
    return python


def commands(*names):
    """Return the command of each that is there, and whether it is to be tuned."""
    wheel = ["env", "-u", "PYTHONPATH", wheel_python(), str(PEER), "zmqcy"]
    found = {"zmqcy": (wheel, 1), "zmqcy untuned": (wheel, 0)}
    for name, command in rivals("zmqcy", *names).items():
        found["zmqcy, the system's libzmq" if name == "zmqcy" else name] = (command, 0)
    return found


def throughput(name, command, tuned, size, options, number):
    """Return the function of a run; the first of each looks whether every message comes."""
    mode = "batch" if name.startswith("zmqcy") else "single"

    def once():
        rival = name if name in RIVALS else "zmqcy"
        if why := missing(rival, "tcp", mode, command=tuple(command), tuned=tuned):
            raise Failed(why)
        plan = {"mode": mode, "size": size, "batch": number, "seconds": options.seconds}
        if tuned:
            plan["tuned"] = 1
        return between(command, command, ("pull", "push"), endpoint("tcp"), **plan)

    return once


def by_size(size, options):
    runs = {name: throughput(name, *each, size, options, batch(size)) for name, each in commands(*RIVALS).items()}
    table = Table("wheel: throughput over tcp, batch", size, "messages/s", {name: name for name in runs})
    return Cell(f"wheel {label(size, 'bytes')}", runs, [table], options.seconds * 1.1 + START)


def by_batch(size, options):
    runs = {
        name: throughput(name, *each, size, options, 1) for name, each in commands(*RIVALS).items() if name in RIVALS
    }
    tables = []
    group = f"wheel: throughput over tcp, {label(size, 'bytes')} by batch"
    for number in BATCHES:
        of = {name: name for name in runs if name in RIVALS}
        for name, each in commands().items():
            if name in ("zmqcy", "zmqcy untuned"):
                of[name] = f"{name} {number}"
                runs[of[name]] = throughput(name, *each, size, options, number)
        tables.append(Table(group, number, "messages/s", of, axis="messages"))
    return Cell(f"wheel batches {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START)


def round_trips(size, options):
    def trips(command, tuned):
        plan = {"size": size, "seconds": options.seconds, **({"tuned": 1} if tuned else {})}
        return lambda: between(command, command, ("rep", "req"), endpoint("tcp"), **plan)

    runs = {name: trips(*each) for name, each in commands(*RIVALS).items()}
    of = {name: name for name in runs}
    tables = [
        Table("wheel: round trips over tcp", size, "round trips/s", of),
        Table("wheel: round trip p50 over tcp", size, "µs", of, "p50", less=True),
    ]
    return Cell(f"wheel round trips {label(size, 'bytes')}", runs, tables, options.seconds + START)


def cells(options):
    if not wheel_python():
        return []
    sizes, trips = ((8, 1 << 10, 1 << 16), (8,)) if options.quick else (SIZES, TRIPS)
    return [
        *(by_size(size, options) for size in sizes),
        *(by_batch(size, options) for size in (8, 1 << 10)),
        *(round_trips(size, options) for size in trips),
    ]


if __name__ == "__main__":
    options = arguments(__doc__)
    found = cells(options)
    if found:
        measure("wheel", found, options)
