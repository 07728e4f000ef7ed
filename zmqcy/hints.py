"""Explain errors of libzmq: a table of hints by errno, call, socket type and argument.

The table is loaded when an error message is shown. Errors that a program only catches have no overhead.
"""

from __future__ import annotations

import errno
import re

from zmqcy import _library
from zmqcy.socket_types import SOCKET_TYPES, in_words, types_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from zmqcy.errors import ZMQError

EFSM, ENOCOMPATPROTO, EMTHREAD = (156384712 + number for number in (51, 52, 54))  # as in zmq.h
TYPES = {row.name: row for row in SOCKET_TYPES}
RECEIVE = "recv*"
SEND = "send*"
TRANSPORTS = "inproc", "ipc", "tcp", "udp", "ws", "wss", "tipc", "pgm", "epgm", "norm", "vmci"
ALWAYS = "inproc", "ipc", "tcp", "udp"  # in every libzmq


class Row:
    """Describe a hint: a row of `HINTS`.

    Attributes
    ----------
    errno : int
        The error number.
    calls : str
        Names of the calls, separated by spaces. A trailing ``*`` matches any suffix.
    text : str
        The hint, with the fields ``{type}``, ``{peers}``, ``{detail}``, ``{transports}`` and the named groups of
        `pattern`.
    types : collection of str
        Names of the socket types. Default: all types.
    pattern : str
        Regular expression for the detail of the error: the endpoint, the option or the argument.
    """

    __slots__ = ("calls", "errno", "pattern", "text", "types")

    def __init__(self, errno: int, calls: str, text: str, types: Collection[str] = (), pattern: str = ""):
        self.errno = errno
        self.calls = re.compile("|".join(f"({call.replace('*', '.*')})" for call in calls.split()))
        self.text = text
        self.types = types
        self.pattern = re.compile(pattern, re.DOTALL)

    def fill(self, error: ZMQError) -> str | None:
        """Return the hint for an error, or None if the row does not match it."""
        kind, detail = error.socket_type or "", str(error.detail or "")
        if not self.calls.fullmatch(error.call or "") or (self.types and kind not in self.types):
            return None
        found = self.pattern.match(detail)
        if found is None:
            return None
        peers = in_words(TYPES[kind].partners, "or") if kind in TYPES else ""
        words = {name: value or "" for name, value in found.groupdict().items()}
        return self.text.format(type=kind, peers=peers, detail=detail, transports=_transports(), **words)


def _transports() -> str:
    return ", ".join(name for name in TRANSPORTS if name in ALWAYS or _library.has(name))


_ONLY_SENDS = TYPES.keys() - types_with("receives")
_ONLY_RECEIVES = TYPES.keys() - types_with("sends")
_DATAGRAMS = ", ".join([*types_with("groups"), *types_with("datagrams")])
_NET = r"(?P<start>(tcp|ws|wss|udp|tipc)://)"
_V6 = r"(?P<start>(tcp|ws|wss|udp)://)(?P<host>\[[^]]*\]|[0-9a-fA-F]*:[0-9a-fA-F:]*)(?P<port>:[^:]*)$"

