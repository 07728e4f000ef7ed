"""Run the programs of this folder, and the test suites of some, on pyzmq and on zmqcy; write docs/programs.md.

    python run.py                    all of them
    python run.py kernel ipykernel   some of them; only their rows of the table change

Each program has two virtual environments in build/programs/, which are made once: one with pyzmq, one with the package
of packaging/zmqcy-as-pyzmq and the zmqcy of this tree. The other output of a run is in build/programs/*.log. A test
suite comes from the source distribution of its program. Failed tests run once more, on both sides.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PLACE = ROOT / "build" / "programs"
PAGE = ROOT / "docs" / "programs.md"
ROWS = PLACE / "rows.json"  # rows of the table, from this run and earlier ones
BEGIN, END = "<!-- table: made by `make programs` -->\n", "<!-- end of table -->\n"
PYZMQ = "pyzmq==27.3.0"
LIMIT = 180  # s per program
SUITE_LIMIT = 900  # s per test suite
JUPYTER = ["ipykernel==7.4.0", "jupyter_client==8.10.0"]
PYTEST = [
    "pytest==9.2.0",
    "pytest-timeout==2.4.0",
    "pytest-asyncio==1.5.0",
    "pytest-jupyter[client]==0.11.0",
    "pytest-cov==7.1.0",
    "flaky==3.8.1",
    "trio==0.35.0",
    "msgpack==1.2.4",
    "ipyparallel==9.2.0",
]
"""Dependencies of the two test suites."""
PROGRAMS = {
    "kernel": ("jupyter", JUPYTER),
    "parallel": ("ipyparallel", ["ipyparallel==9.2.0"]),
    "watch": ("circus", ["circus==0.19.0"]),
    "load": ("locust", ["locust==2.47.0"]),
    "workflow": ("parsl", ["parsl==2026.10.26"]),
    "documents": ("bluesky", ["bluesky==1.15.1"]),
}
"""Each script of this folder, with the name and the packages of its environment."""
SUITES = {
    "jupyter_client": ("jupyter", JUPYTER, "jupyter_client==8.10.0", ["-p", "no:asyncio"]),  # its tests use anyio
    "ipykernel": ("jupyter", JUPYTER, "ipykernel==7.4.0", ["-o", "asyncio_default_fixture_loop_scope=function"]),
}
"""Each test suite: the name and the packages of its environment, the distribution with its tests, options of pytest."""


def pip(python, *arguments):
    subprocess.run([python, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments], check=True)


def build():
    """Build wheels of this tree and of the package that replaces pyzmq; return them."""
    wheels = PLACE / "wheels"
    for old in (wheels, *ROOT.glob("build/lib.*")):  # setuptools would take older files from there
        shutil.rmtree(old, ignore_errors=True)
    pip(sys.executable, "wheel", "--no-build-isolation", "--no-deps", "-w", wheels, ROOT,
        ROOT / "packaging" / "zmqcy-as-pyzmq")  # fmt: skip
    return sorted(map(str, wheels.glob("*.whl")))


def environment(name, side, packages, wheels):
    """Make an environment, unless it exists with the same packages; return its Python."""
    folder = PLACE / f"{name}-{side}"
    python, stamp = folder / "bin" / "python", folder / "packages"
    packages = [*packages, *(PYTEST if name == "jupyter" else ())]
    if not stamp.exists() or stamp.read_text().split() != packages:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip(python, "install", *(wheels if side == "zmqcy" else [PYZMQ]), *packages)
        stamp.write_text("\n".join(packages))
    elif side == "zmqcy":
        pip(python, "install", "--no-deps", "--force-reinstall", *wheels)
    return python


def start(python, side, log, limit, *command, cwd=PLACE):
    """Run a script with the Python of an environment. Return its lines of JSON, and the error of the run, or ""."""
    home = PLACE / "home"
    home.mkdir(exist_ok=True)
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])  # programs start commands of their own package
    log = PLACE / f"{log}-{side}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [python, *command], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=cwd, start_new_session=True,
            env={**os.environ, "PATH": path, "HOME": str(home)},
        )  # fmt: skip
        try:
            out, _ = process.communicate(timeout=limit)
            wrong = f"exit code {process.returncode}" if process.returncode else ""
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            wrong = f"timed out after {limit} s"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # processes that it has left running
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert not lines or lines[0]["side"] == side, lines[0]
    return lines, wrong and f"{wrong}, see {log.relative_to(ROOT)}"


def run(script, python, side):
    """Run a program; return the error of each step, or ""."""
    lines, wrong = start(python, side, script, LIMIT, Path(__file__).with_name(f"{script}.py"))
    done = {line["step"]: line["wrong"] for line in lines if "step" in line}
    if wrong and not any(done.values()):
        done["other steps"] = wrong
    return done


def fetch(distribution):
    """Return the folder with the tests of a distribution and their configuration. Nothing else is extracted."""
    place = PLACE / "sources" / distribution
    name = distribution.partition("==")[0]
    if not place.exists():
        pip(sys.executable, "download", "--no-deps", "--no-binary", name, "--dest", f"{place}.tar", distribution)
        [file] = Path(f"{place}.tar").glob("*.tar.gz")
        with tarfile.open(file) as archive:
            wanted = [each for each in archive if re.match(r"[^/]+/(tests/|pyproject\.toml$)", each.name)]
            archive.extractall(place, wanted, filter="data")
        shutil.rmtree(f"{place}.tar")
    [folder] = place.iterdir()
    return folder


def run_suite(name, python, side):
    """Run a test suite; return the outcome and text of each test, and the number of tests that needed two tries."""
    _, _, distribution, options = SUITES[name]
    folder, script = fetch(distribution), Path(__file__).with_name("suite.py")
    outcomes, failed, again = {}, ["tests"], 0
    for log in (f"suite-{name}", f"suite-{name}-again"):
        lines, wrong = start(python, side, log, SUITE_LIMIT, script, *options, *failed, cwd=folder)
        found = {}
        for line in lines:
            test = line.get("test")
            if test and found.get(test, ("",))[0] != "failed":  # an error in the teardown counts
                found[test] = line["outcome"], line["text"]
        found = {test: ("failed" if kind == "begun" else kind, text) for test, (kind, text) in found.items()}
        again = sum(found.get(test, ("",))[0] == "passed" for test in failed)
        outcomes |= found
        failed = [test for test, (outcome, _) in outcomes.items() if outcome == "failed" and "::" in test]
        if not found:
            return {"all of them": ("failed", wrong)}, 0
        if not failed:
            break
    return outcomes, again


def said(steps):
    good = sum(not wrong for wrong in steps.values())
    wrong = [f"{step}: {text}" for step, text in steps.items() if text]
    return "; ".join([f"{good} of {len(steps)}", *wrong]).replace("|", "/").replace("\n", " ")


def counted(outcomes, again):
    kinds = [outcome for outcome, _ in outcomes.values()]
    text = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("passed", "failed", "skipped"))
    return f"{text} ({again} at the second try)" if again else text


def pins(packages):
    return ", ".join(each.replace("==", " ") for each in packages)


def compare(name, wheels):
    """Run a program, or a test suite, on both. Return its row of the table, and whether it failed on zmqcy."""
    found = {}
    place, packages = (PROGRAMS.get(name) or SUITES[name])[:2]
    for side in ("pyzmq", "zmqcy"):
        python, since = environment(place, side, packages, wheels), time.monotonic()
        found[side] = (run if name in PROGRAMS else run_suite)(name, python, side)
        text = said(found[side]) if name in PROGRAMS else counted(*found[side])
        print(f"{name:<14} {side}: {text}  ({time.monotonic() - since:.0f} s)", flush=True)
    if name in PROGRAMS:
        what = ", ".join(max(found.values(), key=len))
        return [pins(packages), what, *map(said, found.values())], any(found["zmqcy"].values())
    cells, failed = [pins([SUITES[name][2]]), "its own test suite"], {}
    for side, (outcomes, again) in found.items():
        failed[side] = [test for test, (outcome, _) in outcomes.items() if outcome == "failed"]
        for test in failed[side]:
            print(f"    failed on {side}: {test}: {outcomes[test][1]}", flush=True)
        names = [f"`{test.rpartition('::')[2]}`" for test in failed[side]]
        cells.append("; ".join([counted(outcomes, again), *names]))
    return cells, not set(failed["zmqcy"]) <= set(failed["pyzmq"])


def main():
    # A shell starts background jobs with SIGINT ignored. The kernels would inherit that, and could not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wheels, everything = build(), [*PROGRAMS, *SUITES]
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    bad = False
    for name in sys.argv[1:] or everything:
        try:
            rows[name], wrong = compare(name, wheels)
        except subprocess.CalledProcessError as error:  # of pip: run the others
            rows[name], wrong = [name, "could not be installed", "", ""], True
            print(f"{name:<14} {error}", flush=True)
        bad |= wrong
        ROWS.write_text(json.dumps(rows))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    head = "| program | steps | on pyzmq | on zmqcy |\n|---|---|---|---|\n"
    table = head + "".join(f"| {' | '.join(rows[name])} |\n" for name in everything if name in rows)
    PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2])
    sys.exit(bad)


if __name__ == "__main__":
    main()
