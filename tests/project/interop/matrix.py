"""Exchange messages between zmqcy and other implementations, and write the table of docs/interop.md.

A peer is a program of this folder with one socket at a time. It prints `hello NAME VERSION knows WORD...`, and then
answers each line of its input with one line, or with `error TEXT`:

    open TYPE bind|connect URL MECHANISM KEY...   ok ENDPOINT
    subscribe TOPIC                               ok
    send MESSAGE/MESSAGE...                       ok
    recv COUNT MILLISECONDS                       got MESSAGES PARTS BYTES CRC, of messages that arrived in that time
    echo COUNT MILLISECONDS                       ok, when COUNT messages were received and sent back
    close                                         ok

A message is PART,PART,...; a part is its size, SIZExCOUNT for many of them, or =TEXT. Byte i of a part is i % 251.
MECHANISM is `null`, `curve-server SECRET PUBLIC`, `curve-client SERVER PUBLIC SECRET`, or `plain-server` and
`plain-client` with NAME PASSWORD. The CRC is of each part's size, `+` or, for the last, `.`, and its content.

`python matrix.py` runs all installed peers and writes the table; `python matrix.py NAME...` runs some of them.
"""

import importlib.util
import itertools
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import zmqcy
from zmqcy.auth import Authenticator

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[2] / "docs" / "interop.md"
CACHE = HERE.parents[2] / "build" / "interop"
BEGIN, END = "<!-- table: made by `make interop` -->\n", "<!-- end of table -->\n"
TIME = 5_000  # ms: limit of each step
WORKS, UNKNOWN = "works", "not supported"
SHORT = ["pyzmq", "pyomq", "C"]  # peers that the tests run without ZMQCY_INTEROP=1
CURVE = {"server": zmqcy.curve_keypair(), "client": zmqcy.curve_keypair()}
PLAIN = ("admin", "secret")
MESSAGES = "5/3,2/=text/1x20,300"
EMPTY = "0/3,0,2/0,0/0x20"
NEWS = "=a.1,3,0/=b,5/=a/=ab,1x20"  # a subscriber of "a" receives all but the second
PATTERN = bytes(range(251))


class Absent(Exception):
    """The peer is not installed; the text is the reason."""


class Failed(Exception):
    """A message did not arrive, or was changed."""


# ---- messages


