from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from os import PathLike
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from typing_extensions import Self

from zmqcy._proxy import Hook, _Filter
from zmqcy.constants import DeviceType, SocketType
from zmqcy.context import Context
from zmqcy.monitor import SocketEvent

KINDS: Final[dict[DeviceType, tuple[SocketType, SocketType]]]
CAPTURES: Final[tuple[SocketType, ...]]
EVENTS: Final = 100
LINGER: Final = 10_000

_Endpoints: TypeAlias = str | Sequence[str]

class Flow(NamedTuple):
    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int
    full: int

class Statistics(NamedTuple):
    state: str
    since: datetime
    front_to_back: Flow
    back_to_front: Flow
    waits: int

class DeviceEvent(NamedTuple):
    time: datetime
    side: str
    event: SocketEvent

class Device:
    watch: bool
    def __init__(
        self,
        kind: DeviceType | tuple[SocketType, SocketType],
        front: _Endpoints,
        back: _Endpoints,
        *,
        front_options: dict[str, Any] | None = None,
        back_options: dict[str, Any] | None = None,
        capture: _Endpoints | None = None,
        capture_type: SocketType = ...,
        capture_options: dict[str, Any] | None = None,
        run_in: Literal["thread", "process"] = "thread",
        io_threads: int = 1,
        context: Context | None = None,
        filter: _Filter | Hook | str | None = None,
        watch: bool = False,
        authentication: dict[str, Any] | None = None,
    ) -> None: ...
    @classmethod
    def from_config(cls, path: str | PathLike[str]) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None: ...
    def start(self) -> None: ...
    def run(self, ready: Callable[[], object] | None = None) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self, drain: bool = False, timeout: float | timedelta | None = None) -> None: ...
    def join(self, timeout: float | timedelta | None = None) -> None: ...
    def statistics(self) -> Statistics: ...
    def events(self) -> list[DeviceEvent]: ...
    def peers(self) -> dict[str, int]: ...
    @property
    def endpoints(self) -> dict[str, tuple[str, ...]]: ...
    @property
    def pid(self) -> int | None: ...
