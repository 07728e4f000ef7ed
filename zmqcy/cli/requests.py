"""``zmqcy req``, ``echo`` and ``ping``: requests and replies."""

import itertools
import json
import time
from collections.abc import Iterator

import click

import zmqcy
from zmqcy.cli import formats
from zmqcy.cli.messages import (
    bind_option,
    count_option,
    endpoints_argument,
    format_options,
    quiet_option,
    ready,
    timeout_option,
)
from zmqcy.cli.sockets import Endpoint, Failure, PeerNotice, binds, hand_over, opened, within

LINGER = 1000  # milliseconds to deliver the last reply
PLACES = tuple[tuple[bool | None, str], ...]
endpoint_argument = click.argument("endpoint", metavar="ENDPOINT", type=Endpoint())


@click.command(
    epilog="""\b
Examples:
  zmqcy req tcp://127.0.0.1:5556 hello world
  zmqcy req tcp://127.0.0.1:5556 --timeout 1000 < requests
"""
)
@endpoint_argument
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@bind_option
@format_options
@timeout_option
@quiet_option
def req(
    endpoint: tuple[bool | None, str],
    texts: tuple[str, ...],
    bind: bool | None,
    name: str,
    as_json: bool,
    multipart: bool,
    timeout: float | None,
    quiet: bool,
) -> None:
    """Send requests, and write their replies.

    Each TEXT, or each message from stdin, is a request.

    --timeout applies to each reply. The peer may have received a request without a reply, so the command does not
    send it again.
    """
    name = "json" if as_json else name
    source: Iterator[list[formats.Message]] = formats.read(name, multipart)
    if texts:
        source = iter([[[text.encode()] for text in texts]])
    write = formats.writer(name, multipart)
    with opened("req", (endpoint,), bind, notice=PeerNotice("req", quiet)) as (socket, _):
        for number, request in enumerate(itertools.chain.from_iterable(source), 1):
            try:
                socket.send_multipart(request, timeout=timeout)
                reply = socket.recv_multipart(timeout=timeout)
            except zmqcy.TimedOut:
                raise Failure(f"req {endpoint[1]}: no reply to request {number}{within(timeout)}") from None
            write([reply])


@click.command(
    epilog="""\b
Examples:
  zmqcy echo tcp://127.0.0.1:5556
  zmqcy echo 'tcp://127.0.0.1:*' ipc:///tmp/echo --count 10
"""
)
@endpoints_argument
@bind_option
@count_option
@quiet_option
def echo(endpoints: PLACES, bind: bool | None, count: int | None, quiet: bool) -> None:
    """Reply to each request with its own content, until Ctrl-C.

    The command binds. It writes `ready` and the endpoints to stderr when it listens.
    """
    notice = PeerNotice("rep", quiet or all(binds("rep", prefix, bind) for prefix, _ in endpoints))
    with opened("rep", endpoints, bind, notice=notice) as (socket, where):
        ready(where, quiet)
        for _ in itertools.count() if count is None else range(count):
            socket.send_multipart(socket.recv_multipart())
        if not hand_over(socket, LINGER):
            raise Failure(f"rep {where}: the last reply was not delivered{within(LINGER)}")


@click.command(
    epilog="""\b
Examples:
  zmqcy ping tcp://127.0.0.1:5556
  zmqcy ping tcp://127.0.0.1:5556 --count 10000 --size 1024 --json
"""
)
@endpoint_argument
@bind_option
@click.option(
    "--count", metavar="N", type=click.IntRange(min=1), default=100, show_default=True, help="Number of round trips."
)
@click.option(
    "--size", metavar="BYTES", type=click.IntRange(min=0), default=8, show_default=True, help="Size of a request."
)
@click.option(
    "--timeout",
    metavar="MS",
    type=click.FloatRange(min=0),
    default=5000,
    show_default=True,
    help="Maximum time for a reply.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object; times are in microseconds.")
@quiet_option
def ping(
    endpoint: tuple[bool | None, str],
    bind: bool | None,
    count: int,
    size: int,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure round trips.

    The peer is a REP or ROUTER socket, such as `zmqcy echo`.

    The first request is not measured: it waits for the connection.
    """
    times: list[float] = []
    request = bytes(size)
    with opened("req", (endpoint,), bind, notice=PeerNotice("req", quiet)) as (socket, _):
        for number in range(count + 1):
            begin = time.perf_counter_ns()
            try:
                socket.send(request, timeout=timeout)
                socket.recv_multipart(timeout=timeout)
            except zmqcy.TimedOut:
                raise Failure(f"ping {endpoint[1]}: no reply to request {number + 1}{within(timeout)}") from None
            times.append((time.perf_counter_ns() - begin) / 1000)
    times = sorted(times[1:])
    # Percentiles by the nearest rank.
    found = {"min": times[0], **{f"p{each}": times[-(-count * each // 100) - 1] for each in (50, 99)}, "max": times[-1]}
    if as_json:
        figures = {f"{key}_us": round(value, 3) for key, value in found.items()}
        click.echo(json.dumps({"endpoint": endpoint[1], "count": count, "size": size, **figures}))
        return
    trips, octets = formats.counted(count, "round trip"), formats.counted(size, "byte")
    click.echo(f"{trips} of {octets} to {endpoint[1]}")
    click.echo("   ".join(f"{key} {value:.1f} us" for key, value in found.items()))
