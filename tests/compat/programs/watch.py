"""circusd, which starts and supervises processes, and circusctl, which controls it over ZeroMQ."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import steps
from circus.client import CircusClient

CONFIGURATION = """
[circus]
endpoint = tcp://127.0.0.1:{0}
pubsub_endpoint = tcp://127.0.0.1:{1}
stats_endpoint = tcp://127.0.0.1:{2}
statsd = True
check_delay = 1

[watcher:sleeper]
cmd = {python} -c "import time; time.sleep(1000)"
numprocesses = 2
"""


class Arbiter:
    def __init__(self, folder):
        self.ports = steps.free_ports(3)
        file = Path(folder, "circus.ini")
        file.write_text(CONFIGURATION.format(*self.ports, python=sys.executable))
        self.process = subprocess.Popen([sys.executable, "-m", "circus.circusd", str(file)], cwd=folder)
        self.client = CircusClient(endpoint=f"tcp://127.0.0.1:{self.ports[0]}", timeout=20)

    def ask(self, command, **properties):
        message = {"command": command, "properties": {"waiting": True, **properties}}
        end = time.monotonic() + 20
        while True:  # circusd refuses commands while it runs another one or checks the processes
            answer = self.client.call(message)
            if "already running" not in answer.get("reason", "") or time.monotonic() > end:
                break
        assert answer["status"] == "ok", answer
        return answer

    def processes(self):
        return sorted(self.ask("list", name="sleeper")["pids"])


def start_circusd_with_a_watcher(_):
    arbiter = Arbiter(tempfile.mkdtemp())
    assert arbiter.ask("list")["watchers"] == ["circusd-stats", "sleeper"], arbiter.ask("list")
    steps.until(lambda: len(arbiter.processes()) == 2, "two processes")
    return arbiter


def restart_the_watcher(arbiter):
    before = arbiter.processes()
    arbiter.ask("restart", name="sleeper")
    after = arbiter.processes()
    assert len(after) == 2
    assert not set(before) & set(after)
    return arbiter


def replace_a_killed_process(arbiter):
    first = arbiter.processes()[0]
    os.kill(first, signal.SIGKILL)
    steps.until(lambda: len(arbiter.processes()) == 2 and first not in arbiter.processes(), "another process")
    return arbiter


def add_a_process(arbiter):
    arbiter.ask("incr", name="sleeper", nb=1)
    steps.until(lambda: len(arbiter.processes()) == 3, "three processes")
    return arbiter


def receive_the_event_of_a_restart(arbiter):
    import zmq

    with zmq.Context() as context, context.socket(zmq.SUB) as news:
        news.setsockopt(zmq.SUBSCRIBE, b"watcher.sleeper")
        news.setsockopt(zmq.RCVTIMEO, 20000)
        news.connect(f"tcp://127.0.0.1:{arbiter.ports[1]}")
        monitor = news.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        assert monitor.poll(20000)
        news.disable_monitor()
        monitor.close()
        arbiter.ask("restart", name="sleeper")
        topic, text = news.recv_multipart()
        assert topic.startswith(b"watcher.sleeper."), topic
        json.loads(text)
    return arbiter


def query_status_with_circusctl(arbiter):
    control = [sys.executable, "-m", "circus.circusctl", "--endpoint", f"tcp://127.0.0.1:{arbiter.ports[0]}"]
    out = subprocess.run([*control, "status"], capture_output=True, text=True, timeout=30, check=True).stdout
    assert "sleeper: active" in out, out
    stats = arbiter.ask("stats", name="sleeper")["info"]
    assert sorted(map(int, stats)) == arbiter.processes()
    return arbiter


def stop_circusd(arbiter):
    arbiter.ask("quit")
    assert arbiter.process.wait(30) == 0
    arbiter.client.stop()
    return arbiter


if __name__ == "__main__":
    steps.run(
        start_circusd_with_a_watcher,
        restart_the_watcher,
        replace_a_killed_process,
        add_a_process,
        receive_the_event_of_a_restart,
        query_status_with_circusctl,
        stop_circusd,
    )
