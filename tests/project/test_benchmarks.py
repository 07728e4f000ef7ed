"""The benchmarks: arithmetic, failing programs, each measured program over real sockets, the plan, the report."""

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest
from paths import ROOT
from rows import rows

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bench_asyncio  # noqa: E402
import bench_calls  # noqa: E402
import bench_compat  # noqa: E402
import bench_device  # noqa: E402
import bench_kernel  # noqa: E402
import bench_memory  # noqa: E402
import bench_scale  # noqa: E402
import bench_service  # noqa: E402
import bench_throughput  # noqa: E402
import common  # noqa: E402
import ends  # noqa: E402
import report  # noqa: E402

import zmqcy  # noqa: E402

pytestmark = pytest.mark.slow

TINY = {"seconds": 0.005}


# ---- arithmetic


def test_summary():
    ours, theirs = common.summary({"zmqcy": [10, 30, 20], "C": [20, 10, 40]})
    assert (theirs["median"], theirs["min"], theirs["max"]) == (20, 10, 40)
    assert (theirs["ratio"], theirs["ratio_min"], theirs["ratio_max"]) == (1, 0.5, 3)
    assert (ours["ratio"], ours["ratio_min"], ours["ratio_max"]) == (1, 1, 1)


def test_summary_where_less_is_better():
    _, theirs = common.summary({"zmqcy": [10, 30, 20], "C": [20, 10, 50]}, less=True)
    assert theirs["ratio"] == 1
    assert theirs["ratio_min"] == pytest.approx(1 / 3)
    assert theirs["ratio_max"] == pytest.approx(2.5)


@rows("rates", [{"C": [1, 2, 3]}, {"zmqcy": [0, 0], "C": [1, 2]}])
def test_no_ratio_without_a_figure_of_ours(rates):
    assert not any("ratio" in row for row in common.summary(rates))


def test_turns_begin_with_another_one_each_time_and_the_first_round_warms_up():
    calls = []
    runs = {name: lambda n=name: calls.append(n) or len(calls) for name in "abc"}
    assert common.in_turns("turns", runs, 2) == {"a": [6, 8], "b": [4, 9], "c": [5, 7]}
    assert "".join(calls) == "abcbcacab"


@rows(("size", "text"), [(8, "8 B"), (1024, "1 KB"), (1 << 24, "16 MB")])
def test_label_of_bytes(size, text):
    assert common.label(size, "bytes") == text


def test_label_of_others():
    assert common.label(1000, "sockets") == "1,000 sockets"
    assert common.label(1, "sockets") == "1 socket"


# ---- programs that hang or fail


