"""The pages in docs/: their Python runs, and their links lead somewhere."""

import inspect
import itertools
import json
import os
import re
import shutil
import signal
import socket as sockets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from paths import ROOT

import zmqcy
import zmqcy.auth
from zmqcy.devices import Device

ANY = "tcp://127.0.0.1:*"
DOCS = ROOT / "docs"

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


def execute(run, parts, page, logged="", **options):
    """Run parts of a page as a script, or as in a console if they await; return the output.

    On stderr there are only the logged lines. An exception in a thread would be there, and the exit code still 0.
    """
    try:
        compile(script := "".join(part for _, part in parts), str(page), "exec")
    except SyntaxError:
        done = run(CONSOLE, page, input=json.dumps(parts), **options)
    else:
        done = run(script, **options)
    assert re.sub(r"^[\d-]+ [\d:,]+ ", "", done.stderr, flags=re.M) == logged
    return done.stdout


def is_program(part):
    return re.search(r"^\w+\.run\(", part, re.M) is not None


LIMIT = 30  # max seconds of the service
PROGRAMS = {"uvloop": "b'hello'\n", "anyio": "b'not lost'\n"}

# Pages with their own tests, here or elsewhere. The Python blocks of all other pages run as in a console.
TESTED_ELSEWHERE = {
    "asyncio.md",
    "devices.md",
    "from-pyzmq.md",
    "interop.md",
    "guarantees.md",
    "releasing.md",
    "testing.md",
}
NOT_RUN = "<!-- not run: "
OTHERS = sorted(
    str(page.relative_to(DOCS))
    for page in DOCS.rglob("*.md")
    if page.name not in TESTED_ELSEWHERE and "_build" not in page.parts and "```python" in page.read_text()
)

# Code that runs before the blocks of a page.
GIVEN = {
    "guide.md": """
import zmqcy
ctx = zmqcy.Context(linger=0, rcvtimeo=10_000, sndtimeo=10_000)
receiver, sender, push = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH), ctx.socket(zmqcy.PUSH)
receiver.bind("inproc://guide")
sender.connect("inproc://guide")
peers = [ctx.socket(zmqcy.PULL) for _ in range(5)]
for peer in peers:
    peer.connect("tcp://127.0.0.1:5555")
reader = ctx.socket(zmqcy.SUB)
reader.subscribe("topic")
reader.connect("tcp://127.0.0.1:5556")
""",
    "logging.md": """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
""",
}


@pytest.fixture
def with_free_ports():
    """A function that replaces the ports of the pages by free ones."""
    with ExitStack() as stack:
        free = {}
        for port in ("5555", "5556"):
            socket = stack.enter_context(sockets.socket())
            socket.bind(("127.0.0.1", 0))
            free[port] = str(socket.getsockname()[1])
    return lambda text: re.sub("|".join(free), lambda found: free[found[0]], text)


LOGGED = {"logging.md": "app ERROR no connection to the database\n"}  # on stderr
# Imports of the pages' Python that not every test environment has.
NEEDS = {"logging.md": ["opentelemetry.sdk", "prometheus_client"], "web-frameworks.md": ["fastapi", "httpx2"]}


