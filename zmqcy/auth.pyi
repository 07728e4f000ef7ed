from collections.abc import Awaitable, Callable, Iterable, Mapping
from os import PathLike
from typing import Any, Final, NamedTuple, TypeAlias

from typing_extensions import Self

from zmqcy._context import Context

class _Any: ...

ANY: Final[_Any]

class Certificate:
    public: bytes
    secret: bytes | None
    metadata: dict[str, str]
    def __init__(
        self, public: bytes | str, secret: bytes | str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None: ...
    @classmethod
    def generate(cls, metadata: Mapping[str, str] | None = None) -> Self: ...
    @classmethod
    def load(cls, path: str | PathLike[str], *, readable: bool = False) -> Self: ...
    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None: ...
    def save_secret(self, path: str | PathLike[str], *, overwrite: bool = False) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    __hash__: None  # type: ignore[assignment]

_Key: TypeAlias = bytes | str | Certificate
_Verdict: TypeAlias = bool | str | None
_Decision: TypeAlias = _Verdict | Awaitable[_Verdict]
_Addresses: TypeAlias = str | Iterable[str]
_Passwords: TypeAlias = str | PathLike[str] | Mapping[str, str] | Mapping[str, bytes] | Callable[[str, str], _Decision]
_Keys: TypeAlias = _Any | str | PathLike[str] | Mapping[Any, str] | Iterable[_Key] | Callable[[bytes], _Decision]
_Principals: TypeAlias = _Any | Mapping[str, str] | Iterable[str] | Callable[[str], _Decision]

class Policy:
    def __init__(
        self,
        *,
        allow: _Addresses | None = None,
        deny: _Addresses = (),
        null: bool = False,
        plain: _Passwords | None = None,
        curve: _Keys | None = None,
        gssapi: _Principals | None = None,
    ) -> None: ...

class Request(NamedTuple):
    domain: str
    address: str
    mechanism: str
    credentials: tuple[bytes | str, ...]

class Authenticator:
    context: Context
    def __init__(
        self,
        context: Context | None = None,
        *,
        allow: _Addresses | None = None,
        deny: _Addresses = (),
        null: bool = False,
        plain: _Passwords | None = None,
        curve: _Keys | None = None,
        gssapi: _Principals | None = None,
        domains: Mapping[str, Policy] | None = None,
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exception: object) -> None: ...
    @property
    def running(self) -> bool: ...
