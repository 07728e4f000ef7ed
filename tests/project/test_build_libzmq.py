"""The libzmq for tests and wheels: the script's errors, its result, and zmqcy built with it."""

import ctypes
import functools
import hashlib
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
    archive = tmp_path / "zeromq-4.3.5.tar.gz"
    archive.write_bytes(b"another")
    done = run(tmp_path / "prefix", "--archive", archive, CXX="cc")
    assert done.returncode == 1
    sha256 = hashlib.sha256(b"another").hexdigest()
    assert f"{archive} is not a pinned archive: its SHA-256 is {sha256}. Use one of: " in done.stderr
    assert "zeromq-4.3.5.tar.gz (6653ef59" in done.stderr
    assert "libsodium" not in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]  # nothing is left behind


def test_an_archive_that_is_not_there_is_named(tmp_path):
    done = run(tmp_path / "prefix", "--archive", tmp_path / "none.tar.gz", CXX="cc")
    assert done.returncode == 1
    assert f"{tmp_path}/none.tar.gz: No such file or directory" in done.stderr


def test_without_a_compiler_the_build_names_it(tmp_path):
    done = run(tmp_path / "prefix", CXX="/nowhere/c++")
    assert done.returncode == 1
    assert "/nowhere/c++: not found" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("data")
    done = run(tmp_path, CXX="cc")
    assert done.returncode == 1
    assert "is not empty, and this script did not make it" in done.stderr
    assert (tmp_path / "precious").read_text() == "data"


def source_of_nothing(tmp_path):
    """Create a folder with the files of libzmq that the script reads before it builds."""
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "src" / "zmq.cpp").touch()
    (source / "CMakeLists.txt").touch()
    return source


def test_a_folder_that_is_no_libzmq_is_refused(tmp_path):
    done = run(tmp_path / "prefix", "--source", tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path} is not a source tree of libzmq: it has no CMakeLists.txt" in done.stderr
    assert not (tmp_path / "prefix").exists()


@pytest.mark.parametrize("lacking", ["c++", "cmake", "pkg-config"])
def test_a_command_that_is_missing_is_named_with_its_package(tmp_path, lacking):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in {"c++", "cmake", "pkg-config"} - {lacking}:
        (commands / name).symlink_to(sys.executable)  # the script does not run it
    done = run(tmp_path / "prefix", "--source", source_of_nothing(tmp_path), PATH=str(commands), CXX="c++")
    assert done.returncode == 1
    package = "g++" if lacking == "c++" else lacking
    assert f"{lacking}: not found; install the package {package}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_without_libsodium_there_is_no_libzmq_to_ship(tmp_path):
    done = run(tmp_path / "prefix", "--source", source_of_nothing(tmp_path), CXX="cc", PKG_CONFIG_LIBDIR="/nowhere")
    assert done.returncode == 1
    assert "libsodium-dev" in done.stderr
    assert "--libsodium ARCHIVE" in done.stderr


def test_libsodium_of_another_hash_is_refused(tmp_path):
    archive = tmp_path / "libsodium-1.0.20.tar.gz"
    archive.write_bytes(b"another")
    done = run(tmp_path / "prefix", "--source", source_of_nothing(tmp_path), "--libsodium", archive)
    assert done.returncode == 1
    assert "libsodium-1.0.20.tar.gz (ebb65ef6" in done.stderr
    assert "zeromq-4.3.5" not in done.stderr


@functools.cache
def made():
    """Build the prefix, once per source tree. Return it with the script's output."""
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


@pytest.mark.slow
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


@pytest.mark.slow
@building
def test_a_second_run_builds_nothing():
    prefix = made()
    library = prefix / "lib" / ("libzmq.so.5" if sys.platform == "linux" else "libzmq.5.dylib")
    before = library.stat()
    done = run(prefix)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{prefix} is up to date\n"
    assert (library.stat().st_ino, library.stat().st_mtime) == (before.st_ino, before.st_mtime)


def symbols(library):
    return subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True).stdout


@pytest.mark.slow
@building
@pytest.mark.skipif(
    "ZMQCY_LIBZMQ_ARCHIVE" not in os.environ,
    reason="ZMQCY_LIBZMQ_ARCHIVE (and ZMQCY_LIBSODIUM_ARCHIVE) name no archive that is pinned in the script",
)
def test_a_libzmq_to_ship(tmp_path):
    """The library contains all that a wheel needs, with licences, without build paths. Two builds are identical."""
    words = ["--archive", os.environ["ZMQCY_LIBZMQ_ARCHIVE"]]
    sodium = os.environ.get("ZMQCY_LIBSODIUM_ARCHIVE")
    if sodium:
        words += ["--libsodium", sodium]
    prefix, again = tmp_path / "prefix", tmp_path / "of-another-length" / "prefix"
    for each in (prefix, again):
        done = run(each, *words)
        assert done.returncode == 0, done.stderr
    assert "with drafts, for wheels, is in" in done.stdout
    name = "libzmq.so" if sys.platform == "linux" else "libzmq.dylib"
    library = ctypes.CDLL(str(prefix / "lib" / name))
    for capability in (b"draft", b"curve", b"ipc", b"WS"):
        assert library.zmq_has(capability) == 1
    for capability in (b"WSS", b"pgm", b"norm"):
        assert library.zmq_has(capability) == 0
    licences = {path.name for path in (prefix / "share" / "licenses").iterdir()}
    assert licences == ({"libzmq", "libsodium"} if sodium else {"libzmq"})
    content = (prefix / "lib" / name).read_bytes()
    assert str(tmp_path).encode() not in content or sys.platform == "darwin"  # there it is the name of the library
    if sys.platform == "linux":
        assert content == (again / "lib" / name).read_bytes()
        assert "sodium_init" not in symbols(prefix / "lib" / name)
        assert "zmq_ctx_new" in symbols(prefix / "lib" / name)
    assert run(prefix, *words).stdout.endswith(f"{prefix} is up to date\n")


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


@pytest.mark.slow
@building
def test_zmqcy_built_on_it_has_batch_sizes(tmp_path):
    prefix = made()
    done = build(tmp_path, "build_ext", "--inplace", env={"ZMQCY_LIBZMQ": str(prefix), "ZMQCY_DEBUG": "1"})
    assert done.returncode == 0, done.stderr
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "source")}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    before, after, draft, path, origin = json.loads(ran.stdout)
    assert before == [98_304, 98_304]
    assert after == [65536, 65536]
    assert draft is True
    assert Path(path).parent == (prefix / "lib").resolve()
    assert origin == "from the prefix in ZMQCY_LIBZMQ at build time"
