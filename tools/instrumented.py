"""Run the tests with extension modules of another build: with drafts, looking for mistakes, counting lines.

    tools/instrumented.py drafts|address|thread|valgrind|coverage [--quick] [ARGUMENTS FOR PYTEST]

address is AddressSanitizer with UndefinedBehaviorSanitizer, thread is ThreadSanitizer; a report of the former ends the
process that made it, those of the latter are shown at the end, as are those of valgrind on the release build that have
to do with us. drafts and coverage are with a libzmq that has drafts, that of ZMQCY_LIBZMQ or one that is built in
build/libzmq-drafts; coverage prints the lines of the .pyx files that no test reached. The modules are built apart, in
build/NAME; those of the working tree stay as they are. It needs gcc.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLLS = ["poll", "poll_crowds", "poll_descriptors", "poll_edges", "poll_errors", "select"]
BUILD: dict[str, dict[str, str]] = {
    "drafts": {},
    "address": {"ZMQCY_SANITIZE": "address"},
    "thread": {"ZMQCY_SANITIZE": "thread"},
    "coverage": {"ZMQCY_COVERAGE": "1"},
    "valgrind": {},
}
THREADED = [
    *("threads", "device", "devices", "monitor", *POLLS, "stats", "lending", "frames", "batches", "context", "socket"),
    *("spin", "filter", "signals", "exit", "guarantees", "auth", "metrics"),
    *("aio", "aio_loops", "aio_futures", "aio_poll"),
]
CORE = [
    *("drafts", "options", "options_refused", "options_effects", "context_options", "constants", "errors", "context"),
    *("socket", "socket_types", "frames", *POLLS, "batches", "stats", "threads"),
    *("signals", "fork", "aio", "aio_poll", "tuned"),
]
TESTS = {  # those of memory that changes hands, and of threads; all of them where none is named
    "address": [],
    "coverage": [],
    "drafts": CORE,
    "thread": THREADED,
    "valgrind": ["lending", "frames", "batches"],
}
QUICK = {  # in a minute or so each
    "drafts": ["drafts"],
    "address": ["lending", "frames", "batches", "threads", *POLLS, "device"],
    "thread": ["threads", "device"],
    "valgrind": ["frames"],
}
EXIT = """\
import ctypes, os, sys

def leave(status, leave=os._exit):
    for name, module in list(sys.modules.items()):
        if name.startswith("zmqcy._") and module.__file__.endswith(".so"):
            ctypes.CDLL(module.__file__).__gcov_dump()
    leave(status)

os._exit = leave
"""
WITHOUT = [  # what says nothing about the extension modules
    f"--ignore=tests/project/test_{topic}.py"
    for topic in ("benchmarks", "build", "examples", "guard", "network_benchmark", "readme")
]
SANITIZED = [
    # what measures memory or processor time, or waits for so many seconds, which are others under a sanitizer
    "test_aio_reliability.py::test_soak",
    "test_device.py::test_a_full_side_costs_no_cpu",
    "test_device.py::test_idle_devices_cost_no_cpu",
    "test_docs.py",
    "test_faults.py::test_what_zmqcy_makes_of_it[many_sockets]",
    "test_memory.py::test_large_messages_find_their_pages_again",
    "test_soak.py",
    "test_strangers.py::test_a_length_that_is_a_lie_costs_no_memory",
    "test_strangers.py::test_connections_that_say_nothing",
    # what starts programs that do not bear to be preloaded: a browser, and an interpreter with another libzmq
    "test_web.py::test_the_page",
    "test_library.py::test_an_old_libzmq_is_refused_at_import",
    "test_library.py::test_info_tells_what_pointed_to_a_library_in_another_place",
]
UNFIT: dict[str, list[str]] = {
    "drafts": [],
    "address": [
        *SANITIZED,
        # a child that another thread's allocation was forked in waits for AddressSanitizer's lock for ever (gcc 12)
        "test_context.py::test_an_instance_that_is_being_made_stops_no_other",
        "test_faults.py::test_what_zmqcy_makes_of_it[children]",
        "test_fork.py::test_the_child_of_a_program_with_open_sockets_exits_as_always",
    ],
    "thread": SANITIZED,
    "coverage": [
        # its children have no descriptor left for the counts, and say so
        "test_faults.py::test_what_zmqcy_makes_of_it[descriptors_of_a_context]",
    ],
    "valgrind": [
        # it runs one thread at a time, and libzmq counts as sent what it drops then (docs/reliability.md)
        "test_batches.py::test_a_peer_that_goes_in_the_middle_tears_no_message",
    ],
}


def folder(kind: str) -> Path:
    """Return a copy of the package and its tests, with modules that were built for `kind`."""
    place = ROOT / "build" / kind
    for name in ("zmqcy", "tests", "tools", "examples", "docs", "benchmarks", "packaging"):
        if name != "zmqcy":  # whose modules are kept, for what has not changed
            shutil.rmtree(place / name, ignore_errors=True)
        shutil.copytree(
            ROOT / name,
            place / name,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("*.so", "*.c" if name == "zmqcy" else "", "__pycache__"),
        )
    for page in ROOT.glob("*.md"):
        shutil.copy2(page, place)
    for name in ("setup.py", "pyproject.toml", "LICENSE", "Makefile"):
        shutil.copy2(ROOT / name, place)
    for old in (*place.rglob("*.gcda"), *place.glob("report.*")):
        old.unlink()
    if kind == "coverage":  # the counts are written as a process exits, but not by os._exit, which forked children use
        (place / "sitecustomize.py").write_text(EXIT)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=place, env={**os.environ, **BUILD[kind]}, check=True)
    return place


def in_its_folder(test: str) -> str:
    """Return the name of a file of tests, or of a test in one, with the file's folder before it."""
    name, colons, rest = test.partition("::")
    [path] = ROOT.glob(f"tests/*/{name}")
    return f"{path.relative_to(ROOT)}{colons}{rest}"


