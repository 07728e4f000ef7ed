"""Call everything in zmqcy with random arguments: each call must return or raise, and never crash or hang.

    python tests/kit/fuzz_calls.py SECONDS [SEED]

Each seed runs in a new process. Each call is logged before it is made, so that the log shows the last call before a
crash. Run a seed again with `python tests/kit/fuzz_calls.py --seed SEED ROUNDS`. A blocking call is interrupted by a
signal whose handler raises, as Ctrl-C does, and must end within 10 seconds. At the end of each round everything is
closed and dropped. Then the process must have as many file descriptors and threads as before, and little more memory.

The fuzzer is not guided by coverage, because Python fuzzers do not see compiled code.
"""

import array
import asyncio
import contextlib
import ctypes
import datetime
import decimal
import enum
import faulthandler
import gc
import inspect
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import zmqcy
import zmqcy.asyncio
import zmqcy.devices
import zmqcy.monitor

CALLS = 400  # in a round
ROUNDS = 5  # in a process that `main` starts
PATIENCE = 0.02  # seconds until a blocking call gets a signal
HANG = 10  # max seconds until it ends
# Max growth of memory in bytes, over all rounds of a process. A sanitizer keeps freed memory.
GROWTH = float("inf") if os.environ.get("ZMQCY_INSTRUMENTED") else 32 << 20

# Calls that no library can make safe with random arguments, and calls that would end the run.
LEFT_OUT = {
    "shadow": "an address is believed",
    "Watcher": "it runs its thread for the life of a loop",
    "__del__": "the interpreter's",
    "__init_subclass__": "the interpreter's",
    "__subclasshook__": "the interpreter's",
    "__class__": "the interpreter's",
    "__dict__": "the interpreter's",
    "__setstate_cython__": "the interpreter's",
    "__pyx_vtable__": "an address",
}
# Set only as attributes, from `Pool.descriptor`: other numbers may be file descriptors that the process needs.
NUMBERS_LEFT_OUT = {zmqcy.SocketOption.USE_FD}


class Woken(Exception):
    """Raised by the handler of the signal that interrupts a blocking call."""


class Evil(Exception):
    """Raised by arguments."""


class Objects:
    """Malicious arguments: their methods raise, return wrong values, or close the sockets to which they are passed."""

    def __init__(self, rng, pool):
        def spoil():
            if rng.random() < 0.5:
                pool.close_one()
            return rng.choice([0, 1, -1, 2**63, 3.5, None, "x", b"x"])

        def fail():
            raise Evil

        class Index:
            def __index__(self):
                return spoil()

            __int__ = __float__ = __len__ = __hash__ = fileno = __fspath__ = __index__

            def __iter__(self):
                for _ in range(3):
                    spoil()
                    yield b"part"

            def __eq__(self, other):
                return spoil()

        class Raising:
            def __getattr__(self, name):
                fail()

            def __eq__(self, other):
                fail()

            def __index__(self):
                fail()

            __int__ = __float__ = __len__ = __hash__ = __iter__ = __bool__ = __str__ = __repr__ = __index__

        class Text(str):
            def encode(self, *_):
                return spoil()

        class Number(int):
            def __index__(self):
                return spoil()

            __int__ = __eq__ = __index__
            __hash__ = int.__hash__

        class Bytes(bytes):
            def __len__(self):
                return spoil()

        class Sequence(list):
            def __len__(self):
                return 1 << 40

            def __iter__(self):
                self.clear()
                spoil()
                return iter([b"a", spoil()])

        self.makers = [
            Index, Raising, lambda: Text("tcp://127.0.0.1:*"), lambda: Number(rng.choice([0, 1, 5, -1])),
            lambda: Bytes(b"abc"), lambda: Sequence([b"a", b"b"]),
        ]  # fmt: skip


