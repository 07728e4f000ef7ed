"""``zmqcy watch``: the events of the connections of a socket."""

import json
import shutil
import socket as sockets
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import Any, BinaryIO

import click
from click.shell_completion import CompletionItem

import zmqcy
from zmqcy.cli import formats, signals
from zmqcy.cli.messages import bind_option, endpoints_argument, quiet_option, ready, subscribe_option, timeout_option
from zmqcy.cli.sockets import Failure, Type, key_pair, opened, subscribes, within
from zmqcy.constants import Event
from zmqcy.monitor import Monitor, SocketEvent
from zmqcy.socket_types import SOCKET_TYPES

TYPES = Type([row.name for row in SOCKET_TYPES if "draft" not in row.traits])
NAMES = {  # single events
    event.name.lower(): event
    for event in Event
    if event.name and event & Event.ALL == event and not event & (event - 1)
}
DESCRIPTORS = Event.CONNECTED | Event.LISTENING | Event.ACCEPTED | Event.CLOSED | Event.DISCONNECTED
FAILED = Event.HANDSHAKE_FAILED_NO_DETAIL | Event.HANDSHAKE_FAILED_PROTOCOL | Event.HANDSHAKE_FAILED_AUTH
REPEATED = Event.CONNECT_DELAYED | Event.CONNECT_RETRIED | Event.CLOSED | Event.ACCEPT_FAILED | FAILED
"""Events that a socket without a peer repeats."""
PROBE = 0.2  # seconds to wait for a connection
FRESH = 5  # seconds after which the cause of failed connections is looked up again


class Events(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """Event names, separated by commas."""

    name = "events"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Event:
        if isinstance(value, Event):  # click converts defaults twice
            return value
        found = Event(0)
        for name in value.lower().replace("-", "_").split(","):
            if name not in NAMES:
                self.fail(f"{name!r} is not an event; the events are {', '.join(NAMES)}", param, ctx)
            found |= NAMES[name]
        return found

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + name) for name in NAMES if name.startswith(last.lower())]


class Key(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A key of CURVE in Z85."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            if len(zmqcy.z85_decode(value)) == 32:
                return str(value).encode()
        except (ValueError, zmqcy.ZMQError):
            pass
        self.fail(f"not a key: a key has 40 characters of Z85, this has {len(value)}", param, ctx)  # it may be a secret


def curve_options(server: bytes | None, path: str | None) -> dict[str, Any]:
    """Return the options of a client of a CURVE server, with the keys of a file or new keys."""
    if server is None:
        if path is not None:
            raise click.UsageError("--key-file needs --curve-server")
        return {}
    public, secret = zmqcy.curve_keypair() if path is None else key_pair(path)
    return {"curve_serverkey": server, "curve_publickey": public, "curve_secretkey": secret}


def failure(endpoint: str) -> str | None:
    """Return why a connection to an endpoint fails. libzmq does not report it, so connect once and close immediately.

    None: the connection succeeds, or the reason is unknown.
    """
    transport, _, rest = endpoint.partition("://")
    address = rest.rpartition(";")[2]
    try:
        if transport == "tcp":
            host, _, port = address.rpartition(":")
            sockets.create_connection((host.strip("[]"), int(port)), PROBE).close()
        elif transport == "ipc":
            with sockets.socket(sockets.AF_UNIX) as probe:
                probe.settimeout(PROBE)
                probe.connect("\0" + address[1:] if address.startswith("@") else address)
    except TimeoutError:
        return "no answer"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None)
    return None


def words(event: SocketEvent, cause: str | None = None) -> str:
    """Return the meaning of an event's value, and the cause of a failed connection."""
    if event.event & Event.CONNECT_RETRIED:
        return f"{cause}; next try in {event.value} ms" if cause else f"next try in {event.value} ms"
    if event.event & Event.CONNECT_DELAYED:
        return zmqcy.strerror(event.value)
    if event.event & DESCRIPTORS:
        return f"file descriptor {event.value}" + (f"; {event.note}" if event.note else "")
    return event.reason or ""


@click.command(
    epilog="""\b
Examples:
  zmqcy watch dealer tcp://127.0.0.1:5556
  zmqcy watch pull 'tcp://127.0.0.1:*' --events accepted,disconnected --json
  zmqcy watch sub tcp://127.0.0.1:5556 --count 1 --events handshake_succeeded
  zmqcy watch req tcp://host:5556 --curve-server "$(cat server.public)"
"""
)
@click.argument("kind", metavar="TYPE", type=TYPES)
@endpoints_argument
@bind_option
@click.option(
    "--events",
    "-e",
    metavar="NAME,...",
    type=Events(),
    default=Event.ALL,
    show_default="all events",
    help="Report only these events.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")
