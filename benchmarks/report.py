"""Put results/*.json together: the figures to reach, plots, one HTML page, and the generated part of the docs.

report.py [--docs]    --docs writes docs/performance.md and docs/plots too
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import shutil
import warnings
from pathlib import Path

from common import RESULTS, console_print, figure, figure_of_ratio, ratio_text, table

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"

TASKS = "asyncio: PUSH to PULL over inproc, two tasks"
COMPAT, COMPAT_TUNED, BETWEEN = "through compat: ", "through compat, tuned: ", "over tcp, two processes"
TCP, INPROC, TRIPS = "throughput over tcp", "throughput over inproc", "round trips over tcp"
# What is to be reached: name, what is asked, table, and the rival that zmqcy is as many times as good as; "" is zmqcy's
# own figure. Nothing is asked where the text is empty.
FIGURES = [
    ("tcp 8 B batch beside C", "0.95", f"{TCP}, batch, 8 B", "C"),
    ("tcp 8 B batch beside pyzmq", "6", f"{TCP}, batch, 8 B", "pyzmq"),
    ("tcp 1 KB batch beside C", "0.98", f"{TCP}, batch, 1 KB", "C"),
    ("tcp 1 KB single beside C", "0.98", f"{TCP}, single, 1 KB", "C"),
    ("inproc in two threads, 8 B single beside pyzmq", "4", f"{INPROC}, single, 8 B", "pyzmq"),
    ("inproc in two threads, 8 B single beside pyomq", "1.5", f"{INPROC}, single, 8 B", "pyomq"),
    ("inproc in two threads, 8 B batch beside C", "0.9", f"{INPROC}, batch, 8 B", "C"),
    ("tcp 64 KB beside C that copies", "1.1", f"{TCP}, single, 64 KB", "C"),
    ("tcp 64 KB beside pyzmq", "1.2", f"{TCP}, single, 64 KB", "pyzmq"),
    ("tcp 64 KB beside pyomq", "1.15", f"{TCP}, single, 64 KB", "pyomq"),
    ("tcp 1 MB beside C that copies", "1.4", f"{TCP}, single, 1 MB", "C"),
    ("REQ/REP tcp 8 B beside C that blocks", "1.5", f"{TRIPS}, 8 B", "C"),
    ("REQ/REP tcp 8 B beside pyzmq", "1.8", f"{TRIPS}, 8 B", "pyzmq"),
    ("REQ/REP tcp 8 B beside pyomq", "1.2", f"{TRIPS}, 8 B", "pyomq"),
    (
        "Poller, 1,000 sockets and one ready, beside 10",
        "0.2 (5 times the time)",
        "Poller, one socket ready, 1,000 sockets beside 10",
        "zmqcy with 10",
    ),
    *(
        (f"memory, {size} {mode}: {what}", "below 5 MB", f"memory over many messages of {size}, {what}", rival)
        for size, mode, rival in (
            ("20 B", "single", ""),
            ("20 B", "batch", "zmqcy batch"),
            ("1 MB", "single", ""),
            ("1 MB", "views", "zmqcy views"),
        )
        for what in ("the receiver has grown", "the sender has grown")
    ),
    ("asyncio, inproc, two tasks, 8 B beside pyzmq", "15", f"{TASKS}, single, 8 B", "pyzmq"),
    ("asyncio, inproc, two tasks, 8 B beside pyomq", "1.5", f"{TASKS}, single, 8 B", "pyomq"),
    ("asyncio, inproc, two tasks, 8 B beside plain sockets in a thread", "0.4", f"{TASKS}, single, 8 B", "zmqcy plain"),
    (
        "asyncio, tcp, two processes, 8 B beside pyzmq",
        "8",
        "asyncio: PUSH to PULL over tcp, two processes, 8 B",
        "pyzmq",
    ),
    *(
        (
            f"asyncio, REQ/REP tcp 8 B, two tasks, beside {rival}",
            asked,
            "asyncio: REQ to REP over tcp, two tasks, 8 B",
            rival,
        )
        for rival, asked in (("pyzmq", "2"), ("pyomq", "1.1"))
    ),
    *(
        (
            f"asyncio, a pair beside 1,000 sockets that wait, {what}, beside 1",
            "0.8",
            f"asyncio: a pair beside sockets that wait, {what}, 1,000 sockets beside 1",
            "zmqcy with 1",
        )
        for what in ("round trips", "one way")
    ),
    ("a kernel of Jupyter, round trips beside pyzmq", "1", "a kernel of Jupyter, rate, pass", "pyzmq"),
    ("import of zmqcy.asyncio beside zmq.asyncio", "2", "asyncio: imports, import", "pyzmq"),
    *(
        (f"zmqcy.compat, {work} tcp {size}, beside {rival}", asked, f"{COMPAT}{work} {BETWEEN}, {size}", rival)
        for work, size in (("single", "8 B"), ("single", "1 KB"), ("multipart", "8 B"))
        for rival, asked in (("zmqcy itself", "0.9"), ("pyzmq", "3"))
    ),
    *(
        (f"zmqcy.compat tuned, {work} tcp 1 KB, beside pyzmq", "3", f"{COMPAT_TUNED}{work} {BETWEEN}, 1 KB", "pyzmq")
        for work in ("single", "multipart")
    ),
    *(
        (f"zmqcy.compat, {name} {what} tcp 8 B, beside pyzmq", "1.5", f"{COMPAT}{name}, {what} {BETWEEN}, 8 B", "pyzmq")
        for name in ("ZMQStream", "zmq.green")
        for what in ("PUSH to PULL", "REQ to REP")
    ),
    ("CPU of a blocked recv", "below 0.5 %", "CPU of what waits, a blocked recv", ""),
    ("CPU of an idle device", "below 0.5 %", "CPU of what waits, an idle device", ""),
    *(
        (f"wheel tuned, tcp {size} batch beside {who}", asked, f"wheel: throughput over tcp, batch, {size}", rival)
        for size, who, asked, rival in (
            ("1 KB", "C on the system's libzmq", "2.2", "C"),
            ("1 KB", "pyomq", "1.4", "pyomq"),
            ("1 KB", "pyzmq", "3", "pyzmq"),
            ("8 B", "C on the system's libzmq", "1", "C"),
        )
    ),
    (
        "wheel tuned, REQ/REP tcp 8 B beside untuned",
        "0.97 (1.03 times the time)",
        "wheel: round trip p50 over tcp, 8 B",
        "zmqcy untuned",
    ),
]


def load() -> dict[str, dict]:
    """Return what the files of results hold, by their names; every table with all its facts."""
    runs = {file.stem: json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))}
    for name, run in runs.items():
        for title, each in run["tables"].items():
            if isinstance(each, list):  # rows alone, of a benchmark that has no cells
                each = {"rows": each}
            plain = {"group": name, "x": title, "label": title, "axis": "", "unit": "", "less": False}
            run["tables"][title] = {**plain, **each}
    return runs


def groups(run: dict) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for each in run["tables"].values():
        found.setdefault(each["group"], []).append(each)
    return found


def figures(runs: dict) -> list[list[str]]:
    """Return the table of figures to reach: name, asked, measured, min, max."""
    tables = {title: each for run in runs.values() for title, each in run["tables"].items()}
    rows = []
    for name, asked, title, rival in FIGURES:
        rows_there = tables.get(title, {"rows": []})["rows"]
        row = next((each for each in rows_there if each["rival"] == (rival or "zmqcy")), {})
        if "ratio" in row and rival:
            measured = [figure_of_ratio(row[key]) for key in ("ratio", "ratio_min", "ratio_max")]
        elif "median" in row and (not rival or rival.startswith("zmqcy")):
            measured = [figure(row[key]) for key in ("median", "min", "max")]
            measured[0] += " " + tables[title]["unit"]
        else:
            measured = [f"cut off: {row['cut']}" if "cut" in row else "not measured", "", ""]
        rows.append([name, asked, *measured])
    return rows


def losses(runs: dict) -> list[list[str]]:
    """Return every figure in which a rival is better than zmqcy, the worst first."""
    lost = [
        (row["ratio"], [each["group"], each["label"], row["rival"], ratio_text(row)])
        for run in runs.values()
        for each in run["tables"].values()
        for row in each["rows"]
        if row.get("ratio", 1) < 1 and not row["rival"].startswith("zmqcy")
    ]
    return [row for _, row in sorted(lost, key=lambda each: each[0])]


def cut_off(runs: dict) -> list[list[str]]:
    """Return which rivals were cut off where, and why."""
    return [
        [each["group"], each["label"], row["rival"], row["cut"]]
        for run in runs.values()
        for each in run["tables"].values()
        for row in each["rows"]
        if "cut" in row
    ]


def grid(tables: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of a group: zmqcy's figure, and the ratio to each rival."""
    names = list(dict.fromkeys(row["rival"] for each in tables for row in each["rows"]))
    names.sort(key=lambda name: name != "zmqcy")  # first, also where it was cut off
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


