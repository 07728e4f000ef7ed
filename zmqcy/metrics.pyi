from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry
from typing_extensions import Self

from zmqcy.devices import Device
from zmqcy.socket import BaseSocket

STATES: Final[tuple[str, ...]]

class Registration:
    name: str
    def __init__(self, name: str, undo: Callable[[], object]) -> None: ...
    def unregister(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

def register(
    socket: BaseSocket, name: str | None = None, registry: CollectorRegistry | None = None
) -> Registration: ...
def register_device(device: Device, name: str, registry: CollectorRegistry | None = None) -> Registration: ...
