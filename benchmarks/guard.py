"""Compare the working tree with a commit by CPU instructions per call, which do not vary with the load of the machine.

Both trees are copied and built in the same way. Each work of guard_works.py runs in both under callgrind. The exit code
is 1 if the instructions of a work, with those of libzmq and Python, have grown by more than the limit, and 2 if they
could not be counted. --breakdown prints instead how many instructions of a message belong to which code.
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

from common import baseline
from guard_works import LACKING, SAMPLES, WORKS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ["zmqcy", "setup.py", "pyproject.toml"]  # the sources of the extension modules
MARK = "getppid"  # nothing else calls it
OWN, REST = "zmqcy's own code", "the interpreter and the loop"
INSTALL = """guard: valgrind is not installed. Install it:
    Debian, Ubuntu   apt-get install valgrind
    Fedora           dnf install valgrind"""


class Unable(Exception):
    """The instructions cannot be counted."""


class Count(NamedTuple):
    """Instructions per call: all, and those of zmqcy's extension modules."""

    total: float
    own: float


# ---- callgrind


def parse(text):
    """Return the instructions per object (library or program) of a callgrind dump of one event without lines."""
    names, objects = {}, {}
    current = inclusive = None
    for line in text.splitlines():
        if line.startswith(("ob=", "cob=")):
            # A number has its name where it first appears, which may be in a cob= line.
            number, name = re.fullmatch(r"c?ob=\((\d+)\)(?: (.*))?", line).groups()
            if name is not None:
                names[number] = name
            if line[0] == "o":
                current = names[number]
        elif line.startswith("calls="):
            inclusive = True  # the next line is the inclusive cost of the call, which the callee counts itself
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not inclusive:
                objects[current] = objects.get(current, 0) + int(line.split()[1])
            inclusive = False
    total = re.search(r"^totals: (\d+)$", text, re.M)
    if total is None or sum(objects.values()) != int(total[1]):
        raise Unable("callgrind's output is not as expected: its objects do not add up to its total")
    return objects


def calls(text, own):
    """Return the instructions of a callgrind dump by part: our objects, each function that they call, and the rest.

    The cost of a function includes its callees. `own` returns whether the object of a name is ours.
    """
    names, parts = {}, {OWN: 0}
    ours = callee_is_ours = called = False
    callee = None
    for line in text.splitlines():
        found = re.fullmatch(r"(c?)(ob|fn)=(\(\d+\))(?: (.*))?", line)
        if found:
            called_one, kind, number, name = found.groups()
            name = names.setdefault((kind, number), name)
            if kind == "ob" and not called_one:
                ours = callee_is_ours = own(name)
            elif kind == "ob":
                callee_is_ours = own(name)
            elif called_one:
                callee = name
        elif line.startswith("calls="):
            called = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if ours and not (called and callee_is_ours):
                part = callee if called else OWN
                parts[part] = parts.get(part, 0) + int(line.split()[1])
            if called:
                called, callee_is_ours = False, ours
    return parts | {REST: int(re.search(r"^totals: (\d+)$", text, re.M)[1]) - sum(parts.values())}


def counted(dumps, count, own):
    """Return the Count of a work from its dumps: the first has no call, the others `count` calls each.

    `own` returns whether the object of a name is zmqcy's.
    """
    pairs = [(sum(objects.values()), sum(n for name, n in objects.items() if own(name))) for objects in dumps]
    empty, *samples = (Count(*pair) for pair in pairs)
    # The median, because libzmq sometimes reads its clock, and Python and the linker do some work only once.
    totals, owns = zip(*samples, strict=True)
    return Count((statistics.median(totals) - empty.total) / count, (statistics.median(owns) - empty.own) / count)


def measure(tree, name):
    """Return the Count of a work in a built tree, or None if the tree lacks the call."""
    texts = dumps_of(tree, name)
    return texts and counted([parse(text) for text in texts], WORKS[name][1], lambda object: is_own(tree, object))


def is_own(tree, object):
    return object.startswith(str(Path(tree, "zmqcy")) + os.sep)


