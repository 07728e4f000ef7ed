"""Table of the options of sockets and contexts in zmq.h 4.3.5, one row per option.

Properties, `getsockopt` and `setsockopt`, constants, stubs and the reference page are generated from these rows. To add
an option, add a row.

Kinds, and the Python types that a property accepts and returns:

========= ======================================= =====================================
kind      accepts                                 returns
========= ======================================= =====================================
int       int (32 bits)                           int
bool      bool, or 0 and 1                        bool
int64     int                                     int
uint64    int, not negative                       int
fd        int                                     int
duration  int in the unit, timedelta, None (= -1) int in the unit, -1: indefinitely
bytes     bytes-like                              bytes
string    str, bytes, None (= unset)              str
key       32 raw bytes, or 40 of Z85 (bytes, str) 40 bytes (Z85)
========= ======================================= =====================================
"""

from __future__ import annotations

from zmqcy.socket_types import SOCKET_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal, TypeAlias

    _Kind: TypeAlias = Literal["int", "bool", "int64", "uint64", "fd", "duration", "bytes", "string", "key"]
    _Access: TypeAlias = Literal["r", "w", "rw"]


class Option:
    """Describe an option: a row of `SOCKET_OPTIONS` or `CONTEXT_OPTIONS`.

    Attributes
    ----------
    number : int
        Number in zmq.h.
    name : str
        Name of the property: the name in zmq.h without ``ZMQ_``, in lower case.
    kind : str
        Kind of the value: see the table above.
    access : str
        ``"r"`` (read), ``"w"`` (write) or ``"rw"``.
    unit : str
        Unit of the value, or ``""``.
    text : str
        Description: one or more sentences.
    draft : bool
        Whether the option needs a libzmq with the draft API.
    """

    __slots__ = ("access", "draft", "kind", "name", "number", "text", "unit")

    def __init__(
        self, number: int, name: str, kind: _Kind, access: _Access, unit: str, text: str, draft: bool = False
    ) -> None:
        self.number = number
        self.name = name
        self.kind = kind
        self.access = access
        self.unit = unit
        self.text = text
        self.draft = draft

    def __repr__(self) -> str:
        return f"<Option {self.name} = {self.number}>"


