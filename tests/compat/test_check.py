"""`zmqcy compat check`, `enable` and `disable`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from zmqcy.compat.check import check

pytest.importorskip("click")
pytest.importorskip("rich")
USED = """\
import zmq, zmq.asyncio as za
import zmq.auth.nowhere
from zmq import PUSH, Socket as S, get_includes
from zmq.nothing import something
from zmq.utils import z85, garbage
from zmq.eventloop.zmqstream import ZMQStream
from zmq.ssh.tunnel import tunnel_connection as tunnel

def use(ctx):
    socket = ctx.socket(zmq.PUSH)
    socket.nothing.to_say
    socket.send(b"", routing_id=5)
    zmq.nothing_at_all
    za.nor_this
    zmq.asyncio.Context().term()
    garbage.gc.start()
    tunnel(socket, "tcp://there:1", "server", password="x")
    try:
        socket.recv()
    except OSError:
        pass
    except (zmq.Again, KeyError):
        pass
    raise zmq.ZMQError(5, msg="words")
"""
FOUND = {
    2: "zmqcy.compat has no module zmq.auth.nowhere",
    3: "zmq.get_includes returns an empty list",
    4: "zmqcy.compat has no module zmq.nothing",
    5: "zmq.utils.garbage does nothing",
    12: "send does not support routing_id=",
    13: "zmqcy.compat has no zmq.nothing_at_all",
    14: "zmqcy.compat has no zmq.asyncio.nor_this",
    16: "zmq.utils.garbage.gc does nothing",
    17: "does not support passwords",
    22: "`except OSError` comes first",
    24: "strerror, not msg",
}


def cli(*arguments, python=sys.executable, **environment):
    command = [python, "-m", "zmqcy", "compat", *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)


def test_check(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "used.py").write_text(USED)
    (tmp_path / "fine.py").write_text("import zmq, json\nwith zmq.Context() as ctx: ctx.socket(zmq.PUB).LINGER = 0\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.py").write_text("import zmq.nothing")
    done = cli("check", tmp_path)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(r"checked 2 files and \d+ names from zmq, zmq\..*: \d+ differences\n", done.stderr)
    lines = {}
    for line in done.stdout.splitlines():
        path, number, text = line.split(":", 2)
        assert Path(path) == tmp_path / "package" / "used.py"
        lines[int(number)] = text
    assert lines.keys() == FOUND.keys(), done.stdout
    for number, text in FOUND.items():
        assert text in lines[number]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ctx.socket(zmq.PUSH).Linger = 0", "has no attribute Linger: use linger or LINGER"),
        ("s = self.s = ctx.socket(zmq.PUSH)\nself.s.RcvTimeo = 0", "use rcvtimeo or RCVTIMEO"),
        ("with zmq.Context() as c: c.Linger", "use linger or LINGER"),
        ("with ctx.socket(zmq.PUB) as s: s.Identity = b''", "use identity or IDENTITY"),
        ("def use(s: zmq.Socket): s.Type", "use type or TYPE"),
        ("c: zmq.Context = make()\nc.Linger = 0", "use linger or LINGER"),
        ("c = zmq.Context.instance()\nc.Max_Sockets = 5", "use max_sockets or MAX_SOCKETS"),
        ("message = any.recv_pyobj()", "recv_pyobj warns once"),
        ("frame.tracker_event", "no Frame.tracker_event"),
        ("auth.handle_zap_message(b'')", "no Authenticator.handle_zap_message"),
        ("auth.pipe_endpoint", "no ThreadAuthenticator.pipe_endpoint"),
        ("ctx.shadow_pyczmq(5)", "no Context.shadow_pyczmq"),
        ("import zmq.utils.garbage", "zmq.utils.garbage does nothing"),
        ("from zmq.utils import win32", "zmq.utils.win32 does nothing"),
        ("from zmq.utils.garbage import GarbageCollectorThread", "does nothing"),
        ("frame.get('User-Id')", "User-Id is set only if"),
        ("frame['User-Id']", "User-Id is set only if"),
        ("s = ctx.socket(zmq.DISH)\ns.join('group')", "join raises NotSupported"),
        ("with zmq.Context.shadow(ctx): pass", "closes only the sockets"),
        ("from importlib import metadata\nmetadata.version('pyzmq')", "use zmq.__version__"),
        ("from importlib.metadata import version\nversion('pyzmq')", "use zmq.__version__"),
        ("import zmq.green as green\ns.setsockopt(green.RCVTIMEO, 5)", "green sockets apply RCVTIMEO"),
        ("import zmq.green\ns.sndtimeo = 5", "green sockets apply sndtimeo"),
        ("from zmq import ssh\nssh.tunnel_connection(s, a, b, paramiko=True)", "ignores paramiko="),
        ("try: pass\nexcept socket.error: pass\nexcept zmq.ContextTerminated: pass", "`except socket.error` comes"),
        (
            "try: pass\nexcept KeyError: pass\nexcept NotImplementedError: pass\nexcept zmq.ZMQError: pass",
            "comes first",
        ),
        ("try: pass\nexcept TimeoutError: pass\nexcept zmq.NotDone: pass", "comes first"),
    ],
)
def test_check_finds(tmp_path, code, text):
    (tmp_path / "used.py").write_text(f"import zmq\n{code}\n")
    [(_, line, found)] = check(tmp_path)
    assert text in found and line > 1


@pytest.mark.parametrize(
    "code",
    [
        "import threading\nthread.join()\n', '.join(names)",
        "event.Type, node.Identity, headers.get('Id')",
        "s = ctx.socket(zmq.PUSH)\ns.linger = s.LINGER",
        "import socket\ns = socket.socket(socket.AF_INET)\ns.Type",
        "with zmq.Context() as ctx: pass",
        "try: pass\nexcept ValueError: pass\nexcept zmq.Again: pass",
        "try: pass\nexcept InterruptedError: pass\nexcept zmq.ZMQError: pass",
        "try: pass\nexcept zmq.ZMQError: pass\nexcept OSError: pass",
        "s.setsockopt(zmq.RCVTIMEO, 5)\ns.rcvtimeo = 5",
        "version('zmq')",
    ],
)
def test_check_reports_only_differences(tmp_path, code):
    (tmp_path / "used.py").write_text(f"import zmq\n{code}\n")
    assert check(tmp_path) == []


def test_check_finds_nothing(tmp_path):
    (tmp_path / "fine.py").write_text("from zmq import *\nimport zmq.devices\nzmq.devices.Proxy\nzmq.zmq_version()")
    done = cli("check", tmp_path / "fine.py")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "checked 1 file and 3 names from zmq, zmq.devices: no differences\n"
    (tmp_path / "other.py").write_text("import json")
    assert cli("check", tmp_path / "other.py").stderr.startswith("checked 1 file and 0 names from no module of pyzmq: ")


def test_check_of_what_is_no_python(tmp_path):
    (tmp_path / "broken.py").write_text("def (")
    done = cli("check", tmp_path)
    assert done.returncode == 1 and "broken.py:1: cannot be parsed" in done.stdout
    assert cli("check", tmp_path / "missing").returncode == 2


@pytest.fixture
def environment(tmp_path):
    """The Python of a virtual environment that sees the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=50)
    python = tmp_path / "venv" / "bin" / "python"
    paths = [path for path in sys.path if path and Path(path).is_dir()]
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "a_shared.pth").write_text("\n".join([str(ROOT), *paths]))
    return str(python)


def test_enable_and_disable(environment):
    program = [environment, "-c", "import zmq; print(zmq.Socket.__module__)"]

    def used(**variables):
        without = {name: value for name, value in os.environ.items() if name != "ZMQCY_AS_ZMQ"}
        done = subprocess.run(program, capture_output=True, text=True, timeout=30, env={**without, **variables})
        return done.stdout.strip()

    before = used(ZMQCY_AS_ZMQ="1")
    assert before != "zmqcy.compat.core"
    for _ in range(2):
        assert "written" in cli("enable", python=environment).stdout
        assert used(ZMQCY_AS_ZMQ="1") == used(ZMQCY_AS_ZMQ="tuned") == "zmqcy.compat.core"
        assert used() == before
    assert "removed" in cli("disable", python=environment).stdout
    assert used(ZMQCY_AS_ZMQ="1") == before
    assert "did not exist" in cli("disable", python=environment).stdout


@pytest.mark.skipif(sys.prefix != sys.base_prefix, reason="this is a virtual environment")
def test_enable_outside_of_an_environment_is_refused():
    done = cli("enable")
    assert done.returncode == 1 and "no virtual environment" in done.stderr
