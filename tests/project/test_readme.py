"""The README: its Python runs, and the commands that it names exist."""

import re

from paths import ROOT

import zmqcy

README = (ROOT / "README.md").read_text()


def test_the_ten_lines_run(run):
    [ten] = re.findall(r"```python\n(.*?)```", README, re.S)
    done = run(ten)
    assert (done.stdout, done.stderr) == ("b'HELLO'\n", "")
    assert len([line for line in ten.splitlines() if line]) <= 10


def test_its_line_of_facts_is_true():
    project, build = ((ROOT / name).read_text() for name in ("pyproject.toml", "setup.py"))
    [python] = re.findall(r'^requires-python = ">=(.*)"', project, re.M)
    [license] = re.findall(r'^license = "(.*)"', project, re.M)
    [libzmq] = re.findall(r'^MINIMUM = "(.*)"', build, re.M)
    version = ".".join(zmqcy.__version__.split(".")[:2])
    facts = [
        f"Version {version}, not released yet",
        f"Python {python} or newer",
        "Linux (macOS: untested)",
        f"libzmq {libzmq} or newer",
    ]
    assert " | ".join([*facts, license]) in README.splitlines()


def test_what_it_names_is_there():
    named = re.findall(r"(?:tests|benchmarks|docs)/[\w/-]+\.(?:py|md)|[\w-]+\.md", README)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_its_make_targets_are_there():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", README, re.M)) <= set(targets)
