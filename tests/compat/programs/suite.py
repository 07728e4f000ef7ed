"""Run the tests of a program with pytest, and print a line of JSON for each test at once: a later test may hang.

python suite.py tests            in the folder of its source distribution
python suite.py tests/test_a.py::test_one tests/test_b.py
"""

import json
import os
import sys

sys.path[:] = sys.path[1:]  # the scripts of this folder have names that other modules may have

import pytest  # noqa: E402
import zmq  # noqa: E402

OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # pytest and the tests print to stderr


def write(**line):
    print(json.dumps(line), file=OUT, flush=True)


class Reporter:
    """A plugin of pytest."""

    def pytest_runtest_logstart(self, nodeid, location):
        write(test=nodeid, outcome="begun", text="it hung, or its process exited")

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            text = "" if report.passed else str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)
            write(test=report.nodeid, outcome=report.outcome, text=text[-1000:])

    def pytest_collectreport(self, report):
        if not report.passed:
            write(test=report.nodeid, outcome=report.outcome, text=str(report.longrepr)[-1000:])


write(side="zmqcy" if zmq.Context.__module__.startswith("zmqcy") else "pyzmq")
options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "--timeout=60", "--timeout-method=signal"]
sys.exit(pytest.main([*options, *sys.argv[1:]], plugins=[Reporter()]))
