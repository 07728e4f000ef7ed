"""``zmqcy watch``: what happens to the connections of a socket."""

import json
import time
from datetime import datetime
from typing import Any

import click
from click.shell_completion import CompletionItem

import zmqcy
from zmqcy.cli import formats, signals
from zmqcy.cli.messages import bind_option, endpoints_argument, quiet_option, ready, timeout_option
from zmqcy.cli.sockets import Failure, Type, key_pair, opened, subscribes, within
from zmqcy.constants import Event
from zmqcy.monitor import Monitor, SocketEvent
from zmqcy.socket_types import SOCKET_TYPES

TYPES = Type([row.name for row in SOCKET_TYPES if "draft" not in row.traits])
NAMES = {  # one bit each, and one that a monitor on its own reports
    event.name.lower(): event
    for event in Event
    if event.name and event & Event.ALL == event and not event & (event - 1)
}
NUMBERS = Event.CONNECTED | Event.LISTENING | Event.ACCEPTED | Event.CLOSED | Event.DISCONNECTED  # whose value is one


class Events(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """Names of events with commas between them."""

    name = "events"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Event:
        if isinstance(value, Event):  # click converts defaults twice
            return value
        found = Event(0)
        for name in value.lower().replace("-", "_").split(","):
            if name not in NAMES:
                self.fail(f"{name!r} is no event; there are {', '.join(NAMES)}", param, ctx)
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
        self.fail(f"these {len(value)} characters are no key of 40 characters in Z85", param, ctx)  # it may be a secret


def curve_options(server: bytes | None, path: str | None) -> dict[str, Any]:
    """Return the options of a socket that is a client of a CURVE server, with the keys of a file or new ones."""
    if server is None:
        if path is not None:
            raise click.UsageError("--curve-file needs --curve-server")
        return {}
    public, secret = zmqcy.curve_keypair() if path is None else key_pair(path)
    return {"curve_serverkey": server, "curve_publickey": public, "curve_secretkey": secret}


def words(event: SocketEvent) -> str:
    """Return what the value of an event means."""
    if event.event & Event.CONNECT_RETRIED:
        return f"next try in {event.value} ms"
    if event.event & Event.CONNECT_DELAYED:
        return zmqcy.strerror(event.value)
    if event.event & NUMBERS:
        return f"descriptor {event.value}" + (f"; {event.note}" if event.note else "")
    return event.reason or ""


@click.command(
    epilog="""\b
Examples:
  zmqcy watch dealer tcp://127.0.0.1:5556
  zmqcy watch pull 'tcp://127.0.0.1:*' --events accepted,disconnected --json
  zmqcy watch sub tcp://127.0.0.1:5556 --count 1 --events handshake_succeeded --timeout 5000
  zmqcy watch req tcp://host:5556 --curve-server 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7'
"""
)
@click.argument("kind", metavar="TYPE", type=TYPES)
@endpoints_argument
@bind_option
@click.option(
    "--events", "-e", metavar="NAME,...", type=Events(), default=Event.ALL, help="Only these, as accepted [all]."
)
@click.option("--json", "as_json", is_flag=True, help="Write an object of JSON a line.")
@click.option("--subscribe", "-s", "topics", multiple=True, help="sub: a prefix of messages [none].")
@click.option("--curve-server", metavar="KEY", type=Key(), help="CURVE: the public key of the server.")
@click.option("--curve-file", type=click.Path(), help="CURVE: our keys, as curve-keygen --file writes them [new ones].")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after N events.")
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
    """Make a socket of TYPE, and write what happens to its connections, until Ctrl-C.

    A line has the time, the event, the endpoint, what its value means, and the address of the peer where it is known.
    {binding} bind, the others connect, unless --bind, --connect or a prefix says otherwise:
    @ENDPOINT binds and >ENDPOINT connects.

    The socket is a real one: a peer that shares its messages out may give it some, which nobody reads. It takes as
    few as it can.

    --timeout is for each event: the exit code is 1 when none has come.
    """
    if topics and not subscribes(kind):
        raise click.UsageError("--subscribe is for sub")
    monitors: list[Monitor] = []
    options = curve_options(curve_server, curve_file)

    def begin(socket: zmqcy.Socket) -> None:
        monitors.append(socket.watch(events))

    file = formats.stdout()
    with opened(kind, endpoints, bind, topics, begin, rcvhwm=1, **options) as (_, where):
        ready(where, quiet)
        poller = zmqcy.Poller()
        poller.register(monitors[0], zmqcy.POLLIN)
        formats.register_reader(poller)
        got = 0
        last = time.monotonic()
        while count is None or got < count:
            event = monitors[0].try_recv()
            if event is None:  # an event of another kind wakes the poller too, and is none
                left = None if timeout is None else timeout - (time.monotonic() - last) * 1000
                if left is not None and left < 0:
                    raise Failure(f"{kind} {where}: no event{within(timeout)}")
                found = dict(poller.poll(left))
                if 1 in found:
                    raise BrokenPipeError
                continue
            with signals.held():
                file.write(line(event, as_json).encode("utf-8", "surrogateescape") + b"\n")
                file.flush()
            got += 1
            last = time.monotonic()


def line(event: SocketEvent, as_json: bool) -> str:
    """Return an event as it is written, with the time of now."""
    now = datetime.fromtimestamp(time.time()).astimezone()
    if as_json:
        return json.dumps(
            {
                "time": now.isoformat(timespec="microseconds"),
                "event": event.name.lower(),
                "endpoint": event.endpoint,
                "value": int(event.value),
                "meaning": words(event) or None,
                "peer": event.peer,
            }
        )
    rest = [f"({words(event)})"] if words(event) else []
    if event.peer:
        rest.append(f"peer {event.peer}")
    return " ".join([now.isoformat(" ", "milliseconds")[:23], f"{event.name.lower():<19}", event.endpoint, *rest])
