"""Define the statistics that `Socket.stats` and `Socket.pipes_stats` return."""

from typing import NamedTuple


class SocketStats(NamedTuple):
    """Counters of a socket since it was created.

    A multipart message counts as one message. A message counts as sent when libzmq has accepted it, and as received
    when a call has returned it.
    """

    messages_sent: int
    """Number of messages sent."""
    bytes_sent: int
    """Number of content bytes sent."""
    messages_received: int
    """Number of messages received."""
    bytes_received: int
    """Number of content bytes received."""
    waits: int
    """Number of times that a call blocked."""
    would_blocks: int
    """Number of calls that failed because they would have blocked, or timed out."""


class PipeStats(NamedTuple):
    """Queue lengths of one connection of a socket. Connections over inproc have no endpoints."""

    local: str
    """Endpoint that this side is bound to; empty if this side has connected."""
    remote: str
    """Endpoint of the peer."""
    outbound: int
    """Number of message parts queued for sending."""
    inbound: int
    """Number of message parts queued for receiving."""
