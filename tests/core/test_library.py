"""Loading libzmq: a missing or old library, a second one in the process, and the report of `zmqcy info`."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

import zmqcy

ROOT = Path(zmqcy.__file__).parent.parent
info = pytest.importorskip("zmqcy.cli.info", reason="the command line's requirements are not installed here")
bundled = info.origin_of_libzmq(zmqcy.get_library()) == "bundled with zmqcy"
# LD_LIBRARY_PATH takes precedence over the DT_RUNPATH of the extension modules (wheels, ZMQCY_LIBZMQ). But the libzmq
# of a wheel has a unique file name, which LD_LIBRARY_PATH does not contain.
linux_system = pytest.mark.skipif(
    sys.platform != "linux" or bundled, reason="needs Linux, and a zmqcy without its own libzmq"
)


def run(program, *flags, **env):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    command = [sys.executable, *flags, "-c", program]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=50, cwd=ROOT.anchor)


def fake_libzmq(folder, source, name="libzmq.so.5"):
    """Compile a library with the file name of libzmq; return its folder."""
    folder.mkdir()
    (folder / "fake.c").write_text(source)
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(folder / "fake.c")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


OLD = "void zmq_version(int *major, int *minor, int *patch) { *major = 4; *minor = 1; *patch = 6; }"
IMPORT = "try:\n    import zmqcy\nexcept ImportError as error:\n    print(error.name, error, sep='|', flush=True)"


def test_a_sub_interpreter_is_refused_and_the_main_one_goes_on():
    """A sub-interpreter may be the first to import zmqcy. It must not load modules that reject the main interpreter."""
    done = run(f"""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import threading
script = {IMPORT!r}
def work():
    new = interpreters.create()
    failed = interpreters.run_string(new[0] if isinstance(new, tuple) else new, script)
    if failed is not None:
        print(failed)
work()
import zmqcy
with zmqcy.Context() as context, context.socket(zmqcy.PAIR) as pair:
    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    print(pair.type)
""")
    assert done.returncode == 0, done.stderr
    *refusals, last = done.stdout.splitlines()
    assert (len(refusals), last, done.stderr) == (3, "0", "")
    for line in refusals:
        name, text = line.split("|")
        assert name == "zmqcy"
        assert text.startswith("zmqcy cannot be imported in a sub-interpreter.")
        assert "WSGIApplicationGroup %{GLOBAL}" in text and "concurrent.interpreters" in text


@linux_system
@pytest.mark.parametrize("variable", ["LD_LIBRARY_PATH", "LD_PRELOAD"])
def test_an_old_libzmq_is_refused_at_import(tmp_path, variable):
    folder = fake_libzmq(tmp_path / "old", OLD)
    done = run(IMPORT, **{variable: str(folder if variable == "LD_LIBRARY_PATH" else folder / "libzmq.so.5")})
    assert done.returncode == 0, done.stderr
    name, text = done.stdout.split("|")
    assert name == "zmqcy"
    assert text.startswith("libzmq 4.1.6 is too old. zmqcy needs libzmq 4.2 or newer.")
    for command in ("pip install", "apt-get install libzmq5", "dnf install zeromq", "brew install zeromq"):
        assert command in text


@linux_system
def test_a_library_that_cannot_be_loaded_is_named_with_what_to_install(tmp_path):
    """The loader stops at a file that it cannot read. The error is that of a missing library."""
    (tmp_path / "libzmq.so.5").write_bytes(b"not a library")
    done = run(IMPORT, LD_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "libzmq.so.5" in done.stdout
    assert "zmqcy needs libzmq 4.2 or newer" in done.stdout
    assert "apt-get install libzmq5" in done.stdout


def test_an_import_error_of_another_kind_stays_as_it_is(tmp_path):
    """Only errors about libzmq get the advice."""
    package = tmp_path / "zmqcy"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "zmqcy" / "__init__.py").read_text())
    done = run(IMPORT, "-S", PYTHONPATH=str(tmp_path))  # -S: without the modules of an editable install
    assert done.returncode == 0, done.stderr
    assert "_library" in done.stdout
    assert "libzmq 4.2" not in done.stdout


def test_the_import_leaves_the_flags_of_the_loader_alone():
    done = run("import sys; flags = sys.getdlopenflags(); import zmqcy; print(flags == sys.getdlopenflags())")
    assert done.stdout == "True\n", done.stderr


@pytest.mark.skipif(find_spec("zmq") is None, reason="pyzmq is not installed here")  # find_spec does not import it
@pytest.mark.parametrize("order", [("zmq", "zmqcy"), ("zmqcy", "zmq")])
def test_pyzmq_with_a_libzmq_of_its_own_in_the_same_process(order):
    """Each binding has its own libzmq and contexts. They exchange messages over tcp."""
    program = f"""
