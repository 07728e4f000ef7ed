"""`make fuzz` for some seconds, with fixed seeds, and the faults that it has found."""

import copy
import importlib
import os
import pickle
import subprocess
import sys

import pytest
from fuzz_calls import run as run_seed
from paths import KIT
from rows import rows
from states import ALL as STATES

import zmqcy


@pytest.mark.slow
@pytest.mark.timeout(300)  # a seed that hangs ends itself, and then prints its last calls
@pytest.mark.parametrize("seed", [1, 2])
def test_any_argument_of_any_call_gives_a_result_or_an_exception(seed):
    failed = run_seed(seed, 3)
    assert failed is None, failed


EXTENSIONS = ["_library", "_context", "_message", "_base", "_socket", "_poll", "_proxy", "_loop", "_operations", "_aio"]


@rows("name", EXTENSIONS)
def test_no_state_can_be_set_from_outside(name):
    """Cython's unpickling function reads its tuple without a check of the length."""
    module = importlib.import_module(f"zmqcy.{name}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__]
    assert [kind for kind in kinds if hasattr(kind, "__setstate__")] == []


@rows("make", [
    zmqcy.Poller, lambda: zmqcy.Frame(b"x" * 40, track=True).tracker, lambda: zmqcy.Socket.rcvhwm,
])  # fmt: skip
def test_what_is_of_c_is_neither_pickled_nor_copied(make):
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickle"):
            way(make())


@pytest.mark.parametrize(
    "state", [each if each == "closed" else pytest.param(each, marks=pytest.mark.slow) for each in STATES]
)
def test_every_method_in_every_state_gives_a_value_or_an_exception(state):
    done = subprocess.run(
        [sys.executable, KIT / "states.py", state],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=200,
        env={**os.environ, "PYTHONMALLOC": "debug", "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr[-3000:]}"
    assert "the end" in done.stderr
