"""`zmq.devices`: devices that store their endpoints, and create their sockets in the thread or process that runs them.

New code should use `zmqcy.devices`, which reports errors, has metrics, and can be paused and stopped.
"""

import time
from multiprocessing import Process
from threading import Thread
from typing import Any

import zmqcy
from zmqcy.compat.core import Context
from zmqcy.constants import DeviceType, SocketType
from zmqcy.errors import ETERM

__all__ = [
    "BackgroundDevice", "Device", "DeviceType", "MonitoredQueue", "MonitoredQueueBase", "ProcessDevice",
    "ProcessMonitoredQueue", "ProcessProxy", "ProcessProxySteerable", "Proxy", "ProxyBase", "ProxySteerable",
    "ProxySteerableBase", "ThreadDevice", "ThreadMonitoredQueue", "ThreadProxy", "ThreadProxySteerable",
    "monitored_queue", "proxy",
]  # fmt: skip

proxy = zmqcy.proxy


def monitored_queue(
    in_socket: Any, out_socket: Any, mon_socket: Any, in_prefix: bytes = b"in", out_prefix: bytes = b"out"
) -> None:
    """Forward messages between two sockets, and send a copy of each message, with a prefix, to a third socket.

    Blocks until the context ends. Between two ROUTER sockets the first two parts are swapped, so that peers can address
    each other by routing id.

    Parameters
    ----------
    in_socket, out_socket : Socket
        The two sockets.
    mon_socket : Socket
        The socket that gets the copies.
    in_prefix, out_prefix : bytes
        The first part of the copies of messages received from `in_socket` and from `out_socket`.

    Raises
    ------
    ContextTerminated
        The context has ended.
    """
    for prefix in (in_prefix, out_prefix):
        if not isinstance(prefix, bytes):
            raise TypeError(f"monitored_queue: a prefix must be bytes, not {prefix!r:.80}")
    swap = in_socket.type == out_socket.type == SocketType.ROUTER
    poller = zmqcy.Poller()
    sides: dict[Any, tuple[Any, bytes]] = {in_socket: (out_socket, in_prefix), out_socket: (in_socket, out_prefix)}
    for each in sides:
        poller.register(each, zmqcy.POLLIN)
    while True:
        for each, _ in poller.poll():
            other, prefix = sides[each]
            source: Any = each
            parts = source.recv_multipart()
            if swap and len(parts) > 1:
                parts[:2] = parts[1::-1]
            mon_socket.send_multipart([prefix, *parts])
            other.send_multipart(parts)


class _Side:
    """The configuration of one socket of a device: its type, options and endpoints."""

    def __init__(self, kind: int | None) -> None:
        self.kind = kind
        self.options: list[tuple[int, Any]] = []
        self.calls: list[tuple[str, str]] = []

    def make(self, context: Any) -> Any:
        return self.prepare(context.socket(self.kind))

    def prepare(self, socket: Any) -> Any:
        for option, value in self.options:
            socket.setsockopt(option, value)
        for call, endpoint in self.calls:
            getattr(socket, call)(endpoint)
        return socket


def _free_port(taken: set[str], addr: str, *args: Any, **kwargs: Any) -> int:
    """Return a free port that no other socket of the device uses."""
    with zmqcy.Context() as context, context.socket(zmqcy.PUSH) as probe:
        while True:  # the probe stays bound to each port, so that each round finds another one
            port = probe.bind_to_random_port(addr, *args, **kwargs)
            if f"{addr}:{port}" not in taken:
                return port


def _with_side(name: str) -> Any:
    """Add the methods that configure the socket `name` to a class."""

    def decorate(cls: Any) -> Any:
        def side(device: Any) -> _Side:
            found: _Side = device._sides[name]
            return found

        def tell(call: str) -> Any:
            return lambda device, addr: side(device).calls.append((call, addr))

        def bind_to_random_port(device: Any, addr: str, *args: Any, **kwargs: Any) -> int:
            taken = {endpoint for each in device._sides.values() for _, endpoint in each.calls}
            port = _free_port(taken, addr, *args, **kwargs)
            side(device).calls.append(("bind", f"{addr}:{port}"))
            return port

        methods = {
            f"bind_{name}": (tell("bind"), f"Bind the {name} socket to an endpoint when the device starts."),
            f"connect_{name}": (tell("connect"), f"Connect the {name} socket to an endpoint when the device starts."),
            f"bind_{name}_to_random_port": (
                bind_to_random_port,
                f"Bind the {name} socket to a free port when the device starts. Return the port.",
            ),
            f"setsockopt_{name}": (
                lambda device, opt, value: side(device).options.append((opt, value)),
                f"Set an option of the {name} socket when the device starts.",
            ),
        }
        for method, (function, text) in methods.items():
            function.__name__ = method
            function.__qualname__ = f"{cls.__qualname__}.{method}"
            function.__doc__ = text
            setattr(cls, method, function)
        return cls

    return decorate


