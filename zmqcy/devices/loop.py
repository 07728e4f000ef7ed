"""One run of a device in this process: its sockets, and the loop between them, controlled by a PAIR over inproc."""

import itertools
import pkgutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from enum import Enum
from typing import Any, NamedTuple

from zmqcy._proxy import Hook, Numbers, counted_proxy
from zmqcy.constants import SocketType
from zmqcy.context import Context
from zmqcy.devices.record import DeviceEvent, Record
from zmqcy.devices.side import Side
from zmqcy.errors import ContextTerminated, ZMQError
from zmqcy.socket import Socket

LINGER = 10_000  # ms; libzmq has no limit by default: unsent messages to a lost peer would keep a device from its end


class State(Enum):
    """The state of a run. Users see the value."""

    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    ENDED = "ended"


Counts = tuple[State, datetime, tuple[tuple[int, ...], tuple[int, ...], int]]  # state, start, counters
Seen = tuple[list[DeviceEvent], dict[str, list[str]]]  # events, and per side the addresses of its peers

_serial = itertools.count()


class Settings(NamedTuple):
    """The arguments of a run, in this process or another one."""

    sides: list[Side]
    io_threads: int
    watch: bool
    filter: Any
    authentication: dict[str, Any] | None


def threads_are_greenlets() -> bool:
    """Return whether gevent's monkey patch replaces a `threading.Thread` by a greenlet."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def _start_thread(run: Callable[[], None], name: str) -> None:
    """Run a function in a system thread: a greenlet that waits in libzmq would block all other greenlets."""
    if not threads_are_greenlets():
        threading.Thread(target=run, name=name, daemon=True).start()
        return
    from gevent import get_hub

    get_hub()  # the first call imports modules, which two threads must not do at once

    def run_and_leave() -> None:
        try:
            run()
        finally:  # the hub that gevent's locks and events have created for this thread
            get_hub().destroy(destroy_loop=True)

    sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")(run_and_leave, ())


def _load(path: str) -> Any:
    """Import the filter "module:name"."""
    try:
        filter = pkgutil.resolve_name(path)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"device: filter={path!r}: {error}") from error
    if not isinstance(filter, Hook) and not callable(filter):
        raise TypeError(f"device: filter={path!r} must be a function or a Hook, not {filter!r:.80}")
    return filter


class Turns:
    """A lock that knows its holder: a signal handler must not wait for the call that it interrupts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holder: int | None = None

    def __enter__(self) -> None:
        self.lock.acquire()
        self.holder = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self.holder = None
        self.lock.release()


class Run:
    """The common state of a `Loop` and a `process.Remote`."""

    def __init__(self) -> None:
        self.state = State.RUNNING
        self.endpoints: dict[str, tuple[str, ...]] = {}
        self.error: Exception | None = None  # the error that ended the run
        self.thread: int | None = None  # the thread of this process that runs the loop
        self.ended = threading.Event()  # set once all sockets are closed
        self.asking = Turns()  # guards `state`, and the connection to the loop


class Loop(Run):
    """A run in the thread that calls `forward`."""

    def __init__(self, settings: Settings, context: Context | None = None):
        super().__init__()
        self.filter = _load(settings.filter) if isinstance(settings.filter, str) else settings.filter
        self.own_context = context is None
        self.context = Context(settings.io_threads, linger=LINGER) if context is None else context
        self.since = datetime.now(timezone.utc)
        self.numbers = Numbers()
        self.over = False  # the loop has returned, or will never start
        self.owed = 0  # replies that are still to be received; guarded by `asking`
        self.sockets: list[Socket] = []
        self.record = Record() if settings.watch else None
        self.authenticator: Any = None
        try:
            if settings.authentication is not None:
                from zmqcy.auth import Authenticator

                authenticator = Authenticator(self.context, **settings.authentication)
                authenticator.start()
                self.authenticator = authenticator
            for side in settings.sides:
                socket, self.endpoints[side.name] = side.open(self.context, self.record)
                self.sockets.append(socket)
            name = f"inproc://zmqcy.devices-{next(_serial)}"
            self.inner, self.control = (
                self.context.socket(SocketType.PAIR, linger=0, rcvtimeo=-1, sndtimeo=-1) for _ in range(2)
            )
            self.sockets += [self.inner, self.control]
            self.inner.bind(name)
            self.control.connect(name)
            if self.record is not None:
                self.record.start()
        except BaseException:
            self._close()
            raise

    def start(self) -> None:
        """Run `forward` in a new thread, and return once it is running."""

        def run() -> None:
            with suppress(Exception):  # it is in `error`
                self.forward()

        try:
            _start_thread(run, "zmqcy device")
        except RuntimeError:  # no thread could be started
            self._end()
            raise
        try:
            started = self.ask(b"RESUME")
        except ZMQError:
            self.end(False)
            self.ended.wait()
            raise
        if not started:
            self.ended.wait()
            if self.error is not None:
                raise self.error

    def forward(self, ready: Callable[[], object] | None = None) -> None:
        """Run the loop until it ends, and raise the error that ended it."""
        self.thread = threading.get_ident()
        front, back, *capture = self.sockets[:-2]
        try:
            if ready is not None:
                ready()
            counted_proxy(front, back, capture[0] if capture else None, self.inner, self.numbers, self.filter)
        except Exception as error:
            self.error = error
            raise
        finally:
            self._end()

    def _end(self) -> None:
        self.over = True
        try:
            with suppress(ZMQError):  # a terminated context has woken that thread already
                self.inner.try_send(b"")  # wakes a thread that waits for a reply in `ask`
            with self.asking:
                self.state = State.ENDED
                self.inner.close()
                self.control.close()
        finally:
            self._close()

    def _close(self) -> None:
        try:
            for socket in self.sockets:
                socket.close()
            if self.record is not None:
                self.record.finish()
            if self.authenticator is not None:
                self.authenticator.stop()
            if self.own_context:
                self.context.term()
        finally:  # after Ctrl-C the rest happens in the background
            self.thread = None
            self.ended.set()

    def ask(self, word: bytes, state: State = State.RUNNING) -> bool:
        """Send a command, and wait until the loop has carried it out. Return False if the loop has ended or ends."""
        with self.asking:
            if self.over or self.state is State.DRAINING:
                return False
            try:
                self.control.send(word)
                # The loop carries out commands in order, and replies to this one. The reply to an earlier command may
                # still arrive, if a signal interrupted the wait for it.
                self.control.send(b"STATISTICS")
                self.owed += 1
                self.state = state
                while self.owed:
                    if len(self.control.recv_multipart()) != 8:
                        return False
                    self.owed -= 1
            except ContextTerminated:
                return False  # `forward` raises the error
            return True

    def end(self, drain: bool) -> None:
        """Tell the loop to end, without waiting."""
        with self.asking:
            if not self.over:
                if drain:
                    self.state = State.DRAINING
                with suppress(ZMQError):  # the context may have been terminated, which ends the loop
                    self.control.send(b"DRAIN" if drain else b"TERMINATE")

    def read(self) -> Counts:
        return self.state, self.since, self.numbers.read()

    def seen(self) -> Seen | None:
        return None if self.record is None else self.record.read()