@pytest.mark.parametrize("page", OTHERS)
def test_the_python_of_a_page_runs_and_prints_what_it_says(run, page, tmp_path, with_free_ports):
    for module in NEEDS.get(page, []):
        pytest.importorskip(module, reason=f"{module} is not installed")
    if page == "drafts.md" and not zmqcy.has("draft"):
        pytest.skip("this libzmq has no draft sockets")
    text = (DOCS / page).read_text()
    lines = text.splitlines()
    parts = [
        (line, with_free_ports(part))
        for line, part in parts_of(page)
        if not lines[line - 3 if lines[line - 2] == "" else line - 2].startswith(NOT_RUN)
    ]
    programs = [part for _, part in parts if is_program(part)]
    typed = [each for each in parts if each[1] not in programs]
    if page in GIVEN:
        typed.insert(0, (0, with_free_ports(GIVEN[page])))
    assert typed or programs
    outputs = [execute(run, typed, DOCS / page, LOGGED.get(page, ""), cwd=tmp_path)]
    outputs += [execute(run, [(0, program)], DOCS / page, cwd=tmp_path) for program in programs]
    for (name, code), output in zip(
        [("typed", "".join(part for _, part in typed)), *(("program", program) for program in programs)],
        outputs,
        strict=True,
    ):
        said = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.M)
        if said:  # a wait may take longer than the page says
            printed, said = (
                [re.sub(r"after \d+ ms", "after so many ms", line) for line in lines]
                for lines in (output.splitlines(), said)
            )
            assert (name, printed) == (name, said)


@pytest.mark.slow
def test_the_application_of_the_page_on_web_frameworks_is_served(tmp_path, with_free_ports):
    """Test uvicorn with a service that does not answer, a browser that disconnects, and SIGTERM during a stream."""
    for module in ("fastapi", "uvicorn"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    code = with_free_ports("".join(part for _, part in parts_of("web-frameworks.md")[:4]))
    (tmp_path / "app.py").write_text(code)
    prices_at, changes_at = re.findall(r"^(?:PRICES|CHANGES) = \"(\S+)\"", code, re.M)
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0", "--timeout-graceful-shutdown", "1"]
    with (
        subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server,
        zmqcy.Context(linger=0, rcvtimeo=20_000) as context,
        context.socket(zmqcy.XPUB) as changes,
        context.socket(zmqcy.REP) as prices,
        ThreadPoolExecutor(1) as pool,
    ):
        late = threading.Timer(60, server.kill)
        late.daemon = True  # daemon, in case the test fails
        late.start()
        changes.bind(changes_at)
        prices.bind(prices_at)
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))

        asked = pool.submit(urlopen, f"{address}/prices/eggs")
        assert prices.recv() == b"eggs"
        with pytest.raises(HTTPError) as refused:  # the reply does not arrive in time
            asked.result()
        assert refused.value.code == 504
        refused.value.close()
        prices.send_json(1)  # for a socket that is closed

        asked = pool.submit(urlopen, f"{address}/prices/eggs")
        assert prices.recv() == b"eggs"
        prices.send_json(2)
        with asked.result() as response:
            assert json.load(response) == {"eggs": 2}

        for price in (b"3", b"4"):
            with urlopen(f"{address}/prices/eggs/events") as events:
                assert changes.recv() == b"\1eggs "
                changes.send_multipart([b"eggs ", price])
                assert events.readline() == b"data: %s\n" % price
                if price == b"4":
                    server.send_signal(signal.SIGTERM)
                    assert changes.recv() == b"\0eggs "
                    log = server.stderr.read()
            if price == b"3":
                assert changes.recv() == b"\0eggs "
        late.cancel()
        assert "Finished server process" in log and "Application shutdown complete" in log
        assert server.wait(20) in (0, -signal.SIGTERM)


def test_the_two_programs_of_the_tutorial_talk_and_the_client_gives_up_without_a_server(run, with_free_ports):
    programs = [part for _, part in parts_of("tutorial.md") if ":5555" in part]
    server, client = map(with_free_ports, programs)
    alone = run(client.replace("timeout=1000", "timeout=10"), check=False)
    assert alone.returncode == 1
    assert alone.stdout == "no reply\n" * 3
    assert alone.stderr.endswith("ConnectionError: the server does not reply\n")
    with subprocess.Popen([sys.executable, "-c", server], cwd=ROOT) as process:
        try:
            assert run(client.replace("timeout=1000", f"timeout={LIMIT * 1000}")).stdout == "b'HELLO'\n"
        finally:
            process.kill()


