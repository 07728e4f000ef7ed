"""Report results/*.json: write one page with all tables and plots, and the generated parts of the docs and README.

report.py [--docs]    --docs also writes docs/performance.md, docs/performance/, docs/plots/ and README.md
"""

from __future__ import annotations

import argparse
import ast
import base64
import html
import json
import re
import shutil
import statistics
import textwrap
import warnings
from pathlib import Path

from common import HERE, RESULTS, console_print, figure, ratio_text, table

ROOT = HERE.parent
LIBRARIES = ("pyzmq", "pyomq", "pynng")  # a user can choose these; the rest is for context
C = ("C", "C without copies")
LOSS = 0.97  # a ratio below this is a loss
TITLES = {
    "throughput": "Throughput", "latency": "Round trips", "asyncio": "asyncio and uvloop", "peers": "Many peers",
    "scale": "Many connections", "poll": "Poller", "device": "Devices", "service": "Devices as services",
    "compat": "Code written for pyzmq", "kernel": "Jupyter kernel", "calls": "Calls and imports",
    "memory": "Memory and idle CPU", "network": "Two hosts",
}  # fmt: skip
C_INTRO = """\
C is `benchmarks/baseline.c` on the libzmq that zmqcy has loaded. It is an upper bound for Python programs. It blocks in
every call and copies, as most C programs do, so zmqcy can be faster. "C without copies" is zero-copy: it uses
`zmq_msg_init_data` and `zmq_msg_recv`. The columns of C are ratios: above 1, zmqcy is better."""

