"""Each example as a user runs it: in a new process, with exactly its output."""

import json
import os
import re
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from urllib.request import urlopen

import pytest
from paths import ROOT

import zmqcy

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
LIMIT = 45  # max seconds of an example
ANY_PORT = "tcp://127.0.0.1:*"
ENDPOINT = r"tcp://127\.0\.0\.1:\d+"

TEN = [f"msg {number}" for number in range(10)]


@contextmanager
def started(name, *arguments):
    """Start an example. It is killed if it takes too long, and at the end."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        late = threading.Timer(LIMIT, process.kill)
        late.start()
        try:
            yield process
        finally:
            late.cancel()
            process.kill()


def ended(process, code=0, errors=""):
    """Wait for the end of an example. Return its output lines."""
    out, err = process.communicate()
    assert process.returncode == code and (err.startswith(errors) if errors else not err), f"{out}\n{err}"
    return out.splitlines()


def run(name, *arguments):
    with started(name, *arguments) as process:
        return ended(process)


def interrupted(process):
    """Press Ctrl-C. Return the lines printed after those already read."""
    process.send_signal(signal.SIGINT)
    return ended(process)


def endpoint(process, label):
    """Read the line in which a process prints its endpoint."""
    line = process.stdout.readline()
    assert re.fullmatch(rf"{label} {ENDPOINT}\n", line), line + process.stderr.read()
    return line.split()[-1]


@contextmanager
def taken(port):
    """Reserve a port of this machine, unless it is in use."""
    with sockets.socket() as holder:
        holder.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", port))
            holder.listen()
        except OSError:
            pass
        yield


# --------------------------------------------------------------------------------------------------------------- echo


def test_echo_pair_answers_ten_messages_over_two_ports():
    with started("echo_server", ANY_PORT, ANY_PORT) as server:
        endpoints = [endpoint(server, "ready on"), endpoint(server, "ready on")]
        assert run("echo_client", *endpoints) == [f"reply {text}" for text in TEN]
        assert interrupted(server) == [f"got {text}" for text in TEN]


def test_echo_client_asks_its_servers_in_turn():
    with started("echo_server", ANY_PORT) as even, started("echo_server", ANY_PORT) as odd:
        endpoints = [endpoint(even, "ready on"), endpoint(odd, "ready on")]
        assert run("echo_client", *endpoints) == [f"reply {text}" for text in TEN]
        assert interrupted(even) == [f"got {text}" for text in TEN[::2]]
        assert interrupted(odd) == [f"got {text}" for text in TEN[1::2]]


def test_echo_server_says_which_endpoint_is_taken():
    with started("echo_server", ANY_PORT) as first:
        used = endpoint(first, "ready on")
        with started("echo_server", used) as second:
            assert ended(second, 1, f"bind {used} (REP): Address already in use; another socket uses port") == []


def test_echo_client_without_a_server_ends_on_ctrl_c():
    with sockets.socket() as listener:  # it accepts the connection, and never sends
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with started("echo_client", f"tcp://127.0.0.1:{listener.getsockname()[1]}") as client:
            listener.accept()[0].close()
            assert interrupted(client) == []


# ---------------------------------------------------------------------------------------- publishers and subscribers


def numbered(topic):
    return [f"{topic} {number}" for number in range(5)]


PUBLISHED = "published 5 messages on each of 2 topics"


def test_pubsub_in_one_process_loses_nothing():
    assert run("pubsub") == [PUBLISHED, *numbered("cats"), *numbered("dogs")]


@pytest.mark.parametrize("order", ["publisher first", "subscribers first"])
def test_pubsub_in_four_processes_loses_nothing(order):
    with started("pubsub", "forwarder", ANY_PORT, ANY_PORT) as forwarder:
        frontend, backend = endpoint(forwarder, "frontend"), endpoint(forwarder, "backend")
        roles = [["publisher", frontend], ["subscriber", backend, "cats"], ["subscriber", backend, "dogs"]]
        if order == "subscribers first":
            roles.reverse()
        with started("pubsub", *roles[0]) as a, started("pubsub", *roles[1]) as b, started("pubsub", *roles[2]) as c:
            printed = [ended(a), ended(b), ended(c)]
        if order == "subscribers first":
            printed.reverse()
        assert printed == [[PUBLISHED], numbered("cats"), numbered("dogs")]
        assert interrupted(forwarder) == []


def test_pubsub_shows_its_roles_when_it_does_not_know_one():
    with started("pubsub", "reader") as process:
        _, errors = process.communicate()
        assert process.returncode == 1
        assert "pubsub.py forwarder FRONTEND BACKEND" in errors


# ---------------------------------------------------------------------------------------------- pipelines and queues


@pytest.mark.parametrize(("limit", "chunks", "primes"), [(100_000, 20, 9592), (1, 1, 0), (5_001, 2, 669)])
def test_pipeline_counts_primes(limit, chunks, primes):
    assert run("pipeline", str(limit)) == [
        f"{chunks} chunks, 4 workers: {primes} primes below {limit}",
        "the sieve agrees",
    ]


def test_workers_answer_each_request_of_each_client_once():
    lines = run("workers", "4", "3")
    asked = [f"client {client}, request {number}" for client in range(4) for number in range(5)]
    assert [line.partition(":")[0] for line in lines] == asked
    assert {line.partition(": ")[2] for line in lines} <= {f"answered by worker {number}" for number in range(3)}


# ----------------------------------------------------------------------------------------------------------- asyncio


RPC = [
    "1,000 requests in flight: all replied",
    "the second reply arrives before the first: 2.0",
    "the first reply: 0",
    "server error: ZeroDivisionError: division by zero",
    "timed out",
]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_rpc_server_answers_two_clients_at_once_and_ends_on_a_signal(number):
    with started("rpc_server", ANY_PORT) as server:
        url = endpoint(server, "ready on")
        assert run("rpc_client", url) == RPC
        with started("rpc_client", url) as process:
            assert ended(process) == RPC
        server.send_signal(number)
        assert ended(server) == ["stopped"]


def test_rpc_server_finishes_what_it_has_in_hand_when_it_ends():
    with started("rpc_server", ANY_PORT) as server, zmqcy.Context(linger=0) as context:
        client = context.socket(zmqcy.DEALER, rcvtimeo=LIMIT * 1000)
        client.connect(endpoint(server, "ready on"))
        client.send_multipart([b"1", b'["sleep", [0.5]]'])
        client.send_multipart([b"2", b'["sleep", [600]]'])
        client.send_multipart([b"3", b'["no_such_method", []]'])
        # Requests are started in order, so that the first two are in progress when the third is answered.
        assert client.recv_multipart() == [b"3", b'{"error": "LookupError: no method no_such_method"}']
        server.send_signal(signal.SIGTERM)
        assert client.recv_multipart() == [b"1", b'{"result": null}']
        assert client.recv_multipart() == [b"2", b'{"error": "the server is shutting down"}']
        assert ended(server) == ["stopped"]


def test_rpc_server_survives_what_is_no_request():
    with started("rpc_server", ANY_PORT) as server, zmqcy.Context(linger=0) as context:
        client = context.socket(zmqcy.DEALER, rcvtimeo=LIMIT * 1000)
        client.connect(endpoint(server, "ready on"))
        for nonsense in b"", b"{", b"[]", b"[1, 2]", b'["divide", 7]', b'["__init__", []]', b'["meetings", []]':
            client.send_multipart([b"1", nonsense])
            number, reply = client.recv_multipart()
            assert (number, [*json.loads(reply)]) == (b"1", ["error"])
        assert interrupted(server) == ["stopped"]


def test_rpc_server_says_that_its_endpoint_is_taken():
    with started("rpc_server", ANY_PORT) as first:
        used = endpoint(first, "ready on")
        with started("rpc_server", used) as second:
            assert ended(second, 1, f"bind {used} (ROUTER): Address already in use; another socket uses port") == []


def held_back(lines):
    """Check the last output of the producer with backpressure."""
    assert lines[0] == "300 messages of 1 MB, each processed once, in order"
    behind = int(re.fullmatch(r"the worker was (\d+) messages behind at most", lines[1])[1])
    growth = int(re.fullmatch(r"the producer's memory grew by (\d+) MB at most", lines[2])[1])
    # Eight in the queues, and those in the system's buffers; without high-water marks it is 250 and 170.
    assert behind < 80
    assert growth < 80


def test_back_pressure_holds_the_producer_back():
    held_back(run("back_pressure"))


def test_back_pressure_between_processes_that_were_started_apart():
    with started("back_pressure", "producer", ANY_PORT, ANY_PORT) as producer:
        line = producer.stdout.readline()
        urls = re.fullmatch(rf"work ({ENDPOINT}) results ({ENDPOINT})\n", line).groups()
        assert run("back_pressure", "worker", *urls) == []
        held_back(ended(producer))


def test_back_pressure_ends_on_ctrl_c():
    with started("back_pressure", "producer", ANY_PORT, ANY_PORT) as producer:
        producer.stdout.readline()
        assert interrupted(producer) == []


@contextmanager
def news(*others):
    """Start a news server. Yield its process, the address of its pages, and the endpoint of its news."""
    with started("http_news", "0", ANY_PORT, *others) as process:
        source = endpoint(process, "news")
        line = process.stdout.readline()
        assert re.fullmatch(r"http http://127\.0\.0\.1:\d+\n", line), line + process.stderr.read()
        yield process, line.split()[-1], source


def follow(page, seen):
    """Read server-sent events of a page into a list until it ends. Return when the reader is connected."""
    response = urlopen(page, timeout=LIMIT)

    def read():
        with response:
            for line in response:
                if line.startswith(b"data: "):
                    seen.append(line[6:].decode().rstrip())

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def publish(page, text):
    with urlopen(page, data=text.encode(), timeout=LIMIT) as response:
        assert response.status == 202


def publish_until_seen(page, text, *readers):
    """Publish until all have received it: a PUB socket drops messages without a subscriber."""
    deadline = time.monotonic() + LIMIT
    while not all(text in seen for seen in readers):
        assert time.monotonic() < deadline, f"{text} did not come: {readers}"
        publish(page, text)


def test_news_posted_to_one_server_are_read_from_another():
    with news() as (_, first, source), news(source) as (second_process, second, _):
        cats, dogs = [], []
        threads = [follow(f"{second}/cats", cats), follow(f"{second}/dogs", dogs)]
        publish_until_seen(f"{second}/cats", "its own", cats)
        publish_until_seen(f"{first}/dogs", "dogs are there", dogs)
        publish_until_seen(f"{first}/cats", "cats are there", cats)
        for number in range(100):
            publish(f"{first}/cats", f"cat {number}")
            publish(f"{first}/cats_and_dogs", "for nobody")
        publish(f"{first}/cats", "the last\nof the cats")
        publish_until_seen(f"{first}/dogs", "the last dog", dogs)
        deadline = time.monotonic() + LIMIT
        while "of the cats" not in cats:
            assert time.monotonic() < deadline, cats
        assert cats[cats.index("cat 0") :] == [*(f"cat {number}" for number in range(100)), "the last", "of the cats"]
        assert {*dogs} == {"dogs are there", "the last dog"}
        second_process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(LIMIT)
            assert not thread.is_alive()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_news_end_with_their_readers(number):
    with news() as (process, page, _):
        seen = []
        thread = follow(f"{page}/cats", seen)
        publish_until_seen(f"{page}/cats", "one", seen)
        process.send_signal(number)
        thread.join(LIMIT)
        assert ended(process) == []


# --------------------------------------------------------------------------------------------------------------- demo


FIGURE = r" +[\d,]+"
RATIO = r" +\d+\.\d \(\d+\.\d to \d+\.\d\)"
COMPARED = r"    pyzmq 2\d\.\S+ is on libzmq 4\.\d+\.\d+\n"
ALONE = r"    To compare with pyzmq, install it and run this again: \S+ -m pip install pyzmq\n"
HEAD = r"""zmqcy \S+, Python 3\.\S+, libzmq 4\.\d+\.\d+

