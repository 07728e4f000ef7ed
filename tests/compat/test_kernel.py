"""An ipykernel kernel and a jupyter_client client, each in its own process, on `zmqcy.compat`."""

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT


@pytest.mark.slow
def test_a_kernel_runs_cells_is_interrupted_and_restarted(tmp_path):
    for name in ("ipykernel", "jupyter_client"):
        pytest.importorskip(name)
    path = [str(ROOT / "packaging" / "zmqcy-as-pyzmq"), os.environ.get("PYTHONPATH", "")]  # the first has `zmq`
    done = subprocess.run(
        [sys.executable, ROOT / "tests/compat/programs/kernel.py"], capture_output=True, text=True, timeout=50,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "HOME": str(tmp_path)},
    )  # fmt: skip
    said, *steps = map(json.loads, done.stdout.splitlines())
    assert said["side"] == "zmqcy"
    assert {each["step"]: each["wrong"] for each in steps if each["wrong"]} == {}, done.stderr
    assert done.returncode == 0 and {"run cells", "interrupt a cell", "restart the kernel"} <= {
        each["step"] for each in steps
    }
