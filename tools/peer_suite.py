"""Run the tests of pyzmq on zmqcy.compat, and on pyzmq for comparison.

    python tools/peer_suite.py                 all files: passed, failed and skipped per file, and the total
    python tools/peer_suite.py test_poll.py    some files
    python tools/peer_suite.py --failed        also list the tests that pass on pyzmq and fail on zmqcy

pip downloads the tests into a temporary folder, which is removed at the end. peer_suite_excluded.txt lists the tests
that cannot pass on zmqcy, with reasons.
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
LIMIT = 20  # seconds per test

Outcomes = dict[str, tuple[str, str]]
"""By test: passed, failed or skipped, and the message."""


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments], check=True)


def fetch(place: Path) -> Path:
    """Download the tests and the plugin that they need; return their folder."""
    pip("download", "--no-deps", "--no-binary", "pyzmq", "--dest", str(place), f"pyzmq=={VERSION}")
    with tarfile.open(next(place.glob("pyzmq-*.tar.gz"))) as archive:
        wanted = re.compile(r"[^/]+/(tests/|pytest\.ini$)")
        archive.extractall(place, [each for each in archive if wanted.match(each.name)], filter="data")
    # Not into the environment, where the plugin would change zmqcy's own tests.
    pip("install", "--no-deps", "--target", str(place / "site"), "pytest-asyncio>=1.2")
    return next(place.glob("pyzmq-*/tests"))


def excluded() -> dict[str, str]:
    """Read the patterns of excluded tests, each with its reason."""
    lines = [line.partition("#") for line in EXCLUDED.read_text().splitlines()]
    return {pattern.strip(): reason.strip() for pattern, _, reason in lines if pattern.strip()}


REPORTER = """
import json, os

def write(*line):
    with open(os.environ["PEER_SUITE_REPORT"], "a") as file:
        print(json.dumps(line), file=file)

def pytest_runtest_logstart(nodeid, location):
    write(nodeid, "hung", "the test hung, or its process exited")

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        text = "" if report.passed else str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)
        write(report.nodeid, report.outcome, text[:2000])
"""
"""A pytest plugin that writes each outcome to a file at once, because the process may hang or exit within a test."""


def run(file: Path, place: Path, how: list[str]) -> Outcomes:
    """Run a test file in its own process. After a test that hung, run the rest in another process."""
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
            os.killpg(process.pid, signal.SIGKILL)  # and processes left behind by tests
        ended = process.wait()
        before = len(outcomes)
        for line in report.read_text().splitlines() if report.exists() else ():
            name, outcome, text = json.loads(line)
            name = name.rpartition("tests/")[2]
            if outcome != "hung" and outcomes.get(name, ("",))[0] == "failed":
                continue  # an error in the teardown counts
            outcomes[name] = outcome, text
        kinds = {"hung": "failed"}
        outcomes = {name: (kinds.get(kind, kind), text) for name, (kind, text) in outcomes.items()}
        if (ended >= 0 and ended != 2) or len(outcomes) == before:  # 2: a test interrupted pytest, as Ctrl-C does
            return outcomes or {f"{file.name}::": ("failed", f"exit code {ended} without a report")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="names of test files")
    parser.add_argument("--failed", action="store_true", help="list the tests that pass on pyzmq and fail on zmqcy")
    arguments = parser.parse_args()
    reasons = excluded()
    total: dict[str, dict[str, int]] = {"pyzmq": {}, "zmqcy": {}}
    worse: list[str] = []
    wanted = reached = 0
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
            for name, (outcome, text) in found["zmqcy"].items():
                if outcome == "failed" and found["pyzmq"].get(name, ("",))[0] == "passed":
                    worse.append(f"{name}  {text}")
            there = [name for name, (outcome, _) in found["pyzmq"].items() if outcome == "passed"]
            wanted += len(there)
            reached += sum(found["zmqcy"].get(name, ("",))[0] == "passed" for name in there)
        print(f"{'total':<28}" + "".join("{passed:>17} {failed:>6} {skipped:>7}".format(**total[s]) for s in total))
    print(f"{reached} of the {wanted} tests that pass on pyzmq pass on zmqcy: {reached / max(wanted, 1):.1%}")
    print(f"excluded: {len(reasons)} patterns of {EXCLUDED.name}")
    if arguments.failed:
        print("\nThese pass on pyzmq, and fail on zmqcy:", *worse, sep="\n  ")


if __name__ == "__main__":
    main()
