"""Ctrl-C and SIGTERM end a command, but not between taking a message and writing it out."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_held = False
_pending: list[int] = []
received: list[
    int
] = []  # all that came: what `_end` raises is lost where it interrupts a callback, as imports have them


def install() -> None:
    """Have Ctrl-C and SIGTERM end the process with 128 and their number, unless they are ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it for what runs behind
        signal.signal(signal.SIGINT, _end)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    received.append(number)
    if _held and not _pending:  # a second one does not wait: what it would wait for may be stuck
        _pending.append(number)
    else:
        raise SystemExit(128 + number)


def end_of_output() -> NoReturn:
    """End because nobody reads our output any more, as after `head`: quietly, with the code that SIGPIPE leaves."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more
    raise SystemExit(128 + signal.SIGPIPE)


@contextmanager
def held() -> Iterator[None]:
    """Put off the end until the block is done."""
    global _held
    _held = True
    try:
        yield
    finally:
        _held = False
    if _pending:
        raise SystemExit(128 + _pending[0])
