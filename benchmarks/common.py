"""What the benchmarks share: the C baseline, processes in turns, ratios of medians, tables and JSON."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PEER = HERE / "peer.py"
LIMIT = 60  # seconds after which a rival that hangs is cut off
LIBRARIES = {"zmqcy": "zmqcy", "pyzmq": "zmq", "pyomq": "pyomq"}


class Failed(Exception):
    """A rival that hung, crashed or said nothing."""


def baseline() -> str:
    """Compile baseline.c if that was not done since it changed, against the libzmq that zmqcy is built with."""
    target = HERE / "results" / "baseline"
    source = HERE / "baseline.c"
    RESULTS.mkdir(exist_ok=True)
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libzmq"], capture_output=True, text=True, check=True
        )
        subprocess.run(["cc", "-O2", "-o", target, source, *flags.stdout.split()], check=True)
    return str(target)


def bare(command: list[str]) -> list[str]:
    """Return a Python rival's command, to be run by an interpreter that has loaded nothing for its site-packages."""
    import zmqcy

    places = [str(Path(zmqcy.__file__).parent.parent), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return ["env", "PYTHONPATH=" + os.pathsep.join(dict.fromkeys(places)), command[0], "-S", *command[1:]]


def rivals(*names: str) -> dict[str, list[str]]:
    """Return the command that each rival's works begin with; a library that is not installed is left out."""
    commands = {}
    for name in names:
        if name == "C":
            commands[name] = [baseline()]
        elif importlib.util.find_spec(LIBRARIES[name]):
            commands[name] = [sys.executable, str(PEER), LIBRARIES[name]]
        else:
            print(f"{name} is not installed: left out (pip install --group bench)", file=sys.stderr)
    return commands


class Process:
    """A work that runs: its output line by line, and its end."""

    def __init__(self, command: list[str], *arguments: object):
        words = [*command, *map(str, arguments)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.words = words

    def line(self) -> str:
        signal.signal(signal.SIGALRM, self._late)
        signal.alarm(LIMIT)
        try:
            line = self.process.stdout.readline()
        finally:
            signal.alarm(0)
        if not line:
            raise Failed(f"{' '.join(self.words[-4:])}: no output, exit code {self.process.wait()}")
        return line.strip()

    def _late(self, *_: object) -> None:
        raise Failed(f"{' '.join(self.words[-4:])}: hung for {LIMIT} s")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stdin.close()
        if exception[0] is None:
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        else:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def alone(command: list[str], work: str, *arguments: object) -> float:
    """Run a work that needs no peer; return its rate."""
    with Process(command, work, *arguments) as process:
        return float(process.line())


def two(receiver: list[str], sender: list[str], works: tuple[str, str], url: str, size: int, count: int) -> float:
    """Run a work in two processes: the first of the two binds; whichever measures prints the rate."""
    with Process(receiver, works[0], url, size, count) as first:
        endpoint = first.line()
        with Process(sender, works[1], endpoint, size, count) as second:
            return float((second if works[1] == "req" else first).line())


def in_turns(name: str, runs: dict, rounds: int) -> dict[str, list[float]]:
    """Run each rival's function once a round, in turns that begin with another one each time."""
    rates: dict[str, list[float]] = {rival: [] for rival in runs}
    order = list(runs)
    failed: dict[str, str] = {}
    for number in range(rounds + 1):  # the first round warms up
        for rival in order[number % len(order) :] + order[: number % len(order)]:
            if rival in failed:
                continue
            try:
                rate = runs[rival]()
            except Failed as error:
                failed[rival] = str(error)
                print(f"{name}: {rival} is cut off: {error}", file=sys.stderr)
            else:
                if number:
                    rates[rival].append(rate)
    return {rival: values for rival, values in rates.items() if values and rival not in failed}


def summary(rates: dict[str, list[float]], ours: str = "zmqcy") -> list[dict]:
    """Return a row a rival: median, min, max, and the ratio of our median to its (with that of the paired rounds)."""
    mine = statistics.median(rates[ours])
    rows = []
    for rival, values in rates.items():
        paired = [a / b for a, b in zip(rates[ours], values, strict=False)]
        rows.append({
            "rival": rival,
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "ratio": mine / statistics.median(values),
            "ratio_min": min(paired),
            "ratio_max": max(paired),
        })  # fmt: skip
    return rows


def show(name: str, unit: str, rows: list[dict]) -> None:
    print(f"\n{name}  [{unit}]")
    print(f"{'':10}{'median':>14}{'min':>14}{'max':>14}   zmqcy is ... times as fast (paired rounds)")
    for row in rows:
        ratio = f"{row['ratio']:.2f} ({row['ratio_min']:.2f} - {row['ratio_max']:.2f})"
        print(f"{row['rival']:10}{row['median']:14,.0f}{row['min']:14,.0f}{row['max']:14,.0f}   {ratio}")


def between(
    name: str, unit: str, works: tuple[str, str], plan: list[tuple[str, int, int]], options: argparse.Namespace
) -> dict[str, list[dict]]:
    """Run a pair of works for each transport, size and count of a plan; show and return the tables."""
    folder = ipc_directory()
    tables = {}
    for transport, size, count in plan:
        count = int(count * options.scale)
        url = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{folder}/bench"
        runs = {
            rival: lambda c=command: two(c, c, works, url, size, count)
            for rival, command in rivals("zmqcy", "C", "pyzmq", "pyomq").items()
        }
        title = f"{name} {transport} {size} B"
        tables[title] = summary(in_turns(title, runs, options.rounds))
        show(title, unit, tables[title])
    return tables


def machine() -> dict:
    """Return what the figures depend on: CPU, Python, libraries and commit."""
    import zmqcy

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    facts = {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "zmqcy": zmqcy.__version__,
        "libzmq": zmqcy.zmq_version(),
        "commit": commit,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    for distribution in ("pyzmq", "pyomq"):
        try:
            facts[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "pyzmq" in facts:
        probe = subprocess.run(
            [sys.executable, "-c", "import zmq; print(zmq.zmq_version())"], capture_output=True, text=True
        )
        facts["libzmq of pyzmq"] = probe.stdout.strip()
    return facts


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one that warms up (default 5)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages and three rounds")
    options = parser.parse_args()
    options.scale = 0.1 if options.quick else 1
    options.rounds = 3 if options.quick else options.rounds
    return options


def save(name: str, tables: dict[str, list[dict]]) -> None:
    """Write the tables, with what they depend on, to results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    facts = machine()
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": facts, "tables": tables}, indent=2) + "\n")
    print("\n" + ", ".join(f"{key} {value}" for key, value in facts.items()))


def ipc_directory() -> str:
    """Return a new folder for ipc endpoints, which goes when the process ends."""
    import atexit

    folder = tempfile.mkdtemp(prefix="zmqcy-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
