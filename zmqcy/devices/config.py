"""Create devices from TOML files: `pip install 'zmqcy[toml]'`.

The types define the contents of a file. The description of each type is used in error messages. `Device` itself checks
the values of type `Any`.
"""

# Types that are created from tables:
# mypy: disable-error-code="valid-type,misc"
# pyright: reportInvalidTypeForm=false

import os
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

try:
    from msgspec import Meta, Struct, ValidationError, convert, defstruct, toml

    toml.decode(b"")  # requires tomli with Python 3.10
except ImportError as error:
    text = "Device.from_config requires msgspec, and with Python 3.10 tomli: pip install 'zmqcy[toml]'"
    raise ModuleNotFoundError(text, name=error.name) from None

from zmqcy.constants import DeviceType, SocketType
from zmqcy.devices.side import CAPTURES, OPTIONS

_Made = TypeVar("_Made")
_ABSENT: Any = None  # the default of optional keys


def _described(kind: Any, words: str) -> Any:
    return Annotated[kind, Meta(description=words)]


DEVICES, SOCKETS, CAPTURE_SOCKETS = (tuple(each.name for each in names) for names in (DeviceType, SocketType, CAPTURES))
INTEGER, FLAG, TEXT = _described(int, "an integer"), _described(bool, "true or false"), _described(str, "a string")
VALUES = {  # by kind of option
    "bool": FLAG,
    "duration": _described(int | float, "a number"),
    "bytes": TEXT,
    "string": TEXT,
    "key": _described(str, "a string of 40 characters"),
    "topics": _described(str | list[str], "a string or a list of strings"),
}
Options = defstruct("Options", [(name, VALUES.get(kind, INTEGER), None) for name, kind in OPTIONS.items()])


class Side(Struct, forbid_unknown_fields=True):
    endpoints: _described(str | list[str], "an endpoint or a sequence of endpoints")
    options: Options = _ABSENT


class Capture(Side, forbid_unknown_fields=True):
    type: _described(Literal[CAPTURE_SOCKETS], f"one of {', '.join(CAPTURE_SOCKETS)}") = _ABSENT


class Authentication(Struct, forbid_unknown_fields=True):
    allow: Any = None
    deny: Any = None
    null: FLAG = False
    plain: Any = None
    curve: Any = None


class File(Struct, forbid_unknown_fields=True):
    kind: _described(
        Literal[DEVICES] | tuple[Literal[SOCKETS], Literal[SOCKETS]],
        f"one of {', '.join(DEVICES)} or a list of two socket types ({', '.join(SOCKETS)})",
    )
    front: Side
    back: Side
    capture: Capture = _ABSENT
    run_in: Any = None
    io_threads: Any = None
    watch: FLAG = False
    filter: Any = None
    authentication: Authentication = _ABSENT


def make(device: Callable[..., _Made], path: str | os.PathLike[str]) -> _Made:
    """Call `device` with the arguments in a file. Errors name the file and the key."""
    name = os.fspath(path)
    with open(path, "rb") as file:
        try:
            table = toml.decode(file.read())
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        secret = _secret_of(table)
        if secret is not None:
            from zmqcy.auth import _refuse_readable  # type: ignore[attr-defined]

            _refuse_readable(file, name, f"{secret} of this file")
    try:
        convert(table, File)
        return device(**_arguments(table, os.path.dirname(os.path.abspath(name))))
    except ValidationError as error:
        raise _in_words(name, str(error), table) from None
    except (TypeError, ValueError) as error:
        text = re.sub(r"^Device: (front|back|capture)\b", r"Device: \1.endpoints", str(error))
        raise type(error)(text.replace("_options", ".options", 1).replace("Device", name, 1)) from None


def _secret_of(table: dict[str, Any]) -> str | None:
    """Return the name of the first key with a secret, or None."""
    for key, value in table.items():
        if "secret" in key or "password" in key or (key == "plain" and isinstance(value, dict)):
            return key
        if isinstance(value, dict) and (found := _secret_of(value)) is not None:
            return found
    return None


def _in_words(name: str, error: str, table: dict[str, Any]) -> Exception:
    """Return an exception with the value and the remedy: an error of msgspec has only the key."""
    what, _, place = error.partition(" - at `$.")
    path = re.findall(r"[a-z_]\w*", place)  # without list indices
    hint: Any = File
    value: Any = table
    for key in path:
        hint, value = get_type_hints(hint, include_extras=True)[key], value[key]
    field = re.search("field `(.*)`", what)
    if field:
        missing, *known = (".".join([*path, each]) for each in (field[1], *hint.__struct_fields__))
        if "missing" in what:
            return ValueError(f"{name}: {missing} is missing")
        return ValueError(f"{name}: unknown key {missing}. Known keys: {', '.join(known)}")
    at, is_table = ".".join(path), isinstance(hint, type)
    words = "a table" if is_table else hint.__metadata__[0].description
    given = type(value).__name__ if is_table or "secret" in at or "password" in at else repr(value)
    return (TypeError if "got `" in what else ValueError)(f"{name}: {at} must be {words}, not {given:.80}")


def _arguments(table: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the arguments for a Device."""
    arguments: dict[str, Any] = {key: table[key] for key in ("run_in", "io_threads", "watch", "filter") if key in table}
    kind = table["kind"]
    arguments["kind"] = DeviceType[kind] if isinstance(kind, str) else tuple(SocketType[each] for each in kind)
    for side in [each for each in ("front", "back", "capture") if each in table]:
        arguments[side] = table[side]["endpoints"]
        options = arguments[f"{side}_options"] = dict(table[side].get("options", {}))
        for option, value in options.items():
            if OPTIONS.get(option) in ("bytes", "topics"):
                options[option] = value.encode() if isinstance(value, str) else [each.encode() for each in value]
        if "type" in table[side]:
            arguments["capture_type"] = SocketType[table[side]["type"]]
    if "authentication" in table:
        rules = table["authentication"]
        paths = {key: os.path.join(folder, rules[key]) for key in ("plain", "curve") if isinstance(rules.get(key), str)}
        arguments["authentication"] = {**rules, **paths}
    return arguments
