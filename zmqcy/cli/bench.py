"""``zmqcy bench``: throughput and latency between two processes, two machines, or two threads."""

import os
import platform
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeVar, cast

import click

import zmqcy
from zmqcy.cli import ends, formats
from zmqcy.cli.ends import Report
from zmqcy.cli.sockets import Endpoint, Failure

_F = TypeVar("_F", bound=Callable[..., Any])
SIZES = {"throughput": (8, 1 << 10, 1 << 16, 1 << 20), "latency": (8, 1 << 10, 1 << 16)}
MOST = {"throughput": 1_000_000, "latency": 10_000}  # default number of messages or round trips per run
TITLES = {"throughput": "PUSH to PULL", "latency": "REQ to REP"}
HEADS = {
    "throughput": ["size", "count", "batch", "messages/s", "(min - max)", "MB/s"],
    "latency": ["size", "count", "min", "p50", "(min - max)", "p99", "max", "one way"],
}


class Sizes(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """Numbers of bytes, separated by commas."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):  # click converts defaults twice
            return value
        sizes = tuple(value.split(","))
        if not all(size.isascii() and size.isdigit() and int(size) < 1 << 31 for size in sizes):
            self.fail(f"{value!r}: sizes are numbers of bytes, such as 8,1024", param, ctx)
        return tuple(map(int, sizes))


@click.group(
    epilog="""\b
Examples:
  zmqcy bench throughput
  zmqcy bench latency --transport ipc
"""
)
def bench() -> None:
    """Measure throughput or latency."""


def size_option(work: str) -> Callable[[_F], _F]:
    """Return the option for message sizes."""
    default = ",".join(map(str, SIZES[work]))
    return click.option(
        "--size", "sizes", metavar="BYTES,...", type=Sizes(), help="Message sizes.", show_default=default
    )


def common(command: _F) -> _F:
    """Add the options of both benchmarks."""
    for option in reversed(
        [
            click.option("--local", metavar="ENDPOINT", type=Endpoint(), help="Run only the end that binds."),
            click.option("--remote", metavar="ENDPOINT", type=Endpoint(), help="Run only the end that connects."),
            click.option(
                "--transport",
                type=click.Choice(["tcp", "ipc", "inproc"]),
                help="Transport between two local ends.",
                show_default="tcp",
            ),
            click.option(
                "--count", metavar="N", type=click.IntRange(min=1), help="Messages per run.", show_default="by size"
            ),
            click.option("--rounds", metavar="N", type=click.IntRange(min=1), help="Runs per size.", show_default="5"),
            click.option(
                "--spin",
                metavar="US",
                type=click.FloatRange(min=0),
                help="Time to poll before a thread sleeps.",
                show_default="Context.spin",
            ),
            click.option(
                "--io-threads",
                metavar="N",
                type=click.IntRange(min=1),
                default=1,
                show_default=True,
                help="I/O threads per end.",
            ),
            click.option(
                "--timeout",
                metavar="MS",
                type=click.FloatRange(min=1),
                default=10_000,
                show_default=True,
                help="Maximum silence of the other end.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Write one JSON object."),
            click.option(
                "--plot", metavar="FILE", type=click.Path(dir_okay=False), help="Draw a chart (PNG, SVG or PDF)."
            ),
            click.option("--quiet", "-q", is_flag=True, help="Write no status and no progress to stderr."),
        ]
    ):
        command = option(command)
    return command


@bench.command(
    epilog="""\b
Examples:
  zmqcy bench throughput
  zmqcy bench throughput --size 8,64,1024 --batch 1000 --plot rates.png
  zmqcy bench throughput --local 'tcp://*:5555'            # on one machine
  zmqcy bench throughput --remote tcp://host:5555          # on the other
"""
)
@common
@size_option("throughput")
@click.option(
    "--batch", metavar="N", type=click.IntRange(min=1), help="Messages per call, up to 1 MB.", show_default="1"
)
def throughput(batch: int | None, **given: Any) -> None:
    """Measure messages per second from PUSH to PULL.

    The end that binds receives and measures. The end that connects sends, and sets sizes and counts. Each run starts
    with a warm-up of a tenth of its messages.
    """
    measure("throughput", batch, **given)


@bench.command(
    epilog="""\b
Examples:
  zmqcy bench latency
  zmqcy bench latency --transport inproc --size 8 --count 100000 --json
  zmqcy bench latency --local 'tcp://*:5555'               # on one machine
  zmqcy bench latency --remote tcp://host:5555             # on the other
"""
)
@common
@size_option("latency")
def latency(**given: Any) -> None:
    """Measure the round-trip time from REQ to REP in microseconds.

    The end that connects sends requests and measures. `one way` is half of the mean: the "average latency" of libzmq's
    local_lat and remote_lat.
    """
    measure("latency", None, **given)


def measure(
    work: str,
    batch: int | None,
    local: tuple[bool | None, str] | None,
    remote: tuple[bool | None, str] | None,
    transport: str | None,
    sizes: tuple[int, ...] | None,
    count: int | None,
    rounds: int | None,
    spin: float | None,
    io_threads: int,
    timeout: float,
    as_json: bool,
    plot: str | None,
    quiet: bool,
) -> None:
    """Start the local ends, and show their results."""
    if local and remote:
        raise click.UsageError("use either --local or --remote; without them, both ends are local")
    if (local or remote) and transport:
        raise click.UsageError("--transport needs two local ends")
    if local and any(value is not None for value in (batch, sizes, count, rounds)):
        raise click.UsageError("the end with --remote sets --size, --count, --batch and --rounds")
    for name, place, prefix in (("--local", local, False), ("--remote", remote, True)):
        if place and (place[0] is prefix or place[1].startswith("inproc:")):
            raise click.UsageError(
                f"{name} {place[1]}: this end {'connects' if prefix else 'binds'}, and not over inproc"
            )
    if (remote if work == "throughput" else local) and (as_json or plot):
        raise click.UsageError("the other end has the results: use --json and --plot there")
    if plot:
        able_to_plot(plot)
    runs = [
        ends.Run(
            size,
            count or min(MOST[work], max(100, 2**29 // max(1, size))),
            max(1, min(batch or 1, 2**20 // max(1, size))),
        )
        for size in sizes or SIZES[work]
    ]
    plan = ends.Plan(work, runs, rounds or 5, machine())
    given = {"work": work, "timeout": timeout, "spin": spin, "io_threads": io_threads}
    with ExitStack() as stack:
        if local:
            where, starts = f"at {local[1]}", [[{**given, "end": "local", "url": local[1], "plan": None}]]
        elif remote:
            where, starts = f"to {remote[1]}", [[{**given, "end": "remote", "url": remote[1], "plan": plan}]]
        else:
            # New sockets for each size: the high-water mark depends on it.
            plans = [replace(plan, runs=[run]) for run in runs]
            if transport == "inproc":
                where = "over inproc, two threads"
                starts = [[{**given, "end": "both", "url": "inproc://bench", "plan": each}] for each in plans]
            else:
                where, url = f"over {transport or 'tcp'}, two processes", "tcp://127.0.0.1:*"
                if transport == "ipc":
                    url = f"ipc://{stack.enter_context(tempfile.TemporaryDirectory(prefix='zmqcy-'))}/bench"
                starts = [
                    [{**given, "end": "local", "url": url, "plan": each}, {**given, "end": "remote", "plan": each}]
                    for each in plans
                ]
        found = collect(starts, work, bool(local or remote), quiet)
    if not found["results"]:
        verb = "sent" if work == "throughput" else "answered"
        click.echo(f"{verb} {formats.counted(found['moved'], 'message')}; the other end has the results")
        return
    found = {"bench": work, "where": where, **found}
    if as_json:
        click.echo(formats.to_json(found))
    else:
        show(work, found)
    if plot:
        draw(plot, work, found)


def machine() -> dict[str, Any]:
    """Return the facts that the results depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "libzmq": zmqcy.zmq_version(),
        "zmqcy": zmqcy.__version__,
        "python": platform.python_version(),
        "cpu": model or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
    }


