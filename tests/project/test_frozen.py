"""Programs frozen by PyInstaller: zmqcy's hooks find the imports that PyInstaller misses."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

PROGRAM = """
import asyncio, multiprocessing, sys


def plain():
    import zmqcy

    with zmqcy.Context(linger=0) as ctx, ctx.socket(zmqcy.PAIR) as one, ctx.socket(zmqcy.PAIR) as two:
        one.bind("tcp://127.0.0.1:*")
        two.connect(one.last_endpoint)
        one.send(b"plain")
        two.rcvtimeo = 20_000
        return two.recv().decode()


def asynchronous():
    import zmqcy.asyncio

    async def main():
        async with zmqcy.asyncio.Context(linger=0) as ctx:
            one, two = ctx.socket(zmqcy.PAIR), ctx.socket(zmqcy.PAIR)
            one.bind("inproc://asyncio")
            two.connect("inproc://asyncio")
            waiting = asyncio.ensure_future(two.recv_json())
            await one.send_json("asyncio")
            return await waiting

    return asyncio.run(main())


def authenticated():
    import zmqcy, zmqcy.auth

    server, client = zmqcy.curve_keypair(), zmqcy.curve_keypair()
    with zmqcy.Context(linger=0) as ctx, zmqcy.auth.Authenticator(ctx, curve=[client[0]]):
        with ctx.socket(zmqcy.PULL, rcvtimeo=20_000) as pull, ctx.socket(zmqcy.PUSH) as push:
            pull.serve_curve(server[1])
            pull.bind("tcp://127.0.0.1:*")
            push.use_curve(server[0], client)
            push.connect(pull.last_endpoint)
            push.send(b"auth")
            return pull.recv().decode()


def compatible():
    import zmqcy.compat

    zmqcy.compat.install()
    import zmq
    import zmq.asyncio
    import zmq.auth.thread
    import zmq.devices
    from zmq.utils.monitor import recv_monitor_message

    with zmq.Context() as ctx, ctx.socket(zmq.PAIR) as one, ctx.socket(zmq.PAIR) as two:
        one.bind("inproc://compat")
        two.connect("inproc://compat")
        one.send_string("compat")
        return two.recv_string()


def device():
    import zmqcy, zmqcy.devices

    anywhere = "tcp://127.0.0.1:*"
    with zmqcy.devices.Device(zmqcy.STREAMER, anywhere, anywhere, run_in="process") as device:
        with zmqcy.Context(linger=0) as ctx, ctx.socket(zmqcy.PUSH) as push, ctx.socket(zmqcy.PULL) as pull:
            push.connect(device.endpoints["front"][0])
            pull.connect(device.endpoints["back"][0])
            pull.rcvtimeo = 20_000
            push.send(b"device")
            return pull.recv().decode()


if __name__ == "__main__":
    multiprocessing.freeze_support()
    print(*[each() for each in (plain, asynchronous, authenticated, compatible, device)])
"""


SPEC = """
analysis = Analysis(["program.py"], excludes=["gevent", "tornado", "tkinter", "numpy", "pytest"])
modules = PYZ(analysis.pure)
EXE(modules, analysis.scripts, analysis.binaries, analysis.datas, name="onefile")
COLLECT(EXE(modules, analysis.scripts, exclude_binaries=True, name="onedir"), analysis.binaries, analysis.datas,
        name="onedir")
"""


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """The folder with the program, frozen in both ways."""
    pytest.importorskip("PyInstaller")
    tomllib = pytest.importorskip("tomllib")
    folder = tmp_path_factory.mktemp("frozen")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # The entry point finds the hooks, also if zmqcy was installed before it had one.
    installed = folder / "site" / "zmqcy-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: zmqcy\nVersion: 0\n")
    [(name, place)] = project["entry-points"]["pyinstaller40"].items()
    (installed / "entry_points.txt").write_text(f"[pyinstaller40]\n{name} = {place}\n")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "program.spec").write_text(SPEC)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)])}
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", "program.spec"]
    built = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=800)
    assert built.returncode == 0, built.stderr
    return folder / "dist"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("program", ["onefile", "onedir/onedir"])
def test_a_frozen_program_finds_all_that_zmqcy_loads(frozen, program):
    """Plain sockets, asyncio, authentication, `import zmq`, and a device in a process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([frozen / program], env=environment, capture_output=True, text=True, timeout=90)
    assert (done.stdout, done.stderr) == ("plain asyncio auth compat device\n", "")
