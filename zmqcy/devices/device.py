"""`Device`, its counters, and the checks of its arguments."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from errno import EAGAIN, ECHILD, ENOTSUP
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zmqcy._library import after, to_seconds
from zmqcy._proxy import Hook, unfit
from zmqcy.constants import DeviceType, SocketType
from zmqcy.context import AsyncContext, Context
from zmqcy.devices.loop import Loop, Settings, State, threads_are_greenlets
from zmqcy.devices.process import Remote
from zmqcy.devices.record import DeviceEvent
from zmqcy.devices.side import CAPTURES, KINDS, to_side
from zmqcy.errors import EFSM, ForkedError, NotSupported, StateError, TimedOut

if TYPE_CHECKING:
    from typing_extensions import Self

    from zmqcy._proxy import _Filter
    from zmqcy.devices.loop import Seen

_Endpoints = str | Sequence[str]


class Flow(NamedTuple):
    """The counters of one direction.

    Without a `filter`, `messages_in` exceeds `messages_out` by at most one: the message that the device holds. With a
    filter, the device holds up to some hundred messages. Messages that a filter drops count only as in, messages that
    it inserts only as out.

    A message counts as out after libzmq has accepted it. The receiver may get the message before it is counted.
    """

    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int
    full: int
    """Times blocked: how often the other side, or the capture socket, was at its high-water mark or had no peer."""


class Statistics(NamedTuple):
    """The counters of a device since its start."""

    state: str
    """``running``, ``paused``, ``draining`` or ``ended``."""
    since: datetime
    """The time of the start (UTC)."""
    front_to_back: Flow
    back_to_front: Flow
    waits: int
    """Idle wake-ups: how often the device had nothing to do and slept."""


class Device:
    """Forward messages between two sockets in a background thread or process.

    Messages are forwarded in every direction that the socket types allow. A device applies backpressure: it stops
    reading from one side while the other side is at its high-water mark.

    ``with`` starts the device. At the end it stops the device without draining, and raises the error that ended it, if
    any. A device that has ended can be started again, with new sockets.

    Parameters
    ----------
    kind : DeviceType or tuple of two SocketType
        `STREAMER` (PULL to PUSH), `FORWARDER` (SUB to PUB), `QUEUE` (ROUTER to DEALER), or the types of front and back.
    front, back : str or sequence of str
        The endpoints of each side. The prefix ``>`` connects, ``@`` binds. Without a prefix an endpoint is bound.
    front_options, back_options : dict, optional
        Socket options, by the names of the attributes. ``subscribe`` is one topic or a list of topics; by default a SUB
        socket subscribes to all topics. The default `linger` is 10,000 ms if the device creates its own context.
    capture : str or sequence of str, optional
        Endpoints of a socket that receives a copy of every message. The device blocks while this socket is at its
        high-water mark.
    capture_type : SocketType, default PUB
        PAIR, PUB, DEALER or PUSH.
    capture_options : dict, optional
        As `front_options`.
    run_in : {"thread", "process"}, default "thread"
        Where `start` runs the device. A process is created with the ``spawn`` method of multiprocessing, so the main
        module needs ``if __name__ == "__main__"``. The process ignores Ctrl-C, exits when its parent exits, and on
        SIGTERM ends as after `stop`.
    io_threads : int, default 1
        I/O threads of the device's own context.
    context : Context, optional
        The context of the sockets, which inproc endpoints require. By default the device creates a context. Not
        possible in a process.
    filter : function, Hook or str, optional
        A function that inspects, changes, drops or inserts messages, as for `proxy`. A string ``"module:function"`` is
        imported; in a process only a string is possible. An exception of the function is raised by `join`. The
        messages that the filter held are then lost, because the sockets are closed.
    watch : bool, default False
        Record the connections, for `events`, `peers` and `peer_addresses`. This takes one thread, which sleeps until an
        event arrives, and one internal socket per side.
    authentication : dict, optional
        Arguments of a `zmqcy.auth.Authenticator`, such as ``{"allow": "10.0.0.0/8", "plain": "passwords"}``. It runs
        in the context of the device, as long as the device runs. It authenticates the peers of sockets that have a
        `zap_domain`, or are PLAIN or CURVE servers. In a process the dict must be picklable.

    Attributes
    ----------
    watch : bool
        Whether connections are recorded. A new value takes effect at the next `start` or `run`.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, or is not a valid device, socket type, option or endpoint. Or the two socket
        types cannot exchange messages.

    Examples
    --------
    >>> with Device(QUEUE, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*") as device:
    ...     device.statistics().state
    'running'
    """

    def __init__(
        self,
        kind: DeviceType | tuple[SocketType, SocketType],
        front: _Endpoints,
        back: _Endpoints,
        *,
        front_options: dict[str, Any] | None = None,
        back_options: dict[str, Any] | None = None,
        capture: _Endpoints | None = None,
        capture_type: SocketType = SocketType.PUB,
        capture_options: dict[str, Any] | None = None,
        run_in: Literal["thread", "process"] = "thread",
        io_threads: int = 1,
        context: Context | None = None,
        filter: _Filter | Hook | str | None = None,
        watch: bool = False,
        authentication: dict[str, Any] | None = None,
    ) -> None:
        if hasattr(self, "_starting"):  # a second call would lose the thread or process
            raise RuntimeError("Device: already initialised")
        types = _to_types(kind)
        sides = [
            to_side("front", types[0], front, front_options),
            to_side("back", types[1], back, back_options),
        ]
        if capture is not None:
            if capture_type not in CAPTURES:
                names = ", ".join(each.name for each in CAPTURES)
                raise ValueError(f"Device: capture_type must be one of {names}, not {capture_type!r}")
            sides.append(to_side("capture", SocketType(capture_type), capture, capture_options))
        elif capture_options is not None:
            raise ValueError("Device: capture_options requires capture")
        if run_in not in ("thread", "process"):
            raise ValueError(f"Device: run_in must be 'thread' or 'process', not {run_in!r:.80}")
        if run_in == "process" and context is not None:
            raise ValueError("Device: context cannot be used with run_in='process'")
        if not isinstance(io_threads, int):
            raise TypeError(f"Device: io_threads must be an int, not {io_threads!r:.80}")
        if context is not None and (not isinstance(context, Context) or isinstance(context, AsyncContext)):
            raise TypeError(f"Device: context must be a zmqcy.Context, not {context!r:.80}")
        if isinstance(filter, str):
            if not all(filter.partition(":")):
                raise ValueError(f"Device: filter must be 'module:function', not {filter!r:.80}")
        elif filter is not None:
            if not isinstance(filter, Hook) and not callable(filter):
                raise TypeError(f"Device: filter must be a function, a Hook or a str, not {filter!r:.80}")
            if run_in == "process":
                raise ValueError(f"Device: in a process the filter must be 'module:function', not {filter!r:.80}")
        if authentication is not None:
            from zmqcy.auth import Authenticator

            if not isinstance(authentication, dict):
                raise TypeError(f"Device: authentication must be a dict, not {type(authentication).__name__}")
            try:
                # This only checks the arguments: each run creates its own Authenticator.
                Authenticator(self, **authentication)  # type: ignore[arg-type]
            except (TypeError, ValueError) as error:
                raise type(error)(f"Device: authentication: {error}") from None
        self._settings = Settings(sides, io_threads, False, filter, authentication)
        self._run_in = run_in
        self._context = context
        self.watch = bool(watch)
        self._starting = threading.Lock()
        self._loop: Loop | Remote | None = None
        self._process: int | None = None  # the id of the process that created the loop
        self._name = DeviceType(kind).name if isinstance(kind, int) else " to ".join(each.name for each in types)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str]) -> Self:
        """Create a device from a TOML file.

        The keys have the meaning of the parameters of `Device`:

        - ``kind``: a name, or a list of the names of two socket types.
        - ``run_in``, ``io_threads``, ``watch``, ``filter`` (``"module:function"``).
        - The tables ``front``, ``back`` and ``capture``. Each has ``endpoints`` (one or a list), and may have a table
          ``options``. ``capture`` may have a ``type``.
        - The table ``authentication``: ``allow``, ``deny``, ``null``, ``plain`` and ``curve``. A path in ``plain`` or
          ``curve`` is relative to the folder of the file.

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
            The file is not valid TOML, or a key is missing, is unknown or has an invalid value. The message names it.
        OSError
            The file cannot be read.
        ModuleNotFoundError
            msgspec is not installed, or tomli with Python 3.10: ``pip install 'zmqcy[toml]'``.
        """
        from zmqcy.devices import config

        return config.make(cls, path)

    def __repr__(self) -> str:
        loop = self._loop
        return f"<Device {self._name}, {'not started' if loop is None else loop.state.value}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if exception is None:
            self.join()

    def _make(self, call: str, run_in: str) -> Any:
        with self._starting:
            if self._loop is not None and not self._started(call).ended.is_set():
                raise self._state_error(call, "the device is already running")
            if (self.watch or run_in == "process") and threads_are_greenlets():
                what = "watch=True" if self.watch else "run_in='process'"
                raise NotSupported(
                    ENOTSUP,
                    f"gevent.monkey has replaced threads by greenlets, but {what} requires threads: omit {what},"
                    " or call patch_all(thread=False)",
                    call=call,
                    detail=self._name,
                )
            self._loop = None
            self._process = os.getpid()
            settings = self._settings._replace(watch=self.watch)
            self._loop = Remote(settings) if run_in == "process" else Loop(settings, self._context)
            return self._loop

    def _state_error(self, call: str, text: str) -> StateError:
        return StateError(EFSM, text, call=call, detail=self._name)

    def _started(self, call: str) -> Loop | Remote:
        loop = self._loop
        if loop is None:
            raise self._state_error(call, "the device was not started")
        if self._process != os.getpid():
            raise ForkedError(
                ECHILD, "the device belongs to the parent process: create a device in this process", call=call
            )
        return loop

    def _outside(self, call: str) -> Loop | Remote:
        """Return the loop, unless this thread runs it or is inside a call on it, as in a signal handler."""
        loop = self._started(call)
        if loop.thread == threading.get_ident():
            raise self._state_error(call, "called in the thread that runs the device")
        if loop.asking.holder == threading.get_ident():
            raise self._state_error(call, "called by a signal handler within another call")
        return loop

    def _readable(self, call: str) -> Loop | Remote:
        """Return the loop. A signal handler may read from a loop of this process too."""
        return self._outside(call) if isinstance(self._loop, Remote) else self._started(call)

    def start(self) -> None:
        """Start the device in a thread or a process, and return once it is running.

        The device ends at the latest when the program exits.

        Raises
        ------
        StateError
            The device is already running.
        NotSupported
            gevent.monkey has replaced the threads that a process or `watch` requires by greenlets.
        ZMQError
            An option was refused, or an endpoint cannot be bound or connected to. The message names the side.
        TypeError, ValueError
            An option has the wrong type or an invalid value.
        ImportError
            The filter cannot be imported.
        ChildProcessError
            The process ended before the device was running.
        """
        self._make("start", self._run_in).start()

    def run(self, ready: Callable[[], object] | None = None) -> None:
        """Run the device in the calling thread, regardless of `run_in`.

        It returns after another thread or a signal handler has called `stop`.

        Parameters
        ----------
        ready : callable, optional
            Called without arguments once all `endpoints` are bound and connected, before the first message is
            forwarded. If it raises an exception, the device ends.

        Raises
        ------
        StateError, NotSupported, ZMQError, TypeError, ValueError
            As `start` and `join` do.
        KeyboardInterrupt
            Or another exception of a signal handler. The device has ended.
        """
        self._make("run", "thread").forward(ready)

    def pause(self) -> None:
        """Stop forwarding until `resume`.

        The device reads no message after this call has returned, so that the peers reach their high-water marks.
        Connections and queued messages are kept. Pausing a paused device has no effect.

        Raises
        ------
        StateError
            The device was not started, is draining or has ended.
        """
        self._steer("pause", b"PAUSE", State.PAUSED)

    def resume(self) -> None:
        """Continue after `pause`.

        Raises
        ------
        StateError
            The device was not started, is draining or has ended.
        """
        self._steer("resume", b"RESUME", State.RUNNING)

    def _steer(self, call: str, word: bytes, state: State) -> None:
        loop = self._outside(call)
        if not loop.ask(word, state):
            drains = loop.state is State.DRAINING
            raise self._state_error(call, "the device is draining" if drains else "the device has ended")

    def stop(self, drain: bool = False, timeout: float | timedelta | None = None) -> None:
        """End the device, and wait until its sockets are closed.

        A device that has already ended is left alone. In a signal handler that interrupts `run`, or another call, this
        returns at once, and the device ends afterwards.

        Forwarded messages are still sent, within the `linger` of the socket. Without `drain` all messages that
        peers have sent and the device has not forwarded are lost.

        With `drain` the device forwards each direction until its socket has no message left to receive. This covers
        all messages that had arrived when the device began to drain. Messages that are still in the network, or arrive
        later, such as the reply of a busy worker, are lost. A paused device drains as well.

        Parameters
        ----------
        drain : bool, default False
            Forward the messages that have arrived.
        timeout : int, float or timedelta, optional
            Milliseconds that draining may take. After that the device ends as without `drain`. By default there is no
            limit; a peer that never stops sending, or never receives, then delays the end indefinitely.

        Raises
        ------
        StateError
            The device was not started.
        """
        seconds = to_seconds(timeout, "stop")
        loop = self._started("stop")
        if threading.get_ident() in (loop.thread, loop.asking.holder):
            # A signal handler interrupts the loop or a call. The holder of the lock may wait for a reply of that loop.
            threading.Thread(target=loop.end, args=[drain], name="zmqcy device stop").start()
            return
        loop.end(drain)
        if drain and not loop.ended.wait(seconds):
            loop.end(False)
        loop.ended.wait()

    def join(self, timeout: float | timedelta | None = None) -> None:
        """Wait until the device has ended, and raise the error that ended it.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait. By default it waits indefinitely.

        Raises
        ------
        TimedOut
            The device has not ended within `timeout`.
        StateError
            The device was not started, or a signal handler that interrupts the loop called this.
        ContextTerminated
            The context was terminated.
        ZMQError
            Another error ended the loop.
        Exception
            An exception of the filter. If the exception of a process cannot be pickled, it is a RuntimeError that
            names the exception.
        ChildProcessError
            The process was killed.
        """
        seconds = to_seconds(timeout, "join")
        loop = self._outside("join")
        if not loop.ended.wait(seconds):
            raise TimedOut(EAGAIN, call=f"join {self._name}", detail=after(timeout, "join"))
        if loop.error is not None:
            raise loop.error

    def statistics(self) -> Statistics:
        """Return the counters of the device.

        They are kept after the device has ended, until it is started again. After a process was killed, they are those
        of the last call.

        Returns
        -------
        Statistics

        Raises
        ------
        StateError
            The device was not started.
        """
        state, since, (ahead, back, waits) = self._readable("statistics").read()
        return Statistics(state.value, since, Flow(*ahead), Flow(*back), waits)

    def _seen(self, call: str) -> Seen:
        seen = self._readable(call).seen()
        if seen is None:
            raise self._state_error(call, "connections are not recorded: create the device with watch=True")
        return seen

    def events(self) -> list[DeviceEvent]:
        """Return the last 100 connection events, except inproc, the oldest first.

        They are kept after the device has ended, until it is started again. After a process was killed, they are those
        of the last call of `events`, `peers` or `peer_addresses`.

        Returns
        -------
        list of DeviceEvent

        Raises
        ------
        StateError
            The device was not started, or was created without `watch`.

        See Also
        --------
        zmqcy.Socket.watch : The events of one socket, as they happen.
        """
        return self._seen("events")[0]

    def peers(self) -> dict[str, int]:
        """Return the number of connections per side, except inproc.

        A connection counts from the moment it is made. Its handshake may still fail.

        Returns
        -------
        dict of str to int
            Keys: ``front``, ``back``, and ``capture`` if the device has a capture socket.

        Raises
        ------
        StateError
            The device was not started, or was created without `watch`.

        See Also
        --------
        peer_addresses
        """
        return {side: len(addresses) for side, addresses in self._seen("peers")[1].items()}

    def peer_addresses(self) -> dict[str, list[str]]:
        """Return the address of each connection per side, except inproc.

        A tcp connection is listed as ``127.0.0.1:40000``: the IP address and the port of the peer. Other connections
        are listed by the endpoint.

        Returns
        -------
        dict of str to list of str
            Keys: ``front``, ``back``, and ``capture`` if the device has a capture socket.

        Raises
        ------
        StateError
            The device was not started, or was created without `watch`.

        See Also
        --------
        peers
        """
        return self._seen("peer_addresses")[1]

    @property
    def endpoints(self) -> dict[str, tuple[str, ...]]:
        """dict of str to tuple of str: The endpoints of ``front``, ``back`` and ``capture``, with the actual ports.

        Raises
        ------
        StateError
            The device was not started.
        """
        return dict(self._started("endpoints").endpoints)

    @property
    def pid(self) -> int | None:
        """int or None: The process id, if the device runs in a process of its own."""
        return self._loop.process.pid if isinstance(self._loop, Remote) else None


def _to_types(kind: Any) -> tuple[SocketType, SocketType]:
    if isinstance(kind, int) and not isinstance(kind, bool) and kind in KINDS:
        return KINDS[DeviceType(kind)]
    if isinstance(kind, (tuple, list)) and len(kind) == 2:
        try:
            front, back = (SocketType(each) for each in kind)
        except ValueError as error:
            raise ValueError(f"Device: kind={kind!r:.80}: {error}") from None
        text = unfit(front, back)
        if text is not None:
            raise ValueError(f"Device: {text}")
        return front, back
    raise (ValueError if isinstance(kind, (int, tuple, list)) else TypeError)(
        f"Device: kind must be STREAMER, FORWARDER, QUEUE or two socket types, not {kind!r:.80}"
    )
