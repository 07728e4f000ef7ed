"""`zmqcy.web`: a device over HTTP, with real requests, and its page in a real browser."""

import http.client
import json
import os
import re
import shutil
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from types import SimpleNamespace

import pytest
from rows import rows
from waits import until

pytest.importorskip("prometheus_client", reason="the extra [web] is not installed")
pytest.importorskip("starlette", reason="the extra [web] is not installed")
pytest.importorskip("uvicorn", reason="the extra [web] is not installed")
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

import zmqcy
from zmqcy import web
from zmqcy.devices import Device
from zmqcy.metrics import register
from zmqcy.web import serve

ANY = "tcp://127.0.0.1:*"
HERE = "127.0.0.1:0"
LIMIT = 10  # seconds
TOKEN = "correct-horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def device():
    with Device(zmqcy.QUEUE, ANY, ANY, watch=True) as device:
        yield device


@pytest.fixture
def server(device):
    with serve(device, HERE, name="orders", token=TOKEN) as server:
        yield server


def port(server):
    return int(server.url.rstrip("/").rpartition(":")[2])


def ask(server, method, path, headers=(), body=None):
    """Return the response to a request, with its body in `text`."""
    with closing(http.client.HTTPConnection("127.0.0.1", port(server), timeout=LIMIT)) as connection:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        response.text = response.read().decode()
        return response


def connected(server):
    return sockets.create_connection(("127.0.0.1", port(server)), timeout=LIMIT)


def clients(server):
    return len(server._http.server_state.connections)


@rows("module", ["prometheus_client", "starlette", "uvicorn"])
def test_without_the_extra_the_import_names_it(run, module):
    done = run(f"""
        import sys
        sys.modules["{module}"] = None  # as if it were not installed
        if "{module}" != "prometheus_client":
            import zmqcy.metrics
        try:
            import zmqcy.web
        except ImportError as error:
            print(error.name.partition(".")[0], error)
    """)
    assert done.stdout.startswith(f"{module} zmqcy.web requires Starlette, uvicorn and prometheus_client: ")
    assert "pip install 'zmqcy[web]'" in done.stdout


def test_health(device, server):
    for call, state in ((device.pause, "paused"), (device.resume, "running")):
        call()
        answer = ask(server, "GET", "/health?x")
        assert (answer.status, json.loads(answer.text)) == (200, {"name": "orders", "state": state, "error": None})
        assert answer.headers["Content-Type"] == "application/json"
    device.stop()
    answer = ask(server, "GET", "/health")
    assert (answer.status, json.loads(answer.text)["state"]) == (503, "ended")


def test_health_before_the_start():
    with serve(Device(zmqcy.QUEUE, ANY, ANY), HERE, name="a") as server:
        answer = ask(server, "GET", "/health")
        assert (answer.status, json.loads(answer.text)["state"]) == (503, "not started")
        assert ask(server, "GET", "/metrics").status == 200
        assert next(events(server))["state"] == "not started"


def test_health_reports_the_error(ctx):
    context = zmqcy.Context()
    device = Device(zmqcy.QUEUE, ANY, ANY, context=context)
    device.start()
    with serve(device, HERE, name="a") as server:
        context.term()
        with suppress(zmqcy.ContextTerminated):
            device.join(LIMIT * 1000)
        assert "Context was terminated" in json.loads(ask(server, "GET", "/health").text)["error"]


