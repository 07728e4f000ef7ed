"""Time per call in one thread (measured by pyperf for Python libraries), and time per import."""

import compileall
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from common import HERE, LIBRARIES, LIMIT, Cell, Failed, Table, alone, arguments, bare, measure, numbers, rivals

import zmqcy

CALLS = {  # by the names of baseline.c and calls.py: title, libraries
    "pair": ("send and recv of 8 B, PAIR over inproc", ("zmqcy", "C", "pyzmq", "pyomq", "pynng")),
    "parts": ("send_multipart and recv_multipart of three parts", ("zmqcy", "C", "pyzmq", "pyomq")),
    "empty": ("non-blocking recv without a message", ("zmqcy", "C", "pyzmq", "pyomq")),
    "get": ("read an option", ("zmqcy", "C", "pyzmq", "pyomq")),
    "set": ("set an option", ("zmqcy", "C", "pyzmq", "pyomq")),
}
IMPORTS = {
    "import": ("import", "import {0}"),
    "first": ("import, context and first socket", "import {0}; {0}.Context().socket({0}.PUSH)"),
}
TIMED = (
    "import os, time; start = time.perf_counter(); {0}; print('ms=%f' % ((time.perf_counter() - start) * 1e3)); "
    "import sys; sys.stdout.flush(); os._exit(0)"
)
# Loops per value. pyperf runs all calls of a library in one process. pyomq's inproc is hundreds of times slower in one
# thread.
LOOPS = {"zmqcy": 10_000, "pyzmq": 10_000, "pyomq": 500, "pynng": 500}
PYPERF = ("--quiet", "--processes=1", "--warmups=1", "--values=5", "--inherit-environ=PYTHONPATH")


def output(*command):
    """Run a command; return its output."""
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=3 * LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed(f"hung: did not exit within {3 * LIMIT} s") from None
    if done.returncode:
        errors = re.findall(r"^\S*(?:Error|Exception)\b.*", done.stderr, re.M)  # the first is of pyperf's worker
        raise Failed(errors[0] if errors else f"exit code {done.returncode}")
    return done.stdout


def by_pyperf(name):
    """Return nanoseconds per call, for each call of a library."""
    import pyperf

    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "pyperf.json")
        output(sys.executable, HERE / "calls.py", LIBRARIES[name], *PYPERF, f"--loops={LOOPS[name]}", "-o", file)
        suite = pyperf.BenchmarkSuite.load(file)
    return {each.get_name(): each.median() * 1e9 for each in suite.get_benchmarks()}


def by_c(command, options):
    return {work: 1e9 / alone(command, work, ".", seconds=options.seconds / 5)["rate"] for work in CALLS}


def cells(options):
    commands = rivals("zmqcy", "C", "pyzmq", "pyomq", "pynng")
    runs = {
        name: (lambda c=command: by_c(c, options)) if name == "C" else (lambda n=name: by_pyperf(n))
        for name, command in commands.items()
    }
    tables = [
        Table("calls in one thread", title, "ns", {name: name for name in commands if name in names}, work, less=True)
        for work, (title, names) in CALLS.items()
    ]
    imports = {
        f"{name} {work}": lambda n=name, c=code: numbers(
            output(*bare([sys.executable, "-c", TIMED.format(c.format(LIBRARIES[n]))]))
        )
        for work, (_, code) in IMPORTS.items()
        for name in rivals("zmqcy", "pyzmq", "pyomq", "pynng")
        if not (work == "first" and name == "pynng")
    }
    of_imports = [
        Table("imports", title, "ms", {run.split()[0]: run for run in imports if run.endswith(work)}, "ms", less=True)
        for work, (title, _) in IMPORTS.items()
    ]
    return [
        Cell("calls", runs, tables, 1.6, options.fewer),
        Cell("imports", imports, of_imports, 0.12),
    ]


if __name__ == "__main__":
    options = arguments(__doc__)
    compileall.compile_dir(Path(zmqcy.__file__).parent, quiet=1)  # pip did this for the other libraries
    measure("calls", cells(options), options)