def parts_of(message):
    """Return the parts of a message in the notation of the protocol."""
    parts = []
    for spec in message.split(","):
        if spec[0] == "=":
            parts.append(spec[1:].encode())
            continue
        size, _, count = spec.partition("x")
        parts += [(PATTERN * (int(size) // 251 + 1))[: int(size)]] * int(count or 1)
    return parts


def messages_of(specs):
    return [parts_of(each) for each in specs.split("/")]


def got(messages):
    """Return the answer of a peer that has received these messages."""
    crc = 0
    for parts in messages:
        for left, part in zip(reversed(range(len(parts))), parts, strict=True):
            crc = zlib.crc32(part, zlib.crc32(b"%d%c" % (len(part), b".+"[left > 0]), crc))
    parts = [part for parts in messages for part in parts]
    return f"got {len(messages)} {len(parts)} {sum(map(len, parts))} {crc}"


# ---- peers


def python(module):
    if importlib.util.find_spec(module) is None:
        raise Absent(f"{module} is not installed")
    return [sys.executable, str(HERE / "peer.py"), module]


def compiled(source, *packages):
    cc = shutil.which(os.environ.get("CC", "cc"))
    if cc is None or shutil.which("pkg-config") is None:
        raise Absent("no C compiler or no pkg-config is installed")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], capture_output=True, text=True)
    if flags.returncode:
        raise Absent(f"pkg-config does not find {' or '.join(packages)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    program = CACHE / source.removesuffix(".c")
    with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as made:  # several test runs may compile at once
        pass
    command = [cc, "-O2", "-o", made.name, str(HERE / source), *flags.stdout.split(), "-lpthread"]
    subprocess.run(command, check=True)
    os.replace(made.name, program)
    return [str(program)]


def node():
    if shutil.which("node") is None:
        raise Absent("node is not installed")
    if not (CACHE / "node_modules" / "zeromq").is_dir():
        raise Absent("zeromq.js is not installed")
    return ["node", str(HERE / "peer.js"), str(CACHE)]


def java():
    jars = sorted(Path("/usr/share/java").glob("jeromq-*.jar"))
    if not jars or shutil.which("javac") is None:
        raise Absent("no JDK or no JeroMQ is installed")
    subprocess.run(["javac", "-cp", jars[-1], "-d", CACHE, HERE / "Peer.java"], check=True)
    return ["java", "-cp", f"{jars[-1]}:{CACHE}", "Peer", jars[-1].stem.removeprefix("jeromq-")]


COMMANDS = {
    "pyzmq": lambda: python("zmq"),
    "pyomq": lambda: python("pyomq"),
    "C": lambda: compiled("peer.c", "libzmq"),
    "czmq": lambda: compiled("czmq_peer.c", "libczmq", "libzmq"),
    "zeromq.js": node,
    "JeroMQ": java,
}


class Peer:
    """A running peer, with its name, its version, and the transports and mechanisms that it supports."""

    def __init__(self, name):
        if name not in SHORT and not os.environ.get("ZMQCY_INTEROP"):
            raise Absent("only `make interop` runs it")
        self.name, self.command = name, COMMANDS[name]()
        self.start()

    def start(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(self.command, text=True, bufsize=1, **pipes)
        self.lines = queue.SimpleQueue()
        threading.Thread(target=self.read, args=(self.process.stdout, self.lines), daemon=True).start()
        words = self.hear(60).split()  # a JVM starts slowly on a busy machine
        known = words.index("knows")
        self.title = " ".join(words[1:known]).replace("libzmq-", "libzmq ")
        self.known = set(words[known + 1 :])

    @staticmethod
    def read(stream, lines):
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put("error the peer exited")

    def tell(self, *words):
        """Write a line to the peer; `hear` returns its answer."""
        with suppress(BrokenPipeError):
            print(*words, file=self.process.stdin, flush=True)

    def hear(self, seconds=TIME / 1000):
        try:
            answer = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise Failed("no answer") from None
        if answer.startswith("error"):
            raise Failed(answer.removeprefix("error "))
        return answer

    def ask(self, *words):
        self.tell(*words)
        return self.hear()

    def receives(self, messages):
        answer = self.ask("recv", len(messages), TIME)
        if answer != got(messages):
            raise Failed(f"the peer {answer}, but should have {got(messages)}")

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(TIME / 1000)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


# ---- conversations


def expect(socket, messages, prefix=()):
    for message in messages:
        parts = socket.recv_multipart()
        if parts[len(prefix) :] != message or parts[: len(prefix)] != list(prefix):
            raise Failed(f"zmqcy received a wrong message ({len(parts)} parts, {sum(map(len, parts))} B)")


def ask(socket, peer, messages, prefix=()):
    """Send each message to an echoing peer, and receive it back."""
    peer.tell("echo", len(messages), TIME)
    for message in messages:
        socket.send_multipart([*prefix, *message])
        expect(socket, [message], prefix)
    peer.hear()


def answer(socket, peer, specs, envelope, before=""):
    """Echo each message of the peer. Its first `envelope` parts were not sent by the peer."""
    for spec in specs.split("/"):
        peer.ask("send", before + spec)
        parts = socket.recv_multipart()
        if parts[envelope:] != parts_of(spec):
            raise Failed("zmqcy received a wrong message")
        socket.send_multipart(parts)
        peer.receives([parts_of(before + spec)])


def publish(socket, peer, ours, theirs):
    peer.ask("subscribe", "a")
    if ours == "XPUB":
        peer.tell("recv", 1, TIME)  # a bound SUB sends its subscriptions only while its socket is used
        expect(socket, [[b"\x01a"]])
        socket.send_multipart([b"a", b"begin"])
        if peer.hear() != got([[b"a", b"begin"]]):
            raise Failed("the peer received a wrong message")
    else:  # a PUB does not report when the subscription has arrived
        deadline = time.monotonic() + TIME / 1000
        while not peer.ask("recv", 1, 50).startswith("got 1"):
            if time.monotonic() > deadline:
                raise Failed("the peer received nothing")
            socket.send_multipart([b"a", b"early"])
        socket.send_multipart([b"a", b"begin"])
        while peer.ask("recv", 1, TIME) != got([[b"a", b"begin"]]):
            if time.monotonic() > deadline:
                raise Failed("the peer did not receive the next messages")
    for parts in messages_of(NEWS):
        socket.send_multipart(parts)
    peer.receives([parts for parts in messages_of(NEWS) if parts[0].startswith(b"a")])


def hear_news(socket, peer, ours, theirs):
    if ours == "XSUB":
        socket.send(b"\x01a")
    else:
        socket.subscribe("a")
    deadline = time.monotonic() + TIME / 1000
    if theirs == "XPUB":
        peer.tell("recv", 1, TIME)
        while peer.lines.empty() and time.monotonic() < deadline:
            socket.poll(10)  # a bound SUB sends its subscriptions only while its socket is used
        if peer.hear() != got([[b"\x01a"]]):
            raise Failed("no subscription arrived")
    else:
        while not socket.poll(50):
            if time.monotonic() > deadline:
                raise Failed("zmqcy received nothing")
            peer.ask("send", "=a,=early")
        peer.ask("send", "=a,=begin")
        while socket.recv_multipart() != [b"a", b"begin"]:
            pass
    peer.ask("send", NEWS)
    expect(socket, [parts for parts in messages_of(NEWS) if parts[0].startswith(b"a")])


def converse(socket, peer, ours, theirs, specs):
    """Exchange messages according to the two socket types."""
    messages = messages_of(specs)
    if theirs in ("SUB", "XSUB"):
        publish(socket, peer, ours, theirs)
    elif theirs in ("PUB", "XPUB"):
        hear_news(socket, peer, ours, theirs)
    elif ours == "PUSH":
        for parts in messages:
            socket.send_multipart(parts)
        peer.receives(messages)
    elif ours == "PULL":
        peer.ask("send", specs)
        expect(socket, messages)
    elif ours in ("REP", "ROUTER"):
        envelope = 0 if ours == "REP" else 2 if theirs == "REQ" else 1
        answer(socket, peer, specs, envelope, "0," if (ours, theirs) == ("REP", "DEALER") else "")
    else:
        ask(socket, peer, messages, [b""] * ((ours, theirs) == ("DEALER", "REP")))


def both(*types):
    return list(dict.fromkeys([types, types[::-1]]))


PATTERNS = {
    "REQ and REP": (both("REQ", "REP"), MESSAGES),
    "REQ and ROUTER, DEALER and REP": (both("REQ", "ROUTER") + both("DEALER", "REP"), MESSAGES),
    "REQ and REP, empty parts": (both("REQ", "REP"), EMPTY),
    "DEALER and ROUTER": ([*both("DEALER", "ROUTER"), ("DEALER", "DEALER")], f"{MESSAGES}/{EMPTY}"),
    "PUSH and PULL": (both("PUSH", "PULL"), f"{MESSAGES}/{EMPTY}"),
    "PUB and SUB, by topic": (both("PUB", "SUB"), NEWS),
    "XPUB and XSUB": (both("XPUB", "SUB") + both("PUB", "XSUB") + both("XPUB", "XSUB"), NEWS),
    "PAIR and PAIR": (both("PAIR", "PAIR"), f"{MESSAGES}/{EMPTY}"),
    "PUSH and PULL, 1,000 parts": (both("PUSH", "PULL"), "1x1000/0x1000"),
    "PUSH and PULL, 10 MB": (both("PUSH", "PULL"), "10000000"),
}
WAYS = [("tcp", "NULL"), ("ipc", "NULL"), ("ws", "NULL"), ("tcp", "CURVE"), ("tcp", "PLAIN")]


@dataclass(frozen=True)
class Row:
    pattern: str
    transport: str
    mechanism: str


ROWS = [Row(pattern, *way) for way in WAYS for pattern in PATTERNS]


def secure(socket, peer, row, ours, theirs, we_bind, stack):
    """Set the mechanism on the socket; return the words for the peer. The bound side is the server, if it can.

    A REQ cannot be a PLAIN server: libzmq reads its own record of the user as a part of the first reply.
    """
    if row.mechanism == "NULL":
        return ["null"]
    if row.mechanism == "CURVE":
        (server, server_secret), client = CURVE["server"], CURVE["client"]
        if we_bind:
            socket.serve_curve(server_secret)
            return ["curve-client", server.decode(), *(key.decode() for key in client)]
        socket.use_curve(server, client)
        return ["curve-server", server_secret.decode(), server.decode()]
    if "plain-server" in peer.known and theirs != "REQ" and (ours == "REQ" or not we_bind):
        socket.use_plain(*PLAIN)
        return ["plain-server", *PLAIN]
    if ours == "REQ":
        return None
    stack.enter_context(Authenticator(socket.context, plain=dict([PLAIN])))
    socket.serve_plain()
    return ["plain-client", *PLAIN]


COUNTER = itertools.count()


def meet(peer, row, ours, theirs, we_bind):
    """Exchange messages between two sockets; raise Failed or ZMQError if this fails."""
    with tempfile.TemporaryDirectory() as folder, zmqcy.Context(linger=0) as context, ExitStack() as stack:
        socket = context.socket(getattr(zmqcy, ours), rcvtimeo=TIME, sndtimeo=TIME)
        stack.callback(socket.close, 0)
        url = f"ipc://{folder}/{next(COUNTER)}" if row.transport == "ipc" else f"{row.transport}://127.0.0.1:*"
        mechanism = secure(socket, peer, row, ours, theirs, we_bind, stack)
        if mechanism is None:
            return
        if we_bind:
            socket.bind(url)
            peer.ask("open", theirs, "connect", socket.last_endpoint, *mechanism)
        else:
            socket.connect(peer.ask("open", theirs, "bind", url, *mechanism).removeprefix("ok "))
        converse(socket, peer, ours, theirs, PATTERNS[row.pattern][1])
        peer.ask("close")


def outcome(peer, row):
    """Run a row with a peer; return its cell of the table."""
    if row.transport not in peer.known or (row.mechanism != "NULL" and row.mechanism.lower() not in peer.known):
        return UNKNOWN
    for (ours, theirs), we_bind in itertools.product(PATTERNS[row.pattern][0], (True, False)):
        try:
            meet(peer, row, ours, theirs, we_bind)
        except (Failed, zmqcy.ZMQError) as error:
            said = str(error)
            with suppress(queue.Empty):  # the error that the peer reports is more precise
                said = peer.lines.get_nowait().removeprefix("error ")
            peer.process.kill()  # its socket is in an unknown state
            peer.stop()
            peer.start()
            text = re.sub(r"(tcp|ws|ipc)://\S*?(?=[:,]? |$)", r"\1", said).replace("|", "/")
            return f"{ours} of zmqcy ({'bound' if we_bind else 'connected'}) to {theirs} of the peer: {text}"
    return WORKS


# ---- the table


def written():
    """Return the columns of the table in the page: for each peer its title, and its cells by row."""
    lines = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()
    if not lines:
        return {}
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    rows = {Row(*cells[:3]): cells[3:] for cells in body}
    columns = {}
    for index, title in enumerate(head[3:]):
        columns[title.split(" ")[0]] = title, {row: cells[index] for row, cells in rows.items()}
    return columns


def written_on():
    """Return the version of zmqcy's libzmq in the page."""
    return re.search(r"zmqcy on libzmq ([\d.]+\d)", PAGE.read_text())[1]


def table(columns):
    titles = [title for title, _ in columns.values()]
    lines = [["pattern", "transport", "mechanism", *titles], ["---"] * (3 + len(titles))]
    lines += [
        [row.pattern, row.transport, row.mechanism, *(cells.get(row, "") for _, cells in columns.values())]
        for row in ROWS
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main():
    os.environ["ZMQCY_INTEROP"] = "1"
    columns, bad = written(), []
    for name in sys.argv[1:] or COMMANDS:
        try:
            peer = Peer(name)
        except Absent as error:
            print(f"{name}: {error}")
            continue
        cells = {}
        for row in ROWS:
            began = time.monotonic()
            cells[row] = outcome(peer, row)
            print(f"{peer.title}, {row}: {cells[row]} ({time.monotonic() - began:.2f} s)", flush=True)
            bad += [name] * (cells[row] not in (WORKS, UNKNOWN))
        peer.stop()
        columns[name] = peer.title, cells
    before, _, rest = PAGE.read_text().partition(BEGIN)
    before = re.sub(r"zmqcy on libzmq [\d.]+\d", f"zmqcy on libzmq {zmqcy.zmq_version()}", before)
    made = table({name: columns[name] for name in COMMANDS if name in columns})
    PAGE.write_text(before + BEGIN + made + END + rest.partition(END)[2])
    return f"failures with {', '.join(dict.fromkeys(bad))}" if bad else None


if __name__ == "__main__":
    sys.exit(main())
