"""The types: what they accept and reject, and that they say what is there at run time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REJECTED = ROOT / "tests" / "typing" / "rejected.py"


def run(*command):
    """Run Python in the root of the project; return the exit code and what it wrote."""
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_accepted():
    """The package, its tools and the programs that are right have no error."""
    code, output = run("-m", "mypy")
    assert code == 0, output


@pytest.fixture(scope="module")
def errors():
    """What mypy says of the programs that are wrong, by line."""
    _, output = run("-m", "mypy", "--no-pretty", "--hide-error-context", REJECTED)
    errors = {}
    for name, line, text in re.findall(r"^(.+?):(\d+): error: (.+)$", output, re.MULTILINE):
        assert (ROOT / name).samefile(REJECTED), output
        errors.setdefault(int(line), []).append(text)
    return errors


MARKS = {
    number: line.partition("# error: ")[2]
    for number, line in enumerate(REJECTED.read_text().splitlines(), 1)
    if "# error: " in line
}


@pytest.mark.parametrize("line", MARKS)
def test_rejected(errors, line):
    assert any(MARKS[line] in text for text in errors.get(line, ())), errors.get(line, "no error")


def test_nothing_else_is_rejected(errors):
    assert {line: texts for line, texts in errors.items() if line not in MARKS} == {}


def test_stubs_are_up_to_date():
    code, output = run("tools/stubs.py", "--check")
    assert code == 0, f"{output}\nrun: python tools/stubs.py"


def test_stubs_match_the_modules():
    allowlist = "tests/typing/stubtest-allowlist.txt"
    code, output = run("-m", "mypy.stubtest", "zmqcy", "--mypy-config-file", "pyproject.toml", "--allowlist", allowlist)
    assert code == 0, output