def hanging():
    with common.Process([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        hanging.process = process.process
        return process.line(limit=0.3)


def dying():
    with common.Process([sys.executable, "-c", "print(1); raise SystemExit('why it died')"]) as process:
        return process.line() + process.line()


def test_what_hangs_or_dies_is_cut_off_and_reported(capsys):
    runs = {"zmqcy": lambda: {"rate": 2.0}, "hangs": hanging, "dies": dying}
    failed = {}
    values = common.in_turns("some", runs, 2, failed)
    assert values == {"zmqcy": [{"rate": 2.0}] * 2}
    assert failed == {"hangs": "hung: no output for 0.3 s", "dies": "why it died"}
    assert hanging.process.poll() is not None
    assert "some: hangs is cut off: hung" in capsys.readouterr().out
    table = common.Table("group", 8, "a second", {name: name for name in runs}).filled(values, failed)
    assert [row.get("cut") for row in table["rows"]] == [None, "hung: no output for 0.3 s", "why it died"]


@pytest.mark.slow
@pytest.mark.parametrize(("transport", "loop"), [("inproc", ""), ("ipc", "asyncio"), ("tcp", "")])
def test_what_loses_messages_is_reported(transport, loop, tmp_path, monkeypatch):
    """The measured library skips one message."""
    script = tmp_path / "lossy.py"
    script.write_text(
        textwrap.dedent(f"""
        import asyncio
        import sys
        sys.path.insert(0, {str(BENCHMARKS)!r})
        import ends
        make = ends.make

        class Lossy:
            def __init__(self, socket):
                self.socket = socket
            def __getattr__(self, name):
                return getattr(self.socket, name)
            def send(self, data):
                if data != ends.NUMBER.pack(70):
                    return self.socket.send(data)
                return asyncio.sleep(0) if {loop!r} else None

        ends.make = lambda *arguments: Lossy(make(*arguments))
        import peer
        peer.main(*sys.argv[1:])
        """)
    )
    monkeypatch.setattr(common, "rivals", lambda name: {name: [sys.executable, str(script), "zmqcy"]})
    missing = common.missing.__wrapped__
    assert missing("lossy", transport, count=70, loop=loop) == ""
    assert missing("lossy", transport, count=100, loop=loop).startswith("loses messages: ")


def test_works_run_where_no_zmqcy_is_in_the_way_of_the_installed_one():
    command = [sys.executable, "-c", "import os; print(os.getcwd())"]
    with common.Process(command) as process:
        assert process.line() == bench_calls.output(*command).strip() == str(BENCHMARKS)


def test_why_an_other_end_fails():
    zmqcy = common.rivals("zmqcy")["zmqcy"]
    with pytest.raises(common.Failed, match="KeyError: 'no such work'"):
        common.between(zmqcy, zmqcy, ("pull", "no such work"), "tcp://127.0.0.1:*")


# ---- measured programs


def installed(name):
    if not importlib.util.find_spec(common.LIBRARIES.get(name, "sys")):
        pytest.skip(f"{name} is not installed")
    return common.rivals(name)[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "mode"),
    [("inproc", "single"), ("ipc", "batch"), ("tcp", "multipart"), ("inproc", "views"), ("tcp", "untuned")],
)
def test_throughput(transport, mode):
    plan = {"mode": mode, "size": 100, "batch": 10, **TINY}
    if mode == "untuned":
        plan |= {"mode": "single", "untuned": 1}
    measured = common.over(transport, installed("zmqcy"), ("pull", "push"), **plan)
    assert measured["rate"] > 0
    assert measured["count"] > 0


@rows(("size", "queue", "most"), [(8, 0, 1000), (1 << 24, 0, 4), (1 << 24, 1000, 1000)])
def test_the_queues(socket, size, queue, most):
    plan = types.SimpleNamespace(size=size, queue=queue)
    push = ends.make(zmqcy, types.SimpleNamespace(socket=socket), "PUSH", plan)
    assert push.sndhwm == push.rcvhwm == most


@rows(("transport", "mode", "queue"), [("inproc", "views", 1000), ("inproc", "single", None), ("ipc", "views", None)])
def test_queues_are_as_long_for_all_where_messages_take_no_memory(monkeypatch, transport, mode, queue):
    plans = []
    monkeypatch.setattr(bench_throughput, "missing", lambda *arguments: "")
    monkeypatch.setattr(bench_throughput, "over", lambda *arguments, **plan: plans.append(plan))
    bench_throughput.run("C", transport, mode, 1 << 24, types.SimpleNamespace(seconds=1))()
    assert [plan.get("queue") for plan in plans] == [queue]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["single", "batch"])
def test_nothing_is_missing(mode):
    for transport in common.TRANSPORTS:
        assert common.missing("zmqcy", transport, mode, 1000) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("transport", "mode"), [("inproc", "single"), ("ipc", "blocking"), ("tcp", "single")])
def test_latency(transport, mode):
    measured = common.over(transport, installed("zmqcy"), ("rep", "req"), mode=mode, **TINY)
    assert 0 < measured["p50"] <= measured["p99"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C", "pyzmq", "pyomq", "pynng", *common.CONTEXT])
def test_rivals(name):
    transport = "ipc" if name == "multiprocessing.Pipe" else "tcp"
    for works in ("pull", "push"), ("rep", "req"):
        assert common.over(transport, installed(name), works, **TINY)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zmqcy", "C"])
@pytest.mark.parametrize("works", [("pull", "push"), ("pub", "sub")])
def test_many_peers(name, works):
    command = installed(name)
    assert common.between(command, command, works, "tcp://127.0.0.1:*", peers=20, **TINY)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "works", "count"),
    [
        ("zmqcy", ("pull", "push"), 1),
        ("zmqcy", ("rep", "req"), 100),
        ("C", ("pull", "push"), 100),
        ("C", ("rep", "req"), 1),
    ],
)
def test_a_count_of_messages(name, works, count):
    command = installed(name)
    assert common.two(command, command, works, "tcp://127.0.0.1:*", 8, count) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zmqcy", "C"])
