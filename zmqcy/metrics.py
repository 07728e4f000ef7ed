"""Metrics of sockets and devices for Prometheus: `pip install 'zmqcy[metrics]'`.

A registry has one collector for all registered sockets and devices, because a metric of one name must come from one
collector. Sockets and devices count in any case: a scrape only reads their counters.
"""

from __future__ import annotations

import threading
from functools import partial
from itertools import count
from weakref import WeakKeyDictionary, ref

try:
    from prometheus_client import REGISTRY
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ImportError:
    raise ModuleNotFoundError(
        "zmqcy.metrics requires prometheus_client: pip install 'zmqcy[metrics]'", name="prometheus_client"
    ) from None

from zmqcy.devices import Device
from zmqcy.devices.loop import State
from zmqcy.errors import ZMQError
from zmqcy.socket import BaseSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from prometheus_client import CollectorRegistry
    from typing_extensions import Self

STATES: Final[tuple[str, ...]] = tuple(state.value for state in State)
_collectors = WeakKeyDictionary()  # by registry
_lock = threading.Lock()


class Registration:
    """A registered socket or device. `unregister`, or the end of a ``with`` block, removes it from the registry.

    Attributes
    ----------
    name : str
        The value of the label ``name`` or ``device``.
    """

    def __init__(self, name: str, undo: Callable[[], object]) -> None:
        self.name: str = name
        self._undo = undo

    def unregister(self) -> None:
        """Remove the socket or device from the registry. Repeated calls have no effect."""
        self._undo()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.unregister()

    def __repr__(self):
        return f"<Registration of {self.name!r}>"


def register(socket: BaseSocket, name: str | None = None, registry: CollectorRegistry | None = None) -> Registration:
    """Export the counters of a socket to a registry, until the socket is closed or garbage-collected.

    Any thread may scrape, also while another thread uses the socket. The metrics have the labels ``name`` and ``type``:

    - ``zmqcy_socket_messages_total``, ``zmqcy_socket_bytes_total``, with the label ``direction``: ``in`` or ``out``.
    - ``zmqcy_socket_waits_total``: calls that blocked.
    - ``zmqcy_socket_would_blocks_total``: calls that failed because they would block, or timed out.

    Parameters
    ----------
    socket : zmqcy.Socket, zmqcy.asyncio.Socket or zmqcy.anyio.Socket
        The socket. The registry holds only a weak reference.
    name : str, optional
        The label ``name``. The default is a number. Sockets of the same type need different names.
    registry : prometheus_client.CollectorRegistry, optional
        The default is ``prometheus_client.REGISTRY``.

    Returns
    -------
    Registration

    Raises
    ------
    ValueError
        The registry already contains a socket of this name and type, or the socket is closed.
    TypeError
        `socket` is not a socket, or `name` is not a str.

    Examples
    --------
    >>> register(socket, "jobs")
    <Registration of 'jobs'>

    See Also
    --------
    register_device
    """
    if not isinstance(socket, BaseSocket):
        raise TypeError(f"register: a socket is required, not {socket!r:.80}")
    if socket.closed:
        raise ValueError("register: the socket is closed")
    return _register("register", "sockets", socket, name, socket.socket_type.name, registry)


def register_device(device: Device, name: str, registry: CollectorRegistry | None = None) -> Registration:
    """Export the counters of a device to a registry, until the device is garbage-collected.

    The metrics exist from the first start of the device on, also after it has ended. They have the label ``device``:

    - ``zmqcy_device_messages_total``, ``zmqcy_device_bytes_total`` and ``zmqcy_device_full_total``, with the label
      ``direction`` (``front_to_back`` or ``back_to_front``).
    - ``zmqcy_device_waits_total``.
    - ``zmqcy_device_state``, with the label ``state``: 1 for the current state, 0 for the other states.
    - ``zmqcy_device_start_time_seconds``.
    - ``zmqcy_device_peers``, with the label ``side``, if the device was created with `watch`.

    Parameters
    ----------
    device : zmqcy.devices.Device
        The device. The registry holds only a weak reference.
    name : str
        The label ``device``. Devices need different names.
    registry : prometheus_client.CollectorRegistry, optional
        The default is ``prometheus_client.REGISTRY``.

    Returns
    -------
    Registration

    Raises
    ------
    ValueError
        The registry already contains a device of this name.
    TypeError
        `device` is not a Device, or `name` is not a str.

    See Also
    --------
    register
    """
    if not isinstance(device, Device):
        raise TypeError(f"register_device: a Device is required, not {device!r:.80}")
    if name is None:
        raise TypeError("register_device: a name is required")
    return _register("register_device", "devices", device, name, None, registry)


