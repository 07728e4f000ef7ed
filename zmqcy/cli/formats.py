"""Formats of messages: lines, frames, raw bytes and JSON, from stdin and to stdout."""

import base64
import binascii
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import zmqcy
from zmqcy.cli.sockets import Failure

Message = list[bytes]
FORMATS = ["lines", "frames", "raw", "json"]
CHUNK = 1 << 16
MORE, LONG = 1, 2  # flags of a ZMTP frame


def stdin() -> BinaryIO:
    """Return stdin as a binary file."""
    if sys.stdin is None:
        raise Failure("stdin is closed")
    return sys.stdin.buffer


def stdout() -> BinaryIO:
    """Return stdout as a binary file."""
    if sys.stdout is None:
        raise Failure("stdout is closed")
    return sys.stdout.buffer


def register_reader(poller: zmqcy.Poller) -> None:
    """Register stdout with a poller, if it is a pipe. POLLERR of 1 reports that the reader has closed it."""
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        poller.register(1, zmqcy.POLLERR)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield available data: typed lines immediately, a large file in large chunks."""
    while chunk := file.read1(CHUNK) if hasattr(file, "read1") else file.read(CHUNK):
        yield chunk


def _lines(file: BinaryIO) -> Iterator[list[bytes]]:
    rest: list[bytes] = []
    for chunk in _chunks(file):
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield [b"".join(rest), *others[:-1]]
            rest = [others[-1]]
    if last := b"".join(rest):
        yield [last]


def _frames(file: BinaryIO) -> Iterator[list[Message]]:
    def exactly(size: int) -> bytes:
        data = file.read(size)
        if len(data) != size:
            raise Failure("stdin ends within a frame")
        return data

    message: Message = []
    while head := file.read(1):
        if head[0] & ~(MORE | LONG):
            raise Failure(f"stdin: {head[0]:#04x} is not the start of a frame")
        message.append(exactly(int.from_bytes(exactly(8 if head[0] & LONG else 1), "big")))
        if not head[0] & MORE:
            yield [message]
            message = []
    if message:
        raise Failure("stdin ends within a multipart message")


def _from_json(line: bytes, number: int) -> Message:
    try:
        value: Any = json.loads(line)
        parts = value if isinstance(value, list) else [value]
        if not parts:
            raise ValueError("a message has at least one part")
        return [_part(part) for part in parts]
    except (ValueError, binascii.Error) as error:
        raise Failure(f"stdin, line {number}: {error}") from None


def _part(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"base64"} and isinstance(value["base64"], str):
        return base64.b64decode(value["base64"], validate=True)
    raise ValueError(f'a part is a string or {{"base64": "..."}}, not {json.dumps(value)[:60]}')


def _as_json(part: bytes) -> Any:
    try:
        return part.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(part).decode()}


def read(name: str, multipart: bool) -> Iterator[list[Message]]:
    """Yield the messages of stdin in a format, in batches."""
    file = stdin()
    if name == "raw":
        yield [[file.read()]]
    elif name == "frames":
        yield from _frames(file)
    else:
        number = 0
        for lines in _lines(file):
            if name == "json":
                for each, line in enumerate(lines, number + 1):  # the messages before an error are sent
                    if line.strip():
                        yield [_from_json(line, each)]
            else:
                yield [line.split(b"\t") if multipart else [line] for line in lines]
            number += len(lines)


def redraws() -> bool:
    """Return whether the terminal can move the cursor."""
    return os.environ.get("TERM", "dumb") != "dumb"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 message``, ``2 messages``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(text: str) -> str:
    """Return a text with control characters and invisible characters escaped, except for line breaks and tabs.

    The text may be from an untrusted peer.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else character.encode("unicode-escape", "replace").decode()


def to_json(value: Any) -> str:
    """Return a value as JSON in one line, with control characters escaped."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1].replace("\x7f", "\\u007f") for each in text)


def _frame(part: bytes, more: bool) -> bytes:
    long = len(part) > 255
    return bytes([MORE * more | LONG * long]) + len(part).to_bytes(8 if long else 1, "big") + part


def writer(name: str, multipart: bool) -> Callable[[Iterable[Message]], None]:
    """Return the function that writes messages to stdout in a format."""
    file = stdout()
    shown = file.isatty() and name != "raw"

    def encode(message: Message) -> bytes:
        if name == "json":
            return to_json([_as_json(part) for part in message]).encode() + b"\n"
        if name == "raw":
            return b"".join(message)
        if name == "frames":
            return b"".join(_frame(part, more=i + 1 < len(message)) for i, part in enumerate(message))
        return (b"\t" if multipart else b"\n").join(message) + b"\n"

    def write(messages: Iterable[Message]) -> None:
        data = b"".join(map(encode, messages))
        file.write(printable(data.decode("utf-8", "surrogateescape")).encode() if shown else data)
        file.flush()

    return write
