"""Helpers for tests of asynchronous sockets: event loops and tasks."""

import asyncio
import importlib

import anyio
import pytest
from anyio.lowlevel import checkpoint

LIMIT = 10_000  # max ms of a test
END = b"the end"


class Blind(asyncio.SelectorEventLoop):
    """An event loop without `add_reader`, such as some loops of other libraries."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError

    def remove_reader(self, fd):
        raise NotImplementedError


FLAVOURS = {
    "asyncio": ("asyncio", "asyncio", lambda: {}),
    "debug": ("asyncio", "asyncio", lambda: {"debug": True}),
    "uvloop": ("asyncio", "asyncio", lambda: {"loop_factory": pytest.importorskip("uvloop").new_event_loop}),
    "blind": ("asyncio", "asyncio", lambda: {"loop_factory": Blind}),
    "anyio-asyncio": ("anyio", "asyncio", lambda: {}),
    "anyio-trio": ("anyio", "trio", lambda: {}),
}
ASYNCIO = [name for name, (module, *_) in FLAVOURS.items() if module == "asyncio"]
ANYIO = [name for name in FLAVOURS if name not in ASYNCIO]


def by_turns(arguments, values, *kinds):
    """Parametrize a test by values. Each runs on one loop of each kind, and the loops of a kind take turns."""
    values = [value if "," in arguments else (value,) for value in values]
    rows = [(*value, loops[i % len(loops)]) for i, value in enumerate(values) for loops in kinds]
    return pytest.mark.parametrize(f"{arguments}, flavour", rows, indirect=["flavour"])


def on_each_module(arguments, values):
    """Parametrize a test by values. Each runs on one loop of asyncio and one of anyio, and all loops take turns.

    For behavior that may depend on the module, but not on the loop.
    """
    return by_turns(arguments, values, ASYNCIO, ANYIO)


def on_any_loop(arguments, values):
    """Parametrize a test by values. Each runs on one loop, and all loops take turns.

    For behavior of the code that all loops share.
    """
    return by_turns(arguments, values, list(FLAVOURS))


class Flavour:
    """An event loop, and zmqcy's module for it.

    Attributes
    ----------
    Context, Socket, Poller : type
        The classes of the module.
    reported : list
        The contexts passed to the loop's exception handler. It must be empty at the end of a test.
    """

    def __init__(self, name):
        self.name = name
        module, self.backend, options = FLAVOURS[name]
        module = importlib.import_module(f"zmqcy.{module}")
        self.Context, self.Socket, self.Poller = module.Context, module.Socket, module.Poller
        self.options = options()
        self.reported = []

    def run(self, function, *arguments, **options):
        """Run a coroutine function in a new event loop within LIMIT, and return its result."""

        async def limited():
            if self.backend == "asyncio":
                asyncio.get_running_loop().set_exception_handler(lambda _, context: self.reported.append(context))
            with anyio.fail_after(LIMIT / 1000) as self.scope:
                return await function(*arguments, **options)

        return anyio.run(limited, backend=self.backend, backend_options=self.options)


class Task:
    """A call in a separate task, with its `result` or `error`."""

    def __init__(self, group, function, *arguments, **options):
        self.scope = anyio.CancelScope()
        self.result = self.error = None
        self.ended = False
        group.start_soon(self.run, function, arguments, options)

    async def run(self, function, arguments, options):
        try:
            with self.scope:
                self.result = await function(*arguments, **options)
        except Exception as error:
            self.error = error
        self.ended = True

    def cancel(self):
        self.scope.cancel()


async def turns(count=5):
    """Yield to the event loop `count` times, so that other tasks run."""
    for _ in range(count):
        await checkpoint()


async def until(condition):
    while not condition():
        await checkpoint()


async def waiting(group, socket, function, *arguments, **options):
    """Start a call in a task, and return the task once the call waits in the socket's queue."""
    before = socket.stats.waits
    task = Task(group, function, *arguments, **options)
    await until(lambda: socket.stats.waits > before or task.ended)
    assert not task.ended, (task.result, task.error)
    return task


def fill(push):
    """Send up to the high-water mark. Return the sent messages."""
    sent = []
    while push.try_send(b"%d" % len(sent)):
        sent.append(b"%d" % len(sent))
    return sent


async def everything(pull, push):
    """Receive all messages under way. A last message marks the end."""
    got = []
    while not push.try_send(END):
        got.append(await pull.recv_multipart())
    while not got or got[-1] != [END]:
        got.append(await pull.recv_multipart())
    return got[:-1]


def whole(*messages):
    return [[message] for message in messages]


async def caught(awaitable):
    """Return the exception of an operation."""
    try:
        result = await awaitable
    except Exception as error:
        return error
    pytest.fail(f"no exception was raised, the result is {result!r}")
