"""One run of a device in a process of its own, where a `Loop` does what is asked here."""

from __future__ import annotations

import os
import queue
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from zmqcy.devices.loop import Counts, Loop, Run, Seen, Settings, State

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import FrameType


class Ended(NamedTuple):
    """What the other process says last."""

    error: Exception | None
    numbers: Counts | None
    seen: Seen | None


class Remote(Run):
    """A run in another process. None of this one is in the loop, so `thread` stays None."""

    def __init__(self, settings: Settings):
        import multiprocessing

        super().__init__()
        spawn = multiprocessing.get_context("spawn")  # contexts and threads do not outlive a fork
        self.last: Any = None
        self.last_seen: Seen | None = None
        self.count = 0  # of requests; `asking` guards it and the pipe too
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()  # each with its number; None at the end
        self.pipe, theirs = spawn.Pipe()
        # A daemon, so that the end of the program ends it: by SIGTERM.
        self.process = spawn.Process(
            target=_serve, args=(theirs, os.getpid(), settings), name="zmqcy device", daemon=True
        )
        try:
            self.process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()
        threading.Thread(target=self._watch, name="zmqcy device", daemon=True).start()
        try:
            first = self.answers.get()
        except BaseException:
            self.process.terminate()
            raise
        if first is None:
            self.ended.wait()
            assert self.error is not None
            raise self.error
        _, self.endpoints, self.last, self.last_seen = first

    def start(self) -> None:
        """Do nothing: it forwards since it was made."""

    def _watch(self) -> None:
        """Receive what the process says, to its end."""
        told: Any = None
        try:
            while not isinstance(told := self.pipe.recv(), Ended):
                self.answers.put(told)
        except Exception:  # it has gone, or what its filter raised is of a class that cannot be made here
            pass
        self.process.join()
        if isinstance(told, Ended):
            self.error = told.error
            self.last = told.numbers or self.last
            self.last_seen = told.seen or self.last_seen
        else:
            self.error = ChildProcessError(f"the process of the device {_end_of(self.process.exitcode)}")
        self.answers.put(None)
        with self.asking:
            self.state = State.ENDED
            self.pipe.close()
        self.ended.set()

    def _request(self, call: str, *arguments: object) -> Any:
        """Have the `Loop` do something, and return what came of it, or None where it has ended."""
        self.count += 1
        try:
            self.pipe.send((self.count, call, arguments))
        except OSError:
            return None  # `_watch` will see it too
        # Not the answer to a request that a signal broke off.
        while (answer := self.answers.get()) is not None:
            if answer[0] == self.count:
                return answer[1]
        self.answers.put(None)
        return None

    def ask(self, word: bytes, state: State) -> bool:
        with self.asking:
            done = bool(self._request("ask", word, state))
            if done:
                self.state = state
            return done

    def end(self, drain: bool) -> None:
        with self.asking:
            if drain and self.state is not State.ENDED:
                self.state = State.DRAINING
            self._request("end", drain)

    def read(self) -> Counts:
        with self.asking:
            answer = self._request("read")
            if answer is not None:
                self.last = answer
                self.state = answer[0]
        return (self.state, *self.last[1:])

    def seen(self) -> Seen | None:
        with self.asking:
            self.last_seen = self._request("seen") or self.last_seen
        return self.last_seen


def _end_of(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


# ------------------------------------------------------------------------------------------------ in the other process


def _serve(pipe: Connection, parent: int, settings: Settings) -> None:
    """Be the process of a device: forward in this thread, and obey the pipe in another one."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; the parent decides what it means
    signal.signal(signal.SIGTERM, leave)
    sending = threading.Lock()
    loop = error = None
    try:
        loop = Loop(settings)
        threading.Thread(target=_obey, args=(loop, pipe, sending, parent), daemon=True).start()
        loop.forward()
    except Exception as caught:
        error = caught
    numbers, seen = (None, None) if loop is None else (loop.read(), loop.seen())
    with sending, suppress(OSError):  # the parent may be gone
        pipe.send(Ended(_portable(error), numbers, seen))


def _portable(error: Exception | None) -> Exception | None:
    """Return an error that the parent can make again: ours or Python's own; of a filter's own, the name and text."""
    plain = all(isinstance(each, (str, bytes, int, float, type(None))) for each in getattr(error, "args", ()))
    if error is None or (plain and type(error).__module__ in ("builtins", "zmqcy.errors")):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _obey(loop: Loop, pipe: Connection, sending: threading.Lock, parent: int) -> None:
    """Do what the parent asks for, until it is gone; then end the loop."""

    def tell(*values: object) -> None:
        with sending:
            pipe.send(values)

    try:
        if loop.ask(b"RESUME"):
            tell(0, loop.endpoints, loop.read(), loop.seen())
        while True:
            while not pipe.poll(1):
                if os.getppid() != parent:  # where a process that it forked holds the pipe open
                    raise EOFError
            number, call, arguments = pipe.recv()
            tell(number, getattr(loop, call)(*arguments))
    except (EOFError, OSError):
        loop.end(False)
