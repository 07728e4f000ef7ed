"""The numbers of a socket, as `Socket.stats` and `Socket.pipes_stats` give them."""

from typing import NamedTuple


class SocketStats(NamedTuple):
    """What went through a socket since it was made.

    Messages are whole ones, whatever the number of their parts; bytes are those of their content. A message counts as
    sent when libzmq has taken it, as received when the program has.
    """

    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    waits: int
    """How many times a call had to wait."""
    would_blocks: int
    """How many calls ended because they would have had to wait, or to wait on."""


class PipeStats(NamedTuple):
    """What waits in libzmq for one connection of a socket. Those over inproc have no endpoints."""

    local: str
    """Where this side is bound; empty where it has connected."""
    remote: str
    """The endpoint of the other side."""
    outbound: int
    """How many parts of messages wait to be sent."""
    inbound: int
    """How many parts of messages wait to be received."""
