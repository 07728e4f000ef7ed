"""Devices that a file of TOML describes."""

import os
from typing import Any

from zmqcy.constants import DeviceType, SocketType
from zmqcy.devices.side import KINDS, OPTIONS, to_side


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the arguments for a Device that a file has."""
    try:
        import tomllib  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            text = "Device.from_config: this Python has no tomllib; install tomli"
            raise ModuleNotFoundError(text, name="tomli") from None
    name = os.fspath(path)
    with open(path, "rb") as file:
        try:
            table = tomllib.load(file)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        secret = _secret_of(table)
        if secret is not None:
            from zmqcy.auth import _refuse_readable  # type: ignore[attr-defined]

            _refuse_readable(file, name, f"{secret} of this file")
    _check_keys(
        name,
        "",
        table,
        required=("kind", "front", "back"),
        optional=("capture", "run_in", "io_threads", "watch", "filter", "authentication"),
    )
    arguments = {key: table[key] for key in ("run_in", "io_threads", "watch", "filter") if key in table}
    if not isinstance(arguments.get("watch", False), bool):
        raise TypeError(f"{name}: watch must be true or false, not {arguments['watch']!r:.80}")
    if "authentication" in table:
        rules = table["authentication"]
        if not isinstance(rules, dict):
            raise TypeError(f"{name}: authentication must be a table, not {type(rules).__name__}")
        _check_keys(name, "authentication.", rules, (), ("allow", "deny", "null", "plain", "curve"))
        if not isinstance(rules.get("null", False), bool):
            raise TypeError(f"{name}: authentication.null must be true or false, not {rules['null']!r:.80}")
        place = os.path.dirname(os.path.abspath(name))
        paths = {key: os.path.join(place, rules[key]) for key in ("plain", "curve") if isinstance(rules.get(key), str)}
        arguments["authentication"] = {**rules, **paths}
    kind = table["kind"]
    if isinstance(kind, list) and len(kind) == 2:
        types = arguments["kind"] = tuple(_to_member(name, "kind", SocketType, each) for each in kind)
    else:
        arguments["kind"] = _to_member(name, "kind", DeviceType, kind)
        types = KINDS[arguments["kind"]]
    for side, socket_type in zip(("front", "back", "capture"), (*types, SocketType.PUB), strict=True):
        if side not in table:
            continue
        part = table[side]
        if not isinstance(part, dict):
            raise TypeError(f"{name}: {side} must be a table, not {type(part).__name__}")
        _check_keys(name, f"{side}.", part, ("endpoints",), ("type", "options") if side == "capture" else ("options",))
        if "type" in part:
            socket_type = arguments["capture_type"] = _to_member(name, "capture.type", SocketType, part["type"])
        made = to_side(
            side, socket_type, part["endpoints"], part.get("options"),
            f"{name}: {side}.endpoints", f"{name}: {side}.options",
        )  # fmt: skip
        arguments[side] = made.endpoints
        arguments[f"{side}_options"] = {
            option: _to_value(f"{name}: {side}.options.{option}", option, value)
            for option, value in made.options.items()
        }
    return arguments


def _secret_of(table: dict[str, Any]) -> str | None:
    """Return the name of something secret that a configuration has, or None."""
    for key, value in table.items():
        if "secret" in key or "password" in key or (key == "plain" and isinstance(value, dict)):
            return key
        if isinstance(value, dict) and (found := _secret_of(value)) is not None:
            return found
    return None


def _check_keys(
    name: str, prefix: str, table: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    for key in table:
        if key not in required and key not in optional:
            known = ", ".join(f"{prefix}{each}" for each in (*required, *optional))
            raise ValueError(f"{name}: there is no key {prefix}{key}, only {known}")
    for key in required:
        if key not in table:
            raise ValueError(f"{name}: {prefix}{key} is missing")


def _to_member(name: str, key: str, names: Any, value: object) -> Any:
    if not isinstance(value, str) or value not in names.__members__:
        also = " or a list of two socket types" if names is DeviceType else ""
        known = ", ".join(names.__members__)
        raise ValueError(f"{name}: {key} must be one of {known}{also}, not {value!r:.80}")
    return names[value]


_VALUES: dict[str, tuple[str, Any]] = {  # by the kind of an option: what TOML has for it, in words and as types
    "int": ("an integer", int),
    "int64": ("an integer", int),
    "uint64": ("an integer", int),
    "fd": ("an integer", int),
    "bool": ("true or false", bool),
    "duration": ("a number", (int, float)),
    "bytes": ("a string", str),
    "string": ("a string", str),
    "key": ("a string of 40 characters", str),
}


def _to_value(key: str, option: str, value: Any) -> Any:
    if option == "subscribe" and isinstance(value, list):
        return [_to_value(key, option, each) for each in value]
    kind = OPTIONS[option]
    words, types = _VALUES[kind]
    if not isinstance(value, types) or (kind != "bool" and isinstance(value, bool)):
        given = type(value).__name__ if "secret" in option or "password" in option else f"{value!r:.80}"
        raise TypeError(f"{key} must be {words}, not {given}")
    return value.encode() if kind == "bytes" else value
