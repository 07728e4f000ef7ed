"""One run of a device in this process: its sockets, and the loop between them, steered by a PAIR over inproc."""

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

LINGER = 10_000  # ms; with libzmq's own default, for ever, a peer that is gone would keep a device from its end


class State(Enum):
    """What a run does. Users see the value."""

    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    ENDED = "ended"


Counts = tuple[State, datetime, tuple[tuple[int, ...], tuple[int, ...], int]]  # state, start, numbers
Seen = tuple[list[DeviceEvent], dict[str, list[str]]]  # events, and per side the addresses of its peers

_serial = itertools.count()


class Settings(NamedTuple):
    """What a run is made from, wherever it is."""

    sides: list[Side]
    io_threads: int
    watch: bool
    filter: Any
    authentication: dict[str, Any] | None


def threads_are_greenlets() -> bool:
    """Tell whether gevent's monkey patch makes a `threading.Thread` a greenlet."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def _start_thread(run: Callable[[], None], name: str) -> None:
    """Run a function in a thread of the system: a greenlet that waits in libzmq would block all others."""
    if not threads_are_greenlets():
        threading.Thread(target=run, name=name, daemon=True).start()
        return
    from gevent import get_hub

    get_hub()  # its first use imports, which two threads must not do at once

    def run_and_leave() -> None:
        try:
            run()
        finally:  # what gevent's locks and events have made for this thread
            get_hub().destroy(destroy_loop=True)

    sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")(run_and_leave, ())


def _load(path: str) -> Any:
    """Return the filter that stands at "module:name"."""
    try:
        filter = pkgutil.resolve_name(path)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"device: filter={path!r}: {error}") from error
    if not isinstance(filter, Hook) and not callable(filter):
        raise TypeError(f"device: filter={path!r} must be a function or a Hook, not {filter!r:.80}")
    return filter


class Turns:
    """A lock that knows its holder: a signal handler must not wait for what it interrupts."""

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
    """What a `Loop` and a `process.Remote` have in common."""

    def __init__(self) -> None:
        self.state = State.RUNNING
        self.endpoints: dict[str, tuple[str, ...]] = {}
        self.error: Exception | None = None  # that ended it
        self.thread: int | None = None  # of this process, and in the loop
        self.ended = threading.Event()  # and all is closed
        self.asking = Turns()  # for `state`, and what leads to the loop


class Loop(Run):
    """A run in whichever thread calls `forward`."""

    def __init__(self, settings: Settings, context: Context | None = None):
        super().__init__()
        self.filter = _load(settings.filter) if isinstance(settings.filter, str) else settings.filter
        self.own_context = context is None
        self.context = Context(settings.io_threads, linger=LINGER) if context is None else context
        self.since = datetime.now(timezone.utc)
        self.numbers = Numbers()
        self.over = False  # the loop has returned, or never will begin
        self.owed = 0  # answers that were asked for, and not yet received; `asking` guards it too
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
        """Forward in a new thread; return when it does."""

        def run() -> None:
            with suppress(Exception):  # `error` has it
                self.forward()

        try:
            _start_thread(run, "zmqcy device")
        except RuntimeError:  # no thread to be had
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
        """Run the loop to its end; raise what went wrong."""
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
            with suppress(ZMQError):  # where the context has ended, that woke it
                self.inner.try_send(b"")  # for a thread that waits for an answer in `ask`
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
        finally:  # where Ctrl-C ended the wait, the rest happens in the background
            self.thread = None
            self.ended.set()

    def ask(self, word: bytes, state: State = State.RUNNING) -> bool:
        """Give a command, and wait until it was obeyed; say False where the loop is over, or about to be."""
        with self.asking:
            if self.over or self.state is State.DRAINING:
                return False
            try:
                self.control.send(word)
                # The loop obeys in turn, and this command it answers. An earlier answer may still be on its way, if
                # a signal broke the wait for it off.
                self.control.send(b"STATISTICS")
                self.owed += 1
                self.state = state
                while self.owed:
                    if len(self.control.recv_multipart()) != 8:
                        return False
                    self.owed -= 1
            except ContextTerminated:
                return False  # `forward` tells of it
            return True

    def end(self, drain: bool) -> None:
        """Have the loop end, and do not wait for that."""
        with self.asking:
            if not self.over:
                if drain:
                    self.state = State.DRAINING
                with suppress(ZMQError):  # the context may have ended, and with it the loop
                    self.control.send(b"DRAIN" if drain else b"TERMINATE")

    def read(self) -> Counts:
        return self.state, self.since, self.numbers.read()

    def seen(self) -> Seen | None:
        return None if self.record is None else self.record.read()
