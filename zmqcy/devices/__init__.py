"""Devices that run as a service: any thread can start, pause, stop and monitor them.

`device` contains the public class. It passes calls to a `loop.Loop`, which owns the sockets, or to a `process.Remote`,
which passes them through a pipe to the `Loop` of another process.
"""

from zmqcy.devices.device import Device, Flow, Statistics
from zmqcy.devices.loop import LINGER
from zmqcy.devices.record import EVENTS, DeviceEvent
from zmqcy.devices.side import CAPTURES, KINDS

__all__ = ["CAPTURES", "EVENTS", "KINDS", "LINGER", "Device", "DeviceEvent", "Flow", "Statistics"]