SOCKET_OPTIONS: Final = (
    Option(4, "affinity", "uint64", "rw", "bitmap",
           "I/O threads that may serve the socket's connections; bit 0 is the first thread. 0: all threads."),
    Option(5, "routing_id", "bytes", "rw", "",
           "Routing id by which ROUTER peers address this socket: 1 to 255 bytes. Set it before `connect`."),
    Option(6, "subscribe", "bytes", "w", "", "Subscribe to a topic prefix (SUB)."),
    Option(7, "unsubscribe", "bytes", "w", "", "Remove a subscription to a topic prefix (SUB)."),
    Option(8, "rate", "int", "rw", "kilobits/s", "Maximum data rate of multicast transports."),
    Option(9, "recovery_ivl", "duration", "rw", "ms",
           "Multicast recovery interval: how long a receiver can be absent without losing data."),
    Option(11, "sndbuf", "int", "rw", "bytes", "Size of the kernel's send buffer. -1: system default."),
    Option(12, "rcvbuf", "int", "rw", "bytes", "Size of the kernel's receive buffer. -1: system default."),
    Option(13, "rcvmore", "bool", "r", "", "Whether the message part received last is followed by another part."),
    Option(14, "fd", "fd", "r", "",
           "File descriptor that becomes readable when `events` may have changed (edge-triggered)."),
    Option(15, "events", "int", "r", "bitmap",
           "Operations that would not block now: POLLIN to receive, POLLOUT to send."),
    Option(16, "type", "int", "r", "", "Socket type: a member of SocketType."),
    Option(17, "linger", "duration", "rw", "ms",
           "How long unsent messages are kept after `close`. 0: dropped immediately. -1: kept indefinitely."),
    Option(18, "reconnect_ivl", "duration", "rw", "ms",
           "Reconnection interval: the delay before a lost connection is retried. -1: no reconnection."),
    Option(19, "backlog", "int", "rw", "connections",
           "Maximum length of the queue of pending connections of a listener."),
    Option(21, "reconnect_ivl_max", "duration", "rw", "ms",
           "Maximum reconnection interval for exponential backoff. 0: no backoff, always `reconnect_ivl`."),
    Option(22, "maxmsgsize", "int64", "rw", "bytes",
           "Maximum inbound message size. A peer that sends a larger message is disconnected. -1: unlimited."),
    Option(23, "sndhwm", "int", "rw", "messages",
           "Send high-water mark: the maximum number of queued outbound messages per peer. 0: unlimited."),
    Option(24, "rcvhwm", "int", "rw", "messages",
           "Receive high-water mark: the maximum number of queued inbound messages per peer. 0: unlimited."),
    Option(25, "multicast_hops", "int", "rw", "hops", "Time-to-live of multicast packets, in network hops."),
    Option(27, "rcvtimeo", "duration", "rw", "ms",
           "Default timeout of receive calls. 0: non-blocking. -1: no timeout."),
    Option(28, "sndtimeo", "duration", "rw", "ms", "Default timeout of send calls. 0: non-blocking. -1: no timeout."),
    Option(31, "ipv4only", "bool", "rw", "", "Use IPv4 only. Deprecated: use `ipv6`, the opposite."),
    Option(32, "last_endpoint", "string", "r", "",
           "Endpoint of the last `bind` or `connect`, with wildcards resolved, such as the port of `tcp://*:*`."),
    Option(33, "router_mandatory", "bool", "w", "",
           "Raise HostUnreachable for an unknown routing id instead of dropping the message (ROUTER)."),
    Option(34, "tcp_keepalive", "int", "rw", "", "TCP keep-alive. 1: on. 0: off. -1: system default."),
    Option(35, "tcp_keepalive_cnt", "int", "rw", "probes",
           "Number of unanswered TCP keep-alive probes before the connection is closed. -1: system default."),
    Option(36, "tcp_keepalive_idle", "int", "rw", "s",
           "Idle time before the first TCP keep-alive probe. -1: system default."),
    Option(37, "tcp_keepalive_intvl", "int", "rw", "s", "Interval between TCP keep-alive probes. -1: system default."),
    Option(38, "tcp_accept_filter", "string", "w", "",
           "IP address or network that may connect. Deprecated: use an Authenticator (ZAP)."),
    Option(39, "immediate", "bool", "rw", "",
           "Queue messages only for completed connections. False: also for connections in progress."),
    Option(40, "xpub_verbose", "bool", "w", "",
           "Receive every subscription, duplicates too, not only the first one to a topic (XPUB)."),
    Option(41, "router_raw", "bool", "w", "",
           "Exchange bytes over plain TCP (ROUTER). Deprecated: use a STREAM socket."),
    Option(42, "ipv6", "bool", "rw", "", "Use IPv6 in addition to IPv4."),
    Option(43, "mechanism", "int", "r", "", "Security mechanism in use: a member of SecurityMechanism."),
    Option(44, "plain_server", "bool", "rw", "", "Act as PLAIN server: clients must send a user name and password."),
    Option(45, "plain_username", "string", "rw", "", "User name of a PLAIN client. None: no PLAIN."),
    Option(46, "plain_password", "string", "rw", "", "Password of a PLAIN client. None: no PLAIN."),
    Option(47, "curve_server", "bool", "rw", "", "Act as CURVE server in the handshake."),
    Option(48, "curve_publickey", "key", "rw", "", "Public key of this socket (CURVE)."),
    Option(49, "curve_secretkey", "key", "rw", "", "Secret key of this socket (CURVE)."),
    Option(50, "curve_serverkey", "key", "rw", "", "Public key of the server that this CURVE client connects to."),
    Option(51, "probe_router", "bool", "w", "",
           "Send an empty message to each new peer, so that a ROUTER peer learns the routing id."),
    Option(52, "req_correlate", "bool", "w", "",
           "Prefix requests with a request id, and drop replies that lack it (REQ)."),
    Option(53, "req_relaxed", "bool", "w", "",
           "Allow a new request before the reply to the last one has arrived (REQ)."),
    Option(54, "conflate", "bool", "rw", "",
           "Keep only the newest message in the queue. Not for multipart messages: only one part is kept."),
    Option(55, "zap_domain", "string", "rw", "",
           "ZAP domain: the name that the authentication handler receives with each request."),
    Option(56, "router_handover", "bool", "w", "",
           "Give the routing id of a connected peer to a new peer that uses the same one (ROUTER)."),
    Option(57, "tos", "int", "rw", "", "Type-of-service byte of outbound IP packets."),
    Option(58, "ipc_filter_pid", "int", "w", "",
           "Process id that may connect over ipc. Deprecated: use an Authenticator (ZAP)."),
    Option(59, "ipc_filter_uid", "int", "w", "",
           "User id that may connect over ipc. Deprecated: use an Authenticator (ZAP)."),
    Option(60, "ipc_filter_gid", "int", "w", "",
           "Group id that may connect over ipc. Deprecated: use an Authenticator (ZAP)."),
    Option(61, "connect_routing_id", "bytes", "w", "",
           "Routing id that the next `connect` assigns to its peer (ROUTER, STREAM)."),
    Option(62, "gssapi_server", "bool", "rw", "", "Act as GSSAPI server in the handshake."),
    Option(63, "gssapi_principal", "string", "rw", "",
           "Name of the GSSAPI principal whose credentials this socket uses."),
    Option(64, "gssapi_service_principal", "string", "rw", "",
           "Name of the GSSAPI principal of the server that this client connects to."),
    Option(65, "gssapi_plaintext", "bool", "rw", "", "Authenticate with GSSAPI, but do not encrypt."),
    Option(66, "handshake_ivl", "duration", "rw", "ms",
           "Maximum duration of the handshake of a connection. 0: unlimited."),
    Option(68, "socks_proxy", "string", "rw", "",
           "SOCKS5 proxy for outbound TCP connections, as `host:port`. None: no proxy."),
    Option(69, "xpub_nodrop", "bool", "w", "",
           "Block, or raise Again, at the high-water mark of a subscriber instead of dropping (PUB, XPUB)."),
    Option(71, "xpub_manual", "bool", "w", "",
           "Apply only the subscriptions that the program confirms with `subscribe` (XPUB)."),
    Option(72, "xpub_welcome_msg", "bytes", "w", "", "Message that is sent to each new subscriber (XPUB)."),
    Option(73, "stream_notify", "bool", "w", "",
           "Receive an empty message when a peer connects or disconnects (STREAM)."),
    Option(74, "invert_matching", "bool", "rw", "",
           "Deliver only messages that match no subscription. Set it on both sides (PUB, XPUB, SUB)."),
    Option(75, "heartbeat_ivl", "duration", "rw", "ms",
           "Interval between heartbeats. 0: no heartbeats. RADIO and DISH sockets refuse it."),
    Option(76, "heartbeat_ttl", "duration", "rw", "ms",
           "Time after which the peer closes a connection on which it receives nothing. 0: never."),
    Option(77, "heartbeat_timeout", "duration", "rw", "ms",
           "Time to wait for the reply to a heartbeat before the connection is closed. -1: `heartbeat_ivl`."),
    Option(78, "xpub_verboser", "bool", "w", "",
           "Receive every subscription and unsubscription, duplicates too (XPUB)."),
    Option(79, "connect_timeout", "duration", "rw", "ms", "Maximum duration of a TCP connect. 0: system default."),
    Option(80, "tcp_maxrt", "duration", "rw", "ms",
           "Time after which TCP closes a connection with unacknowledged data. 0: system default."),
    Option(81, "thread_safe", "bool", "r", "", "Whether several threads may use a socket of this type at once."),
    Option(84, "multicast_maxtpdu", "int", "rw", "bytes", "Maximum transport data unit of multicast packets."),
    Option(85, "vmci_buffer_size", "uint64", "rw", "bytes", "Size of the buffer of a VMCI connection."),
    Option(86, "vmci_buffer_min_size", "uint64", "rw", "bytes", "Minimum buffer size of a VMCI connection."),
    Option(87, "vmci_buffer_max_size", "uint64", "rw", "bytes", "Maximum buffer size of a VMCI connection."),
    Option(88, "vmci_connect_timeout", "duration", "rw", "ms", "Maximum duration of a VMCI connect. -1: VMCI default."),
    Option(89, "use_fd", "fd", "rw", "", "Listening file descriptor for the next `bind`; libzmq closes it. -1: none."),
    Option(90, "gssapi_principal_nametype", "int", "rw", "",
           "Type of the name in `gssapi_principal`: a member of GSSAPINameType."),
    Option(91, "gssapi_service_principal_nametype", "int", "rw", "",
           "Type of the name in `gssapi_service_principal`: a member of GSSAPINameType."),
    Option(92, "bindtodevice", "string", "rw", "", "Network interface for the traffic of this socket, such as `eth1`."),
    Option(93, "zap_enforce_domain", "bool", "rw", "",
           "Refuse peers if `zap_domain` is set and no ZAP handler runs.", True),
    Option(94, "loopback_fastpath", "bool", "rw", "", "Use the TCP loopback fast path of Windows.", True),
    Option(95, "metadata", "string", "w", "", "Handshake property for the peer, as `X-name:value`.", True),
    Option(96, "multicast_loop", "bool", "rw", "", "Receive the multicast messages that this socket sends.", True),
    Option(97, "router_notify", "int", "rw", "bitmap",
           "Receive an empty message when a peer connects (1) or disconnects (2) (ROUTER).", True),
    Option(98, "xpub_manual_last_value", "bool", "w", "",
           "As `xpub_manual`; the first message after a confirmed subscription is sent to that peer only.", True),
    Option(99, "socks_username", "string", "rw", "", "User name for the SOCKS5 proxy.", True),
    Option(100, "socks_password", "string", "rw", "", "Password for the SOCKS5 proxy.", True),
    Option(101, "in_batch_size", "int", "rw", "bytes", "Maximum number of bytes per read from a connection.", True),
    Option(102, "out_batch_size", "int", "rw", "bytes", "Maximum number of bytes per write to a connection.", True),
    Option(103, "wss_key_pem", "string", "w", "", "Private key of a wss server, in PEM format.", True),
    Option(104, "wss_cert_pem", "string", "w", "", "Certificate of a wss server, in PEM format.", True),
    Option(105, "wss_trust_pem", "string", "w", "", "Certificates that a wss client trusts, in PEM format.", True),
    Option(106, "wss_hostname", "string", "w", "", "Host name that the certificate of the wss server must have.", True),
    Option(107, "wss_trust_system", "bool", "w", "", "Trust the system's certificates (wss client).", True),
    Option(108, "only_first_subscribe", "bool", "w", "",
           "Treat only the first part of a multipart message as a subscription (XPUB, XSUB).", True),
    Option(109, "reconnect_stop", "int", "rw", "bitmap",
           "Conditions under which not to reconnect: members of ReconnectStop.", True),
    Option(110, "hello_msg", "bytes", "w", "", "Message that is sent to each new peer.", True),
    Option(111, "disconnect_msg", "bytes", "w", "", "Message that this socket receives when a peer disconnects.", True),
    Option(112, "priority", "int", "rw", "", "Priority of outbound packets (SO_PRIORITY).", True),
    Option(113, "busy_poll", "int", "w", "us",
           "How long the kernel busy-polls the network device (SO_BUSY_POLL).", True),
    Option(114, "hiccup_msg", "bytes", "w", "", "Message that this socket receives when a connection is lost.", True),
    Option(115, "xsub_verbose_unsubscribe", "bool", "w", "", "Send every unsubscription, duplicates too (XSUB).", True),
    Option(116, "topics_count", "int", "r", "topics",
           "Number of subscribed topics: by the peers (PUB, XPUB), or by this socket (SUB, XSUB).", True),
    Option(117, "norm_mode", "int", "rw", "", "NORM: congestion control, a member of NormMode.", True),
    Option(118, "norm_unicast_nack", "bool", "rw", "",
           "NORM: receivers send negative acknowledgements by unicast.", True),
    Option(119, "norm_buffer_size", "int", "rw", "kilobytes", "NORM: buffer size per stream.", True),
    Option(120, "norm_segment_size", "int", "rw", "bytes", "NORM: maximum payload per packet.", True),
    Option(121, "norm_block_size", "int", "rw", "segments", "NORM: number of source segments per block.", True),
    Option(122, "norm_num_parity", "int", "rw", "segments", "NORM: maximum number of parity segments per block.", True),
    Option(123, "norm_num_autoparity", "int", "rw", "segments",
           "NORM: number of parity segments sent without a request.", True),
    Option(124, "norm_push", "bool", "rw", "", "NORM: new data replaces old data in a full buffer.", True),
)  # fmt: skip
"""Socket options, sorted by number."""