import {order[0]}, {order[1]}, json
with zmqcy.Context() as ours, zmq.Context() as theirs:
    reply, request = ours.socket(zmqcy.REP), theirs.socket(zmq.REQ)
    reply.bind("tcp://127.0.0.1:*")
    request.connect(reply.last_endpoint)
    for number in range(100):
        request.send(b"%d" % number)
        reply.send(reply.recv(timeout=10000) + b"!")
        assert request.poll(10000) and request.recv() == b"%d!" % number
    request.close(); reply.close()
mapped = []
if {sys.platform == "linux"}:
    with open("/proc/self/maps") as maps:
        mapped = sorted({{line.split()[-1] for line in maps if "/libzmq" in line}})
print(json.dumps([zmqcy.get_library(), mapped, zmq.zmq_version(), zmqcy.zmq_version()]))
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
    path, mapped, _, version = json.loads(done.stdout)
    assert path == zmqcy.get_library()
    assert version == zmqcy.zmq_version()
    if sys.platform == "linux":
        assert path in mapped
        assert len(mapped) == 2


def test_info_tells_the_file_and_why_it_is_that_one():
    found = info.collect()
    assert found["libzmq_origin"] == info.origin_of_libzmq(found["libzmq_path"])
    text = run("import sys; sys.argv = ['zmqcy', 'info']; from zmqcy.cli import main; main()").stdout
    assert f"origin       {found['libzmq_origin']}\n" in text


def test_info_tells_a_library_of_a_prefix_from_one_of_the_system():
    package = os.path.dirname(os.path.realpath(zmqcy.__file__))
    assert info.origin_of_libzmq(None) is None
    assert info.origin_of_libzmq("/usr/lib/x86_64-linux-gnu/libzmq.so.5.2.4") == "the system's"
    assert info.origin_of_libzmq(f"{package}.libs/libzmq-1a2b.so.5.2.5") == "bundled with zmqcy"
    assert info.origin_of_libzmq(f"{package}/.dylibs/libzmq.5.dylib") == "bundled with zmqcy"
    assert "ZMQCY_LIBZMQ" in info.origin_of_libzmq("/opt/zmq/lib/libzmq.so.5")


def test_info_knows_a_prefix_that_the_modules_name_where_systems_have_theirs(tmp_path, monkeypatch):
    module = tmp_path / "_library.so"
    monkeypatch.setattr(info, "_library", SimpleNamespace(__file__=str(module)))
    for text, origin in (
        (b"libc.so.6\0/usr/local/lib\0", "from the prefix in ZMQCY_LIBZMQ at build time"),
        (b"libc.so.6\0/usr/local/lib/other\0", "the system's"),
    ):
        module.write_bytes(text)
        assert info.origin_of_libzmq("/usr/local/lib/libzmq.so.5.2.5") == origin


@linux_system
def test_info_tells_what_pointed_to_a_library_in_another_place(tmp_path):
    """An environment variable makes the loader find a copy of libzmq."""
    copy = tmp_path / "libzmq.so.5"
    copy.write_bytes(Path(zmqcy.get_library()).read_bytes())
    program = "import json; from zmqcy.cli.info import collect; print(json.dumps(collect()))"
    for variable, value, origin in [
        ("LD_LIBRARY_PATH", tmp_path, "found by LD_LIBRARY_PATH"),
        ("LD_PRELOAD", copy, "named by LD_PRELOAD"),
    ]:
        done = run(program, **{variable: str(value)})
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["libzmq_path"] == str(copy.resolve())
        assert found["libzmq_origin"] == origin
