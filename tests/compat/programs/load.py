"""locust: a master and two workers, in separate processes, load a server on this machine. They use zmq.green."""

import json
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import steps

USERS, SECONDS = 20, 4
TESTS = """
from locust import HttpUser, constant_throughput, task

class Reader(HttpUser):
    wait_time = constant_throughput(5)

    @task
    def read(self):
        assert self.client.get("/").text == "hello"
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.served[self.path] = self.server.served.get(self.path, 0) + 1
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


class Run:
    def __init__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.served = {}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        folder = Path(tempfile.mkdtemp())
        (folder / "locustfile.py").write_text(TESTS)
        [port] = steps.free_ports(1)
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            "locustfile.py",
            "--host",
            f"http://127.0.0.1:{self.server.server_port}",
        ]
        users = ["--expect-workers", "2", "-u", str(USERS), "-r", "20", "-t", f"{SECONDS}s"]
        place = ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
        master = ["--master", "--headless", *users, *place, "--json", "--only-summary"]
        worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
        self.master = subprocess.Popen([*command, *master], **pipes)
        self.workers = [subprocess.Popen([*command, *worker], **pipes) for _ in range(2)]


def run_a_master_and_two_workers(_):
    run = Run()
    run.out, run.errors = run.master.communicate(timeout=60)
    assert run.master.returncode == 0, run.errors
    return run


def wait_for_both_workers_to_exit(run):
    for worker in run.workers:
        _, errors = worker.communicate(timeout=30)
        assert worker.returncode == 0, errors
    assert "2 workers" in run.errors or "Both" in run.errors or run.errors.count("reported as ready") == 2, run.errors
    return run


def compare_the_request_counts(run):
    [row] = [row for row in json.loads(run.out) if row["name"] == "/"]
    assert row["num_failures"] == 0, row
    served = run.server.served["/"]
    assert row["num_requests"] >= USERS * SECONDS, row["num_requests"]
    assert 0 <= served - row["num_requests"] <= USERS, (served, row["num_requests"])
    return run


if __name__ == "__main__":
    steps.run(run_a_master_and_two_workers, wait_for_both_workers_to_exit, compare_the_request_counts)