@subscribe_option("no messages")
@click.option("--curve-server", metavar="KEY", type=Key(), help="CURVE: public key of the server.")
@click.option(
    "--key-file",
    "curve_file",
    metavar="FILE",
    type=click.Path(),
    help="CURVE: own keys, of curve-keygen --file.",
    show_default="new keys",
)
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="Exit after N events.", show_default="unlimited")
@timeout_option
@quiet_option
@TYPES.describe
def watch(
    kind: str,
    endpoints: tuple[tuple[bool | None, str], ...],
    bind: bool | None,
    events: Event,
    as_json: bool,
    topics: tuple[str, ...],
    curve_server: bytes | None,
    curve_file: str | None,
    count: int | None,
    timeout: float | None,
    quiet: bool,
) -> None:
    """Write the connection events of a socket.

    The command creates a socket of TYPE, and runs until Ctrl-C.

    A line contains the time, the event, the endpoint, the meaning of the event's value, and the peer's address if it
    is known. Repeated events are counted: a terminal updates the line, a pipe gets a line at the next other event.

    {binding}

    The socket is a real socket: peers may send messages to it, and these are lost. Its high-water mark is 1. After a
    failed connection, the command connects once more itself to find the cause.

    --timeout applies to each event. The exit code is 1 if no event arrives.
    """
    if topics and not subscribes(kind):
        raise click.UsageError("--subscribe needs the type sub")
    monitors: list[Monitor] = []
    options = curve_options(curve_server, curve_file)

    def begin(socket: zmqcy.Socket) -> None:
        monitors.append(socket.watch(events))

    file = formats.stdout()
    with ExitStack() as stack:
        _, where = stack.enter_context(opened(kind, endpoints, bind, topics, begin, rcvhwm=1, **options))
        ready(where, quiet)
        poller = zmqcy.Poller()
        poller.register(monitors[0], zmqcy.POLLIN)
        formats.register_reader(poller)
        got = 0
        last = time.monotonic()
        lines = stack.enter_context(Lines(file, as_json))
        while count is None or got < count:
            event = monitors[0].try_recv()
            if event is None:  # other events wake the poller too
                left = None if timeout is None else timeout - (time.monotonic() - last) * 1000
                if left is not None and left < 0:
                    raise Failure(f"{kind} {where}: no event{within(timeout)}")
                found = dict(poller.poll(left))
                if 1 in found:
                    raise BrokenPipeError
                continue
            cause = lines.cause(event)
            with signals.held():
                lines.write(event, cause)
            got += 1
            last = time.monotonic()


class Lines:
    """Lines of events on stdout. Events that repeat are counted."""

    def __init__(self, file: BinaryIO, as_json: bool):
        self.file = file
        self.as_json = as_json
        self.place = file.isatty() and formats.redraws()
        self.last: dict[str, Event] = {}  # by endpoint
        self.causes: dict[str, tuple[float, str | None]] = {}  # by endpoint: when, and why its connection failed
        self.block: dict[tuple[Event, str, str | None], tuple[str, int]] = {}  # lines, and how often since
        self.unwritten: set[tuple[Event, str, str | None]] = set()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.end()

    def cause(self, event: SocketEvent) -> str | None:
        """Return why a connection attempt failed, as of the last `FRESH` seconds. None: a connection was lost later."""
        endpoint, now = event.endpoint, time.monotonic()
        if not event.event & Event.CONNECT_RETRIED or self.last.get(endpoint, Event(0)) & Event.DISCONNECTED:
            return None
        if endpoint not in self.causes or now - self.causes[endpoint][0] > FRESH:
            self.causes[endpoint] = now, failure(endpoint)
        return self.causes[endpoint][1]

    def write(self, event: SocketEvent, cause: str | None) -> None:
        """Write an event, or count it."""
        if event.event & (DESCRIPTORS | FAILED):
            self.last[event.endpoint] = event.event
        text = line(event, self.as_json, cause)
        if self.as_json or not event.event & REPEATED:
            self.end()
            self._put(text)
            return
        reason = cause if event.event & (DESCRIPTORS | Event.CONNECT_RETRIED) else words(event)
        key = event.event, event.endpoint, reason
        if key not in self.block:
            if self.unwritten:
                self.end()
            self.block[key] = text, 1
            self._put(self._cropped(text))
            return
        self.block[key] = text, self.block[key][1] + 1
        self.unwritten.add(key)
        if self.place:
            self._put(f"\x1b[{len(self.block)}A" + "\n".join(f"\x1b[2K{each}" for each in self._texts(self.block)))

    def end(self) -> None:
        """Write the counts of repeated events, unless the terminal shows them."""
        if not self.place:
            for text in self._texts(key for key in self.block if key in self.unwritten):
                self._put(text)
        self.block.clear()
        self.unwritten.clear()

    def _texts(self, keys: Iterable[tuple[Event, str, str | None]]) -> Iterator[str]:
        for key in keys:
            text, times = self.block[key]
            yield self._cropped(text, f" ({times:,} times)" if times > 1 else "")

    def _cropped(self, text: str, count: str = "") -> str:
        """Return a line. A line that is replaced on a terminal must not wrap."""
        return (text[: shutil.get_terminal_size().columns - len(count)] if self.place else text) + count

    def _put(self, text: str) -> None:
        self.file.write(text.encode("utf-8", "surrogateescape") + b"\n")
        self.file.flush()


def line(event: SocketEvent, as_json: bool, cause: str | None) -> str:
    """Return the line of an event, with the current time."""
    now = datetime.fromtimestamp(time.time()).astimezone()
    if as_json:
        return json.dumps(
            {
                "time": now.isoformat(timespec="microseconds"),
                "event": event.name.lower(),
                "endpoint": event.endpoint,
                "value": int(event.value),
                "meaning": words(event, cause) or None,
                "peer": event.peer,
            }
        )
    meaning = words(event, cause)
    rest = [f"({meaning})"] if meaning else []
    if event.peer:
        rest.append(f"peer {event.peer}")
    return " ".join([now.isoformat(" ", "milliseconds")[:23], f"{event.name.lower():<19}", event.endpoint, *rest])
