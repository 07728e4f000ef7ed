"""``zmqcy send``, ``recv`` and ``sub``: messages from stdin to sockets, and from sockets to stdout."""

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

import zmqcy
from zmqcy.cli import formats, signals
from zmqcy.cli.progress import counting
from zmqcy.cli.sockets import Endpoint, Failure, Type, hand_over, opened, subscribes, within
from zmqcy.socket_types import types_with

SENDING = Type(types_with("sends", "offered"))
RECEIVING = Type(types_with("receives", "offered"))
BATCH = 256  # messages that are taken with one call
_F = TypeVar("_F", bound=Callable[..., Any])

endpoints_argument = click.argument("endpoints", metavar="ENDPOINT...", nargs=-1, required=True, type=Endpoint())
bind_option = click.option(
    "--bind/--connect", default=None, help="What to do with endpoints that begin with neither @ nor >."
)
timeout_option = click.option("--timeout", metavar="MS", type=click.FloatRange(min=0), help="How long to wait.")
count_option = click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after N messages.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Neither `ready` nor progress on stderr.")


def format_options(command: _F) -> _F:
    """Add the options that say how messages are written."""
    command = click.option("--multipart", is_flag=True, help="In lines: parts have a TAB between them.")(command)
    command = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")(command)
    return click.option(
        "--format",
        "name",
        type=click.Choice(formats.FORMATS),
        default="lines",
        show_default=True,
        help="A message a line; frames of ZMTP; bytes as they are; lists of parts in JSON.",
    )(command)


def ready(where: str, quiet: bool) -> None:
    """Say that a socket is ready."""
    if not quiet:
        click.echo(f"ready {where}", err=True)


@click.command(
    epilog="""\b
Examples:
  seq 1000 | zmqcy send push tcp://127.0.0.1:5555
  zmqcy send push tcp://127.0.0.1:5555 --message hello --count 100000 --rate 5000
  zmqcy send pub tcp://127.0.0.1:5556 --wait 1 --message 'news it rains'
  zmqcy send dealer '>tcp://127.0.0.1:5557' --file picture.png --timeout 2000
"""
)
@click.argument("kind", metavar="TYPE", type=SENDING)
@endpoints_argument
@bind_option
@format_options
@click.option("--message", "-m", "texts", multiple=True, help="Send this, not stdin; with --count again and again.")
@click.option("--file", "-f", "files", multiple=True, type=click.Path(), help="Send what is in a file as a message.")
@count_option
@click.option("--rate", metavar="N", type=click.FloatRange(min=0, min_open=True), help="At most N messages a second.")
@click.option("--wait", metavar="N", type=click.IntRange(min=1), help="pub: begin when N subscriptions are there.")
@timeout_option
@click.option("--linger", metavar="MS", type=click.FloatRange(min=0), help="How long to wait at the end [--timeout].")
@quiet_option
@SENDING.describe
def send(
    kind: str,
    endpoints: tuple[tuple[bool | None, str], ...],
    bind: bool | None,
    name: str,
    as_json: bool,
    multipart: bool,
    texts: tuple[str, ...],
    files: tuple[str, ...],
    count: int | None,
    rate: float | None,
    wait: int | None,
    timeout: float | None,
    linger: float | None,
    quiet: bool,
) -> None:
    """Send messages from stdin to sockets of TYPE: {types}.

    {binding} bind, the others connect, unless --bind, --connect or a prefix says otherwise: @ENDPOINT binds and
    >ENDPOINT connects. For a router the first part of each message is the routing id of a peer; with --multipart, and
    several --message or --file, these are the parts of one message.

    It ends when libzmq has handed all of its messages to the system, and waits for a peer as long as that takes:
    --timeout bounds how long a message waits for room, and --linger how long the end waits. What was not handed over
    makes the exit code 1. Nobody says whether a peer has used a message: for that, ask with req.

    A publisher drops what nobody has subscribed to. With --wait it first waits for subscriptions; a subscriber that
    is slow slows it down, and misses nothing.
    """
    if kind != "pub" and wait:
        raise click.UsageError("--wait is for pub")
    if texts and files:
        raise click.UsageError("either --message or --file")
    options: dict[str, Any] = {}
    if kind == "pub":
        options["xpub_nodrop"] = True
    if wait:
        options["xpub_verbose"] = True  # a second subscriber to the same topic counts too
    if kind == "router":
        options["router_mandatory"] = True
    source = formats.read("json" if as_json else name, multipart)
    if texts:
        source = given([text.encode() for text in texts], multipart, repeated=count is not None)
    elif files:
        source = given([Path(file).read_bytes() for file in files], multipart, repeated=False)
    with opened("xpub" if wait else kind, endpoints, bind, **options) as (socket, where):
        if any("*" in address for _, address in endpoints):
            ready(where, quiet)
        if wait:
            await_subscriptions(socket, wait, timeout, where)
        sent = 0
        failure = None
        try:
            with counting("sent", sys.stdin, quiet) as advance:
                for batch in paced(limited(source, count), rate):
                    while batch:
                        number = send_batch(socket, batch, timeout)
                        sent += number
                        advance(number)
                        batch = batch[number:]
        except zmqcy.TimedOut:
            failure = f"{kind} {where}: no room for message {sent + 1}{within(timeout)}; is a peer there?"
        except Failure as error:
            failure = error.message
        # What went before a failure is handed over all the same.
        last = timeout if linger is None else linger
        if sent and not hand_over(socket, last):
            owed = f"not all of {sent} messages were handed over{within(last)}"
            failure = f"{failure}; {owed}" if failure else f"{kind} {where}: {owed}; is a peer there?"
        if failure:
            raise Failure(failure)


