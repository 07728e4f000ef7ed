"""Compare the working tree with a commit by instructions a call, which noise does not touch.

Both are copied, built the same way, and each work of guard_works.py runs in both under callgrind. Ends with 1 where a
work's instructions, libzmq's and Python's included, have grown by more than the limit, and with 2 where it could not
count.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from guard_works import LACKING, SAMPLES, WORKS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ["zmqcy", "setup.py", "pyproject.toml"]  # what an extension module comes from
MARK = "getppid"  # nothing else calls it
INSTALL = """guard: valgrind is not there. Install it:
    Debian, Ubuntu   apt-get install valgrind
    Fedora           dnf install valgrind"""


class Unable(Exception):
    """What keeps it from counting."""


class Count(NamedTuple):
    """Instructions a call: all of them, and those in zmqcy's own extension modules."""

    total: float
    own: float


# ---- callgrind


def parse(text):
    """Return the instructions of each object (library or program) of a callgrind dump of one event without lines."""
    names, objects = {}, {}
    current = inclusive = None
    for line in text.splitlines():
        if line.startswith(("ob=", "cob=")):
            # The first time a number comes it comes with its name, be it that of a called function's object.
            number, name = re.fullmatch(r"c?ob=\((\d+)\)(?: (.*))?", line).groups()
            if name is not None:
                names[number] = name
            if line[0] == "o":
                current = names[number]
        elif line.startswith("calls="):
            inclusive = True  # the next line is what the call cost, which its function has as its own
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not inclusive:
                objects[current] = objects.get(current, 0) + int(line.split()[1])
            inclusive = False
    total = re.search(r"^totals: (\d+)$", text, re.M)
    if total is None or sum(objects.values()) != int(total[1]):
        raise Unable("callgrind's output is not as expected: its objects do not add up to its total")
    return objects


def counted(dumps, count, own):
    """Return the Count of a work from its dumps: the first of no call, the others of `count` calls each.

    `own` tells of an object's name whether it is zmqcy's.
    """
    pairs = [(sum(objects.values()), sum(n for name, n in objects.items() if own(name))) for objects in dumps]
    empty, *samples = (Count(*pair) for pair in pairs)
    # The median: libzmq looks at its clock now and then, and Python and the linker do things once.
    totals, owns = zip(*samples, strict=True)
    return Count((statistics.median(totals) - empty.total) / count, (statistics.median(owns) - empty.own) / count)


def measure(tree, name):
    """Return the Count of a work in a built tree, None where the tree lacks the call."""
    count = WORKS[name][1]
    with tempfile.TemporaryDirectory(prefix="zmqcy-guard-") as folder:
        out = Path(folder, "dump")
        words = [
            "valgrind", "-q", "--tool=callgrind", f"--dump-before={MARK}", "--dump-line=no",
            f"--callgrind-out-file={out}", sys.executable, "-S", "-s", "-B", str(HERE / "guard_works.py"), name,
            str(count),
        ]  # fmt: skip
        env = {
            "PATH": os.environ["PATH"],  # and nothing else, which would move the stack
            "PYTHONPATH": str(tree),
            "PYTHONHASHSEED": "0",
            # A string instruction counts once a byte: two copies of 64 KB would hide all the rest.
            "GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1073741824",
        }
        if "LD_LIBRARY_PATH" in os.environ:
            env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        if done.returncode == LACKING:
            return None
        if done.returncode:
            raise Unable(f"{name} in {tree} ended with {done.returncode}: {done.stderr.strip()}")
        # Dump 1 is all that came before the first mark; what came after the last is in a file without a number.
        files = [Path(f"{out}.{number}") for number in range(2, SAMPLES + 3)]
        if not all(file.exists() for file in files):
            raise Unable(f"{name}: callgrind did not dump at {MARK}: {done.stderr.strip()}")
        package = str(Path(tree, "zmqcy")) + os.sep
        return counted([parse(file.read_text()) for file in files], count, lambda object: object.startswith(package))


# ---- the two trees


def git(*words, text=True):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True)
    if done.returncode:
        raise Unable(f"git {' '.join(words)}: {done.stderr.decode().strip()}")
    return done.stdout.decode() if text else done.stdout


def default_base():
    """Return HEAD where what is built differs from it, else the commit before."""
    return "HEAD" if git("status", "--porcelain", "--", *BUILT) else "HEAD~1"


def extract(commit, folder):
    with tarfile.open(fileobj=BytesIO(git("archive", commit, text=False))) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)


def copy(folder):
    """Copy the working tree without what git ignores: nothing of older builds comes along."""
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)


def build(tree):
    """Build a tree in its place as a release."""
    env = {key: value for key, value in os.environ.items() if key not in ("ZMQCY_DEBUG", "ZMQCY_SANITIZE")}
    words = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"{tree.name} does not build:\n{done.stdout}{done.stderr}")


# ---- the report


def report(rows, limit):
    """Print a table of (work, Count of base, Count of now), either may be None; return the works that have grown."""
    width = max(len(name) for name, _, _ in rows)
    print(f"{'instructions a call':{width}}{'':4}{'in all':^31}{'':4}{'in zmqcy':^31}")
    print(f"{'':{width}}" + f"{'':4}{'base':>10}{'now':>10}{'change':>11}" * 2)
    grown = []
    for name, base, now in rows:
        line = f"{name:{width}}"
        for part in ("total", "own"):
            was, is_now = (getattr(count, part, None) for count in (base, now))
            figures = "".join(f"{'-' if value is None else format(value, ',.1f'):>10}" for value in (was, is_now))
            change = "-" if was is None or is_now is None else f"{grown_by(was, is_now):+.2f} %"
            line += f"{'':4}{figures}{change:>11}"
        if base and now and grown_by(base.total, now.total) > limit:
            grown.append(name)
            line += "  <"
        print(line)
    return grown


def grown_by(base, now):
    """Return the change in percent."""
    return 100 * (now - base) / base if base else 0.0


def compare(base, limit):
    """Build, count and report; return the works that have grown."""
    if not shutil.which("valgrind"):
        raise Unable(INSTALL)
    base = base or default_base()
    commit = git("rev-parse", "--short", "--verify", f"{base}^{{commit}}").strip()
    # Two at a time, even on a busy machine: what is counted does not depend on time.
    with tempfile.TemporaryDirectory(prefix="zmqcy-guard-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        trees = [Path(folder, "base"), Path(folder, "work")]  # of the same length, as paths are in memory too
        trees[1].mkdir()
        extract(commit, trees[0])
        copy(trees[1])
        list(pool.map(build, trees))
        jobs = [(tree, name) for name in WORKS for tree in trees]
        counts = iter(pool.map(lambda job: measure(*job), jobs))
        rows = [(name, next(counts), next(counts)) for name in WORKS]
    print(f"base: {base} ({commit})\n")
    return report(rows, limit)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", nargs="?", help="a commit (default HEAD; its parent if nothing was changed since HEAD)")
    parser.add_argument("--limit", type=float, default=2.0, help="percent that a work may grow by (default 2)")
    options = parser.parse_args(words)
    try:
        grown = compare(options.base, options.limit)
    except Unable as error:
        print(error, file=sys.stderr)
        return 2
    if grown:
        print(f"\ngrown by more than {options.limit:g} %: {'; '.join(grown)}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
