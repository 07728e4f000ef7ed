"""`zmqcy bench` in real processes: two local ends, single ends, terminals, charts, foreign peers, wrong usage."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial

import commands
import pytest
from commands import ANY, COMMAND, LIMIT, read
from rows import rows

import zmqcy

pytest.importorskip("click", reason="the extra [cli] is not installed")

pytestmark = pytest.mark.slow
linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
FEW = ["--size", "8,1000", "--count", 300, "--rounds", 2]


cli = partial(commands.cli, text=True)


@pytest.fixture
def start(start):
    """A function that starts `zmqcy bench`. With --local it waits for `ready`, and also returns the endpoint."""
    return lambda *arguments: start("bench", *arguments, ready="--local" in arguments, text=True)


def fails(done, *words):
    """Assert that a command exited with 1, and wrote one line that contains all words."""
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("zmqcy: "), done.stderr
    for word in words:
        assert word in done.stderr


def ended(process):
    """Wait for the exit of a process. Return its result, as `cli` does."""
    output, errors = process.communicate(timeout=LIMIT)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def throughput_is_right(found, batch):
    assert [(each["size"], each["count"], each["batch"]) for each in found["results"]] == [
        (8, 300, batch),
        (1000, 300, batch),
    ]
    for each in found["results"]:
        assert 0 < each["messages_per_second_min"] <= each["messages_per_second"] <= each["messages_per_second_max"]
        assert len(each["rounds"]) == 2
        assert each["megabytes_per_second"] == pytest.approx(each["messages_per_second"] * each["size"] / 1e6)
        for measured in each["rounds"]:
            assert measured["rate"] * measured["seconds"] == pytest.approx(300)


def latency_is_right(found):
    assert [(each["size"], each["count"]) for each in found["results"]] == [(8, 300), (1000, 300)]
    for each in found["results"]:
        assert 0 < each["min_us"] <= each["p50_us"] <= each["p99_us"] <= each["max_us"]
        assert each["one_way_us"] == each["round_trip_us"] / 2
        assert each["min_us"] <= each["round_trip_us"] <= each["max_us"]


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "ipc", "inproc"])
@pytest.mark.parametrize("batch", [1, 7])
def test_throughput(transport, batch):
    done = cli("bench", "throughput", *FEW, "--transport", transport, "--batch", batch, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    throughput_is_right(found, batch)
    assert found["machine"]["libzmq"] == zmqcy.zmq_version()
    assert found["machine"]["cores"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "ipc", "inproc"])
def test_latency(transport):
    done = cli("bench", "latency", *FEW, "--transport", transport, "--spin", 0, "--io-threads", 2, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    latency_is_right(json.loads(done.stdout))


def test_throughput_between_two_ends(start):
    local, endpoint = start("throughput", "--local", ANY, "--json")
    remote = cli("bench", "throughput", "--remote", endpoint, *FEW, "--batch", 10)
    # The warm-up is a tenth of each run.
    assert remote.stdout == "sent 1,320 messages; the other end has the results\n"
    assert (remote.returncode, remote.stderr) == (0, "")
    found = json.loads(ended(local).stdout)
    throughput_is_right(found, 10)
    assert found["other_machine"] == found["machine"]


def test_latency_between_two_ends(start):
    local, endpoint = start("latency", "--local", ANY)
    remote = cli("bench", "latency", "--remote", endpoint, *FEW, "--json")
    assert (remote.returncode, remote.stderr) == (0, "")
    latency_is_right(json.loads(remote.stdout))
    assert ended(local).stdout == "answered 1,320 messages; the other end has the results\n"


@pytest.mark.slow
def test_large_messages_after_small_ones_between_two_ends(start):
    """Large messages need a lower high-water mark, which libzmq does not apply to existing connections."""
    local, endpoint = start("throughput", "--local", ANY, "--json")
    words = ["--size", "8,4000000,8", "--count", 400, "--rounds", 2, "--batch", 100]
    assert cli("bench", "throughput", "--remote", endpoint, *words).returncode == 0
    found = json.loads(ended(local).stdout)
    assert [each["size"] for each in found["results"]] == [8, 4_000_000, 8]


def test_table_without_a_terminal():
    lines = cli("bench", "throughput", *FEW).stdout.splitlines()
    assert lines[0] == "PUSH to PULL over tcp, two processes: median of 2 rounds"
    assert re.fullmatch(r" *size +count +batch +messages/s +\(min - max\) +MB/s", lines[1])
    assert re.fullmatch(r" +8 B +300 +1 +[\d,]+ +\([\d,]+ - [\d,]+\) +[\d.,]+", lines[2])
    assert lines[4].startswith(f"libzmq {zmqcy.zmq_version()}, zmqcy {zmqcy.__version__}, Python ")


@pytest.mark.slow
def test_bar_and_table_on_a_terminal():
    master, slave = pty.openpty()
    words = [*COMMAND, "bench", "latency", *map(str, FEW)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = read(master)
    assert process.wait(LIMIT) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert "0/4" in text and "4/4" in text
    assert "REQ to REP over tcp, two processes: median of 2 rounds, microseconds" in text
    assert re.search(r"│ +8 B │ +300 │", text)
    assert f"libzmq {zmqcy.zmq_version()}" in text


@pytest.mark.slow
@linux
@pytest.mark.parametrize(("work", "gone"), [("throughput", "local"), ("throughput", "remote"), ("latency", "remote")])
def test_a_peer_disconnects_during_a_run(start, work, gone):
    """The command fails soon. The run would take hours."""
    local, endpoint = start(work, "--local", ANY, "--timeout", 2000)
    remote = start(work, "--remote", endpoint, "--count", 10**10, "--size", 8, "--timeout", 2000)
    victim, other = (local, remote) if gone == "local" else (remote, local)
    wait_for_child(victim)
    wait_for_child(other)
    victim.send_signal(signal.SIGINT)
    assert ended(victim).returncode == 130
    fails(ended(other), "bench: ")


def children(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return [int(child) for child in file.read().split()]


def wait_for_child(process):
    """Wait until a child has used half a second of processor time, so it measures. Return its id."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        for child in children(process):
            used = 0
            with (
                suppress(OSError),
                open(f"/proc/{child}/stat") as file,
            ):  # a short-lived child has exited
                used = sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
            if used > os.sysconf("SC_CLK_TCK") / 2:
                return child
    pytest.fail("no child measures")


