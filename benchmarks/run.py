"""Run all or the named benchmarks, and report.

    run.py [--quick] [--plan] [NAME ...]    NAME is throughput, latency, ...

A full run of all benchmarks also writes the docs and README. --plan only prints how long the run takes.
"""

import argparse
import importlib
import subprocess
import sys
import time

from common import HERE, RESULTS, console_print, planned, settled
from report import report


def plan(name, quick):
    """Return the planned seconds of a benchmark, or 0 if it has no plan."""
    module = importlib.import_module(f"bench_{name}")
    options = settled(quick)
    return planned(module.cells(options), options) if hasattr(module, "cells") else 0


def minutes(seconds):
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f} minutes"


def main():
    known = sorted(file.stem.removeprefix("bench_") for file in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="run fewer and shorter benchmarks")
    parser.add_argument("--plan", action="store_true", help="only print how long the run takes")
    options = parser.parse_args()
    if set(options.names) - set(known):
        parser.error(f"unknown benchmark; known ones: {', '.join(known)}")
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
        console_print(f"\n{number} of {len(lengths)}: {name}, {minutes(lengths[name])} of {minutes(left)} left")
        (RESULTS / f"{name}.json").unlink(missing_ok=True)  # a failed run must not show older results
        words = [sys.executable, str(HERE / f"bench_{name}.py"), *(["--quick"] if options.quick else [])]
        if subprocess.run(words).returncode:
            failed.append(name)
    report(docs=not options.quick and not options.names and not failed)
    console_print(f"Duration: {minutes(time.monotonic() - start)}.")
    if failed:
        console_print(f"Failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