@pytest.mark.parametrize("work", ["poll", "wake"])
def test_poll(name, work):
    assert common.alone(installed(name), work, ".", peers=20, **TINY)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("work", "works"), [("streamer", ("pull", "push")), ("queue", ("rep", "req"))])
def test_devices(work, works):
    assert bench_device.through(installed("zmqcy"), work, installed("C"), works, **TINY)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("mode", ["thread", "process"])
def test_devices_as_services(mode, captured):
    assert bench_service.run_work(installed("zmqcy"), "service", 8, 0.005, mode, captured)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [False, True])
def test_a_device_of_the_command(metrics):
    pytest.importorskip("zmqcy.cli.device")
    assert bench_service.run_command(8, 0.005, metrics)["rate"] > 0


@pytest.mark.slow
def test_a_device_in_c_with_capture():
    assert bench_service.run_work(installed("C"), "streamer", 8, 0.005, captured=True)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["single", "hook", "filter"])
def test_devices_with_filters(mode):
    if mode == "hook":
        pytest.importorskip("Cython", reason="a hook is built by Cython")
    works = ("pull", "push")
    assert bench_device.through(installed("zmqcy"), "streamer", installed("C"), works, mode, **TINY)["rate"] > 0


@pytest.mark.slow
@rows("work", ["pair", "parts", "empty", "get", "set"])
def test_calls_in_c(work):
    assert common.alone(installed("C"), work, ".", **TINY)["rate"] > 0


@pytest.mark.slow
def test_calls_by_pyperf():
    pytest.importorskip("pyperf")
    assert set(bench_calls.by_pyperf("zmqcy")) == set(bench_calls.CALLS)


# ---- programs that import zmq


@pytest.mark.slow
@pytest.mark.parametrize("name", [common.COMPAT, "pyzmq"])
def test_the_same_script_on_compat_and_on_pyzmq(name):
    command = installed(name)
    assert common.missing(name, "tcp", count=1000) == common.missing(name, "tcp", count=1000, loop="asyncio") == ""
    for plan in {}, {"mode": "multipart"}, {"loop": "asyncio"}:
        assert common.over("tcp", command, ("pull", "push"), **plan, **TINY)["rate"] > 0
    assert common.over("tcp", command, ("rep", "req"), **TINY)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("trips", [False, True])
@pytest.mark.parametrize(("framework", "needs"), bench_compat.FRAMEWORKS.items())
def test_frameworks_on_compat_and_on_pyzmq(framework, needs, trips):
    pytest.importorskip(needs)
    runs = bench_compat.framework(framework, trips, 8, common.argparse.Namespace(fewer=None, **TINY)).runs
    assert common.COMPAT in runs
    for run in runs.values():
        assert run()["rate"] > 0


# ---- coroutines


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request):
    return pytest.importorskip(request.param) and request.param


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "mode", "loop"),
    [
        ("inproc", "single", "asyncio"),
        ("inproc", "batch", "uvloop"),
        ("tcp", "single", "uvloop"),
        ("tcp", "batch", "asyncio"),
    ],
    indirect=["loop"],
)
def test_throughput_of_tasks(transport, mode, loop):
    assert common.missing("zmqcy", transport, mode, 1000, loop) == ""
    plan = {"mode": mode, "size": 100, "batch": 10, "loop": loop, **TINY}
    assert common.over(transport, installed("zmqcy"), ("pull", "push"), **plan)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("pyzmq", "asyncio"),
        ("pyzmq", "uvloop"),
        ("pyomq", "asyncio"),
        ("pynng", "asyncio"),
        ("asyncio streams", "uvloop"),
    ],
    indirect=["loop"],
)
def test_rivals_in_a_loop(name, loop):
    command = installed(name)
    assert common.missing(name, "tcp", count=1000, loop=loop) == ""
    assert common.over("tcp", command, ("pull", "push"), loop=loop, **TINY)["rate"] > 0
    assert common.alone(command, "rep+req", "@tcp://127.0.0.1:*", loop=loop, **TINY)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zmqcy", "pyzmq", "pyomq", "asyncio streams"])
