"""Notifications to systemd, as sd_notify(3) sends them, if systemd listens."""

import os
import socket
from contextlib import suppress

PATIENCE = 0.2  # seconds to wait for systemd, which must not block the service


def listens() -> bool:
    """Return whether systemd expects notifications."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*lines: str) -> None:
    """Send assignments such as ``READY=1``; do nothing if systemd expects none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address[0] == "@":  # a name in the abstract namespace
        address = "\0" + address[1:]
    # The service continues without: systemd reports a missing READY=1.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        sender.sendto("\n".join(lines).encode(), address)


def watchdog() -> float | None:
    """Return the interval of ``WATCHDOG=1`` in seconds, half of the limit; None: no watchdog."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    if (
        not allowed.isdecimal()
        or not int(allowed)
        or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid())
    ):
        return None
    return int(allowed) / 2e6