@pytest.mark.slow
@linux
def test_a_child_is_killed(start):
    process = start("throughput", "--count", 10**10, "--size", 8)
    os.kill(wait_for_child(process), signal.SIGKILL)
    fails(ended(process), "end exited (exit code -9)")


@pytest.mark.slow
@linux
def test_no_process_is_left_behind(start):
    process = start("throughput", "--count", 10**10, "--size", 8)
    wait_for_child(process)
    process.kill()
    # All children inherit the stdout: it is closed when they have exited.
    assert ended(process).returncode == -signal.SIGKILL


@pytest.mark.slow
@linux
def test_a_peer_is_silent(start):
    local, endpoint = start("throughput", "--local", ANY, "--timeout", 1000)
    remote = start("throughput", "--remote", endpoint, "--count", 10**10, "--size", 8)
    stuck = wait_for_child(remote)
    os.kill(stuck, signal.SIGSTOP)
    try:
        fails(ended(local), "the other end sent nothing for 1000 ms")
    finally:
        os.kill(stuck, signal.SIGCONT)


def test_ctrl_c_while_it_waits_for_a_peer(start):
    local, _ = start("latency", "--local", ANY)
    local.send_signal(signal.SIGINT)
    done = ended(local)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_no_peer(socket):
    last = socket(zmqcy.PULL)
    last.bind(ANY)
    endpoint = last.last_endpoint
    last.close()
    done = cli("bench", "latency", "--remote", endpoint, "--timeout", 300)
    fails(done, f"no peer answers at {endpoint} within 300 ms")


def test_address_in_use(socket):
    taken = socket(zmqcy.PULL)
    taken.bind(ANY)
    fails(cli("bench", "throughput", "--local", taken.last_endpoint), taken.last_endpoint, "Address already in use")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"x" * 8, "it sent 8 bytes"),
        (b"[1]", "it sent 3 bytes"),
        (b'{"zmqcy bench": 2}', "version 2 of the benchmark, this end 1"),
        (b'{"zmqcy bench": 1, "work": "latency"}', "runs `bench latency`, this end `bench throughput`"),
        (b'{"zmqcy bench": 1, "work": "throughput", "runs": [8], "rounds": 1}', "an invalid plan"),
        (b'{"zmqcy bench": 1, "work": "throughput", "runs": [], "rounds": 1e400, "machine": {}}', "an invalid plan"),
        (
            b'{"zmqcy bench": 1, "work": "\\u001b]0;x\\u0007\\nzmqcy: \\u202e"}',
            r"runs `bench \x1b]0;x\x07 zmqcy: \u202e`",
        ),
        (b"[" * 100_000, "it sent 100,000 bytes"),
    ],
)
def test_local_end_with_a_foreign_peer(start, socket, first, words):
    local, endpoint = start("throughput", "--local", ANY)
    push = socket(zmqcy.PUSH)
    push.connect(endpoint)
    push.send(first)
    fails(ended(local), words)


