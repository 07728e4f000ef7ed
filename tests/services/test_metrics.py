"""`zmqcy.metrics`: the metrics of sockets and devices in a registry of Prometheus."""

import gc
import json
import re
import threading

import pytest
from paths import ROOT
from waits import until

pytest.importorskip("prometheus_client", reason="the extra [metrics] is not installed")
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import zmqcy
from zmqcy.devices import Device
from zmqcy.metrics import register, register_device

ANY = "tcp://127.0.0.1:*"
LIMIT = 10  # seconds


@pytest.fixture
def registry():
    return CollectorRegistry(auto_describe=True)


def scrape(registry):
    """Return the samples that Prometheus would read: values by name and labels."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            key = sample.name, *sorted(sample.labels.items())
            assert key not in found  # Prometheus rejects duplicates
            found[key] = sample.value
    return found


def value(registry, metric, /, **labels):
    return scrape(registry).get((metric, *sorted(labels.items())))


def of_sockets(registry):
    return {dict(labels)["name"] for name, *labels in scrape(registry) if name.startswith("zmqcy_socket")}


def test_a_socket(near, registry):
    pull, push = near()
    register(pull, "in", registry)
    register(push, "out", registry)
    for _ in range(3):
        push.send_multipart([b"ab", b"cde"])
        pull.recv_multipart()
    with pytest.raises(zmqcy.TimedOut):
        pull.recv(timeout=1)
    for socket, labels, direction, numbers in (
        (pull, {"name": "in", "type": "PULL"}, "in", pull.stats[2:4]),
        (push, {"name": "out", "type": "PUSH"}, "out", push.stats[:2]),
    ):
        assert numbers == (3, 15)
        assert value(registry, "zmqcy_socket_messages_total", direction=direction, **labels) == 3
        assert value(registry, "zmqcy_socket_bytes_total", direction=direction, **labels) == 15
        assert value(registry, "zmqcy_socket_waits_total", **labels) == socket.stats.waits
        assert value(registry, "zmqcy_socket_would_blocks_total", **labels) == socket.stats.would_blocks
    assert pull.stats.would_blocks == 1


async def test_an_asynchronous_socket(flavour, ctx, socket, registry):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    push.connect(pull.bind(ANY).endpoint)
    register(pull, "in", registry)
    await push.send(b"four")
    await pull.recv()
    assert value(registry, "zmqcy_socket_bytes_total", name="in", type="PULL", direction="in") == 4


def test_a_socket_that_another_thread_uses(near, registry):
    pull, push = near()
    register(pull, "in", registry)
    got = []
    thread = threading.Thread(target=lambda: got.append(pull.recv()))
    thread.start()
    until(lambda: value(registry, "zmqcy_socket_waits_total", name="in", type="PULL") == 1)
    with pytest.raises(zmqcy.SocketInUse):  # the other thread is inside
        pull.recv()
    push.send(b"a")
    thread.join(LIMIT)
    assert got == [b"a"]


def test_metrics_end_with_the_socket(socket, registry):
    closed, collected, stays = (socket(zmqcy.PULL) for _ in range(3))
    for each, name in ((closed, "closed"), (collected, "collected"), (stays, "stays")):
        register(each, name, registry)
    assert of_sockets(registry) == {"closed", "collected", "stays"}
    closed.close()
    assert of_sockets(registry) == {"collected", "stays"}
    del collected, each
    gc.collect()
    assert of_sockets(registry) == {"stays"}


def test_unregister(socket, registry):
    first, second = socket(zmqcy.PULL), socket(zmqcy.PULL)
    registration = register(first, "a", registry)
    registration.unregister()
    registration.unregister()
    assert of_sockets(registry) == set()
    with register(second, "a", registry) as other:
        registration.unregister()  # not the socket that has taken over its name
        assert of_sockets(registry) == {"a"}
        assert repr(other) == "<Registration of 'a'>"
    assert of_sockets(registry) == set()


def test_names(socket, registry):
    sockets = [socket(zmqcy.PULL) for _ in range(4)]
    register(sockets[0], "2", registry)
    names = [register(each, registry=registry).name for each in sockets[1:]]
    assert names == ["1", "3", "4"]
    with pytest.raises(ValueError, match="register: the registry already contains a PULL '2': choose another name"):
        register(sockets[1], "2", registry)
    register(socket(zmqcy.PUSH), "2", registry)
    sockets[0].close()
    register(sockets[1], "2", registry)


def test_the_default_registry(socket):
    with register(socket(zmqcy.PULL), "by default"):
        assert of_sockets(REGISTRY) == set()  # the socket has been collected
    pull = socket(zmqcy.PULL)
    with register(pull, "by default"):
        assert of_sockets(REGISTRY) == {"by default"}
    assert of_sockets(REGISTRY) == set()


def test_what_is_refused(socket, registry):
    pull = socket(zmqcy.PULL)
    with pytest.raises(TypeError, match="register: the name must be a str, not 5"):
        register(pull, 5, registry)
    pull.close()
    with pytest.raises(ValueError, match="register: the socket is closed"):
        register(pull, "a", registry)
    with pytest.raises(TypeError, match="register: a socket is required, not 'pull'"):
        register("pull", "a", registry)
    with pytest.raises(TypeError, match="register_device: a Device is required, not 5"):
        register_device(5, "a", registry)
    device = Device(zmqcy.QUEUE, ANY, ANY)
    with pytest.raises(TypeError, match="register_device: a name is required"):
        register_device(device, None, registry)
    register_device(device, "a", registry)
    with pytest.raises(
        ValueError, match="register_device: the registry already contains a device 'a': choose another name"
    ):
        register_device(device, "a", registry)


@pytest.mark.parametrize("run_in", ["thread", "process"])
def test_a_device(socket, registry, run_in):
    device = Device(zmqcy.QUEUE, ANY, ANY, run_in=run_in, watch=True)
    register_device(device, "orders", registry)
    assert scrape(registry) == {}
    with device:
        req, rep = socket(zmqcy.REQ), socket(zmqcy.REP)
        req.connect(device.endpoints["front"][0])
        rep.connect(device.endpoints["back"][0])
        req.send(b"12345")
        rep.recv()
        rep.send(b"1")
        req.recv()

        def flow(metric, direction):
            return value(registry, f"zmqcy_device_{metric}_total", device="orders", direction=direction)

        until(lambda: flow("messages", "back_to_front") == 1)
        numbers = device.statistics()
        for direction in ("front_to_back", "back_to_front"):
            assert flow("messages", direction) == 1
            assert flow("bytes", direction) == getattr(numbers, direction).bytes_out > 0
            assert flow("full", direction) == getattr(numbers, direction).full
        assert value(registry, "zmqcy_device_waits_total", device="orders") > 0
        since = value(registry, "zmqcy_device_start_time_seconds", device="orders")
        assert since == pytest.approx(numbers.since.timestamp())
        for side in ("front", "back"):
            assert value(registry, "zmqcy_device_peers", device="orders", side=side) == 1
        assert states(registry) == {"running": 1, "paused": 0, "draining": 0, "ended": 0}
        device.pause()
        assert states(registry) == {"running": 0, "paused": 1, "draining": 0, "ended": 0}
    assert states(registry) == {"running": 0, "paused": 0, "draining": 0, "ended": 1}
    assert flow("messages", "front_to_back") == 1
    del device
    gc.collect()
    assert scrape(registry) == {}


def states(registry):
    return {
        dict(labels)["state"]: value for (name, *labels), value in scrape(registry).items() if name.endswith("_state")
    }


def test_a_device_that_is_not_watched_has_no_peers(registry):
    with Device(zmqcy.STREAMER, ANY, ANY) as device, register_device(device, "a", registry):
        names = {name for name, *_ in scrape(registry)}
        assert "zmqcy_device_state" in names
        assert "zmqcy_device_peers" not in names


def test_full(near, registry, socket):
    with Device(zmqcy.STREAMER, ANY, ANY) as device:  # without a peer on the other side
        register_device(device, "a", registry)
        push = socket(zmqcy.PUSH)
        push.connect(device.endpoints["front"][0])
        push.send(b"")
        name = "zmqcy_device_full_total"
        until(lambda: value(registry, name, device="a", direction="front_to_back") > 0)
        assert value(registry, "zmqcy_device_messages_total", device="a", direction="front_to_back") == 0


def test_names_of_metrics_follow_the_conventions(near, registry):
    """Counters end in _total, units are base units, each metric has a help text, and names are reserved."""
    pull, _ = near()
    register(pull, "a", registry)
    with Device(zmqcy.QUEUE, ANY, ANY, watch=True) as device:
        register_device(device, "b", registry)
        families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert len(families) == 11
    for family in families:
        assert re.fullmatch("zmqcy_(socket|device)_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge")
        for sample in family.samples:
            assert sample.name == family.name + ("_total" if family.type == "counter" else "")
    from prometheus_client import Counter

    with pytest.raises(ValueError, match="Duplicated"):
        Counter("zmqcy_device_waits", "Another.", registry=registry)


def test_scrapes_while_sockets_come_and_go(ctx, registry):
    ended, failed = threading.Event(), []

    def scrape_on():
        try:
            while not ended.is_set():
                scrape(registry)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=scrape_on)
    thread.start()
    for i in range(300):
        socket = ctx.socket(zmqcy.PULL, linger=0)
        register(socket, registry=registry)
        if i % 2:
            socket.close()
    ended.set()
    thread.join(LIMIT)
    assert failed == []


def test_without_prometheus_client(run):
    done = run("""
        import sys
        sys.modules["prometheus_client"] = None
        try:
            import zmqcy.metrics
        except ModuleNotFoundError as error:
            print(error.name, error)
    """)
    text = "prometheus_client zmqcy.metrics requires prometheus_client: pip install 'zmqcy[metrics]'\n"
    assert done.stdout == text


# ---- the dashboard

DASHBOARD = ROOT / "examples" / "grafana-device.json"
FUNCTIONS = {"sum", "max", "by", "rate", "time", "label_values"}


@pytest.fixture
def dashboard():
    return json.loads(DASHBOARD.read_text())


@pytest.fixture(scope="module")
def exported():
    """The labels of each metric that a device with watch=True exports."""
    registry = CollectorRegistry()
    with Device(zmqcy.QUEUE, ANY, ANY, watch=True) as device, register_device(device, "a", registry):
        return {name: {label for label, _ in labels} for name, *labels in scrape(registry)}


def queries(dashboard):
    """Return each query with its legend."""
    [variable] = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    assert variable["definition"] == variable["query"]["query"]
    found = [(target["expr"], target["legendFormat"]) for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(found) > 5
    return [(variable["definition"], ""), *found]


def test_the_dashboard_queries_exported_metrics(dashboard, exported):
    used = set()
    for query, legend in queries(dashboard):
        [metric] = re.findall(r"\bzmqcy_\w+", query)
        assert metric in exported
        used.add(metric)
        [grouped] = re.findall(r"by \(([^)]*)\)", query) or [""]
        words = re.sub(r'"[^"]*"|\[\$\w+\]', "", query)  # without values and ranges
        labels = set(re.findall(r"[a-z]\w*", words)) - FUNCTIONS - {metric}
        assert labels <= exported[metric], query
        assert set(re.findall(r"{{(\w+)}}", legend)) == set(filter(None, grouped.split(", "))), query
        assert ("rate(" in query) == metric.endswith("_total")
        assert query.count("(") == query.count(")")
    assert used == exported.keys()  # the dashboard shows every metric


def test_the_dashboard_is_valid_for_grafana(dashboard):
    assert {"title", "uid", "panels", "templating", "time", "annotations"} <= dashboard.keys()
    assert re.fullmatch("[a-zA-Z0-9_-]{1,40}", dashboard["uid"])
    assert dashboard["schemaVersion"] >= 36  # the first version with data sources as objects
    assert "id" not in dashboard  # Grafana assigns it
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(dashboard))) == variables.keys()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    source = {"type": "prometheus", "uid": "${datasource}"}
    for each in [*panels, variables["device"], *(target for panel in panels for target in panel["targets"])]:
        assert each["datasource"] == source
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries")
        assert {"fieldConfig", "options", "gridPos", "description"} <= panel.keys()
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_the_panels_do_not_overlap(dashboard):
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place.keys() == {"x", "y", "w", "h"}
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        assert 0 <= columns.start < columns.stop <= 24
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken, panel["title"]
        taken |= cells
