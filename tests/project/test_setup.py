"""tools/setup.sh: a line for each step, and the whole output of a step that fails."""

import os
import shutil
import subprocess
import sys

import pytest
from paths import ROOT


@pytest.fixture
def setup(tmp_path):
    """Return a function that runs a copy of the script where apt-get, sudo and pip are scripts that talk a lot."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path / "tools")

    def fake(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)

    fake("bin/apt-get", "seq 100", 'echo "apt-get $*" >>commands', "exit ${APT:-0}")
    fake("bin/sudo", 'echo "sudo $1" >>commands', 'exec "$@"')
    fake("bin/id", "echo ${USER_ID:-0}")
    python = f'exec "{sys.executable}" "$@"'
    fake(".venv/bin/python", 'case "$*" in "-m pip"*) seq 100; echo "$*" >>commands; exit ${PIP:-0};; esac', python)

    def run(**variables):
        environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **variables}
        done = subprocess.run([tmp_path / "tools" / "setup.sh"], env=environment, capture_output=True, text=True)
        return done, (tmp_path / "commands").read_text().splitlines()

    return run


PIP = "setup: Installing Cython and setuptools with pip, into .venv"
LOG = [str(number) for number in range(1, 101)]


def test_each_step_prints_a_line(setup):
    done, commands = setup(TOOLS="no-such-tool")
    assert (done.returncode, done.stderr) == (0, "")
    update, install, pip = done.stdout.splitlines()
    assert update == "setup: Reading the package lists with apt-get"
    assert install.startswith("setup: Installing build tools with apt-get: ") and "no-such-tool" in install
    assert pip == PIP
    assert [line.split()[:2] for line in commands] == [
        ["apt-get", "update"],
        ["apt-get", "install"],
        *[["-m", "pip"]] * 2,
    ]


def test_it_uses_sudo_where_it_is_not_root(setup):
    done, commands = setup(TOOLS="no-such-tool", USER_ID="1000")
    assert done.returncode == 0
    assert [line for line in commands if line.startswith("sudo")] == ["sudo apt-get", "sudo env"]


def test_a_step_that_fails_shows_its_output(setup):
    done, commands = setup(TOOLS="no-such-tool", APT="1")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [*LOG, "setup: failed: Reading the package lists with apt-get"]
    assert len(commands) == 1


def test_a_failure_of_pip_shows_its_output(setup):
    done, commands = setup(PIP="1")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [*LOG, PIP.replace("setup:", "setup: failed:")]
    assert len([line for line in commands if line.startswith("-m pip")]) == 1


def test_it_asks_for_what_a_build_needs_alone(setup):
    """The groups of tests and benchmarks are for the targets that use them."""
    _, commands = setup()
    assert [line for line in commands if line.startswith("-m pip")] == [
        "-m pip install -q pip >= 25.1",
        "-m pip install -q --group build",
    ]


def test_a_python_that_does_not_start_is_named(tmp_path):
    broken = tmp_path / "python3.99"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    done = subprocess.run([ROOT / "tools" / "setup.sh", broken], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"setup: {broken} does not start: name another by PYTHON=\n"
