"""The record of a device's connections: the last events, and how many there are."""

import itertools
import select
import threading
from collections import deque
from datetime import datetime, timezone
from typing import NamedTuple

from zmqcy.errors import ZMQError
from zmqcy.monitor import Monitor, SocketEvent
from zmqcy.socket import Socket

EVENTS = 100  # that a device remembers


class DeviceEvent(NamedTuple):
    """Something that happened to a connection of a device."""

    time: datetime
    """When it was read from libzmq, a moment after it happened (UTC)."""
    side: str
    """``front``, ``back`` or ``capture``."""
    event: SocketEvent


class Record:
    """What happens to the connections of a device: the last events, and which connections there are.

    A thread reads it from the monitors as it comes, since libzmq keeps what nobody reads without end.
    """

    def __init__(self) -> None:
        self.monitors: dict[str, Monitor] = {}  # by the side
        self.events: deque[DeviceEvent] = deque(maxlen=EVENTS)
        self.lock = threading.RLock()  # a signal handler may ask in a thread that is asking
        self.thread = threading.Thread(target=self._run, name="zmqcy device events", daemon=True)

    def watch(self, side: str, socket: Socket) -> None:
        self.monitors[side] = socket.watch()

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        waits = select.poll()
        monitors = {}
        for side, monitor in self.monitors.items():
            monitors[monitor.fileno()] = side, monitor
            waits.register(monitor, select.POLLIN)
        while monitors:
            for fd, _ in waits.poll():
                side, monitor = monitors[fd]
                try:
                    with self.lock:  # the monitor counts connections as it reads
                        for event in itertools.islice(iter(monitor.try_recv, None), 1000):  # they may have no end
                            self.events.append(DeviceEvent(datetime.now(timezone.utc), side, event))
                except ZMQError:  # the socket was closed, or its context has ended
                    waits.unregister(fd)
                    del monitors[fd]
                    monitor.close()

    def finish(self) -> None:
        """Have all that was there read; the sockets are closed."""
        if self.thread.ident is None:
            for monitor in self.monitors.values():
                monitor.close()
        else:
            self.thread.join()

    def read(self) -> tuple[list[DeviceEvent], dict[str, int]]:
        """Return the last events, and how many connections each side has."""
        with self.lock:
            return list(self.events), {side: monitor._connections for side, monitor in self.monitors.items()}
