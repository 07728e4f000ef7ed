"""Fixtures: a context that is ended in time, sockets that are closed, connected pairs over three transports."""

import os
import subprocess
import sys
import textwrap

import pytest

import zmqcy

zmqcy.exit_linger = 0  # what tests leave behind is not waited for
LIMIT = 10_000  # ms that a context may take to end after its sockets were closed


@pytest.fixture
def ctx():
    """A context; at the end its sockets are closed without linger and it must end in time."""
    context = zmqcy.Context()
    yield context
    for socket in context._open_sockets():
        socket.close(0)
    context.term(timeout=LIMIT)


@pytest.fixture
def socket(ctx):
    """A function that makes a socket of a type, with options, in `ctx`."""

    def make(socket_type, **options):
        return ctx.socket(socket_type, **{"linger": 0, "rcvtimeo": LIMIT, "sndtimeo": LIMIT, **options})

    return make


@pytest.fixture(params=["inproc", "ipc", "tcp"])
def transport(request):
    return request.param


@pytest.fixture
def url(transport, tmp_path):
    """An endpoint of each transport to bind to."""
    return {"inproc": "inproc://test", "ipc": f"ipc://{tmp_path}/test", "tcp": "tcp://127.0.0.1:*"}[transport]


@pytest.fixture
def pair(socket, url):
    """A function that makes two connected sockets: the first is bound, over each transport in turn."""

    def make(bound, connected, bound_options=(), connected_options=()):
        first = socket(bound, **dict(bound_options))
        first.bind(url)
        second = socket(connected, **dict(connected_options))
        second.connect(first.last_endpoint)
        return first, second

    return make


@pytest.fixture
def run():
    """A function that runs Python code in a process of its own, and returns the finished process with its output."""

    def execute(code, *arguments, timeout=30, check=True, env=None, **options):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}, **options,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return execute