class Pool:
    """The objects of a round: to call, and to pass as arguments."""

    def __init__(self, rng, directory):
        self.rng = rng
        self.directory = directory
        self.context = zmqcy.Context(linger=0, rcvtimeo=5, sndtimeo=5)
        self.other = zmqcy.Context(linger=0, rcvtimeo=5, sndtimeo=5)
        self.asynchronous = zmqcy.asyncio.Context(linger=0)
        ended = zmqcy.Context()
        ended.term()
        self.things = [self.context, self.other, self.asynchronous, ended, zmqcy.Poller(), zmqcy.asyncio.Poller()]
        for kind in zmqcy.SocketType:
            with contextlib.suppress(zmqcy.ZMQError):  # drafts
                for context in (self.context, self.other, self.asynchronous):
                    self.things.append(context.socket(kind))
        for bound, connected in [
            ("PUSH", "PULL"),
            ("REQ", "REP"),
            ("PUB", "SUB"),
            ("PAIR", "PAIR"),
            ("DEALER", "ROUTER"),
        ]:
            endpoint = f"inproc://{bound}"
            for context in (self.context, self.asynchronous):
                one, two = context.socket(getattr(zmqcy, bound)), context.socket(getattr(zmqcy, connected))
                one.bind(endpoint)
                two.connect(endpoint)
                if connected == "SUB":
                    two.subscribe(b"")
                self.things += [one, two]
        one.close()
        self.things.append(self.context.socket(zmqcy.STREAM).watch())
        self.things.append(zmqcy.Frame(b"x" * 40, track=True))
        self.things.append(self.things[-1].tracker)
        released = zmqcy.Frame(b"y" * 100_000)
        released.release()
        self.things += [released, zmqcy.ZMQError(1), zmqcy.Socket.rcvhwm, zmqcy.Context.ipv6]
        self.things.append(zmqcy.devices.Device(zmqcy.STREAMER, "inproc://in", "inproc://out"))
        modules = [zmqcy, zmqcy._proxy, zmqcy.devices, zmqcy.monitor, zmqcy.errors, zmqcy.asyncio]
        self.functions = [
            value
            for module in modules
            for name in dir(module)
            if callable(value := getattr(module, name)) and not name.startswith("_") and name not in LEFT_OUT
            and getattr(value, "__module__", None) != "contextlib"
        ]  # fmt: skip
        self.functions = [
            value
            for value in self.functions
            if str(getattr(value, "__module__", "")).startswith("zmqcy") and not issubclass_of(value, zmqcy.Context)
        ]
        self.objects = Objects(rng, self)
        self.files = []
        self.descriptors = []  # each with its device and inode, because libzmq may have closed it
        self.readers = []  # readers of monitors, which no call may close, because libzmq would block

    def close_one(self):
        """Close a socket, perhaps the one in use, as an argument may do while it is converted."""
        for thing in self.rng.sample(self.things, min(4, len(self.things))):
            if isinstance(thing, (zmqcy.BaseSocket, zmqcy.Frame)):
                (thing.close if isinstance(thing, zmqcy.BaseSocket) else thing.release)()

    def add(self, value):
        if isinstance(value, (type, enum.Enum)) or not type(value).__module__.startswith("zmqcy"):
            return
        if len(self.things) < 400:
            self.things.append(value)
        else:
            self.things[self.rng.randrange(40, 400)] = value

    def argument(self, depth=0):
        rng = self.rng
        choice = rng.randrange(17)
        if choice == 0:
            return rng.choice([0, 1, 2, 3, 5, 8, 10, 100, -1, -2, 255, 256, 65535, 1 << 20])
        if choice == 1:
            power = rng.choice([7, 8, 15, 16, 31, 32, 62, 63, 64, 100, 1000])
            return rng.choice([1, -1]) * (1 << power) + rng.choice([-1, 0, 1])
        if choice == 2:
            return rng.choice(
                [None, True, False, ..., NotImplemented, 0.0, -0.5, 1e308, float("inf"), float("nan"), 3j]
            )
        if choice == 3:
            return rng.choice([b"", b"a", b"topic", bytes(range(256)), b"\0" * 5, b"x" * 32, b"x" * 40, b"y" * 20_000])
        if choice == 4:
            return rng.choice(
                ["", "a", "topic", "\0", "é" * 300, "\ud800", "x" * 40, "utf-8", "utf-16", "Peer-Address"]
            )
        if choice == 5:
            return rng.choice(self.endpoints())
        if choice == 6:
            return rng.choice(list(zmqcy.SocketOption))
        if choice == 7:
            return rng.choice(
                [
                    *zmqcy.SocketType,
                    *zmqcy.Flag,
                    *zmqcy.PollEvent,
                    *zmqcy.Event,
                    *zmqcy.DeviceType,
                    *zmqcy.ContextOption,
                ]
            )
        if choice in (8, 9):
            return rng.choice(self.things)
        if choice == 10 and depth < 2:
            items = [self.argument(depth + 1) for _ in range(rng.randrange(4))]
            return rng.choice([list, tuple, iter, lambda i: (each for each in i), lambda i: dict(enumerate(i))])(items)
        if choice == 11:
            memory = rng.choice(
                [bytearray(b"abc" * 10), array.array("d", [1, 2]), (ctypes.c_int * 5)(), bytearray(100_000)]
            )
            view = memoryview(memory)
            shapes = [
                lambda: memory,
                lambda: view,
                lambda: view[::2],
                lambda: view[1:],
                lambda: view.toreadonly(),
                view.release,
            ]
            return rng.choice(shapes)()
        if choice == 12:
            return rng.choice(
                [datetime.timedelta(milliseconds=3), datetime.timedelta.max, decimal.Decimal("NaN"), object()]
            )
        if choice == 13:
            return rng.choice(
                [len, print, lambda *_: None, lambda *_: 1 / 0, int, type, zmqcy.Socket, zmqcy.SocketType]
            )
        if choice == 14:
            return [b"a", b"b" * rng.choice([1, 40, 20_000])][: rng.randrange(3)]
        return rng.choice(self.objects.makers)()

    def endpoints(self):
        made = [thing for thing in self.things if isinstance(thing, zmqcy.BaseSocket) and not thing.closed]
        last = ""
        with contextlib.suppress(zmqcy.ZMQError):  # its context is ending
            last = self.rng.choice(made).last_endpoint if made else ""
        return [
            "inproc://a", "inproc://PUSH", "inproc://", "tcp://127.0.0.1:*", "tcp://127.0.0.1:1", "tcp://127.0.0.1:99999",
            "tcp://lo:*", "tcp://127.0.0.1:*;127.0.0.1:1", f"ipc://{self.directory}/a",
            f"ipc://{self.directory}/" + "a" * 200,
            "ipc://*", "ipc://@zmqcy-fuzz", "udp://127.0.0.1:1", "", "://", "tcp://", "tcp", "x://a", "tcp://[::1]:*",
            "tcp://1:2:3", last, last + "1", "tcp://127.0.0.1:1\0x",
        ]  # fmt: skip

    def descriptor(self):
        """Return a new file descriptor for `use_fd`: libzmq closes the one that a bind has used."""
        kind = self.rng.randrange(6)
        if kind == 0:
            return self.rng.choice([-1, -2, 1 << 20, 1 << 31])
        if kind == 1 and self.descriptors:
            return self.rng.choice(self.descriptors)[0]
        if kind == 2:
            made = os.open(os.devnull, os.O_RDONLY)
        else:
            family = self.rng.choice([socket.AF_INET, socket.AF_UNIX])
            with socket.socket(family, self.rng.choice([socket.SOCK_STREAM, socket.SOCK_DGRAM])) as other:
                with contextlib.suppress(OSError):  # the path is taken, or no datagram socket listens
                    place = ("127.0.0.1", 0), f"{self.directory}/{self.rng.randrange(1000)}"
                    other.bind(place[family == socket.AF_UNIX])
                    if kind > 3:
                        other.listen()
                made = other.detach()
        found = os.fstat(made)
        self.descriptors.append((made, found.st_dev, found.st_ino))
        return made

    def reader(self, owner):
        """Return the endpoint of a new PAIR that reads the monitor of a socket: `bind` blocks without a reader."""
        endpoint = f"inproc://reader-{len(self.readers)}"
        self.readers.append(zmqcy.Context.shadow(owner.context).socket(zmqcy.PAIR, rcvhwm=0, linger=0))
        self.readers[-1].connect(endpoint)
        return endpoint

    def close(self, deadline):
        for thing in self.things:
            if isinstance(thing, zmqcy.BaseSocket):
                with contextlib.suppress(zmqcy.ZMQError):
                    thing.monitor(None)  # before its reader is closed
        for thing in self.things:
            with contextlib.suppress(Exception):
                if isinstance(thing, zmqcy.devices.Device):
                    thing.stop()
                elif isinstance(thing, zmqcy.BaseSocket):
                    thing.close(0)
                elif isinstance(thing, zmqcy.monitor._Watcher):
                    thing.close()
        contexts = [thing for thing in self.things if isinstance(thing, zmqcy.Context)]
        for context in contexts:
            for each in context._open_sockets():
                with contextlib.suppress(zmqcy.ZMQError):
                    each.close(0)
        for reader in self.readers:
            reader.close()
        for context in [self.context, self.other, self.asynchronous]:
            context.linger = 0
            context.term(timeout=deadline * 1000)
        for made, *identity in self.descriptors:
            with contextlib.suppress(OSError):
                found = os.fstat(made)
                if identity == [found.st_dev, found.st_ino]:
                    os.close(made)


