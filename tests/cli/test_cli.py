"""The command line, in real processes: messages, terminals, signals, broken pipes, errors and exit codes."""

import base64
import json
import os
import pty
import re
import select
import signal
import socket as sockets
import stat
import subprocess
import time

import pytest
from commands import ANY, COMMAND, LIMIT, cli, closed, fails, read
from paths import ROOT
from rows import rows

import zmqcy

pytest.importorskip("click", reason="the extra [cli] is not installed")


def test_info():
    done = cli("info", "--json")
    found = json.loads(done.stdout)
    assert found["libzmq"] == zmqcy.zmq_version()
    assert os.path.exists(found["libzmq_path"]) and "zmq" in found["libzmq_path"]
    assert found["has"]["curve"] == zmqcy.has("curve")
    assert found["limits"]["max_sockets"] == 1023
    assert found["tuned"] == (zmqcy.has("draft") and zmqcy.zmq_version_info() >= (4, 3, 3))
    text = cli("info").stdout.decode()
    assert found["libzmq_path"] in text and "transports" in text
    assert f"\ntuned        {'yes' if found['tuned'] else 'no'}" in text


COMMANDS = [
    "", "info", "send", "recv", "sub", "req", "echo", "ping", "device", "watch", "bench", "bench throughput",
    "bench latency", "curve-keygen", "compat", "compat check", "compat enable", "compat disable",
]  # fmt: skip


@rows(("command", "number"), [("", 12), ("bench", 2), ("compat", 3)])
def test_the_list_of_commands_has_whole_sentences(command, number):
    listed = cli(*command.split(), "--help", text=True).stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert len(listed.splitlines()) == number
    assert "..." not in listed


@rows("command", COMMANDS)
def test_help_is_narrow_and_shows_defaults_one_way(command):
    text = cli(*command.split(), "--help", env={**os.environ, "COLUMNS": "200"}, text=True).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"Examples?:\n +([\w ]+\| )?zmqcy ", text)
    assert "URL" not in text and "--topic" not in text
    options = text.partition("Options:\n")[2].partition("\n\n")[0]
    for brackets in re.findall(r"\[([^\]]*)\]", re.sub(r"\s+", " ", options)):
        assert re.match(r"default: (?!as )|[0-9.<=]*x[<>]|env var: |[a-z]+\|", brackets), brackets
    assert "default: (" not in text


def options_of(command):
    """Return the options of a command and its subcommands."""
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        found |= options_of(command.get_command(None, name))
    return found


