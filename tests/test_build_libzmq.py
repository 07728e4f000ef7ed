"""The libzmq that is built for tests: what the script refuses, what it makes, and zmqcy built on it."""

import ctypes
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_build import ROOT, build

SCRIPT = ROOT / "tools" / "build_libzmq.py"
pytestmark = pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="the script is for Linux and macOS")


def run(*arguments, **env):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=500)


def test_an_archive_with_another_hash_is_refused(tmp_path):
    archive = tmp_path / "pyzmq-25.1.2.tar.gz"
    archive.write_bytes(b"another")
    done = run(tmp_path / "prefix", "--archive", archive, CXX="cc")
    assert done.returncode == 1
    assert "is not the pyzmq-25.1.2.tar.gz that is pinned: its SHA-256 is" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]  # nothing is left behind


def test_an_archive_that_is_not_there_is_named(tmp_path):
    done = run(tmp_path / "prefix", "--archive", tmp_path / "none.tar.gz", CXX="cc")
    assert done.returncode == 1
    assert f"{tmp_path}/none.tar.gz: No such file or directory" in done.stderr


def test_without_a_compiler_the_build_names_it(tmp_path):
    done = run(tmp_path / "prefix", CXX="/nowhere/c++")
    assert done.returncode == 1
    assert "/nowhere/c++: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("data")
    done = run(tmp_path, CXX="cc")
    assert done.returncode == 1
    assert "is not empty, and not made by this script" in done.stderr
    assert (tmp_path / "precious").read_text() == "data"


@functools.cache
def made():
    """Make the prefix, once a source tree; return it with what the script said."""
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    prefix = ROOT / "build" / "libzmq-for-tests"
    done = run(prefix)
    if done.returncode and "pip download" in done.stderr:
        pytest.skip(f"pip cannot have the source here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return prefix


building = pytest.mark.timeout(600)


@building
def test_the_prefix_has_a_library_with_drafts():
    prefix = made()
    assert (prefix / "include" / "zmq.h").is_file()
    assert list((prefix / "share" / "licenses" / "libzmq").iterdir())
    library = ctypes.CDLL(str(prefix / "lib" / ("libzmq.so" if sys.platform == "linux" else "libzmq.dylib")))
    assert library.zmq_has(b"draft") == 1
    assert library.zmq_has(b"ipc") == 1
    has_sodium = subprocess.run(["pkg-config", "--exists", "libsodium"]).returncode == 0
    assert library.zmq_has(b"curve") == has_sodium


@building
def test_a_second_run_builds_nothing():
    prefix = made()
    library = prefix / "lib" / ("libzmq.so.5" if sys.platform == "linux" else "libzmq.5.dylib")
    before = library.stat()
    done = run(prefix)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{prefix} has it already\n"
    assert (library.stat().st_ino, library.stat().st_mtime) == (before.st_ino, before.st_mtime)


PROGRAM = """
import json
import zmqcy
from zmqcy.cli.info import collect

with zmqcy.Context() as context:
    a, b = context.socket(zmqcy.PUSH), context.socket(zmqcy.PULL)
    before = a.out_batch_size, b.in_batch_size
    a.out_batch_size = b.in_batch_size = 65536
    after = a.out_batch_size, b.in_batch_size
    b.bind("tcp://127.0.0.1:*")
    a.connect(b.last_endpoint)
    sent = [bytes([number]) * 1000 for number in range(256)] * 10
    a.send_many(sent)
    came = []
    while len(came) < len(sent):
        came += b.recv_many(timeout=20000)
    assert came == sent
print(json.dumps([before, after, zmqcy.has("draft"), collect()["libzmq_path"], collect()["libzmq_origin"]]))
"""


@building
def test_zmqcy_built_on_it_sends_in_larger_batches(tmp_path):
    prefix = made()
    done = build(tmp_path, "build_ext", "--inplace", env={"ZMQCY_LIBZMQ": str(prefix), "ZMQCY_DEBUG": "1"})
    assert done.returncode == 0, done.stderr
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "source")}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    before, after, draft, path, origin = json.loads(ran.stdout)
    assert before == [8192, 8192]
    assert after == [65536, 65536]
    assert draft is True
    assert Path(path).parent == (prefix / "lib").resolve()
    assert origin == "of the prefix that ZMQCY_LIBZMQ named at the build"