def test_what_is_not_run_says_why():
    reasons = [
        why for page in DOCS.rglob("*.md") for why in re.findall(f"{NOT_RUN}(.*) -->\n\n?```python", page.read_text())
    ]
    marks = sum(page.read_text().count(NOT_RUN) for page in DOCS.rglob("*.md") if "_build" not in page.parts)
    assert len(reasons) == marks > 0
    assert all(len(why.split()) > 3 for why in reasons)


def test_the_asyncio_page_can_be_typed_into_a_console(run):
    parts = [(line, part) for line, part in parts_of("asyncio.md") if not is_program(part)]
    assert len(parts) > 10
    assert execute(run, parts, DOCS / "asyncio.md") == ""


@pytest.mark.parametrize("library", PROGRAMS)
def test_the_programs_of_the_asyncio_page_run(run, library):
    programs = [part for _, part in parts_of("asyncio.md") if is_program(part)]
    [program] = [part for part in programs if f"{library}.run(" in part]
    assert execute(run, [(0, BEFORE + program)], "asyncio.md") == PROGRAMS[library]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_service_of_the_asyncio_page_answers_what_it_has_received_and_exits(number):
    [code] = [part for _, part in parts_of("asyncio.md") if "asyncio.run(" in part]
    assert len([line for line in code.splitlines() if line]) <= 30
    assert ":5555" in code
    service = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code.replace(":5555", ":*")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    late = threading.Timer(LIMIT, service.kill)
    late.start()
    try:
        with service, zmqcy.Context(linger=0) as context:
            client = context.socket(zmqcy.DEALER, rcvtimeo=LIMIT * 1000)
            client.connect(service.stdout.readline().split()[-1])
            for request in range(100):
                client.send_multipart([b"%d" % request, b"hello"])
            assert client.recv_multipart() == [b"0", b"HELLO"]
            service.send_signal(number)  # the rest was received and answered, or is left in the queue
            assert client.recv_multipart() == [b"1", b"HELLO"]
            out, errors = service.communicate()
            assert (service.returncode, out, errors) == (0, "", "")
    finally:
        late.cancel()
        service.kill()


def test_the_page_for_users_of_pyzmq_runs(run):
    parts = parts_of("from-pyzmq.md")
    assert len(parts) == 3
    for line, part in parts:  # each in a new process: the last one puts another module under the name zmq
        assert execute(run, [(line, part)], DOCS / "from-pyzmq.md") == ""