# ---- the processes


def reports(plans: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Start a process for each end, and yield their reports. The second end connects to the first."""
    spawn = get_context("spawn")
    started: dict[Connection, tuple[SpawnProcess, dict[str, Any]]] = {}
    try:
        for plan in plans:
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=ends.main, args=(theirs,), daemon=True)
            # This process handles Ctrl-C, and kills the others: during their start they would show a traceback.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
            started[ours] = process, plan
        first, *others = started
        first.send(plans[0])
        left = set(started)
        while left:
            for pipe in cast("list[Connection]", wait(list(left))):
                try:
                    what: tuple[Any, ...] = pipe.recv()
                except (EOFError, OSError):
                    process, plan = started[pipe]
                    process.join()
                    raise Failure(f"bench: the {plan['end']} end exited (exit code {process.exitcode})") from None
                if what[0] is Report.ERROR:
                    raise Failure(f"bench: {what[1]}")
                if what[0] is Report.DONE:
                    left.discard(pipe)
                    continue
                if what[0] is Report.READY and others:
                    others[0].send({**plans[1], "url": what[1]})
                yield what
    finally:
        for pipe, (process, _) in started.items():
            pipe.close()
            process.kill()
            process.join()


def collect(starts: list[list[dict[str, Any]]], work: str, alone: bool, quiet: bool) -> dict[str, Any]:
    """Run the ends of each session. Return the results by size, and the machines.

    Parameters
    ----------
    starts : list
        The settings of the ends of each session.
    work : str
        ``throughput`` or ``latency``.
    alone : bool
        Whether the other end is remote.
    quiet : bool
        Show no progress.
    """
    found: dict[str, Any] = {"machine": machine(), "results": [], "moved": 0}
    known = [plans[0]["plan"] for plans in starts]
    with progress(quiet, None if None in known else sum(plan.rounds * len(plan.runs) for plan in known)) as advance:
        for plans in starts:
            runs = plans[0]["plan"].runs if plans[0]["plan"] else []
            figures: dict[int, list[dict[str, float]]] = {}
            for what in reports(plans):
                if what[0] is Report.READY and alone and not quiet:
                    click.echo(f"ready {what[1]}", err=True)
                elif what[0] is Report.PLAN and alone:
                    _, found["other_machine"], runs, rounds = what
                    advance(0, rounds * len(runs))
                elif what[0] is Report.RUN:
                    _, number, measured = what
                    if measured or alone:
                        advance(1, None)
                        found["moved"] += runs[number].warm + runs[number].count
                    if measured:
                        figures.setdefault(number, []).append(measured)
            found["results"] += [summary(work, runs[number], each) for number, each in sorted(figures.items())]
    return found


def summary(work: str, run: ends.Run, measured: list[dict[str, float]]) -> dict[str, Any]:
    """Return the results of a size over its rounds."""

    def of(key: str) -> list[float]:
        return [each[key] for each in measured]

    found: dict[str, Any] = {"size": run.size, "count": run.count}
    if work == "throughput":
        rate = statistics.median(of("rate"))
        found |= {"batch": run.batch, "messages_per_second": rate, "messages_per_second_min": min(of("rate"))}
        found["messages_per_second_max"] = max(of("rate"))
        found["megabytes_per_second"] = rate * run.size / 1e6
    else:
        found |= {"min_us": min(of("min_us")), "p50_us": statistics.median(of("p50_us"))}
        found |= {"p50_min_us": min(of("p50_us")), "p50_max_us": max(of("p50_us"))}
        found |= {"p99_us": statistics.median(of("p99_us")), "max_us": max(of("max_us"))}
        found |= {"round_trip_us": (mean := statistics.median(of("mean_us"))), "one_way_us": mean / 2}
    return {**found, "rounds": measured}


# ---- output


@contextmanager
def progress(quiet: bool, total: int | None) -> Iterator[Callable[[int, int | None], object]]:
    """Yield a function that advances a bar and sets its total. The bar is on stderr, if that is a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda steps, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Drawn between runs: a drawing thread would use CPU time during a run.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=total)
        bar.refresh()

        def advance(steps: int, total: int | None) -> None:
            bar.update(task, advance=steps, total=total, refresh=True)

        yield advance


