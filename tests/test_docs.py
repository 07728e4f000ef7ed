"""The pages in docs/: their Python runs, and their links lead somewhere."""

import json
import os
import re
import shutil
import signal
import socket as sockets
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import zmqcy
from zmqcy.devices import Device

ANY = "tcp://127.0.0.1:*"
DOCS = Path(__file__).resolve().parent.parent / "docs"

# The parts of a page one after the other, as in `python -m asyncio`: a name from one part is known in the next.
CONSOLE = """
import ast, asyncio, inspect, json, sys

async def main():
    known = {"__name__": "__main__"}
    for line, part in json.load(sys.stdin):
        code = compile("\\n" * line + part, sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, known)
        if inspect.iscoroutine(result):
            await result

asyncio.run(main())
"""
BEFORE = "import asyncio\nimport zmqcy\nfrom zmqcy.asyncio import Context\n"


def parts_of(name):
    """Return the parts of Python on a page, each with the line before it."""
    text = (DOCS / name).read_text()
    return [(text[: found.start(1)].count("\n"), found[1]) for found in re.finditer(r"```python\n(.*?)```", text, re.S)]


def is_program(part):
    return re.search(r"^\w+\.run\(", part, re.M) is not None


PROGRAMS = {"uvloop": "b'hello'\n", "anyio": "b'not lost'\n"}


def test_the_asyncio_page_can_be_typed_into_a_console(run):
    parts = [(line, part) for line, part in parts_of("asyncio.md") if not is_program(part)]
    assert len(parts) > 10
    assert run(CONSOLE, DOCS / "asyncio.md", input=json.dumps(parts)).stdout == ""


@pytest.mark.parametrize("library", PROGRAMS)
def test_the_programs_of_the_asyncio_page_run(run, library):
    programs = [part for _, part in parts_of("asyncio.md") if is_program(part)]
    assert len(programs) == len(PROGRAMS)
    [program] = [part for part in programs if f"{library}.run(" in part]
    assert run(BEFORE + program).stdout == PROGRAMS[library]


def test_the_page_for_users_of_pyzmq_runs(run):
    parts = parts_of("from-pyzmq.md")
    assert len(parts) == 3
    for line, part in parts:  # each in a process of its own: the last puts another module under the name zmq
        assert run(CONSOLE, DOCS / "from-pyzmq.md", input=json.dumps([(line, part)])).stdout == ""


@pytest.fixture(scope="module")
def devices_page():
    return (DOCS / "devices.md").read_text()


@pytest.fixture
def shell(devices_page, tmp_path):
    """The shell blocks of the page on devices, with other ports, and a function that runs one."""
    for module in ("click", "rich", "prometheus_client"):
        pytest.importorskip(module, reason="the extras [cli,metrics] are not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    blocks = re.findall(r"```sh\n(.*?)```", devices_page, re.S)
    with ExitStack() as stack:
        free = {}
        for port in ("5559", "5560", "9100"):
            socket = stack.enter_context(sockets.socket())
            socket.bind(("127.0.0.1", 0))
            free[port] = str(socket.getsockname()[1])
    blocks = [re.sub("|".join(free), lambda found: free[found[0]], block) for block in blocks]
    command = tmp_path / "zmqcy"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zmqcy "$@"\n')
    command.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ZMQCY_TOKEN": "choose-a-long-one"}
    options = {"cwd": DOCS.parent, "env": env, "start_new_session": True, "stdin": subprocess.DEVNULL}
    processes = []

    def start(block):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(["sh", "-e", "-c", block], text=True, **options, **pipes))
        return processes[-1]

    yield blocks, start
    for each in processes:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.communicate()


def test_the_page_on_devices_can_be_followed(shell):
    (begin, request, look, pause), start = shell
    device = start(begin)
    assert device.stderr.readline().startswith("metrics http://127.0.0.1:")
    assert device.stderr.readline().startswith("ready tcp://127.0.0.1:")
    asked = start(request)
    assert "hello\n" in iter(asked.stdout.readline, "")
    looked, errors = start(look).communicate(timeout=30)
    assert errors == ""
    assert looked.startswith('{"name": "orders", "state": "running"')
    assert 'zmqcy_device_messages_total{device="orders",direction="front_to_back"} 1.0\n' in looked
    assert start(pause).communicate(timeout=30) == ('{"state": "paused"}{"state": "running"}', "")
    os.killpg(device.pid, signal.SIGTERM)
    out, _ = device.communicate(timeout=30)
    assert "orders ended: front to back 1 messages" in out


def test_the_program_of_the_page_on_devices_runs(run, devices_page):
    pytest.importorskip("prometheus_client", reason="the extra [metrics] is not installed")
    [program] = re.findall(r"```python\n(.*?)```", devices_page, re.S)
    url, record = run(program).stdout.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    assert "LISTENING" in record


def test_the_page_on_devices_names_each_metric_with_its_labels(devices_page):
    pytest.importorskip("prometheus_client", reason="the extra [metrics] is not installed")
    from prometheus_client import CollectorRegistry

    from zmqcy.metrics import register, register_device

    registry = CollectorRegistry()
    with zmqcy.Context() as context, Device(zmqcy.QUEUE, ANY, ANY, watch=True) as device:
        socket = context.socket(zmqcy.PULL)
        register(socket, "a", registry)
        register_device(device, "b", registry)
        there = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    rows = re.findall(r"^\| `(zmqcy_\w+)` \| (.*?) \|", devices_page, re.M)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == there
    rules = re.findall(r"expr: (.*)", devices_page)
    assert len(rules) == 2
    for name in re.findall(r"zmqcy_\w+", " ".join(rules)):
        assert name in there


def test_the_service_of_the_page_on_devices_is_that_of_the_unit(devices_page):
    unit = (DOCS.parent / "examples" / "zmqcy-device.service").read_text()
    _, command = re.findall(r"^ExecStart=(.*)$", devices_page, re.M)
    [original] = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    assert command.split()[:5] == original.split()[:5]  # zmqcy device KIND FRONT BACK
    [address] = re.findall(r'targets: \["(.*)"\]', devices_page)
    assert f"--metrics {address}" in command


def test_links_lead_somewhere():
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text())]
    assert len(links) > 5
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
