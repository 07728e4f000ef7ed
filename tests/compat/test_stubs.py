"""The stubs for ``import zmq`` on compat match the tree, and mypy accepts them."""

import importlib.util
import os
import subprocess
import sys

import pytest
from paths import ROOT

STUBS = ROOT / "packaging" / "zmqcy-as-pyzmq"

ACCEPTED = """
import zmq
import zmq.asyncio
from zmq.auth.thread import ThreadAuthenticator
from zmq.green import Context as GreenContext
from zmq.sugar.socket import Socket
from zmq.utils.monitor import recv_monitor_message


def use(context: zmq.Context, green: GreenContext) -> zmq.Socket:
    socket: Socket = context.socket(zmq.PULL)
    socket.LINGER = 0
    socket.setsockopt(zmq.RCVTIMEO, 5)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    try:
        print(socket.recv_json(), dict(poller.poll(5)), recv_monitor_message(socket))
    except zmq.Again as error:
        print(error.errno)
    ThreadAuthenticator(context).start()
    zmq.proxy(socket, socket)
    return socket


async def main() -> None:
    with zmq.asyncio.Context() as context:
        print(await context.socket(zmq.SUB).recv_multipart())
"""
REFUSED = "import zmq\nzmq.nothing\nzmq.Poller().register()\n"


def test_the_stubs_are_those_of_the_tree(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import compat_stubs

    found = {path: path.read_text() for path in (STUBS / "zmq").rglob("*.pyi")}
    assert found == compat_stubs.stubs(), "run tools/compat_stubs.py"


@pytest.mark.slow
def test_mypy_knows_the_names_of_compat(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    (tmp_path / "accepted.py").write_text(ACCEPTED)
    (tmp_path / "refused.py").write_text(REFUSED)
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(STUBS), str(ROOT)])}
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "accepted.py", "refused.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=170)
    lines = [line for line in done.stdout.splitlines() if ": error" in line]
    # mypy's messages about the package itself depend on its own settings, and do not appear for an installed zmqcy.
    assert [line.split(":")[:2] for line in lines if not line.startswith(str(ROOT / "zmqcy"))] == [
        ["refused.py", "2"], ["refused.py", "3"]
    ], done.stdout  # fmt: skip
