"""The build: the libraries and headers that it finds, and its errors."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

import zmqcy

pytestmark = pytest.mark.timeout(900)  # a build takes minutes on a busy machine
Cython = pytest.importorskip("Cython", reason="the build's own requirements are not installed here")


def build(tmp_path, *arguments, env):
    """Run setup.py on a copy of the sources. Return the finished process."""
    source = tmp_path / "source"
    if not source.exists():
        ignored = shutil.ignore_patterns("*.so", "*.c", "*.pyi", "__pycache__")
        shutil.copytree(ROOT / "zmqcy", source / "zmqcy", ignore=ignored)
        (source / "tools").mkdir()
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "tools/stubs.py"):
            shutil.copy(ROOT / name, source / name)
    return subprocess.run(
        [sys.executable, "setup.py", *arguments], cwd=source, env={**os.environ, **env}, capture_output=True, text=True
    )


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
@pytest.mark.parametrize("source", ["zmqcy/_system.h", "benchmarks/baseline.c", "tests/kit/shim.c"])
def test_c_compiles_without_a_warning(source):
    libzmq = subprocess.run(["pkg-config", "--cflags", "libzmq"], capture_output=True, text=True).stdout.split()
    options = ["-isystem", sysconfig.get_path("include"), *libzmq, "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run(["cc", *options, "-x", "c", ROOT / source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("editable", "inplace", "folder"), [(True, 0, "build/inplace"), (False, 1, "build/inplace"), (False, 0, "other")]
)
def test_an_editable_installation_and_a_build_in_place_share_what_is_compiled(monkeypatch, editable, inplace, folder):
    """A wheel contains the files that pip builds in a separate folder."""
    monkeypatch.syspath_prepend(ROOT)
    from setuptools import Distribution

    from setup import BuildExt

    command = BuildExt(Distribution())
    command.distribution.get_command_obj("build").build_lib = "other"
    command.editable_mode, command.inplace = editable, inplace
    command.ensure_finalized()
    assert command.build_lib == folder


INSTALL = ["apt-get install libzmq3-dev pkg-config", "dnf install zeromq-devel", "brew install zeromq", "ZMQCY_LIBZMQ="]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": "/nowhere"}, "libzmq"),
        ({"PKG_CONFIG": "/nowhere/pkg-config"}, "No such file"),
        ({"ZMQCY_LIBZMQ": "/nowhere"}, "no include/zmq.h in ZMQCY_LIBZMQ=/nowhere"),
    ],
)
def test_without_libzmq_the_build_says_what_to_install(tmp_path, env, reason):
    done = build(tmp_path, "build_ext", env=env)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert reason in done.stderr
    for line in INSTALL:
        assert line in done.stderr


@pytest.mark.slow
def test_an_old_libzmq_is_refused(tmp_path):
    assert "libzmq 4.2 or newer" in (ROOT / "zmqcy" / "__init__.py").read_text()  # the import names the same version
    (tmp_path / "libzmq.pc").write_text("Name: libzmq\nDescription: old\nVersion: 4.1.9\nLibs: -lzmq\n")
    done = build(tmp_path, "build_ext", env={"PKG_CONFIG_LIBDIR": str(tmp_path)})
    assert done.returncode != 0
    assert "libzmq 4.2 or newer" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("minor", "reason"), [(1, "ZMQCY_LIBZMQ={} has version 4.1"), (2, "no lib/libzmq in ZMQCY_LIBZMQ={}")]
)
def test_a_prefix_that_is_old_or_has_no_library_is_refused(tmp_path, minor, reason):
    prefix = tmp_path / "prefix"
    (prefix / "include").mkdir(parents=True)
    header = f"#define ZMQ_VERSION_MAJOR 4\n#define ZMQ_VERSION_MINOR {minor}\n#define ZMQ_VERSION_PATCH 9\n"
    (prefix / "include" / "zmq.h").write_text(header)
    done = build(tmp_path, "build_ext", env={"ZMQCY_LIBZMQ": str(prefix)})
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert reason.format(prefix) in done.stderr
    assert "libzmq 4.2 or newer" in done.stderr


def include_of_libzmq():
    found = subprocess.run(
        ["pkg-config", "--variable=includedir", "libzmq"], capture_output=True, text=True, check=True
    )
    return Path(found.stdout.strip())


def prefix_of(tmp_path, header):
    """Create a prefix with a header of the test, and the system's library."""
    prefix = tmp_path / "prefix"
    (prefix / "include").mkdir(parents=True)
    (prefix / "include" / "zmq.h").write_text(header)
    libdir = subprocess.run(["pkg-config", "--variable=libdir", "libzmq"], capture_output=True, text=True, check=True)
    (prefix / "lib").symlink_to(libdir.stdout.strip())
    return prefix


NEWER = [  # than 4.2.0
    "ZMQ_HAVE_TIMERS", "zmq_timers_", "zmq_timer_fn", "zmq_stopwatch_intermediate", "ZMQ_GSSAPI_", "ZMQ_BINDTODEVICE",
    "ZMQ_MSG_T_SIZE", "ZMQ_THREAD_AFFINITY", "ZMQ_THREAD_NAME", "ZMQ_EVENT_HANDSHAKE", "ZMQ_PROTOCOL_ERROR",
    "ZMQ_POLLITEMS_DFLT", "ZMQ_ZAP_", "ZMQ_GROUP_MAX",
]  # fmt: skip


