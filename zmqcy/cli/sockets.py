"""Sockets of commands: endpoints with prefixes, what is said when one is ready, and errors that say where."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import click

import zmqcy
from zmqcy.options import OWNERS
from zmqcy.socket_types import in_words, types_with

_F = TypeVar("_F", bound=Callable[..., Any])


class Endpoint(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """An address, with ``@`` before it to bind and ``>`` to connect."""

    name = "endpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bool | None, str]:
        if isinstance(value, tuple):  # click converts defaults twice
            return value
        bind = {"@": True, ">": False}.get(value[:1])
        address = value if bind is None else value[1:]
        transport, mark, place = address.partition("://")
        if not (transport and mark and place):
            self.fail(f"{value!r} is no endpoint such as tcp://127.0.0.1:5555", param, ctx)
        return bind, address


class Type(click.Choice):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.2 on
    """The type of a socket: one of a few."""

    def __init__(self, names: list[str]):
        super().__init__([name.lower() for name in names], case_sensitive=False)

    def describe(self, command: _F) -> _F:
        """Fill in the help of a command, which has the types and those that bind as {types} and {binding}."""
        binding = [name for name in self.choices if name.upper() in types_with("binds")]
        command.__doc__ = (command.__doc__ or "").format(types=in_words(self.choices, "or"), binding=in_words(binding))
        return command


def subscribes(kind: str) -> bool:
    """Tell whether sockets of a type, in small letters, have `subscribe`."""
    return kind.upper() in OWNERS[zmqcy.SUBSCRIBE]


class Failure(click.ClickException):
    """A failure that is told in one line; the exit code is 1."""


def key_pair(path: str) -> tuple[bytes, bytes]:
    """Return the public and the secret key of a file."""
    from zmqcy.auth import Certificate

    with suppress(ValueError):
        found = Certificate.load(path)
        if found.secret is not None:
            return found.public, found.secret
    raise Failure(f"{path}: no file with a secret key, as `zmqcy curve-keygen --file` writes it")


def within(timeout: float | None) -> str:
    """Return the end of a sentence on what did not happen in time."""
    return "" if timeout is None or timeout < 0 else f" within {timeout:g} ms"


@contextmanager
def opened(
    kind: str,
    endpoints: tuple[tuple[bool | None, str], ...],
    bind: bool | None,
    topics: tuple[str, ...] = (),
    before: Callable[[zmqcy.Socket], object] = lambda socket: None,
    **options: Any,
) -> Iterator[tuple[zmqcy.Socket, str]]:
    """Give a socket that is bound and connected to all of its endpoints, and these; at the end drop what is unsent.

    The endpoints are as libzmq has them, after a wildcard.

    Parameters
    ----------
    kind : str
        Its type, in small letters.
    endpoints : tuple
        Those that `Endpoint` made.
    bind : bool, optional
        What becomes of an endpoint without a prefix; by default it depends on the type.
    topics : tuple of str
        What a SUB subscribes to.
    before : callable
        Gets the socket before it is bound or connected.
    **options
        Options of the socket.
    """
    if bind is None:
        bind = kind.upper() in types_with("binds")
    where = " ".join(address for _, address in endpoints)
    context = zmqcy.Context()
    socket = None
    try:
        socket = context.socket(getattr(zmqcy, kind.upper()), **options)
        for topic in topics if subscribes(kind) else ():
            socket.subscribe(topic)
        before(socket)
        names = [
            (socket.bind if (bind if prefix is None else prefix) else socket.connect)(address).endpoint
            for prefix, address in endpoints
        ]
        where = " ".join(names)
        yield socket, where
    except zmqcy.ZMQError as error:
        text = str(error)
        raise Failure(text if where in text else f"{kind} {where}: {text}") from error
    finally:
        # No `term`: it would wait for what `hand_over` has given up. The end of the process drops that.
        if socket is not None:
            socket.close(0)


def hand_over(socket: zmqcy.Socket, timeout: float | None) -> bool:
    """Close a socket and wait until libzmq has given all of its messages to the system, or to the peer over inproc.

    Returns
    -------
    bool
        Whether all went within `timeout` milliseconds (None: for ever).
    """
    context = socket.context
    assert context is not None
    socket.close()
    try:
        context.term(timeout)
    except zmqcy.TimedOut:
        return False
    return True