def test_metrics(device, server):
    answer = ask(server, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    assert {sample.labels["device"] for sample in samples} == {"orders"}
    assert "zmqcy_device_peers" in {sample.name for sample in samples}
    answer = ask(server, "GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_metrics_of_another_registry(device, socket):
    registry = CollectorRegistry()
    pull = socket(zmqcy.PULL)
    register(pull, "own", registry)
    with serve(device, HERE, name="orders", registry=registry) as server:
        text = ask(server, "GET", "/metrics").text
        assert 'zmqcy_socket_waits_total{name="own",type="PULL"} 0.0' in text
        assert 'zmqcy_device_waits_total{device="orders"}' in text
        with pytest.raises(ValueError, match="the registry already contains a device 'orders'"):
            serve(device, HERE, name="orders", registry=registry)
    assert "orders" not in repr(list(registry.collect()))


def history(server):
    answer = ask(server, "GET", "/history")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    return json.loads(answer.text)


def events(server):
    """Yield the messages of /events as they arrive."""
    with closing(http.client.HTTPConnection("127.0.0.1", port(server), timeout=LIMIT)) as connection:
        connection.request("GET", "/events")
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        for line in response:
            if line.strip():
                assert line.startswith(b"data: ")
                yield json.loads(line[6:])


def test_events(device, server, socket):
    stream = events(server)
    first = next(stream)
    assert (first["name"], first["state"], first["control"], first["pid"]) == ("orders", "running", True, None)
    assert first["since"] == device.statistics().since.timestamp()
    assert first["endpoints"] == {side: list(all) for side, all in device.endpoints.items()}
    assert first["peers"] == {"front": 0, "back": 0}
    req, rep = socket(zmqcy.REQ), socket(zmqcy.REP)
    req.connect(device.endpoints["front"][0])
    rep.connect(device.endpoints["back"][0])
    req.send(b"a")
    rep.recv()
    second = next(each for each in stream if each["front_to_back"]["messages_out"])
    assert second["time"] > first["time"]
    assert second["peers"] == {"front": 1, "back": 1}
    assert {"LISTENING", "ACCEPTED"} <= {each["name"] for each in second["events"]}
    assert second["addresses"] == device.peer_addresses()
    stream.close()


def test_events_describe_the_device(server):
    said = next(events(server))
    assert (said["kind"], said["types"]) == ("QUEUE", ["ROUTER", "DEALER"])
    assert said["directions"] == ["front_to_back", "back_to_front"]
    assert said["versions"] == {"zmqcy": zmqcy.__version__, "libzmq": zmqcy.zmq_version()}


@rows(
    ("kind", "directions"),
    [
        (zmqcy.STREAMER, ["front_to_back"]),
        (zmqcy.FORWARDER, ["front_to_back"]),
        ((zmqcy.PUSH, zmqcy.PULL), ["back_to_front"]),
        ((zmqcy.XSUB, zmqcy.XPUB), ["front_to_back", "back_to_front"]),
    ],
)
def test_directions(kind, directions):
    with serve(Device(kind, ANY, ANY), HERE, name="a") as server:
        assert next(events(server))["directions"] == directions


def test_events_list_a_limited_number_of_addresses(device, server, monkeypatch):
    monkeypatch.setattr(web, "ADDRESSES", 1)
    front = ("127.0.0.1", int(device.endpoints["front"][0].rpartition(":")[2]))
    with sockets.create_connection(front), sockets.create_connection(front):
        until(lambda: device.peers()["front"] == 2)
        said = next(events(server))
        assert said["peers"]["front"] == 2
        assert said["addresses"]["front"] == device.peer_addresses()["front"][:1]


def test_events_of_a_device_that_is_not_watched():
    with Device(zmqcy.QUEUE, ANY, ANY) as device, serve(device, HERE, name="a") as server:
        said = next(events(server))
        assert (said["peers"], said["addresses"], said["events"], said["control"]) == (None, None, None, False)


@pytest.mark.parametrize("urls", [[], ["Source, https://a.example", "Documentation, https://b.example"]])
def test_the_documentation_that_the_package_declares(device, monkeypatch, urls):
    monkeypatch.setattr(web, "metadata", lambda name: SimpleNamespace(get_all={"Project-URL": urls}.get))
    with serve(device, HERE, name="a") as server:
        assert next(events(server))["documentation"] == ("https://b.example" if urls else None)


# ---- samples


def test_history_has_the_rates_when_nobody_reads_events(device, server, socket):
    push, pull = socket(zmqcy.DEALER), socket(zmqcy.DEALER)
    push.connect(device.endpoints["front"][0])
    pull.connect(device.endpoints["back"][0])
    for _ in range(10):
        push.send(b"12345")
        pull.recv()
    until(lambda: any(each["front_to_back"]["messages"] for each in history(server)))
    sample = next(each for each in history(server) if each["front_to_back"]["messages"])
    rates = sample["front_to_back"]
    assert rates.keys() == {"messages", "bytes", "blocked"}
    assert rates["bytes"] == pytest.approx(10 * rates["messages"])  # a ROUTER adds a routing id of 5 bytes
    assert sample["back_to_front"] == {"messages": 0, "bytes": 0, "blocked": 0}
    assert time.time() - 60 < sample["time"] <= time.time()
    until(lambda: history(server)[-1]["front_to_back"]["messages"] == 0)
    times = [each["time"] for each in history(server)]
    assert times == sorted(set(times))
    stream = events(server)
    assert next(stream)["sample"] in history(server)
    stream.close()


def test_history_shows_that_a_direction_is_blocked(socket):
    with Device(zmqcy.STREAMER, ANY, ANY) as device, serve(device, HERE, name="a") as server:
        push = socket(zmqcy.PUSH)
        push.connect(device.endpoints["front"][0])
        push.send(b"")  # no peer on the other side
        until(lambda: any(each["front_to_back"]["blocked"] for each in history(server)))
        assert {each["front_to_back"]["messages"] for each in history(server)} == {0}
        assert {*history(server)[0]} == {"time", "front_to_back"}


def test_history_is_bounded(device, monkeypatch):
    monkeypatch.setattr(web, "SAMPLES", 3)
    monkeypatch.setattr(web, "PERIOD", 0)
    with serve(device, HERE, name="a") as server:
        until(lambda: len(history(server)) == 3)
        first = history(server)[0]
        until(lambda: first not in history(server))
        assert len(history(server)) == 3
    assert (web.SAMPLES, web.PERIOD) == (3, 0)
    monkeypatch.undo()
    assert web.SAMPLES * web.PERIOD == 300  # seconds


def test_history_begins_with_the_device():
    device = Device(zmqcy.QUEUE, ANY, ANY)
    with serve(device, HERE, name="a") as server:
        assert history(server) == []
        with device:
            until(lambda: history(server) != [])
        before = len(history(server))
        with device:
            until(lambda: len(history(server)) > before)
        assert all(rate >= 0 for each in history(server) for rate in each["front_to_back"].values())


# ---- pause and resume


@pytest.mark.parametrize("run_in", ["thread", "process"])
def test_pause_and_resume(run_in):
    with Device(zmqcy.QUEUE, ANY, ANY, run_in=run_in) as device, serve(device, HERE, name="a", token=TOKEN) as server:
        for path, state in (("/pause", "paused"), ("/resume", "running")):
            answer = ask(server, "POST", path, BEARER, body=b"ignored")
            assert (answer.status, json.loads(answer.text)) == (200, {"state": state})
            assert device.statistics().state == state
        device.stop()
        answer = ask(server, "POST", "/pause", BEARER)
        assert answer.status == 409
        assert "the device has ended" in answer.text


@rows(
    ("headers", "status", "text"),
    [
        ({}, 401, "A token is required"),
        ({"Authorization": f"Basic {TOKEN}"}, 401, "A token is required"),
        ({"Authorization": "Bearer"}, 401, "The token is wrong"),
        ({"Authorization": "Bearer correct-horsf"}, 401, "The token is wrong"),
        ({"Authorization": f"Bearer {TOKEN} {TOKEN}"}, 401, "The token is wrong"),
        ({"Authorization": "Bearer \xe4"}, 401, "The token is wrong"),
        ({**BEARER, "Origin": "http://evil.example"}, 403, "Requests from http://evil.example are refused"),
        ({**BEARER, "Origin": "null"}, 403, "Requests from null are refused"),
        ({**BEARER, "Origin": "http://127.0.0.1:1"}, 403, "Requests from http://127.0.0.1:1 are refused"),
        ({**BEARER, "Host": "evil.example"}, 403, "Host evil.example is not this machine"),
        ({**BEARER, "Host": "evil.example:80", "Origin": "http://evil.example:80"}, 403, "Host evil.example:80 is not"),
        ({**BEARER, "Host": "127.0.0.1.evil.example"}, 403, "is not this machine"),
        ({**BEARER, "Host": "[::1"}, 403, "is not this machine"),
        ({**BEARER, "Host": ""}, 403, "is not this machine"),
    ],
)
def test_refused_requests_to_pause(device, server, headers, status, text):
    answer = ask(server, "POST", "/pause", headers)
    assert answer.status == status
    assert text in answer.text
    challenge = 'Bearer realm="zmqcy"' + (', error="invalid_token"' if "wrong" in text else "")
    assert answer.headers["WWW-Authenticate"] == (challenge if status == 401 else None)
    assert device.statistics().state == "running"


def test_a_token_in_the_url_is_not_accepted(server):
    assert ask(server, "POST", f"/pause?token={TOKEN}&access_token={TOKEN}").status == 401


def test_tokens_are_compared_in_constant_time(server, monkeypatch):
    compared = []
    monkeypatch.setattr(web.hmac, "compare_digest", lambda *both: compared.append(both))
    assert ask(server, "POST", "/pause", BEARER).status == 401
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@rows("host", ["localhost:{}", "127.0.0.1:{}", "[::1]:{}", "localhost", "LOCALHOST", "{name}"])
def test_hosts_that_may_pause(server, host):
    host = host.format(port(server), name=sockets.gethostname())
    assert ask(server, "POST", "/pause", {**BEARER, "Host": host, "Origin": f"http://{host}"}).status == 200


def test_without_a_token_pause_is_off(device):
    with serve(device, HERE, name="a") as server:
        for headers in ({}, BEARER, {"Authorization": "Bearer None"}, {"Authorization": "Bearer "}):
            answer = ask(server, "POST", "/pause", headers)
            assert (answer.status, answer.text) == (
                403,
                "Pause and resume are disabled: start the server with a token.\n",
            )
        assert device.statistics().state == "running"


def test_the_page_runs_only_its_own_script(server):
    answer = ask(server, "GET", "/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall("'sha256-[A-Za-z0-9+/]{43}='", policy)) == 2
    assert re.findall(r'\s(?:on\w+|style)="|innerHTML|outerHTML|insertAdjacentHTML|document\.write', answer.text) == []


@rows("path", ["/", "/metrics", "/health", "/history", "/events", "/none", "/pause"])
def test_headers(server, path):
    answer = ask(server, "HEAD", path)
    assert answer.status == {"/none": 404, "/pause": 405}.get(path, 200)
    assert answer.text == ""
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "zmqcy"


@rows(
    ("request_", "status"),
    [
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET //[ HTTP/1.1\r\n\r\n", 404),
        (b"GET /pause HTTP/1.1\r\n\r\n", 405),
        (b"POST /health HTTP/1.1\r\n\r\n", 405),
        (b"POST /none HTTP/1.1\r\n\r\n", 404),
        (b"PUT / HTTP/1.1\r\n\r\n", 501),
        (b"<script> / HTTP/1.1\r\n\r\n", 400),
        (b"POST /pause HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /pause HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /pause HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", 413),
        (b"\x16\x03\x01\x02\x00 \xff\xff\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % i for i in range(200)) + b"\r\n", 431),
    ],
)
def test_malformed_requests(server, capfd, request_, status):
    with connected(server) as connection:
        connection.sendall(request_.replace(b"\r\n", b"\r\nHost: localhost\r\n", 1))
        answer = b""
        with suppress(ConnectionResetError):  # the server has not read everything
            while part := connection.recv(65536):
                answer += part
    assert re.match(rb"HTTP/1.1 (\d+)", answer)[1] == b"%d" % status
    assert b"<" not in answer
    assert ask(server, "GET", "/health").status == 200
    assert capfd.readouterr().err == ""


def test_clients_that_disconnect_leave_nothing(server, capfd):
    for path in ("/", "/events", "/metrics") * 5:
        with connected(server) as connection:
            connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # disconnects by a reset
            connection.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
    with connected(server) as connection:
        connection.sendall(b"GET /ev")
    until(lambda: clients(server) == 0)
    assert capfd.readouterr().err == ""


def test_the_number_of_clients_is_limited(server, monkeypatch):
    monkeypatch.setattr(web, "CLIENTS", 3)
    watching = [events(server) for _ in range(3)]
    for each in watching:
        next(each)
    assert ask(server, "GET", "/health").status == 503
    watching.pop().close()
    until(lambda: ask(server, "GET", "/health").status == 200)
    for each in watching:
        each.close()


def test_idle_clients_are_disconnected_for_others(server, monkeypatch):
    monkeypatch.setattr(web, "CLIENTS", 3)
    monkeypatch.setattr(web, "TIMEOUT", 10 * LIMIT)  # too long to disconnect them
    idle = [connected(server) for _ in range(5)]
    for each in idle[:2]:
        each.settimeout(LIMIT)
        with suppress(ConnectionResetError):
            assert each.recv(1) == b""  # the oldest are disconnected
    for _ in range(10):
        assert ask(server, "GET", "/health").status == 200
    for each in idle:
        each.close()


def test_other_websites_cannot_read(server):
    """A browser allows a website to read from its own name, also if the name resolves to 127.0.0.1."""
    for path in ("/", "/health", "/metrics", "/history", "/events", "/else"):
        for host in ("evil.example", "evil.example:9100", "127.0.0.1.evil.example", "[::1"):
            assert ask(server, "GET", path, {"Host": host}).status == 403
    for host in ("localhost", "127.0.0.1:9100", "[::1]", sockets.gethostname(), ""):
        assert ask(server, "GET", "/health", {"Host": host}).status == 200
    with connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")  # HTTP/1.1 requires a Host
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_the_log_contains_no_control_characters(server, caplog):
    caplog.set_level("DEBUG", "zmqcy.web")
    for path in (b"/\x1b]0;x\x07\x9b", b"/%1b]0;x%07%9b"):
        with connected(server) as connection:
            connection.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path)
            while connection.recv(1000):
                pass
    until(lambda: "HTTP/1.0" in caplog.text)
    assert "Invalid HTTP request received" in caplog.text
    assert all(each.getMessage().isprintable() for each in caplog.records)


def test_the_number_of_readers_is_limited(device, monkeypatch):
    monkeypatch.setattr(web, "READERS", 1)
    with serve(device, HERE, name="a") as server:
        stream = events(server)
        next(stream)
        assert ask(server, "GET", "/events").status == 503
        assert ask(server, "GET", "/health").status == 200
        stream.close()
        until(lambda: ask(server, "HEAD", "/events").status == 200)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET / HTTP/1.0\r\n",
        b"POST /pause HTTP/1.0\r\nContent-Length: 9\r\n\r\n123",
        b"POST /pause HTTP/1.0\r\nContent-Length: 4000\r\n\r\n",
    ],
)
def test_slow_senders_are_disconnected(device, monkeypatch, start, capfd):
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    with serve(device, HERE, name="a", token=TOKEN) as server, connected(server) as connection:
        connection.sendall(start)
        ended = threading.Event()

        def trickle():
            while not ended.wait(0.1):
                with suppress(OSError):
                    connection.sendall(b"a" if b"123" not in start else b"")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with suppress(ConnectionResetError):
                while connection.recv(1000):
                    pass
        finally:
            ended.set()
            thread.join()
        until(lambda: clients(server) == 0)
    assert device.statistics().state == "running"
    assert capfd.readouterr().err == ""


def test_slow_readers_are_disconnected(device, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", 0.2)
    monkeypatch.setattr(web, "PERIOD", 0)
    with serve(device, HERE, name="a") as server, connected(server) as connection:
        connection.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        connection.recv(1)
        until(lambda: clients(server) == 0)


class Large:
    """A collector whose metrics exceed the buffers of a connection."""

    def collect(self):
        yield GaugeMetricFamily("large", "x" * 20_000_000, value=1)


def test_clients_that_do_not_read_are_disconnected(device, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    registry = CollectorRegistry()
    registry.register(Large())
    with serve(device, HERE, name="a", registry=registry) as server, connected(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        connection.recv(1)
        until(lambda: clients(server) == 0)
        with suppress(ConnectionResetError):
            assert sum(iter(lambda: len(connection.recv(1 << 20)), 0)) < 20_000_000


def misbehaving(server):
    """Connect clients that stop sending or reading, and return them."""
    started = [b"", b"GET /health HTTP/1.0\r\n", b"POST /pause HTTP/1.0\r\nContent-Length: 9\r\n\r\n1"]
    idle = [connected(server) for _ in started]
    for each, start in zip(idle, started, strict=True):
        each.sendall(start)
    unread = connected(server)
    unread.sendall(b"GET /events HTTP/1.0\r\n\r\n")
    unread.recv(1)
    return [*idle, unread]


def test_misbehaving_clients_do_not_block_others(server, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", 10 * LIMIT)
    monkeypatch.setattr(web, "PERIOD", 0)
    misbehaved = misbehaving(server)
    for _ in range(10):
        assert ask(server, "GET", "/health").status == 200
    begun = time.monotonic()
    server.close()
    assert time.monotonic() - begun < LIMIT
    for each in misbehaved:
        each.close()


def test_a_client_that_has_shut_down_its_sending_side_gets_a_response(server):
    with connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        connection.shutdown(sockets.SHUT_WR)
        assert b'"state": "running"' in b"".join(iter(lambda: connection.recv(1000), b""))


def test_close_disconnects_all_clients(device):
    before = len(os.listdir("/dev/fd"))
    server = serve(device, HERE, name="a")
    stream = events(server)
    next(stream)
    idle = connected(server)
    until(lambda: clients(server) == 2)
    server.close()
    server.close()
    assert list(stream) == []
    assert idle.recv(1) == b""
    idle.close()
    assert "zmqcy web" not in {each.name for each in threading.enumerate()}
    until(lambda: len(os.listdir("/dev/fd")) <= before)
    assert device.statistics().state == "running"
    with pytest.raises(ConnectionRefusedError):
        connected(server)


def test_an_address_in_use_is_named(device, server):
    address = f"127.0.0.1:{port(server)}"
    with pytest.raises(OSError, match=f"serve {address}: Address already in use"):
        serve(device, address, name="a")


@rows("address", ["9100", "127.0.0.1", ":9100", "::1:9100", "127.0.0.1:65536", "a b:1", "h:-1", ""])
def test_malformed_addresses(device, address):
    with pytest.raises(ValueError, match=f"must be HOST:PORT, such as 127.0.0.1:9100, not '{address}'"):
        serve(device, address, name="a")


def test_arguments_that_serve_refuses(device):
    with pytest.raises(TypeError, match="a Device is required, not 'device'"):
        serve("device", HERE, name="a")
    with pytest.raises(TypeError, match="the address must be a str such as '127.0.0.1:9100', not 9100"):
        serve(device, 9100, name="a")
    with pytest.raises(TypeError, match="the name must be a str, not 5"):
        serve(device, HERE, name=5)
    with pytest.raises(TypeError, match="the token must be a str"):
        serve(device, HERE, name="a", token=b"x")
    for token in ("", "a b", "\xe4", "a\n"):
        with pytest.raises(ValueError, match="the token must consist of printable ASCII"):
            serve(device, HERE, name="a", token=token)
    with pytest.raises(OSError, match="serve 192.0.2.1:0: "):
        serve(device, "192.0.2.1:0", name="a")
    with pytest.raises(OSError, match="serve none.invalid:0: "):
        serve(device, "none.invalid:0", name="a")


@rows(("address", "host"), [("[::1]:0", "[::1]"), ("localhost:0", None), ("0.0.0.0:0", "127.0.0.1")])
def test_addresses(device, address, host):
    try:
        server = serve(device, address, name="a")
    except OSError as error:
        pytest.skip(f"no such address here: {error}")
    with server:
        assert re.fullmatch(rf"http://{re.escape(host) if host else '.*'}:\d+/", server.url)
        with closing(http.client.HTTPConnection(server.url[7:-1], timeout=LIMIT)) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200


def test_a_program_that_does_not_close_its_server_exits(run):
    done = run(f"""
        import zmqcy
        from zmqcy.devices import Device
        from zmqcy.web import serve
        device = Device(zmqcy.QUEUE, "{ANY}", "{ANY}", watch=True)
        device.start()
        server = serve(device, "{HERE}", name="a")
        print(repr(server) == f"<Server of 'a' at {{server.url}}>")
    """)
    assert done.stdout + done.stderr == "True\n"


def test_a_program_with_open_streams_exits(run):
    done = run(f"""
        import atexit, http.client, time, zmqcy
        from zmqcy import web
        from zmqcy.devices import Device
        web.PERIOD = 0
        device = Device(zmqcy.QUEUE, "{ANY}", "{ANY}")
        device.start()
        server = web.serve(device, "{HERE}", name="a")
        connection = http.client.HTTPConnection(server.url[7:-1])
        connection.request("GET", "/events")
        stream = connection.getresponse()
        stream.readline()
        atexit.register(lambda: print(len(stream.read()) > 0))  # until the end of the stream
    """)
    assert done.stdout + done.stderr == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_can_close_its_copy_and_serve(run):
    done = run(f"""
        import os, signal, urllib.request, warnings, zmqcy
        from zmqcy.devices import Device
        from zmqcy.web import serve
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads, since Python 3.12

        def health(server):
            return urllib.request.urlopen(server.url + "health").status

        def served():
            device = Device(zmqcy.QUEUE, "{ANY}", "{ANY}")
            device.start()
            return serve(device, "{HERE}", name="a")

        handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
        server = served()
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(health(served()) != 200)
        assert os.waitpid(child, 0)[1] == 0
        assert health(server) == 200
        assert handlers == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    """)
    assert done.stdout + done.stderr == ""


# ---- zmqcy device --metrics


@pytest.fixture
def command():
    """Return a function that starts `zmqcy device queue`, and returns the process and the URL of its page."""
    pytest.importorskip("click", reason="the extra [cli] is not installed")
    processes = []

    def start(*arguments, **env):
        command = [sys.executable, "-m", "zmqcy", "device", "queue", ANY, ANY, "--metrics", HERE, *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, env={**os.environ, **env}, **pipes)
        processes.append(process)
        word, url = process.stderr.readline().split()
        assert word == "metrics"
        assert process.stderr.readline().startswith("ready tcp://")
        return process, SimpleNamespace(url=url)

    yield start
    for each in processes:
        each.kill()
        each.communicate()


def test_the_command(command):
    process, server = command("--name", "orders", "--json")
    assert json.loads(ask(server, "GET", "/health").text) == {"name": "orders", "state": "running", "error": None}
    assert 'zmqcy_device_peers{device="orders",side="front"} 0.0' in ask(server, "GET", "/metrics").text
    assert "<title>zmqcy device</title>" in ask(server, "GET", "/").text
    assert ask(server, "POST", "/pause", BEARER).status == 403
    with connected(server) as connection:
        connection.sendall(b"no request\r\n\r\n")  # the server must not write to stderr
        assert b" 400 " in connection.recv(1000)
    stream = events(server)
    first = next(stream)
    assert (first["control"], first["peers"]) == (False, {"front": 0, "back": 0})
    assert [each["name"] for each in first["events"]] == ["LISTENING"] * 2
    process.send_signal(signal.SIGTERM)
    assert [each["state"] for each in stream if each["state"] == "running"] in ([], ["running"])
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["state"] == "ended"


def test_the_command_with_a_token(command):
    _, server = command(ZMQCY_TOKEN=TOKEN)
    assert ask(server, "POST", "/pause", {"Authorization": "Bearer wrong"}).status == 401
    for path, state in (("/pause", "paused"), ("/resume", "running")):
        assert ask(server, "POST", path, BEARER).status == 200
        assert json.loads(ask(server, "GET", "/health").text)["state"] == state


@pytest.mark.parametrize(
    ("address", "token", "text"),
    [
        (None, TOKEN, "serve {}: Address already in use"),
        ("here", TOKEN, "serve: the address must be HOST:PORT, such as 127.0.0.1:9100, not 'here'"),
        ("192.0.2.1:0", TOKEN, "serve 192.0.2.1:0: Cannot assign requested address"),
        (HERE, "a b", "serve: the token must consist of printable ASCII characters without spaces"),
    ],
)
def test_the_command_cannot_serve(server, address, token, text):
    pytest.importorskip("click", reason="the extra [cli] is not installed")
    address = address or f"127.0.0.1:{port(server)}"
    done = subprocess.run(
        [sys.executable, "-m", "zmqcy", "device", "queue", ANY, ANY, "--metrics", address],
        capture_output=True, text=True, timeout=LIMIT, env={**os.environ, "ZMQCY_TOKEN": token},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"zmqcy: --metrics: {text.format(address)}\n")


# ---- the page, in a browser


@pytest.fixture(scope="module")
def chromium():
    pytest.importorskip("selenium", reason="selenium is not installed")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("Chromium and its driver are not installed: TOOLS=chromium tools/setup.sh")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium):
    chromium.get("about:blank")
    console(chromium)  # remove the messages of the last test
    return chromium


def text(browser, name):
    return browser.execute_script("return document.getElementById(arguments[0]).innerText", name)


def visible(browser, name):
    return browser.find_element("id", name).is_displayed()


def set_width(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def console(browser):
    return [each for each in browser.get_log("browser") if each["level"] != "INFO"]


@pytest.fixture
def traffic(device):
    """Run a client and a worker until the end of the test. Return a list with an item per reply."""
    ended, answered = threading.Event(), []
    context = zmqcy.Context()

    def work():
        with context.socket(zmqcy.REP, rcvtimeo=50, linger=0) as rep:
            rep.connect(device.endpoints["back"][0])
            while not ended.is_set():
                with suppress(zmqcy.TimedOut):
                    rep.send(rep.recv())

    def request():
        with context.socket(zmqcy.REQ, rcvtimeo=50, linger=0) as req:
            req.connect(device.endpoints["front"][0])
            while not ended.is_set():
                req.send(b"a")
                while not ended.is_set():
                    with suppress(zmqcy.TimedOut):
                        req.recv()
                        answered.append(1)
                        break
                ended.wait(0.01)

    both = [threading.Thread(target=each) for each in (work, request)]
    for each in both:
        each.start()
    yield answered
    ended.set()
    for each in both:
        each.join()
    context.term()


def points(browser, name):
    """Return the points of a line of the chart."""
    line = browser.find_element("id", name).get_attribute("d") or ""
    return [tuple(map(float, point.split(","))) for point in re.findall(r"[\d.]+,[\d.]+", line)]


def fits(browser, width):
    return browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page(browser, device, traffic, width):
    name = "orders <img src=x onerror=alert(1)>"
    with serve(device, HERE, name=name, token=TOKEN) as server:
        set_width(browser, width)
        browser.get(server.url)
        until(lambda: text(browser, "state") == "running")
        assert text(browser, "name") == name
        assert browser.title == f"{name}: running"
        facts = [each.text for each in browser.find_elements("css selector", "#facts span")]
        assert facts[0] == "queue: ROUTER to DEALER"
        assert re.fullmatch(r"up (\d+ min )?\d+ s", facts[1])
        assert facts[2].startswith("started ")
        assert facts[3:] == [f"zmqcy {zmqcy.__version__}", f"libzmq {zmqcy.zmq_version()}"]
        links = {each.text: each.get_attribute("href") for each in browser.find_elements("css selector", "#links a")}
        for label in ("Metrics", "Health", "History"):
            assert links[label] == server.url + label.lower()
        assert links["What the numbers mean"] == server.url + "#help"

        for line in ("ahead", "return"):
            until(lambda line=line: len(points(browser, line)) >= 2)
        before = points(browser, "ahead")
        until(lambda: points(browser, "ahead") != before)
        until(lambda: text(browser, "ahead-rate") not in ("", "0/s"))
        until(lambda: text(browser, "traffic").splitlines()[0].split()[1:] != ["0/s", "0/s"])
        until(lambda: device.endpoints["front"][0] in text(browser, "endpoints"))
        until(lambda: [row.split()[-1] for row in text(browser, "endpoints").splitlines()] == ["1", "1"])
        there = [address for side in device.peer_addresses().values() for address in side]
        assert len(there) == 2
        until(lambda: [row.split()[-1] for row in text(browser, "peers").splitlines()] == there)
        until(lambda: "handshake succeeded" in text(browser, "events"))
        assert not visible(browser, "unwatched")
        assert not visible(browser, "notice")
        assert not visible(browser, "blocked")
        assert fits(browser, width)

        pause, resume, go = (browser.find_element("id", each) for each in ("pause", "resume", "go"))
        token = browser.find_element("id", "token")
        assert (pause.is_enabled(), resume.is_enabled()) == (True, False)
        pause.click()
        assert text(browser, "question") == f"Pause {name}?"
        browser.find_element("id", "cancel").click()
        assert not visible(browser, "ask")
        pause.click()
        token.send_keys("wrong")
        go.click()
        until(lambda: visible(browser, "ask") and text(browser, "said").strip() == "The token is wrong.")
        assert device.statistics().state == "running"
        [refused] = console(browser)
        assert "401" in refused["message"]
        assert fits(browser, width)
        token.send_keys(TOKEN)
        go.click()
        until(lambda: text(browser, "state") == "paused")
        assert text(browser, "result") == "The device is paused."
        assert device.statistics().state == "paused"
        passed = device.statistics().front_to_back.messages_out
        until(lambda: text(browser, "ahead-rate") == "0/s")
        assert device.statistics().front_to_back.messages_out == passed
        stood = len(traffic)
        until(lambda: resume.is_enabled())
        resume.click()  # without a dialog, because the token is known
        until(lambda: text(browser, "state") == "running")
        until(lambda: len(traffic) > stood)
        until(lambda: pause.is_enabled())
        pause.click()
        assert not visible(browser, "token")
        assert device.statistics().state == "running"  # until it is confirmed
        urls = browser.execute_script(
            "return [location, ...performance.getEntries().map(each => each.name)].map(String)"
        )
        assert [url for url in urls if TOKEN in url] == []
        assert console(browser) == []
    until(lambda: text(browser, "state") == "no connection")


@pytest.mark.slow
def test_the_page_shows_samples_from_before_it_was_opened(browser, device, server):
    until(lambda: len(history(server)) > 2)
    first = history(server)[0]["time"]
    browser.get(server.url)
    for _ in range(2):
        until(lambda: browser.execute_script("return samples[0]?.time") == first)
        until(lambda: len(points(browser, "ahead")) > 2)
        browser.refresh()


@pytest.mark.slow
def test_the_chart_has_an_axis_for_each_direction_units_and_times(browser, device, traffic, server):
    set_width(browser, 390)
    browser.get(server.url)
    until(lambda: len(points(browser, "return")) >= 2 and text(browser, "ahead-rate") not in ("", "0/s"))
    assert all(y <= 100 for _, y in points(browser, "ahead"))
    assert all(y >= 100 for _, y in points(browser, "return"))
    assert min(y for _, y in points(browser, "ahead")) < 100 < max(y for _, y in points(browser, "return"))
    ticks = text(browser, "times").split()
    assert len(ticks) >= 2
    assert all(re.fullmatch(r"\d\d:\d\d:(00|15|30|45)", each) for each in ticks)
    labels = {"messages": r"\d+K? messages/s", "bytes": r"\d+ k?B/s", "blocked": r"\d+K? blocked/s"}
    for metric, label in labels.items():
        browser.find_element("css selector", f"#metric [value={metric}]").click()
        for name in ("top", "bottom"):
            assert re.fullmatch(label, text(browser, name).replace("\xa0", " "))
        assert text(browser, "ahead-rate").endswith("B/s" if metric == "bytes" else "/s")
    assert console(browser) == []


@pytest.mark.slow
def test_numbers_of_any_size_stay_on_one_line(browser, device, server):
    set_width(browser, 390)
    browser.get(server.url)
    until(lambda: text(browser, "state") == "running")
    browser.execute_script("""
        stream.close();
        const flow = {messages_out: 999_888_777_666, bytes_out: 999.94e15, full: 999_888_777_666};
        const rates = {messages: 987654321, bytes: 99.9e9, blocked: 99949};
        const sample = {time: last.time, front_to_back: rates, back_to_front: rates};
        show({...last, front_to_back: flow, back_to_front: flow, sample, waits: 999_888_777_666});
    """)
    shown = text(browser, "traffic").split()
    assert shown.count("999,888,777,666") == 4
    assert [shown.count("987.7M/s"), shown.count("GB/s")] == [2, 2]
    heights = browser.execute_script("""
        const cells = document.querySelectorAll("#traffic td:not(:first-child), .legend span, .chart span");
        return [...cells].map(cell => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return range.getBoundingClientRect().height / parseFloat(getComputedStyle(cell).fontSize);
        });
    """)
    assert max(heights) < 2
    assert fits(browser, 390)
    box = "document.querySelector('#traffic').parentElement"
    assert browser.execute_script(f"return {box}.scrollWidth <= {box}.parentElement.clientWidth")


@pytest.mark.slow
def test_the_page_of_a_blocked_device_with_one_direction(browser, socket):
    set_width(browser, 1280)
    with Device(zmqcy.STREAMER, ANY, ANY) as device, serve(device, HERE, name="a", token=TOKEN) as server:
        push = socket(zmqcy.PUSH)
        push.connect(device.endpoints["front"][0])
        browser.get(server.url)
        until(lambda: len(points(browser, "ahead")) >= 2)
        assert not visible(browser, "blocked")
        push.send(b"")  # no peer on the other side
        until(lambda: visible(browser, "blocked"))
        blocked = "Blocked front to back: the back side has reached its high-water mark or has no peer."
        assert text(browser, "blocked") == blocked
        assert text(browser, "traffic-head").split() == ["front", "to", "back"]
        assert points(browser, "return") == []
        assert not visible(browser, "bottom")
        assert not browser.find_element("id", "return-rate").is_displayed()
        assert console(browser) == []


def test_the_page_without_a_token_and_without_a_record(browser):
    set_width(browser, 1280)
    with Device(zmqcy.STREAMER, ANY, ANY) as device, serve(device, HERE, name="a") as server:
        browser.get(server.url)
        until(lambda: text(browser, "state") == "running")
        assert visible(browser, "uncontrolled")
        assert visible(browser, "unwatched")
        assert not visible(browser, "control")
        assert not visible(browser, "documentation")
        assert not visible(browser, "record")
        device.stop()
        until(lambda: text(browser, "state") == "ended")
        assert console(browser) == []


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "light"), [("light", True), ("dark", False)])
def test_the_page_is_light_or_dark(browser, server, scheme, light):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(server.url)
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, re.findall(r"\d+", colour))) > 128) == light