def issubclass_of(value, kind):
    return isinstance(value, type) and issubclass(value, kind)


class Fuzzer:
    def __init__(self, seed, log):
        self.rng = random.Random(seed)
        self.log = log
        self.armed = False
        self.counts = {"results": 0, "exceptions": 0, "woken": 0}
        signal.signal(signal.SIGALRM, self.wake)

    def wake(self, *_):
        if self.armed:
            raise Woken

    def note(self, text):
        """Log the next call, by a system call: a crash does not flush buffers."""
        os.write(self.log, text.encode("utf-8", "backslashreplace") + b"\n")

    def attempt(self, text, function):
        """Call a function. Return its result, or None if it raises."""
        self.note(text)
        faulthandler.dump_traceback_later(HANG, exit=True)
        try:
            try:
                self.armed = True
                signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
                result = function()
            finally:
                self.armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Woken:
            self.counts["woken"] += 1
        except SystemError:  # C code has returned neither a result nor an exception, or both
            raise
        except (Exception, asyncio.CancelledError) as error:
            self.counts["exceptions"] += 1
            with contextlib.suppress(Evil, TypeError):  # made by the fuzzer from anything
                str(error)
        else:
            self.counts["results"] += 1
            return result
        finally:
            faulthandler.cancel_dump_traceback_later()

    def arguments(self, pool, function):
        """Return arguments for a function, often with the right number and names."""
        rng = self.rng
        positional = [pool.argument() for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 4, 6]))]
        named = {}
        with contextlib.suppress(Exception):
            names = list(inspect.signature(function).parameters)
            if names and rng.random() < 0.5:
                named = {name: pool.argument() for name in rng.sample(names, rng.randrange(1 + min(3, len(names))))}
        if rng.random() < 0.05:
            named["nonsense"] = 1
        return positional, named

    def step(self, pool):
        rng = self.rng
        if rng.random() < 0.15:
            function, owner = rng.choice(pool.functions), None
            if issubclass_of(function, enum.Enum):
                return None
            name = getattr(function, "__name__", "?")
            if issubclass_of(function, object) and rng.random() < 0.2:
                return self.attempt(f"new {name}", lambda: function.__new__(function))
        else:
            owner = rng.choice(pool.things)
            names = [name for name in dir_of(owner) if name not in LEFT_OUT and not re.match(r"_[^_]", name)]
            if not names:
                return None
            name = rng.choice(names)
            action = rng.random()
            kind = type(owner).__name__
            if action < 0.1:
                value = pool.descriptor() if name == "use_fd" else pool.argument()
                return self.attempt(f"{kind}.{name} = {describe(value)}", lambda: setattr(owner, name, value))
            if action < 0.12:
                return self.attempt(f"del {kind}.{name}", lambda: delattr(owner, name))
            if action < 0.2:
                other = pool.argument()
                operation = rng.choice([
                    len, iter, next, hash, repr, str, bool, bytes, memoryview, list_some, enter_and_leave,
                    lambda o: o == other, lambda o: o[other], lambda o: other in o, lambda o: o < other,
                    lambda o: o.__reduce_ex__(2), lambda o: o.__init__(other), lambda o: o.__init__(pool.context, 3),
                ])  # fmt: skip
                return self.attempt(f"operation on {kind} with {describe(other)}", lambda: operation(owner))
            function = self.attempt(f"{kind}.{name}", lambda: getattr(owner, name))
            if not callable(function) or isinstance(function, type):
                return function
            name = f"{kind}.{name}"
        positional, named = self.arguments(pool, function)
        if forbidden(owner, name, positional, named):
            return None
        if name.endswith("ocket.monitor"):
            address = named.pop("addr") if "addr" in named else positional[0] if positional else None
            if rng.random() < 0.7 or "inproc" in describe(address):
                if not isinstance(owner, zmqcy.BaseSocket):
                    return None
                address = self.attempt("reader", lambda: pool.reader(owner))
            positional = [address, *positional[1:]]
        text = ", ".join([*map(describe, positional), *(f"{key}={describe(value)}" for key, value in named.items())])
        return self.attempt(f"{name}({text})", lambda: function(*positional, **named))

    async def steps(self, pool):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        for _ in range(CALLS):
            result = self.step(pool)
            if inspect.iscoroutine(result):
                result = asyncio.ensure_future(result)
            if asyncio.isfuture(result):
                pool.files.append(result)
                if self.rng.random() < 0.3:
                    result.cancel()
                elif self.rng.random() < 0.3:
                    with contextlib.suppress(Exception, asyncio.CancelledError):
                        await asyncio.wait_for(result, 0.005)
            pool.add(result)
            if self.rng.random() < 0.2:
                await asyncio.sleep(0)
        self.note("close")
        faulthandler.dump_traceback_later(2 * HANG, exit=True)
        for future in pool.files:
            future.cancel()
        await asyncio.sleep(0.001)
        pool.close(HANG)
        for _ in range(5):
            await asyncio.sleep(0)

    def round(self, directory):
        asyncio.run(self.steps(Pool(self.rng, directory)))
        for _ in range(3):
            gc.collect()
        faulthandler.cancel_dump_traceback_later()