def _register(call, kind, what, name, type_name, registry):
    if name is not None and not isinstance(name, str):
        raise TypeError(f"{call}: the name must be a str, not {name!r:.80}")
    registry = REGISTRY if registry is None else registry
    with _lock:
        collector = _collectors.get(registry)
        if collector is None:
            collector = _Collector()
            registry.register(collector)
            _collectors[registry] = collector
        return collector.add(call, kind, what, name, type_name)


class _Collector:
    def __init__(self):
        self.numbers = count(1)
        self.sockets = {}  # weak references, by name and type
        self.devices = {}

    def add(self, call, kind, what, name, type_name):
        entries = getattr(self, kind)
        while name is None:
            number = str(next(self.numbers))
            name = None if (number, type_name) in entries else number
        key = name, type_name
        if key in entries and _alive(entries[key]) is not None:
            raise ValueError(
                f"{call}: the registry already contains a {type_name or 'device'} {name!r}: choose another name"
            )

        def remove(_=None):
            if entries.get(key) is reference:  # not one that has been registered under this name since
                entries.pop(key, None)

        reference = entries[key] = ref(what, remove)
        return Registration(name, remove)

    def collect(self):
        families = _families()
        for (name, type_name), reference in self.sockets.copy().items():
            socket = _alive(reference)
            if socket is None:
                self.sockets.pop((name, type_name), None)
                continue
            _add_socket(families, [name, type_name], socket.stats)
        for (name, _), reference in self.devices.copy().items():
            device = reference()
            if device is not None:
                _add_device(families, name, device)
        return families.values()

    def describe(self):
        return _families().values()


def _alive(reference):
    """Return the socket or device of a weak reference, or None if it is closed or no longer exists."""
    what = reference()
    return None if isinstance(what, BaseSocket) and what.closed else what


def _families():
    socket, device = ["name", "type"], ["device"]
    counter, gauge = partial(_family, CounterMetricFamily), partial(_family, GaugeMetricFamily)
    return dict(
        [
            counter("zmqcy_socket_messages", "Messages that a socket has sent or received.", [*socket, "direction"]),
            counter("zmqcy_socket_bytes", "Bytes of these messages.", [*socket, "direction"]),
            counter("zmqcy_socket_waits", "Calls that blocked.", socket),
            counter("zmqcy_socket_would_blocks", "Calls that failed because they would block, or timed out.", socket),
            counter("zmqcy_device_messages", "Messages that a device has forwarded.", [*device, "direction"]),
            counter("zmqcy_device_bytes", "Bytes of these messages.", [*device, "direction"]),
            counter("zmqcy_device_full", "Times that a direction was blocked.", [*device, "direction"]),
            counter("zmqcy_device_waits", "Times that an idle device slept.", device),
            gauge("zmqcy_device_state", "1 for the current state.", [*device, "state"]),
            gauge("zmqcy_device_start_time_seconds", "Start of a device, in seconds since 1970.", device),
            gauge("zmqcy_device_peers", "Open connections of a side.", [*device, "side"]),
        ]
    )


def _family(kind, name, text, labels):
    return name, kind(name, text, labels=labels)


def _add_socket(families, labels, stats):
    families["zmqcy_socket_messages"].add_metric([*labels, "in"], stats.messages_received)
    families["zmqcy_socket_messages"].add_metric([*labels, "out"], stats.messages_sent)
    families["zmqcy_socket_bytes"].add_metric([*labels, "in"], stats.bytes_received)
    families["zmqcy_socket_bytes"].add_metric([*labels, "out"], stats.bytes_sent)
    families["zmqcy_socket_waits"].add_metric(labels, stats.waits)
    families["zmqcy_socket_would_blocks"].add_metric(labels, stats.would_blocks)


def _add_device(families, name, device):
    try:
        statistics = device.statistics()
    except ZMQError:  # not started yet, or a device of the parent process
        return
    for direction in ("front_to_back", "back_to_front"):
        flow = getattr(statistics, direction)
        families["zmqcy_device_messages"].add_metric([name, direction], flow.messages_out)
        families["zmqcy_device_bytes"].add_metric([name, direction], flow.bytes_out)
        families["zmqcy_device_full"].add_metric([name, direction], flow.full)
    families["zmqcy_device_waits"].add_metric([name], statistics.waits)
    for state in STATES:
        families["zmqcy_device_state"].add_metric([name, state], state == statistics.state)
    families["zmqcy_device_start_time_seconds"].add_metric([name], statistics.since.timestamp())
    if device.watch:
        try:
            peers = device.peers()
        except ZMQError:  # `watch` takes effect at the next start
            return
        for side, number in peers.items():
            families["zmqcy_device_peers"].add_metric([name, side], number)