TCP, IPC, INPROC, TRIPS = (
    "throughput over tcp", "throughput over ipc", "throughput over inproc", "round trips over tcp"
)  # fmt: skip
TASKS, BETWEEN = "asyncio: PUSH to PULL over inproc, two tasks", "asyncio: PUSH to PULL over tcp, two processes"
ASYNC_TRIPS, COMPAT = "asyncio: REQ to REP over tcp, two tasks, 8 B", "zmqcy.compat: "
SIZES = ("8 B", "64 B", "1 KB", "4 KB", "16 KB", "64 KB", "256 KB", "1 MB")
# The summary of docs/performance.md: a text, and the tables whose ratios to pyzmq and pyomq it gives.
SENTENCES = [
    (
        "**One message per call**, 8 B to 1 MB over tcp and ipc",
        [f"{over}, single, {size}" for over in (TCP, IPC) for size in SIZES],
    ),
    (
        "**Batches** compared with one message per call, 8 B to 1 MB over tcp",
        [f"{TCP}, batch, {size}" for size in SIZES],
    ),
    ("**Round trips** (REQ to REP), 8 B to 64 KB over tcp", [f"{TRIPS}, {size}" for size in ("8 B", "1 KB", "64 KB")]),
    ("**asyncio**, one message per call, 8 B and 1 KB over tcp", [f"{BETWEEN}, {size}" for size in ("8 B", "1 KB")]),
]
# The chart of README and docs: a label, and its table.
OVERVIEW = [
    ("tcp, 1 KB", f"{TCP}, single, 1 KB"),
    ("ipc, 1 KB", f"{IPC}, single, 1 KB"),
    ("tcp, 8 B", f"{TCP}, single, 8 B"),
    ("tcp, 16 KB", f"{TCP}, single, 16 KB"),
    ("tcp, 64 KB", f"{TCP}, single, 64 KB"),
    ("tcp, 1 MB", f"{TCP}, single, 1 MB"),
    ("REQ to REP over tcp, 8 B", f"{TRIPS}, 8 B"),
    ("asyncio, REQ to REP over tcp, 8 B", ASYNC_TRIPS),
    ("asyncio, tcp, 1 KB", f"{BETWEEN}, 1 KB"),
    ("tcp, 1 KB, in batches", f"{TCP}, batch, 1 KB"),
    ("tcp, 8 B, in batches", f"{TCP}, batch, 8 B"),
]
# README's sentence: the tables whose ratios to pyzmq it gives, in its order.
SENTENCE = [
    f"{TCP}, single, 1 KB",
    f"{IPC}, single, 1 KB",
    f"{TCP}, single, 8 B",
    f"{IPC}, single, 8 B",
    f"{TRIPS}, 8 B",
    ASYNC_TRIPS,
    f"{BETWEEN}, 8 B",
    f"{TASKS}, single, 8 B",
    POLLER := "Poller, one socket ready, 1,000 sockets",
]
# The overview of docs/performance.md: a label, its tables (a slash separates their ratios), and the benchmark.
SPEED = [
    ("PUSH to PULL over tcp, one message per call: 8 B", [f"{TCP}, single, 8 B"], "throughput"),
    (
        "PUSH to PULL over tcp, one message per call: 1 KB / 16 KB",
        [f"{TCP}, single, 1 KB", f"{TCP}, single, 16 KB"],
        "",
    ),
    (
        "PUSH to PULL over tcp, one message per call: 64 KB / 1 MB",
        [f"{TCP}, single, 64 KB", f"{TCP}, single, 1 MB"],
        "",
    ),
    ("PUSH to PULL over tcp, batches: 8 B / 1 KB", [f"{TCP}, batch, 8 B", f"{TCP}, batch, 1 KB"], ""),
    ("PUSH to PULL over ipc, one message per call: 8 B / 1 KB", [f"{IPC}, single, 8 B", f"{IPC}, single, 1 KB"], ""),
    (
        "PUSH to PULL over inproc, 8 B: one message per call / batches",
        [f"{INPROC}, single, 8 B", f"{INPROC}, batch, 8 B"],
        "",
    ),
    ("REQ to REP over tcp, 8 B", [f"{TRIPS}, 8 B"], "latency"),
    (
        "`send_multipart` and `recv_multipart` of three parts, one thread",
        ["calls in one thread, send_multipart and recv_multipart of three parts"],
        "calls",
    ),
    ("a socket option: get / set", [f"calls in one thread, {what} an option" for what in ("read", "set")], ""),
    (
        "`import` / with context and first socket",
        [f"imports, import{rest}" for rest in ("", ", context and first socket")],
        "",
    ),
    ("`Poller` with 1,000 sockets, one ready", [POLLER], "poll"),
    (
        "asyncio, PUSH to PULL, 8 B: two tasks over inproc / two processes over tcp",
        [f"{TASKS}, single, 8 B", f"{BETWEEN}, 8 B"],
        "asyncio",
    ),
    ("asyncio, REQ to REP over tcp, two tasks", [ASYNC_TRIPS], ""),
    (
        "`zmqcy.compat`, tcp: 8 B / three parts",
        [f"{COMPAT}{what} over tcp, two processes, 8 B" for what in ("single", "multipart")],
        "compat",
    ),
    (
        "ZMQStream on `zmqcy.compat`: PUSH to PULL / REQ to REP",
        [f"{COMPAT}ZMQStream, {what} over tcp, two processes, 8 B" for what in ("PUSH to PULL", "REQ to REP")],
        "",
    ),
    (
        "`zmq.green` on `zmqcy.compat`: PUSH to PULL / REQ to REP",
        [f"{COMPAT}zmq.green, {what} over tcp, two processes, 8 B" for what in ("PUSH to PULL", "REQ to REP")],
        "",
    ),
    ("Jupyter kernel, round trip", ["Jupyter kernel, rate, pass"], "kernel"),
    ("streamer device between two C programs, 8 B", ["streamer between two C programs over tcp, 8 B"], "device"),
]
# Groups of tables, the most common work first, to sort the losses. The first match counts.
COMMON = [
    "over (tcp|ipc), single", "^round trip", "^asyncio: (PUSH|REQ|DEALER)", "^uvloop: (PUSH|REQ|DEALER)",
    "over inproc, single", "over inproc|batch", "multipart", "views", "Poller", "compat|kernel", "many|peers",
    "asyncio|uvloop", "streamer|queue|service", "calls|imports", "",
]  # fmt: skip
CAUSES = {  # causes of losses, by a pattern of "group, label, library"
    "scheduling delay": "zmqcy yields to the event loop every 100 µs; the other libraries yield after each operation",
    "over ipc": "at each end, libzmq makes one system call and wakes one thread per 96 KiB",
    "memory per connection, busy": "one 96 KiB buffer per direction",
    "throughput over inproc, (single|batch)": "both libraries copy; memory bandwidth is the limit",
    "asyncio already loaded": "zmqcy loads about 20 extension modules",
}


def load() -> dict[str, dict]:
    """Return the contents of the result files by name; add the missing facts to each table."""
    runs = {file.stem: json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))}
    for name, run in runs.items():
        for title, each in run["tables"].items():
            if isinstance(each, list):  # only rows: a benchmark without cells
                each = {"rows": each}
            plain = {"group": name, "x": title, "label": title, "axis": "", "unit": "", "less": False}
            run["tables"][title] = {**plain, **each}
    return runs