@_with_side("in")
@_with_side("out")
class Device:
    """A device that runs in the thread that calls `start`.

    Parameters
    ----------
    device_type : int, default QUEUE
        One of `zmq.DeviceType`.
    in_type, out_type : int
        The types of its two sockets.
    """

    context_factory: Any = Context.instance

    def __init__(self, device_type: int = DeviceType.QUEUE, in_type: int | None = None, out_type: int | None = None):
        if in_type is None or out_type is None:
            raise TypeError(f"{type(self).__name__}: in_type and out_type are required")
        self.device_type = device_type
        self.in_type = in_type
        self.out_type = out_type
        self.daemon = True
        self.done = False
        self._sides = {"in": _Side(in_type), "out": _Side(out_type)}

    def _setup_sockets(self) -> tuple[Any, ...]:
        context = self.context_factory()
        made = {name: side.make(context) for name, side in self._sides.items() if name != "out"}
        both = self._sides["out"].kind is None or (self._sides["out"].kind or 0) < 0
        out = self._sides["out"].prepare(made["in"]) if both else self._sides["out"].make(context)
        return made.pop("in"), out, *made.values()

    def run_device(self) -> None:
        """Create the sockets, and forward messages until the context ends."""
        zmqcy.proxy(*self._setup_sockets())

    def run(self) -> None:
        """Call `run_device`, and return when the context ends."""
        try:
            self.run_device()
        except zmqcy.ZMQError as error:
            if error.errno != ETERM:
                raise
        finally:
            self.done = True

    def start(self) -> None:
        """Run the device."""
        self.run()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the device has ended, for max `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.done and (deadline is None or time.monotonic() < deadline):
            time.sleep(0.001)


class BackgroundDevice(Device):
    """A device that runs in the background."""

    _launch_class: Any
    launcher: Any = None

    def start(self) -> None:
        """Start the device."""
        self.launcher = self._launch_class(target=self.run, daemon=self.daemon)
        self.launcher.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the device has ended, for max `timeout` seconds."""
        self.launcher.join(timeout)


class ThreadDevice(BackgroundDevice):
    """A device in a thread, with the global context."""

    _launch_class = Thread


class ProcessDevice(BackgroundDevice):
    """A device in a separate process, with its own context."""

    _launch_class = Process
    context_factory = Context


@_with_side("mon")
class ProxyBase(Device):
    def __init__(self, in_type: int, out_type: int, mon_type: int = SocketType.PUB) -> None:
        super().__init__(in_type=in_type, out_type=out_type)
        self.mon_type = mon_type
        self._sides["mon"] = _Side(mon_type)


class Proxy(ProxyBase):
    """A device with a socket that gets a copy of each message.

    Parameters
    ----------
    in_type, out_type : int
        The types of its two sockets.
    mon_type : int, default PUB
        The type of the socket that gets the copies.
    """


class ThreadProxy(ProxyBase, ThreadDevice):
    """Proxy in a thread."""


class ProcessProxy(ProxyBase, ProcessDevice):
    """Proxy in a process."""


@_with_side("ctrl")
class ProxySteerableBase(ProxyBase):
    def __init__(
        self, in_type: int, out_type: int, mon_type: int = SocketType.PUB, ctrl_type: int | None = None
    ) -> None:
        super().__init__(in_type, out_type, mon_type)
        self.ctrl_type = ctrl_type
        if ctrl_type is not None:
            self._sides["ctrl"] = _Side(ctrl_type)

    def run_device(self) -> None:
        zmqcy.proxy_steerable(*self._setup_sockets())


class ProxySteerable(ProxySteerableBase):
    """A Proxy with a control socket for the commands PAUSE, RESUME, TERMINATE and STATISTICS.

    Parameters
    ----------
    in_type, out_type, mon_type : int
        As in Proxy.
    ctrl_type : int, optional
        The type of the control socket.
    """


class ThreadProxySteerable(ProxySteerableBase, ThreadProxy):
    """ProxySteerable in a thread."""


class ProcessProxySteerable(ProxySteerableBase, ProcessProxy):
    """ProxySteerable in a process."""


class MonitoredQueueBase(ProxyBase):
    def __init__(
        self,
        in_type: int,
        out_type: int,
        mon_type: int = SocketType.PUB,
        in_prefix: bytes = b"in",
        out_prefix: bytes = b"out",
    ) -> None:
        super().__init__(in_type, out_type, mon_type)
        self._prefixes = in_prefix, out_prefix

    def run_device(self) -> None:
        first, second, third = self._setup_sockets()
        monitored_queue(first, second, third, *self._prefixes)


class MonitoredQueue(MonitoredQueueBase, Proxy):
    """`monitored_queue` as a device.

    Parameters
    ----------
    in_type, out_type, mon_type : int
        As in Proxy.
    in_prefix, out_prefix : bytes
        As in `monitored_queue`.
    """


class ThreadMonitoredQueue(MonitoredQueueBase, ThreadProxy):
    """MonitoredQueue in a thread."""


class ProcessMonitoredQueue(MonitoredQueueBase, ProcessProxy):
    """MonitoredQueue in a process."""
