"""``zmqcy device``, in real processes and terminals: signals, metrics, systemd, reconnecting peers, errors."""

import configparser
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket as sockets
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress

import pytest
from commands import ANY, COMMAND, LIMIT, cli, closed, fails
from paths import ROOT
from rows import rows

import zmqcy
from zmqcy.auth import Certificate
from zmqcy.devices import Device

pytest.importorskip("click", reason="the extra [cli] is not installed")

pytestmark = pytest.mark.slow

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Running:
    """A device in its own process."""

    def __init__(self, arguments, options):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self.process = subprocess.Popen([*COMMAND, "device", *map(str, arguments)], **pipes)
        self.endpoints = []
        if pipes["stderr"] == subprocess.PIPE:
            word, *self.endpoints = self.process.stderr.readline().decode().split()
            assert word == "ready", self.process.stderr.read()

    @property
    def pid(self):
        return self.process.pid

    def send(self, number):
        self.process.send_signal(number)

    def numbers(self):
        """Request the metrics of a device that writes JSON."""
        self.send(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def until(self, condition):
        deadline = time.monotonic() + LIMIT
        while not condition(numbers := self.numbers()):
            assert time.monotonic() < deadline, numbers
        return numbers

    def ended(self, code=0):
        """Wait for its exit. Return the lines of stdout and stderr."""
        out, err = self.process.communicate(timeout=LIMIT)
        assert self.process.returncode == code, err
        return out.decode().splitlines(), err.decode().splitlines()

    def stop(self, number=signal.SIGTERM, code=0):
        self.send(number)
        return self.ended(code)


@pytest.fixture(autouse=True)
def hangups_count():
    """A device inherits the handling of SIGHUP, and nohup ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def start():
    """A function that starts a device and waits for `ready`. The device is killed at the end."""
    running = []

    def start(*arguments, **options):
        running.append(Running(arguments, options))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.communicate()


def connected(socket, socket_type, endpoint, **options):
    made = socket(socket_type, rcvtimeo=LIMIT * 1000, **options)
    made.connect(endpoint)
    return made


def give(endpoint, messages):
    """Send messages. Return when the operating system has all of them."""
    with zmqcy.Context() as ctx:
        push = ctx.socket(zmqcy.PUSH, linger=-1)
        push.connect(endpoint)
        push.send_many(messages)


# ----------------------------------------------------------------------------------------------------------- forwarding


@pytest.mark.parametrize("kind", ["streamer", "Streamer", "pull:PUSH"])
def test_a_streamer(start, socket, kind):
    device = start(kind, ANY, ANY, "--json")
    push = connected(socket, zmqcy.PUSH, device.endpoints[0])
    pull = connected(socket, zmqcy.PULL, device.endpoints[1])
    push.send_multipart([b"a", b"bc"])
    assert pull.recv_multipart() == [b"a", b"bc"]
    (line,), errors = device.stop()
    last = json.loads(line)
    assert last["state"] == "ended"
    assert last["name"] == kind.lower()
    last["front_to_back"].pop("full")
    assert last["front_to_back"] == {"messages_in": 1, "bytes_in": 3, "messages_out": 1, "bytes_out": 3}
    assert last["back_to_front"]["messages_in"] == 0
    assert errors == []


def test_a_queue(start, socket):
    device = start("QUEUE", ANY, ANY, "--io-threads", 2)
    req = connected(socket, zmqcy.REQ, device.endpoints[0])
    rep = connected(socket, zmqcy.REP, device.endpoints[1])
    for word in (b"one", b"two"):
        req.send(word)
        rep.send(rep.recv().upper())
        assert req.recv() == word.upper()
    (line,), _ = device.stop(signal.SIGINT)
    assert re.fullmatch(
        r"queue ended: front to back 2 messages, 0\.000 MB, \d+ blocked attempts?; "
        r"back to front 2 messages, 0\.000 MB, \d+ blocked attempts?; \d+ idle wake-ups?",
        line,
    )


@pytest.mark.parametrize("kind", ["forwarder", "xsub:xpub"])
def test_a_forwarder(start, socket, kind):
    device = start(kind, ANY, ANY)
    pub = connected(socket, zmqcy.PUB, device.endpoints[0])
    sub = connected(socket, zmqcy.SUB, device.endpoints[1])
    sub.subscribe(b"news")
    deadline = time.monotonic() + LIMIT
    while not sub.poll(20):  # a publisher drops messages without a subscriber
        assert time.monotonic() < deadline
        pub.send(b"news")
    assert sub.recv() == b"news"


def test_several_endpoints_bound_and_connected(start, socket, tmp_path):
    source, sink = socket(zmqcy.PUSH), socket(zmqcy.PULL, rcvtimeo=LIMIT * 1000)
    source.bind(ANY)
    sink.bind(ANY)
    path = f"ipc://{tmp_path}/a,b"
    device = start("streamer", f"@{ANY},{path},>{source.last_endpoint}", f">{sink.last_endpoint}")
    assert device.endpoints[1:] == [path, source.last_endpoint, sink.last_endpoint]
    source.send(b"connected")
    assert sink.recv() == b"connected"
    for endpoint in device.endpoints[:2]:
        give(endpoint, [b"bound"])
        assert sink.recv() == b"bound"


def test_capture(start, socket):
    device = start("queue", ANY, ANY, "--capture", ANY)
    req = connected(socket, zmqcy.REQ, device.endpoints[0])
    rep = connected(socket, zmqcy.REP, device.endpoints[1])
    sub = connected(socket, zmqcy.SUB, device.endpoints[2])
    sub.subscribe(b"")
    deadline = time.monotonic() + LIMIT
    while not sub.poll(20):  # the subscription has not arrived yet
        assert time.monotonic() < deadline
        req.send(b"question")
        rep.send(rep.recv() + b" answered")
        assert req.recv() == b"question answered"
    assert sub.recv_multipart()[-1] in (b"question", b"question answered")


CONFIG = """
kind = "STREAMER"
front = {endpoints = "tcp://127.0.0.1:*"}
back = {endpoints = ["tcp://127.0.0.1:*"], options = {sndhwm = 10}}
"""


def test_config(start, socket, tmp_path):
    pytest.importorskip("zmqcy.devices.config", reason="the extra [toml] is not installed")
    path = tmp_path / "jobs.toml"
    path.write_text(CONFIG)
    device = start("--config", path)
    give(device.endpoints[0], [b"x"])
    assert connected(socket, zmqcy.PULL, device.endpoints[1]).recv() == b"x"
    (line,), _ = device.stop()
    assert line.startswith("jobs ended: front to back 1 message,")
    assert cli("device", "--config", path, "queue", ANY, ANY).returncode == 2
    path.write_text(CONFIG.replace("sndhwm", "sndhmw"))
    fails(cli("device", "--config", path), 1, str(path), "back.options", "sndhmw")
    path.write_text(CONFIG.replace("kind", "kin"))
    fails(cli("device", "--config", path), 1, str(path), "kin")
    path.write_text("kind = ")
    fails(cli("device", "--config", path), 1, str(path), "Invalid value")
    fails(cli("device", "--config", tmp_path / "none"), 1, str(tmp_path / "none"), "No such file")


# ------------------------------------------------------------------------------------------------------- access control


def enters(socket, endpoint, secure=lambda push: None, source="127.0.0.1", kind=zmqcy.PUSH):
    """Return whether a peer may connect."""
    push = socket(kind, reconnect_ivl=-1, linger=0)
    secure(push)
    with push.watch(zmqcy.Event.HANDSHAKE_SUCCEEDED | zmqcy.Event.DISCONNECTED) as events:
        push.connect(endpoint.replace("tcp://", f"tcp://{source}:0;"))
        return events.recv(LIMIT * 1000).name == "HANDSHAKE_SUCCEEDED"


@pytest.mark.skipif(not zmqcy.has("curve"), reason="this libzmq has no CURVE")
def test_access_control(start, socket, tmp_path):
    device = start("streamer", ANY, ANY, "--allow", "127.0.0.0/30", "--deny", "127.0.0.2")
    assert [enters(socket, device.endpoints[0], source=f"127.0.0.{i}") for i in (1, 2, 9)] == [True, False, False]
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    passwords.write_text("friend:right\n")
    plain = {word: lambda push, word=word: push.use_plain("friend", word) for word in ("right", "wrong")}
    device = start("streamer", ANY, f">{device.endpoints[0]}", "--passwords", passwords)
    assert [enters(socket, device.endpoints[0], secure) for secure in plain.values()] == [True, False]
    server, friend, unknown = (Certificate.generate() for _ in range(3))
    server.save_secret(tmp_path / "server.key_secret")
    (tmp_path / "clients").mkdir()
    Certificate(friend.public).save(tmp_path / "clients" / "friend.key")
    device = start(
        "streamer", ANY, ANY, "--certificates", tmp_path / "clients", "--key-file", tmp_path / "server.key_secret"
    )
    for endpoint, kind in zip(device.endpoints, (zmqcy.PUSH, zmqcy.PULL), strict=True):
        for keys, arrives in ((friend, True), (unknown, False)):
            assert enters(socket, endpoint, lambda push: push.use_curve(server, keys), kind=kind) is arrives  # noqa: B023
    fails(cli("device", "streamer", ANY, ANY, "--passwords", tmp_path / "none"), 1, str(tmp_path / "none"), "No such")
    fails(cli("device", "streamer", ANY, ANY, "--allow", "me"), 1, "authentication", "allow", "'me'")


SECURED = """
kind = ["PULL", "PUSH"]
front = {endpoints = "tcp://127.0.0.1:*", options = {zap_domain = "d", plain_server = true}}
back = {endpoints = "tcp://127.0.0.1:*", options = {zap_domain = "d"}}
"""


def test_a_config_with_a_domain_needs_rules(start, socket, tmp_path):
    pytest.importorskip("zmqcy.devices.config", reason="the extra [toml] is not installed")
    path = tmp_path / "jobs.toml"
    path.write_text(SECURED)
    fails(cli("device", "--config", path), 1, "back: bind", "no Authenticator is running")
    path.write_text(SECURED + "[authentication]\nplain = 'passwords'\nallow = ['127.0.0.1']\nnull = true\n")
    fails(cli("device", "--config", path), 1, str(tmp_path / "passwords"), "No such file")
    (tmp_path / "passwords").touch(0o600)
    (tmp_path / "passwords").write_text("friend:right\n")
    device = start("--config", path)
    front, back = device.endpoints
    for word in ("right", "wrong"):
        assert enters(socket, front, lambda push: push.use_plain("friend", word)) is (word == "right")  # noqa: B023
    pull = connected(socket, zmqcy.PULL, back)
    friend = socket(zmqcy.PUSH, rcvtimeo=LIMIT * 1000)
    friend.use_plain("friend", "right")
    friend.connect(front)
    friend.send(b"x")
    assert pull.recv() == b"x"
    assert not enters(socket, back, source="127.0.0.9", kind=zmqcy.PULL)
    assert enters(socket, back, kind=zmqcy.PULL)
    path.write_text(SECURED + "[authentication]\nrules = 1\n")
    fails(cli("device", "--config", path), 1, str(path), "unknown key authentication.rules")
    done = cli("device", "--config", path, "--allow", "ipc")
    assert done.returncode == 2 and b"authentication" in done.stderr


# ------------------------------------------------------------------------------------------------------------- signals


def filled(start, *options):
    """Start a streamer with messages and without a receiver."""
    device = start("streamer", ANY, ANY, "--json", *options)
    give(device.endpoints[0], [b"%d" % i for i in range(100)])
    device.until(lambda numbers: numbers["front_to_back"]["messages_in"] == 1)  # the rest is in the queue of the socket
    return device


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_drains(start, socket, number):
    device = filled(start)
    device.send(number)
    device.until(lambda numbers: numbers["state"] == "draining")
    pull = connected(socket, zmqcy.PULL, device.endpoints[1])
    assert [pull.recv() for _ in range(100)] == [b"%d" % i for i in range(100)]
    (line,), errors = device.ended()
    assert json.loads(line)["front_to_back"]["messages_out"] == 100
    assert errors == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_exits_immediately(start, number):
    device = filled(start, "--drain-timeout", 1e9)
    device.send(signal.SIGTERM)
    device.until(lambda numbers: numbers["state"] == "draining")
    (line,), errors = device.stop(number, 128 + number)
    assert json.loads(line)["front_to_back"]["messages_out"] == 0
    assert errors == []


def test_a_second_signal_ends_the_wait_for_unsent_messages(start):
    device = start("streamer", ANY, ">tcp://127.0.0.1:1", "--json", "--drain-timeout", 1e9)
    give(device.endpoints[0], [b"x"])
    device.until(lambda numbers: numbers["front_to_back"]["messages_out"] == 1)
    device.send(signal.SIGINT)
    device.until(lambda numbers: numbers["state"] == "ended")
    device.stop(signal.SIGINT, 130)


def test_a_second_hangup_changes_nothing(start, socket):
    device = filled(start)
    for _ in range(3):
        device.send(signal.SIGHUP)
        device.until(lambda numbers: numbers["state"] == "draining")
    connected(socket, zmqcy.PULL, device.endpoints[1]).recv()
    (line,), _ = device.ended()
    assert json.loads(line)["front_to_back"]["messages_out"] == 100


@pytest.mark.parametrize("back", [ANY, ">tcp://127.0.0.1:1"])
def test_the_drain_timeout(start, back):
    """--drain-timeout limits the drain without a receiver: at a side that binds, and at one that connects."""
    device = start("streamer", ANY, back, "--json", "--drain-timeout", 100)
    give(device.endpoints[0], [b"x"])
    device.until(lambda numbers: numbers["front_to_back"]["messages_in"] == 1)
    (line,), errors = device.stop(code=1)
    assert json.loads(line)["state"] == "ended"
    what = "forwarded messages not delivered to tcp://127.0.0.1:1"
    if back == ANY:
        what = f"1 message not forwarded to {device.endpoints[1]}"
    assert errors == [f"zmqcy: streamer: gave up after 100 ms: {what}"]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc")
@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.1])
def test_a_signal_before_it_is_ready_or_just_then(delay):
    command = [*COMMAND, "device", "queue", ANY, ANY]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **streams) as process:
        deadline = time.monotonic() + LIMIT
        caught = 0
        while not caught & 1 << signal.SIGTERM - 1:
            assert time.monotonic() < deadline
            with open(f"/proc/{process.pid}/status") as file:
                caught = int(next(line for line in file if line.startswith("SigCgt")).split()[1], 16)
        threading.Event().wait(delay)
        process.send_signal(signal.SIGTERM)
        try:
            _, errors = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert process.returncode in (0, 143)  # 143 before the command is loaded
    assert b"Traceback" not in errors


def test_ctrl_c_stays_ignored(start):
    """Shells ignore SIGINT for background jobs."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        device = start("queue", ANY, ANY, "--json")
    finally:
        signal.signal(signal.SIGINT, before)
    device.send(signal.SIGINT)
    assert device.numbers()["state"] == "running"
    device.stop()


# ------------------------------------------------------------------------------------------------ metrics and terminals


def test_lines_of_metrics(start, socket):
    device = start("streamer", ANY, ANY, "--stats", 0.05, "--name", "jobs")
    give(device.endpoints[0], [b"x" * 1000] * 100)
    pull = connected(socket, zmqcy.PULL, device.endpoints[1])
    for _ in range(100):
        pull.recv()
    deadline = time.monotonic() + LIMIT
    while b" 100 messages, 0.100 MB, " not in (line := device.process.stdout.readline()):
        assert time.monotonic() < deadline, line
    assert re.match(
        rb"jobs running: front to back 100 messages, 0\.100 MB, [\d,]+/s, \d+\.\d{3} MB/s, \d+ blocked attempts?; ",
        line,
    )
    device.send(signal.SIGTERM)
    lines, _ = device.ended()
    assert lines[-1].startswith("jobs ended: front to back 100 messages")


def test_lines_of_json(start):
    device = start("queue", ANY, ANY, "--stats", 0.05, "--json")
    waits = [json.loads(device.process.stdout.readline())["waits"] for _ in range(3)]
    assert waits == sorted(waits)
    device.stop()


def test_no_line_without_stats(start):
    device = start("queue", ANY, ANY)
    device.send(signal.SIGUSR1)
    assert device.process.stdout.readline().startswith(b"queue running: ")
    lines, errors = device.stop()
    assert [line[:12] for line in lines] == ["queue ended:"]
    assert errors == []


class Terminal:
    """A terminal, and its output so far."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.shown = b""

    def until(self, words):
        """Read until the output matches a pattern. Return the match."""
        deadline = time.monotonic() + LIMIT
        while not (found := re.search(words, self.shown)):
            assert time.monotonic() < deadline, self.shown
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 65536)
        return found

    def close(self):
        for each in (self.master, self.slave):
            if each is not None:
                os.close(each)
        self.master = self.slave = None


@pytest.fixture
def terminal():
    """A function that creates a terminal."""
    terminals = []

    def terminal():
        terminals.append(Terminal())
        return terminals[-1]

    yield terminal
    for each in terminals:
        each.close()


TERM = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}


def shown(start, terminal, *arguments, **options):
    """Start a device with its output on a terminal. Return both, and the endpoints."""
    screen = terminal()
    streams = {"stdout": screen.slave, "stderr": screen.slave, "stdin": screen.slave}
    device = start(*arguments, env=TERM, **{**streams, **options})
    return device, screen, screen.until(rb"ready ([^\r]*)\r\n")[1].decode().split()


def test_a_table(start, terminal, socket):
    device, screen, endpoints = shown(start, terminal, "streamer", ANY, ANY, "--name", "[jobs]", "--stats", 0.05)
    before = termios.tcgetattr(screen.slave)
    screen.until(rb"direction.*messages/s.*MB/s.*messages.*MB.*blocked")
    assert screen.until(rb"\x1b\[\?25l")  # the cursor is hidden
    give(endpoints[0], [b"x" * 10_000] * 1000)
    pull = connected(socket, zmqcy.PULL, endpoints[1])
    for _ in range(1000):
        pull.recv()
    screen.until(rb"\[jobs\]: running")
    screen.until(rb"front to back[^\r]*[^\d,]1,000 [^\r]* 10\.0 ")
    screen.until(rb"back to front[^\r]* 0 [^\r]* 0\.0 ")
    screen.until(rb"\d idle wake-ups?")
    screen.until(rb"front: " + endpoints[0].encode())
    device.send(signal.SIGUSR1)
    screen.until(rb"\[jobs\] running: front to back 1,000 messages")
    assert b"\x1b[?25h" not in screen.shown
    device.send(signal.SIGINT)
    screen.until(rb"\[jobs\] ended: front to back 1,000 messages")
    screen.until(rb"\x1b\[\?25h")  # the cursor is visible
    assert device.process.wait(LIMIT) == 0
    assert termios.tcgetattr(screen.slave) == before


def test_ctrl_c_on_a_terminal(start, terminal):
    """The terminal sends the signal."""
    screen = terminal()
    command = [sys.executable, "-c", CONTROLLED, *COMMAND, "device", "queue", ANY, ANY]
    streams = {"stdin": screen.slave, "stdout": screen.slave, "stderr": screen.slave}
    with subprocess.Popen(command, env=TERM, start_new_session=True, **streams) as process:
        screen.until(rb"front to back")
        os.write(screen.master, b"\x03")
        screen.until(rb"queue ended: ")
        assert process.wait(LIMIT) == 0


CONTROLLED = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # this process receives the signals of the terminal
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("controlling", [True, False])
def test_a_closed_terminal(terminal, socket, controlling):
    """A device drains when its terminal is closed. Without SIGHUP, the next update of the table notices it."""
    screen = terminal()
    command = [*COMMAND, "device", "streamer", ANY, ANY, "--stats", "0.05"]
    if controlling:
        command = [sys.executable, "-c", CONTROLLED, *command]
    streams = {"stdin": screen.slave, "stdout": screen.slave, "stderr": screen.slave}
    with subprocess.Popen(command, env=TERM, start_new_session=True, **streams) as process:
        try:
            front, back = screen.until(rb"ready (\S+) (\S+)").groups()
            screen.until(rb"front to back")
            give(front.decode(), [b"one", b"two"])
            # The device has received both, and read at least the first.
            screen.until(rb"front to back[^\r]* [1-9]\d* \S*\r")
            screen.close()
            pull = connected(socket, zmqcy.PULL, back.decode())
            assert [pull.recv(), pull.recv()] == [b"one", b"two"]
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()


def test_two_terminals(start, terminal, socket):
    """Two chained devices on two terminals, each with its own table."""
    second, below, inner = shown(start, terminal, "streamer", ANY, ANY, "--name", "second", "--stats", 0.05)
    first, above, outer = shown(start, terminal, "streamer", ANY, f">{inner[0]}", "--name", "first", "--stats", 0.05)
    pull = connected(socket, zmqcy.PULL, inner[1])
    give(outer[0], [b"%d" % i for i in range(300)])
    assert [pull.recv() for _ in range(300)] == [b"%d" % i for i in range(300)]
    for device, screen, name in ((first, above, b"first"), (second, below, b"second")):
        screen.until(rb"front to back[^\r]* 300 ")
        device.send(signal.SIGINT)
        screen.until(name + rb" ended: front to back 300 messages")
        assert device.process.wait(LIMIT) == 0
    assert b"second" not in above.shown and b"first" not in below.shown


@pytest.mark.parametrize("options", [{"env": {**TERM, "TERM": "dumb"}}, {"arguments": ["--json"]}])
def test_no_table_on_a_dumb_terminal_or_with_json(start, terminal, options):
    screen = terminal()
    arguments = options.pop("arguments", [])
    device = start("queue", ANY, ANY, "--stats", 0.05, *arguments, stdout=screen.slave, **{"env": TERM, **options})
    screen.until(rb"running.*\r\n.*running")
    assert b"\x1b" not in screen.shown
    device.send(signal.SIGTERM)
    screen.until(rb"ended")
    device.process.wait(LIMIT)
    assert device.process.stderr.read() == b""


def test_stdout_without_a_reader(start, socket):
    """The device drains, and reports the broken pipe."""
    device = start("streamer", ANY, ANY, "--stats", 0.05)
    device.process.stdout.close()
    device.process.wait(LIMIT)
    assert device.process.returncode == 1
    assert device.process.stderr.read() == b"zmqcy: stdout: Broken pipe\n"


def test_stdout_with_a_stuck_reader(start, socket):
    """The device continues to forward, and exits on a signal."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    device = start("streamer", ANY, ANY, "--stats", 0.05, stdout=writer)
    os.close(writer)
    push = connected(socket, zmqcy.PUSH, device.endpoints[0])
    pull = connected(socket, zmqcy.PULL, device.endpoints[1])
    device.send(signal.SIGUSR1)
    push.send(b"x")
    assert pull.recv() == b"x"
    device.send(signal.SIGTERM)
    _, errors = device.process.communicate(timeout=LIMIT)
    os.close(reader)
    assert device.process.returncode == 1
    assert errors == b"zmqcy: stdout: its reader did not read for 5 s\n"


def test_closed_streams(start, socket):
    fails(closed(">&-", "device", "queue", ANY, ANY), 1, "stdout is closed")
    with zmqcy.Context() as ctx:
        probe = ctx.socket(zmqcy.PULL)
        probe.bind(ANY)
        endpoint = probe.last_endpoint
    line = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh"]
    command = [*line, *COMMAND, "device", "streamer", endpoint, ANY, "--json", "--stats", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["state"] == "running"
        give(endpoint, [b"x"])
        while json.loads(process.stdout.readline())["front_to_back"]["messages_in"] == 0:
            pass
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(LIMIT) in (130, 143)


# ------------------------------------------------------------------------------------------------------------- systemd


class Notified:
    """The receiver of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.address = address
        self.socket = sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM)
        self.socket.settimeout(LIMIT)
        self.socket.bind(address.replace("@", "\0"))
        self.told = []

    def until(self, line):
        """Receive until a message contains a line. Return the lines of the message."""
        while True:
            self.told.append(self.socket.recv(65536).decode().split("\n"))
            if line in self.told[-1]:
                return self.told[-1]

    def rest(self):
        """Receive all pending messages. Return all messages so far."""
        while select.select([self.socket], [], [], 0)[0]:
            self.told.append(self.socket.recv(65536).decode().split("\n"))
        return self.told


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    if request.param == "abstract" and not sys.platform.startswith("linux"):
        pytest.skip("the abstract namespace is Linux's")
    notified = Notified(str(tmp_path / "notify") if request.param == "path" else f"@zmqcy-{os.getpid()}")
    yield notified
    notified.socket.close()


def test_notifications(start, systemd):
    device = start("queue", ANY, ANY, "--json", env={**os.environ, "NOTIFY_SOCKET": systemd.address})
    where = " ".join(device.endpoints)
    assert systemd.until("READY=1") == ["READY=1", f"STATUS=forwarding: {where}"]
    device.stop()
    assert systemd.until("STOPPING=1") == ["STOPPING=1", "STATUS=draining"]
    assert [line for each in systemd.rest() for line in each if line == "WATCHDOG=1"] == []


def test_the_watchdog(start, systemd):
    watched = {**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "100000"}
    device = start("queue", ANY, ANY, "--json", env=watched)
    systemd.until("READY=1")
    for _ in range(30):
        assert systemd.until("WATCHDOG=1") == ["WATCHDOG=1"]
    device.until(lambda numbers: numbers["waits"] > 5)
    device.stop()


def test_a_stuck_systemd_does_not_block_the_device(start, systemd):
    watched = {**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000"}
    device = start("queue", ANY, ANY, "--json", env=watched)
    systemd.until("READY=1")
    device.until(lambda numbers: numbers["waits"] > 5)  # its queue is full
    device.stop()


def test_the_watchdog_while_the_device_drains(start, systemd):
    watched = {**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "100000"}
    device = start("streamer", ANY, ">tcp://127.0.0.1:1", "--json", "--drain-timeout", 1e9, env=watched)
    give(device.endpoints[0], [b"x"])
    device.until(lambda numbers: numbers["front_to_back"]["messages_out"] == 1)
    device.send(signal.SIGTERM)
    systemd.until("STOPPING=1")
    for _ in range(60):  # longer than counters of a live loop may stay unchanged
        systemd.until("WATCHDOG=1")
    device.stop(code=143)


def test_the_watchdog_of_a_stuck_loop(systemd, monkeypatch):
    """The loop has ended, but the device is not marked as stopping."""
    from zmqcy.cli.device import Reports

    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    device = Device(zmqcy.QUEUE, ANY, ANY)
    device.start()
    device.stop()
    reports = Reports(device, "queue", False, None)
    deadline = time.monotonic() + LIMIT
    silent = False
    while not silent:
        assert time.monotonic() < deadline
        before = len(systemd.told)
        reports._watchdog()
        silent = len(systemd.rest()) == before
    assert before > 0
    reports.stopping = True
    reports._watchdog()
    assert systemd.rest()[-1] == ["WATCHDOG=1"]


@pytest.mark.parametrize("settings", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}])
def test_no_watchdog(start, tmp_path, settings):
    """A watchdog of another process, a disabled one, and an invalid timeout."""
    notified = Notified(str(tmp_path / "notify"))
    watched = {**os.environ, "NOTIFY_SOCKET": notified.address, "WATCHDOG_USEC": "1000", **settings}
    device = start("queue", ANY, ANY, "--stats", 0.05, "--json", env=watched)
    for _ in range(5):
        device.process.stdout.readline()
    device.stop()
    assert ["WATCHDOG=1"] not in notified.rest()
    notified.socket.close()


def test_a_missing_notify_socket(start, tmp_path):
    start("queue", ANY, ANY, env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "none")}).stop()


UNIT = ROOT / "examples" / "zmqcy-device.service"


def test_the_unit():
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    program, command, *arguments = shlex.split(service["ExecStart"])
    assert (os.path.basename(program), command) == ("zmqcy", "device")
    from zmqcy.cli.device import device

    with device.make_context("device", arguments) as parsed:
        assert parsed.params["kind"] == zmqcy.QUEUE
        assert parsed.params["bound"] < 1000 * int(service["TimeoutStopSec"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_the_unit_as_systemd_reads_it(tmp_path):
    program = tmp_path / "zmqcy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/zmqcy", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=LIMIT
    )
    lines = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, lines) == (0, []), done.stderr


# --------------------------------------------------------------------------------------------------- reconnecting peers


class Worker(threading.Thread):
    """A thread that replies to requests and records them."""

    def __init__(self, rep):
        super().__init__()
        self.rep = rep
        self.handled = []
        self.done = threading.Event()

    def run(self):
        while not self.done.is_set():
            if self.rep.poll(20):
                request = self.rep.recv()
                self.handled.append(request)
                self.rep.send(request)


class Client(threading.Thread):
    """A thread that sends requests, and repeats each until the reply."""

    def __init__(self, req, total):
        super().__init__()
        self.req = req
        self.total = total
        self.acknowledged = []
        self.error = None

    def run(self):
        deadline = time.monotonic() + LIMIT
        try:
            for word in (b"%d" % i for i in range(self.total)):
                while True:
                    self.req.send(word)
                    if self.req.poll(100):
                        break
                    assert time.monotonic() < deadline, word
                assert self.req.recv() == word
                self.acknowledged.append(word)
        except BaseException as error:
            self.error = error

    def reaches(self, count):
        deadline = time.monotonic() + LIMIT
        while len(self.acknowledged) < count:
            assert self.is_alive() and time.monotonic() < deadline, (self.error, len(self.acknowledged))
            threading.Event().wait(0.002)

    def finished(self):
        self.join(LIMIT)
        assert self.error is None
        assert self.acknowledged == [b"%d" % i for i in range(self.total)]


RETRYING = {"req_relaxed": True, "req_correlate": True, "reconnect_ivl": 10, "sndtimeo": LIMIT * 1000}


def test_a_killed_device_is_restarted_between_live_peers(start, socket):
    device = start("queue", ANY, ANY)
    front, back = device.endpoints
    worker = Worker(connected(socket, zmqcy.REP, back, reconnect_ivl=10))
    client = Client(connected(socket, zmqcy.REQ, front, **RETRYING), 400)
    worker.start()
    client.start()
    try:
        for count in (50, 150, 250):
            client.reaches(count)
            device.process.kill()
            device.process.wait(LIMIT)
            assert set(client.acknowledged) <= set(worker.handled)
            device = start("queue", front, back)
        client.finished()
    finally:
        worker.done.set()
        worker.join()
    assert set(client.acknowledged) <= set(worker.handled)
    device.stop()


def test_a_killed_worker_is_restarted(start, socket):
    """The worker process is killed, with or without a pending request."""
    device = start("queue", ANY, ANY, "--json")
    client = Client(connected(socket, zmqcy.REQ, device.endpoints[0], **RETRYING), 400)
    client.start()
    for count in (50, 150, 400):
        with subprocess.Popen([*COMMAND, "echo", f">{device.endpoints[1]}", "--quiet"]) as worker:
            try:
                client.reaches(count)
            finally:
                worker.kill()
    client.finished()
    (line,), _ = device.stop()
    assert json.loads(line)["back_to_front"]["messages_out"] >= 400


def test_a_killed_receiver_is_restarted(start, socket):
    """The device keeps messages while there is no receiver."""
    device = start("streamer", ANY, ANY)
    push = connected(socket, zmqcy.PUSH, device.endpoints[0])
    for i in range(3):
        with subprocess.Popen(
            [*COMMAND, "recv", "pull", f">{device.endpoints[1]}", "--quiet"], stdout=subprocess.PIPE
        ) as sink:
            push.send(b"%d" % i)
            assert sink.stdout.readline() == b"%d\n" % i
            sink.kill()
            sink.wait(LIMIT)
    (line,), _ = device.stop()
    assert line.startswith("streamer ended: front to back 3 messages")


# -------------------------------------------------------------------------------------------------------------- errors


def test_address_in_use(start):
    device = start("queue", ANY, ANY)
    free = "tcp://127.0.0.1:*"
    for side, arguments in {
        "front": ["queue", device.endpoints[0], free],
        "back": ["streamer", free, f"{free},{device.endpoints[1]}"],
        "capture": ["streamer", free, free, "--capture", device.endpoints[1]],
    }.items():
        fails(cli("device", *arguments), 1, f"zmqcy: {side}: bind", device.endpoints[side != "front"], "already in use")


def test_failures(tmp_path):
    fails(cli("device", "queue", ANY, "nowhere://x"), 1, "back", "nowhere://x", "Protocol not supported")
    fails(
        cli("device", "queue", f"ipc://{tmp_path}/none/x", ANY), 1, "front", f"ipc://{tmp_path}/none/x", "No such file"
    )
    assert b"Traceback" in cli("--debug", "device", "queue", ANY, "nowhere://x").stderr


def test_no_permission(tmp_path):
    pytest.importorskip("zmqcy.devices.config", reason="the extra [toml] is not installed")
    unprivileged = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may everything, and there is no setpriv")
        unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    place = tmp_path / "closed"
    place.mkdir(mode=0o500)
    command = [*unprivileged, *COMMAND, "device", "queue", f"ipc://{place}/x", ANY]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT)
    fails(done, 1, "front: bind", f"ipc://{place}/x", "Permission denied")
    path = tmp_path / "device.toml"
    path.write_text(CONFIG)
    path.chmod(0)
    command = [*unprivileged, *COMMAND, "device", "--config", path]
    fails(subprocess.run(command, capture_output=True, timeout=LIMIT), 1, str(path), "Permission denied")


@rows(
    ("arguments", "words"),
    [
        ([], "KIND, FRONT and BACK"),
        (["queue", ANY], "KIND, FRONT and BACK"),
        (["broker", ANY, ANY], "broker"),
        (["pull:pish", ANY, ANY], "pull:pish"),
        (["pull:push:pull", ANY, ANY], "pull:push:pull"),
        (["push:pub", ANY, ANY], "use streamer (pull:push) between PUSH and PULL sockets or forwarder (sub:pub)"),
        (["pull:sub", ANY, ANY], "pull:sub: no message can pass between PULL and SUB; use streamer"),
        (["req:rep", ANY, ANY], "req:rep: a device cannot forward a REQ socket"),
        (["req:rep", ANY, ANY], "use queue (router:dealer) between REQ and REP sockets"),
        (["Rep:req", ANY, ANY], "use queue (router:dealer) between REQ and REP sockets"),
        (["pub:pub", ANY, ANY], "use forwarder (sub:pub) between PUB and SUB sockets"),
        (["queue", ANY, "5555"], "5555"),
        (["queue", ANY, f"{ANY},"], "is not an endpoint"),
        (["queue", ANY, ANY, "--capture", "x"], "x"),
        (["queue", ANY, ANY, "--stats", "0"], "--stats"),
        (["queue", ANY, ANY, "--drain-timeout", "-1"], "--drain-timeout"),
        (["queue", ANY, ANY, "--io-threads", "many"], "--io-threads"),
        (["--config", "x", "--io-threads", "2"], "--config"),
        (["queue", ANY, ANY, "--certificates", "x"], "--key-file"),
        (["queue", ANY, ANY, "--passwords", "x", "--certificates", "x", "--server-key", "x"], "one mechanism"),
        (["queue", f"{ANY},>tcp://127.0.0.1:1", ANY, "--allow", "ipc"], "FRONT"),
    ],
)
def test_wrong_usage(arguments, words):
    done = cli("device", *arguments)
    assert done.returncode == 2
    assert (
        words in " ".join(done.stderr.decode().split())
        and b"Usage: zmqcy device" in done.stderr
        and b"Traceback" not in done.stderr
    )


def test_metrics_without_their_extra(run):
    code = """
        import sys
        sys.modules["prometheus_client"] = None  # as if it were not installed
        from zmqcy.cli import main
        main()
    """
    done = run(code, "device", "queue", ANY, ANY, "--metrics", "127.0.0.1:0", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("zmqcy: --metrics: zmqcy.web requires Starlette, uvicorn and prometheus_client: ")
    assert "pip install 'zmqcy[web]'" in done.stderr


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("", "streamer forwarder queue pull:push sub:pub xsub:xpub router:dealer"),
        ("Q", "queue"),
        ("x", "xsub:xpub"),
        ("pull:pu", "pull:pub pull:push"),
        ("req:", ""),
    ],
)
def test_completion_of_kinds(word, names):
    words = {"COMP_WORDS": f"zmqcy device {word}", "COMP_CWORD": "2", "_ZMQCY_COMPLETE": "bash_complete"}
    done = cli(env={**os.environ, **words})
    assert done.stdout.decode().split() == [f"plain,{name}" for name in names.split()]