@pytest.mark.parametrize(("flight", "loop"), [(1, "asyncio"), (20, "uvloop")], indirect=["loop"])
def test_requests_in_flight(name, flight, loop):
    works = ("rep" if name == "asyncio streams" else "router", "dealer")
    assert common.over("tcp", installed(name), works, flight=flight, loop=loop, **TINY)["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("peers", "loop"), [(1, "uvloop"), (20, "asyncio")], indirect=["loop"])
def test_many_sockets_in_a_loop(peers, loop):
    measured = common.alone(installed("zmqcy"), "many", ".", peers=peers, loop=loop, **TINY)
    assert all(measured[metric] > 0 for _, metric, _ in bench_asyncio.MANY)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [*bench_asyncio.DELAYS, "alone"])
def test_how_late_a_task_is(mode, loop):
    measured = common.alone(installed("zmqcy"), "fairness", ".", mode=mode, loop=loop, seconds=0.05)
    assert measured["sleep_p50"] <= measured["sleep_p99"]
    assert 0 < measured["soon_p50"] <= measured["soon_p99"]


@pytest.mark.slow
def test_what_leaves_others_no_turn_is_reported():
    with pytest.raises(common.Failed, match="the other task did not run"):
        common.alone(installed("pyzmq"), "fairness", ".", loop="asyncio", seconds=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["single", "batch"])
def test_plain_sockets_in_one_thread(mode):
    assert common.alone(installed("zmqcy"), "inline", ".", mode=mode, batch=10, **TINY)["rate"] > 0


def test_imports_are_compiled_before_they_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    package = tmp_path / "some_package"
    package.mkdir()
    source = package / "__init__.py"
    source.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(common, "LIBRARIES", {"some": "some_package", "other": "not_there"})
    common.compiled()
    assert Path(importlib.util.cache_from_source(str(source))).is_file()


@pytest.mark.slow
def test_imports_are_measured():
    options = common.settled(quick=True)
    for name, run in bench_asyncio.imports(options).runs.items():
        if name.startswith("zmqcy"):
            assert run()["ms"] > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the CPU time of another process is read from /proc")
def test_sockets_that_wait(monkeypatch):
    monkeypatch.setattr(bench_memory, "IDLE", 0.05)
    runs = bench_asyncio.waiting(common.settled(quick=True)).runs
    assert [run()["share"] >= 0 for run in runs.values()] == [True]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of another process is read from /proc")