def groups(run: dict) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for each in run["tables"].values():
        found.setdefault(each["group"], []).append(each)
    return found


def by_title(runs: dict) -> dict[str, dict]:
    return {title: each for run in runs.values() for title, each in run["tables"].items()}


def ratios(table: dict, names: tuple[str, ...] = ()) -> dict[str, float]:
    """Return the ratios of zmqcy to the named libraries, or to all; libraries without a ratio are skipped."""
    return {
        row["rival"]: row["ratio"]
        for row in table["rows"]
        if "ratio" in row and row["rival"] in (names or [row["rival"]])
    }


def losses(runs: dict) -> list[list[str]]:
    """Return the figures in which another library is better: the most common work first, then the lowest ratio."""
    lost = []
    for each in by_title(runs).values():
        for row in each["rows"]:
            if row["rival"] in LIBRARIES and row.get("ratio", 1) < LOSS:
                rank = next(number for number, pattern in enumerate(COMMON) if re.search(pattern, each["group"]))
                place = f"{each['group']}, {each['label']}, {row['rival']}"
                spread = "within the spread of the run" if row["ratio_max"] >= 1 else ""
                cause = next((cause for pattern, cause in CAUSES.items() if re.search(pattern, place)), spread)
                lost.append((rank, row["ratio"], [each["group"], each["label"], row["rival"], ratio_text(row), cause]))
    return [row for *_, row in sorted(lost)]


def sentences(runs: dict) -> list[str]:
    """Return the summary, one sentence per line."""
    tables = by_title(runs)
    told = []
    for work, titles in SENTENCES:
        found = [ratios(tables[title]) for title in titles if title in tables]
        parts = []
        for rival in ("pyzmq", "pyomq"):
            if of := [each[rival] for each in found if rival in each]:
                ends = f" ({short(min(of))} to {short(max(of))})" if len(of) > 1 else ""
                parts.append(f"{short(statistics.median(of))} times as fast as {rival}{ends}")
        if parts:
            told.append(f"{work}: zmqcy is {' and '.join(parts)}")
    compared = sum(len(ratios(each, LIBRARIES)) for each in tables.values())
    lost = f"[{len(losses(runs))} of {compared:,}](#where-zmqcy-loses)"
    told.append(f"**Losses**: another library is faster in {lost} comparisons")
    return [f"- {each}." for each in told]


def short(ratio: float) -> str:
    """Return a ratio with about two significant digits."""
    return f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}" if ratio < 10 else f"{float(f'{ratio:.2g}'):,.0f}"


def cut_off(runs: dict) -> list[list[str]]:
    """Return which libraries were cut off in which rows, and why."""
    labels: dict[tuple[str, str, str], list[str]] = {}
    for each in by_title(runs).values():
        for row in each["rows"]:
            if "cut" in row:
                labels.setdefault((each["group"], row["rival"], row["cut"]), []).append(each["label"])
    return [[group, "; ".join(where), rival, why] for (group, rival, why), where in labels.items()]


