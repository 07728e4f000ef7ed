"""Run the programs of this folder on pyzmq and on zmqcy in its place, and write the table of docs/programs.md.

    python run.py            all of them
    python run.py kernel     some; the table stays as it is

Each has two virtual environments in build/programs/, made once: one with pyzmq, one with the package of
packaging/zmqcy-as-pyzmq and the zmqcy of this tree.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "programs"
PAGE = ROOT / "docs" / "programs.md"
BEGIN, END = "<!-- table: made by `make programs` -->\n", "<!-- end of table -->\n"
PYZMQ = "pyzmq==27.3.0"
LIMIT = 180  # s that a program may take
PROGRAMS = {
    "kernel": ("jupyter", ["ipykernel==7.4.0", "jupyter_client==8.10.0"]),
    "parallel": ("ipyparallel", ["ipyparallel==9.2.0"]),
    "watch": ("circus", ["circus==0.19.0"]),
    "load": ("locust", ["locust==2.47.0"]),
    "workflow": ("parsl", ["parsl==2026.10.26"]),
    "documents": ("bluesky", ["bluesky==1.15.1"]),
}
"""By the script here: the name of the environment, and what is installed there."""


def pip(python, *arguments):
    subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", *arguments], check=True)


def build():
    """Make wheels of this tree and of the package that is called pyzmq; return them."""
    wheels = PLACE / "wheels"
    for old in (wheels, *ROOT.glob("build/lib.*")):  # from which setuptools would take what is older than the tree
        shutil.rmtree(old, ignore_errors=True)
    pip(sys.executable, "wheel", "--no-build-isolation", "--no-deps", "-w", wheels, ROOT,
        ROOT / "packaging" / "zmqcy-as-pyzmq")  # fmt: skip
    return sorted(map(str, wheels.glob("*.whl")))


def environment(name, side, packages, wheels):
    """Make an environment, unless it is there; return its Python."""
    folder = PLACE / f"{name}-{side}"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip(python, "install", *(wheels if side == "zmqcy" else [PYZMQ]), *packages)
    elif side == "zmqcy":
        pip(python, "install", "--no-deps", "--force-reinstall", *wheels)
    return python


def run(script, python, side):
    """Run a program; return by deed what went wrong, or the empty string."""
    log = PLACE / f"{script}-{side}.log"
    command = [python, Path(__file__).with_name(f"{script}.py")]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=PLACE)
        try:
            out, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert not lines or lines[0]["side"] == side, lines[0]
    done = {line["deed"]: line["wrong"] for line in lines if "deed" in line}
    if process.returncode and not any(done.values()):
        done["the rest"] = f"ended with {process.returncode}, see {log.relative_to(ROOT)}"
    return done


def said(deeds):
    good = sum(not wrong for wrong in deeds.values())
    wrong = [f"{deed}: {text}" for deed, text in deeds.items() if text]
    return "; ".join([f"{good} of {len(deeds)}", *wrong]).replace("|", "/")


def main():
    names = sys.argv[1:] or list(PROGRAMS)
    wheels = build()
    rows, failed = [], False
    for script in names:
        name, packages = PROGRAMS[script]
        found = {}
        for side in ("pyzmq", "zmqcy"):
            found[side] = run(script, environment(name, side, packages, wheels), side)
            print(f"{script:<10} {side}: {said(found[side])}", flush=True)
        failed |= any(found["zmqcy"].values())
        what = ", ".join(max(found.values(), key=len))
        pins = ", ".join(each.replace("==", " ") for each in packages)
        rows.append(f"| {pins} | {what} | {said(found['pyzmq'])} | {said(found['zmqcy'])} |\n")
    if names == list(PROGRAMS):
        before, _, rest = PAGE.read_text().partition(BEGIN)
        head = "| program | what is done | on pyzmq | on zmqcy |\n|---|---|---|---|\n"
        PAGE.write_text(before + BEGIN + head + "".join(rows) + END + rest.partition(END)[2])
    sys.exit(failed)


if __name__ == "__main__":
    main()
