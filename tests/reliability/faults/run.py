"""Run the programs of `programs.py` on zmqcy and on pyzmq, and write the table of docs/reliability.md.

`python run.py` runs all, `python run.py NAME...` some. ZMQCY_LONG=1 runs the long forms, which do not change the table.
"""

import argparse
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from program import LONG
from programs import PROGRAMS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- table: made by `make faults` -->\n", "<!-- end of table -->\n"
TIME = 1800 if LONG else 30  # s per program
TURNS = 3  # runs of a program on pyzmq: races have different outcomes


def run(name, module):
    """Run a program in its own process; return its outcome as text."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("programs.py")), name, module],
        # Some programs fork with several threads, which Python 3.12 warns about.
        env={**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, errors = process.communicate(timeout=TIME)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # also kill its children
        process.communicate()
        return "hangs"
    last = errors.strip().rpartition("\n")[2][:100]
    if process.returncode < 0:
        return f"{signal.Signals(-process.returncode).name}: {last}".rstrip(": ")
    said = out.strip()
    return f"{said}; stderr: {last}".lstrip("; ") if last else said


def row(program, pyzmq):
    cells = [program.what, program.zmqcy, pyzmq, "<br>".join(f"`{test}`" for test in program.tests)]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def table(pyzmq, version):
    """Return the table in Markdown, with the given outcomes on pyzmq."""
    lines = []
    for chapter in dict.fromkeys(program.chapter for program in PROGRAMS.values()):
        lines += [f"### {chapter}", "", f"| what happens | zmqcy | {version} | tests |", "|---|---|---|---|"]
        lines += [row(program, pyzmq[name]) for name, program in PROGRAMS.items() if program.chapter == chapter]
        lines.append("")
    return "\n".join(lines)


def written():
    """Return the table in the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def cells():
    """Return the rows of the table in the page, by their first cell: each is zmqcy, pyzmq and the tests."""
    rows = (line.strip("| ").split(" | ") for line in written().splitlines() if line.startswith("| "))
    return {what: rest for what, *rest in rows if what != "what happens"}


def write(pyzmq):
    import zmq

    version = f"pyzmq {metadata.version('pyzmq')} (libzmq {zmq.zmq_version()})"
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(pyzmq, version) + END + rest.partition(END)[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="run these programs only; other rows do not change")
    parser.add_argument("--on", choices=["zmqcy", "zmq"], help="run on one binding only; the table does not change")
    arguments = parser.parse_args()
    known, failed = cells(), []
    pyzmq = {name: known[program.what][1] for name, program in PROGRAMS.items() if program.what in known}
    for name in arguments.names or PROGRAMS:
        print(name)
        if arguments.on != "zmq":
            said = run(name, "zmqcy")
            if said != PROGRAMS[name].zmqcy:
                failed.append(name)
            print("   zmqcy:", said, "" if name not in failed else f"(expected: {PROGRAMS[name].zmqcy})", flush=True)
        if arguments.on != "zmqcy":
            pyzmq[name] = " or ".join(sorted({run(name, "zmq") for _ in range(TURNS)}))
            print("   pyzmq:", pyzmq[name], flush=True)
    if failed:
        return f"unexpected outcomes: {', '.join(failed)}"
    if not arguments.on and not LONG:
        write(pyzmq)
    return None


if __name__ == "__main__":
    sys.exit(main())
