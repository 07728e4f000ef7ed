"""Run the benchmarks, one after the other, and report: all of them, or those that are named.

    run.py [--quick] [--plan] [NAME ...]    NAME is throughput, latency, ...

A full run of all writes the docs and the table of README too. --plan only tells how long it is to take.
"""

import argparse
import importlib
import subprocess
import sys
import time

from common import HERE, RESULTS, console_print, planned, settled
from report import report


def plan(name, quick):
    """Return the seconds that a file is planned to take, 0 where it does not say."""
    module = importlib.import_module(f"bench_{name}")
    options = settled(quick)
    return planned(module.cells(options), options) if hasattr(module, "cells") else 0


def minutes(seconds):
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f} minutes"


def main():
    known = sorted(file.stem.removeprefix("bench_") for file in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--plan", action="store_true", help="only tell how long it is to take")
    options = parser.parse_args()
    if set(options.names) - set(known):
        parser.error(f"no benchmark of that name; there are {', '.join(known)}")
    lengths = {name: plan(name, options.quick) for name in options.names or known}
    unknown = [name for name, seconds in lengths.items() if not seconds]
    console_print(f"Planned: {minutes(sum(lengths.values()))}{' and ' * bool(unknown)}{', '.join(unknown)}")
    if options.plan:
        for name, seconds in lengths.items():
            console_print(f"    {name:12} {minutes(seconds)}")
        return 0
    start, failed = time.monotonic(), []
    for number, name in enumerate(lengths, 1):
        left = sum(list(lengths.values())[number - 1 :])
        console_print(f"\n{number} of {len(lengths)}: {name}, {minutes(lengths[name])} of {minutes(left)} to go")
        (RESULTS / f"{name}.json").unlink(missing_ok=True)  # a run that fails must not show an older one
        words = [sys.executable, str(HERE / f"bench_{name}.py"), *(["--quick"] if options.quick else [])]
        if subprocess.run(words).returncode:
            failed.append(name)
    report(docs=not options.quick and not options.names and not failed)
    console_print(f"It took {minutes(time.monotonic() - start)}.")
    if failed:
        console_print(f"These failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
