"""Write what the stubs take from the tables: options, and the enums with their plain names.

    python tools/stubs.py           write
    python tools/stubs.py --check   exit with 1, and show a diff, where a file is not what would be written

It writes all of `constants.pyi`, and in the other stubs the lines between ``# generated: begin NAME`` and
``# generated: end``, as ruff's formatter would have them.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterator
from enum import Enum, IntFlag
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tables of this checkout, not of a zmqcy that is installed

from zmqcy import constants  # noqa: E402
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS, Option  # noqa: E402

Lines = Iterator[str]

GIVES = {
    "int": "int",
    "bool": "bool",
    "int64": "int",
    "uint64": "int",
    "fd": "int",
    "duration": "int",
    "bytes": "bytes",
    "string": "str",
    "key": "bytes",
}
TAKES = GIVES | {
    "duration": "float | timedelta | None",
    "bytes": "Buffer",
    "string": "str | bytes | None",
    "key": "bytes | str",
}
METHODS = ("subscribe", "unsubscribe")  # of sockets, where a context has options of these names


def property_of(option: Option) -> Lines:
    name, taken = option.name, TAKES[option.kind]
    if option.access == "w":
        yield f"{name}: _WriteOnly[{taken}]"
        return
    yield "@property"
    yield f"def {name}(self) -> {GIVES[option.kind]}: ..."
    if option.access == "rw":
        yield f"@{name}.setter"
        yield f"def {name}(self, value: {taken}) -> None: ..."


def attribute(option: Option) -> str:
    return f"{option.name}: {TAKES[option.kind]}"


def defaults() -> list[Option]:
    """List the options of sockets that a context has defaults for, and no option of its own."""
    own = {option.name for option in CONTEXT_OPTIONS}
    return [option for option in SOCKET_OPTIONS if "w" in option.access and option.name not in own]


def kinds() -> Lines:
    """Write the options of sockets by what getsockopt and setsockopt make of them."""
    groups = {
        "_DurationOption": ["duration"],
        "_BytesOption": ["bytes"],
        "_StringOption": ["string"],
        "_KeyOption": ["key"],
    }
    groups["_IntOption"] = sorted(set(GIVES).difference(*groups.values()))
    for group, members in groups.items():
        names = [option.name for option in SOCKET_OPTIONS if option.kind in members]
        names += [alias for alias, name in ALIASES.items() if name in names]
        yield f"{group}: TypeAlias = Literal["
        for name in names:
            yield f"    SocketOption.{name.upper()},"
        yield "]"


def socket_keywords() -> Lines:
    for option in SOCKET_OPTIONS:
        if "w" in option.access and option.name not in METHODS:
            yield attribute(option)


def socket_properties() -> Lines:
    for option in SOCKET_OPTIONS:
        if option.name not in METHODS:
            yield from property_of(option)


def context_keywords() -> Lines:
    for option in (*CONTEXT_OPTIONS, *defaults()):
        if "w" in option.access and option.name != "io_threads":  # a parameter of its own
            yield attribute(option)


def context_properties() -> Lines:
    for option in CONTEXT_OPTIONS:
        yield from property_of(option)


def context_defaults() -> Lines:
    for option in defaults():
        yield attribute(option)


REGIONS: dict[str, dict[str, Callable[[], Lines]]] = {
    "_base.pyi": {"kinds": kinds},
    "socket.pyi": {"keywords": socket_keywords, "properties": socket_properties},
    "context.pyi": {"keywords": context_keywords, "properties": context_properties, "defaults": context_defaults},
}


def enum(cls: type[Enum]) -> Lines:
    yield f"class {cls.__name__}({'IntFlag' if issubclass(cls, IntFlag) else 'IntEnum'}):"
    for name, member in cls.__members__.items():
        # The numbers of errors are the system's.
        yield f"    {name} = {'...' if cls is constants.Errno else member.value}"


def plain_names() -> dict[str, str]:
    """Map each public name of `constants` that is no class to its value."""
    names = {}
    for name in constants.__all__:
        value = getattr(constants, name)
        if isinstance(value, Enum):
            names[name] = f"{type(value).__name__}.{value.name}"
        elif isinstance(value, (int, str)):
            names[name] = repr(value).replace("'", '"')
    return names


def constants_stub() -> Lines:
    yield "# Written by tools/stubs.py from constants.py and options.py: change those, and run it."
    yield ""
    yield "from enum import Enum, IntEnum, IntFlag"
    yield "from typing import Final"
    yield ""
    for cls, _ in constants.ENUMS:
        yield from enum(cls)
        yield ""
    yield "ENUMS: Final[tuple[tuple[type[Enum], str], ...]]"
    names = plain_names()
    for name, value in names.items():
        yield f"{name}: Final = {value}"
    yield ""
    yield "__all__ = ["
    exported = [*(cls.__name__ for cls, _ in constants.ENUMS), *names]
    for name in sorted(exported, key=lambda name: (not name.isupper(), name)):
        yield f'    "{name}",'
    yield "]"


def fill(name: str, text: str) -> str:
    """Return the text of a stub with its regions written anew."""
    writers = dict(REGIONS[name])

    def region(match: re.Match[str]) -> str:
        indent, which = match["indent"], match["which"]
        lines = [f"{indent}{line}" if line else "" for line in writers.pop(which)()]
        return "\n".join([match["begin"], *lines, match["end"]])

    begin = r"^(?P<begin>(?P<indent> *)# generated: begin (?P<which>\w+))$"
    text = re.sub(rf"{begin}\n(?:.*\n)*?(?P<end> *# generated: end)$", region, text, flags=re.MULTILINE)
    if writers:
        raise SystemExit(f"{name} has no region {', '.join(writers)}")
    return text


def stubs() -> Iterator[tuple[Path, str, str]]:
    """Give each file, its text, and what it should be."""
    for name in ("constants.pyi", *REGIONS):
        path = ROOT / "zmqcy" / name
        old = path.read_text() if path.exists() else ""
        yield path, old, fill(name, old) if name in REGIONS else "\n".join(constants_stub()) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where something would change")
    check = parser.parse_args().check
    stale = 0
    for path, old, new in stubs():
        if old == new:
            continue
        stale = 1
        if check:
            name = str(path.relative_to(ROOT))
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, f"{name}, made")
            )
        else:
            path.write_text(new)
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main())
