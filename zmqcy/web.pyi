from socket import socket
from typing import Final

from prometheus_client import CollectorRegistry
from typing_extensions import Self

from zmqcy.devices import Device
from zmqcy.metrics import Registration

CLIENTS: Final = 32
READERS: Final = 16
TIMEOUT: Final = 10
BODY: Final = 4096
PERIOD: Final = 1
PATH: Final = 65536
HEADERS: Final = 100

class Server:
    url: str
    def __init__(self, app: object, listener: socket, registration: Registration) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

def serve(
    device: Device, address: str, *, name: str, token: str | None = None, registry: CollectorRegistry | None = None
) -> Server: ...