HINTS = (
    # Send on a receive-only socket, receive on a send-only socket.
    Row(errno.ENOTSUP, RECEIVE, "a {type} socket only sends; receive with a {peers} socket", _ONLY_SENDS),
    Row(errno.ENOTSUP, SEND, "a {type} socket only receives; send with a {peers} socket", _ONLY_RECEIVES),
    # Send and receive in the wrong order on REQ and REP sockets.
    Row(EFSM, RECEIVE, "no request was sent; call send first", ["REQ"]),
    Row(
        EFSM,
        SEND,
        "the reply to the last request has not been received; call recv first, or set req_relaxed=True to send anyway",
        ["REQ"],
    ),
    Row(EFSM, RECEIVE, "the reply to the last request has not been sent; call send first", ["REP"]),
    Row(EFSM, SEND, "no request was received; call recv first", ["REP"]),
    # Endpoints.
    Row(
        errno.EINVAL,
        "bind connect*",
        "an endpoint has the form TRANSPORT://ADDRESS, such as tcp://127.0.0.1:5555",
        (),
        "(?!.*://)",
    ),
    Row(errno.EINVAL, "bind connect*", "the name after inproc:// is missing", (), "inproc://$"),
    Row(
        errno.EINVAL,
        "connect*",
        "connect needs a port number; use `last_endpoint` of the bound socket",
        (),
        _NET + r".*:[*0]$",
    ),
    Row(errno.EINVAL, "bind connect*", "the port is missing, as in {start}127.0.0.1:5555", (), _NET + r"[^:]*:?/?$"),
    Row(
        errno.EINVAL,
        "bind",
        "the port must be * or a number from 1 to 65535, not {port}",
        (),
        _NET + r".*:(?P<port>[^:/]*)/?$",
    ),
    Row(
        errno.EINVAL,
        "connect*",
        "the port must be a number from 1 to 65535, not {port}",
        (),
        _NET + r".*:(?P<port>[^:]*)$",
    ),
    Row(errno.EPROTONOSUPPORT, "bind connect*", "this libzmq supports only {transports}", (), ".*://"),
    Row(ENOCOMPATPROTO, "bind connect*", f"only {_DATAGRAMS} sockets support udp", (), "udp://"),
    Row(
        ENOCOMPATPROTO,
        "bind connect*",
        "only PUB, SUB, XPUB and XSUB sockets support this transport",
        (),
        "(pgm|epgm|norm)://",
    ),
    Row(errno.ENODEV, "bind", "to bind to an IPv6 address, set ipv6=True on the socket first", (), _V6),
    Row(
        errno.ENODEV,
        "bind",
        "this machine has no network interface {host}; bind to an IP address, an interface, or * for all interfaces, "
        "such as {start}127.0.0.1{port}; host names need libzmq 4.3.5",
        (),
        _NET + r"(?P<host>.*)(?P<port>:[^:]*)$",
    ),
    Row(
        errno.EADDRNOTAVAIL,
        "bind",
        "no interface of this machine has the address {host}; bind to * for all interfaces",
        (),
        _NET + r"(?P<host>.*):[^:]*$",
    ),
    Row(
        errno.EADDRINUSE,
        "bind",
        "another socket uses port {port}; `ss -ltnp 'sport = :{port}'` shows its process; port * selects a free port",
        (),
        r"(tcp|ws|wss)://.*:(?P<port>\d+)/?$",
    ),
    Row(errno.EADDRINUSE, "bind", "another socket of this context is bound to {detail}", (), "inproc://"),
    Row(
        errno.EACCES,
        "bind",
        "ports below 1024 need root or CAP_NET_BIND_SERVICE; bind to a higher port",
        (),
        r"(tcp|ws|wss)://.*:\d{1,4}/?$",
    ),
    Row(errno.EACCES, "bind", "this user may not create the file {path}", (), "ipc://(?P<path>.*)"),
    Row(errno.EPERM, "bind", "this user may not create the file {path}", (), "ipc://(?P<path>.*)"),
    Row(errno.ENOENT, "bind", "the directory of {path} does not exist; create it", (), "ipc://(?P<path>.*)"),
    Row(
        errno.ENAMETOOLONG,
        "bind connect*",
        f"the maximum length of an ipc path is {_library.IPC_PATH_MAX_LEN} bytes",
        (),
        "ipc://",
    ),
    Row(
        errno.ENOENT,
        "unbind",
        "the socket is not bound to this endpoint; pass the value that `last_endpoint` had after the bind",
    ),
    Row(
        errno.ENOENT,
        "disconnect",
        "the socket is not connected to this endpoint; pass the endpoint that was passed to `connect`",
    ),
    Row(EMTHREAD, "bind connect*", "Context(io_threads=0) supports only inproc; make the context with io_threads=1"),
    # Arguments.
    Row(errno.EINVAL, "subscribe unsubscribe", "only SUB sockets have subscriptions"),
    Row(errno.EINVAL, "set setsockopt", "only SUB sockets have subscriptions", (), "(un)?subscribe="),
    Row(errno.EINVAL, "set setsockopt", "a routing id must have 1 to 255 bytes", (), "(connect_)?routing_id="),
    Row(errno.EINVAL, "socket", "the type must be a member of zmqcy.SocketType, such as zmqcy.PUSH", (), "type="),
    # Messages.
    Row(errno.EHOSTUNREACH, SEND, "no connected peer has the routing id in the first part", ["ROUTER"]),
    Row(errno.EAGAIN, RECEIVE, "no message has arrived"),
    Row(errno.EAGAIN, SEND, "no peer is connected, or the peers have reached their high-water marks (HWM)"),
)
"""Hints. The first row that matches an error is used."""


def hint_for(error: ZMQError) -> str | None:
    """Return the hint for an error, or None if no row matches or the error has its own message."""
    if error.errno is None or error.strerror != _library.strerror(error.errno):
        return None
    return next((hint for row in HINTS if row.errno == error.errno and (hint := row.fill(error))), None)
