"""A model server and its engine on `zmqcy.compat`, in separate processes, and on pyzmq."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("engine.py")
HOW = {"compat": [sys.executable, "-m", "zmqcy.compat"], "pyzmq": [sys.executable]}


def outcome(how, *arguments):
    if how == "pyzmq" and importlib.util.find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    command = [*HOW[how], PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
@pytest.mark.parametrize("how", HOW)
def test_an_engine_and_its_front_end(how, transport, tmp_path):
    assert outcome(how, "front", transport, tmp_path, *HOW[how]) == {
        "bad": 0, "answers": 150, "news": 15, "left": 0, "exit code": 0, "the end is seen": True,
        "taken again": True, "taken again by the engine": True,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
@pytest.mark.parametrize("how", HOW)
def test_a_buffer_is_lent_until_the_tracker_is_done(how, transport, tmp_path):
    expected = [False, "NotDone", True, True, 100_000, True, False]
    assert outcome(how, "trackers", transport, tmp_path) == expected