def bytes_text(size: int) -> str:
    """Return a number of bytes with its unit."""
    for unit, name in ((2**20, "MB"), (2**10, "KB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size:,} B"


def figure(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(work: str, result: dict[str, Any]) -> list[str]:
    """Return the cells of a size, in the order of HEADS."""
    cells = [bytes_text(result["size"]), f"{result['count']:,}"]
    if work == "throughput":
        spread = f"({figure(result['messages_per_second_min'])} - {figure(result['messages_per_second_max'])})"
        rates = figure(result["messages_per_second"]), spread, figure(result["megabytes_per_second"])
        return [*cells, f"{result['batch']:,}", *rates]
    spread = f"({figure(result['p50_min_us'])} - {figure(result['p50_max_us'])})"
    first, p50, *rest = (figure(result[f"{key}_us"]) for key in ("min", "p50", "p99", "max", "one_way"))
    return [*cells, first, p50, spread, *rest]


def words(facts: dict[str, Any]) -> str:
    """Return the description of a machine as a line."""
    text = "libzmq {libzmq}, zmqcy {zmqcy}, Python {python}, {cpu}, {cores} {core}, {system}"
    names = ("libzmq", "zmqcy", "python", "cpu", "cores", "system")
    # The other end is not trusted.
    shown = {name: " ".join(str(facts.get(name, "?"))[:100].split()) for name in names}
    core = "core" if shown["cores"] == "1" else "cores"
    return formats.printable(text.format_map({**shown, "core": core}))


def title(work: str, found: dict[str, Any]) -> str:
    rounds = len(found["results"][0]["rounds"])
    medians = f"median of {rounds} rounds" if rounds > 1 else "one round"
    unit = "" if work == "throughput" else ", microseconds"
    return f"{TITLES[work]} {found['where']}: {medians}{unit}"


def show(work: str, found: dict[str, Any]) -> None:
    """Write a table to stdout: with rich on a terminal, otherwise as plain text."""
    rows = [row(work, result) for result in found["results"]]
    lines = [words(found["machine"])]
    if "other_machine" in found:
        lines.append("the other end: " + words(found["other_machine"]))
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(title(work, found)), title_justify="left", title_style="bold")
        for head in HEADS[work]:
            table.add_column(head, justify="right")
        for cells in rows:
            table.add_row(*cells)
        console = Console(highlight=False)
        console.print(table)
        for line in lines:
            console.print(line, markup=False)
        return
    click.echo(title(work, found))
    widths = [max(map(len, column)) for column in zip(HEADS[work], *rows, strict=True)]
    for cells in [HEADS[work], *rows]:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
    for line in lines:
        click.echo(line)


def able_to_plot(path: str) -> None:
    """Check the requirements of a chart before the measurement."""
    if not find_spec("matplotlib"):
        raise Failure("--plot needs matplotlib: pip install 'zmqcy[plot]'")
    if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--plot {path}: the name must end in .png, .svg or .pdf")
    if not Path(path).absolute().parent.is_dir():
        raise Failure(f"{path}: its folder does not exist")


def draw(path: str, work: str, found: dict[str, Any]) -> None:
    """Draw the results by size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    results = sorted(found["results"], key=lambda result: result["size"])
    sizes = [max(1, result["size"]) for result in results]

    def of(key: str) -> list[float]:
        return [result[key] for result in results]

    chart = Figure(figsize=(9, 4.6), dpi=150, layout="constrained")
    if work == "throughput":
        left, right = chart.subplots(1, 2)
        panels = [(left, "messages per second"), (right, "MB per second")]
        megabytes = [size / 1e6 for size in sizes]
        for axes, scale in ((left, [1.0] * len(sizes)), (right, megabytes)):
            values, low, high = (
                [value * each for value, each in zip(of(key), scale, strict=True)]
                for key in ("messages_per_second", "messages_per_second_min", "messages_per_second_max")
            )
            axes.fill_between(sizes, low, high, color="#0b6e99", alpha=0.2, linewidth=0)
            axes.plot(sizes, values, color="#0b6e99", marker="o")
            for size, value in zip(sizes, values, strict=True):
                label(axes, size, value)
    else:
        axes = chart.subplots()
        panels = [(axes, "round trip in microseconds")]
        axes.fill_between(sizes, of("min_us"), of("p99_us"), color="#0b6e99", alpha=0.12, linewidth=0)
        for key, color, name in (("p99", "#c2571a", "p99"), ("p50", "#0b6e99", "p50"), ("min", "#5a5a5a", "min")):
            axes.plot(sizes, of(f"{key}_us"), color=color, marker="o", label=name)
        for size, value in zip(sizes, of("p50_us"), strict=True):
            label(axes, size, value)
        axes.legend(frameon=False)
    for axes, name in panels:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes, [bytes_text(result["size"]) for result in results])
        axes.xaxis.set_minor_locator(NullLocator())
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if high < 20 * low else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.yaxis.set_minor_formatter("")
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_xlabel("message size")
        axes.margins(0.1, 0.15)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    chart.suptitle(title(work, found).removesuffix(", microseconds"), x=0.01, ha="left", fontsize=12, fontweight="bold")
    chart.text(0.01, -0.03, words(found["machine"]), fontsize=7, color="#5a5a5a")
    chart.savefig(path, bbox_inches="tight")


def label(axes: Any, size: float, value: float) -> None:
    """Write a value above its point, on a white background."""
    back = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    axes.annotate(
        short(value), (size, value), (0, 9), textcoords="offset points", ha="center", fontsize=8, bbox=back, zorder=5
    )


def short(value: float) -> str:
    """Return a number for the axis of a chart."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