def dir_of(thing):
    try:
        return dir(thing)
    except Exception:
        return []


def forbidden(owner, name, positional, named):
    """Return whether a call is excluded, by the number of an option or by its address."""
    name = name.rpartition(".")[2]
    values = [*positional, *named.values()]
    if name in ("setsockopt", "set", "setsockopt_string", "set_string"):
        numbers = {int(value) for value in values if type(value) in (int, zmqcy.SocketOption, zmqcy.ContextOption)}
        evil = any(hasattr(type(value), "__index__") and not isinstance(value, (int, float)) for value in values[:1])
        return not isinstance(owner, zmqcy.Context) and (bool(numbers & NUMBERS_LEFT_OUT) or evil)
    if name in ("__setattr__", "__delattr__", "Context", "instance", "set_default", "watch", "unwatch", "call_soon"):
        return name != "watch" or owner is None
    if name in ("Device", "__init__", "socket"):
        return "run_in" in named or "use_fd" in named
    if name == "add_done_callback":  # a callback whose repr raises ends an asyncio loop, which logs it
        return any(type(value).__name__ == "Raising" for value in values)
    return name == "from_config" and any(isinstance(value, int) for value in values)


def describe(value):
    try:
        return f"{type(value).__name__} {value!r:.60}" if not isinstance(value, str) else repr(value)[:60]
    except Exception:
        return type(value).__name__


