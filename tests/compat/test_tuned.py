"""Programs with ``import zmq`` get tuned contexts, unless `install` switches that off.

Contexts are not tuned if libzmq has no drafts. `make test-drafts` runs these tests with drafts.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

import zmqcy

CAN = zmqcy.has("draft")
MODULES = ["zmq", "zmq.asyncio", *(["zmq.green"] if importlib.util.find_spec("gevent") else [])]
PROGRAM = """
import importlib, json, subprocess, sys
import zmq
found = []
for name in json.loads(sys.argv[1]):
    module = importlib.import_module(name)
    with module.Context() as made, module.Context.instance() as shared:
        for each in (made, shared, module.Context(made), module.Context.shadow(made.underlying)):
            found.append(each.tuned)
            if each.tuned:
                with each.socket(zmq.PULL) as socket:
                    assert socket.getsockopt(zmq.IN_BATCH_SIZE) == socket.getsockopt(zmq.OUT_BATCH_SIZE) == 98_304
if "again" in sys.argv:  # a process that it starts
    found += json.loads(subprocess.check_output([sys.executable, "-m", "zmqcy.compat", *sys.argv[:2]]))
print(json.dumps(found))
"""


@pytest.fixture
def tuned(tmp_path):
    """A function that runs the program in one way, and returns whether all of its contexts are tuned, or none."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def execute(*how, begin="", more=(), **variables):
        environment = {name: value for name, value in os.environ.items() if name != "ZMQCY_AS_ZMQ"} | variables
        if begin:
            (tmp_path / "begin.py").write_text(f"import zmqcy.compat\n{begin}\n{PROGRAM}")
        program = "begin.py" if begin else "program.py"
        command = [sys.executable, *how, program, json.dumps(MODULES), *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, env=environment)
        assert done.returncode == 0, done.stderr
        [found] = set(json.loads(done.stdout))
        return found

    return execute


def test_by_install(tuned):
    assert tuned(begin="zmqcy.compat.install()") == CAN
    assert tuned(begin="zmqcy.compat.install(tuned=True)") == CAN
    assert not tuned(begin="zmqcy.compat.install(tuned=False)")
    assert not tuned(begin="zmqcy.compat.install(tuned=False); zmqcy.compat.install()")
    assert tuned(begin="zmqcy.compat.install(tuned=False); zmqcy.compat.install(tuned=True)") == CAN


def test_a_shadow_leaves_the_context_of_another_part_of_the_program_alone(tuned):
    begin = """
zmqcy.compat.install(tuned=False)
other = zmqcy.Context()
before = other.tuned
import zmq
assert zmq.Context(other).tuned == zmq.Context.shadow(other).tuned == other.tuned == before
"""
    assert not tuned(begin=begin)


@pytest.mark.parametrize("value", ["1", "tuned"])
def test_by_the_environment(tuned, value):
    assert tuned(begin="zmqcy.compat.install()", ZMQCY_AS_ZMQ=value) == CAN
    assert not tuned(begin="zmqcy.compat.install(tuned=False)", ZMQCY_AS_ZMQ=value)


@pytest.mark.parametrize("option", [[], ["--tuned"]])
def test_by_an_option(tuned, option):
    """--tuned is the default. Child processes have it too."""
    assert tuned("-m", "zmqcy.compat", *option, more=["again"]) == CAN
