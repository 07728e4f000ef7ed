"""Shared code of the benchmarks: processes, rounds, ratios of medians, tables and JSON."""

from __future__ import annotations

import argparse
import atexit
import compileall
import importlib.metadata
import importlib.util
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PEER = HERE / "peer.py"
LIMIT = 10  # seconds without output after which a library counts as hung, and is cut off
START = 0.25  # seconds that the processes of a run take to start and exit, for the plan
LIBRARIES = {
    "zmqcy": "zmqcy", "pyzmq": "zmq", "pyomq": "pyomq", "pynng": "pynng", "uvloop": "uvloop", "ipykernel": "ipykernel",
}  # fmt: skip
COMPAT = "zmqcy.compat"  # runs the works written for pyzmq
CONTEXT = {"asyncio streams": "streams", "multiprocessing.Pipe": "Pipe"}  # the standard library, for context
TRANSPORTS = ("tcp", "ipc", "inproc")


class Failed(Exception):
    """A library hung, crashed or lost messages."""


# ---- libraries


def baseline() -> str:
    """Compile baseline.c against the libzmq that zmqcy has loaded, if either has changed; return the program."""
    import zmqcy

    target, source, made = RESULTS / "baseline", HERE / "baseline.c", RESULTS / "baseline.txt"
    RESULTS.mkdir(exist_ok=True)
    library = Path(zmqcy.get_library() or "")
    include = library.parent.parent / "include"
    if (include / "zmq.h").is_file():
        flags = [f"-I{include}", str(library), f"-Wl,-rpath,{library.parent}"]
    else:
        words = ["pkg-config", "--cflags", "--libs", "libzmq"]
        flags = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    command = ["cc", "-O2", "-pthread", "-o", str(target), str(source), *flags]
    state = f"{command}\n{source.read_text()}"
    if not (target.exists() and made.exists() and made.read_text() == state):
        subprocess.run(command, check=True)
        made.write_text(state)
    return str(target)


