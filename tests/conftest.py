"""Fixtures: contexts, sockets, and connected pairs over three transports.

The fixture `flavour` runs a test that is a coroutine function on each event loop of `aio.FLAVOURS`.
"""

import collections
import inspect
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading

import aio
import pytest

import zmqcy

zmqcy.exit_linger = 0  # do not wait at exit for unsent messages of tests
LIMIT = 10_000  # max ms until a context ends after its sockets were closed


@pytest.fixture(autouse=True, scope="session")
def ctrl_c():
    """Enable Ctrl-C, which a shell disables for background processes and their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def late_alarms():
    """Ignore an alarm that arrives after its test: it would end the whole run without a message."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda *_: None)


@pytest.fixture(params=list(aio.FLAVOURS))
def flavour(request):
    """An event loop, and zmqcy's module for it."""
    flavour = aio.Flavour(request.param)
    yield flavour
    assert flavour.reported == []


def pytest_collection_modifyitems(items):
    """Start with the files that have slow tests, so that all workers finish at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter):
    """Print the number of skipped tests by reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5} {reason}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or "flavour" not in pyfuncitem.funcargs:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}

    async def call():
        try:
            await pyfuncitem.obj(**arguments)
        finally:
            for socket in ctx._open_sockets():
                socket.close(0)

    ctx = pyfuncitem.funcargs["ctx"]
    pyfuncitem.funcargs["flavour"].run(call)
    return True


@pytest.fixture
def ctx(request):
    """A context. At the end its sockets are closed without linger, and it must end within LIMIT."""
    context = (request.getfixturevalue("flavour") if "flavour" in request.fixturenames else zmqcy).Context()
    yield context
    for socket in context._open_sockets():
        socket.close(0)
    context.term(timeout=LIMIT)


@pytest.fixture
def socket(ctx, request):
    """A function that creates a socket of a type, with options, in `ctx`."""
    times = {} if "flavour" in request.fixturenames else {"rcvtimeo": LIMIT, "sndtimeo": LIMIT}

    def make(socket_type, **options):
        return ctx.socket(socket_type, **{"linger": 0, **times, **options})

    return make


@pytest.fixture(params=["inproc", "ipc", "tcp"])
def transport(request):
    return request.param


@pytest.fixture
def url(transport, tmp_path):
    """An endpoint to bind to, for each transport."""
    return {"inproc": "inproc://test", "ipc": f"ipc://{tmp_path}/test", "tcp": "tcp://127.0.0.1:*"}[transport]


@pytest.fixture
def pair(socket, url):
    """A function that creates two connected sockets, the first one bound. The test runs over each transport."""

    def make(bound, connected, bound_options=(), connected_options=()):
        first = socket(bound, **dict(bound_options))
        first.bind(url)
        second = socket(connected, **dict(connected_options))
        second.connect(first.last_endpoint)
        return first, second

    return make


@pytest.fixture
def run():
    """A function that runs Python code in a new process, and returns the finished process with its output."""

    def execute(code, *arguments, timeout=30, check=True, env=None, **options):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}, **options,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return execute


class Outcome(list):
    """The result or exception of a call in a thread. Calling this waits for the end of the call."""

    def __init__(self, function, arguments, options):
        self.thread = threading.Thread(target=self.run, args=(function, arguments, options))
        self.thread.start()

    def run(self, function, arguments, options):
        try:
            self.append(function(*arguments, **options))
        except BaseException as error:
            self.append(error)

    def __call__(self):
        self.thread.join(20)
        return self[0]


@pytest.fixture
def thread():
    """A function that starts a call in a thread, and returns the Outcome."""
    outcomes = []

    def start(function, *arguments, **options):
        outcomes.append(Outcome(function, arguments, options))
        return outcomes[-1]

    yield start
    for outcome in outcomes:
        outcome()


@pytest.fixture
def near(socket):
    """A function that creates two sockets, connected over inproc, the first one bound. Messages arrive at once."""
    names = (f"inproc://near{i}" for i in itertools.count())

    def make(bound=zmqcy.PULL, connected=zmqcy.PUSH, **options):
        first, second = socket(bound, **options), socket(connected, **options)
        name = next(names)
        first.bind(name)
        second.connect(name)
        return first, second

    return make


@pytest.fixture
def narrow(near):
    """A function that creates a PULL and a PUSH with high-water marks for two messages in all."""
    return lambda: near(rcvhwm=1, sndhwm=1)


@pytest.fixture
def outside(ctx):
    """A function that creates a plain socket in the same context, for another thread."""
    context = zmqcy.Context.shadow(ctx)
    sockets = []

    def make(socket_type, **options):
        sockets.append(context.socket(socket_type, **{"linger": 0, "rcvtimeo": LIMIT, "sndtimeo": LIMIT, **options}))
        return sockets[-1]

    yield make
    for each in sockets:
        each.close(0)
