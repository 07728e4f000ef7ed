"""`zmqcy watch` in real processes: events as lines and JSON, CURVE, signals, broken pipes, completion, wrong usage."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from functools import partial

import commands
import pytest
from commands import ANY, LIMIT
from rows import rows

import zmqcy

pytest.importorskip("click", reason="the extra [cli] is not installed")


cli = partial(commands.cli, text=True)


@pytest.fixture
def start(start):
    """A function that starts `zmqcy watch` and waits for `ready`. It returns the process and the first endpoint."""
    return lambda *arguments: start("watch", *arguments, text=True)


@pytest.fixture
def nowhere(socket):
    """An endpoint without a listener."""
    last = socket(zmqcy.PULL)
    last.bind(ANY)
    endpoint = last.last_endpoint
    last.close()
    return endpoint


def test_lines(start, socket):
    watcher, endpoint = start("pull", ANY)
    assert "listening" in watcher.stdout.readline()
    push = socket(zmqcy.PUSH)
    push.connect(endpoint)
    accepted, succeeded = watcher.stdout.readline(), watcher.stdout.readline()
    place = re.escape(endpoint)
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(rf"{time} accepted +{place} \(file descriptor \d+\) peer 127\.0\.0\.1:\d+\n", accepted)
    assert re.fullmatch(rf"{time} handshake_succeeded {place}\n", succeeded)
    push.close()
    assert "disconnected" in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    assert watcher.communicate(timeout=LIMIT) == ("", "")
    assert watcher.returncode == 130


def test_json_and_some_events_only(start, socket):
    push = socket(zmqcy.PUSH)
    push.bind(ANY)
    watcher, _ = start(
        "pull", "--connect", push.last_endpoint, "--json", "--events", "Connected,disconnected", "--count", 2
    )
    first = json.loads(watcher.stdout.readline())
    assert (first["event"], first["endpoint"]) == ("connected", push.last_endpoint)
    assert f"tcp://{first['peer']}" == push.last_endpoint
    assert first["meaning"] == f"file descriptor {first['value']}"
    push.close()
    second = json.loads(watcher.stdout.readline())
    assert (second["event"], second["peer"]) == ("disconnected", None)
    assert second["time"] > first["time"]
    assert watcher.wait(LIMIT) == 0


def test_retries_and_timeout(nowhere):
    done = cli("watch", "dealer", nowhere, "--events", "connect_retried,closed", "--count", 2)
    assert done.returncode == 0
    assert re.search(r"connect_retried .*\(Connection refused; next try in \d+ ms\)", done.stdout)
    done = cli("watch", "dealer", nowhere, "--events", "connected", "--timeout", 500)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [f"zmqcy: dealer {nowhere}: no event within 500 ms"]


def test_causes_of_failed_connections(nowhere, tmp_path):
    for endpoint, cause in ((nowhere, "Connection refused"), (f"ipc://{tmp_path}/none", "No such file or directory")):
        done = cli("watch", "dealer", endpoint, "--events", "connect_retried", "--count", 1, "--json")
        found = json.loads(done.stdout)
        assert found["meaning"] == f"{cause}; next try in {found['value']} ms"


def test_the_cause_is_looked_up_seldom(monkeypatch, tmp_path):
    """libzmq tries ten times a second."""
    from zmqcy.cli import watch

    attempts = []
    monkeypatch.setattr(watch, "failure", lambda endpoint: attempts.append(endpoint) or "refused")
    event = zmqcy.monitor.SocketEvent(zmqcy.Event.CONNECT_RETRIED, 100, "tcp://127.0.0.1:1")
    with open(tmp_path / "out", "wb") as file:
        lines = watch.Lines(file, as_json=True)
        assert {lines.cause(event) for _ in range(100)} == {"refused"}
        assert attempts == [event.endpoint]
        monkeypatch.setattr(watch, "FRESH", -1)
        lines.cause(event)
    assert attempts == [event.endpoint] * 2


def test_a_lost_connection_has_no_cause(start, socket):
    push = socket(zmqcy.PUSH)
    push.bind(ANY)
    watcher, _ = start("pull", f">{push.last_endpoint}", "--events", "connected,disconnected,connect_retried", "--json")
    assert json.loads(watcher.stdout.readline())["event"] == "connected"
    push.close()
    assert json.loads(watcher.stdout.readline())["event"] == "disconnected"
    assert json.loads(watcher.stdout.readline())["meaning"].startswith("next try in ")


def test_repeats_are_counted_in_a_pipe(start, nowhere, socket):
    """The first event is a line, and the count of all is a line at the next other event."""
    watcher, _ = start("dealer", nowhere, "--events", "connect_retried,connected")
    assert "connect_retried" in watcher.stdout.readline()
    server = cli("watch", "dealer", nowhere, "--events", "connect_retried", "--count", 3)  # takes some time
    first, second = server.stdout.splitlines()
    assert "times" not in first and second.endswith(" (3 times)")
    router = socket(zmqcy.ROUTER)
    router.bind(nowhere)
    rest = [watcher.stdout.readline(), watcher.stdout.readline()]
    assert re.search(r"connect_retried .* \(\d+ times\)\n", rest[0]) and " connected " in rest[1]


def test_repeats_are_counted_when_it_is_ended(start, nowhere):
    watcher, _ = start("dealer", nowhere, "--events", "connect_retried")
    watcher.stdout.readline()
    cli("watch", "dealer", nowhere, "--events", "connect_retried", "--count", 3)
    watcher.send_signal(signal.SIGINT)
    assert re.search(r"connect_retried .* \(\d+ times\)\n$", watcher.communicate(timeout=LIMIT)[0])
    assert watcher.returncode == 130


def test_repeats_are_counted_in_place_on_a_terminal(nowhere):
    master, slave = pty.openpty()
    words = ["watch", "dealer", nowhere, "--events", "closed,connect_retried", "--count", "6", "--quiet"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "70"}
    process = subprocess.Popen([*commands.COMMAND, *words], stdout=slave, env=environment)
    os.close(slave)
    shown = commands.read(master).decode()
    assert process.wait(LIMIT) == 0
    *_, last = shown.split("\x1b[2A")
    lines = last.replace("\x1b[2K", "").splitlines()
    assert [line.endswith(" (3 times)") for line in lines] == [True, True]
    assert all(len(line) <= 70 for line in lines)
    assert shown.count("\x1b[2A") == 4


def test_a_connection_to_itself_is_reported(nowhere):
    source = nowhere.removeprefix("tcp://")
    done = cli("watch", "dealer", f"{nowhere};{source}", "--events", "connected", "--count", 1, "--timeout", 10_000)
    assert re.search(
        r"connected .*\(file descriptor \d+; connected to itself: nothing listens at this port", done.stdout
    )


def test_sub_subscribes(start, socket):
    xpub = socket(zmqcy.XPUB)
    xpub.bind(ANY)
    start("sub", xpub.last_endpoint, "--topic", "news")
    assert xpub.recv() == b"\x01news"


def test_curve(socket, tmp_path):
    assert cli("curve-keygen", "--file", tmp_path / "client").returncode == 0
    public, secret = zmqcy.curve_keypair()
    server = socket(zmqcy.ROUTER, curve_server=True, curve_secretkey=secret)
    server.bind(ANY)
    words = ["watch", "dealer", server.last_endpoint, "--events", "handshake_succeeded", "--count", 1]
    for keys in ([], ["--key-file", tmp_path / "client"]):
        done = cli(*words, "--curve-server", public.decode(), *keys)
        assert done.returncode == 0, done.stderr
        assert "handshake_succeeded" in done.stdout
    (tmp_path / "client").chmod(0o640)
    done = cli(*words, "--curve-server", public.decode(), "--curve-file", tmp_path / "client")
    assert done.returncode == 1 and "other users can open this secret key (mode 0640)" in done.stderr
    done = cli(*words, "--curve-server", secret.decode() + "x")  # a mistyped key
    assert (
        done.returncode == 2
        and "not a key: a key has 40 characters of Z85, this has 41" in done.stderr
        and secret.decode() not in done.stderr
    )
    (tmp_path / "empty").write_text("")
    done = cli(*words, "--curve-server", public.decode(), "--curve-file", tmp_path / "empty")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "not a file with a secret key" in done.stderr
    done = cli(*words, "--curve-server", public.decode(), "--curve-file", tmp_path / "none")
    assert (done.returncode, done.stderr) == (1, f"zmqcy: {tmp_path / 'none'}: No such file or directory\n")


def test_watch_exits_when_its_reader_closes_the_pipe(start):
    watcher, _ = start("pull", ANY, "--events", "accepted")
    watcher.stdout.close()
    assert watcher.wait(LIMIT) == 141
    assert watcher.stderr.read() == ""


@rows(
    ("arguments", "words"),
    [
        (["nothing", ANY], "'nothing' is not one of"),
        (["pull"], "ENDPOINT"),
        (["pull", ANY, "--events", "accepted,arrived"], "'arrived' is not an event; the events are connected,"),
        (["pull", ANY, "--subscribe", "a"], "--subscribe needs the type sub"),
        (["pull", ANY, "--curve-server", "short"], "not a key: a key has 40 characters of Z85, this has 5"),
        (["pull", ANY, "--curve-file", "file"], "--key-file needs --curve-server"),
    ],
)
def test_wrong_usage(arguments, words):
    done = cli("watch", *arguments)
    assert done.returncode == 2
    assert words in done.stderr and "Usage: zmqcy watch" in done.stderr


def test_address_in_use(socket):
    taken = socket(zmqcy.PULL)
    taken.bind(ANY)
    done = cli("watch", "pull", taken.last_endpoint)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"zmqcy: bind {taken.last_endpoint} (PULL): Address already in use; another socket uses port"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("zmqcy wat", {"watch"}),
        ("zmqcy watch x", {"xpub", "xsub"}),
        ("zmqcy watch pull tcp://a:1 --events accepted,dis", {"accepted,disconnected"}),
        ("zmqcy watch pull tcp://a:1 --js", {"--json"}),
    ],
)
def test_completion(line, words):
    place = str(len(line.split()) - 1)
    done = cli(env={**os.environ, "COMP_WORDS": line, "COMP_CWORD": place, "_ZMQCY_COMPLETE": "bash_complete"})
    assert set(done.stdout.split()) == {f"plain,{word}" for word in words}


def test_completion_by_bash_itself(tmp_path):
    """bash runs the script of `bash_source`, with `zmqcy` as a command."""
    command = tmp_path / "zmqcy"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zmqcy "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(_ZMQCY_COMPLETE=bash_source zmqcy)"
        complete -p zmqcy
        COMP_WORDS=(zmqcy recv p) COMP_CWORD=2
        _zmqcy_completion zmqcy
        echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT, env=environment)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["complete -o nosort -F _zmqcy_completion zmqcy", "pair pull"]
