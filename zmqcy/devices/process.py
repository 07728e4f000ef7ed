"""One run of a device in another process, where a `Loop` carries out the calls of this module."""

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
    """The last message of the other process."""

    error: Exception | None
    numbers: Counts | None
    seen: Seen | None


class Remote(Run):
    """A run in another process. No thread of this process runs the loop, so `thread` is None."""

    def __init__(self, settings: Settings):
        import multiprocessing

        super().__init__()
        spawn = multiprocessing.get_context("spawn")  # contexts and threads do not survive a fork
        self.last: Any = None
        self.last_seen: Seen | None = None
        self.count = 0  # requests; guarded by `asking`, as is the pipe
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()  # replies by number of request; None at the end
        self.pipe, theirs = spawn.Pipe()
        # A daemon: the program sends it SIGTERM when it exits.
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
        """Do nothing: the process has been forwarding since it was created."""

    def _watch(self) -> None:
        """Receive the messages of the process until it ends."""
        told: Any = None
        try:
            while not isinstance(told := self.pipe.recv(), Ended):
                self.answers.put(told)
        except Exception:  # the process has ended, or the exception of its filter cannot be unpickled here
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
        """Call a method of the `Loop`, and return its result, or None if the process has ended."""
        self.count += 1
        try:
            self.pipe.send((self.count, call, arguments))
        except OSError:
            return None  # `_watch` handles it
        # Skip the reply to an earlier request whose wait a signal interrupted.
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
    """Run a device in this process: forward in this thread, and carry out requests from the pipe in another one."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes; the parent decides
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
    with sending, suppress(OSError):  # the parent may have exited
        pipe.send(Ended(_portable(error), numbers, seen))


def _portable(error: Exception | None) -> Exception | None:
    """Return an error that the parent can unpickle; of a class of the filter, a RuntimeError with its name and text."""
    plain = all(isinstance(each, (str, bytes, int, float, type(None))) for each in getattr(error, "args", ()))
    if error is None or (plain and type(error).__module__ in ("builtins", "zmqcy.errors")):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _obey(loop: Loop, pipe: Connection, sending: threading.Lock, parent: int) -> None:
    """Carry out the requests of the parent until it exits, then end the loop."""

    def tell(*values: object) -> None:
        with sending:
            pipe.send(values)

    try:
        if loop.ask(b"RESUME"):
            tell(0, loop.endpoints, loop.read(), loop.seen())
        while True:
            while not pipe.poll(1):
                if os.getppid() != parent:  # the parent has exited, but a process that it forked keeps the pipe open
                    raise EOFError
            number, call, arguments = pipe.recv()
            tell(number, getattr(loop, call)(*arguments))
    except (EOFError, OSError):
        loop.end(False)