An echo between two processes: REQ to REP over tcp
    sent hello, received hello
    sent from, received from
    sent zmqcy, received zmqcy

1,000 messages of 8 bytes through a streamer device, between three processes
"""


def demo_prints(libraries, others, progress="    25 %\n    50 %\n    75 %\n    100 %\n"):
    """Return a pattern of the demo's output, with the names of the libraries and its remarks about others."""
    figures = FIGURE * len(libraries) + RATIO * (len(libraries) - 1)
    return rf"""{HEAD}{progress}    all arrived, each once and in order:{FIGURE} messages/s

Messages of 8 bytes per second, one per call: median of 5 turns, and ratio \(lowest to highest\)
 +{" +".join(libraries)}
    PUSH to PULL over tcp, two processes{figures}
    REQ to REP over tcp, round trips{figures}
    PUSH to PULL in asyncio, two tasks{figures}
{others}
Next: docs/tutorial.md     .*
      docs/from-pyzmq.md   .*
      docs/performance.md  .*
"""


def test_demo_compares_with_pyzmq(monkeypatch):
    """Run the demo, and so its child processes, without docstrings and asserts (`python -OO`)."""
    pytest.importorskip("zmq", reason="pyzmq is not installed")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    lines = run("demo", "--messages", "1000")
    assert re.fullmatch(demo_prints(["zmqcy", "pyzmq"], COMPARED), "\n".join(lines) + "\n"), lines
    assert len(lines) < 40  # one screen, with the output of `make demo` before it


