"""A side of a device: the description of its socket, the checks of this description, and how the socket is opened."""

from typing import Any, NamedTuple

from zmqcy.constants import DeviceType, SocketOption, SocketType
from zmqcy.context import Context
from zmqcy.devices.record import Record
from zmqcy.errors import ZMQError
from zmqcy.options import OWNERS, SOCKET_OPTIONS
from zmqcy.socket import Socket
from zmqcy.socket_types import types_with

KINDS = {
    DeviceType.STREAMER: (SocketType.PULL, SocketType.PUSH),
    DeviceType.FORWARDER: (SocketType.SUB, SocketType.PUB),
    DeviceType.QUEUE: (SocketType.ROUTER, SocketType.DEALER),
}
CAPTURES = tuple(SocketType[name] for name in types_with("capture", "offered"))
SUBSCRIBERS = OWNERS[SocketOption.SUBSCRIBE]

# Names and kinds of the options. `subscribe` has a kind of its own; a new socket has no subscription to remove.
OPTIONS: dict[str, str] = {option.name: option.kind for option in SOCKET_OPTIONS if "w" in option.access}
OPTIONS |= {"identity": "bytes", "spin": "duration", "subscribe": "topics"}
del OPTIONS["unsubscribe"]


class Side(NamedTuple):
    """The description of a socket."""

    name: str
    type: SocketType
    endpoints: tuple[str, ...]
    options: dict[str, Any]

    def open(self, context: Context, record: Record | None) -> tuple[Socket, tuple[str, ...]]:
        """Open the socket. Return it, and its endpoints with the actual ports."""
        socket = None
        topics = self.options.get("subscribe", b"" if self.type.name in SUBSCRIBERS else ())
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


def to_side(name: str, kind: SocketType, endpoints: Any, options: Any) -> Side:
    """Check the arguments of a side."""
    place, options_place = f"Device: {name}", f"Device: {name}_options"
    if isinstance(endpoints, str):
        endpoints = [endpoints]
    if not isinstance(endpoints, (list, tuple)) or not all(isinstance(each, str) for each in endpoints):
        raise TypeError(f"{place} must be an endpoint or a sequence of endpoints, not {endpoints!r:.80}")
    if not endpoints:
        raise ValueError(f"{place} has no endpoint")
    for each in endpoints:
        if not each.lstrip("@>").partition("://")[2]:
            raise ValueError(f"{place}: {each!r} is not an endpoint such as tcp://127.0.0.1:5555")
    if options is not None and not isinstance(options, dict):
        raise TypeError(f"{options_place} must be a dict, not {type(options).__name__}")
    for option in options or ():
        if option not in OPTIONS:
            raise ValueError(f"{options_place}: unknown option {option!r}")
    if options and "subscribe" in options and kind.name not in SUBSCRIBERS:
        raise ValueError(f"{options_place}: a {kind.name} socket cannot subscribe")
    return Side(name, kind, tuple(endpoints), dict(options or {}))