CONTEXT_OPTIONS: Final = (
    Option(1, "io_threads", "int", "rw", "threads",
           "Number of I/O threads. Set it before the first socket. 0: inproc only."),
    Option(2, "max_sockets", "int", "rw", "sockets", "Maximum number of open sockets. Set it before the first socket."),
    Option(3, "socket_limit", "int", "r", "sockets", "Largest value of `max_sockets` that libzmq accepts."),
    Option(3, "thread_priority", "int", "w", "",
           "Scheduling priority of the I/O threads. Set it before the first socket."),
    Option(4, "thread_sched_policy", "int", "w", "",
           "Scheduling policy of the I/O threads, such as `os.SCHED_FIFO`. Set it before the first socket."),
    Option(5, "max_msgsz", "int", "rw", "bytes", "Maximum size of an outbound message, at most 2**31 - 1."),
    Option(6, "msg_t_size", "int", "r", "bytes", "Size of libzmq's message structure, zmq_msg_t."),
    Option(7, "thread_affinity_cpu_add", "int", "w", "",
           "Add a CPU to those that the I/O threads may run on. Set it before the first socket."),
    Option(8, "thread_affinity_cpu_remove", "int", "w", "",
           "Remove a CPU from those that the I/O threads may run on. Set it before the first socket."),
    Option(9, "thread_name_prefix", "int", "rw", "", "Number that the names of the I/O threads start with."),
    Option(42, "ipv6", "bool", "rw", "", "Whether new sockets use IPv6 in addition to IPv4."),
    Option(70, "blocky", "bool", "rw", "",
           "Whether the default `linger` of new sockets is -1. False: 0, so that `term` does not wait for messages."),
    Option(10, "zero_copy_recv", "bool", "rw", "",
           "Share the receive buffer with received messages instead of copying them.", True),
)  # fmt: skip
"""Context options, sorted by number. `socket_limit` (read) and `thread_priority` (write) have the same number."""


def _types_by_option(field: str) -> dict[int, set[str]]:
    numbers = {option.name: option.number for option in SOCKET_OPTIONS}
    found: dict[int, set[str]] = {}
    for row in SOCKET_TYPES:
        for name in getattr(row, field):
            found.setdefault(numbers[name], set()).add(row.name)
    return found


OWNERS = _types_by_option("options")
"""Options that only some socket types have: maps the option's number to the names of these types."""

REFUSED = _types_by_option("refuses")
"""Options that some socket types refuse: maps the option's number to the names of these types."""

ALIASES: Final = {
    "identity": "routing_id",
    "connect_rid": "connect_routing_id",
    "delay_attach_on_connect": "immediate",
    "fail_unroutable": "router_mandatory",
    "router_behavior": "router_mandatory",
}
"""Older names of socket options in zmq.h. Each has a constant."""
