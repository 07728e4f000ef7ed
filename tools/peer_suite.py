"""Run the tests of pyzmq on zmqcy.compat, and on pyzmq itself beside it.

    python tools/peer_suite.py                 all of them: passed, failed, skipped, by file and in all
    python tools/peer_suite.py test_poll.py    some files
    python tools/peer_suite.py --failed        name what passes on pyzmq and fails here too

They come with pip into a temporary folder, which is removed at the end: nothing of pyzmq is kept. What cannot hold here
is listed, with its reason, in peer_suite_excluded.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

VERSION = "27.3.0"
ROOT = Path(__file__).resolve().parent.parent
EXCLUDED = ROOT / "tools" / "peer_suite_excluded.txt"
LIMIT = 20  # seconds for a test

Outcomes = dict[str, tuple[str, str]]
"""By test: passed, failed or skipped, and what was said of it."""


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments], check=True)


def fetch(place: Path) -> Path:
    """Get the tests, and what they need beside pytest; return their folder."""
    pip("download", "--no-deps", "--no-binary", "pyzmq", "--dest", str(place), f"pyzmq=={VERSION}")
    with tarfile.open(next(place.glob("pyzmq-*.tar.gz"))) as archive:
        wanted = re.compile(r"[^/]+/(tests/|pytest\.ini$)")
        archive.extractall(place, [each for each in archive if wanted.match(each.name)], filter="data")
    # Not into the environment: this plugin would have its say in zmqcy's own tests.
    pip("install", "--no-deps", "--target", str(place / "site"), "pytest-asyncio>=1.2")
    return next(place.glob("pyzmq-*/tests"))


def excluded() -> dict[str, str]:
    """Read the patterns of what is left out, each with its reason."""
    lines = [line.partition("#") for line in EXCLUDED.read_text().splitlines()]
    return {pattern.strip(): reason.strip() for pattern, _, reason in lines if pattern.strip()}


REPORTER = """
import json, os

def write(*line):
    with open(os.environ["PEER_SUITE_REPORT"], "a") as file:
        print(json.dumps(line), file=file)

def pytest_runtest_logstart(nodeid, location):
    write(nodeid, "hung", "it hung, or its process ended")

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        text = "" if report.passed else str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)
        write(report.nodeid, report.outcome, text[:2000])
"""
"""A plugin of pytest that writes down what comes of each test at once: a process may hang, or end in the middle."""


def run(file: Path, place: Path, how: list[str]) -> Outcomes:
    """Run a file of tests in a process of its own, and in a further one what comes after a test that hung."""
    (place / "peer_suite_reporter.py").write_text(REPORTER)
    report = place / f"report-{len(how)}"
    report.unlink(missing_ok=True)
    folders = [str(ROOT), str(place), str(place / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PEER_SUITE_REPORT": str(report)}
    outcomes: Outcomes = {}
    while True:
        command = [sys.executable, *how, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "peer_suite_reporter"]
        command += ["--timeout", str(LIMIT), "--timeout-method=signal", "--rootdir", str(file.parent.parent), file.name]
        command += [f"--deselect=tests/{name}" for name in outcomes]
        process = subprocess.Popen(
            command, cwd=file.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True,
        )  # fmt: skip
        size, since = 0, time.monotonic()
        while process.poll() is None and time.monotonic() - since < 2 * LIMIT:
            time.sleep(0.05)
            if report.exists() and report.stat().st_size != size:
                size, since = report.stat().st_size, time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and the processes that tests have left
        ended = process.wait()
        before = len(outcomes)
        for line in report.read_text().splitlines() if report.exists() else ():
            name, outcome, text = json.loads(line)
            name = name.rpartition("tests/")[2]
            if outcome != "hung" and outcomes.get(name, ("",))[0] == "failed":
                continue  # an error after the test counts
            outcomes[name] = outcome, text
        outcomes = {
            name: ("failed", text) if kind == "hung" else (kind, text) for name, (kind, text) in outcomes.items()
        }
        if (ended >= 0 and ended != 2) or len(outcomes) == before:  # 2: a test ended pytest as Ctrl-C does
            return outcomes or {f"{file.name}::": ("failed", f"it ended with {ended} and no report")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="names of files of tests")
    parser.add_argument("--failed", action="store_true", help="name what passes on pyzmq and fails here")
    arguments = parser.parse_args()
    reasons = excluded()
    total: dict[str, dict[str, int]] = {"pyzmq": {}, "zmqcy": {}}
    worse: list[str] = []
    wanted = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tests = fetch(place)
        print(f"{'pyzmq ' + VERSION:<28} {'pyzmq: passed failed skipped':>30} {'zmqcy: passed failed skipped':>30}")
        for file in sorted(tests.glob("test_*.py")):
            if (arguments.files and file.name not in arguments.files) or file.name in reasons:
                continue
            row = f"{file.name:<28}"
            found: dict[str, Outcomes] = {}
            for side, how in (("pyzmq", []), ("zmqcy", ["-m", "zmqcy.compat"])):
                outcomes = run(file, place, how)
                found[side] = {
                    name: value
                    for name, value in outcomes.items()
                    if not any(fnmatch(name, pattern) for pattern in reasons)
                }
                kinds = [outcome for outcome, _ in found[side].values()]
                for kind in ("passed", "failed", "skipped"):
                    total[side][kind] = total[side].get(kind, 0) + kinds.count(kind)
                row += "{:>17} {:>6} {:>7}".format(*map(kinds.count, ("passed", "failed", "skipped")))
            print(row, flush=True)
            there = [name for name, (outcome, _) in found["pyzmq"].items() if outcome == "passed"]
            wanted += len(there)
            for name in there:
                outcome, text = found["zmqcy"].get(name, ("missing", "it is not there"))
                if outcome != "passed":
                    worse.append(f"{name}  {outcome}: {text}")
        print(f"{'in all':<28}" + "".join("{passed:>17} {failed:>6} {skipped:>7}".format(**total[s]) for s in total))
    reached = wanted - len(worse)
    print(f"of {wanted} that pass on pyzmq {reached} pass here: {reached / max(wanted, 1):.1%}")
    print(f"left out: {len(reasons)} patterns of {EXCLUDED.name}")
    if arguments.failed:
        print("\nIt passes on pyzmq, and fails here:", *worse, sep="\n  ")


if __name__ == "__main__":
    main()
