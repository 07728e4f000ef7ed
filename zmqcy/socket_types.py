"""The table of socket types: one row per type, as zmq.h 4.3.5 has them.

Sockets, devices, commands, constants, stubs and the reference page read what a type is from its row, and from nowhere
else. To add a type, add its row and run ``make stubs``.
"""

from __future__ import annotations

TRAITS = {
    "draft": "Only a libzmq with draft sockets has it.",
    "thread_safe": "Several threads may use one at once. It has no file descriptor, and no device forwards it.",
    "sends": "It has messages to send.",
    "receives": "It has messages to receive.",
    "in_turn": "It sends and receives in turn. No device forwards it.",
    "drops_rest": "If a peer disconnects in the middle of a message, libzmq drops the parts still to come as well.",
    "conflates": "With `conflate` it sends only the last part of a message.",
    "commands": "It takes a part that begins with a byte 0 or 1 for a subscription.",
    "datagrams": "It sends and receives datagrams of UDP. No device forwards it.",
    "routing_ids": "`send(routing_id=)` names the peer.",
    "groups": "Its messages belong to groups.",
    "zap_server": "libzmq asks it about peers, where it is bound to the endpoint of ZAP.",
    "capture": "A device may copy all messages to it.",
    "control": "A device may take commands from it.",
    "binds": "Commands bind it, where neither a prefix nor an option says what to do.",
    "offered": "`zmqcy send`, `zmqcy recv` and the captures of `Device` offer it.",
}
"""What a type can have, and what that means."""


class Type:
    """A row of the table. Fields of several words take a string with spaces between them.

    Attributes
    ----------
    number : int
        The type's number in zmq.h, less than 64.
    name : str
        Its name in zmq.h without ``ZMQ_``, at most 15 characters.
    text : str
        What it is for.
    traits : frozenset of str
        Names of `TRAITS`.
    partners : tuple of str
        The types at the other end of a connection.
    parts : int
        How many parts each message has; 0: any number.
    options : frozenset of str
        The options that only some types have, this one among them.
    refuses : frozenset of str
        Options of all other types which this one refuses.
    """

    __slots__ = ("name", "number", "options", "partners", "parts", "refuses", "text", "traits")

    def __init__(
        self,
        number: int,
        name: str,
        text: str,
        traits: str,
        partners: str,
        parts: int = 0,
        options: str = "",
        refuses: str = "",
    ):
        self.number = number
        self.name = name
        self.text = text
        self.traits = frozenset(traits.split())
        self.partners = tuple(partners.split())
        self.parts = parts
        self.options = frozenset(options.split())
        self.refuses = frozenset(refuses.split())
        if not self.traits <= TRAITS.keys():
            raise ValueError(f"{name}: unknown traits: {self.traits - TRAITS.keys()}")
        if number not in range(64) or len(name) > 15:
            raise ValueError(f"{self!r}: C code has room for numbers below 64 and names of up to 15 characters")

    def __repr__(self) -> str:
        return f"<Type {self.name} = {self.number}>"


_ROUTER = "router_mandatory router_raw router_handover router_notify probe_router connect_routing_id"
_XPUB = (
    "xpub_verbose xpub_verboser xpub_nodrop xpub_manual xpub_manual_last_value xpub_welcome_msg topics_count "
    "only_first_subscribe"
)

SOCKET_TYPES = (
    Type(0, "PAIR", "Exchange messages with one peer.", "sends receives capture control offered", "PAIR"),
    Type(1, "PUB", "Send each message to all subscribers of its topic.",
         "sends conflates capture binds offered", "SUB XSUB", options=_XPUB),
    Type(2, "SUB", "Receive the messages of the topics that it subscribes to.",
         "receives control offered", "PUB XPUB", options="subscribe unsubscribe"),
    Type(3, "REQ", "Send a request, then receive its reply.",
         "sends receives in_turn drops_rest", "REP ROUTER", options="probe_router req_correlate req_relaxed"),
    Type(4, "REP", "Receive a request, then send its reply.",
         "sends receives in_turn zap_server control binds", "REQ DEALER", options=_ROUTER),
    Type(5, "DEALER", "Send round-robin to all peers, and receive fair-queued from them.",
         "sends receives drops_rest conflates capture control offered", "REP DEALER ROUTER", options="probe_router"),
    Type(6, "ROUTER", "Send to the peer whose routing id is the first part; a message received begins with it.",
         "sends receives zap_server binds offered", "REQ DEALER ROUTER", options=_ROUTER),
    Type(7, "PULL", "Receive fair-queued from all peers.", "receives control binds offered", "PUSH"),
    Type(8, "PUSH", "Send round-robin to all peers.", "sends drops_rest conflates capture offered", "PULL"),
    Type(9, "XPUB", "PUB that receives the subscriptions of its peers.",
         "sends receives capture binds", "SUB XSUB", options=_XPUB),
    Type(10, "XSUB", "SUB that sends subscriptions as messages.",
         "sends receives commands", "PUB XPUB", options="xsub_verbose_unsubscribe only_first_subscribe"),
    Type(11, "STREAM", "Exchange bytes over TCP with programs that do not use ZeroMQ.",
         "sends receives", "", options="stream_notify connect_routing_id"),
    Type(12, "SERVER", "Answer clients by `routing_id`: a ROUTER without parts.",
         "draft thread_safe sends receives routing_ids zap_server binds", "CLIENT", 1),
    Type(13, "CLIENT", "DEALER without parts.", "draft thread_safe sends receives", "SERVER", 1),
    Type(14, "RADIO", "Send each message to the members of its group, also over UDP: `send(group=)`.",
         "draft thread_safe sends groups binds", "DISH", 1, refuses="heartbeat_ivl"),
    Type(15, "DISH", "Receive the messages of the groups that it joins, also over UDP: `join`, `leave`.",
         "draft thread_safe receives groups", "RADIO", 1, refuses="heartbeat_ivl"),
    Type(16, "GATHER", "PULL without parts.", "draft thread_safe receives binds", "SCATTER", 1),
    Type(17, "SCATTER", "PUSH without parts.", "draft thread_safe sends", "GATHER", 1),
    Type(18, "DGRAM", "Exchange datagrams of UDP with programs that do not use ZeroMQ: `host:port` and the content.",
         "draft sends receives datagrams", "", 2),
    Type(19, "PEER", "SERVER at both ends; `connect_peer` returns the `routing_id` of the other one.",
         "draft thread_safe sends receives routing_ids", "PEER", 1),
    Type(20, "CHANNEL", "PAIR without parts.", "draft thread_safe sends receives", "CHANNEL", 1),
)  # fmt: skip
"""Socket types, by number."""

ALIASES = {"XREQ": "DEALER", "XREP": "ROUTER", "UPSTREAM": "PULL", "DOWNSTREAM": "PUSH"}
"""Older names of socket types, as zmq.h has them."""


def types_with(*traits: str) -> list[str]:
    """Return the names of the types that have all of some traits, by number."""
    return [row.name for row in SOCKET_TYPES if row.traits.issuperset(traits)]


def in_words(names: list[str] | tuple[str, ...], last: str = "and") -> str:
    """Join names for a text: ``A, B and C``."""
    return f" {last} ".join([", ".join(names[:-1]), *names[-1:]]) if len(names) > 1 else "".join(names)
