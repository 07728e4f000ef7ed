"""Devices that run like a service: started, paused, stopped and watched from any thread.

`device` has the class that users see. What is asked of it goes to a `loop.Loop`, which has the sockets, or to a
`process.Remote`, which passes it through a pipe to the `Loop` of another process.
"""

from zmqcy.devices.device import Device, Flow, Statistics
from zmqcy.devices.loop import LINGER
from zmqcy.devices.record import EVENTS, DeviceEvent
from zmqcy.devices.side import CAPTURES, KINDS

__all__ = ["CAPTURES", "EVENTS", "KINDS", "LINGER", "Device", "DeviceEvent", "Flow", "Statistics"]