def library(name: str) -> str:
    """Return the path of one of gcc's libraries."""
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        raise SystemExit(f"instrumented: gcc has no {name}")
    return found


def environment(kind: str, place: Path) -> dict[str, str]:
    result = {**os.environ, "PYTHONPATH": str(place)}
    if kind in ("address", "thread", "valgrind"):
        result["ZMQCY_INSTRUMENTED"] = kind
    if kind in ("address", "valgrind"):
        result["PYTHONMALLOC"] = "malloc"  # so that each object is a block of its own
    if kind == "address":
        result["LD_PRELOAD"] = f"{library('libasan.so')} {library('libubsan.so')}"
        result["ASAN_OPTIONS"] = (
            "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:"  # CPython keeps what it has
            f"log_path={place}/report"
        )
        result["UBSAN_OPTIONS"] = "halt_on_error=1:abort_on_error=1:print_stacktrace=1"
    if kind == "thread":
        result["LD_PRELOAD"] = library("libtsan.so")
        result["TSAN_OPTIONS"] = (
            "exitcode=0:die_after_fork=0:history_size=7:"
            f"log_path={place}/report:suppressions={ROOT / 'tools' / 'tsan.supp'}"
        )
    return result


def uncovered(place: Path) -> int:
    """Print the lines of each .pyx that no test reached; return whether any module has under 95 percent."""
    low = 0
    for counts in sorted(place.rglob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", str(counts)]
        report = json.loads(subprocess.run(command, cwd=counts.parent, capture_output=True, check=True).stdout)
        code = place / "zmqcy" / f"{counts.stem}.c"
        lines = reached(code, next(file["lines"] for file in report["files"] if Path(file["file"]).name == code.name))
        source = code.with_suffix(".pyx").read_text().splitlines()
        missed = [number for number in sorted(lines) if not lines[number]]
        share = 100 * (1 - len(missed) / len(lines))
        low |= share < 95
        print(f"\n{code.stem}.pyx: {share:.1f} % of {len(lines)} lines")
        for number in missed:
            print(f"    {number:5} {source[number - 1]}")
    return low


def reached(code: Path, counted: list[dict[str, int]]) -> dict[int, int]:
    """Return how often each line of a .pyx ran: as often as the line of C made of it that ran most."""
    counts = {line["line_number"]: line["count"] for line in counted}
    mark = re.compile(rf' */\* "zmqcy/{code.stem}\.pyx":(\d+)')
    number = 0
    result: dict[int, int] = {}
    for place, text in enumerate(code.read_text().splitlines(), 1):
        if found := mark.match(text):
            number = int(found[1])
        elif text.startswith("}"):  # the end of a function; what follows is of no line
            number = 0
        elif number and place in counts:
            result[number] = max(result.get(number, 0), counts[place])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=list(BUILD))
    parser.add_argument("--quick", action="store_true", help="a few of the tests")
    options, arguments = parser.parse_known_args()
    kind = options.kind
    if kind in ("drafts", "coverage") and not os.environ.get("ZMQCY_LIBZMQ"):
        os.environ["ZMQCY_LIBZMQ"] = str(ROOT / "build" / "libzmq-drafts")
        subprocess.run([sys.executable, ROOT / "tools" / "build_libzmq.py", os.environ["ZMQCY_LIBZMQ"]], check=True)
    place = folder(kind)
    if kind == "drafts":
        program = "import sys, zmqcy; zmqcy.has('draft') or sys.exit('this libzmq has no drafts')"
        subprocess.run([sys.executable, "-c", program], cwd=place, env=environment(kind, place), check=True)
    if not any((place / each.partition("::")[0]).exists() for each in arguments):  # none is a test: all of them
        topics = (QUICK if options.quick else TESTS)[kind]
        arguments += [in_its_folder(f"test_{topic}.py") for topic in topics] or WITHOUT
    arguments += [f"--deselect={in_its_folder(test)}" for test in UNFIT[kind]]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=600", *arguments]
    if kind == "thread":
        # Its shadow memory wants addresses that are not at random, and a fork beside threads it does not bear.
        command = ["setarch", "-R", *command, "-k", "not process and not fork"]
    if kind == "valgrind":
        command = ["valgrind", "-q", "--errors-for-leak-kinds=none", f"--log-file={place}/report.%p", *command]
    code = subprocess.run(command, cwd=place, env=environment(kind, place)).returncode
    if code < 0:
        print(f"instrumented: {signal.strsignal(-code)} has ended the tests")
    for report in sorted(place.glob("report.*")):
        for found in re.split(r"^=+$|^==\d+== $", report.read_text(), flags=re.M):
            if kind == "address":  # to have no memory for what a stranger says is no mistake
                found = re.sub(r"^==\d+==WARNING: AddressSanitizer failed to allocate .*\n", "", found, flags=re.M)
            # CPython itself reads what it has not written
            if found.strip() and (kind != "valgrind" or re.search(r"zmqcy/_|libzmq", found)):
                print(found)
                code = 1
    return uncovered(place) or code if kind == "coverage" else code


if __name__ == "__main__":
    sys.exit(main())
