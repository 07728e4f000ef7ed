"""Run the tests of pyzmq on zmqcy.compat, and on pyzmq itself beside it.

    python tools/peer_suite.py                 all of them: passed, failed, skipped, by file and in all
    python tools/peer_suite.py test_poll.py    some files
    python tools/peer_suite.py --failed        name what passes on pyzmq and fails here too

They come with pip into a temporary folder, which is removed at the end: nothing of pyzmq is kept. What cannot hold here
is listed, with its reason, in peer_suite_excluded.txt.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatch
from pathlib import Path

VERSION = "27.3.0"
ROOT = Path(__file__).resolve().parent.parent
EXCLUDED = ROOT / "tools" / "peer_suite_excluded.txt"
LIMIT = 200  # seconds for a file

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


def run(file: Path, place: Path, how: list[str]) -> Outcomes:
    """Run a file of tests in a process of its own."""
    report = place / "report.xml"
    report.unlink(missing_ok=True)
    path = os.pathsep.join([str(ROOT), str(place / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout=20",
        "--timeout-method=signal",
        f"--junitxml={report}",
        "-o",
        "junit_logging=no",
    ]
    command = [sys.executable, *how, "-m", "pytest", *options, file.name]
    try:
        done = subprocess.run(
            command,
            cwd=file.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            timeout=LIMIT,
        )
        end = f"it ended with {done.returncode} and no report"
    except subprocess.TimeoutExpired:
        end = f"it took more than {LIMIT} s"
    if not report.exists():
        return {f"{file.name}::": ("failed", end)}
    outcomes: Outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kind = case.get("classname", "").rpartition(".")[2]
        name = (
            f"{file.name}::{case.get('name')}"
            if kind in ("", file.stem)
            else f"{file.name}::{kind}::{case.get('name')}"
        )
        outcome, text = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, text = "failed", child.get("message", "").partition("\n")[0]
            elif child.tag == "skipped":
                outcome, text = "skipped", child.get("message", "")
        if outcomes.get(name, ("passed",))[0] != "failed":  # an error after the test counts
            outcomes[name] = outcome, text
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="names of files of tests")
    parser.add_argument("--failed", action="store_true", help="name what passes on pyzmq and fails here")
    arguments = parser.parse_args()
    reasons = excluded()
    total: dict[str, dict[str, int]] = {"pyzmq": {}, "zmqcy": {}}
    worse: list[str] = []
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
                if outcome == "failed" and found["pyzmq"].get(name, ("passed",))[0] != "failed":
                    worse.append(f"{name}  {text}")
        print(f"{'in all':<28}" + "".join("{passed:>17} {failed:>6} {skipped:>7}".format(**total[s]) for s in total))
    print(f"left out: {len(reasons)} patterns of {EXCLUDED.name}")
    if arguments.failed:
        print("\nIt passes on pyzmq, and fails here:", *worse, sep="\n  ")


if __name__ == "__main__":
    main()