def bare(command: list[str]) -> list[str]:
    """Return a Python command that runs without site, so that no .pth file loads modules before the measurement."""
    import zmqcy

    places = [str(Path(zmqcy.__file__).parent.parent), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return ["env", "PYTHONPATH=" + os.pathsep.join(dict.fromkeys(places)), command[0], "-S", *command[1:]]


@cache
def installed(name: str) -> bool:
    if name in ("C", COMPAT) or name in CONTEXT or importlib.util.find_spec(LIBRARIES[name]):
        return True
    print(f"{name} is not installed: skipped (pip install --group bench)", file=sys.stderr)
    return False


def rivals(*names: str) -> dict[str, list[str]]:
    """Return the command of each library that runs its works. Libraries that are not installed are skipped."""
    python = {name: [sys.executable, str(PEER), library] for name, library in {**LIBRARIES, **CONTEXT}.items()}
    python[COMPAT] = [sys.executable, "-m", COMPAT, str(PEER), LIBRARIES["pyzmq"]]
    return {name: [baseline()] if name == "C" else python[name] for name in names if installed(name)}


def loops() -> list[str]:
    """Return the installed event loops."""
    return ["asyncio", *(["uvloop"] if installed("uvloop") else [])]


def compiled() -> None:
    """Compile the libraries to bytecode, in case PYTHONDONTWRITEBYTECODE is set."""
    for name in ("asyncio", *LIBRARIES.values()):
        spec = importlib.util.find_spec(name)
        for folder in spec.submodule_search_locations if spec else []:
            compileall.compile_dir(folder, quiet=2)


# ---- processes


class Process:
    """A process that runs a work; read its output line by line."""

    def __init__(self, command: list[str], *arguments: object):
        self.words = [*command, *map(str, arguments)]
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the process has exited
        self.process = subprocess.Popen(
            self.words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,
            cwd=HERE,  # a folder without zmqcy, which `python -m` would import instead of the installed one
        )
        self.rest = b""

    def line(self, limit: float = LIMIT, others: tuple[Process, ...] = ()) -> str:
        """Return the next line. Raise Failed after `limit` seconds, or if this process or one of `others` fails."""
        deadline = time.monotonic() + limit
        output = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            if select.select([output], [], [], 0.1)[0]:
                read = os.read(output, 65536)
                if not read:
                    raise Failed(self.reason())
                self.rest += read
            elif time.monotonic() > deadline:
                raise Failed(f"hung: no output for {limit:g} s")
            for other in others:
                if other.process.poll():
                    raise Failed(other.reason())
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode().strip()

    def write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # `line` reports a process that has exited
            self.process.stdin.write(line.encode() + b"\n")

    def reason(self) -> str:
        """Return why the process has exited: the last line of its stderr, or its exit code."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"

    def used(self) -> tuple[float, int, int]:
        """Return the CPU time in seconds, and resident memory and its peak in bytes."""
        pid = self.process.pid
        try:
            # The CPU clock of another process, as clock_getcpuclockid() returns it on Linux: finer than /proc's ticks.
            seconds = time.clock_gettime((~pid << 3) | 2)
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            return seconds, *(int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        except (AttributeError, OSError, KeyError) as error:
            raise Failed(f"CPU time and memory of another process cannot be read here: {error}") from None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()  # a work exits when its stdin is closed
        if exception[0] is None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def words(plan: dict[str, object]) -> list[str]:
    return [f"{key}={value}" for key, value in plan.items()]


def numbers(line: str) -> dict[str, float]:
    """Return the output of a work, KEY=VALUE words or one number, as a dict."""
    pairs = (word.rpartition("=") for word in line.split())
    return {key or "rate": float(value) for key, _, value in pairs}


def result(process: Process, *others: Process, limit: float = LIMIT) -> dict[str, float]:
    """Return the results of a process, with the CPU time and memory that it and `others` used during the measurement.

    `cpu` is the CPU time of all in microseconds per message. `grown` and `peak` are the growth of the resident memory
    of the process in bytes, at the end and at its peak; `grown_other` and `peak_other` are those of the first other.
    """
    all_of_them = (process, *others)
    process.line(limit, others)
    try:
        before = [each.used() for each in all_of_them]
    except Failed:
        return numbers(process.line(limit, others))
    measured = numbers(process.line(limit, others))
    after = [each.used() for each in all_of_them]
    used = [[b - a for a, b in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]
    measured["cpu"] = sum(each[0] for each in used) / measured["count"] * 1e6
    for name, (_, size, _), (_, start, _), (_, _, peak) in zip(("", "_other"), used, before, after, strict=False):
        measured |= {f"grown{name}": size, f"peak{name}": peak - start}
    return measured


def alone(command: list[str], work: str, *arguments: object, **plan: object) -> dict[str, float]:
    """Run a work that needs no peer; return its results."""
    with Process(command, work, *arguments, *words(plan)) as process:
        return result(process)


def between(
    binds: list[str], connects: list[str], works: tuple[str, str], url: str, *, limit: float = LIMIT, **plan: object
) -> dict[str, float]:
    """Run two works in two processes; the first binds. The first measures, unless the second is req, sub or dealer."""
    with (
        Process(binds, works[0], "@" + url, *words(plan)) as first,
        Process(connects, works[1], "-", *words(plan)) as second,
    ):
        second.write(first.line(limit))
        ends = (second, first) if works[1] in ("req", "sub", "dealer") else (first, second)
        return result(*ends, limit=limit)


def two(binds: list[str], connects: list[str], works: tuple[str, str], url: str, size: int, count: int) -> float:
    """Run two works in two processes until `count` messages have passed; return the rate."""
    return between(binds, connects, works, url, limit=60, size=size, count=count, seconds=1000)["rate"]


def over(transport: str, command: list[str], works: tuple[str, str], **plan: object) -> dict[str, float]:
    """Run two works of a library over a transport: in two processes, or for inproc in two threads or tasks."""
    if transport == "inproc":
        return alone(command, *inproc(works, **plan), **plan)
    return between(command, command, works, endpoint(transport), **plan)


def inproc(works: tuple[str, str], loop: str = "", **plan: object) -> tuple[str, ...]:
    """Return the arguments that run two works over inproc: as tasks if there is a loop, otherwise as threads."""
    return ("+".join(works), "@inproc://bench") if loop else ("threads", *works)


def endpoint(transport: str) -> str:
    return "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{ipc_directory()}/{time.monotonic_ns()}"


@cache
def ipc_directory() -> str:
    """Return a new folder for ipc endpoints, which is removed when the process exits."""
    folder = tempfile.mkdtemp(prefix="zmqcy-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def missing(name: str, transport: str, mode: str = "single", count: int = 20_000, loop: str = "") -> str:
    """Send `count` numbered messages through a library; return an error if one is lost or out of order, or ""."""
    command = rivals(name)[name]
    works = ("check", "number")
    plan = words({"mode": mode, "batch": 100, "count": count} | ({"loop": loop} if loop else {}))
    try:
        if transport == "inproc":
            with Process(command, *inproc(works, loop), *plan) as process:
                lost = numbers(process.line())["missing"]
        else:
            with (
                Process(command, works[0], "@" + endpoint(transport), *plan) as first,
                Process(command, works[1], "-", *plan) as second,
            ):
                second.write(first.line())
                lost = numbers(first.line(others=(second,)))["missing"]
    except Failed as error:
        return str(error)
    return f"loses messages: {lost:,.0f} of {count:,}" if lost else ""


# ---- rounds


def in_turns(
    name: str,
    runs: dict[str, Callable],
    rounds: int,
    failed: dict[str, str] | None = None,
    warm: int = 1,
    tick: Callable = lambda: None,
) -> dict[str, list]:
    """Run the function of each library once per round; return the results. Each round starts with the next library.

    The first `warm` rounds warm up and are dropped. A function that raises Failed is dropped from later rounds and from
    the result; `failed` receives the reason.
    """
    values: dict[str, list] = {rival: [] for rival in runs}
    order = list(runs)
    failed = {} if failed is None else failed
    for number in range(rounds + warm):
        for rival in order[number % len(order) :] + order[: number % len(order)]:
            tick()
            if rival in failed:
                continue
            try:
                value = runs[rival]()
            except Failed as error:
                failed[rival] = str(error)
                console_print(f"{name}: {rival} is cut off: {error}")
            else:
                if number >= warm:
                    values[rival].append(value)
    return {rival: each for rival, each in values.items() if each and rival not in failed}


def summary(rates: dict[str, list[float]], ours: str = "zmqcy", less: bool = False) -> list[dict]:
    """Return one row per library: median, min, max, and the ratio of our median to its median.

    Where `less` is better, the ratio is inverted. `ratio_min` and `ratio_max` are the ratios of paired rounds. There is
    no ratio where our figure is missing, or where a figure is 0.
    """
    mine = rates.get(ours)
    rows = []
    for rival, values in rates.items():
        row = {"rival": rival, "median": statistics.median(values), "min": min(values), "max": max(values)}
        if mine and min(*mine, *values) > 0:
            paired = [a / b for a, b in zip(mine, values, strict=False)]
            paired = [1 / ratio for ratio in paired] if less else paired
            ratio = statistics.median(mine) / row["median"]
            row |= {
                "ratio": 1 / ratio if less else ratio,
                "ratio_min": min(paired),
                "ratio_max": max(paired),
            }
        rows.append(row)
    return rows


# ---- cells of tables


@dataclass
class Table:
    """One figure of some runs of a cell, each under the name of a library."""

    group: str  # tables of one group are the points of a curve or the rows of a list
    x: float | str
    unit: str
    of: dict[str, str]  # library: run
    metric: str = "rate"
    axis: str = "bytes"
    less: bool = False  # smaller is better
    ratios: bool = True
    scale: float = 1

    @property
    def title(self) -> str:
        return f"{self.group}, {label(self.x, self.axis)}"

    def filled(self, values: dict[str, list[dict]], failed: dict[str, str]) -> dict:
        """Return the table with its measured rows and its rows that were cut off."""
        rates, rows = {}, []
        for rival, run in self.of.items():
            if run in values and self.metric in values[run][0]:
                rates[rival] = [value[self.metric] * self.scale for value in values[run]]
            elif run in values or run in failed:
                rows.append({"rival": rival, "cut": failed.get(run, "cannot be read on this system")})
        rows = [*summary(rates, ours="zmqcy" if self.ratios else "", less=self.less), *rows]
        facts = {name: getattr(self, name) for name in ("group", "x", "axis", "unit", "less")}
        return {**facts, "label": label(self.x, self.axis), "rows": rows}


@dataclass
class Cell:
    """Runs that share their rounds, and the tables made from them."""

    title: str
    runs: dict[str, Callable[[], dict[str, float]]]
    tables: list[Table]
    cost: float  # planned seconds per run
    rounds: tuple[int, int] | None = None  # measured, warm-up; by default from the options

    def turns(self, options: argparse.Namespace) -> tuple[int, int]:
        return self.rounds or (options.rounds, options.warm)

    def length(self, options: argparse.Namespace) -> int:
        return len(self.runs) * sum(self.turns(options))


def label(x: float | str, axis: str) -> str:
    if isinstance(x, str):
        return x
    if axis != "bytes":
        return f"{x:,} {axis if x != 1 else axis.removesuffix('s')}"
    for size, unit in ((2**20, "MB"), (2**10, "KB")):
        if x >= size:
            return f"{x // size} {unit}"
    return f"{x} B"


def planned(cells: list[Cell], options: argparse.Namespace) -> float:
    """Return the planned seconds of cells."""
    return sum(cell.cost * cell.length(options) for cell in cells)


def measure(name: str, cells: list[Cell], options: argparse.Namespace) -> None:
    """Run the cells, print their tables, and save them as results/NAME.json."""
    tables = {}
    with progress(sum(cell.length(options) for cell in cells)) as tick:
        for cell in cells:
            failed: dict[str, str] = {}
            rounds, warm = cell.turns(options)
            values = in_turns(cell.title, cell.runs, rounds, failed, warm, lambda: tick(cell.title))
            for table in cell.tables:
                tables[table.title] = table.filled(values, failed)
                show(table.title, table.unit, tables[table.title]["rows"])
    save(name, tables)


# ---- output


@cache
def console():
    """Return rich's console, or None where rich is not installed."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def console_print(*what: object) -> None:
    (console().print if console() else print)(*what)


@contextmanager
def progress(total: int):
    """Show a progress bar with `total` steps; yield the function that advances it and shows a title."""
    if not console() or not sys.stdout.isatty():
        yield lambda title: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda title: bar.update(task, advance=1, description=title)


def figure(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def figure_of_ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"


def ratio_text(row: dict) -> str:
    if "ratio" not in row:
        return ""
    ratio, least, most = (figure_of_ratio(row[key]) for key in ("ratio", "ratio_min", "ratio_max"))
    return f"{ratio} ({least} - {most})"


def cells_of(row: dict) -> list[str]:
    """Return a row as text: library, median, min, max, ratio."""
    if "cut" in row:
        return [row["rival"], "cut off", "", "", row["cut"]]
    return [row["rival"], *(figure(row[key]) for key in ("median", "min", "max")), ratio_text(row)]


def show(name: str, unit: str, rows: list[dict]) -> None:
    table(f"{name}  [{unit}]", ["", "median", "min", "max", "zmqcy is ... times as good (paired rounds)"],
          [cells_of(row) for row in rows])  # fmt: skip


def table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Print a table with rich, or as plain text without rich."""
    if console():
        from rich.markup import escape
        from rich.table import Table as RichTable

        rich = RichTable(title=escape(title), title_justify="left", title_style="bold")
        for head, *column in zip(heads, *rows, strict=True):
            numeric = not any(set(text) - set("0123456789.,-+e") for text in column if text != "cut off")
            rich.add_column(head, justify="right" if numeric else "left")
        for row in rows:
            rich.add_row(*map(escape, row))
        return console().print(rich)
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    print("\n" + title)
    for row in [heads, *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def built() -> str:
    """Return the build options of Python that make it faster."""
    words = sysconfig.get_config_var("CONFIG_ARGS") or ""
    ways = [name for name, word in (("PGO", "--enable-optimizations"), ("LTO", "--with-lto")) if word in words]
    return f" ({' and '.join(ways) or 'no PGO, no LTO'})"


def drafts(there: bool) -> str:
    return " with drafts" if there else " without drafts"


@cache
def machine() -> dict:
    """Return CPU, Python version, versions of the libraries and commit."""
    import zmqcy

    def output(*command: str) -> str:
        with suppress(OSError):
            return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout.strip()
        return ""

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    facts = {
        "cpu": model or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version() + built(),
        "system": platform.platform(),
        "zmqcy": zmqcy.__version__,
        "libzmq": zmqcy.zmq_version() + drafts(zmqcy.has("draft")),
        "commit": output("git", "rev-parse", "HEAD"),
        "changed since": bool(output("git", "status", "--porcelain", "--untracked-files=no", ":/")),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    for distribution in ("pyzmq", "pyomq", "pynng", "uvloop"):
        with suppress(importlib.metadata.PackageNotFoundError):
            facts[distribution] = importlib.metadata.version(distribution)
    if "pyzmq" in facts:
        facts["libzmq of pyzmq"] = output(
            sys.executable,
            *("-c", "import common, zmq; print(zmq.zmq_version() + common.drafts(zmq.has('draft')))"),
        )
    return facts


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--rounds", type=int, help="measured rounds per table (default 5 or 3, after one warm-up round; 3 with --quick)"
    )
    parser.add_argument("--quick", action="store_true", help="run fewer and shorter benchmarks")
    options = parser.parse_args()
    return settled(options.quick, options.rounds)


def settled(quick: bool, rounds: int | None = None) -> argparse.Namespace:
    """Return all options that follow from the given ones."""
    return argparse.Namespace(
        quick=quick,
        rounds=rounds or (3 if quick else 5),
        warm=0 if quick else 1,
        fewer=None if quick or rounds else (3, 1),  # rounds of less common work
        seconds=0.1 if quick else 0.3,  # measured per run
        scale=0.1 if quick else 1,  # factor for counts of messages
    )


def save(name: str, tables: dict[str, list[dict] | dict]) -> None:
    """Write the tables and the facts of the machine to results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "tables": tables}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