def test_control_characters_are_escaped():
    """The facts that the other end sends about its machine are escaped."""
    from zmqcy.cli.bench import words
    from zmqcy.cli.formats import to_json

    facts = {"cpu": "a\x1b[2J\x9b\u202e\x7f\nb", "cores": [1], "more": "\x1b", "system": "x" * 1000}
    assert r"Python ?, a\x1b[2J\x9b\u202e\x7f b, [1] cores" in words(facts)
    assert "a, 1 core, x" in words({"cpu": "a", "cores": 1, "system": "x"})
    assert words(facts).isprintable() and len(words(facts)) < 400
    assert to_json(facts).isprintable() and json.loads(to_json(facts)) == facts


def test_remote_end_with_a_foreign_peer(start, socket):
    rep = socket(zmqcy.REP)
    rep.bind(ANY)
    # An incompatible type: libzmq closes the connection.
    fails(cli("bench", "throughput", "--remote", rep.last_endpoint), "is not this benchmark")
    # An echo server, such as libzmq's local_lat.
    remote = start("latency", "--remote", rep.last_endpoint)
    rep.send(rep.recv())
    fails(ended(remote), "is not `zmqcy bench latency --local`")


def test_both_ends_report_incompatible_versions(start, socket):
    local, endpoint = start("latency", "--local", ANY)
    req = socket(zmqcy.REQ)
    req.connect(endpoint)
    req.send(b'{"zmqcy bench": 7}')
    assert "version 7" in json.loads(req.recv())["error"]
    fails(ended(local), "version 7")


@pytest.mark.slow
@pytest.mark.parametrize("work", ["throughput", "latency"])
def test_chart(tmp_path, work):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    done = cli("bench", work, *FEW, "--plot", tmp_path / "chart.png")
    assert (done.returncode, done.stderr) == (0, "")
    picture = (tmp_path / "chart.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20], "big") > 1000


def test_chart_without_matplotlib(run, tmp_path):
    code = """
        import sys
        import importlib.util as util
        found = util.find_spec
        util.find_spec = lambda name, *rest: None if name == "matplotlib" else found(name, *rest)
        from zmqcy.cli import main
        main()
    """
    done = run(code, "bench", "throughput", "--plot", str(tmp_path / "chart.png"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "zmqcy: --plot needs matplotlib: pip install 'zmqcy[plot]'\n"


@rows(
    ("arguments", "words"),
    [
        (["speed"], "No such command"),
        (["throughput", "--size", "8,x"], "'8,x': sizes are numbers"),
        (["throughput", "--size", "-1"], "sizes are numbers"),
        (["throughput", "--count", "0"], "--count"),
        (["latency", "--batch", "2"], "--batch"),
        (["latency", "--local", ANY, "--remote", ANY], "use either --local or --remote"),
        (["latency", "--local", ANY, "--transport", "ipc"], "--transport needs two local ends"),
        (["latency", "--local", ANY, "--count", "5"], "the end with --remote sets"),
        (["latency", "--local", "inproc://a"], "not over inproc"),
        (["latency", "--local", ANY, "--json"], "the other end has the results"),
        (["throughput", "--remote", "tcp://127.0.0.1:1", "--json"], "the other end has the results"),
        (["throughput", "--remote", "5555"], "is not an endpoint"),
    ],
)
def test_wrong_usage(arguments, words):
    done = cli("bench", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split()) and "Usage: zmqcy bench" in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [("zmqcy bench t", {"throughput"}), ("zmqcy bench latency --transport i", {"ipc", "inproc"})],
)
def test_completion(line, words):
    place = str(len(line.split()) - 1)
    done = cli(env={**os.environ, "COMP_WORDS": line, "COMP_CWORD": place, "_ZMQCY_COMPLETE": "bash_complete"})
    assert set(done.stdout.split()) == {f"plain,{word}" for word in words}