def given(parts: list[bytes], multipart: bool, repeated: bool) -> Iterator[list[list[bytes]]]:
    """Give messages that the command line named, once or without an end."""
    messages = [parts] if multipart else [[part] for part in parts]
    if not repeated:
        yield messages
        return
    messages *= max(1, BATCH // len(messages))
    while True:
        yield messages


def limited(source: Iterable[list[list[bytes]]], count: int | None) -> Iterator[list[list[bytes]]]:
    """Give the first `count` messages, and read no further."""
    if count is None:
        yield from source
        return
    for batch in source:
        yield batch[:count]
        count -= len(batch)
        if count <= 0:
            return


def paced(source: Iterable[list[list[bytes]]], rate: float | None) -> Iterator[list[list[bytes]]]:
    """Give messages one by one at a rate, or as they come."""
    if rate is None:
        yield from source
        return
    due = time.monotonic()
    for message in itertools.chain.from_iterable(source):
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        due = max(due, now - 0.1) + 1 / rate  # a pause of the input is not made up for by a burst
        yield [message]


def send_batch(socket: zmqcy.Socket, batch: list[list[bytes]], timeout: float | None) -> int:
    """Send as many messages as go within the time, and return how many; a ROUTER waits for its peer."""
    deadline = None if timeout is None else time.monotonic() + timeout / 1000
    while True:
        try:
            return socket.send_multipart_many(batch, timeout=timeout)
        except zmqcy.HostUnreachable as error:
            if sent := int(getattr(error, "sent", 0)):
                return sent
            if deadline is not None and time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # libzmq tells nobody that a peer has come


def await_subscriptions(socket: zmqcy.Socket, number: int, timeout: float | None, where: str) -> None:
    """Wait until an XPUB has got `number` subscriptions."""
    deadline = None if timeout is None else time.monotonic() + timeout / 1000
    got = 0
    while got < number:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        try:
            got += socket.recv(timeout=left)[:1] == b"\x01"
        except zmqcy.TimedOut:
            raise Failure(f"pub {where}: {got} of {number} subscriptions{within(timeout)}") from None


@click.command(
    epilog="""\b
Examples:
  zmqcy recv pull tcp://127.0.0.1:5555 > messages
  zmqcy recv sub tcp://127.0.0.1:5556 --subscribe news --count 10
  zmqcy recv router tcp://127.0.0.1:5557 --json
  zmqcy recv pull 'tcp://127.0.0.1:*' --format raw --count 1 > picture.png
"""
)
@click.argument("kind", metavar="TYPE", type=RECEIVING)
@endpoints_argument
@bind_option
@format_options
@click.option("--subscribe", "-s", "topics", multiple=True, help="sub: a prefix of messages [all].")
@count_option
@timeout_option
@quiet_option
@RECEIVING.describe
def recv(kind: str, topics: tuple[str, ...], **given: Any) -> None:
    """Write messages of sockets of TYPE to stdout: {types}.

    {binding} bind, the others connect, unless --bind, --connect or a prefix says otherwise: @ENDPOINT binds and
    >ENDPOINT connects. Without --multipart each part of a message is a line.

    `ready` and the endpoints on stderr mean that the socket is bound, or connecting. From then on a push, pair or
    dealer at the other end keeps its messages until they can be delivered. A publisher does not: it drops what it
    sends before the subscription has come to it, a while after `ready`, unless it waits, as `zmqcy send pub --wait 1`
    does. Messages beyond --count that have come already are lost.

    It ends after --count messages, when the reader of stdout goes, and with the exit code 1 when no message has come
    for --timeout. Ctrl-C and SIGTERM lose none that was taken.
    """
    if topics and not subscribes(kind):
        raise click.UsageError("--subscribe is for sub")
    receive(kind, topics=topics, **given)


@click.command(
    epilog="""\b
Examples:
  zmqcy sub tcp://127.0.0.1:5556
  zmqcy sub tcp://127.0.0.1:5556 tcp://127.0.0.1:5566 --topic news --topic sport --json
"""
)
@endpoints_argument
@bind_option
@format_options
@click.option("--topic", "-t", "topics", multiple=True, help="A prefix of messages [all].")
@count_option
@timeout_option
@quiet_option
def sub(**given: Any) -> None:
    """Subscribe, and write what is published to stdout: `zmqcy recv sub` in short.

    What a publisher sends before the subscription has come to it is lost; see `zmqcy recv --help`.
    """
    receive("sub", **given)


def receive(
    kind: str,
    endpoints: tuple[tuple[bool | None, str], ...],
    bind: bool | None,
    name: str,
    as_json: bool,
    multipart: bool,
    topics: tuple[str, ...],
    count: int | None,
    timeout: float | None,
    quiet: bool,
) -> None:
    """Write messages to stdout until `count` have come, the time is up, or nobody reads them any more."""
    write = formats.writer("json" if as_json else name, multipart)
    with opened(kind, endpoints, bind, topics or ("",)) as (socket, where):
        ready(where, quiet)
        poller = zmqcy.Poller()
        poller.register(socket, zmqcy.POLLIN)
        formats.register_reader(poller)
        got = 0
        with counting("received", sys.stdout, quiet) as advance:
            while count is None or got < count:
                events = dict(poller.poll(timeout))
                if not events:
                    raise Failure(f"{kind} {where}: no message{within(timeout)}")
                if 1 in events:
                    raise BrokenPipeError
                with signals.held():
                    try:
                        left = BATCH if count is None else min(BATCH, count - got)
                        batch = socket.recv_multipart_many(left, flags=zmqcy.DONTWAIT)
                    except zmqcy.Again:
                        continue
                    write(batch)
                    got += len(batch)
                advance(len(batch))
