"""``zmqcy send``, ``recv`` and ``sub``: send messages from stdin, and write received messages to stdout."""

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
from zmqcy.cli.sockets import Endpoint, Failure, PeerNotice, Type, binds, hand_over, opened, subscribes, within
from zmqcy.socket_types import types_with

SENDING = Type(types_with("sends", "offered"))
RECEIVING = Type(types_with("receives", "offered"))
BATCH = 256  # messages per call
_F = TypeVar("_F", bound=Callable[..., Any])

endpoints_argument = click.argument("endpoints", metavar="ENDPOINT...", nargs=-1, required=True, type=Endpoint())
bind_option = click.option(
    "--bind/--connect", default=None, help="Bind or connect endpoints without a prefix.", show_default="by socket type"
)
timeout_option = click.option(
    "--timeout", metavar="MS", type=click.FloatRange(min=0), help="Maximum time to wait.", show_default="unlimited"
)
count_option = click.option(
    "--count", metavar="N", type=click.IntRange(min=1), help="Exit after N messages.", show_default="unlimited"
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Write no status and no progress to stderr.")


def subscribe_option(default: str) -> Callable[[_F], _F]:
    """Return the option for topics."""
    return click.option(
        "--subscribe", "-s", "topics", metavar="TOPIC", multiple=True, help="Subscribe to a topic prefix (sub).",
        show_default=default,
    )  # fmt: skip


def format_options(command: _F) -> _F:
    """Add the options for the format of messages."""
    command = click.option("--multipart", is_flag=True, help="Separate the parts of a message by TABs in `lines`.")(
        command
    )
    command = click.option("--json", "as_json", is_flag=True, help="Short for --format json.")(command)
    return click.option(
        "--format",
        "name",
        type=click.Choice(formats.FORMATS),
        default="lines",
        show_default=True,
        help="lines: one message per line. json: a list of parts per line. frames: ZMTP frames. raw: plain bytes.",
    )(command)


def ready(where: str, quiet: bool) -> None:
    """Write `ready` and the endpoints to stderr."""
    if not quiet:
        click.echo(f"ready {where}", err=True)


@click.command(
    epilog="""\b
Examples:
  seq 1000 | zmqcy send push tcp://127.0.0.1:5555
  zmqcy send push tcp://127.0.0.1:5555 -m hello --count 100000 --rate 5000
  zmqcy send pub tcp://127.0.0.1:5556 --wait 1 --message 'news it rains'
  zmqcy send dealer '>tcp://127.0.0.1:5557' --file a.png --timeout 2000
"""
)
@click.argument("kind", metavar="TYPE", type=SENDING)
@endpoints_argument
@bind_option
@format_options
@click.option(
    "--message",
    "-m",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="Send TEXT instead of stdin.",
)
@click.option("--file", "-f", "files", multiple=True, type=click.Path(), help="Send a file as one message.")
@count_option
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Maximum messages per second.",
    show_default="unlimited",
)
@click.option("--wait", metavar="N", type=click.IntRange(min=1), help="Wait for N subscriptions first (pub).")
@timeout_option
@click.option(
    "--linger",
    metavar="MS",
    type=click.FloatRange(min=0),
    help="Maximum time to deliver at exit.",
    show_default="--timeout",
)
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
    """Send messages from stdin.

    TYPE is the type of the socket: {types}.

    {binding} For a router, the first part of each message is the routing id of a peer. With --multipart, several
    --message or --file options are the parts of one message.

    The command exits when libzmq has passed all messages to the operating system. It waits for a peer indefinitely.
    --timeout limits the wait for each message, --linger the wait at exit. The exit code is 1 if a message was not
    delivered. Use `zmqcy req` if you need a reply from the peer.

    A publisher drops messages that have no subscriber. With --wait it waits for subscriptions first. Backpressure from
    a slow subscriber then slows the publisher down, and no message is lost.
    """
    if kind != "pub" and wait:
        raise click.UsageError("--wait needs the type pub")
    if texts and files:
        raise click.UsageError("use either --message or --file")
    options: dict[str, Any] = {}
    if kind == "pub":
        options["xpub_nodrop"] = True
    if wait:
        options["xpub_verbose"] = True  # also counts a second subscription to a topic
    if kind == "router":
        options["router_mandatory"] = True
    source = formats.read("json" if as_json else name, multipart)
    if texts:
        source = given([text.encode() for text in texts], multipart, repeated=count is not None)
    elif files:
        source = given([Path(file).read_bytes() for file in files], multipart, repeated=False)
    notice = PeerNotice(kind, quiet or (kind == "pub" and not wait))  # a publisher without --wait needs no peer
    with opened("xpub" if wait else kind, endpoints, bind, notice=notice, **options) as (socket, where):
        if any("*" in address for _, address in endpoints):
            ready(where, quiet)
        if wait:
            await_subscriptions(socket, wait, timeout, where)
        sent = 0
        failure = None
        try:
            with counting("sent", sys.stdin, quiet, count) as advance:
                for batch in paced(limited(source, count), rate):
                    while batch:
                        number = send_batch(socket, batch, timeout)
                        sent += number
                        advance(number)
                        batch = batch[number:]
        except zmqcy.TimedOut:
            failure = f"{kind} {where}: message {sent + 1} was not sent{within(timeout)}; is a peer connected?"
        except Failure as error:
            failure = error.message
        # Messages before a failure are still delivered.
        last = timeout if linger is None else linger
        if sent:
            notice.wait(last)
        if sent and not hand_over(socket, last):
            owed = f"{undelivered(sent)}{within(last)}"
            failure = f"{failure}; {owed}" if failure else f"{kind} {where}: {owed}; is a peer connected?"
        if failure:
            raise Failure(failure)


