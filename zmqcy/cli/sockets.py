"""Sockets of commands: endpoints with prefixes, the wait for a peer, and errors that name the endpoint."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import click

import zmqcy
from zmqcy.constants import Event
from zmqcy.options import OWNERS
from zmqcy.socket_types import SOCKET_TYPES, in_words, types_with

_F = TypeVar("_F", bound=Callable[..., Any])


class Endpoint(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """An endpoint with an optional prefix: ``@`` binds, ``>`` connects."""

    name = "endpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bool | None, str]:
        if isinstance(value, tuple):  # click converts defaults twice
            return value
        bind = {"@": True, ">": False}.get(value[:1])
        address = value if bind is None else value[1:]
        transport, mark, place = address.partition("://")
        if not (transport and mark and place):
            self.fail(f"{value!r} is not an endpoint such as tcp://127.0.0.1:5555", param, ctx)
        return bind, address


class Type(click.Choice):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.2 on
    """The name of a socket type."""

    def __init__(self, names: list[str]):
        super().__init__([name.lower() for name in names], case_sensitive=False)

    def describe(self, command: _F) -> _F:
        """Fill in {types}, and {binding}, which types bind and what overrides it, in the help of a command."""
        binding = (
            f"{in_words([name for name in self.choices if name.upper() in types_with('binds')])} sockets bind. Other "
            "types connect. A prefix overrides this for one endpoint: @ENDPOINT binds, >ENDPOINT connects."
        )
        command.__doc__ = (command.__doc__ or "").format(types=in_words(self.choices, "or"), binding=binding)
        return command


def subscribes(kind: str) -> bool:
    """Return whether sockets of a type, in lower case, have `subscribe`."""
    return kind.upper() in OWNERS[zmqcy.SUBSCRIBE]


class Failure(click.ClickException):
    """A failure that is reported in one line; the exit code is 1."""


def key_pair(path: str) -> tuple[bytes, bytes]:
    """Return the public and the secret key of a file."""
    from zmqcy.auth import Certificate

    with suppress(ValueError):
        found = Certificate.load(path)
        if found.secret is not None:
            return found.public, found.secret
    raise Failure(f"{path}: not a file with a secret key; `zmqcy curve-keygen --file` writes one")


class PeerNotice:
    """Report on stderr, once, that a command has waited one second for its first peer.

    Parameters
    ----------
    kind : str
        The type of the socket, in lower case.
    quiet : bool
        Report nothing.
    """

    DELAY = 1000  # milliseconds

    def __init__(self, kind: str, quiet: bool):
        self.kind = kind
        self.quiet = quiet
        self.peers = next(row.partners for row in SOCKET_TYPES if row.name == kind.upper())
        self.decided = threading.Event()  # there is a peer, or the notice is written

    def watch(self, socket: zmqcy.Socket) -> None:
        """Watch a socket that is not yet bound or connected."""
        if not self.quiet:
            self.monitor = socket.watch(Event.HANDSHAKE_SUCCEEDED)

    def begin(self, where: str) -> None:
        """Start the delay."""
        if not self.quiet:
            threading.Thread(target=self._run, args=(where,), name="zmqcy peer notice", daemon=True).start()

    def _run(self, where: str) -> None:
        with suppress(OSError):  # the command has closed its socket, or stderr has no reader
            try:
                self.monitor.recv(self.DELAY)
            except zmqcy.TimedOut:
                text = f"zmqcy: {self.kind} {where}: waiting for a peer ({in_words(self.peers, 'or')})\n"
                os.write(2, text.encode())  # not sys.stderr: its lock, held by this thread at exit, aborts Python
        self.decided.set()
        for _ in self.monitor:  # unread events use memory
            pass

    def wait(self, timeout: float | None) -> None:
        """Wait until there is a peer, or the notice is written. A closed socket has no events."""
        if not self.quiet:
            limit = 2 * self.DELAY  # the thread takes a little longer than DELAY
            self.decided.wait((limit if timeout is None else min(limit, timeout)) / 1000)


def binds(kind: str, prefix: bool | None, bind: bool | None) -> bool:
    """Return whether to bind an endpoint: by its prefix, the option, or the socket type."""
    return next((each for each in (prefix, bind) if each is not None), kind.upper() in types_with("binds"))


def within(timeout: float | None) -> str:
    """Return the end of a message about a timeout."""
    return "" if timeout is None or timeout < 0 else f" within {timeout:g} ms"


@contextmanager
def opened(
    kind: str,
    endpoints: tuple[tuple[bool | None, str], ...],
    bind: bool | None,
    topics: tuple[str, ...] = (),
    before: Callable[[zmqcy.Socket], object] = lambda socket: None,
    notice: PeerNotice | None = None,
    **options: Any,
) -> Iterator[tuple[zmqcy.Socket, str]]:
    """Yield a socket that is bound and connected to its endpoints, and the endpoints. Drop unsent messages at the end.

    The endpoints are those of libzmq, with wildcards resolved.

    Parameters
    ----------
    kind : str
        Its type, in small letters.
    endpoints : tuple
        Results of `Endpoint`.
    bind : bool, optional
        Whether to bind endpoints without a prefix; None: it depends on the type.
    topics : tuple of str
        The topics of a SUB.
    before : callable
        A function to call with the socket before it is bound or connected.
    notice : PeerNotice, optional
        The report of a missing peer, whose delay begins when the socket is bound and connected.
    **options
        Options of the socket.
    """
    where = " ".join(address for _, address in endpoints)
    context = zmqcy.Context()
    socket = None
    try:
        socket = context.socket(getattr(zmqcy, kind.upper()), **options)
        for topic in topics if subscribes(kind) else ():
            socket.subscribe(topic)
        before(socket)
        if notice is not None:
            notice.watch(socket)
        names = [
            (socket.bind if binds(kind, prefix, bind) else socket.connect)(address).endpoint
            for prefix, address in endpoints
        ]
        where = " ".join(names)
        if notice is not None:
            notice.begin(where)
        yield socket, where
    except zmqcy.ZMQError as error:
        text = str(error)
        raise Failure(text if where in text else f"{kind} {where}: {text}") from error
    finally:
        # No `term`: it would wait for the messages that `hand_over` has given up. The exit of the process drops them.
        if socket is not None:
            socket.close(0)


def hand_over(socket: zmqcy.Socket, timeout: float | None) -> bool:
    """Close a socket. Wait until libzmq has passed all messages to the operating system, or to an inproc peer.

    Returns
    -------
    bool
        Whether libzmq did so within `timeout` milliseconds (None: no limit).
    """
    context = socket.context
    assert context is not None
    socket.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # `PeerNotice` has reported the missing peer
        try:
            context.term(timeout)
        except zmqcy.TimedOut:
            return False
    return True
