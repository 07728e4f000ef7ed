"""Run the tests on a special build of the extension modules: with drafts, sanitizers, valgrind or coverage. Needs gcc.

    tools/instrumented.py drafts|address|thread|valgrind|coverage [--quick] [ARGUMENTS FOR PYTEST]

drafts      a libzmq with drafts: that of ZMQCY_LIBZMQ, or one that is built in build/libzmq-drafts
address     AddressSanitizer and UndefinedBehaviorSanitizer; the process aborts at the first report
thread      ThreadSanitizer; its reports are printed at the end
valgrind    a release build; the reports about zmqcy and libzmq are printed at the end
coverage    a libzmq with drafts; prints the lines of .pyx files that no test reached

The modules are built in build/KIND. Those of the working tree do not change.
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
TESTS = {  # tests of memory and threads; an empty list means all tests
    "address": [],
    "coverage": [],
    "drafts": CORE,
    "thread": THREADED,
    "valgrind": ["lending", "frames", "batches"],
}
QUICK = {  # about a minute each
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
WITHOUT = [  # tests that do not test the extension modules
    f"--ignore=tests/project/test_{topic}.py"
    for topic in ("benchmarks", "build", "examples", "guard", "network_benchmark", "readme")
]
SANITIZED = [
    # tests of memory, processor time or durations, which differ under a sanitizer
    "test_aio_reliability.py::test_soak",
    "test_device.py::test_a_full_side_costs_no_cpu",
    "test_device.py::test_idle_devices_cost_no_cpu",
    "test_docs.py",
    "test_faults.py::test_what_zmqcy_makes_of_it[many_sockets]",
    "test_memory.py::test_large_messages_find_their_pages_again",
    "test_soak.py",
    "test_strangers.py::test_a_length_that_is_a_lie_costs_no_memory",
    "test_strangers.py::test_connections_that_say_nothing",
    # tests that start programs which fail with a preloaded library: a browser, and Python with another libzmq
    "test_web.py::test_the_page",
    "test_library.py::test_an_old_libzmq_is_refused_at_import",
    "test_library.py::test_info_tells_what_pointed_to_a_library_in_another_place",
]
UNFIT: dict[str, list[str]] = {
    "drafts": [],
    "address": [
        *SANITIZED,
        # a child that forks during an allocation of another thread deadlocks in AddressSanitizer (gcc 12)
        "test_context.py::test_an_instance_that_is_being_made_stops_no_other",
        "test_faults.py::test_what_zmqcy_makes_of_it[children]",
        "test_fork.py::test_the_child_of_a_program_with_open_sockets_exits_as_always",
    ],
    "thread": SANITIZED,
    "coverage": [
        # its children have no file descriptor left to write the counts, and report that
        "test_faults.py::test_what_zmqcy_makes_of_it[descriptors_of_a_context]",
    ],
    "valgrind": [
        # valgrind runs one thread at a time; then libzmq counts dropped messages as sent (docs/reliability.md)
        "test_batches.py::test_a_peer_that_goes_in_the_middle_tears_no_message",
    ],
}


def folder(kind: str) -> Path:
    """Return a copy of the package and its tests, with modules built for `kind`."""
    place = ROOT / "build" / kind
    for name in ("zmqcy", "tests", "tools", "examples", "docs", "benchmarks", "packaging"):
        if name != "zmqcy":  # keep the modules whose sources have not changed
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
    if kind == "coverage":  # os._exit, which forked children use, does not write the counts
        (place / "sitecustomize.py").write_text(EXIT)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=place, env={**os.environ, **BUILD[kind]}, check=True)
    return place


def in_its_folder(test: str) -> str:
    """Return a test file, or a test in it, with the folder of the file."""
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
        result["PYTHONMALLOC"] = "malloc"  # so that each object is a separate block
    if kind == "address":
        result["LD_PRELOAD"] = f"{library('libasan.so')} {library('libubsan.so')}"
        result["ASAN_OPTIONS"] = (
            "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:"  # CPython does not free everything
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
    """Print the lines of each .pyx that no test reached; return whether a module has less than 95 %."""
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
    """Return how often each line of a .pyx ran: the maximum of its C lines."""
    counts = {line["line_number"]: line["count"] for line in counted}
    mark = re.compile(rf' */\* "zmqcy/{code.stem}\.pyx":(\d+)')
    number = 0
    result: dict[int, int] = {}
    for place, text in enumerate(code.read_text().splitlines(), 1):
        if found := mark.match(text):
            number = int(found[1])
        elif text.startswith("}"):  # the end of a function: the next C lines belong to no line
            number = 0
        elif number and place in counts:
            result[number] = max(result.get(number, 0), counts[place])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=list(BUILD))
    parser.add_argument("--quick", action="store_true", help="run fewer tests")
    options, arguments = parser.parse_known_args()
    kind = options.kind
    if kind in ("drafts", "coverage") and not os.environ.get("ZMQCY_LIBZMQ"):
        os.environ["ZMQCY_LIBZMQ"] = str(ROOT / "build" / "libzmq-drafts")
        subprocess.run([sys.executable, ROOT / "tools" / "build_libzmq.py", os.environ["ZMQCY_LIBZMQ"]], check=True)
    place = folder(kind)
    if kind == "drafts":
        program = "import sys, zmqcy; zmqcy.has('draft') or sys.exit('this libzmq has no drafts')"
        subprocess.run([sys.executable, "-c", program], cwd=place, env=environment(kind, place), check=True)
    if not any((place / each.partition("::")[0]).exists() for each in arguments):  # no test is named
        topics = (QUICK if options.quick else TESTS)[kind]
        arguments += [in_its_folder(f"test_{topic}.py") for topic in topics] or WITHOUT
    arguments += [f"--deselect={in_its_folder(test)}" for test in UNFIT[kind]]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=600", *arguments]
    if kind == "thread":
        # ThreadSanitizer needs addresses without randomization, and does not support forks with threads.
        command = ["setarch", "-R", *command, "-k", "not process and not fork"]
    if kind == "valgrind":
        command = ["valgrind", "-q", "--errors-for-leak-kinds=none", f"--log-file={place}/report.%p", *command]
    code = subprocess.run(command, cwd=place, env=environment(kind, place)).returncode
    if code < 0:
        print(f"instrumented: the tests were killed by a signal: {signal.strsignal(-code)}")
    for report in sorted(place.glob("report.*")):
        for found in re.split(r"^=+$|^==\d+== $", report.read_text(), flags=re.M):
            if kind == "address":  # a failed allocation of a size from an untrusted peer is no error
                found = re.sub(r"^==\d+==WARNING: AddressSanitizer failed to allocate .*\n", "", found, flags=re.M)
            # CPython itself reads uninitialized memory
            if found.strip() and (kind != "valgrind" or re.search(r"zmqcy/_|libzmq", found)):
                print(found)
                code = 1
    return uncovered(place) or code if kind == "coverage" else code


if __name__ == "__main__":
    sys.exit(main())