def list_some(thing):
    return [item for _, item in zip(range(3), thing, strict=False)]


def enter_and_leave(thing):
    with thing:
        pass


def footprint():
    """Return the number of file descriptors and threads of this process, and its memory in bytes."""
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), memory


def child(seed, rounds, log):
    """Run rounds. Fail if they leak."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda *_: None  # ignore exceptions of arguments in callbacks
    zmqcy.exit_linger = 0
    fuzzer = Fuzzer(seed, log)
    first = None
    with tempfile.TemporaryDirectory() as directory:
        for number in range(rounds):
            fuzzer.round(directory)
            limit = time.monotonic() + HANG
            while first and footprint()[:2] > first[:2] and time.monotonic() < limit:
                gc.collect()  # contexts that were dropped end in the background
                time.sleep(0.01)
            now = footprint()
            if number == 1:
                first = now
            if first and (now[0] > first[0] or now[1] > first[1] or now[2] > first[2] + GROWTH):
                sys.exit(f"left behind after round {number}: descriptors, threads, memory were {first}, are {now}")
    print(" ".join(f"{key}={value}" for key, value in fuzzer.counts.items()))
    faulthandler.dump_traceback_later(2 * HANG, exit=True)  # for the end of the interpreter


def run(seed, rounds=ROUNDS):
    """Run a seed in a new process. Return its last calls if it failed, otherwise None."""
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(
            [sys.executable, __file__, "--child", str(seed), str(rounds), str(log.fileno())],
            capture_output=True, text=True, pass_fds=[log.fileno()], stdin=subprocess.DEVNULL,
            timeout=rounds * 90, env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        if done.returncode == 0:
            return None
        log.seek(0)
        last = b"".join(log.readlines()[-15:]).decode()
    return f"seed {seed} rounds {rounds}: exit code {done.returncode}\n{done.stdout}{done.stderr}last calls:\n{last}"


def main(seconds, seed):
    """Run one seed after another for some seconds."""
    end = time.monotonic() + seconds
    failures = 0
    count = 0
    print(f"first seed {seed}", flush=True)
    while time.monotonic() < end:
        failed = run(seed + count)
        count += 1
        if failed:
            failures += 1
            print(failed, flush=True)
    print(f"{count} seeds, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--child", seed, rounds, log]:
            child(int(seed), int(rounds), int(log))
        case ["--seed", seed, rounds]:
            child(int(seed), int(rounds), 2)
        case [seconds, *rest]:
            sys.exit(main(float(seconds), int(rest[0]) if rest else random.randrange(1 << 30)))
        case _:
            sys.exit(__doc__ or "wrong arguments: see the top of this file")
