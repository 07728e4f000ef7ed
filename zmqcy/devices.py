"""Devices that run like a service: started, paused, stopped and watched from any thread.

The loop is that of `_proxy`; it is steered by a PAIR of sockets over inproc. What is asked of a device goes to its
`_Loop`, which has the sockets, or to a `_Remote`, which passes it through a pipe to the `_Loop` of another process.
"""

import itertools
import os
import pkgutil
import queue
import select
import signal
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import datetime, timezone
from errno import EAGAIN, ECHILD, ENOTSUP
from typing import NamedTuple

from zmqcy._library import to_seconds
from zmqcy._proxy import Hook, Numbers, counted_proxy, unfit
from zmqcy.constants import DeviceType, Event, SocketType
from zmqcy.context import AsyncContext, Context
from zmqcy.errors import EFSM, ContextTerminated, ForkedError, NotSupported, StateError, TimedOut, ZMQError
from zmqcy.monitor import SocketEvent
from zmqcy.options import SOCKET_OPTIONS

KINDS = {
    DeviceType.STREAMER: (SocketType.PULL, SocketType.PUSH),
    DeviceType.FORWARDER: (SocketType.SUB, SocketType.PUB),
    DeviceType.QUEUE: (SocketType.ROUTER, SocketType.DEALER),
}
CAPTURES = (SocketType.PUB, SocketType.PUSH, SocketType.DEALER, SocketType.PAIR)
EVENTS = 100  # that a device remembers
LINGER = 10_000  # ms; with libzmq's own default, for ever, a peer that is gone would keep a device from its end

# by name, with their kinds; a new socket has nothing to unsubscribe
_OPTIONS = {option.name: option.kind for option in SOCKET_OPTIONS if "w" in option.access}
_OPTIONS |= {"identity": "bytes", "spin": "duration"}
del _OPTIONS["unsubscribe"]
_serial = itertools.count()


class Flow(NamedTuple):
    """What went in one direction. A message that is in but not out is in the device's hand: one at most.

    With a `filter` some hundreds may be; and what it dropped is in and never out, what it inserted only out.
    A message counts as out a moment after libzmq has taken it, and its receiver may be quicker.
    """

    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int
    full: int
    """How many times a message had to wait, because the other side, or the capture, had no room."""


class Statistics(NamedTuple):
    """The numbers of a device since it was started."""

    state: str
    """``running``, ``paused``, ``draining`` or ``ended``."""
    since: datetime
    """When it was started (UTC)."""
    front_to_back: Flow
    back_to_front: Flow
    waits: int
    """How many times the loop had nothing to do and waited."""


class DeviceEvent(NamedTuple):
    """Something that happened to a connection of a device."""

    time: datetime
    """When it was read from libzmq, a moment after it happened (UTC)."""
    side: str
    """``front``, ``back`` or ``capture``."""
    event: SocketEvent


class _Side(NamedTuple):
    """A socket that is to be made."""

    name: str
    type: SocketType
    endpoints: tuple
    options: dict

    def open(self, context, record):
        """Return the socket, and its endpoints as they came out."""
        socket = None
        topics = self.options.get("subscribe", b"" if self.type == SocketType.SUB else ())
        try:
            socket = context.socket(
                self.type, **{name: value for name, value in self.options.items() if name != "subscribe"}
            )
            for topic in topics if isinstance(topics, (list, tuple)) else [topics]:
                socket.subscribe(topic)
            if record is not None:
                record.watch(self.name, socket)
            attached = []
            for endpoint in self.endpoints:
                attach = socket.connect if endpoint[0] == ">" else socket.bind
                attached.append(attach(endpoint[1:] if endpoint[0] in "@>" else endpoint).endpoint)
            return socket, tuple(attached)
        except BaseException as error:
            if socket is not None:
                socket.close(0)
            if isinstance(error, ZMQError):
                call = f"{self.name}: {error.call}"
                raise type(error)(
                    error.errno, error.strerror, call=call, detail=error.detail, socket_type=self.type.name
                ) from None
            if type(error) in (TypeError, ValueError, OverflowError):
                raise type(error)(f"{self.name}: {error}") from None
            raise


