"""Failure modes: programs that misuse a binding or exhaust a resource, and their table in docs/reliability.md."""

import re
import sys
from pathlib import Path

import pytest
from paths import TESTS

sys.path.insert(0, str(Path(__file__).with_name("faults")))

import run as faults

ROOTLESS = "skipped: "  # the outcome of a program that needs the rights of root


@pytest.mark.slow
@pytest.mark.parametrize("name", faults.PROGRAMS)
def test_what_zmqcy_makes_of_it(name):
    said = faults.run(name, "zmqcy")
    if said.startswith(ROOTLESS):
        pytest.skip(said)
    assert said == faults.PROGRAMS[name].zmqcy


def test_the_table_agrees_with_the_programs():
    rows = faults.cells()
    assert {what: row[0] for what, row in rows.items()} == {each.what: each.zmqcy for each in faults.PROGRAMS.values()}
    pyzmq = {name: rows[program.what][1] for name, program in faults.PROGRAMS.items()}
    version = re.search(r"pyzmq [\d.]+ \(libzmq [\d.]+\)", faults.written())[0]
    assert faults.written() == faults.table(pyzmq, version)


def test_each_row_names_tests_that_exist():
    assert [name for name, program in faults.PROGRAMS.items() if not program.tests] == []
    named = {test for program in faults.PROGRAMS.values() for test in program.tests}
    split = {test: test.partition("::") for test in named}
    texts = {file: TESTS[file].read_text() for file, _, _ in split.values()}
    assert [test for test, (file, _, name) in split.items() if f"def {name}(" not in texts[file]] == []


def test_the_runner_reports_signals_hangs_and_errors(monkeypatch, tmp_path):
    monkeypatch.setattr(faults, "TIME", 1)
    (tmp_path / "programs.py").write_text(
        "import os, sys, threading\n"
        "{'abort': os.abort, 'hang': threading.Event().wait, 'fail': lambda: sys.exit('words')}[sys.argv[1]]()\n"
    )
    monkeypatch.setattr(faults, "__file__", str(tmp_path / "run.py"))
    assert faults.run("abort", "zmqcy") == "SIGABRT"
    assert faults.run("hang", "zmqcy") == "hangs"
    assert faults.run("fail", "zmqcy") == "stderr: words"
