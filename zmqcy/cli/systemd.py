"""What a service tells systemd, as sd_notify(3) does, where there is one that listens."""

import os
import socket
from contextlib import suppress

PATIENCE = 0.2  # seconds that a reader may take to make room: it may be late, and must not hold the service up


def listens() -> bool:
    """Tell whether something wants to be told."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*lines: str) -> None:
    """Send assignments such as ``READY=1``; do nothing where nobody wants them."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address[0] == "@":  # a name in the abstract namespace
        address = "\0" + address[1:]
    # A service goes on without: whoever waits for READY=1 in vain says so himself.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        sender.sendto("\n".join(lines).encode(), address)


def watchdog() -> float | None:
    """Return the seconds between two ``WATCHDOG=1``, half of what is allowed; None where none are asked for."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    if (
        not allowed.isdecimal()
        or not int(allowed)
        or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid())
    ):
        return None
    return int(allowed) / 2e6