def _threads_are_greenlets():
    """Tell whether gevent's monkey patch makes a `threading.Thread` a greenlet."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def _start_thread(run, name):
    """Run a function in a thread of the system: a greenlet that waits in libzmq would block all others."""
    if not _threads_are_greenlets():
        threading.Thread(target=run, name=name, daemon=True).start()
        return
    from gevent import get_hub

    get_hub()  # its first use imports, which two threads must not do at once

    def run_and_leave():
        try:
            run()
        finally:  # what gevent's locks and events have made for this thread
            get_hub().destroy(destroy_loop=True)

    sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")(run_and_leave, ())


class _Record:
    """What happens to the connections of a device: the last events, and which connections there are.

    A thread reads it from the monitors as it comes, since libzmq keeps what nobody reads without end.
    """

    def __init__(self):
        self.monitors = {}  # by the side
        self.connections = {}  # by the side: their descriptors
        self.events = deque(maxlen=EVENTS)
        self.lock = threading.RLock()  # a signal handler may ask in a thread that is asking
        self.thread = threading.Thread(target=self._run, name="zmqcy device events", daemon=True)

    def watch(self, side, socket):
        self.monitors[side] = socket.watch()
        self.connections[side] = set()

    def start(self):
        self.thread.start()

    def _run(self):
        waits = select.poll()
        monitors = {}
        for side, monitor in self.monitors.items():
            monitors[monitor.fileno()] = side, monitor
            waits.register(monitor, select.POLLIN)
        while monitors:
            for fd, _ in waits.poll():
                side, monitor = monitors[fd]
                try:
                    for event in itertools.islice(iter(monitor.try_recv, None), 1000):  # there may be no end to them
                        self._add(side, event)
                except ZMQError:  # the socket was closed, or its context has ended
                    waits.unregister(fd)
                    del monitors[fd]
                    monitor.close()
                    with self.lock:  # of the connections that end with a socket libzmq does not tell
                        self.connections[side].clear()

    def _add(self, side, event):
        with self.lock:
            self.events.append(DeviceEvent(datetime.now(timezone.utc), side, event))
            if event.event & (Event.ACCEPTED | Event.CONNECTED):
                self.connections[side].add(event.value)
            elif event.event & Event.DISCONNECTED:
                self.connections[side].discard(event.value)

    def finish(self):
        """Have all that was there read; the sockets are closed."""
        if self.thread.ident is None:
            for monitor in self.monitors.values():
                monitor.close()
        else:
            self.thread.join()

    def read(self):
        with self.lock:
            return list(self.events), {side: len(fds) for side, fds in self.connections.items()}


class _Turns:
    """A lock that knows its holder: a signal handler must not wait for what it interrupts."""

    def __init__(self):
        self.lock = threading.Lock()
        self.holder = None

    def __enter__(self):
        self.lock.acquire()
        self.holder = threading.get_ident()

    def __exit__(self, *_):
        self.holder = None
        self.lock.release()


class _Loop:
    """One run of a device: its sockets, and the loop between them, in whichever thread calls `forward`."""

    def __init__(self, sides, context, io_threads, watch, filter, authentication=None):
        self.filter = _load(filter) if isinstance(filter, str) else filter
        self.own_context = context is None
        self.context = Context(io_threads, linger=LINGER) if context is None else context
        self.since = datetime.now(timezone.utc)
        self.numbers = Numbers()
        self.state = "running"
        self.error = None
        self.thread = None
        self.over = False  # the loop has returned, or never will begin
        self.ended = threading.Event()  # and all is closed
        self.asking = _Turns()  # for the control socket, `owed` and `state`
        self.owed = 0  # answers that were asked for, and not yet received
        self.sockets = []
        self.endpoints = {}
        self.record = _Record() if watch else None
        self.authenticator = None
        try:
            if authentication is not None:
                from zmqcy.auth import Authenticator

                authenticator = Authenticator(self.context, **authentication)
                authenticator.start()
                self.authenticator = authenticator
            for side in sides:
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

    def start(self):
        """Forward in a new thread; return when it does."""

        def run():
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

    def forward(self, ready=None):
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

    def _end(self):
        self.over = True
        try:
            with suppress(ZMQError):  # where the context has ended, that woke it
                self.inner.try_send(b"")  # for a thread that waits for an answer in `ask`
            with self.asking:
                self.state = "ended"
                self.inner.close()
                self.control.close()
        finally:
            self._close()

    def _close(self):
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

    def ask(self, word, state="running"):
        """Give a command, and wait until it was obeyed; say False where the loop is over, or about to be."""
        with self.asking:
            if self.over or self.state == "draining":
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

    def end(self, drain):
        """Have the loop end, and do not wait for that."""
        with self.asking:
            if not self.over:
                if drain:
                    self.state = "draining"
                with suppress(ZMQError):  # the context may have ended, and with it the loop
                    self.control.send(b"DRAIN" if drain else b"TERMINATE")

    def read(self):
        return self.state, self.since, self.numbers.read()

    def seen(self):
        return None if self.record is None else self.record.read()


class _Remote:
    """One run of a device in a process of its own, where a `_Loop` does what is asked here."""

    thread = None  # none of this process is in the loop

    def __init__(self, sides, io_threads, watch, filter, authentication=None):
        import multiprocessing

        spawn = multiprocessing.get_context("spawn")  # contexts and threads do not outlive a fork
        self.state = "running"
        self.error = None
        self.last = self.last_seen = None
        self.ended = threading.Event()
        self.asking = _Turns()  # for the pipe, `count` and `state`
        self.count = 0
        self.answers = queue.SimpleQueue()  # each with its number; None at the end
        self.pipe, theirs = spawn.Pipe()
        # A daemon, so that the end of the program ends it: by SIGTERM.
        self.process = spawn.Process(
            target=_serve,
            args=(theirs, os.getpid(), sides, io_threads, watch, filter, authentication),
            name="zmqcy device",
            daemon=True,
        )
        try:
            self.process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()
        threading.Thread(target=self._watch, name="zmqcy device", daemon=True).start()
        try:
            first = self.answers.get()
        except BaseException:
            self.process.terminate()
            raise
        if first is None:
            self.ended.wait()
            raise self.error
        _, self.endpoints, self.last, self.last_seen = first

    def start(self):
        """Do nothing: it forwards since it was made."""

    def _watch(self):
        """Receive what the process says, to its end."""
        told = False
        try:
            while not told:
                what, *values = self.pipe.recv()
                told = what == "ended"
                if not told:
                    self.answers.put(values)
        except Exception:  # it has gone, or what its filter raised is of a class that cannot be made here
            pass
        self.process.join()
        if told:
            self.error = values[0]
            self.last = values[1] or self.last
            self.last_seen = values[2] or self.last_seen
        else:
            self.error = ChildProcessError(f"the process of the device {_end_of(self.process.exitcode)}")
        self.answers.put(None)
        with self.asking:
            self.state = "ended"
            self.pipe.close()
        self.ended.set()

    def _request(self, call, *arguments):
        """Have the `_Loop` do something, and return what came of it, or None where it has ended."""
        self.count += 1
        try:
            self.pipe.send((self.count, call, arguments))
        except OSError:
            return None  # `_watch` will see it too
        # Not the answer to a request that a signal broke off.
        while (answer := self.answers.get()) is not None:
            if answer[0] == self.count:
                return answer[1]
        self.answers.put(None)
        return None

    def ask(self, word, state):
        with self.asking:
            done = bool(self._request("ask", word, state))
            if done:
                self.state = state
            return done

    def end(self, drain):
        with self.asking:
            if drain and self.state != "ended":
                self.state = "draining"
            self._request("end", drain)

    def read(self):
        with self.asking:
            answer = self._request("read")
            if answer is not None:
                self.last = answer
                self.state = answer[0]
        return (self.state, *self.last[1:])

    def seen(self):
        with self.asking:
            self.last_seen = self._request("seen") or self.last_seen
        return self.last_seen


def _serve(pipe, parent, sides, io_threads, watch, filter, authentication):
    """Be the process of a device: forward in this thread, and obey the pipe in another one."""

    def leave(number, _):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; the parent decides what it means
    signal.signal(signal.SIGTERM, leave)
    sending = threading.Lock()
    loop = error = None
    try:
        loop = _Loop(sides, None, io_threads, watch, filter, authentication)
        threading.Thread(target=_obey, args=(loop, pipe, sending, parent), daemon=True).start()
        loop.forward()
    except Exception as caught:
        error = caught
    with sending, suppress(OSError):  # the parent may be gone
        pipe.send(("ended", _portable(error), loop and loop.read(), loop and loop.seen()))


def _portable(error):
    """Return an error that the parent can make again: ours or Python's own; of a filter's own, the name and text."""
    plain = all(isinstance(each, (str, bytes, int, float, type(None))) for each in getattr(error, "args", ()))
    if error is None or (plain and type(error).__module__ in ("builtins", "zmqcy.errors")):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _load(path):
    """Return the filter that stands at "module:name"."""
    try:
        filter = pkgutil.resolve_name(path)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"device: filter={path!r}: {error}") from error
    if not isinstance(filter, Hook) and not callable(filter):
        raise TypeError(f"device: filter={path!r} must be a function or a Hook, not {filter!r:.80}")
    return filter


def _obey(loop, pipe, sending, parent):
    """Do what the parent asks for, until it is gone; then end the loop."""

    def tell(*values):
        with sending:
            pipe.send(("answer", *values))

    try:
        if loop.ask(b"RESUME"):
            tell(0, loop.endpoints, loop.read(), loop.seen())
        while True:
            while not pipe.poll(1):
                if os.getppid() != parent:  # where a process that it forked holds the pipe open
                    raise EOFError
            number, call, arguments = pipe.recv()
            tell(number, getattr(loop, call)(*arguments))
    except (EOFError, OSError):
        loop.end(False)


def _end_of(code):
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


class Device:
    """A device that forwards in a thread or a process of its own, and is steered from any thread.

    `front` and `back` are bound or connected; messages go between them in both directions where their types have them.
    Nothing is taken from a side while the other has no room. ``with`` starts it, and at the end stops it without
    draining and raises what went wrong. Once it has ended it may be started again, with new sockets.

    Parameters
    ----------
    kind : DeviceType or tuple of two SocketType
        `STREAMER` (PULL and PUSH), `FORWARDER` (SUB and PUB), `QUEUE` (ROUTER and DEALER), or the types of front and
        back.
    front, back : str or sequence of str
        The endpoints of each side. They are bound, as with ``@`` in front of them; ``>`` in front connects.
    front_options, back_options : dict, optional
        Options of the sockets, as attributes. ``subscribe`` is a topic or a list of them; a SUB socket without it takes
        all. `linger` is 10,000 ms by default, in a context of the device's own.
    capture : str or sequence of str, optional
        Endpoints of a socket that gets a copy of every message; it holds the rest up where it is full.
    capture_type : SocketType, default PUB
        PUB, PUSH, DEALER or PAIR.
    capture_options : dict, optional
        As `front_options`.
    run_in : {"thread", "process"}, default "thread"
        Where `start` has it forward. A process is made anew (multiprocessing's ``spawn``: a program's main module needs
        its ``if __name__ == "__main__"``), ignores Ctrl-C, ends when its parent does, and by SIGTERM in good order.
    io_threads : int, default 1
        Of the device's own context.
    context : Context, optional
        Make the sockets here, as endpoints of inproc need it; by default in a context of the device's own. Not for a
        process.
    filter : function, Hook or str, optional
        What looks at the messages before they are forwarded, as for `proxy`; or where it is to be imported from, as
        ``"module:function"``, which is what a process must have. What the function raises is raised by `join`; messages
        that it had in hand are lost then, for the sockets are closed.
    watch : bool, default False
        Keep a record of the connections, for `events` and `peers`. That takes a thread, which sleeps until something
        happens, and for each socket one more, which libzmq writes its events to.
    authentication : dict, optional
        The arguments of a `zmqcy.auth.Authenticator`, such as ``{"allow": "10.0.0.0/8", "plain": "passwords"}``. It
        runs in the context of the device while the device does, and decides about the peers of sockets that have a
        `zap_domain`, or are servers of PLAIN or CURVE, by their options. For a process it must be picklable.

    Attributes
    ----------
    watch : bool
        Whether it keeps that record; what is set here holds from the next `start` or `run` on.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, or names no device, socket type, option or endpoint; or no message can go
        between sockets of the two types.

    Examples
    --------
    >>> with Device(QUEUE, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*") as device:
    ...     device.statistics().state
    'running'
    """

    def __init__(
        self,
        kind,
        front,
        back,
        *,
        front_options=None,
        back_options=None,
        capture=None,
        capture_type=SocketType.PUB,
        capture_options=None,
        run_in="thread",
        io_threads=1,
        context=None,
        filter=None,
        watch=False,
        authentication=None,
    ):
        if hasattr(self, "_starting"):  # a second time, its thread or process would be lost
            raise RuntimeError("Device: already initialised")
        types = _to_types(kind)
        self._sides = [
            _to_side("front", types[0], front, front_options, "Device: front", "Device: front_options"),
            _to_side("back", types[1], back, back_options, "Device: back", "Device: back_options"),
        ]
        if capture is not None:
            if capture_type not in CAPTURES:
                names = ", ".join(each.name for each in CAPTURES)
                raise ValueError(f"Device: capture_type must be one of {names}, not {capture_type!r}")
            kind_of_capture = SocketType(capture_type)
            self._sides.append(
                _to_side(
                    "capture", kind_of_capture, capture, capture_options, "Device: capture", "Device: capture_options"
                )
            )
        elif capture_options is not None:
            raise ValueError("Device: capture_options without capture")
        if run_in not in ("thread", "process"):
            raise ValueError(f"Device: run_in must be 'thread' or 'process', not {run_in!r:.80}")
        if run_in == "process" and context is not None:
            raise ValueError("Device: a context cannot be used in another process")
        if not isinstance(io_threads, int):
            raise TypeError(f"Device: io_threads must be an int, not {io_threads!r:.80}")
        if context is not None and (not isinstance(context, Context) or isinstance(context, AsyncContext)):
            raise TypeError(f"Device: context must be a zmqcy.Context, not {context!r:.80}")
        if isinstance(filter, str):
            if not all(filter.partition(":")):
                raise ValueError(f"Device: filter must be as 'module:function' is, not {filter!r:.80}")
        elif filter is not None:
            if not isinstance(filter, Hook) and not callable(filter):
                raise TypeError(f"Device: filter must be a function, a Hook or a str, not {filter!r:.80}")
            if run_in == "process":
                raise ValueError(f"Device: a process needs its filter as 'module:function', not {filter!r:.80}")
        if authentication is not None:
            from zmqcy.auth import Authenticator

            if not isinstance(authentication, dict):
                raise TypeError(f"Device: authentication must be a dict, not {type(authentication).__name__}")
            try:
                Authenticator(self, **authentication)  # only looks at its arguments: each run has one of its own
            except (TypeError, ValueError) as error:
                raise type(error)(f"Device: authentication: {error}") from None
        self._authentication = authentication
        self._run_in = run_in
        self._filter = filter
        self._io_threads = io_threads
        self._context = context
        self.watch = bool(watch)
        self._starting = threading.Lock()
        self._loop = None
        self._process = None  # the id of the one that made the loop
        self._name = DeviceType(kind).name if isinstance(kind, int) else " to ".join(each.name for each in types)

    @classmethod
    def from_config(cls, path):
        """Make a device that a file of TOML describes.

        Its keys are ``kind`` (a name, or a list of the names of two types), ``run_in``, ``io_threads``, ``watch``,
        ``filter`` (``"module:function"``), and the tables ``front``, ``back`` and ``capture``, each with ``endpoints``
        (one or a list), and a table ``options``; ``capture`` may have a ``type``. A table ``authentication`` may have
        ``allow``, ``deny``, ``null``, ``plain`` and ``curve``. They mean what the parameters mean. A path in ``plain``
        or ``curve`` is relative to the folder of the file.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Returns
        -------
        Device

        Raises
        ------
        TypeError, ValueError
            The file is no TOML, or a key is missing, unknown, or has a value that is not right: the text names it.
        OSError
            The file cannot be read.
        ModuleNotFoundError
            Python 3.10 reads TOML with the package tomli, and that is not installed.
        """
        return cls(**_read_config(path))

    def __repr__(self):
        loop = self._loop
        return f"<Device {self._name}, {'not started' if loop is None else loop.state}>"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, exception, *_):
        self.stop()
        if exception is None:
            self.join()

    def _make(self, call, run_in):
        with self._starting:
            if self._loop is not None and not self._started(call).ended.is_set():
                raise self._state_error(call, "the device runs already")
            if (self.watch or run_in == "process") and _threads_are_greenlets():
                what = "watch=True" if self.watch else "run_in='process'"
                raise NotSupported(
                    ENOTSUP,
                    f"gevent.monkey has made greenlets of the threads that {what} needs: leave {what} out,"
                    " or patch_all(thread=False)",
                    call=call,
                    detail=self._name,
                )
            self._loop = None
            self._process = os.getpid()
            if run_in == "process":
                self._loop = _Remote(self._sides, self._io_threads, self.watch, self._filter, self._authentication)
            else:
                self._loop = _Loop(
                    self._sides, self._context, self._io_threads, self.watch, self._filter, self._authentication
                )
            return self._loop

    def _state_error(self, call, text):
        return StateError(EFSM, text, call=call, detail=self._name)

    def _started(self, call):
        loop = self._loop
        if loop is None:
            raise self._state_error(call, "the device was not started")
        if self._process != os.getpid():
            raise ForkedError(ECHILD, "the device is of the process that this one was forked from", call=call)
        return loop

    def _outside(self, call):
        """Return the loop to a thread that is neither in it nor in a call: not to a handler that interrupts these."""
        loop = self._started(call)
        if loop.thread == threading.get_ident():
            raise self._state_error(call, "called in the thread that runs the device")
        if loop.asking.holder == threading.get_ident():
            raise self._state_error(call, "called by a signal handler within another call")
        return loop

    def start(self):
        """Start to forward in a thread or a process, and return when the device does.

        It ends with the program, if nobody stops it before.

        Raises
        ------
        StateError
            It runs already.
        NotSupported
            gevent.monkey has made greenlets of the threads that a process, or `watch`, needs.
        ZMQError
            An option was refused, or an endpoint cannot be bound or connected to: the text names the side.
        TypeError, ValueError
            An option is of the wrong type.
        ImportError
            The filter is not where it is to be imported from.
        ChildProcessError
            Its process ended before it forwarded.
        """
        self._make("start", self._run_in).start()

    def run(self, ready=None):
        """Forward in the calling thread, whatever `run_in` is, until `stop` in another one, or in a signal handler.

        Parameters
        ----------
        ready : callable, optional
            Called without arguments once `endpoints` are bound and connected, before a message is taken. What it raises
            ends the device.

        Raises
        ------
        StateError, NotSupported, ZMQError, TypeError, ValueError
            As `start` and `join` do.
        KeyboardInterrupt
            Or what another signal handler raises; the device has ended.
        """
        self._make("run", "thread").forward(ready)

    def pause(self):
        """Take nothing from either side until `resume`, so that peers feel the high-water mark.

        When it returns nothing is taken any more. Connections stay, and so does what is queued. A device that is paused
        stays so.

        Raises
        ------
        StateError
            It was not started, drains or has ended.
        """
        self._steer("pause", b"PAUSE", "paused")

    def resume(self):
        """Go on after `pause`.

        Raises
        ------
        StateError
            It was not started, drains or has ended.
        """
        self._steer("resume", b"RESUME", "running")

    def _steer(self, call, word, state):
        loop = self._outside(call)
        if not loop.ask(word, state):
            raise self._state_error(call, "the device drains" if loop.state == "draining" else "the device has ended")

    def stop(self, drain=False, timeout=None):
        """End the device, and wait until its sockets are closed; do nothing if it has ended.

        A signal handler that interrupts `run`, or another call, returns at once, and the device ends after that.

        What was forwarded is still sent, for as long as the `linger` of the socket says. Without `drain` all that peers
        sent and the device did not forward is lost, a message that waits for room too.

        With it, each direction is forwarded until its socket has nothing left to receive: until all that had come over
        the connections, at one moment after the call, has been handed to the other side's socket. What is still under
        way in the network then, or comes later, as the answer of a worker that is at work, is lost. A paused device
        drains too.

        Parameters
        ----------
        drain : bool, default False
            Forward what is there.
        timeout : int, float or timedelta, optional
            Milliseconds that this may take, for a peer may never stop to send, or never take what is there; the device
            ends then as without `drain`. By default it takes as long as it takes.

        Raises
        ------
        StateError
            It was not started.
        """
        seconds = to_seconds(timeout, "stop")
        loop = self._started("stop")
        if threading.get_ident() in (loop.thread, loop.asking.holder):
            # In a signal handler, above the loop or a call. Who has the lock may wait for an answer of that loop.
            threading.Thread(target=loop.end, args=[drain], name="zmqcy device stop").start()
            return
        loop.end(drain)
        if drain and not loop.ended.wait(seconds):
            loop.end(False)
        loop.ended.wait()

    def join(self, timeout=None):
        """Wait until the device has ended, and raise what went wrong.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default for ever.

        Raises
        ------
        TimedOut
            It has not ended within `timeout`.
        StateError
            It was not started, or this is a signal handler that interrupts the loop.
        ContextTerminated
            The context was ended.
        ZMQError
            What else ended the loop.
        Exception
            What the filter raised. Of a process whose exception cannot be pickled it is a RuntimeError that names it.
        ChildProcessError
            Its process was killed.
        """
        seconds = to_seconds(timeout, "join")
        loop = self._outside("join")
        if not loop.ended.wait(seconds):
            raise TimedOut(EAGAIN, call="join", detail=f"{self._name} timeout={timeout}")
        if loop.error is not None:
            raise loop.error

    def statistics(self):
        """Return the numbers of the device; they stay when it has ended, until it is started again.

        Those of a process that was killed are what the last call got.

        Returns
        -------
        Statistics

        Raises
        ------
        StateError
            It was not started.
        """
        loop = self._started("statistics")
        if isinstance(loop, _Remote):  # of a loop that is here a signal handler may ask
            self._outside("statistics")
        state, since, (ahead, back, waits) = loop.read()
        return Statistics(state, since, Flow(*ahead), Flow(*back), waits)

    def _seen(self, call):
        loop = self._started(call)
        if isinstance(loop, _Remote):
            self._outside(call)
        seen = loop.seen()
        if seen is None:
            raise self._state_error(call, "the device keeps no record of that: make it with watch=True")
        return seen

    def events(self):
        """Return the last 100 events of its sockets' connections, but for those over inproc; the oldest first.

        They stay when the device has ended, until it is started again. Those of a process that was killed are what the
        last call of this or `peers` got.

        Returns
        -------
        list of DeviceEvent

        Raises
        ------
        StateError
            It was not started, or made without `watch`.
        """
        return self._seen("events")[0]

    def peers(self):
        """Return how many connections each side has, but for those over inproc.

        One counts from when it is made: before its handshake, which may yet fail.

        Returns
        -------
        dict of str to int
            Of ``front``, ``back``, and ``capture`` where there is one.

        Raises
        ------
        StateError
            It was not started, or made without `watch`.
        """
        return self._seen("peers")[1]

    @property
    def endpoints(self):
        """dict of str to tuple of str: the endpoints of ``front``, ``back`` and ``capture``, wildcards resolved.

        Raises
        ------
        StateError
            The device was not started.
        """
        return dict(self._started("endpoints").endpoints)

    @property
    def pid(self):
        """int or None: the id of the device's process, if it has one."""
        return self._loop.process.pid if isinstance(self._loop, _Remote) else None


def _to_types(kind):
    if isinstance(kind, int) and not isinstance(kind, bool) and kind in KINDS:
        return KINDS[DeviceType(kind)]
    if isinstance(kind, (tuple, list)) and len(kind) == 2:
        try:
            types = tuple(SocketType(each) for each in kind)
        except ValueError as error:
            raise ValueError(f"Device: kind={kind!r:.80}: {error}") from None
        text = unfit(*types)
        if text is not None:
            raise ValueError(f"Device: {text}")
        return types
    raise (ValueError if isinstance(kind, (int, tuple, list)) else TypeError)(
        f"Device: kind must be STREAMER, FORWARDER, QUEUE or two socket types, not {kind!r:.80}"
    )


def _to_side(name, kind, endpoints, options, key, options_key):
    """Check what a side is made of; `key` and `options_key` are what errors call it."""
    if isinstance(endpoints, str):
        endpoints = [endpoints]
    if not isinstance(endpoints, (list, tuple)) or not all(isinstance(each, str) for each in endpoints):
        raise TypeError(f"{key} must be an endpoint or a sequence of them, not {endpoints!r:.80}")
    if not endpoints:
        raise ValueError(f"{key} has no endpoint")
    for each in endpoints:
        if not each.lstrip("@>").partition("://")[2]:
            raise ValueError(f"{key}: {each!r} is no endpoint, as tcp://127.0.0.1:5555 is")
    if options is not None and not isinstance(options, dict):
        raise TypeError(f"{options_key} must be a dict, not {type(options).__name__}")
    for option in options or ():
        if option not in _OPTIONS:
            raise ValueError(f"{options_key}: there is no option {option!r}")
    if options and "subscribe" in options and kind != SocketType.SUB:
        raise ValueError(f"{options_key}: a {kind.name} socket does not subscribe")
    return _Side(name, kind, tuple(endpoints), dict(options or {}))


def _read_config(path):
    """Return the arguments for a Device that a file has."""
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib
        except ImportError:
            text = "Device.from_config: this Python has no tomllib; install tomli"
            raise ModuleNotFoundError(text, name="tomli") from None
    name = os.fspath(path)
    with open(path, "rb") as file:
        try:
            table = tomllib.load(file)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        secret = _secret_of(table)
        if secret is not None:
            from zmqcy.auth import _refuse_readable

            _refuse_readable(file, name, f"{secret} of this file")
    _check_keys(
        name,
        "",
        table,
        required=("kind", "front", "back"),
        optional=("capture", "run_in", "io_threads", "watch", "filter", "authentication"),
    )
    arguments = {key: table[key] for key in ("run_in", "io_threads", "watch", "filter") if key in table}
    if not isinstance(arguments.get("watch", False), bool):
        raise TypeError(f"{name}: watch must be true or false, not {arguments['watch']!r:.80}")
    if "authentication" in table:
        rules = table["authentication"]
        if not isinstance(rules, dict):
            raise TypeError(f"{name}: authentication must be a table, not {type(rules).__name__}")
        _check_keys(name, "authentication.", rules, (), ("allow", "deny", "null", "plain", "curve"))
        if not isinstance(rules.get("null", False), bool):
            raise TypeError(f"{name}: authentication.null must be true or false, not {rules['null']!r:.80}")
        place = os.path.dirname(os.path.abspath(name))
        paths = {key: os.path.join(place, rules[key]) for key in ("plain", "curve") if isinstance(rules.get(key), str)}
        arguments["authentication"] = {**rules, **paths}
    kind = table["kind"]
    if isinstance(kind, list) and len(kind) == 2:
        types = arguments["kind"] = tuple(_to_member(name, "kind", SocketType, each) for each in kind)
    else:
        arguments["kind"] = _to_member(name, "kind", DeviceType, kind)
        types = KINDS[arguments["kind"]]
    for side, socket_type in zip(("front", "back", "capture"), (*types, SocketType.PUB), strict=True):
        if side not in table:
            continue
        part = table[side]
        if not isinstance(part, dict):
            raise TypeError(f"{name}: {side} must be a table, not {type(part).__name__}")
        _check_keys(name, f"{side}.", part, ("endpoints",), ("type", "options") if side == "capture" else ("options",))
        if "type" in part:
            socket_type = arguments["capture_type"] = _to_member(name, "capture.type", SocketType, part["type"])
        made = _to_side(
            side, socket_type, part["endpoints"], part.get("options"),
            f"{name}: {side}.endpoints", f"{name}: {side}.options",
        )  # fmt: skip
        arguments[side] = made.endpoints
        arguments[f"{side}_options"] = {
            option: _to_value(f"{name}: {side}.options.{option}", option, value)
            for option, value in made.options.items()
        }
    try:
        Device(**arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("Device", name, 1).replace("capture_type", "capture.type")) from None
    return arguments


def _secret_of(table):
    """Return the name of something secret that a configuration has, or None."""
    for key, value in table.items():
        if "secret" in key or "password" in key or (key == "plain" and isinstance(value, dict)):
            return key
        if isinstance(value, dict) and (found := _secret_of(value)) is not None:
            return found
    return None


def _check_keys(name, prefix, table, required, optional):
    for key in table:
        if key not in required and key not in optional:
            known = ", ".join(f"{prefix}{each}" for each in (*required, *optional))
            raise ValueError(f"{name}: there is no key {prefix}{key}, only {known}")
    for key in required:
        if key not in table:
            raise ValueError(f"{name}: {prefix}{key} is missing")


def _to_member(name, key, names, value):
    if not isinstance(value, str) or value not in names.__members__:
        also = " or a list of two socket types" if names is DeviceType else ""
        known = ", ".join(names.__members__)
        raise ValueError(f"{name}: {key} must be one of {known}{also}, not {value!r:.80}")
    return names[value]


_VALUES = {  # by the kind of an option: what TOML has for it, in words and as types
    "int": ("an integer", int),
    "int64": ("an integer", int),
    "uint64": ("an integer", int),
    "fd": ("an integer", int),
    "bool": ("true or false", bool),
    "duration": ("a number", (int, float)),
    "bytes": ("a string", str),
    "string": ("a string", str),
    "key": ("a string of 40 characters", str),
}


def _to_value(key, option, value):
    if option == "subscribe" and isinstance(value, list):
        return [_to_value(key, option, each) for each in value]
    kind = _OPTIONS[option]
    words, types = _VALUES[kind]
    if not isinstance(value, types) or (kind != "bool" and isinstance(value, bool)):
        given = type(value).__name__ if "secret" in option or "password" in option else f"{value!r:.80}"
        raise TypeError(f"{key} must be {words}, not {given}")
    return value.encode() if kind == "bytes" else value