def grid(tables: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of a group: zmqcy's figure, and its ratio to each library."""
    names = list(dict.fromkeys(row["rival"] for each in tables for row in each["rows"]))
    names.sort(key=lambda name: name != "zmqcy")  # first, even if it was cut off
    rows = []
    for each in tables:
        by_name = {row["rival"]: row for row in each["rows"]}
        rows.append([each["label"], *(grid_cell(by_name.get(name, {})) for name in names)])
    return [f"{tables[0]['unit']}", *names], rows


def grid_cell(row: dict) -> str:
    if "cut" in row:
        return "cut off"
    if "median" not in row:
        return ""
    if "ratio" in row and row["rival"] != "zmqcy":
        return ratio_text(row)
    return f"{figure(row['median'])} ({figure(row['min'])} - {figure(row['max'])})"


def facts(runs: dict) -> str:
    """Return the machine and versions of the newest file, with a note if other files differ."""
    machines = [run["machine"] for run in runs.values()]
    newest = max(machines, key=lambda each: each["time"])
    told = ", ".join(f"{key} {value}" for key, value in newest.items() if key not in ("command", "changed since"))
    if newest.get("changed since"):
        told += ", with uncommitted changes"
    if any("--quick" in each.get("command", "") for each in machines):
        told += "; a quick run"
    if len({each["commit"] for each in machines}) > 1:
        told += "; some benchmarks ran at another commit"
    return told


# ---- plots


def plots(runs: dict) -> dict[str, Path]:
    """Draw each group with a numeric axis as an SVG; return the files by group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder = RESULTS / "plots"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {}
    plain = {"svg.hashsalt": "zmqcy", "svg.fonttype": "none", "font.size": 8}
    for run in runs.values():
        for group, tables in groups(run).items():
            points = [each for each in tables if not isinstance(each["x"], str)]
            if len(points) < 2:
                continue
            with pyplot.rc_context(plain), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                draw(pyplot, group, points)
                files[group] = folder / (re.sub(r"\W+", "-", group.lower()) + ".svg")
                pyplot.savefig(files[group], metadata={"Date": None})
                pyplot.close()
    return files


def draw(pyplot, group: str, points: list[dict]) -> None:
    _, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    lines: dict[str, list] = {}
    for each in points:
        for row in each["rows"]:
            if "median" in row:
                lines.setdefault(row["rival"], []).append((each["x"], row["median"], row["min"], row["max"]))
    for name, values in lines.items():
        x, median, least, most = zip(*sorted(values), strict=True)
        below = [a - b for a, b in zip(median, least, strict=True)]
        above = [b - a for a, b in zip(median, most, strict=True)]
        bold = {"linewidth": 2.2, "color": "black"} if name == "zmqcy" else {"linewidth": 1}
        axes.errorbar(x, median, yerr=[below, above], marker="o", markersize=3, label=name, **bold)
    ticks = [each["x"] for each in points]
    axes.set(xscale="log", yscale="log", title=group, ylabel=points[0]["unit"], xlabel=points[0]["axis"])
    axes.set_xticks(ticks, [each["label"] if each["axis"] == "bytes" else f"{each['x']:,}" for each in points])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def overview(runs: dict) -> Path | None:
    """Draw how many times as fast as pyzmq zmqcy and pyomq are; return the file, or None if a table is missing.

    The axis is logarithmic, so bars start at 1 and extend to either side.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tables = by_title(runs)
    if not all(name in tables for _, name in OVERVIEW):
        return None
    found = [ratios(tables[name]) for _, name in reversed(OVERVIEW)]
    ours = {place: each["pyzmq"] for place, each in enumerate(found) if "pyzmq" in each}
    theirs = {place: value / found[place]["pyomq"] for place, value in ours.items() if "pyomq" in found[place]}
    low, high = min(0.7, *ours.values(), *theirs.values()) * 0.7, max(*ours.values(), *theirs.values()) * 1.6
    with pyplot.rc_context({"svg.hashsalt": "zmqcy", "svg.fonttype": "path", "font.size": 9}):
        _, axes = pyplot.subplots(figsize=(7, 4.6), layout="constrained")
        for shift, name, values, color in ((0.2, "zmqcy", ours, "#1b5e8c"), (-0.2, "pyomq", theirs, "#b9b9b9")):
            widths = [value - 1 for value in values.values()]
            axes.barh([place + shift for place in values], widths, 0.38, left=1, label=name, color=color)
            for place, value in values.items():
                side, shifted = ("left", 3) if value >= 1 else ("right", -3)
                text = {"ha": side, "va": "center", "textcoords": "offset points", "fontsize": 8}
                axes.annotate(short(value), (value, place + shift), (shifted, 0), **text)
        axes.axvline(1, color="black", linewidth=1)
        axes.set(xscale="log", xlim=(low, high), xlabel="times as fast as pyzmq (1: as fast)")
        ticks = [each for each in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low < each < high]
        axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(OVERVIEW)), [work for work, _ in reversed(OVERVIEW)])
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False)
        pyplot.savefig(file := RESULTS / "plots" / "overview.svg", metadata={"Date": None})
        pyplot.close()
    return file


