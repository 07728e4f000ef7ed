"""A Jupyter kernel and its client, on zmqcy.compat and on pyzmq: one round trip is a request to run `pass`."""

import os
import statistics
import sys
import time

import common
from common import HERE, Cell, Process, Table, arguments, measure, numbers

START = 1.2  # seconds that a kernel takes to start and exit, for the plan
SECONDS = 5  # times as long as other benchmarks, because a round trip is slow
AS_PYZMQ = HERE.parent / "packaging" / "zmqcy-as-pyzmq"
FIGURES = (("rate", "round trips/s"), ("p50", "µs"), ("p99", "µs"))


def trip(client):
    """Run `pass` in the kernel; wait until the kernel is idle again and has replied."""
    asked = client.execute("pass")
    state = ""
    while state != "idle":
        message = client.get_iopub_msg(timeout=10)
        if message["parent_header"].get("msg_id") == asked:
            state = message["content"].get("execution_state", "")
    while client.get_shell_msg(timeout=10)["parent_header"].get("msg_id") != asked:
        pass


def serve(side, seconds):
    """Start a kernel, measure, and print the figures."""
    import zmq
    from jupyter_client.manager import start_new_kernel

    if zmq.Context.__module__.startswith("zmqcy") != (side == "zmqcy"):
        raise SystemExit(f"zmq is {zmq.__file__}, not {side}")
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
    try:
        for _ in range(20):
            trip(client)
        times = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            trip(client)
            times.append(time.perf_counter() - start)
        p50, p99 = statistics.median(times), sorted(times)[len(times) * 99 // 100]
        print(f"rate={1 / statistics.mean(times)} p50={p50 * 1e6} p99={p99 * 1e6}", flush=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(side, seconds):
    """Measure in a new process; its kernel imports the same `zmq`."""
    places = [str(AS_PYZMQ)] if side == "zmqcy" else []
    path = os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])
    with Process(["env", f"PYTHONPATH={path}", sys.executable, __file__, "--serve", side], seconds) as process:
        return numbers(process.line(limit=60))


def cells(options):
    if not common.installed("ipykernel"):
        return []
    seconds = options.seconds * SECONDS
    names = [name for name in ("zmqcy", "pyzmq") if common.installed(name)]
    runs = {name: lambda n=name: run(n, seconds) for name in names}
    tables = [
        Table(f"Jupyter kernel, {metric}", "pass", unit, {name: name for name in runs}, metric, less=metric != "rate")
        for metric, unit in FIGURES
    ]
    return [Cell("kernel", runs, tables, seconds + START, (1, 0) if options.quick else None)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], float(sys.argv[3]))
    else:
        options = arguments(__doc__)
        measure("kernel", cells(options), options)
