"""``zmqcy device``: a device as a program, with signals and statistics.

`Device.run` forwards messages in the main thread. Another thread writes all output. It sleeps until a signal handler
asks for output, or until a table, a line or a report to systemd is due.
"""

import json
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from enum import Enum
from errno import EIO
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem

from zmqcy._proxy import unfit
from zmqcy.cli import formats, signals, systemd
from zmqcy.cli.sockets import Endpoint, Failure, key_pair
from zmqcy.constants import DeviceType, SocketType
from zmqcy.devices import Device, Flow, Statistics

STATUS = 5  # seconds between two lines of status for systemd
STUCK = 5  # seconds to wait for a reader of stdout at exit
ALIVE = 2  # seconds: a running loop wakes twice per second, and counts each wake-up
DIRECTIONS = {"front to back": "front_to_back", "back to front": "back_to_front"}


# ----------------------------------------------------------------------------------------------------------- arguments

PAIRS = "pull:push", "sub:pub", "xsub:xpub", "router:dealer"  # completed before all other pairs


class Kind(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """The name of a device, or the types of its two sockets."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name = value.upper()
        if name in DeviceType.__members__:
            return DeviceType[name]
        types = [SocketType[each] for each in name.split(":") if each in SocketType.__members__]
        if len(types) != 2 or name.count(":") != 1:
            self.fail(f"{value!r} is not streamer, forwarder, queue, or two types such as pull:push", param, ctx)
        front, back = types
        text = unfit(front, back)
        if text is not None:
            self.fail(f"{value}: {text.partition(';')[0]}; {self.instead({front, back})}", param, ctx)
        return front, back

    @staticmethod
    def instead(types: set[SocketType]) -> str:
        """Return a suggestion for two types that cannot form a device."""
        kinds = {
            "queue (router:dealer) between REQ and REP sockets": {SocketType.REQ, SocketType.REP},
            "streamer (pull:push) between PUSH and PULL sockets": {SocketType.PUSH, SocketType.PULL},
            "forwarder (sub:pub) between PUB and SUB sockets": {SocketType.PUB, SocketType.SUB},
        }
        fits = [text for text, its in kinds.items() if types & its]
        return f"use {' or '.join(fits or kinds)}"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = [*(each.name.lower() for each in DeviceType), *PAIRS]
        if ":" in incomplete:
            names = [f"{a.name}:{b.name}".lower() for a in SocketType for b in SocketType if unfit(a, b) is None]
        return [CompletionItem(each) for each in names if each.startswith(incomplete.lower())]


class Side(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Endpoints, separated by commas."""

    name = "side"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        # A path may contain a comma. A transport follows a comma that separates endpoints.
        parts = [Endpoint().convert(each.strip(), param, ctx) for each in re.split(r",(?=\s*[@>]?\w+://)", value)]
        for _, address in parts:
            if "," in address and not address.startswith("ipc://"):
                self.fail(f"{value!r}: {address!r} is not an endpoint", param, ctx)
        return [f"{'>' if bind is False else '@'}{address}" for bind, address in parts]


def _configured(path: str) -> Device:
    try:
        return Device.from_config(path)
    except (TypeError, ValueError, ModuleNotFoundError) as error:
        raise Failure(str(error)) from error


def _served(device: Device, address: str | None, name: str, token: str | None) -> AbstractContextManager[Any]:
    """Return a context manager that serves the metrics over HTTP."""
    if address is None:
        return nullcontext()
    try:
        from zmqcy.web import serve
    except ModuleNotFoundError as error:
        raise Failure(f"--metrics: {error}") from error
    device.watch = True
    try:
        return serve(device, address, name=name, token=token)
    except (OSError, ValueError) as error:
        # strerror names the address; str() begins with a number.
        raise Failure(f"--metrics: {getattr(error, 'strerror', None) or error}") from error


def _authentication(
    allow: tuple[str, ...], deny: tuple[str, ...], passwords: str | None, certificates: str | None, key: str | None
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the arguments of the Authenticator, or None, and the options of bound sides."""
    if not any((allow, deny, passwords, certificates, key)):
        return None, {}
    if passwords and (certificates or key):
        raise click.UsageError("use either --passwords or --certificates: a socket has one mechanism")
    if bool(certificates) is not bool(key):
        raise click.UsageError("--certificates and --key-file need each other")
    rules: dict[str, Any] = {"allow": allow or None, "deny": deny}
    options: dict[str, Any] = {"zap_domain": "device"}
    if passwords:
        return {**rules, "plain": passwords}, {**options, "plain_server": True}
    if key:
        _, secret = key_pair(key)
        return {**rules, "curve": certificates}, {**options, "curve_server": True, "curve_secretkey": secret}
    return {**rules, "null": True}, options


def _if_bound(name: str, endpoints: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a server for a bound side."""
    connects = [each.startswith(">") for each in endpoints]
    if options and any(connects) and not all(connects):
        raise click.UsageError(f"{name}: with authentication, a side either binds or connects")
    return {} if all(connects) else options


# ---------------------------------------------------------------------------------------------------------- statistics


class Rates:
    """Rates since the last call."""

    def __init__(self) -> None:
        self.time = time.monotonic()
        self.flows = [Flow(0, 0, 0, 0, 0)] * 2

    def __call__(self, numbers: Statistics) -> list[tuple[float, float]]:
        """Return messages and bytes per second of each direction."""
        now, flows = time.monotonic(), [numbers.front_to_back, numbers.back_to_front]
        seconds = max(now - self.time, 1e-9)
        rates = [
            ((flow.messages_out - before.messages_out) / seconds, (flow.bytes_out - before.bytes_out) / seconds)
            for flow, before in zip(flows, self.flows, strict=True)
        ]
        self.time, self.flows = now, flows
        return rates


def _in_words(name: str, numbers: Statistics, rates: list[tuple[float, float]] | None = None) -> str:
    parts = []
    for place, (words, attribute) in enumerate(DIRECTIONS.items()):
        flow: Flow = getattr(numbers, attribute)
        rate = f", {rates[place][0]:,.0f}/s, {rates[place][1] / 1e6:,.3f} MB/s" if rates else ""
        parts.append(
            f"{words} {formats.counted(flow.messages_out, 'message')}, {flow.bytes_out / 1e6:,.3f} MB{rate}, "
            f"{formats.counted(flow.full, 'blocked attempt')}"
        )
    return f"{name} {numbers.state}: {'; '.join(parts)}; {formats.counted(numbers.waits, 'idle wake-up')}"


def _as_json(name: str, numbers: Statistics) -> str:
    flows = {attribute: getattr(numbers, attribute)._asdict() for attribute in DIRECTIONS.values()}
    since = numbers.since.isoformat()
    return json.dumps({"name": name, "state": numbers.state, "since": since, **flows, "waits": numbers.waits})


def _write(descriptor: int, text: str) -> None:
    """Write a line without Python's buffers: after a failed write they would fail again at exit."""
    data = text.encode(errors="replace") + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def _say(text: str) -> None:
    """Write a line to stderr; ignore a stderr without a reader."""
    if sys.stderr is not None:
        with suppress(OSError):
            _write(2, text)


class Table:
    """The statistics on a terminal, in place."""

    def __init__(self, name: str, endpoints: dict[str, tuple[str, ...]]) -> None:
        from rich.console import Console
        from rich.live import Live

        self.name = name
        self.places = "\n".join(f"{side}: {' '.join(each)}" for side, each in endpoints.items())
        # force_terminal: after the terminal is closed, rich would write nothing, and not fail.
        console = Console(file=open(1, "w", closefd=False), force_terminal=True)  # noqa: SIM115  # ends with the process
        self.live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self.live.start()

    def show(self, numbers: Statistics, rates: list[tuple[float, float]]) -> None:
        from rich.table import Table
        from rich.text import Text

        caption = Text(f"{formats.counted(numbers.waits, 'idle wake-up')}\n{self.places}")
        table = Table(title=Text(f"{self.name}: {numbers.state}"), caption=caption, caption_justify="left")
        table.add_column("direction")
        for column in ("messages/s", "MB/s", "messages", "MB", "blocked"):
            table.add_column(column, justify="right")
        for (words, attribute), (messages, octets) in zip(DIRECTIONS.items(), rates, strict=True):
            flow: Flow = getattr(numbers, attribute)
            rate = f"{messages:,.0f}", f"{octets / 1e6:,.1f}"
            table.add_row(words, *rate, f"{flow.messages_out:,}", f"{flow.bytes_out / 1e6:,.1f}", f"{flow.full:,}")
        self.live.update(table, refresh=True)

    def line(self, text: str) -> None:
        from rich.text import Text

        self.live.console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        with suppress(OSError):  # the terminal may be gone
            self.live.stop()


class Asked(Enum):
    """A request to the thread that writes."""

    NUMBERS = 1
    STOPPING = 2
    END = 3


class Reports:
    """The thread that writes: statistics to stdout, and reports to systemd."""

    def __init__(self, device: Device, name: str, as_json: bool, every: float | None):
        self.device = device
        self.name = name
        self.as_json = as_json
        self.every = every
        self.terminal = sys.stdout is not None and sys.stdout.isatty()
        self.shows = self.terminal and not as_json and formats.redraws()
        self.ended: Callable[[], object] = lambda: None  # called if this thread cannot continue
        self.error: Exception | None = None
        self.asked: queue.SimpleQueue[Asked] = queue.SimpleQueue()  # safe in a signal handler
        self.table: Table | None = None
        self.rates = Rates()
        self.lost = False  # stdout has no reader
        self.stopping = False
        self.seen: tuple[Statistics | None, float] = None, 0.0
        self.thread = threading.Thread(target=self._run, name="zmqcy reports", daemon=True)

    def begin(self) -> None:
        endpoints = self.device.endpoints
        where = " ".join(each for side in endpoints.values() for each in side)
        _say(f"ready {where}")
        systemd.notify("READY=1", f"STATUS=forwarding: {where}")
        self.thread.start()

    def end(self) -> None:
        """Let the thread write the statistics a last time, and exit."""
        if self.thread.ident is None:  # the device did not start
            return
        self.asked.put(Asked.END)
        self.thread.join(STUCK)
        if self.thread.is_alive():
            self.error = Failure(f"stdout: its reader did not read for {STUCK} s")

    def line(self, rates: list[tuple[float, float]] | None = None) -> None:
        if self.lost:
            return
        numbers = self.device.statistics()
        text = _as_json(self.name, numbers) if self.as_json else _in_words(self.name, numbers, rates)
        if self.table is not None:
            self.table.line(text)
        else:
            _write(1, text)

    def _cannot(self, error: OSError) -> None:
        """Continue without stdout. A closed terminal is a request to exit; other errors are failures."""
        self.lost = True
        if not (self.terminal and error.errno == EIO):
            self.error = Failure(f"stdout: {error.strerror}")

    def _run(self) -> None:
        try:
            try:
                self._report()
            except OSError as error:
                self._cannot(error)
                self.ended()
                self._report()
            self._close_table()
            self.line()
        except OSError as error:
            self._cannot(error)
        except Exception as error:
            self.error = error
            self.ended()
        finally:
            self._close_table()

    def _close_table(self) -> None:
        if self.table is not None:
            self.table.close()
            self.table = None

    def _report(self) -> None:
        """Write what is requested or due, until the request to exit."""
        every = self._jobs()
        due = {job: time.monotonic() + seconds for job, seconds in every.items()}
        while True:
            asked = None
            with suppress(queue.Empty):
                asked = self.asked.get(timeout=max(min(due.values()) - time.monotonic(), 0) if due else None)
            if asked is Asked.END:
                return
            if asked is Asked.NUMBERS:
                self.line()
            elif asked is Asked.STOPPING:
                self.stopping = True
                systemd.notify("STOPPING=1", "STATUS=draining")
            now = time.monotonic()
            for job in [job for job in due if due[job] <= now]:
                job()
                due[job] = now + every[job]

    def _jobs(self) -> dict[Callable[[], None], float]:
        """Return the periodic jobs, and their intervals in seconds."""
        jobs: dict[Callable[[], None], float] = {}
        if not self.lost and self.shows and self.table is None:
            self.table = Table(self.name, self.device.endpoints)
            self._show()
        if not self.lost and (self.shows or self.every):
            jobs[self._show] = self.every or 1
        if systemd.listens():
            jobs[self._status] = STATUS
            if watchdog := systemd.watchdog():
                jobs[self._watchdog] = watchdog
        return jobs

    def _show(self) -> None:
        numbers = self.device.statistics()
        rates = self.rates(numbers)
        if self.table is not None:
            self.table.show(numbers, rates)
        else:
            self.line(rates)

    def _status(self) -> None:
        systemd.notify(f"STATUS={_in_words(self.name, self.device.statistics())}")

    def _watchdog(self) -> None:
        """Notify the watchdog if the loop runs. At exit, the device may wait long until all messages are sent."""
        now, numbers = time.monotonic(), self.device.statistics()
        if numbers != self.seen[0]:
            self.seen = numbers, now
        if self.stopping or now - self.seen[1] < ALIVE:
            systemd.notify("WATCHDOG=1")


# ---------------------------------------------------------------------------------------------------------------- exit


class Late(BaseException):
    """The device must exit now."""


class End:
    """The exit of the device: it drains at the first signal, and exits at the second signal or the timeout."""

    def __init__(self, device: Device, bound: float, reports: Reports):
        self.device = device
        self.bound = bound
        self.reports = reports
        self.begun = False  # the device has opened its sockets
        self.over = False  # the device has closed its sockets
        self.asked = False
        self.code = 0
        self.drains: queue.SimpleQueue[None] = queue.SimpleQueue()

    def install(self) -> None:
        # Started now: a signal handler may interrupt code that holds a lock, and a new thread needs this lock.
        threading.Thread(target=self._drain, name="zmqcy drain", daemon=True).start()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # SIG_IGN: a background job of a shell, or nohup
                signal.signal(number, self._on_signal)
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.signal(signal.SIGUSR1, lambda number, frame: self.reports.asked.put(Asked.NUMBERS))
        if signals.received:
            raise SystemExit(0)

    def _drain(self) -> None:
        self.drains.get()
        self.device.stop(drain=True)

    def drain(self) -> None:
        """Start to drain, without waiting; also called by the thread of the reports."""
        self._within(self.bound)  # first: a second signal sets a shorter time
        self.asked = True
        self.reports.asked.put(Asked.STOPPING)
        self.drains.put(None)

    @staticmethod
    def _within(milliseconds: float) -> None:
        # Once to end the loop, then repeatedly to end the wait for unsent messages.
        signal.setitimer(signal.ITIMER_REAL, max(milliseconds / 1000, 0.001), 0.1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.begun and not self.asked:
            self.asked = True  # `ready` checks it; an exception would be lost in a callback
        elif not self.asked:
            self.drain()
        elif number != signal.SIGHUP:  # a shell that exits sends one, and the system another
            self.code = 128 + number
            if self.over or not self.begun:
                raise SystemExit(self.code)
            self._within(0)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is Device.run.__code__:
                raise Late
            frame = frame.f_back

    def _dropped(self) -> str:
        """Report messages that were not delivered. libzmq does not report how many its queues held."""
        numbers = self.device.statistics()
        held, sent = [], []
        for flow, target in ((numbers.front_to_back, "back"), (numbers.back_to_front, "front")):
            place = " ".join(self.endpoints[target])
            if left := flow.messages_in - flow.messages_out:
                held.append(f"{formats.counted(left, 'message')} not forwarded to {place}")
            elif flow.messages_out:
                sent.append(f"forwarded messages not delivered to {place}")
        return f"gave up after {self.bound:g} ms: {'; '.join(held or sent) or 'peers still send'}"

    def run(self) -> None:
        """Run the device until it exits."""

        def ready() -> None:
            self.begun = True
            self.endpoints = self.device.endpoints
            if self.asked:
                raise SystemExit(0)
            self.reports.begin()

        try:
            self.device.run(ready)
        except Late:
            if not self.code:
                self.reports.error = Failure(f"{self.reports.name}: {self._dropped()}")
        finally:
            self.over = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.reports.end()
        if self.reports.error is not None:
            raise self.reports.error


# --------------------------------------------------------------------------------------------------------- the command


@click.command(
    epilog="""\b
Examples:
  zmqcy device queue tcp://*:5555 tcp://*:5556
  zmqcy device streamer tcp://*:5555 '>tcp://one:5556,>tcp://two:5556'
  zmqcy device xsub:xpub tcp://*:5557 tcp://*:5558 --capture tcp://*:5559
  zmqcy device queue tcp://*:5555 tcp://*:5556 --stats 10 --json >> log
  zmqcy device queue tcp://*:5555 ipc:///run/jobs --allow 10.0.0.0/8
  zmqcy device queue tcp://*:5555 tcp://*:5556 --passwords passwords
  zmqcy device --config device.toml --metrics 127.0.0.1:9100
"""
)
@click.argument("kind", required=False, type=Kind())
@click.argument("front", required=False, type=Side())
@click.argument("back", required=False, type=Side())
@click.option("--capture", metavar="ENDPOINT", type=Side(), help="Publish a copy of each message.")
@click.option(
    "--config", metavar="FILE", type=click.Path(readable=False), help="Read a TOML file instead of KIND, FRONT, BACK."
)
@click.option("--allow", metavar="NETWORK", multiple=True, help="Accept peers from this network only.")
@click.option("--deny", metavar="NETWORK", multiple=True, help="Reject peers from this network.")
@click.option("--passwords", metavar="FILE", type=click.Path(), help="PLAIN: accept the user:password lines of FILE.")
@click.option("--certificates", metavar="FOLDER", type=click.Path(), help="CURVE: accept the *.key files of FOLDER.")
@click.option(
    "--key-file", "server_key", metavar="FILE", type=click.Path(), help="CURVE: own keys, of curve-keygen --file."
)
@click.option("--name", help="Name in statistics and metrics.", show_default="KIND")
@click.option(
    "--stats",
    metavar="SECONDS",
    type=click.FloatRange(min=0.01),
    help="Interval of statistics.",
    show_default="1 on a terminal",
)
@click.option("--json", "as_json", is_flag=True, help="Write statistics as one JSON object per line.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve a web page and metrics for Prometheus.")
@click.option("--token", envvar="ZMQCY_TOKEN", show_envvar=True, help="Bearer token for --metrics; ps shows arguments.")
@click.option(
    "--drain-timeout",
    "bound",
    metavar="MS",
    type=click.FloatRange(min=0, max=2**30),
    default=10_000,
    show_default=True,
    help="Maximum time to drain.",
)
@click.option("--io-threads", metavar="N", type=click.IntRange(min=1), help="Number of I/O threads.", show_default="1")
def device(
    kind: Any,
    front: list[str] | None,
    back: list[str] | None,
    capture: list[str] | None,
    config: str | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    passwords: str | None,
    certificates: str | None,
    server_key: str | None,
    name: str | None,
    stats: float | None,
    as_json: bool,
    metrics: str | None,
    token: str | None,
    bound: float,
    io_threads: int | None,
) -> int:
    """Forward messages between FRONT and BACK until a signal.

    KIND is streamer (pull:push), forwarder (sub:pub), queue (router:dealer), or two socket types such as xsub:xpub.

    FRONT, BACK and --capture are endpoints, separated by commas. The device binds them. It connects an endpoint with
    the prefix >.

    --allow, --deny, --passwords, or --certificates with --key-file control the access to bound sides. A NETWORK is an
    address, a network such as 10.0.0.0/8, or ipc.

    Ctrl-C, SIGTERM or a closed terminal drain the device: it forwards and sends the messages that have arrived. The
    exit code is 1 if --drain-timeout expires before that. A second signal exits immediately.

    A terminal shows a table of statistics. SIGUSR1 writes a line of statistics, and so does the exit.
    """
    formats.stdout()
    if config is not None:
        if kind is not None or capture is not None or io_threads is not None:
            raise click.UsageError("--config replaces KIND, FRONT, BACK, --capture and --io-threads")
        if any((allow, deny, passwords, certificates, server_key)):
            raise click.UsageError(
                "--config replaces the options for access control: add a table `authentication` to the file"
            )
        made = _configured(config)
        name = name or os.path.splitext(os.path.basename(config))[0]
    elif kind is None or front is None or back is None:
        raise click.UsageError("missing arguments: KIND, FRONT and BACK, or --config")
    else:
        # The timeout is shorter, and is reported. The linger is for a device that fails.
        linger = {"linger": int(bound) + 1000}
        rules, options = _authentication(allow, deny, passwords, certificates, server_key)
        try:
            made = Device(
                kind,
                front,
                back,
                front_options={**linger, **_if_bound("FRONT", front, options)},
                back_options={**linger, **_if_bound("BACK", back, options)},
                capture=capture,
                capture_options=_if_bound("--capture", capture, options) if capture else None,
                io_threads=io_threads or 1,
                authentication=rules,
            )
        except ValueError as error:
            raise Failure(str(error)) from error
        name = name or (kind.name if isinstance(kind, DeviceType) else ":".join(each.name for each in kind)).lower()
    reports = Reports(made, name, as_json, stats)
    end = End(made, bound, reports)
    reports.ended = end.drain
    end.install()
    with _served(made, metrics, name, token) as server:
        if server is not None:
            _say(f"metrics {server.url}")
        end.run()
    return end.code