def test_memory_and_idle(monkeypatch):
    monkeypatch.setattr(bench_memory, "IDLE", 0.05)
    zmqcy = installed("zmqcy")
    measured = common.between(zmqcy, zmqcy, ("pull", "push"), "tcp://127.0.0.1:*", size=20, count=1000, seconds=1000)
    assert measured["count"] == 1000
    assert measured.keys() >= {"cpu", "grown", "peak", "grown_other", "peak_other"}
    assert bench_memory.idle_recv(zmqcy)["share"] >= 0
    assert bench_memory.idle_device(zmqcy)["share"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("side", ["zmqcy", "pyzmq"])
def test_a_kernel(side):
    pytest.importorskip("ipykernel")
    measured = bench_kernel.run(side, 0.005)
    assert 0 < measured["p50"] <= measured["p99"] and measured["rate"] > 0


# ---- many connections


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zmqcy", "pyzmq", "pyomq"])
@pytest.mark.parametrize(("group", "works", "plan", "axis", "unit"), bench_scale.KINDS)
def test_servers_of_many_clients(name, group, works, plan, axis, unit, monkeypatch):
    """The clients run in two processes, with different numbers of clients."""
    monkeypatch.setattr(bench_scale, "MOST", 15)
    measured = bench_scale.serve(installed(name), 29, works, **plan, **TINY)
    assert measured["rate"] > 0
    assert measured["connect"] > 0
    assert "cpu" in measured
    assert group != "ROUTER" or measured["polls"] > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("untuned", [0, 1])
def test_memory_of_connections(untuned, monkeypatch):
    """Two processes open the connections, and use only some of them."""
    monkeypatch.setattr(bench_scale, "MOST", 15)
    monkeypatch.setattr(bench_scale, "USED", 5)
    measured = bench_scale.serve(installed("zmqcy"), 20, mode="memory", untuned=untuned, **TINY)
    assert 0 < measured["idle"] < measured["busy"]


@pytest.mark.slow
def test_clients_without_file_descriptors_are_reported(monkeypatch):
    zmqcy = installed("zmqcy")
    monkeypatch.setattr(
        bench_scale, "rivals", lambda name: {name: ["sh", "-c", 'ulimit -n 100; exec "$@"', "", *zmqcy]}
    )
    with pytest.raises(common.Failed, match="socket type=DEALER: no file descriptor is left"):
        bench_scale.serve(zmqcy, 100, **TINY)


# ---- the environment of `make bench`


def fake(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


@pytest.fixture
def bench(tmp_path):
    """Return a function that runs tools/bench.sh up to the call of setup.sh, and returns the settings of that call."""
    fake(tmp_path / "tools" / "setup.sh", 'echo "$VENV $1 $ZMQCY_LIBZMQ ${TOOLS:-}${PYTHONPATH:-}"', "exit 1")
    shutil.copy(ROOT / "tools" / "bench.sh", tmp_path / "tools")
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"

    def run(**variables):
        environment = {"PATH": path, "PYENV_ROOT": str(tmp_path / "pyenv"), "PYTHONPATH": "elsewhere", **variables}
        done = subprocess.run([tmp_path / "tools" / "bench.sh"], env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        return done.stdout.split()

    return run


def test_the_newest_python_is_taken_of_path_and_pyenv(bench, tmp_path):
    for name in ("python3.14", "python3.13", "python3"):
        fake(tmp_path / "bin" / name, "exit 1")  # as pyenv's shims do for versions that are not selected
    old = fake(tmp_path / "bin" / "python3.12", f"echo {tmp_path}/bin/python3.12")
    prefix = str(tmp_path / "build" / "libzmq-drafts")
    assert bench() == ["build/bench", str(old), prefix, "g++"]
    new = tmp_path / "pyenv" / "versions" / "3.13.5" / "bin" / "python3.13"
    fake(new, f"echo {new}")
    assert bench() == ["build/bench", str(new), prefix, "g++"]


def test_python_and_libzmq_can_be_named(bench, tmp_path):
    (tmp_path / "some").mkdir()
    assert bench(PYTHON="some-python", ZMQCY_LIBZMQ="some") == ["build/bench", "some-python", str(tmp_path / "some")]


# ---- the plan


@pytest.fixture
def all_installed(monkeypatch):
    monkeypatch.setattr(common, "installed", lambda name: True)


def planned(options):
    """Return the cells of all benchmarks."""
    names = sorted(file.stem for file in BENCHMARKS.glob("bench_*.py"))
    modules = [importlib.import_module(name) for name in names]
    return [cell for module in modules if hasattr(module, "cells") for cell in module.cells(options)]


@pytest.mark.parametrize(("quick", "most"), [(True, 5 * 60), (False, 40 * 60)])
def test_the_plan_fits_and_has_the_tables_of_the_report(quick, most, all_installed):
    options = common.settled(quick)
    cells = planned(options)
    assert common.planned(cells, options) < most
    tables = {table.title: table for cell in cells for table in cell.tables}
    assert len(tables) == sum(len(cell.tables) for cell in cells)
    for cell in cells:
        assert all(run in cell.runs for table in cell.tables for run in table.of.values() if cell.title != "calls")
    if quick:
        return
    shown = [title for _, titles in report.SENTENCES for title in titles] + [title for _, title in report.OVERVIEW]
    assert all({"zmqcy", "pyzmq", "pyomq"} <= tables[title].of.keys() for title in shown)
    assert all({"zmqcy", "pyzmq"} <= tables[title].of.keys() for _, titles, _ in report.SPEED for title in titles)


def test_batches_are_compared_with_one_per_call_and_the_default_with_untuned(all_installed):
    cells = [bench_throughput.cell("tcp", size, common.settled(False)) for size in bench_throughput.SIZES]
    of = {table.title: table.of for cell in cells for table in cell.tables}
    for size in ("8 B", "4 KB", "1 MB", "16 MB"):
        batch = of[f"throughput over tcp, batch, {size}"]
        assert (batch["zmqcy"], batch["zmqcy single"]) == ("zmqcy batch", "zmqcy single")
    untuned = [title for title in of if "zmqcy untuned" in of[title] and title.startswith("throughput")]
    assert untuned == [f"throughput over tcp, single, {size}" for size in ("1 KB", "4 KB", "16 KB", "64 KB")]


# ---- the report


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder with the results of a small run: two points of a curve, a library that was stopped, and plain rows."""
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    tables = {}
    of = {"zmqcy": "a", "C": "b", "pyomq": "b", "pynng": "c"}
    for size, theirs in ((8, 4.0), (1024, 1.0)):
        table = common.Table("throughput over tcp, batch", size, "messages/s", of)
        values = {"a": [{"rate": 2.0}] * 3, "b": [{"rate": theirs}] * 3}
        tables[table.title] = table.filled(values, {"c": "hung: no output for 10 s"})
    common.save("throughput", tables)
    common.save("network", {"two hosts": common.summary({"zmqcy": [1.0, 2.0], "C": [1.0, 2.0]})})
    return tmp_path


def test_what_the_json_tells(results):
    machine = json.loads((results / "throughput.json").read_text())["machine"]
    assert machine.keys() >= {"cpu", "cores", "python", "system", "zmqcy", "libzmq", "commit", "changed since", "time"}
    assert machine["libzmq"].endswith(" with drafts" if zmqcy.has("draft") else " without drafts")


@rows(
    ("options", "told"),
    [
        ("'--enable-optimizations' '--with-lto'", " (PGO and LTO)"),
        ("'--enable-optimizations'", " (PGO)"),
        (None, " (no PGO, no LTO)"),
    ],
)
def test_how_python_was_built(options, told):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common.sysconfig, "get_config_var", lambda name: options)
        assert common.built() == told


@pytest.mark.slow
def test_c_is_compiled_anew_for_another_libzmq(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    target = Path(common.baseline())
    first = target.stat().st_mtime_ns
    assert common.alone([str(target)], "pair", ".", **TINY)["rate"] > 0
    common.baseline()
    assert target.stat().st_mtime_ns == first
    library = Path(zmqcy.get_library())
    other = tmp_path / "prefix" / "lib" / library.name
    other.parent.mkdir(parents=True)
    other.symlink_to(library)
    (tmp_path / "prefix" / "include").mkdir()
    monkeypatch.setattr(zmqcy, "get_library", lambda: str(other))
    for header in ("zmq.h", "zmq_utils.h"):
        (tmp_path / "prefix" / "include" / header).write_text(f"#include_next <{header}>\n")
    common.baseline()
    assert target.stat().st_mtime_ns != first


def test_losses_are_those_to_other_libraries_and_the_most_common_come_first(results):
    lost = {"zmqcy": [2.0], "pyzmq": [4.0]}
    even = {"zmqcy": [2.0], "pyzmq": [2.05]}
    tables = {}
    for group, rates in (("asyncio: late", lost), ("throughput over ipc, single", lost), ("poll", even)):
        tables[f"{group}, 8 B"] = {**common.Table(group, 8, "", {}).filled({}, {}), "rows": common.summary(rates)}
    common.save("more", tables)
    runs = report.load()
    assert [row[:4] for row in report.losses(runs)] == [
        ["throughput over ipc, single", "8 B", "pyzmq", "0.50 (0.50 - 0.50)"],
        ["throughput over tcp, batch", "8 B", "pyomq", "0.50 (0.50 - 0.50)"],
        ["asyncio: late", "8 B", "pyzmq", "0.50 (0.50 - 0.50)"],
    ]
    assert report.cut_off(runs) == [["throughput over tcp, batch", "8 B; 1 KB", "pynng", "hung: no output for 10 s"]]


def test_a_known_cause_of_a_loss_is_told(results):
    group = "asyncio: scheduling delay next to one busy task"
    table = {**common.Table(group, 8, "", {}).filled({}, {}), "rows": common.summary({"zmqcy": [1.0], "pyomq": [2.0]})}
    common.save("more", {group: table})
    causes = {row[0]: row[-1] for row in report.losses(report.load())}
    assert "100 µs" in causes[group]
    assert causes["throughput over tcp, batch"] == ""


def test_sentences_have_the_figures_of_the_run(results):
    batches, losses = report.sentences(report.load())
    assert batches.endswith("over tcp: zmqcy is 1.2 times as fast as pyomq (0.50 to 2.0).")
    assert losses.endswith("faster in [1 of 2](#where-zmqcy-loses) comparisons.")


@rows(("ratio", "text"), [(0.966, "0.97"), (1.04, "1.0"), (9.44, "9.4"), (62.4, "62"), (1234, "1,200")])
def test_short_ratios(ratio, text):
    assert report.short(ratio) == text


def test_tables_are_shown(results, capsys):
    for name, run in report.load().items():
        for title, each in run["tables"].items():
            common.show(f"{name}: {title}", each["unit"], each["rows"])
    shown = capsys.readouterr().out
    assert "two hosts" in shown
    assert "hung: no output for 10 s" in shown


MARKED = ("summary", "run", "speed", "pages", "losses", "cut")


@pytest.mark.parametrize("sentence", ["A sentence.", ""], ids=["whole", "in part"])
def test_the_page_and_the_docs(results, tmp_path, monkeypatch, sentence):
    pytest.importorskip("matplotlib")
    docs = tmp_path / "docs" / "performance.md"
    docs.parent.mkdir()
    docs.write_text(
        "".join(f"Before {name}.\n\n{report.begin(name)}\nold\n{report.END}\n" for name in MARKED) + "After.\n"
    )
    (tmp_path / "README.md").write_text(f"Before.\n\n{report.begin('speed')}\nold\n{report.END}\nAfter.\n")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "readme", lambda runs: sentence)
    report.report(docs=True)
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("Before.") and readme.endswith("After.\n")
    assert readme.split("\n")[3:5] == (["", sentence] if sentence else ["old", report.END])
    page = (results / "index.html").read_text()
    assert "<td>0.50 (0.50 - 0.50)</td>" in page
    assert "hung: no output for 10 s" in page
    assert 'src="data:image/svg+xml;base64,' in page
    text = docs.read_text()
    assert text.startswith("Before summary.\n")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert "| [throughput over tcp, batch](performance/throughput.md#throughput-over-tcp-batch) | 8 B | pyomq |" in text
    assert "performance/throughput\nperformance/network\nperformance/c\n```" in text
    throughput = (docs.parent / "performance" / "throughput.md").read_text()
    assert "## throughput over tcp, batch\n\n| messages/s | zmqcy | pyomq | pynng |\n" in throughput
    [plot] = [line for line in throughput.splitlines() if line.startswith("![")]
    assert (docs.parent / "performance" / plot.split("(")[1].removesuffix(")")).is_file()
    assert "| messages/s | zmqcy | C |" not in throughput
    assert "zmqcy | C |" in (docs.parent / "performance" / "network.md").read_text()  # network.md compares only with C
    assert "2 messages/s | 0.50 (0.50 - 0.50) |" in (docs.parent / "performance" / "c.md").read_text().replace(
        " (2 - 2)", ""
    )


def test_the_overview_and_its_table(results, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    assert report.overview(report.load()) is None  # some of its tables are missing
    assert report.readme(report.load()) == ""
    assert (
        report.speed(report.load()).splitlines()[-1]
        == "| PUSH to PULL over tcp, batches: 8 B / 1 KB |  | 0.50 / 2.0 | 0.50 / 2.0 |  |"
    )
    rates = {"zmqcy": [3.0, 3.0], "pyomq": [2.0, 2.0], "pyzmq": [1.5, 1.5]}
    titles = [title for _, title in report.OVERVIEW] + [title for _, titles, _ in report.SPEED for title in titles]
    common.save("throughput", {title: common.summary(rates) for title in titles})
    report.plots(report.load())
    assert "svg" in report.overview(report.load()).read_text()
    lines = report.speed(report.load()).splitlines()
    assert "| PUSH to PULL over tcp, one message per call: 1 KB / 16 KB | 2.0 / 2.0 | 1.5 / 1.5 |  |  |" in lines
    said = " ".join(report.readme(report.load()).split())
    assert (
        "one at a time: 2.0 times as fast as pyzmq over tcp, 2.0 times over ipc (sockets of one machine). 8-byte"
        in said
    )


def test_the_docs_have_the_places_for_a_run():
    text = (ROOT / "docs" / "performance.md").read_text()
    assert [text.count(report.begin(name)) for name in MARKED] == [1] * len(MARKED) and text.count(report.END) == 6
    text = (ROOT / "README.md").read_text()
    assert text.count(report.begin("speed")) == text.count(report.END) == 1