def test_the_page_has_an_example_of_each_command_and_names_only_options_that_exist():
    from zmqcy.cli.commands import ALIASES, group

    page = (ROOT / "docs" / "cli.md").read_text()
    examples = re.findall(r"^    (?:.*\| )?zmqcy (.*)", page, re.M)
    for command in COMMANDS[1:]:
        assert [example for example in examples if example.startswith(command)], command
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page))
    assert named - options_of(group) - {f"--{alias}" for alias in ALIASES} == {"--help"}


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(run, missing):
    code = """
        import sys
        sys.modules[sys.argv[1]] = None  # as if it were not installed
        from zmqcy.cli import main
        main()
    """
    done = run(code, missing, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "zmqcy: the command line needs click and rich: pip install 'zmqcy[cli]'\n"


@pytest.mark.parametrize("kinds", [("push", "PULL"), ("Dealer", "dealer"), ("pair", "pair")])
def test_lines(start, kinds):
    receiver, endpoint = start("recv", kinds[1], f"@{ANY}", "--count", 1000)
    lines = b"".join(b"%d\n" % i for i in range(1000))
    assert cli("send", kinds[0], f">{endpoint}", input=lines).returncode == 0
    assert receiver.communicate(timeout=LIMIT) == (lines, b"")
    assert receiver.returncode == 0


def test_a_line_is_sent_immediately(start):
    receiver, endpoint = start("recv", "pull", ANY)
    sender = subprocess.Popen([*COMMAND, "send", "push", endpoint], stdin=subprocess.PIPE)
    for line in (b"one\n", b"\n", b"two\n"):
        sender.stdin.write(line)
        sender.stdin.flush()
        assert receiver.stdout.readline() == line
    sender.stdin.write(b"no newline")
    sender.stdin.close()
    assert sender.wait(LIMIT) == 0
    assert receiver.stdout.readline() == b"no newline\n"


BINARY = bytes(range(256)) * 40


@pytest.mark.parametrize("name", ["frames", "json"])
def test_any_bytes_arrive_unchanged(start, name):
    """send reads the output of recv: binary data, empty parts, several parts, more than 255 bytes."""
    messages = [[b""], [b"a", b"", b"b\n\t"], [BINARY, b"\x00"], ["\u00fc".encode()]]
    first, endpoint = start("recv", "pull", ANY, "--format", name, "--count", len(messages))
    with zmqcy.Context() as ctx:
        push = ctx.socket(zmqcy.PUSH)
        push.connect(endpoint)
        push.send_multipart_many(messages)
        text, _ = first.communicate(timeout=LIMIT)
        pull = ctx.socket(zmqcy.PULL, rcvtimeo=LIMIT * 1000)
        pull.bind(ANY)
        assert cli("send", "push", pull.last_endpoint, "--format", name, input=text).returncode == 0
        assert [pull.recv_multipart() for _ in messages] == messages
    if name == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[2] == [{"base64": base64.b64encode(BINARY).decode()}, "\0"]


def test_files_and_raw(start, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(BINARY)
    receiver, endpoint = start("recv", "pull", ANY, "--format", "raw", "--count", 2)
    assert cli("send", "push", endpoint, "--file", path, "--file", path).returncode == 0
    assert receiver.communicate(timeout=LIMIT)[0] == BINARY * 2


def test_router_and_multipart(start):
    receiver, endpoint = start("recv", "router", ANY, "--multipart", "--count", 1)
    assert cli("send", "dealer", endpoint, "--multipart", input=b"one\t\ttwo\n").returncode == 0
    assert receiver.communicate(timeout=LIMIT)[0].split(b"\t", 1)[1] == b"one\t\ttwo\n"


def test_publisher_waits_for_subscriptions(start):
    """No message is lost after --wait, even beyond the high-water marks of both ends."""
    with zmqcy.Context() as ctx:
        port = ctx.socket(zmqcy.PULL)
        port.bind(ANY)
        endpoint = port.last_endpoint
    subscriber, _ = start("sub", endpoint, "--subscribe", "a", "--topic", "b", "--count", 10_000)
    lines = b"".join(b"%s %d\n" % (b"abc"[i % 3 : i % 3 + 1], i) for i in range(15_000))
    sender = cli("send", "pub", endpoint, "--wait", 2, input=lines)
    assert sender.returncode == 0, sender.stderr
    wanted = b"".join(line for line in lines.splitlines(True) if line[:1] in b"ab")
    assert subscriber.communicate(timeout=LIMIT)[0] == wanted


def test_repeated_messages_at_a_rate(start):
    receiver, endpoint = start("recv", "pull", ANY, "--count", 5)
    done = cli("send", "push", endpoint, "-m", "x", "-m", "y", "--count", 5, "--rate", 1000)
    assert done.returncode == 0
    assert receiver.communicate(timeout=LIMIT)[0] == b"x\ny\nx\ny\nx\n"


def test_unsent_messages_and_missing_replies_are_reported():
    with zmqcy.Context() as ctx:  # a port without a listener
        socket = ctx.socket(zmqcy.PULL)
        socket.bind(ANY)
        endpoint = socket.last_endpoint
    done = cli("send", "push", endpoint, "-m", "hello", "--timeout", 100)
    fails(done, 1, endpoint, "1 message was not delivered", "100 ms")
    done = cli("send", "push", endpoint, "-m", "a", "-m", "b", "--timeout", 100)
    fails(done, 1, endpoint, "up to 2 messages were not delivered")
    done = cli("send", "push", f"@{endpoint}", "-m", "hello", "--timeout", 100)
    fails(done, 1, endpoint, "message 1 was not sent", "100 ms")
    done = cli("send", "pub", endpoint, "-m", "hello", "--wait", "1", "--timeout", 100)
    fails(done, 1, endpoint, "received 0 of 1 subscription within 100 ms")
    fails(cli("send", "router", endpoint, "-m", "x", "-m", "y", "--multipart", "--timeout", 100), 1, endpoint)
    fails(cli("recv", "pull", endpoint, "--timeout", 100), 1, endpoint, "no message within 100 ms")
    fails(cli("req", endpoint, "hello", "--timeout", 100), 1, endpoint, "no reply to request 1")
    fails(cli("ping", endpoint, "--timeout", 100), 1, endpoint, "no reply to request 1")


@pytest.fixture
def nowhere():
    """An endpoint without a listener."""
    with zmqcy.Context() as ctx:
        socket = ctx.socket(zmqcy.PULL)
        socket.bind(ANY)
        return socket.last_endpoint


@pytest.mark.parametrize(
    ("arguments", "peers"),
    [
        (["send", "push", ">", "-m", "x"], "PULL"),
        (["send", "push", "@", "-m", "x"], "PULL"),
        (["send", "pub", "@", "-m", "x", "--wait", "1"], "SUB or XSUB"),
        (["req", ">", "x"], "REP or ROUTER"),
        (["ping", ">"], "REP or ROUTER"),
        (["sub", ">"], "PUB or XPUB"),
    ],
)
def test_a_command_without_a_peer_names_the_peer_once(nowhere, arguments, peers):
    arguments = [each + nowhere if each in "<>@" else each for each in arguments]
    done = cli(*arguments, "--timeout", 2500)
    lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("ready ")]
    assert lines[0] == f"zmqcy: {arguments[0] if arguments[0] == 'sub' else KINDS.get(arguments[0], arguments[1])} " + (
        f"{nowhere}: waiting for a peer ({peers})"
    )
    assert len(lines) == 2 and done.returncode == 1
    quiet = cli(*arguments, "--timeout", 1500, "--quiet").stderr.decode()
    assert "waiting" not in quiet and quiet.count("\n") == 1


KINDS = {"req": "req", "ping": "req"}


def test_echo_without_a_peer(nowhere, start):
    server, _ = start("echo", f">{nowhere}")
    assert server.stderr.readline().decode() == f"zmqcy: rep {nowhere}: waiting for a peer (REQ or DEALER)\n"


def test_events_of_a_command_that_waits_use_no_memory(ctx, nowhere):
    """libzmq keeps events until they are read."""
    from zmqcy.cli.sockets import PeerNotice

    notice = PeerNotice("push", quiet=False)
    with ctx.socket(zmqcy.PUSH, reconnect_ivl=1, linger=0) as push:
        notice.watch(push)
        with push.watch(zmqcy.Event.CONNECT_RETRIED) as retries:
            notice.begin(nowhere)
            push.connect(nowhere)
            for _ in range(5):
                retries.recv(LIMIT * 1000)
        notice.wait(None)
        assert notice.decided.wait(LIMIT)
        reading = notice.monitor._hub.pair
        deadline = time.monotonic() + LIMIT
        before = reading.stats.messages_received
        while reading.stats.messages_received < before + 100:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_command_that_waits_goes_on_with_the_peer(nowhere):
    """A peer that connects in time is not reported, and a publisher without --wait needs no peer."""
    sender = subprocess.Popen([*COMMAND, "send", "push", nowhere, "-m", "late"], stderr=subprocess.PIPE)
    assert b"waiting for a peer (PULL)" in sender.stderr.readline()
    assert cli("recv", "pull", nowhere, "--count", 1).stdout == b"late\n"
    assert sender.communicate(timeout=LIMIT) == (None, b"")
    assert sender.returncode == 0
    assert cli("send", "pub", nowhere, "-m", "x", "-m", "y", "--rate", 0.7).stderr == b""


def test_a_server_does_not_report_that_it_has_no_peer():
    assert b"waiting" not in cli("recv", "pull", ANY, "--timeout", 1500).stderr


def test_an_echo_whose_last_reply_is_not_delivered_fails(start):
    server, endpoint = start("echo", ANY, "--count", 1)
    request = b"x" * 50_000_000  # more than the buffers of the system hold
    with sockets.create_connection(endpoint.removeprefix("tcp://").split(":")) as peer:
        peer.sendall(GREETING + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REQ")
        peer.sendall(b"\x01\0\x02" + len(request).to_bytes(8, "big") + request)
        assert server.wait(LIMIT) == 1
    assert b"the last reply was not delivered within 1000 ms" in server.stderr.read()


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\0NULL" + bytes(16) + b"\0" + bytes(31)


def test_requests(start):
    server, endpoint = start("echo", ANY)
    assert cli("req", endpoint, "hello", "world").stdout == b"hello\nworld\n"
    assert cli("req", endpoint, "--json", input=b'["a", {"base64": "/w=="}]\n').stdout == b'["a", {"base64": "/w=="}]\n'
    found = json.loads(cli("ping", endpoint, "--count", 20, "--json").stdout)
    assert found["count"] == 20
    assert 0 < found["min_us"] <= found["p50_us"] <= found["p99_us"] <= found["max_us"]
    assert b"20 round trips of 8 bytes" in cli("ping", endpoint, "--count", 20).stdout
    assert b"1 round trip of 1 byte to" in cli("ping", endpoint, "--count", 1, "--size", 1).stdout
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=LIMIT) == (b"", b"")
    assert server.returncode == 130


def test_echo_exits_after_the_last_reply(start):
    server, endpoint = start("echo", ANY, "--count", 1)
    assert cli("req", endpoint, "hello").stdout == b"hello\n"
    assert server.wait(LIMIT) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_recv(start, number, code):
    receiver, endpoint = start("recv", "pull", ANY)
    with zmqcy.Context() as ctx:
        push = ctx.socket(zmqcy.PUSH)
        push.connect(endpoint)
        push.send(b"message")
        assert receiver.stdout.readline() == b"message\n"
    receiver.send_signal(number)
    assert receiver.communicate(timeout=LIMIT) == (b"", b"")
    assert receiver.returncode == code


def test_ctrl_c_ends_a_send_that_waits():
    sender = subprocess.Popen([*COMMAND, "send", "push", f"@{ANY}", "-m", "x"], stderr=subprocess.PIPE)
    assert sender.stderr.readline().startswith(b"ready ")
    assert b"waiting for a peer" in sender.stderr.readline()
    sender.send_signal(signal.SIGINT)
    assert sender.communicate(timeout=LIMIT) == (None, b"")
    assert sender.returncode == 130


def test_recv_exits_when_its_reader_closes_the_pipe(start):
    """It notices this without a message, which would be lost."""
    receiver, _ = start("recv", "pull", ANY)
    receiver.stdout.close()
    assert receiver.wait(LIMIT) == 141
    assert receiver.stderr.read() == b""


def test_broken_pipe_of_a_command_that_only_writes():
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as file:
        done = subprocess.run([*COMMAND, "info"], stdout=file, stderr=subprocess.PIPE, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (141, b"")


def test_closed_streams():
    fails(closed("<&-", "send", "push", ANY, "--bind"), 1, "stdin is closed")
    fails(closed(">&-", "recv", "pull", ANY), 1, "stdout is closed")


@rows(
    ("data", "name", "words"),
    [
        (b'"a"\n{', "json", "line 2"),
        (b"[]", "json", "at least one part"),
        (b"[1]", "json", "not 1"),
        (b"\x00\x05ab", "frames", "within a frame"),
        (b"\x01\x01a", "frames", "within a multipart message"),
        (b"\x77", "frames", "0x77"),
    ],
)
def test_bad_input(data, name, words):
    with zmqcy.Context() as ctx:
        pull = ctx.socket(zmqcy.PULL, rcvtimeo=LIMIT * 1000)
        pull.bind(ANY)
        fails(cli("send", "push", pull.last_endpoint, "--format", name, input=data), 1, words)
        if data[:1] == b'"':  # messages before the error are sent
            assert pull.recv() == b"a"


def test_failures(tmp_path):
    with zmqcy.Context() as ctx:
        taken = ctx.socket(zmqcy.PULL)
        taken.bind(ANY)
        fails(cli("recv", "pull", taken.last_endpoint), 1, taken.last_endpoint, "Address already in use")
    fails(cli("recv", "pull", "nowhere://x"), 1, "nowhere://x", "Protocol not supported")
    fails(cli("send", "push", ANY, "--file", tmp_path / "none"), 1, str(tmp_path / "none"), "No such file")
    assert b"Traceback" in cli("--debug", "recv", "pull", "nowhere://x").stderr
    assert b"Traceback" in cli("recv", "pull", "--debug", "nowhere://x").stderr
    assert b"Traceback" not in cli("recv", "pull", "nowhere://x", "--", "--debug").stderr


def test_a_misspelt_command():
    done = cli("devise", "queue")
    assert done.returncode == 2
    assert b"No such command 'devise'. Did you mean 'device'?" in done.stderr
    assert b"mean" not in cli("nothing").stderr


@rows(
    "arguments",
    [
        ["nothing"],
        ["recv", "push", ANY],
        ["send", "pull", ANY],
        ["send", "push"],
        ["send", "push", "5555"],
        ["recv", "pull", ANY, "--count", "0"],
        ["recv", "pull", ANY, "--subscribe", "a"],
        ["send", "push", ANY, "--wait", "1"],
        ["ping", ANY, "--timeout", "soon"],
    ],
)
def test_wrong_usage(arguments):
    done = cli(*arguments)
    assert done.returncode == 2
    assert b"Usage: zmqcy" in done.stderr and b"Traceback" not in done.stderr


def test_keys(tmp_path):
    for keys in (
        json.loads(cli("curve-keygen", "--json").stdout),
        dict(line.split() for line in cli("curve-keygen").stdout.decode().splitlines()),
    ):
        assert zmqcy.curve_public(keys["secret"]).decode() == keys["public"]
    path = tmp_path / "key"
    done = cli("curve-keygen", "--file", path, umask=0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text().split('secret-key = "')[1][:40]
    public = zmqcy.curve_public(secret).decode()
    assert done.stdout.decode() == f"public  {public}\nfile    {path}\n"
    other = tmp_path / "other"
    assert json.loads(cli("curve-keygen", "--json", "--file", other).stdout)["file"] == str(other)
    missing = tmp_path / "none" / "key"
    fails(cli("curve-keygen", "--file", missing), 1, f"zmqcy: {missing}: No such file")
    before = path.read_text()
    fails(cli("curve-keygen", "--file", path), 1, str(path), "File exists")
    assert path.read_text() == before


EVIL = b"a\x1b]0;b\x07c\xc2\x9b\xe2\x80\xae\x7f\xff\r\tz \xe2\x82\xac"
SHOWN = b"a\\x1b]0;b\\x07c\\x9b\\u202e\\x7f\\xff\\r\tz \xe2\x82\xac"


def test_control_characters_are_escaped(socket):
    """lines are escaped only on a terminal, JSON everywhere, raw never."""
    push = socket(zmqcy.PUSH)
    push.bind(ANY)
    json_ = b'["a\\u001b\\u0080\\u202e\\u007f \xe2\x82\xac"]'
    text = "a\x1b\x80\u202e\x7f \u20ac".encode()
    for name, terminal, message, wanted in (
        ("lines", True, EVIL, SHOWN.replace(b"\\r", b"\\x0d")),
        ("raw", True, b"\x1b[0m", b"\x1b[0m"),
        ("lines", False, EVIL, EVIL),
        ("json", False, text, json_),
    ):
        words = [*COMMAND, "recv", "pull", f">{push.last_endpoint}", "--format", name, "--count", "1", "--quiet"]
        master, slave = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=slave)
        os.close(slave)
        push.send(message, timeout=LIMIT * 1000)
        shown = b""
        while select.select([master], [], [], LIMIT)[0]:
            try:
                more = os.read(master, 4096)
            except OSError:  # EIO: the other end is closed
                break
            shown += more
            if not more:
                break
        os.close(master)
        assert process.wait(LIMIT) == 0
        assert shown.rstrip(b"\r\n") == wanted, name
    assert json.loads(json_) == [text.decode()]


def test_progress_on_a_terminal_only(start):
    receiver, endpoint = start("recv", "pull", ANY, "--count", 3)
    master, slave = pty.openpty()
    sender = subprocess.Popen([*COMMAND, "send", "push", endpoint], stdin=subprocess.PIPE, stderr=slave)
    os.close(slave)
    sender.stdin.write(b"a\nb\nc\n")
    sender.stdin.close()
    shown = read(master)
    assert sender.wait(LIMIT) == 0
    assert b"3 sent" in shown
    assert b"100%" in shown
    assert receiver.communicate(timeout=LIMIT) == (b"a\nb\nc\n", b"")


@rows(
    ("shell", "line", "shown"),
    [
        ("bash", "zmqcy recv p", "plain,pair plain,pull"),
        ("bash", "zmqcy device ", "plain,streamer plain,forwarder plain,queue"),
        ("zsh", "zmqcy device ", "plain streamer _ plain forwarder _ plain queue _"),
        ("fish", "zmqcy device ", "plain,streamer plain,forwarder plain,queue"),
    ],
)
def test_completion(shell, line, shown):
    *before, last = line.split(" ")
    settings = {"COMP_WORDS": line, "COMP_CWORD": last if shell == "fish" else str(len(before))}
    done = cli(env={**os.environ, **settings, "_ZMQCY_COMPLETE": f"{shell}_complete"}, text=True)
    assert done.stdout.split()[: len(shown.split())] == shown.split()
