from typing import Final, Literal, TypeAlias

_Kind: TypeAlias = Literal["int", "bool", "int64", "uint64", "fd", "duration", "bytes", "string", "key"]
_Access: TypeAlias = Literal["r", "w", "rw"]

class Option:
    number: int
    name: str
    kind: _Kind
    access: _Access
    unit: str
    text: str
    draft: bool
    def __init__(
        self, number: int, name: str, kind: _Kind, access: _Access, unit: str, text: str, draft: bool = False
    ) -> None: ...

SOCKET_OPTIONS: Final[tuple[Option, ...]]
CONTEXT_OPTIONS: Final[tuple[Option, ...]]
ALIASES: Final[dict[str, str]]
OWNERS: dict[int, frozenset[str]]
REFUSED: dict[int, frozenset[str]]