# ---- the page

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 1.5em } th, td { padding: .15em .7em; border-bottom: 1px solid #ddd;
text-align: left; font-variant-numeric: tabular-nums } th { border-bottom: 2px solid #888 } img { max-width: 46em }
code { background: #f3f3f3 } h2 { margin-top: 2em }
"""


def html_table(heads: list[str], rows: list[list[str]]) -> str:
    def line(tag: str, texts: list[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"

    return "<table>" + line("th", heads) + "\n".join(line("td", row) for row in rows) + "</table>"


def page(runs: dict, drawn: dict[str, Path]) -> str:
    parts = ["<h1>zmqcy: benchmarks</h1>", f"<p>{html.escape(facts(runs))}</p>"]
    parts.append("<p>The first figure is zmqcy's. The others are ratios of zmqcy to another library: of the medians, ")
    parts.append("and in brackets the lowest and the highest of the rounds. Above 1, zmqcy is better.</p>")
    for title, heads, rows in summaries(runs):
        parts += [f"<h2>{title}</h2>", html_table(heads, rows) if rows else "<p>None.</p>"]
    for name, run in runs.items():
        parts.append(f"<h2>{name}</h2><p><code>{command(name)}</code></p>")
        for group, tables in groups(run).items():
            parts += [f"<h3>{html.escape(group)}</h3>", html_table(*grid(tables))]
            if group in drawn:
                data = base64.b64encode(drawn[group].read_bytes()).decode()
                parts.append(f'<img alt="{html.escape(group)}" src="data:image/svg+xml;base64,{data}">')
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>zmqcy: benchmarks</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}{body}'


def summaries(runs: dict) -> list[tuple[str, list[str], list[list[str]]]]:
    return [
        ("Where zmqcy loses", ["table", "row", "library", "ratio", "cause"], losses(runs)),
        ("Cut off", ["table", "row", "library", "reason"], cut_off(runs)),
    ]


def command(name: str) -> str:
    return f"make bench ARGS={name}"


# ---- the docs


def markdown_table(heads: list[str], rows: list[list[str]]) -> str:
    def line(texts: list[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)]) if rows else "None."


def in_docs(group: str) -> bool:
    """Return whether the plot of a group is in docs/plots; results/index.html has all plots."""
    return not re.search("over (ipc|inproc)|p99|^uvloop", group)


def without_c(tables: list[dict]) -> list[dict]:
    """Return the tables of a group without C, which has its own page, unless C is the only comparison."""
    kept = [{**each, "rows": [row for row in each["rows"] if row["rival"] not in C]} for each in tables]
    return kept if any(row["rival"] in LIBRARIES for each in kept for row in each["rows"]) else tables


def topic(name: str, run: dict, drawn: dict[str, Path]) -> str:
    """Return the page of a benchmark."""
    parts = [f"# {TITLES.get(name, name.capitalize())}", about(name), f"    {command(name)}"]
    parts.append("[Performance](../performance.md#how-to-read-the-tables) explains how to read the tables.")
    for group, tables in groups(run).items():
        parts += [f"## {group}", markdown_table(*grid(without_c(tables)))]
        if group in drawn and in_docs(group):
            parts.append(f"![{group}](../plots/{drawn[group].name})")
    return "\n\n".join(parts) + "\n"


def about(name: str) -> str:
    """Return the docstring of a benchmark."""
    file = HERE / f"bench_{name}.py"
    return (ast.get_docstring(ast.parse(file.read_text())) or "") if file.exists() else ""


def compared_with_c(runs: dict) -> str:
    parts = ["# C", C_INTRO]
    for name, run in runs.items():
        rows = []
        for each in run["tables"].values():
            by_name = {row["rival"]: row for row in each["rows"]}
            if "zmqcy" in by_name and any("ratio" in by_name.get(rival, {}) for rival in C):
                figures = [
                    f"{grid_cell(by_name['zmqcy'])} {each['unit']}",
                    *(grid_cell(by_name.get(rival, {})) for rival in C),
                ]
                rows.append([each["group"], each["label"], *figures])
        if rows:
            parts += [f"## {TITLES.get(name, name.capitalize())}", markdown_table(["table", "row", "zmqcy", *C], rows)]
    return "\n\n".join(parts) + "\n"


def begin(name: str) -> str:
    return f"<!-- generated: {name} -->"


END = "<!-- generated: end -->"


def fill(file: Path, **parts: str) -> None:
    """Put each part between its two marks in a file."""
    text = file.read_text()
    for name, part in parts.items():
        before, rest = text.split(begin(name))
        text = f"{before}{begin(name)}\n\n{part}\n\n{END}{rest.partition(END)[2]}"
    file.write_text(text)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def list_of(pages: list[str], titles: list[str]) -> str:
    """Return the links of the pages, and their toctree for Sphinx."""
    links = [f"- [{title}](performance/{page}.md)" for page, title in zip(pages, titles, strict=True)]
    return "\n".join([*links, "", "```{toctree}", ":hidden:", "", *(f"performance/{page}" for page in pages), "```"])


def readme(runs: dict) -> str:
    """Return README's sentence, or "" if a table is missing."""
    tables = by_title(runs)
    if not all(title in tables for title in SENTENCE):
        return ""
    times = [short(ratios(tables[title])["pyzmq"]) for title in SENTENCE]
    text = (
        "**Faster, with no option to set.** 1 KB messages one at a time: {} times as fast as pyzmq over tcp, {} times "
        "over ipc (sockets of one machine). 8-byte messages: {} and {} times. Round trips (REQ to REP): {} times, and "
        "{} times in asyncio. Messages one way in asyncio: {} times over tcp, {} times between tasks. A "
        "[`Poller`](docs/glossary.md) with 1,000 sockets: {} times. (With a libzmq that has the draft API: see below.)"
    ).format(*times)
    return textwrap.fill(text, 140, break_on_hyphens=False)


def speed(runs: dict) -> str:
    """Return the overview table, without the rows that were not measured."""
    tables, rows = by_title(runs), []
    names = ("pyzmq", "pyomq", "C")
    for work, titles, name in SPEED:
        if not all(title in tables for title in titles):
            continue
        of = [ratios(tables[title]) for title in titles]
        texts = [[short(each[rival]) if rival in each else "" for each in of] for rival in names]
        figures = [" / ".join(text) if any(text) else "" for text in texts]
        rows.append([work, *figures, f"`{command(name)}`" if name else ""])
    return f"{conditions(runs)}\n\n" + markdown_table(["work", *names, "command"], rows)


def conditions(runs: dict) -> str:
    """Return the machine and versions as sentences."""
    of = max((run["machine"] for run in runs.values()), key=lambda each: each["time"])
    return (
        f"Medians of `make bench` on {of['cpu']}, {of['cores']} cores, Python {of['python']}.\n"
        f"zmqcy and C use libzmq {of['libzmq']}. pyzmq {of.get('pyzmq')} uses its own libzmq "
        f"{of.get('libzmq of pyzmq')}. pyomq is {of.get('pyomq')}.\n"
        "Each figure says how many times as fast zmqcy is. Below 1, zmqcy is slower."
    )


def write_docs(runs: dict, drawn: dict[str, Path]) -> None:
    """Write the generated parts of docs/performance.md and README, the page of each benchmark, and the plots."""
    docs = ROOT / "docs"
    for name in ("performance", "plots"):
        shutil.rmtree(docs / name, ignore_errors=True)
        (docs / name).mkdir()
    for name, run in runs.items():
        (docs / "performance" / f"{name}.md").write_text(topic(name, run, drawn))
    (docs / "performance" / "c.md").write_text(compared_with_c(runs))
    pages = sorted(runs, key=[*TITLES, *runs].index)
    titles = [TITLES.get(name, name.capitalize()) for name in pages]
    links = {
        group: f"[{group}](performance/{name}.md#{anchor(group)})"
        for name, run in runs.items()
        for group in groups(run)
    }
    losing, cut = (
        markdown_table(heads, [[links[group], *rest] for group, *rest in rows]) for _, heads, rows in summaries(runs)
    )
    fill(
        docs / "performance.md",
        summary="\n".join(sentences(runs)),
        run=f"The run: {facts(runs)}.",
        speed=speed(runs),
        pages=list_of([*pages, "c"], [*titles, "C"]),
        losses=losing,
        cut=cut,
    )
    if said := readme(runs):
        fill(ROOT / "README.md", speed=said)
    for group, file in drawn.items():
        if in_docs(group):
            shutil.copy(file, docs / "plots")
    if (shown := overview(runs)) is not None:
        shutil.copy(shown, docs / "plots")


def report(docs: bool) -> None:
    runs = load()
    if not runs:
        return console_print("No results: run the benchmarks first.")
    for title, heads, rows in summaries(runs):
        if rows:
            table(title, heads, rows)
    drawn = plots(runs)
    target = RESULTS / "index.html"
    target.write_text(page(runs, drawn))
    console_print(f"\n{facts(runs)}\n\nThe page: {target}")
    if docs:
        write_docs(runs, drawn)
        console_print(f"The docs: {ROOT / 'docs' / 'performance.md'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--docs", action="store_true", help="also write docs/performance*, docs/plots and README.md")
    report(parser.parse_args().docs)
