"""`Device`, what it counts, and how its arguments are checked."""

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
        PAIR, PUB, DEALER or PUSH.
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
        if hasattr(self, "_starting"):  # a second time, its thread or process would be lost
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
                # Only a look at the arguments: each run has one of its own.
                Authenticator(self, **authentication)  # type: ignore[arg-type]
            except (TypeError, ValueError) as error:
                raise type(error)(f"Device: authentication: {error}") from None
        self._settings = Settings(sides, io_threads, False, filter, authentication)
        self._run_in = run_in
        self._context = context
        self.watch = bool(watch)
        self._starting = threading.Lock()
        self._loop: Loop | Remote | None = None
        self._process: int | None = None  # the id of the one that made the loop
        self._name = DeviceType(kind).name if isinstance(kind, int) else " to ".join(each.name for each in types)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str]) -> Self:
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
            It needs msgspec, and with Python 3.10 tomli: ``pip install zmqcy[toml]``.
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
                raise self._state_error(call, "the device runs already")
            if (self.watch or run_in == "process") and threads_are_greenlets():
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
            raise ForkedError(ECHILD, "the device is of the process that this one was forked from", call=call)
        return loop

    def _outside(self, call: str) -> Loop | Remote:
        """Return the loop to a thread that is neither in it nor in a call: not to a handler that interrupts these."""
        loop = self._started(call)
        if loop.thread == threading.get_ident():
            raise self._state_error(call, "called in the thread that runs the device")
        if loop.asking.holder == threading.get_ident():
            raise self._state_error(call, "called by a signal handler within another call")
        return loop

    def _readable(self, call: str) -> Loop | Remote:
        """Return the loop; of one that is in this process a signal handler may ask too."""
        return self._outside(call) if isinstance(self._loop, Remote) else self._started(call)

    def start(self) -> None:
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

    def run(self, ready: Callable[[], object] | None = None) -> None:
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

    def pause(self) -> None:
        """Take nothing from either side until `resume`, so that peers feel the high-water mark.

        When it returns nothing is taken any more. Connections stay, and so does what is queued. A device that is paused
        stays so.

        Raises
        ------
        StateError
            It was not started, drains or has ended.
        """
        self._steer("pause", b"PAUSE", State.PAUSED)

    def resume(self) -> None:
        """Go on after `pause`.

        Raises
        ------
        StateError
            It was not started, drains or has ended.
        """
        self._steer("resume", b"RESUME", State.RUNNING)

    def _steer(self, call: str, word: bytes, state: State) -> None:
        loop = self._outside(call)
        if not loop.ask(word, state):
            drains = loop.state is State.DRAINING
            raise self._state_error(call, "the device drains" if drains else "the device has ended")

    def stop(self, drain: bool = False, timeout: float | timedelta | None = None) -> None:
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

    def join(self, timeout: float | timedelta | None = None) -> None:
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
            raise TimedOut(EAGAIN, call=f"join {self._name}", detail=after(timeout, "join"))
        if loop.error is not None:
            raise loop.error

    def statistics(self) -> Statistics:
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
        state, since, (ahead, back, waits) = self._readable("statistics").read()
        return Statistics(state.value, since, Flow(*ahead), Flow(*back), waits)

    def _seen(self, call: str) -> Seen:
        seen = self._readable(call).seen()
        if seen is None:
            raise self._state_error(call, "the device keeps no record of that: make it with watch=True")
        return seen

    def events(self) -> list[DeviceEvent]:
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
            The device was not started, or was made without `watch`.

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
            The device was not started, or was made without `watch`.

        See Also
        --------
        peers
        """
        return self._seen("peer_addresses")[1]

    @property
    def endpoints(self) -> dict[str, tuple[str, ...]]:
        """dict of str to tuple of str: the endpoints of ``front``, ``back`` and ``capture``, wildcards resolved.

        Raises
        ------
        StateError
            The device was not started.
        """
        return dict(self._started("endpoints").endpoints)

    @property
    def pid(self) -> int | None:
        """int or None: the id of the device's process, if it has one."""
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