def dumps_of(tree, name):
    """Return callgrind's dumps of a work in a built tree for `counted`, or None if the tree lacks the call."""
    count = WORKS[name][1]
    with tempfile.TemporaryDirectory(prefix="zmqcy-guard-") as folder:
        out = Path(folder, "dump")
        words = [
            "valgrind", "-q", "--tool=callgrind", f"--dump-before={MARK}", "--dump-line=no",
            f"--callgrind-out-file={out}", sys.executable, "-S", "-s", "-B", str(HERE / "guard_works.py"), name,
            str(count),
        ]  # fmt: skip
        env = {
            "PATH": os.environ["PATH"],  # nothing else: the size of the environment moves the stack
            "PYTHONPATH": str(tree),
            "PYTHONHASHSEED": "0",
            # callgrind counts a string instruction once per byte: two copies of 64 KB would hide everything else.
            "GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1073741824",
        }
        if "LD_LIBRARY_PATH" in os.environ:
            env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        if done.returncode == LACKING:
            return None
        if done.returncode:
            raise Unable(f"{name} in {tree} failed with exit code {done.returncode}: {done.stderr.strip()}")
        # Dump 1 is everything before the first mark. The file without a number is everything after the last.
        files = [Path(f"{out}.{number}") for number in range(2, SAMPLES + 3)]
        if not all(file.exists() for file in files):
            raise Unable(f"{name}: callgrind did not dump at {MARK}: {done.stderr.strip()}")
        return [file.read_text() for file in files]


def dump_of_c(count):
    """Return callgrind's dump of a C program that sends and receives `count` messages, after a tenth to warm up."""
    with tempfile.TemporaryDirectory(prefix="zmqcy-guard-") as folder:
        out = Path(folder, "dump")
        words = ["valgrind", "-q", "--tool=callgrind", "--dump-line=no", f"--callgrind-out-file={out}", baseline()]
        words += ["pair", "", f"count={count}", "seconds=600"]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=nothing, text=True) as program:
            if not program.stdout.readline() or not program.stdout.readline().startswith("rate="):
                raise Unable("the program in C does not run under callgrind")
            program.stdin.close()  # the program exits when its stdin is closed
        return out.read_text()


def breakdown():
    """Print the instructions of a send and a recv of 8 bytes in one thread by part, in zmqcy and in C."""
    if not shutil.which("valgrind"):
        raise Unable(INSTALL)
    work = "send, recv 8 B"
    empty, *samples = [calls(text, lambda object: is_own(ROOT, object)) for text in dumps_of(ROOT, work)]
    few, many = [calls(dump_of_c(count), lambda object: object == baseline()) for count in (1000, 2000)]
    parts = sorted(samples[0] | many, key=lambda part: (not part.startswith("zmq_"), part == REST, part))
    rows = []
    for part in parts:
        ours = (statistics.median(each.get(part, 0) for each in samples) - empty.get(part, 0)) / WORKS[work][1]
        c = (many.get(part, 0) - few.get(part, 0)) / 1100 if part.startswith("zmq_") else 0
        if max(ours, c) >= 0.5:
            rows.append((part, ours, c))
    rows.append(("total", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    print(f"{'instructions of ' + work:40}{'zmqcy':>8}{'C':>8}")
    for part, *figures in rows:
        print(f"{part:40}" + "".join(f"{figure:8,.0f}" for figure in figures))


# ---- the two trees


def git(*words, text=True):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True)
    if done.returncode:
        raise Unable(f"git {' '.join(words)}: {done.stderr.decode().strip()}")
    return done.stdout.decode() if text else done.stdout


def default_base():
    """Return HEAD if the sources of the modules differ from it, otherwise the commit before."""
    return "HEAD" if git("status", "--porcelain", "--", *BUILT) else "HEAD~1"


def extract(commit, folder):
    with tarfile.open(fileobj=BytesIO(git("archive", commit, text=False))) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)


def copy(folder):
    """Copy the working tree without ignored files, so without older builds."""
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)


def build(tree):
    """Build a tree in place as a release."""
    env = {key: value for key, value in os.environ.items() if key not in ("ZMQCY_DEBUG", "ZMQCY_SANITIZE")}
    words = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"{tree.name} does not build:\n{done.stdout}{done.stderr}")


# ---- the report


def report(rows, limit):
    """Print rows of (work, base Count, new Count), either of which may be None; return the works that have grown."""
    width = max(len(name) for name, _, _ in rows)
    print(f"{'instructions per call':{width}}{'':4}{'total':^31}{'':4}{'in zmqcy':^31}")
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
    # In parallel, even on a busy machine: the counts do not depend on time.
    with tempfile.TemporaryDirectory(prefix="zmqcy-guard-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        trees = [Path(folder, "base"), Path(folder, "work")]  # of the same length, because paths are in memory too
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
    parser.add_argument(
        "base", nargs="?", help="a commit (default: HEAD, or its parent if the working tree is unchanged)"
    )
    parser.add_argument("--limit", type=float, default=2.0, help="maximum growth of a work in percent (default 2)")
    parser.add_argument(
        "--breakdown", action="store_true", help="print instead which code the instructions of a message belong to"
    )
    options = parser.parse_args(words)
    try:
        if options.breakdown:
            breakdown()
            return 0
        grown = compare(options.base, options.limit)
    except Unable as error:
        print(error, file=sys.stderr)
        return 2
    if grown:
        print(f"\ngrown by more than {options.limit:g} %: {'; '.join(grown)}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
