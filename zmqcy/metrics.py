"""The numbers of sockets and devices for Prometheus: `pip install zmqcy[metrics]`.

A registry has one collector for all that is registered in it, since a metric of one name must come from one place.
Nothing is counted here: a scrape reads what sockets and devices count anyway.
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
        "zmqcy.metrics needs prometheus_client: pip install zmqcy[metrics]", name="prometheus_client"
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
    """What `register` and `register_device` return: it is there to undo them, by `unregister` or as a context manager.

    Attributes
    ----------
    name : str
        The name that the metrics have.
    """

    def __init__(self, name: str, undo: Callable[[], object]) -> None:
        self.name: str = name
        self._undo = undo

    def unregister(self) -> None:
        """Have the numbers no longer in the registry; do nothing if they are not."""
        self._undo()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.unregister()

    def __repr__(self):
        return f"<Registration of {self.name!r}>"


def register(socket: BaseSocket, name: str | None = None, registry: CollectorRegistry | None = None) -> Registration:
    """Have the numbers of a socket in a registry until it is closed or collected.

    Any thread may scrape: that reads `stats`, which does not enter the socket. The metrics, each with the labels
    ``name`` and ``type``: ``zmqcy_socket_messages_total`` and ``zmqcy_socket_bytes_total`` with ``direction`` (``in``
    or ``out``), ``zmqcy_socket_waits_total``, ``zmqcy_socket_would_blocks_total``.

    Parameters
    ----------
    socket : zmqcy.Socket, zmqcy.asyncio.Socket or zmqcy.anyio.Socket
        The socket; the registry does not keep it alive.
    name : str, optional
        What to call it; by default a number. Sockets of the same type need different names.
    registry : prometheus_client.CollectorRegistry, optional
        By default prometheus_client's own.

    Returns
    -------
    Registration

    Raises
    ------
    ValueError
        There is a socket of this name and type in the registry, or this one is closed.
    TypeError
        It is no socket, or the name no text.
    """
    if not isinstance(socket, BaseSocket):
        raise TypeError(f"register: a socket is required, not {socket!r:.80}")
    if socket.closed:
        raise ValueError("register: the socket is closed")
    return _register("register", "sockets", socket, name, socket.socket_type.name, registry)


def register_device(device: Device, name: str, registry: CollectorRegistry | None = None) -> Registration:
    """Have the numbers of a device in a registry, from its start on and when it has ended, until it is collected.

    The metrics, each with the label ``device``: ``zmqcy_device_messages_total``, ``zmqcy_device_bytes_total`` and
    ``zmqcy_device_full_total`` with ``direction`` (``front_to_back`` or ``back_to_front``),
    ``zmqcy_device_waits_total``, ``zmqcy_device_state`` with ``state`` (1 for the state that it is in, 0 for the
    others), ``zmqcy_device_start_time_seconds``, and of a device that is watched ``zmqcy_device_peers`` with ``side``.

    Parameters
    ----------
    device : zmqcy.devices.Device
        The device; the registry does not keep it alive.
    name : str
        What to call it; each device needs its own.
    registry : prometheus_client.CollectorRegistry, optional
        By default prometheus_client's own.

    Returns
    -------
    Registration

    Raises
    ------
    ValueError
        There is a device of this name in the registry.
    TypeError
        It is no device, or the name no text.
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
        self.sockets = {}  # weakly, by name and type
        self.devices = {}

    def add(self, call, kind, what, name, type_name):
        entries = getattr(self, kind)
        while name is None:
            number = str(next(self.numbers))
            name = None if (number, type_name) in entries else number
        key = name, type_name
        if key in entries and _alive(entries[key]) is not None:
            raise ValueError(f"{call}: there is a {type_name or 'device'} {name!r} in the registry already")

        def remove(_=None):
            if entries.get(key) is reference:  # and not one that has the name by now
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
    """Return what it refers to, or None where that has gone, or is a closed socket."""
    what = reference()
    return None if isinstance(what, BaseSocket) and what.closed else what


def _families():
    socket, device = ["name", "type"], ["device"]
    counter, gauge = partial(_family, CounterMetricFamily), partial(_family, GaugeMetricFamily)
    return dict(
        [
            counter("zmqcy_socket_messages", "Whole messages that went through a socket.", [*socket, "direction"]),
            counter("zmqcy_socket_bytes", "Bytes of their content.", [*socket, "direction"]),
            counter("zmqcy_socket_waits", "Calls that had to wait.", socket),
            counter("zmqcy_socket_would_blocks", "Calls that ended because they had to wait, or to wait on.", socket),
            counter("zmqcy_device_messages", "Messages that a device has forwarded.", [*device, "direction"]),
            counter("zmqcy_device_bytes", "Bytes of their content.", [*device, "direction"]),
            counter("zmqcy_device_full", "Times a message found no room on the other side.", [*device, "direction"]),
            counter("zmqcy_device_waits", "Times a device had nothing to do.", device),
            gauge("zmqcy_device_state", "1 for the state that a device is in.", [*device, "state"]),
            gauge("zmqcy_device_start_time_seconds", "When a device was started, in seconds since 1970.", device),
            gauge("zmqcy_device_peers", "Connections of a side of a device.", [*device, "side"]),
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
    except ZMQError:  # not started yet, or of the process that this one was forked from
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
        except ZMQError:  # it is watched from its next start on
            return
        for side, number in peers.items():
            families["zmqcy_device_peers"].add_metric([name, side], number)
