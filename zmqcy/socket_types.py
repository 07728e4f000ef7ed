"""Table of the socket types in zmq.h 4.3.5, one row per type.

Sockets, devices, commands, constants, stubs and the reference page take the properties of a type from its row, and from
nowhere else. To add a type, add a row and run ``make stubs``.
"""

from __future__ import annotations

TRAITS = {
    "draft": "The type needs a libzmq with the draft API.",
    "thread_safe": "Several threads may use one socket at once. It has no file descriptor. Devices cannot forward it.",
    "sends": "The type can send messages.",
    "receives": "The type can receive messages.",
    "in_turn": "Sends and receives must alternate. Devices cannot forward it.",
    "drops_rest": "If a peer disconnects in the middle of a message, libzmq also drops the remaining parts.",
    "conflates": "With `conflate` only the last part of a message is sent.",
    "commands": "A part that starts with byte 0 or 1 is a subscription command.",
    "datagrams": "Messages are UDP datagrams. Devices cannot forward it.",
    "routing_ids": "`send(routing_id=)` selects the peer.",
    "groups": "Messages belong to groups.",
    "zap_server": "A ZAP handler may use this type: libzmq sends it authentication requests.",
    "capture": "A device may copy all messages to it.",
    "control": "A device may receive commands from it.",
    "binds": "Commands bind it by default. A prefix of the endpoint or an option overrides that.",
    "offered": "`zmqcy send`, `zmqcy recv` and the captures of `Device` accept it.",
}
"""Traits of socket types, with descriptions."""


class Type:
    """Describe a socket type: a row of `SOCKET_TYPES`.

    The arguments for collections are strings of words separated by spaces.

    Attributes
    ----------
    number : int
        Number in zmq.h, less than 64.
    name : str
        Name in zmq.h without ``ZMQ_``, at most 15 characters.
    text : str
        Description: what the type is for.
    traits : frozenset of str
        Names in `TRAITS`.
    partners : tuple of str
        Socket types that it can be connected with.
    parts : int
        Number of parts of each message. 0: any number.
    options : frozenset of str
        Options that this type has and some other types lack.
    refuses : frozenset of str
        Options that all other types have and this type refuses.
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
            raise ValueError(f"{self!r}: the number must be less than 64, and the name at most 15 characters long")

    def __repr__(self) -> str:
        return f"<Type {self.name} = {self.number}>"


_ROUTER = "router_mandatory router_raw router_handover router_notify probe_router connect_routing_id"
_XPUB = (
    "xpub_verbose xpub_verboser xpub_nodrop xpub_manual xpub_manual_last_value xpub_welcome_msg topics_count "
    "only_first_subscribe"
)

SOCKET_TYPES = (
    Type(0, "PAIR", "Exchange messages with exactly one peer.", "sends receives capture control offered", "PAIR"),
    Type(1, "PUB", "Send each message to all subscribers of its topic.",
         "sends conflates capture binds offered", "SUB XSUB", options=_XPUB),
    Type(2, "SUB", "Receive the messages of subscribed topics.",
         "receives control offered", "PUB XPUB", options="subscribe unsubscribe"),
    Type(3, "REQ", "Send a request, then receive its reply.",
         "sends receives in_turn drops_rest", "REP ROUTER", options="probe_router req_correlate req_relaxed"),
    Type(4, "REP", "Receive a request, then send its reply.",
         "sends receives in_turn zap_server control binds", "REQ DEALER", options=_ROUTER),
    Type(5, "DEALER", "Send round-robin to all peers, receive fair-queued from all peers.",
         "sends receives drops_rest conflates capture control offered", "REP DEALER ROUTER", options="probe_router"),
    Type(6, "ROUTER", "Send to the peer named by the routing id prefix. Received messages have that prefix too.",
         "sends receives zap_server binds offered", "REQ DEALER ROUTER", options=_ROUTER),
    Type(7, "PULL", "Receive fair-queued from all peers.", "receives control binds offered", "PUSH"),
    Type(8, "PUSH", "Send round-robin to all peers.", "sends drops_rest conflates capture offered", "PULL"),
    Type(9, "XPUB", "Publish as PUB does, and receive the subscriptions of peers as messages.",
         "sends receives capture binds", "SUB XSUB", options=_XPUB),
    Type(10, "XSUB", "Receive as SUB does, and send subscriptions as messages.",
         "sends receives commands", "PUB XPUB", options="xsub_verbose_unsubscribe only_first_subscribe"),
    Type(11, "STREAM", "Exchange bytes over plain TCP with programs that do not use ZeroMQ.",
         "sends receives", "", options="stream_notify connect_routing_id"),
    Type(12, "SERVER", "Exchange messages with CLIENT sockets, addressed by `routing_id`. No multipart messages.",
         "draft thread_safe sends receives routing_ids zap_server binds", "CLIENT", 1),
    Type(13, "CLIENT", "Send round-robin to SERVER sockets, receive fair-queued from them. No multipart messages.",
         "draft thread_safe sends receives", "SERVER", 1),
    Type(14, "RADIO", "Send each message to the members of a group, also over UDP: `send(group=)`.",
         "draft thread_safe sends groups binds", "DISH", 1, refuses="heartbeat_ivl"),
    Type(15, "DISH", "Receive the messages of joined groups, also over UDP: `join`, `leave`.",
         "draft thread_safe receives groups", "RADIO", 1, refuses="heartbeat_ivl"),
    Type(16, "GATHER", "Receive fair-queued from all peers. No multipart messages.",
         "draft thread_safe receives binds", "SCATTER", 1),
    Type(17, "SCATTER", "Send round-robin to all peers. No multipart messages.",
         "draft thread_safe sends", "GATHER", 1),
    Type(18, "DGRAM", "Exchange UDP datagrams with programs that do not use ZeroMQ: `host:port`, then the content.",
         "draft sends receives datagrams", "", 2),
    Type(19, "PEER", "Exchange messages with PEER sockets, addressed by the `routing_id` from `connect_peer`.",
         "draft thread_safe sends receives routing_ids", "PEER", 1),
    Type(20, "CHANNEL", "Exchange messages with exactly one peer. No multipart messages.",
         "draft thread_safe sends receives", "CHANNEL", 1),
)  # fmt: skip
"""Socket types, sorted by number."""

ALIASES = {"XREQ": "DEALER", "XREP": "ROUTER", "UPSTREAM": "PULL", "DOWNSTREAM": "PUSH"}
"""Older names of socket types in zmq.h."""


def types_with(*traits: str) -> list[str]:
    """Return the names of the types that have all the given traits, sorted by number."""
    return [row.name for row in SOCKET_TYPES if row.traits.issuperset(traits)]


def in_words(names: list[str] | tuple[str, ...], last: str = "and") -> str:
    """Join names to a list in words: ``A, B and C``."""
    return f" {last} ".join([", ".join(names[:-1]), *names[-1:]]) if len(names) > 1 else "".join(names)