# What the plot of README shows: a work, and its table.
OVERVIEW = [
    ("REQ to REP over tcp, 8 B", f"{TRIPS}, 8 B"),
    ("tcp, 1 MB", f"{TCP}, single, 1 MB"),
    ("tcp, 8 B, by batch", f"{TCP}, batch, 8 B"),
    ("tcp, 1 KB, by batch, tuned wheel", "wheel: throughput over tcp, batch, 1 KB"),
    ("two threads, 8 B, by batch", f"{INPROC}, batch, 8 B"),
    ("asyncio, two tasks, 8 B", f"{TASKS}, single, 8 B"),
    ("Poller with 1,000 sockets", "Poller, one socket ready, 1,000 sockets"),
]


def facts(runs: dict) -> str:
    """Return the machine and versions of the newest file, and that others differ if they do."""
    machines = [run["machine"] for run in runs.values()]
    newest = max(machines, key=lambda each: each["time"])
    told = ", ".join(f"{key} {value}" for key, value in newest.items() if key not in ("command", "changed since"))
    if newest.get("changed since"):
        told += ", with changes since that commit"
    if any("--quick" in each.get("command", "") for each in machines):
        told += "; a quick run"
    if len({each["commit"] for each in machines}) > 1:
        told += "; some parts were run at another commit"
    return told