def test_demo_without_pyzmq_says_how_to_compare(monkeypatch, tmp_path):
    (tmp_path / "zmq.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    lines = run("demo", "--messages", "1000")
    assert re.fullmatch(demo_prints(["zmqcy"], ALONE), "\n".join(lines) + "\n"), lines


def test_demo_draws_a_bar_in_a_terminal():
    terminal, end = os.openpty()
    with subprocess.Popen([sys.executable, EXAMPLES / "demo.py", "--messages", "1000"], stdout=end) as process:
        os.close(end)
        late = threading.Timer(LIMIT, process.kill)
        late.start()
        printed = b""
        with suppress(OSError), open(terminal, "rb", buffering=0) as screen:  # EIO: the process has closed its end
            while part := screen.read(4096):
                printed += part
        late.cancel()
        assert process.wait(LIMIT) == 0
    bars = re.findall(r"\r    \[(#* *)\] (\d+) %", printed.decode())
    assert bars == [(f"{'#' * (percent // 5):20}", str(percent)) for percent in range(5, 101, 5)]


def test_demo_fails_if_a_message_is_lost_or_out_of_order(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import demo

    first, second = demo.numbered(2)
    demo.check([first, second], 2)
    for wrong in ([first], [second, first], [first, first], [first, second, second]):
        with pytest.raises(demo.Failed, match="of 2 messages"):
            demo.check(wrong, 2)


def test_demo_wants_a_message_at_least():
    with started("demo", "--messages", "0") as process:
        _, errors = process.communicate()
        assert process.returncode == 2
        assert "--messages: at least 1" in errors


def test_demo_ends_on_ctrl_c():
    with started("demo", "--messages", "3000000") as process:
        while "through a streamer device" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        ended(process, 1, "interrupted\n")


def test_wrong_arguments_are_an_error_without_docstrings_too(monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    names = [str(path.with_suffix("").relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")]
    names = [name for name in names if "sys.exit(__doc__" in (EXAMPLES / f"{name}.py").read_text()]
    assert len(names) == 7
    with ExitStack() as stack:
        for process in [
            stack.enter_context(started(name, *["no", "arguments", "that", "it", "could", "take"])) for name in names
        ]:
            assert ended(process, 1, "wrong arguments: see the top of this file\n") == []


# -------------------------------------------------------------------------------------------------- examples in folders


def endpoints(process):
    """Read the two lines in which a process prints its endpoints."""
    line = process.stdout.readline()
    assert re.fullmatch(rf"ready on {ENDPOINT} {ENDPOINT}\n", line), line + process.stderr.read()
    return line.split()[-2:]


JOBS = "job_queue/job_queue"


def test_job_queue_answers_each_client():
    with started(JOBS, "broker", ANY_PORT, ANY_PORT) as broker:
        clients, workers = endpoints(broker)
        with started(JOBS, "worker", workers) as worker, started(JOBS, "worker", workers) as other:
            with started(JOBS, "client", clients, "a", "b", "c") as one, started(JOBS, "client", clients, "d") as two:
                assert (ended(one), ended(two)) == (["A", "B", "C"], ["D"])
            took = interrupted(worker) + interrupted(other)
            assert sorted(took) == ["got a", "got b", "got c", "got d"]
        assert interrupted(broker) == []


def test_job_queue_gives_the_job_of_a_worker_that_was_killed_to_another_one():
    with started(JOBS, "broker", ANY_PORT, ANY_PORT, "0.5") as broker:
        clients, workers = endpoints(broker)
        with started(JOBS, "client", clients, "one") as client:
            with started(JOBS, "worker", workers, "600") as slow:
                assert slow.stdout.readline() == "got one\n"
                slow.kill()
            with started(JOBS, "worker", workers) as quick:
                assert ended(client) == ["ONE"]
                # On a busy machine the quick worker may get the job again.
                assert set(interrupted(quick)) == {"got one"}
        assert set(interrupted(broker)) == {"retry one"}


def test_metrics_pipeline_adds_up_what_all_sources_counted():
    name = "metrics_pipeline/metrics_pipeline"
    with started(name, "collector", ANY_PORT, "3") as collector:
        url = endpoint(collector, "ready on")
        sources = [("web", 1234), ("mail", 1), ("shop", 10_000)]
        with (
            started(name, "source", url, "web", "1234") as a,
            started(name, "source", url, "mail", "1") as b,
            started(name, "source", url, "shop") as c,
        ):
            assert [ended(each) for each in (a, b, c)] == [[], [], []]
        total, *sums = ended(collector)
    assert total == f"{2 * sum(count for _, count in sources)} samples"
    assert [line for line in sums if not line.startswith("seconds")] == [
        f"{name}.done {count}" for name, count in sorted(sources)
    ]


@pytest.mark.parametrize("count", [0, 1, 50])
def test_array_stream_brings_each_picture(count):
    pytest.importorskip("numpy")
    name = "array_stream/array_stream"
    with started(name, "receiver", ANY_PORT) as receiver:
        assert run(name, "sender", endpoint(receiver, "ready on"), str(count)) == []
        assert ended(receiver) == [f"{count} pictures, {count * 480 * 640 * 3} bytes, all correct"]


def test_engine_loop_answers_more_clients_than_fit_into_a_batch():
    name = "engine_loop/engine_loop"
    with started(name, "engine", ANY_PORT) as engine:
        url = endpoint(engine, "ready on")
        with zmqcy.Context(linger=LIMIT * 1000) as context, context.socket(zmqcy.DEALER) as stranger:
            stranger.connect(url)
            for nonsense in [b""], [b"1", b"many", b"12345678"], [b"1", b"5", b"odd"]:
                stranger.send_multipart(nonsense)
        with started(name, "client", url, "200", "100") as one, started(name, "client", url, "50", "1") as two:
            assert ended(one) == ["200 of 200 replies are correct"]
            assert ended(two) == ["50 of 50 replies are correct"]
        [line] = interrupted(engine)
        assert re.fullmatch(r"served 250, buffers \d+", line)


def test_engine_loop_uses_its_buffers_again():
    with started("engine_loop/engine_loop", "engine", ANY_PORT) as engine, zmqcy.Context(linger=0) as context:
        client = context.socket(zmqcy.DEALER, rcvtimeo=LIMIT * 1000)
        client.connect(endpoint(engine, "ready on"))
        for _ in range(200):
            client.send_multipart([b"n", b"1", b"\1\0\0\0"])
            assert client.recv_multipart() == [b"n", (31 + 7).to_bytes(4, sys.byteorder)]
            assert client.recv_multipart() == [b"n", b""]
        [line] = interrupted(engine)
        assert re.fullmatch(r"served 200, buffers \d\d?", line)


@contextmanager
def in_room(urls, room, name):
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "chat" / "chat.py", "join", *urls, room, name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    with process:
        late = threading.Timer(LIMIT, process.kill)
        late.start()
        try:
            assert process.stdout.readline() == f"{name}: joined\n"
            yield process
        finally:
            late.cancel()
            process.kill()


def test_chat_is_heard_in_its_room_alone():
    with started("chat/chat", "server", ANY_PORT, ANY_PORT) as server:
        urls = endpoints(server)
        with in_room(urls, "a", "ann") as ann, in_room(urls, "ab", "eve") as eve, in_room(urls, "a", "bob") as bob:
            assert ann.stdout.readline() == "bob: joined\n"
            ann.stdin.write("hello\n")
            ann.stdin.flush()
            assert [each.stdout.readline() for each in (ann, bob)] == ["ann: hello\n"] * 2
            assert bob.communicate("bye\n")[1] == ""
            assert [ann.stdout.readline() for _ in range(2)] == ["bob: bye\n", "bob: left\n"]
            _, errors = eve.communicate("")
            assert (eve.returncode, errors) == (0, "")
            ann.stdin.close()
            assert ann.wait(LIMIT) == 0
        assert interrupted(server) == []