def undelivered(sent: int) -> str:
    """Report messages that were dropped at exit. libzmq does not report how many of several it has passed on."""
    return (
        "1 message was not delivered" if sent == 1 else f"up to {formats.counted(sent, 'message')} were not delivered"
    )


def given(parts: list[bytes], multipart: bool, repeated: bool) -> Iterator[list[list[bytes]]]:
    """Yield the messages of the command line, once or repeatedly."""
    messages = [parts] if multipart else [[part] for part in parts]
    if not repeated:
        yield messages
        return
    messages *= max(1, BATCH // len(messages))
    while True:
        yield messages


def limited(source: Iterable[list[list[bytes]]], count: int | None) -> Iterator[list[list[bytes]]]:
    """Yield the first `count` messages. Do not read further."""
    if count is None:
        yield from source
        return
    for batch in source:
        yield batch[:count]
        count -= len(batch)
        if count <= 0:
            return


def paced(source: Iterable[list[list[bytes]]], rate: float | None) -> Iterator[list[list[bytes]]]:
    """Yield messages one by one at a rate, or as they arrive."""
    if rate is None:
        yield from source
        return
    due = time.monotonic()
    for message in itertools.chain.from_iterable(source):
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        due = max(due, now - 0.1) + 1 / rate  # no burst after a pause of the input
        yield [message]


def send_batch(socket: zmqcy.Socket, batch: list[list[bytes]], timeout: float | None) -> int:
    """Send as many messages as possible before the timeout. Return their number. A ROUTER waits for its peer."""
    deadline = None if timeout is None else time.monotonic() + timeout / 1000
    while True:
        try:
            return socket.send_multipart_many(batch, timeout=timeout)
        except zmqcy.HostUnreachable as error:
            if sent := int(getattr(error, "sent", 0)):
                return sent
            if deadline is not None and time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # libzmq does not report a new peer to a ROUTER


def await_subscriptions(socket: zmqcy.Socket, number: int, timeout: float | None, where: str) -> None:
    """Wait until an XPUB has received `number` subscriptions."""
    deadline = None if timeout is None else time.monotonic() + timeout / 1000
    got = 0
    while got < number:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        try:
            got += socket.recv(timeout=left)[:1] == b"\x01"
        except zmqcy.TimedOut:
            wanted = formats.counted(number, "subscription")
            raise Failure(f"pub {where}: received {got} of {wanted}{within(timeout)}") from None


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
@subscribe_option("all messages")
@count_option
@timeout_option
@quiet_option
@RECEIVING.describe
def recv(kind: str, topics: tuple[str, ...], **given: Any) -> None:
    """Receive messages, and write them to stdout.

    TYPE is the type of the socket: {types}.

    {binding} Without --multipart, each part of a message is a line.

    `ready` and the endpoints on stderr mean that the socket is bound, or connecting. From then on a push, pair or
    dealer socket keeps its messages until it can deliver them. A publisher drops messages until the subscription has
    arrived, shortly after `ready`; `zmqcy send pub --wait 1` waits for it.

    The command exits after --count messages, or when the reader of stdout closes the pipe. It exits with code 1 if no
    message arrives for --timeout. Ctrl-C and SIGTERM lose no message that the command has received. Messages that
    libzmq has received beyond --count are lost.
    """
    if topics and not subscribes(kind):
        raise click.UsageError("--subscribe needs the type sub")
    receive(kind, topics=topics, **given)


@click.command(
    epilog="""\b
Examples:
  zmqcy sub tcp://127.0.0.1:5556
  zmqcy sub tcp://127.0.0.1:5556 --subscribe news --subscribe sport --json
"""
)
@endpoints_argument
@bind_option
@format_options
@subscribe_option("all messages")
@count_option
@timeout_option
@quiet_option
def sub(**given: Any) -> None:
    """Subscribe, and write messages to stdout. Short for `zmqcy recv sub`.

    A publisher drops messages until the subscription has arrived; see `zmqcy recv --help`.
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
    """Write messages to stdout until `count` have arrived, a timeout, or the reader of stdout closes the pipe."""
    write = formats.writer("json" if as_json else name, multipart)
    # A socket that only binds is a server, and a server may wait.
    notice = PeerNotice(kind, quiet or all(binds(kind, prefix, bind) for prefix, _ in endpoints))
    with opened(kind, endpoints, bind, topics or ("",), notice=notice) as (socket, where):
        ready(where, quiet)
        poller = zmqcy.Poller()
        poller.register(socket, zmqcy.POLLIN)
        formats.register_reader(poller)
        got = 0
        with counting("received", sys.stdout, quiet, count) as advance:
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