@pytest.mark.slow
def test_a_prefix_with_an_older_header_and_without_drafts_builds_and_works(tmp_path):
    """The oldest supported header lacks names, and declares no drafts."""
    header = (include_of_libzmq() / "zmq.h").read_text()
    header = re.sub(r"#ifdef ZMQ_BUILD_DRAFT_API.*?#endif // ZMQ_BUILD_DRAFT_API", "", header, flags=re.S)
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    statements = re.split(r"(?<=;)\n", header)
    header = "\n".join(each for each in statements if "#" in each or not any(name in each for name in NEWER))
    header = "\n".join(
        line for line in header.splitlines() if not (line.startswith("#define") and any(name in line for name in NEWER))
    )
    prefix = prefix_of(tmp_path, header)
    done = build(tmp_path, "build_ext", "--inplace", env={"ZMQCY_LIBZMQ": str(prefix), "ZMQCY_DEBUG": "1"})
    assert done.returncode == 0, done.stderr
    assert "-O0" in done.stdout
    program = """
import zmqcy
with zmqcy.Context() as c:
    a, b = c.socket(zmqcy.PAIR), c.socket(zmqcy.PAIR)
    a.bind("inproc://x"); b.connect("inproc://x"); a.send(b"built"); print(b.recv(), zmqcy.__file__)
"""
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "source")}
    ran = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("b'built'")
    assert str(tmp_path) in ran.stdout


@pytest.mark.slow
def test_what_has_changed_is_compiled_again(tmp_path):
    """A changed .pyx is rebuilt, modules that depend on a changed .pxd, and everything after a change of settings."""

    def compiled(**env):
        before = {path: path.stat().st_mtime_ns for path in package.glob("*.so")}
        done = build(tmp_path, "-q", "build_ext", "--inplace", env={"ZMQCY_DEBUG": "1", **env})
        assert done.returncode == 0, done.stderr
        return {
            path.name.partition(".")[0] for path in package.glob("*.so") if path.stat().st_mtime_ns != before.get(path)
        }

    def dependent(name):
        """Return the modules that cimport `name`, directly or indirectly."""
        found = {name}
        while more := {path.stem for path in sources if found & cimported(path)} - found:
            found |= more
        return found & modules

    def cimported(path):
        return set(re.findall(r"^from zmqcy\.(\w+) cimport", path.read_text(), re.M))

    package = tmp_path / "source" / "zmqcy"
    assert build(tmp_path, "--version", env={}).returncode == 0  # this copies the sources
    sources = [*package.glob("*.pyx"), *package.glob("*.pxd")]
    modules = {path.stem for path in package.glob("*.pyx")}
    assert compiled() == modules
    assert compiled() == set()
    os.utime(package / "_poll.pyx")
    assert compiled() == {"_poll"}
    os.utime(package / "_core.pxd")
    assert compiled() == dependent("_core")
    assert {"_core", "_socket", "_aio"} <= dependent("_core") < modules
    os.utime(package / "_system.h")
    assert compiled() == dependent("_system")
    assert compiled(CFLAGS="-DOTHER") == modules


@pytest.mark.slow
@pytest.mark.parametrize("words", [("-c", "import zmqcy"), ("-m", "zmqcy"), ("-m", "zmqcy.compat")])
def test_an_import_in_the_source_tree_says_what_to_do(tmp_path, words):
    """The extension modules are missing, or built for another Python."""
    shutil.copytree(ROOT / "zmqcy", tmp_path / "zmqcy", ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = sys._base_executable  # the virtual environment's Python finds the installed zmqcy there
    done = subprocess.run([python, *words], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{tmp_path / 'zmqcy'} is the source tree of zmqcy, and its C modules are not built" in done.stderr
    assert "circular" not in done.stderr


def test_what_a_wheel_has(tmp_path):
    """The modules, types, and declarations for other Cython projects; no generated C, and no files of other builds."""
    source = tmp_path / "source"
    assert build(tmp_path, "--version", env={}).returncode == 0  # this copies the sources
    done = build(tmp_path, "bdist_wheel", "--dist-dir", str(tmp_path), env={"ZMQCY_DEBUG": "1"})
    assert done.returncode == 0, done.stderr
    assert "Cannot find any files for the given pattern" not in done.stderr  # about licences of bundled libraries
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).name.split(".cpython")[0] for name in archive.namelist() if name.startswith("zmqcy/")}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    kinds = {".py", ".pyi", ".pxd", ".typed", ".html"}
    expected = {path.name for path in (source / "zmqcy").rglob("*") if path.suffix in kinds}
    assert {"__init__.pyi", "_socket.pyi", "socket.pyi", "constants.pyi"} <= expected  # written by the build
    assert names == expected | {path.stem for path in (source / "zmqcy").glob("*.pyx")}
    assert f"\nVersion: {zmqcy.__version__}\n" in metadata  # defined only in zmqcy/__init__.py
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert required == []


@pytest.mark.slow
def test_the_source_distribution_has_what_a_build_needs(tmp_path):
    source = tmp_path / "source"
    done = build(tmp_path, "--version", env={})
    assert done.stdout.strip().splitlines()[-1] == zmqcy.__version__
    shutil.copy(ROOT / "MANIFEST.in", source)
    done = build(tmp_path, "sdist", "--dist-dir", str(tmp_path), env={})
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / f"zmqcy-{zmqcy.__version__}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kinds = {".py", ".pyx", ".pxd", ".h", ".pyi", ".typed", ".html"}
    expected = {str(path.relative_to(source)) for path in (source / "zmqcy").rglob("*") if path.suffix in kinds}
    assert len(expected) > 50
    assert expected <= names
    assert not [name for name in names if name.endswith((".c", ".so")) or name.startswith("build/")]
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "tools/stubs.py"} <= names


def test_the_package_requires_nothing_at_run_time():
    text = (ROOT / "pyproject.toml").read_text()
    project = text.split("[project]")[1].split("\n[")[0]
    assert "dependencies" not in project
