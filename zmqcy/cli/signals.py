"""Ctrl-C and SIGTERM end a command, but not between the receive and the write of a message."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_held = False
_pending: list[int] = []
received: list[int] = []  # all signals: an exception of `_end` is lost if it interrupts a callback


def install() -> None:
    """Exit with 128 plus the signal number on Ctrl-C and SIGTERM, unless they are ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it for background jobs
        signal.signal(signal.SIGINT, _end)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    received.append(number)
    if _held and not _pending:  # a second signal does not wait: the output may be stuck
        _pending.append(number)
    else:
        raise SystemExit(128 + number)


def end_of_output() -> NoReturn:
    """Exit because the reader of stdout has closed the pipe: silently, with the exit code of SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes stdout at exit
    raise SystemExit(128 + signal.SIGPIPE)


@contextmanager
def held() -> Iterator[None]:
    """Delay a signal until the block is done."""
    global _held
    _held = True
    try:
        yield
    finally:
        _held = False
    if _pending:
        raise SystemExit(128 + _pending[0])
