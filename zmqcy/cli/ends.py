"""The two ends of a benchmark, each in its own process: plan, measurement, and a peer that disconnects."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import repeat
from multiprocessing.connection import Connection
from typing import Any

import zmqcy
from zmqcy.cli.formats import counted
from zmqcy.constants import Event

VERSION = 1  # of the first message of the connecting end
STEP = 200  # milliseconds between two checks of the other end during a wait
GREETING = "zmqcy bench"
KINDS = {"throughput": ("PULL", "PUSH"), "latency": ("REP", "REQ")}  # the type that binds, and the type that connects


class Report(Enum):
    """The kind of a report: its first item. Comments name the other items."""

    READY = 1  # its endpoint
    PLAN = 2  # the machine of the other end, the runs, the number of rounds
    RUN = 3  # its number, and its results or None
    DONE = 4
    ERROR = 5  # its text


class Broken(Exception):
    """The reason why a benchmark failed."""


@dataclass(frozen=True)
class Run:
    """Messages, or round trips, of one size."""

    size: int
    count: int
    batch: int = 1

    @property
    def warm(self) -> int:
        """int: the number of warm-up messages."""
        return max(1, self.count // 10)

    @property
    def held(self) -> int:
        """int: the high-water mark: 1,000 messages, or 64 MB of large messages."""
        return max(4, min(1000, (64 << 20) // max(1, self.size)))


@dataclass(frozen=True)
class Plan:
    """The settings of the connecting end, which it sends in its first message."""

    work: str
    runs: list[Run]
    rounds: int
    machine: dict[str, Any]

    def encoded(self) -> bytes:
        return json.dumps({GREETING: VERSION, **asdict(self)}).encode()

    @property
    def held(self) -> int:
        """int: the high-water mark for all runs. libzmq does not lower it for an existing connection."""
        return min(run.held for run in self.runs)


def said(value: object) -> str:
    """Return text of the other end as part of a line."""
    return " ".join(str(value)[:200].split())


def read_plan(message: bytes, work: str) -> Plan:
    """Return the plan of a first message, or report its fault."""
    try:
        found = json.loads(message)
        version = found.pop(GREETING)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise Broken(
            f"the peer is not `zmqcy bench {work} --remote`: it sent {counted(len(message), 'byte')}"
        ) from None
    if version != VERSION:
        text = f"the other end has version {said(version)} of the benchmark, this end {VERSION}: install the same zmqcy"
        raise Broken(text)
    if found.get("work") != work:
        raise Broken(f"the other end runs `bench {said(found.get('work'))}`, this end `bench {work}`")
    try:
        runs = [Run(int(run["size"]), int(run["count"]), int(run["batch"])) for run in found["runs"]]
        plan = Plan(work, runs, int(found["rounds"]), dict(found["machine"]))
        if not runs or plan.rounds < 1 or any(run.size < 0 or run.count < 1 or run.batch < 1 for run in runs):
            raise ValueError
    except (ValueError, KeyError, TypeError, OverflowError):
        raise Broken("the other end sent an invalid plan: install the same zmqcy") from None
    return plan


class Link:
    """A socket, and the monitor of its connection."""

    def __init__(self, context: zmqcy.Context, kind: str, timeout: float, url: str, held: int):
        self.timeout = timeout
        self.shared = url.startswith("inproc:")  # both ends are in one context
        # The same backlog as in benchmarks/.
        options: dict[str, Any] = {"sndhwm": held, "rcvhwm": held, "rcvtimeo": STEP, "sndtimeo": STEP, "backlog": 4096}
        self.socket = context.socket(getattr(zmqcy, kind), **options)
        self.monitor = self.socket.watch(Event.HANDSHAKE_SUCCEEDED | Event.DISCONNECTED)
        self.peers = 0

    def check(self, binds: bool = False) -> None:
        """Fail if the other end has disconnected, or is not a benchmark."""
        while (event := self.monitor.try_recv()) is not None:
            if event.event == Event.HANDSHAKE_SUCCEEDED:
                self.peers += 1
            elif event.event == Event.DISCONNECTED and self.peers:
                raise Broken(f"the other end disconnected ({event.endpoint}); its output may show the cause")
            elif event.event == Event.DISCONNECTED and not binds:
                # libzmq 4.3.4 disconnects a peer of the wrong type without an event.
                raise Broken(f"the peer at {event.endpoint} is not this benchmark: it closed the connection")
        if self.peers > 1:
            raise Broken("a second peer has connected: the results would include both")

    def wait(self, events: int, binds: bool = False) -> None:
        """Wait until a message can be received or sent; with `binds`, also until a peer connects."""
        deadline = time.monotonic() + self.timeout / 1000
        while not self.socket.poll(STEP, events):
            try:
                self.check(binds)
            except Broken:
                if self.socket.poll(0, events):  # its last messages have arrived since
                    return
                raise
            if binds and not self.peers:
                deadline = time.monotonic() + self.timeout / 1000
            elif time.monotonic() > deadline:
                raise Broken(f"the other end sent nothing for {self.timeout:g} ms")

    def in_batches(self, call: Callable[[int], int], number: int, batch: int, events: int) -> None:
        """Call with the size of a batch until `number` messages have moved."""
        while number:
            try:
                number -= call(min(batch, number))
            except zmqcy.Again:
                self.wait(events)


def receive(link: Link, run: Run) -> dict[str, float]:
    """Receive the messages of a run; the clock starts after the warm-up."""
    socket = link.socket
    if run.batch > 1:
        last: list[bytes] = []

        def some(number: int) -> int:
            nonlocal last
            last = socket.recv_many(number)
            return len(last)

        def move(number: int) -> None:
            link.in_batches(some, number, run.batch, zmqcy.POLLIN)

    else:

        def move(number: int) -> None:
            recv = socket.recv
            calls = repeat(None, number)
            while True:
                try:
                    for _ in calls:
                        recv()
                    return
                except zmqcy.Again:  # this call moved no message, but is counted
                    link.wait(zmqcy.POLLIN)
                    recv()

    move(run.warm - 1)
    first = take(link)
    begin = time.perf_counter()
    move(run.count - 1)
    end = take(link)
    elapsed = time.perf_counter() - begin
    if not len(first) == len(end) == run.size:
        raise Broken(f"received {len(first)} and {counted(len(end), 'byte')} instead of {run.size}")
    return {"rate": run.count / elapsed, "seconds": elapsed}


def take(link: Link) -> bytes:
    """Receive one message."""
    while True:
        try:
            return bytes(link.socket.recv())
        except zmqcy.Again:
            link.wait(zmqcy.POLLIN)


def send(link: Link, run: Run) -> None:
    """Send the messages of a run."""
    socket, data = link.socket, b"x" * run.size
    number = run.warm + run.count
    if run.batch == 1:
        send = socket.send
        calls = repeat(None, number)
        while True:
            try:
                for _ in calls:
                    send(data)
                return
            except zmqcy.Again:
                link.wait(zmqcy.POLLOUT)
                send(data)
    batch = [data] * run.batch

    def some(number: int) -> int:
        return int(socket.send_many(batch if number == run.batch else batch[:number]))

    link.in_batches(some, number, run.batch, zmqcy.POLLOUT)


def ask(link: Link, run: Run) -> dict[str, float]:
    """Make the round trips of a run, and time each."""
    send, recv, clock = link.socket.send, link.socket.recv, time.perf_counter
    data = b"x" * run.size
    for _ in range(run.warm):
        send(data)
        if len(take(link)) != run.size:
            raise Broken("a reply does not have the size of its request")
    times = []
    begin = last = clock()
    for _ in repeat(None, run.count):
        send(data)
        try:
            recv()
        except zmqcy.Again:
            link.wait(zmqcy.POLLIN)
            recv()
        now = clock()
        times.append(now - last)
        last = now
    times.sort()
    figures = {f"p{each}_us": times[-(-run.count * each // 100) - 1] * 1e6 for each in (50, 99)}
    mean = (last - begin) / run.count * 1e6
    return {"min_us": times[0] * 1e6, **figures, "max_us": times[-1] * 1e6, "mean_us": mean, "seconds": last - begin}


def answer(link: Link, run: Run) -> None:
    """Send back each request of a run."""
    send, recv = link.socket.send, link.socket.recv
    calls = repeat(None, run.warm + run.count)
    while True:
        try:
            for _ in calls:
                send(recv())
            return
        except zmqcy.Again:
            link.wait(zmqcy.POLLIN)
            send(recv())


def local(
    context: zmqcy.Context, work: str, url: str, known: Plan | None, timeout: float, say: Callable[..., object]
) -> None:
    """Run the end that binds: PULL measures, REP replies."""
    link = Link(context, KINDS[work][0], timeout, url, known.held if known else 1000)
    say(Report.READY, link.socket.bind(url).endpoint)
    link.wait(zmqcy.POLLIN, binds=True)
    message = take(link)
    try:
        plan = read_plan(message, work)
    except Broken as error:
        if work == "latency":
            link.socket.send(json.dumps({GREETING: VERSION, "error": str(error)}).encode())
            close(link, timeout)
        raise
    if work == "latency":
        link.socket.send(json.dumps({GREETING: VERSION}).encode())
    if known is None:
        link.socket.rcvhwm = plan.held  # libzmq lowers a receive HWM later too
    say(Report.PLAN, plan.machine, plan.runs, plan.rounds)
    each = receive if work == "throughput" else answer
    for _ in range(plan.rounds):
        for number, run in enumerate(plan.runs):
            say(Report.RUN, number, each(link, run))
    close(link, timeout)


def remote(context: zmqcy.Context, url: str, plan: Plan, timeout: float, say: Callable[..., object]) -> None:
    """Run the end that connects: PUSH sends, REQ measures."""
    link = Link(context, KINDS[plan.work][1], timeout, url, plan.held)
    link.socket.connect(url)
    if not link.shared:
        await_peer(link, url)
    link.socket.send(plan.encoded())
    if plan.work == "latency":
        greeted(take(link), url)
    each = send if plan.work == "throughput" else ask
    for _ in range(plan.rounds):
        for number, run in enumerate(plan.runs):
            say(Report.RUN, number, each(link, run))
    # The other end may disconnect now: it may have received all messages.
    close(link, timeout)


def await_peer(link: Link, url: str) -> None:
    """Wait for the handshake: before it, a socket queues messages without a peer."""
    deadline = time.monotonic() + link.timeout / 1000
    while not link.peers:
        if time.monotonic() > deadline:
            raise Broken(f"no peer answers at {url} within {link.timeout:g} ms")
        link.monitor.poll(STEP)
        link.check()


def greeted(reply: bytes, url: str) -> None:
    """Check that the first reply is from a benchmark."""
    try:
        found = json.loads(reply)
        version, error = found[GREETING], found.get("error")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found, version, error = {}, None, None
    if error:
        raise Broken(f"{url}: {said(error)}")
    # An echo returns our own plan.
    if version != VERSION or "runs" in found:
        raise Broken(f"the peer at {url} is not `zmqcy bench latency --local`")


def close(link: Link, timeout: float) -> None:
    """Deliver queued messages, or fail."""
    context = link.socket.context
    link.monitor.close()
    link.socket.close(int(timeout))
    if context is None or link.shared:  # over inproc, the other end already has the messages
        return
    try:
        context.term(timeout + STEP)
    except zmqcy.TimedOut:
        raise Broken(f"the other end did not receive the last messages within {timeout:g} ms") from None


def main(pipe: Connection) -> None:
    """Run the ends that the parent requests over a pipe, in this process, until the parent closes it.

    Parameters
    ----------
    pipe : Connection
        Brings a dict of `end` (``local``, ``remote`` or ``both``), `work`, `url`, `plan`, `timeout`, `spin` and
        `io_threads`; takes tuples that begin with a `Report`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it, and ends this process
    zmqcy.exit_linger = 0
    try:
        given = pipe.recv()
    except EOFError:
        return
    threading.Thread(target=end_with, args=(pipe,), daemon=True).start()
    lock = threading.Lock()

    def say(*what: object) -> None:
        with lock:
            pipe.send(what)

    def guarded(call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except (Broken, OSError) as error:
            say(Report.ERROR, str(error))
            os._exit(1)

    context = zmqcy.Context(given["io_threads"])
    if given["spin"] is not None:
        context.spin = given["spin"]
    plan, timeout, url = given["plan"], given["timeout"], given["url"]
    if given["end"] == "local":
        guarded(local, context, given["work"], url, plan, timeout, say)
    elif given["end"] == "remote":
        guarded(remote, context, url, plan, timeout, say)
    else:
        bound = threading.Event()
        measures = plan.work == "throughput"

        def of(reports: bool) -> Callable[..., None]:
            def each(*what: object) -> None:
                if what[0] is Report.READY:
                    bound.set()
                if reports and what[0] is Report.RUN:
                    say(*what)

            return each

        first = threading.Thread(target=guarded, args=(local, context, plan.work, url, plan, timeout, of(measures)))
        first.start()
        if bound.wait(timeout / 1000):
            guarded(remote, context, url, plan, timeout, of(not measures))
        first.join()
    say(Report.DONE)


def end_with(pipe: Connection) -> None:
    """End this process when the parent has closed its side, or has died."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os._exit(0)