# ---- plots


def plots(runs: dict) -> dict[str, Path]:
    """Draw each group that grows with a number as an SVG; return the files by group."""
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
    """Draw how many times as fast as pyzmq zmqcy and pyomq are; return the file, None where a table is missing."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tables = {name: each for run in runs.values() for name, each in run["tables"].items()}
    if not all(name in tables for _, name in OVERVIEW):
        return None
    ours: list[float] = []
    theirs: list[float] = []
    for _, name in OVERVIEW:
        ratios = {row["rival"]: row["ratio"] for row in tables[name]["rows"] if "ratio" in row}
        ours.append(ratios["pyzmq"])
        theirs.append(ratios["pyzmq"] / ratios["pyomq"])
    with pyplot.rc_context({"svg.hashsalt": "zmqcy", "svg.fonttype": "path", "font.size": 9}):
        _, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
        places = list(range(len(OVERVIEW)))
        for shift, name, values, color in ((0.2, "zmqcy", ours, "#1b5e8c"), (-0.2, "pyomq", theirs, "#b9b9b9")):
            bars = axes.barh([place + shift for place in places], values, 0.38, left=0, label=name, color=color)
            axes.bar_label(bars, [figure_of_ratio(value) for value in values], padding=3)
        axes.axvline(1, color="black", linewidth=1)
        axes.set(xscale="log", xlim=(0.4, 2.5 * max(ours)), xlabel="times as fast as pyzmq (1: as fast)")
        axes.set_xticks(decades := [10**power for power in range(4)], [f"{each:,}" for each in decades])
        axes.minorticks_off()
        axes.set_yticks(places, [work for work, _ in OVERVIEW])
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
    parts.append("<p>Beside zmqcy's figure stands how many times as good as each rival zmqcy is: the ratio of the ")
    parts.append("medians, and in brackets the least and the most of the rounds.</p>")
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
        ("Figures to reach", ["", "asked", "measured", "min", "max"], figures(runs)),
        ("Where zmqcy loses", ["", "", "to", "zmqcy is ... times as good"], losses(runs)),
        ("Cut off", ["", "", "who", "why"], cut_off(runs)),
    ]


def command(name: str) -> str:
    return f".venv/bin/python benchmarks/bench_{name}.py"


# ---- the docs


def markdown_table(heads: list[str], rows: list[list[str]]) -> str:
    def line(texts: list[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])


def in_docs(group: str) -> bool:
    """Return whether the plot of a group is committed; the tables there and the page have all."""
    return not re.search("over (ipc|inproc)|p99|^uvloop", group)


def markdown(runs: dict, drawn: dict[str, Path]) -> str:
    parts = [f"The run: {facts(runs)}."]
    for title, heads, rows in summaries(runs):
        parts += [f"### {title}", markdown_table(heads, rows) if rows else "None."]
    for name, run in runs.items():
        parts += [f"### {name.capitalize()}", f"    {command(name)}"]
        for group, tables in groups(run).items():
            parts += [f"#### {group}", markdown_table(*grid(tables))]
            if group in drawn and in_docs(group):
                parts.append(f"![{group}](plots/{drawn[group].name})")
    return "\n\n".join(parts)


def write_docs(runs: dict, drawn: dict[str, Path]) -> None:
    """Put the run between the two markers of docs/performance.md, and its plots beside it."""
    before, rest = DOCS.read_text().split(BEGIN)
    after = rest.split(END)[1]
    DOCS.write_text(f"{before}{BEGIN}\n\n{markdown(runs, drawn)}\n\n{END}{after}")
    folder = DOCS.parent / "plots"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for group, file in drawn.items():
        if in_docs(group):
            shutil.copy(file, folder)
    if (shown := overview(runs)) is not None:
        shutil.copy(shown, folder)


def report(docs: bool) -> None:
    runs = load()
    if not runs:
        return console_print("Nothing was measured.")
    for title, heads, rows in summaries(runs):
        if rows:
            table(title, heads, rows)
    drawn = plots(runs)
    target = RESULTS / "index.html"
    target.write_text(page(runs, drawn))
    console_print(f"\n{facts(runs)}\n\nThe page: {target}")
    if docs:
        write_docs(runs, drawn)
        console_print(f"The docs: {DOCS}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md and docs/plots too")
    report(parser.parse_args().docs)
