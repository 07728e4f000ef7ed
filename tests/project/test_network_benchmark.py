"""The benchmark of two hosts: its namespaces work, and are always removed."""

import os
import signal
import subprocess
import sys

import pytest
from paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench_network

sys.path.pop(0)

LAN = bench_network.LINKS["LAN"]


def namespaces(process):
    """Return the names of the namespaces that a process has created."""
    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout.split()
    return sorted(name for name in listed if name.startswith(f"zmqcy-{process}-"))


@pytest.fixture
def network():
    if bench_network.lacking():
        pytest.skip("needs root and iproute2")
    network = bench_network.Network(*LAN)
    try:
        with network:
            assert namespaces(os.getpid()) == network.names
    except bench_network.Refused as error:
        pytest.skip(f"no network namespaces here: {error}")
    assert namespaces(os.getpid()) == []
    return network


@pytest.mark.slow
def test_messages_go_from_one_namespace_to_the_other(network):
    command = [sys.executable, str(ROOT / "benchmarks" / "peer.py"), "zmqcy"]
    with network:
        assert network.shaping in ("netem", "tbf", "nothing")
        assert (network.shaping == "netem") == (network.missing == [])
        assert ("no delay" in network.title()) == (network.shaping != "netem")
        for work in ("push to pull", "req to rep"):
            assert bench_network.measure(network, command, work, 8, 20) > 0
    assert namespaces(os.getpid()) == []


@pytest.mark.slow
def test_namespaces_are_gone_after_a_failure_in_the_middle(network):
    with pytest.raises(ZeroDivisionError), network:
        assert len(namespaces(os.getpid())) == 2
        raise ZeroDivisionError
    assert namespaces(os.getpid()) == []


@pytest.mark.slow
def test_a_namespace_of_somebody_else_stays(network):
    theirs = network.names[1]
    subprocess.run(["ip", "netns", "add", theirs], check=True)
    try:
        with pytest.raises(bench_network.Refused, match="exists"), network:
            pass
        assert namespaces(os.getpid()) == [theirs]
    finally:
        subprocess.run(["ip", "netns", "delete", theirs], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_namespaces_are_gone_after_a_signal(network, number):
    process = subprocess.Popen(
        [sys.executable, bench_network.__file__],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        for line in process.stdout:
            if line.startswith("LAN: "):
                break
        assert len(namespaces(process.pid)) == 2
        os.killpg(process.pid, number)  # as a terminal does: also to child processes
        assert process.wait(30) != 0
    assert namespaces(process.pid) == []


def test_without_iproute2_it_is_left_out(tmp_path):
    env = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, bench_network.__file__], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "two hosts: skipped: needs root and iproute2\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_without_root_it_is_left_out():
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
import bench_network
os.setuid(65534)
bench_network.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "two hosts: skipped: needs root and iproute2\n"
