"""Record the connections of a device: the last events, and the addresses of the connected peers."""

import itertools
import select
import threading
from collections import deque
from datetime import datetime, timezone
from typing import NamedTuple

from zmqcy.constants import Event
from zmqcy.errors import ZMQError
from zmqcy.monitor import Monitor, SocketEvent
from zmqcy.socket import Socket

EVENTS = 100  # the number of events that a device keeps


class DeviceEvent(NamedTuple):
    """An event of a connection of a device."""

    time: datetime
    """When the device read the event from libzmq (UTC), shortly after it happened."""
    side: str
    """``front``, ``back`` or ``capture``."""
    event: SocketEvent


class Record:
    """The last events and the open connections of a device.

    A thread reads the events as they arrive: libzmq queues unread events without a limit.
    """

    def __init__(self) -> None:
        self.monitors: dict[str, Monitor] = {}  # by side
        self.peers: dict[str, dict[int, str]] = {}  # by side: file descriptors, with the address of each peer
        self.events: deque[DeviceEvent] = deque(maxlen=EVENTS)
        self.lock = threading.RLock()  # a signal handler may call `read` in a thread that is inside `read`
        self.thread = threading.Thread(target=self._run, name="zmqcy device events", daemon=True)

    def watch(self, side: str, socket: Socket) -> None:
        self.monitors[side] = socket.watch()
        self.peers[side] = {}

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
                    with self.lock:
                        for event in itertools.islice(iter(monitor.try_recv, None), 1000):  # events may never stop
                            self._add(side, event)
                except ZMQError:  # the socket was closed, or its context was terminated
                    with self.lock:
                        self.peers[side].clear()
                    waits.unregister(fd)
                    del monitors[fd]
                    monitor.close()

    def _add(self, side: str, event: SocketEvent) -> None:
        self.events.append(DeviceEvent(datetime.now(timezone.utc), side, event))
        if event.event & (Event.ACCEPTED | Event.CONNECTED):
            self.peers[side][event.value] = event.peer or event.endpoint
        elif event.event & Event.DISCONNECTED:
            self.peers[side].pop(event.value, None)

    def finish(self) -> None:
        """Wait until all events are read. The sockets are closed."""
        if self.thread.ident is None:
            for monitor in self.monitors.values():
                monitor.close()
        else:
            self.thread.join()

    def read(self) -> tuple[list[DeviceEvent], dict[str, list[str]]]:
        """Return the last events, and per side the addresses of the connected peers."""
        with self.lock:
            return list(self.events), {side: list(peers.values()) for side, peers in self.peers.items()}