def test_the_page_on_testing_is_a_file_of_tests_that_pass(tmp_path):
    code = "".join(part for _, part in parts_of("testing.md"))
    (tmp_path / "test_page.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_page.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    tests = len(re.findall(r"^(?:async )?def test_", code, re.M))
    assert f"{tests + 1} passed" in done.stdout, done.stdout + done.stderr  # one test runs over two transports


# The exports of gozmq, with each of its build tags, and the methods of its Socket.
GOZMQ = """
AFFINITY BACKLOG BoolSocketOption CONFLATE CURVE_PUBLICKEY CURVE_SECRETKEY CURVE_SERVER CURVE_SERVERKEY Context
Context.Close Context.IOThreads Context.MaxSockets Context.NewSocket Context.SetIOThreads Context.SetMaxSockets
DEALER DELAY_ATTACH_ON_CONNECT DONTWAIT DOWNSTREAM Device DeviceType EFSM EINVAL EMTHREAD ENOCOMPATPROTO ENOTSOCK
ETERM EVENTS EVENT_ACCEPTED EVENT_ACCEPT_FAILED EVENT_ALL EVENT_BIND_FAILED EVENT_CLOSED EVENT_CLOSE_FAILED
EVENT_CONNECTED EVENT_CONNECT_DELAYED EVENT_CONNECT_RETRIED EVENT_DISCONNECTED EVENT_LISTENING Event FAIL_UNROUTABLE
FD FORWARDER HWM IDENTITY IMMEDIATE IPV4ONLY IPV6 Int64SocketOption IntSocketOption LINGER MAXMSGSIZE MCAST_LOOP
MECHANISM MORE MessageOption NOBLOCK NewContext PAIR PLAIN_PASSWORD PLAIN_SERVER PLAIN_USERNAME POLLERR POLLIN
POLLOUT PROBE_ROUTER PUB PULL PUSH Poll PollEvents PollItem PollItem.Events PollItem.Fd PollItem.REvents
PollItem.Socket PollItems Proxy QUEUE RATE RCVBUF RCVHWM RCVMORE RCVTIMEO RECONNECT_IVL RECONNECT_IVL_MAX
RECOVERY_IVL RECOVERY_IVL_MSEC REP REQ REQ_CORRELATE REQ_RELAXED ROUTER ROUTER_MANDATORY ROUTER_RAW SNDBUF SNDHWM
SNDMORE SNDTIMEO STREAMER SUB SUBSCRIBE SWAP SendRecvOption Socket SocketType StringSocketOption TCP_ACCEPT_FILTER
TCP_KEEPALIVE TCP_KEEPALIVE_CNT TCP_KEEPALIVE_IDLE TCP_KEEPALIVE_INTVL TYPE UInt64SocketOption UNSUBSCRIBE UPSTREAM
Version XPUB XPUB_VERBOSE XREP XREQ XSUB ZAP_DOMAIN ZmqOsSocketType ZmqOsSocketType.ToRaw
"""
GOZMQ_SOCKET = """
Affinity Backlog Bind Close Connect CurvePublickey CurveSecretkey CurveServerkey DelayAttachOnConnect Disconnect
Events GetSockOptBool GetSockOptInt GetSockOptInt64 GetSockOptString GetSockOptUInt64 HWM IPv4Only Identity
Immediate Ipv6 Linger MaxMsgSize McastLoop Mechanism Monitor PlainPassword PlainServer PlainUsername Rate RcvBuf
RcvHWM RcvMore RcvTimeout ReconnectIvl ReconnectIvlMax RecoveryIvl Recv RecvMultipart Send SendMultipart SetAffinity
SetBacklog SetConflate SetCurvePublickey SetCurveSecretkey SetCurveServer SetCurveServerkey SetDelayAttachOnConnect
SetHWM SetIPv4Only SetIdentity SetImmediate SetIpv6 SetLinger SetMaxMsgSize SetMcastLoop SetPlainPassword
SetPlainServer SetPlainUsername SetProbeROUTER SetROUTERMandatory SetROUTERRaw SetRate SetRcvBuf SetRcvHWM
SetRcvTimeout SetReconnectIvl SetReconnectIvlMax SetRecoveryIvl SetReqCorrelate SetReqRelaxed SetSndBuf SetSndHWM
SetSndTimeout SetSockOptInt SetSockOptInt64 SetSockOptString SetSockOptStringNil SetSockOptUInt64 SetSubscribe
SetSwap SetTCPAcceptFilter SetTCPAcceptFilterNil SetTCPKeepalive SetTCPKeepaliveCnt SetTCPKeepaliveIdle
SetTCPKeepaliveIntvl SetUnsubscribe SetXPUBVerbose SetZapDomain SndBuf SndHWM SndTimeout Swap TCPKeepalive
TCPKeepaliveCnt TCPKeepaliveIdle TCPKeepaliveIntvl Type ZapDomain
"""


def test_the_page_for_users_of_gozmq_names_all_that_it_exports():
    tables = (DOCS / "from-gozmq.md").read_text().partition("## Names")[2]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", tables, re.M)
    named = [name for left, _ in rows for name in re.findall(r"`([\w.]+)`", left)]
    assert len(named) == len(set(named))
    assert set(named) == {*GOZMQ.split(), *(f"Socket.{name}" for name in GOZMQ_SOCKET.split())}
    owners = {"zmqcy": zmqcy, "zmqcy.auth": zmqcy.auth, "socket": zmqcy.Socket, "context": zmqcy.Context}
    sent_to = re.findall(r"`(zmqcy|zmqcy\.auth|socket|context)\.(\w+)`", " ".join(right for _, right in rows))
    assert [name for owner, name in sent_to if not hasattr(owners[owner], name)] == []
    same = [left for left, right in rows if "same names" in right]
    assert [name for name in re.findall(r"`([A-Z]\w*[A-Z])`", " ".join(same)) if not hasattr(zmqcy, name)] == []
    options = tables.partition("Options. Their constants")[2]
    constants = set(re.findall(r"`([A-Z_0-9]+)`", options)) - {"HWM", "MCAST_LOOP", "RECOVERY_IVL_MSEC", "SWAP"}
    assert [name for name in constants if not hasattr(zmqcy, name)] == []


@pytest.fixture(scope="module")
def devices_page():
    return (DOCS / "devices.md").read_text()


@pytest.fixture
def shell(devices_page, tmp_path):
    """The shell blocks of the page on devices, with other ports, and a function that runs one."""
    for module in ("click", "rich", "prometheus_client", "starlette", "uvicorn"):
        pytest.importorskip(module, reason="the extras [cli,web] are not installed")
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
    assert "orders ended: front to back 1 message," in out


def test_the_program_of_the_page_on_devices_runs(run, devices_page):
    for module in ("prometheus_client", "starlette", "uvicorn"):
        pytest.importorskip(module, reason="the extra [web] is not installed")
    [program] = re.findall(r"```python\n(.*?)```", devices_page, re.S)
    url, record = execute(run, [(0, program)], "devices.md").splitlines()
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


def anchors_of(page):
    """Return the anchors that GitHub makes of the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        anchor = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        count = itertools.count(1)
        name = anchor
        while name in found:
            name = f"{anchor}-{next(count)}"
        found.add(name)
    return found


def test_the_page_on_platforms_agrees_with_the_package_and_ci():
    page = (DOCS / "platforms.md").read_text()
    package = (ROOT / "pyproject.toml").read_text()
    versions = re.findall(r"Python :: (3\.\d+)", package)
    rows = re.findall(r"^\| CPython (3\.\d.*?) \| supported", page, re.M)
    assert re.findall(r"3\.\d+", " ".join(rows)) == versions
    assert f'requires-python = ">={versions[0]}"' in package
    assert f"with CPython {versions[0]} to {versions[-1]} on" in page
    matrix = re.search(r"python: (\[.*\])", (ROOT / ".github" / "workflows" / "test.yml").read_text())[1]
    assert json.loads(matrix) == versions
    built = re.findall(r"cp(3)(\d+)(t?)-", re.search(r'^build = "(.*)"', package, re.M)[1])
    assert [f"{major}.{minor}" for major, minor, threaded in built if not threaded] == versions
    assert [f"{major}.{minor}t" for major, minor, threaded in built if threaded] == ["3.14t"]
    assert "and 3.14t for manylinux_2_28, musllinux_1_2 and macOS" in page
    assert f"libzmq {re.search(r'MINIMUM = .(.*).$', (ROOT / 'setup.py').read_text(), re.M)[1]} or newer" in page


def test_links_lead_somewhere():
    root = DOCS.parent
    pages = [*DOCS.rglob("*.md"), *root.glob("*.md"), *(root / "examples").rglob("*.md")]
    pages = [page for page in pages if "_build" not in page.parts]
    links = [
        (page, *found)
        for page in pages
        for found in re.findall(r"\]\((?!\w+:)([^)#]*)(?:#([\w-]+))?\)", page.read_text())
    ]
    assert len(links) > 100
    assert sum(anchor != "" for _, _, anchor in links) > 20
    lost = [(page.name, link) for page, link, _ in links if not (page.parent / link).exists()]
    targets = [(page, (page.parent / link) if link else page, anchor) for page, link, anchor in links if anchor]
    known = {target: anchors_of(target) for _, target, _ in targets if target.suffix == ".md" and target.exists()}
    lost += [
        (page.name, target.name, anchor) for page, target, anchor in targets if anchor not in known.get(target, ())
    ]
    assert lost == []


def test_every_page_is_in_the_index():
    """Patterns, performance and the reference have their own index pages."""
    listed = set()
    for index in (DOCS / name for name in ("index.md", "performance.md", "patterns/index.md", "api/index.md")):
        for names in re.findall(r"```{toctree}\n(.*?)```", index.read_text(), re.S):
            listed |= {index.parent / f"{name}.md" for name in names.split() if name[0] != ":"}
    pages = {page for page in DOCS.rglob("*.md") if "_build" not in page.parts}
    assert pages - listed == {DOCS / "index.md"}


def test_the_reference_has_every_public_name():
    """Options are in their table, and constants in the tables of their enums."""
    text = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    from zmqcy import constants
    from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS

    options = {option.name for option in (*SOCKET_OPTIONS, *CONTEXT_OPTIONS)} | set(ALIASES)
    names = {name for name in dir(zmqcy) if name[0] != "_" and not inspect.ismodule(getattr(zmqcy, name))}
    names -= set(constants.__all__)
    names |= {enum.__name__ for enum, _ in constants.ENUMS}
    for owner in (zmqcy.Context, zmqcy.Socket):
        names |= {f"{owner.__name__}.{name}" for name in dir(owner) if name[0] != "_" and name not in options}
    told = set(re.findall(r"[\w.]+", text))
    told |= {f"Context.{name}" for name in re.findall(r"   \.\. auto\w+:: (\w+)", text)}
    assert sorted(name for name in names if name not in told) == []


SOUGHT = """
backpressure|graceful shutdown|load balancing|thread safety|thread-safe|zero-copy|timeout|reconnect|heartbeat|Docker
FastAPI|cancel|high-water mark|non-blocking|Kubernetes|pytest|logging|slow joiner
"""


@pytest.mark.slow
def test_the_site_is_made_without_a_warning_and_its_search_finds_the_words_of_the_field(tmp_path):
    for module in ("sphinx", "furo", "myst_parser", "sphinx_copybutton", "sphinx_design"):
        pytest.importorskip(module, reason="the group docs is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=DOCS.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'id="zmqcy.Socket.rcvhwm"' in (tmp_path / "options.html").read_text()
    reference = (tmp_path / "api" / "socket.html").read_text()
    assert 'id="zmqcy.Socket.send_many"' in reference
    assert 'href="https://docs.python.org/3/library/exceptions.html#TypeError"' in reference
    assert "copybutton.js" in reference

    from sphinx.search.en import SearchEnglish

    stem = SearchEnglish({}).stem
    index = json.loads((tmp_path / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")"))

    def pages(word):
        found = (index[part].get(stem(word.lower()), []) for part in ("terms", "titleterms"))
        return {page for pages in found for page in ([pages] if isinstance(pages, int) else pages)}

    for words in re.split(r"\||\n", SOUGHT.strip()):
        assert set.intersection(*map(pages, re.split("[ -]", words))), words


@pytest.mark.parametrize(
    "text",
    [
        "a queue under back pressure",
        "When the time is up, it",
        "a message for who is there",
        "It tells the peer",
        "let the GIL go",
    ],
)
def test_phrases_that_texts_avoid_are_found(text, tmp_path):
    (tmp_path / "page.md").write_text(text + "\n")
    command = ["git", "grep", "--no-index", "-nEi", "-f", ROOT / "tools" / "phrases.txt", "--", "page.md"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, f"page.md:1:{text}\n")
    (tmp_path / "page.md").write_text("A call that times out never loses a message.\n")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1
