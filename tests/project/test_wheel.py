"""The libraries and licences in a wheel. `make wheel` builds a wheel and tests it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT, TESTS

SCRIPT = ROOT / "tools" / "wheel.py"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("ldd") and shutil.which("cc")), reason="needs Linux, ldd and cc"
)


def licenses(tmp_path, **env):
    """Run a copy of the script, which writes next to itself. Return the process and the folder."""
    copy = tmp_path / "repository" / "tools" / "wheel.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, copy)
    command = [sys.executable, str(copy), "licenses"]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    return done, tmp_path / "repository"


def prefix_with(tmp_path, license):
    """Create a prefix whose libzmq needs a libother of the same prefix."""
    lib = tmp_path / "prefix" / "lib"
    lib.mkdir(parents=True)
    (lib / "one.c").write_text("int other(void) { return 1; }")
    (lib / "two.c").write_text("int other(void); int zmq_version(void) { return other(); }")
    cc = ["cc", "-shared", "-fPIC"]
    subprocess.run([*cc, "-o", lib / "libother.so.3", lib / "one.c"], check=True)
    link = ["-L", lib, "-l:libother.so.3", f"-Wl,-rpath,{lib}"]
    subprocess.run([*cc, "-o", lib / "libzmq.so", lib / "two.c", *link], check=True)
    if license:
        folder = tmp_path / "prefix" / "share" / "licenses" / "libzmq"
        folder.mkdir(parents=True)
        (folder / "LICENSE").write_text("Do what is right.\n")
    return tmp_path / "prefix"


def test_each_library_that_a_wheel_carries_has_its_licence(tmp_path):
    done, folder = licenses(tmp_path, ZMQCY_LIBZMQ=str(prefix_with(tmp_path, license=True)))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "licences of: libother libzmq\n"  # libc needs no licence
    assert (folder / "LICENSE.libother.txt").read_text() == "Do what is right.\n\n"


def test_a_library_without_a_licence_goes_into_no_wheel(tmp_path):
    prefix = prefix_with(tmp_path, license=False)
    done, _ = licenses(tmp_path, ZMQCY_LIBZMQ=str(prefix))
    assert done.returncode == 1
    assert f"no licence is installed with {prefix}/lib/lib" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs a system with dpkg")
def test_the_licences_of_the_systems_libraries_are_those_of_their_packages(tmp_path):
    found = subprocess.run(["pkg-config", "--exists", "libzmq"]).returncode == 0
    if not found or not list(Path("/usr/share/doc").glob("libzmq*/copyright")):
        pytest.skip("libzmq is not of a package, or documents are left out here")
    done, folder = licenses(tmp_path, ZMQCY_LIBZMQ="")
    assert done.returncode == 0, done.stderr
    assert "libzmq" in done.stdout
    text = (folder / "LICENSE.libzmq.txt").read_text()
    assert "LGPL" in text or "Mozilla Public License" in text


def test_the_lists_of_tests_name_tests_that_are_there():
    names = {name.removeprefix("test_").removesuffix(".py") for name in TESTS}
    lists = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(SCRIPT.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id in ("SMOKE", "OF_THE_REPOSITORY")
    }
    assert len(lists) == 2
    for each in lists.values():
        assert set(each) <= names
