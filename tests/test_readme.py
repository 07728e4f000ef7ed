"""The README: its lines of Python run, and the commands that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_ten_lines_run(run):
    [code] = re.findall(r"```python\n(.*?)```", README, re.S)
    assert run(code).stdout == "b'HELLO'\n"


def test_what_it_names_is_there():
    named = re.findall(r"(?:tests|benchmarks|docs)/\w+\.(?:py|md)|\w+\.md", README)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_its_make_targets_are_there():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", README, re.M)) <= set(targets)
