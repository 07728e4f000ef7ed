"""`zmqcy.devices`: starting, controlling, watching and stopping devices."""

import os
import re
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from datetime import datetime, timezone

import pytest
from paths import ROOT
from rows import rows
from waits import until

import zmqcy.asyncio
from zmqcy.devices import Device

ANY = "tcp://127.0.0.1:*"
LIMIT = 10_000  # ms


@pytest.fixture
def make():
    """A function that creates a device. Devices that run at the end of the test are stopped."""
    devices = []

    def make(*arguments, **options):
        devices.append(Device(*arguments, **options))
        return devices[-1]

    yield make
    for device in devices:
        if "not started" not in repr(device):
            device.stop()


@pytest.fixture(params=["thread", "process"])
def run_in(request):
    return request.param


@pytest.fixture
def started(make, request):
    """A function that starts a device: in a thread and in a process in turn, for a test with `run_in`."""

    def started(*arguments, **options):
        if "run_in" in request.fixturenames:
            options["run_in"] = request.getfixturevalue("run_in")
        device = make(*arguments, **options)
        device.start()
        return device

    return started


@pytest.fixture
def peers(socket):
    """A function that connects a socket to each side of a device."""

    def peers(device, front, back, **options):
        made = socket(front, **options), socket(back, **options)
        for each, side in zip(made, ("front", "back"), strict=True):
            each.connect(device.endpoints[side][0])
        return made

    return peers


def numbers(pull, count):
    return [int(pull.recv().split()[0]) for _ in range(count)]


NARROW = {"rcvhwm": 2, "sndhwm": 2, "rcvbuf": 5000, "sndbuf": 5000}


def test_streamer(run_in, started, peers):
    device = started(zmqcy.STREAMER, ANY, ANY)
    push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
    push.send_multipart([b"a", b"bc"])
    assert pull.recv_multipart() == [b"a", b"bc"]
    device.stop()
    device.join()


def test_queue(run_in, started, peers):
    req, rep = peers(started(zmqcy.QUEUE, ANY, ANY), zmqcy.REQ, zmqcy.REP)
    for word in (b"one", b"two"):
        req.send(word)
        rep.send(rep.recv().upper())
        assert req.recv() == word.upper()


def publish_until_received(pub, sub, *topics):
    """Publish repeatedly, because a PUB does not report its subscribers. Return the first message that arrives."""
    deadline = time.monotonic() + LIMIT / 1000
    while time.monotonic() < deadline:
        for topic in topics:
            pub.send(topic)
        if sub.poll(20):
            return sub.recv()
    pytest.fail("nothing came")


@pytest.mark.parametrize(
    ("options", "first"), [({}, b"a"), ({"subscribe": b"b"}, b"b"), ({"subscribe": [b"c", "b"]}, b"b")]
)
def test_forwarder_takes_all_or_what_it_subscribes(started, peers, options, first):
    pub, sub = peers(started(zmqcy.FORWARDER, ANY, ANY, front_options=options), zmqcy.PUB, zmqcy.SUB)
    sub.subscribe(b"")
    assert publish_until_received(pub, sub, b"a", b"b") == first


def test_a_pair_of_types_that_passes_subscriptions(started, peers):
    pub, sub = peers(started((zmqcy.XSUB, zmqcy.XPUB), ANY, ANY), zmqcy.XPUB, zmqcy.SUB)
    sub.subscribe(b"topic")
    assert pub.recv() == b"\x01topic"
    pub.send(b"topic 1")
    assert sub.recv() == b"topic 1"


def test_several_endpoints_bound_and_connected(run_in, started, socket, tmp_path):
    source, sink = socket(zmqcy.PUSH), socket(zmqcy.PULL)
    source.bind(ANY)
    sink.bind(ANY)
    device = started(
        zmqcy.STREAMER,
        [f"@{ANY}", f"ipc://{tmp_path}/front", f">{source.last_endpoint}"],
        f">{sink.last_endpoint}",
    )
    assert device.endpoints["front"][1:] == (f"ipc://{tmp_path}/front", source.last_endpoint)
    assert device.endpoints["back"] == (sink.last_endpoint,)
    source.send(b"connected")
    assert sink.recv() == b"connected"
    for endpoint in device.endpoints["front"][:2]:
        push = socket(zmqcy.PUSH)
        push.connect(endpoint)
        push.send(endpoint.encode())
        assert sink.recv() == endpoint.encode()


def test_inproc_in_a_context_that_is_given(started, ctx, socket):
    device = started(zmqcy.STREAMER, "inproc://front", "inproc://back", context=ctx)
    push, pull = socket(zmqcy.PUSH), socket(zmqcy.PULL)
    push.connect("inproc://front")
    pull.connect("inproc://back")
    push.send(b"x")
    assert pull.recv() == b"x"
    device.stop()
    assert not ctx.closed
    assert {each.socket_type for each in ctx._open_sockets()} == {zmqcy.PUSH, zmqcy.PULL}


def test_capture(run_in, started, peers, socket):
    device = started(zmqcy.STREAMER, ANY, ANY, capture=ANY, capture_type=zmqcy.PUSH, capture_options={"sndhwm": 5})
    push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
    listener = socket(zmqcy.PULL)
    listener.connect(device.endpoints["capture"][0])
    push.send(b"x")
    assert pull.recv() == listener.recv() == b"x"


# ---- statistics


def test_statistics(run_in, started, peers):
    before = datetime.now(timezone.utc)
    device = started(zmqcy.QUEUE, ANY, ANY)
    req, rep = peers(device, zmqcy.DEALER, zmqcy.REP)
    for _ in range(3):
        req.send_multipart([b"", b"12345"])
        assert rep.recv() == b"12345"
        rep.send(b"1")
        assert req.recv_multipart() == [b"", b"1"]
    until(lambda: device.statistics().back_to_front.messages_out == 3)  # it is counted after it was sent
    numbers = device.statistics()
    assert numbers.state == "running"
    assert before <= numbers.since <= datetime.now(timezone.utc)
    assert numbers.front_to_back[:4] == (3, 3 * 10, 3, 3 * 10)  # with the five bytes of a ROUTER's routing id
    assert numbers.back_to_front[:4] == (3, 3 * 6, 3, 3 * 6)
    assert numbers.waits > 0
    device.stop()
    after = device.statistics()
    assert after.state == "ended"
    assert after[1:4] == numbers[1:4]


def test_statistics_of_the_way_back_alone(run_in, started, peers):
    push, pull = peers(device := started((zmqcy.PUSH, zmqcy.PULL), ANY, ANY), zmqcy.PULL, zmqcy.PUSH)
    pull.send(b"12345")
    assert push.recv() == b"12345"
    until(lambda: device.statistics().back_to_front.messages_out == 1)
    numbers = device.statistics()
    assert numbers.front_to_back == (0, 0, 0, 0, 0)
    assert numbers.back_to_front[:4] == (1, 5, 1, 5)


def test_a_message_in_hand_is_in_and_not_out(started, socket):
    device = started(zmqcy.STREAMER, ANY, ANY)
    push = socket(zmqcy.PUSH)
    push.connect(device.endpoints["front"][0])
    push.send(b"12345")
    until(lambda: device.statistics().front_to_back.full > 0)
    assert device.statistics().front_to_back[:4] == (1, 5, 0, 0)


# ---- pause and resume


@pytest.mark.slow
def test_pause_under_load(run_in, started, peers):
    """For a second the device is paused, and its high-water mark blocks the sender. Then no message is missing."""
    device = started(zmqcy.STREAMER, ANY, ANY, front_options=NARROW, back_options=NARROW)
    push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL, **NARROW)
    pause, sent, got = threading.Event(), [], []

    def send():
        for i in range(3000):
            push.send(b"%d " % i + b"x" * 5000)
            sent.append(i)

    def receive():
        got.extend(numbers(pull, 3000))

    threads = [threading.Thread(target=each) for each in (send, receive)]
    for thread in threads:
        thread.start()
    until(lambda: len(sent) > 300)
    device.pause()
    assert device.statistics().state == "paused"
    taken = device.statistics().front_to_back.messages_in
    previous = -1
    while previous != len(sent):  # until the sender is blocked
        previous = len(sent)
        pause.wait(0.3)
    assert len(sent) < 3000
    held = len(sent)
    pause.wait(1)
    assert len(sent) == held
    assert device.statistics().front_to_back.messages_in == taken
    device.pause()  # stays so
    device.resume()
    for thread in threads:
        thread.join()
    assert got == list(range(3000))
    assert device.statistics().state == "running"
    until(lambda: device.statistics().front_to_back.messages_out == 3000)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc")
def test_pause_under_load_takes_no_memory(make, socket):
    """Pause for five seconds under the maximum load of all senders, then resume."""
    device = make(zmqcy.STREAMER, ANY, ANY, front_options=NARROW, back_options=NARROW, run_in="process")
    device.start()
    pull = socket(zmqcy.PULL, **NARROW)
    pull.connect(device.endpoints["back"][0])
    done = threading.Event()
    block = b"x" * 100_000

    def send():
        push = socket(zmqcy.PUSH, **NARROW)
        push.connect(device.endpoints["front"][0])
        while not done.is_set():
            with suppress(zmqcy.TimedOut):
                push.send(block, timeout=50)

    def resident():
        with open(f"/proc/{device.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            pull.recv()
        device.pause()
        taken, before, largest = device.statistics().front_to_back.messages_in, resident(), 0
        until_then = time.monotonic() + 5
        while time.monotonic() < until_then:
            largest = max(largest, resident())
            done.wait(0.05)
        assert device.statistics().front_to_back.messages_in == taken
        assert largest - before < 8_000_000  # without a pause, three senders send hundreds of MB in that time
        device.resume()
        for _ in range(300):
            pull.recv()
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_pause_from_many_threads(run_in, started, peers):
    device = started(zmqcy.STREAMER, ANY, ANY)
    push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)

    def steer():
        for _ in range(50):
            device.pause()
            device.statistics()
            device.resume()

    threads = [threading.Thread(target=steer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(500):
        push.send(b"%d" % i)
    for thread in threads:
        thread.join()
    assert numbers(pull, 500) == list(range(500))


# ---- shutdown


@pytest.fixture
def near(started, ctx, socket):
    """A streamer over inproc, where messages arrive at once, blocked at each message; push and pull."""
    device = started(
        zmqcy.STREAMER, "inproc://front", "inproc://back",
        front_options={"rcvhwm": 1000}, back_options={"sndhwm": 1, "linger": LIMIT}, context=ctx,
    )  # fmt: skip
    push, pull = socket(zmqcy.PUSH), socket(zmqcy.PULL, rcvhwm=1)
    push.connect("inproc://front")
    pull.connect("inproc://back")
    return device, push, pull


@pytest.mark.parametrize("paused", [False, True])
def test_stop_with_drain_forwards_what_is_there(near, paused):
    device, push, pull = near
    if paused:
        device.pause()
    for i in range(500):
        push.send(b"%d" % i)
    stopper = threading.Thread(target=device.stop, args=[True])
    stopper.start()
    until(lambda: device.statistics().state == "draining")
    for call in (device.pause, device.resume):
        with pytest.raises(zmqcy.StateError, match="STREAMER: the device is draining"):
            call()
    assert numbers(pull, 500) == list(range(500))
    stopper.join()
    device.join()
    assert device.statistics().front_to_back[:1] == (500,)


def test_stop_with_drain_ends_when_the_time_is_up(near):
    device, push, _ = near
    for i in range(500):
        push.send(b"%d" % i)
    device.stop(drain=True, timeout=100)
    assert device.statistics().state == "ended"
    assert device.statistics().front_to_back.messages_out < 500


def test_stop_without_drain_drops_what_waits(near):
    device, push, pull = near
    for i in range(500):
        push.send(b"%d" % i)
    device.stop()
    out = device.statistics().front_to_back.messages_out
    assert out < 500
    assert numbers(pull, out) == list(range(out))
    assert pull.poll(100) == 0


def test_stop_twice_and_start_again(make, peers, run_in):
    device = make(zmqcy.STREAMER, ANY, ANY, run_in=run_in)
    for _ in range(3):
        device.start()
        push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
        push.send(b"x")
        assert pull.recv() == b"x"
        device.stop()
        device.stop()
        device.join()
        assert device.statistics().front_to_back.messages_out == 1


def test_with(peers):
    with Device(zmqcy.STREAMER, ANY, ANY) as device:
        push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
        push.send(b"x")
        assert pull.recv() == b"x"
    assert repr(device) == "<Device STREAMER, ended>"


def test_with_raises_what_went_wrong():
    context = zmqcy.Context()
    with (
        pytest.raises(zmqcy.ContextTerminated, match="device .*PULL.* and .*PUSH"),
        Device(zmqcy.STREAMER, "inproc://front", "inproc://back", context=context),
    ):
        context.shutdown()
    context.term(timeout=LIMIT)


def test_the_error_of_the_body_is_the_one_that_is_raised():
    context = zmqcy.Context()
    with (
        pytest.raises(KeyError),
        Device(zmqcy.STREAMER, "inproc://front", "inproc://back", context=context),
    ):
        context.shutdown()
        raise KeyError
    context.term(timeout=LIMIT)


def test_join_raises_again_and_again(started):
    context = zmqcy.Context()
    device = started(zmqcy.STREAMER, "inproc://front", "inproc://back", context=context)
    with pytest.raises(zmqcy.TimedOut, match="join STREAMER: timed out after 10 ms"):
        device.join(timeout=10)
    context.destroy()
    for _ in range(2):
        with pytest.raises(zmqcy.ContextTerminated):
            device.join()
    with pytest.raises(zmqcy.StateError, match="pause STREAMER: the device has ended"):
        device.pause()
    device.stop()


def test_run_in_the_calling_thread(make, peers):
    device = make(zmqcy.STREAMER, ANY, ANY)
    errors = []

    def use():
        try:
            until(lambda: "running" in repr(device))
            push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
            push.send(b"x")
            assert pull.recv() == b"x"
            device.pause()
            device.resume()
        except BaseException as error:
            errors.append(error)
        device.stop()

    thread = threading.Thread(target=use)
    thread.start()
    device.run()
    thread.join()
    assert errors == []
    assert device.statistics().front_to_back.messages_out == 1


def test_run_tells_when_it_is_ready(make):
    device = make(zmqcy.STREAMER, ANY, ANY)
    seen = []

    def ready():
        seen.append((device.statistics().state, device.endpoints["front"][0]))
        device.stop()

    device.run(ready)
    assert seen == [("running", device.endpoints["front"][0])]
    assert not seen[0][1].endswith("*")
    with pytest.raises(ZeroDivisionError):
        device.run(lambda: 1 / 0)
    assert device.statistics().state == "ended"


def test_signal_handlers_under_run(make):
    """Calls of a handler on the device that it interrupts."""
    device = make(zmqcy.STREAMER, ANY, ANY)
    texts = []

    def handler(*_):
        assert device.statistics().state == "running"
        for call in (device.pause, device.join):
            with pytest.raises(zmqcy.StateError) as caught:
                call()
            texts.append(str(caught.value))
        device.stop()

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        device.run()
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert texts == [f"{call} STREAMER: called in the thread that runs the device" for call in ("pause", "join")]
    device.join()


def test_a_signal_handler_within_a_call(run_in, started):
    """A handler that stops the device while the device's thread waits for its answer."""
    device = started(zmqcy.STREAMER, ANY, ANY)
    stopped = []

    def handler(*_):
        device.stop()
        stopped.append(True)

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(zmqcy.StateError, match="the device has ended"):
            while True:
                device.pause()
                device.resume()
    finally:
        signal.signal(signal.SIGALRM, previous)
    device.join(timeout=LIMIT)
    assert stopped == [True]


def test_a_forked_child_has_no_part_in_it(run_in, started):
    device = started(zmqcy.STREAMER, ANY, ANY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns about forks with threads
        child = os.fork()
    if child == 0:
        refused = 0
        try:
            for call in (device.start, device.run, device.pause, device.stop, device.join, device.statistics):
                try:
                    call()
                except zmqcy.ForkedError:
                    refused += 1
        finally:
            os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6
    assert device.statistics().state == "running"


def test_ctrl_c_ends_run(make):
    device = make(zmqcy.STREAMER, ANY, ANY)
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        device.run()
    timer.join()
    device.join()


def test_a_program_that_forgets_its_device_ends(run):
    code = """
    import zmqcy
    from zmqcy.devices import Device
    device = Device(zmqcy.STREAMER, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    device.start()
    print("started")
    """
    done = run(code)
    assert (done.stdout, done.stderr) == ("started\n", "")


# ---- devices in a process


def killed(pid):
    """Return whether a process is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_process_drains(make, peers):
    device = make(zmqcy.STREAMER, ANY, ANY, run_in="process")
    with device:
        push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
        for i in range(500):
            push.send(b"%d" % i)
        until(lambda: device.statistics().front_to_back.messages_in == 500)
        assert device.pid not in (None, os.getpid())
        device.stop(drain=True)
        assert numbers(pull, 500) == list(range(500))
    assert device.statistics().state == "ended"
    assert device.statistics().front_to_back.messages_out == 500
    assert killed(device.pid)


def test_a_killed_device_is_started_again_between_live_peers(make, socket):
    """The worker has received each acknowledged message, and all arrive in the end."""
    worker_done = threading.Event()
    handled, acknowledged, total = [], [], 300
    first = make(zmqcy.QUEUE, ANY, ANY)
    first.start()
    endpoints = first.endpoints
    first.stop()
    device = make(zmqcy.QUEUE, endpoints["front"], endpoints["back"], run_in="process")
    device.start()
    rep = socket(zmqcy.REP)
    req = socket(zmqcy.REQ, req_relaxed=True, req_correlate=True, reconnect_ivl=10)
    rep.reconnect_ivl = 10
    rep.connect(endpoints["back"][0])
    req.connect(endpoints["front"][0])

    def work():
        while not worker_done.is_set():
            if rep.poll(50):
                request = rep.recv()
                handled.append(request)
                rep.send(request)

    def ask():
        for i in range(total):
            word = b"%d" % i
            while True:
                req.send(word)
                if req.poll(200):  # the request or its answer was lost with the device: ask again
                    assert req.recv() == word
                    break
            acknowledged.append(word)

    worker, client = threading.Thread(target=work), threading.Thread(target=ask)
    worker.start()
    client.start()
    for count in (50, 150):
        until(lambda count=count: len(acknowledged) >= count)
        os.kill(device.pid, signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="^the process of the device was killed by SIGKILL$"):
            device.join(timeout=LIMIT)
        assert device.statistics().state == "ended"
        assert set(acknowledged) <= set(handled)
        device.start()
    client.join()
    worker_done.set()
    worker.join()
    assert acknowledged == [b"%d" % i for i in range(total)]
    assert set(acknowledged) <= set(handled)


def test_sigterm_ends_a_process_with_its_linger_kept(started, socket):
    device = started(zmqcy.STREAMER, ANY, f">{free_endpoint(socket)}", run_in="process")
    push, pull = socket(zmqcy.PUSH), socket(zmqcy.PULL)
    push.connect(device.endpoints["front"][0])
    for i in range(10):
        push.send(b"%d" % i)
    until(lambda: device.statistics().front_to_back.messages_out == 10)
    os.kill(device.pid, signal.SIGTERM)
    pull.bind(device.endpoints["back"][0])
    assert numbers(pull, 10) == list(range(10))
    with pytest.raises(ChildProcessError, match="ended with exit code 143"):
        device.join(timeout=LIMIT)


def free_endpoint(socket):
    with socket(zmqcy.PULL) as taken:
        taken.bind(ANY)
        return taken.last_endpoint


PARENT = """
import os, signal, sys, zmqcy
from zmqcy.devices import Device
if __name__ == "__main__":
    device = Device(zmqcy.STREAMER, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", run_in="process")
    device.start()
    print(device.pid, flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["returns", "killed"])
def test_a_process_ends_with_its_parent(run, end):
    done = run(PARENT, end, check=False)
    assert done.stderr == ""
    until(lambda: killed(int(done.stdout)))


def test_a_child_of_the_parent_does_not_keep_the_process_alive():
    """A forked child has the pipe open, so the end of the parent does not close it."""
    code = PARENT + "    if os.fork():\n        os._exit(0)\n    os.close(1)\n    sys.stdin.read()\n"
    command = [sys.executable, "-W", "ignore", "-c", code, "forks"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        until(lambda: killed(pid))  # while the child still waits
        parent.stdin.close()


def test_ctrl_c_in_the_terminal_is_for_the_parent(started, peers):
    device = started(zmqcy.STREAMER, ANY, ANY, run_in="process")
    push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
    os.kill(device.pid, signal.SIGINT)
    for i in range(100):
        push.send(b"%d" % i)
    assert numbers(pull, 100) == list(range(100))


def test_a_main_module_without_its_guard(tmp_path):
    (tmp_path / "main.py").write_text(PARENT.replace('if __name__ == "__main__"', "if True"))
    done = subprocess.run([sys.executable, tmp_path / "main.py", "returns"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.endswith("ChildProcessError: the process of the device ended with exit code 1\n")


# ---- chains of forwarders


@pytest.fixture
def chain(socket):
    """A function that starts two devices in a row. It returns the publisher, and the endpoint for subscribers."""
    with ExitStack() as running:

        def start(options):
            origin = socket(zmqcy.XPUB, xpub_verboser=True)
            origin.bind(ANY)
            place = origin.last_endpoint
            for _ in range(2):
                device = Device(
                    (zmqcy.XSUB, zmqcy.XPUB), f">{place}", ANY, front_options={"linger": 0},
                    back_options={"linger": 0, **dict.fromkeys(options, True)},
                )  # fmt: skip
                place = running.enter_context(device).endpoints["back"][0]
            return origin, place

        yield start


@pytest.mark.parametrize(
    ("options", "passed_on"),
    [
        ([], [b"\1x", b"\0x"]),
        (["xpub_verbose"], [b"\1x", b"\1x"]),
        (["xpub_verboser"], [b"\1x", b"\1x"]),
    ],
    ids=["by default", "verbose", "verboser"],
)
def test_what_a_chain_passes_on_of_subscriptions(chain, socket, options, passed_on):
    """As docs/devices.md explains, a verbose XPUB in a chain keeps subscriptions indefinitely."""
    origin, place = chain(options)
    seen = []

    def until_seen(word):
        while word not in seen:
            seen.append(origin.recv())

    first, second = (socket(zmqcy.SUB) for _ in range(2))
    for subscriber in (first, second):
        subscriber.connect(place)
    for subscriber, mark in ((first, b"first"), (second, b"second")):
        subscriber.subscribe("x")
        subscriber.subscribe(mark)
        until_seen(b"\1" + mark)
    for subscriber, mark in ((first, b"first"), (second, b"second")):
        subscriber.unsubscribe("x")
        subscriber.unsubscribe(mark)
        until_seen(b"\0" + mark)
    assert [word for word in seen if word.endswith(b"x")] == passed_on


def test_a_probe_tells_that_subscriptions_have_arrived(chain, socket):
    origin, place = chain([])
    for i in range(20):
        subscriber = socket(zmqcy.SUB)
        subscriber.connect(place)
        topic = b"probe.%d" % i
        subscriber.subscribe("news.")
        subscriber.subscribe(topic)
        while origin.recv() != b"\1" + topic:
            pass
        origin.send(topic)
        assert subscriber.recv() == topic
        origin.send_multipart([b"news.", topic])
        assert subscriber.recv_multipart() == [b"news.", topic]
        subscriber.close()


# ---- rejected configurations


@pytest.mark.parametrize("side", ["front", "back", "capture"])
def test_an_endpoint_in_use_is_named_with_its_side(make, socket, side, run_in):
    taken = socket(zmqcy.REP)
    taken.bind(ANY)
    endpoints = {"front": ANY, "back": ANY, "capture": ANY, side: [ANY, taken.last_endpoint]}
    device = make(zmqcy.STREAMER, **endpoints, run_in=run_in)
    with pytest.raises(zmqcy.ZMQError, match=f"^{side}: bind {taken.last_endpoint} .*in use$") as caught:
        device.start()
    assert caught.value.errno == zmqcy.Errno.EADDRINUSE
    assert repr(device) == "<Device STREAMER, not started>"
    taken.unbind(taken.last_endpoint)
    until(lambda: starts(device))


def starts(device):
    """Start when the port is free, which libzmq does not report."""
    try:
        device.start()
    except zmqcy.ZMQError:
        return False
    return True


@rows(
    ("arguments", "error", "text"),
    [
        ({"front": "tpc://x:1"}, zmqcy.ZMQError, "front: bind tpc://x:1 .*not supported"),
        ({"back": ">tcp://x"}, zmqcy.InvalidArgument, "back: connect tcp://x "),
        ({"front_options": {"rcvhwm": -5}}, zmqcy.InvalidArgument, "front: .*rcvhwm=-5"),
        ({"back_options": {"rcvhwm": "1"}}, TypeError, "back: .*rcvhwm"),
        ({"io_threads": -1}, zmqcy.InvalidArgument, "io_threads"),
    ],
)
def test_what_start_and_run_refuse(make, arguments, error, text, run_in):
    for call in ("start", "run"):
        device = make(**{"kind": zmqcy.STREAMER, "front": ANY, "back": ANY, "run_in": run_in, **arguments})
        with pytest.raises(error, match=text) as caught:
            getattr(device, call)()
        assert "\n" not in str(caught.value)


@rows(
    ("arguments", "error", "text"),
    [
        ({"kind": 4}, ValueError, "kind must be STREAMER, .*, not 4"),
        ({"kind": "QUEUE"}, TypeError, "kind must be .*, not 'QUEUE'"),
        ({"kind": (zmqcy.PULL,)}, ValueError, "two socket types"),
        ({"kind": (zmqcy.PUSH, zmqcy.PUB)}, ValueError, "no message can pass between PUSH and PUB"),
        ({"kind": (zmqcy.REQ, zmqcy.REP)}, ValueError, "a REQ socket, .*; use ROUTER .*, and DEALER"),
        ({"kind": (zmqcy.ROUTER, zmqcy.REP)}, ValueError, "a REP socket, which sends and receives in turn"),
        ({"kind": (zmqcy.DGRAM, zmqcy.DEALER)}, ValueError, "a device cannot forward a DGRAM socket"),
        ({"kind": (zmqcy.PULL, 99)}, ValueError, "99 is not a valid SocketType"),
        ({"front": 5}, TypeError, "front must be an endpoint or a sequence of endpoints, not 5"),
        ({"front": [ANY, None]}, TypeError, "front must be an endpoint"),
        ({"back": []}, ValueError, "back has no endpoint"),
        ({"back": ["@"]}, ValueError, "back: '@' is not an endpoint"),
        ({"back": ""}, ValueError, "back: '' is not an endpoint"),
        ({"front_options": {"rcvhwn": 1}}, ValueError, "front_options: unknown option 'rcvhwn'"),
        ({"front_options": 5}, TypeError, "front_options must be a dict, not int"),
        ({"front_options": {"subscribe": b""}}, ValueError, "a PULL socket cannot subscribe"),
        ({"capture": ANY, "capture_type": zmqcy.PULL}, ValueError, "capture_type must be one of PAIR, PUB, DEALER"),
        ({"capture_options": {}}, ValueError, "capture_options requires capture"),
        ({"io_threads": "1"}, TypeError, "io_threads must be an int, not '1'"),
        ({"run_in": "fork"}, ValueError, "run_in must be 'thread' or 'process', not 'fork'"),
        ({"run_in": "process", "context": zmqcy.Context()}, ValueError, "context cannot be used with run_in='process'"),
        (
            {"context": zmqcy.asyncio.Context()},
            TypeError,
            "context must be a zmqcy.Context, not <zmqcy.asyncio.Context",
        ),
        ({"context": 1}, TypeError, "context must be a zmqcy.Context, not 1"),
        ({"filter": 1}, TypeError, "filter must be a function, a Hook or a str, not 1"),
        ({"filter": "module"}, ValueError, "filter must be 'module:function', not 'module'"),
        (
            {"filter": print, "run_in": "process"},
            ValueError,
            "in a process the filter must be 'module:function', not <b",
        ),
    ],
)
def test_what_a_device_refuses(arguments, error, text):
    with pytest.raises(error, match=f"^Device: .*{text}"):
        Device(**{"kind": zmqcy.STREAMER, "front": ANY, "back": ANY, **arguments})


def test_a_device_beside_greenlets(run):
    """With gevent's monkey patch it forwards in a system thread, and greenlets run meanwhile."""
    pytest.importorskip("gevent")
    done = run("""
        from gevent import monkey

        monkey.patch_all()
        import os

        import gevent

        import zmqcy
        from zmqcy.devices import Device

        ANY = "tcp://127.0.0.1:*"
        ticks = 0

        def tick():
            global ticks
            while True:
                ticks += 1
                gevent.sleep(0.001)

        ticker = gevent.spawn(tick)
        for _ in range(3):
            with Device(zmqcy.STREAMER, ANY, ANY) as device, zmqcy.Context(linger=0) as context:
                push = context.socket(zmqcy.PUSH, sndtimeo=10_000)
                pull = context.socket(zmqcy.PULL, rcvtimeo=10_000)
                push.connect(device.endpoints["front"][0])
                pull.connect(device.endpoints["back"][0])
                push.send(b"x")
                assert pull.recv() == b"x"
                device.pause()
                device.resume()
                assert device.statistics().front_to_back.messages_in == 1
                before = ticks
                while ticks < before + 10:
                    try:
                        device.join(10)
                    except zmqcy.TimedOut:
                        pass
                push.close()
                pull.close()
            assert device.statistics().state == "ended"
            opened = len(os.listdir("/proc/self/fd")) if _ == 0 else opened
        assert len(os.listdir("/proc/self/fd")) <= opened
        for options in ({"run_in": "process"}, {"watch": True}):
            for call in ("start", "run") if "watch" in options else ("start",):
                try:
                    getattr(Device(zmqcy.STREAMER, ANY, ANY, **options), call)()
                except zmqcy.NotSupported as error:
                    print(error)
    """)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.search(
            "gevent.monkey has replaced threads by greenlets, but (run_in='process'|watch=True) .*patch_all", line
        )
    assert done.stderr == ""


@rows("call", ["pause", "resume", "stop", "join", "statistics"])
def test_calls_before_start(call):
    device = Device(zmqcy.QUEUE, ANY, ANY)
    with pytest.raises(zmqcy.StateError, match=f"^{call} QUEUE: the device was not started$"):
        getattr(device, call)()
    with pytest.raises(zmqcy.StateError, match=r"^endpoints QUEUE: the device was not started$"):
        print(device.endpoints)


@pytest.mark.parametrize("call", ["start", "run"])
def test_what_runs_is_not_started_again(run_in, started, call):
    device = started(zmqcy.QUEUE, ANY, ANY)
    with pytest.raises(zmqcy.StateError, match=f"^{call} QUEUE: the device is already running$"):
        getattr(device, call)()


def test_calls_after_the_end(run_in, started):
    device = started((zmqcy.ROUTER, zmqcy.DEALER), ANY, ANY)
    device.stop()
    for call in ("pause", "resume"):
        with pytest.raises(zmqcy.StateError, match=f"^{call} ROUTER to DEALER: the device has ended$"):
            getattr(device, call)()
    device.stop(drain=True)
    assert device.endpoints["front"][0].startswith("tcp://")
    with pytest.raises(TypeError, match="join"):
        device.join("1")


# ---- filters

FILTERS = """
class Strange(Exception):
    def __init__(self, a, b):  # so that it is pickled, and cannot be made again
        super().__init__(a)

def shout(direction, messages):
    if messages == [[b"fail"]]:
        raise LookupError("no")
    if messages == [[b"strange"]]:
        raise Strange("odd", 1)
    return [[part.upper() for part in parts] for parts in messages if parts != [b"drop"]]

constant = 5
"""


@pytest.fixture
def filters(tmp_path, monkeypatch):
    """A module of filters, which a process can import too."""
    (tmp_path / "filters.py").write_text(FILTERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("filters", None)


def test_a_filter(run_in, started, peers, filters):
    device = started(zmqcy.STREAMER, ANY, ANY, filter="filters:shout")
    push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
    for word in (b"one", b"drop", b"two"):
        push.send(word)
    assert [pull.recv(), pull.recv()] == [b"ONE", b"TWO"]
    until(lambda: device.statistics().front_to_back[:4] == (3, 10, 2, 6))
    device.pause()
    push.send(b"three")
    assert not pull.poll(100)
    device.resume()
    assert pull.recv() == b"THREE"
    push.send(b"fail")
    with pytest.raises(LookupError, match="^'?no'?$"):
        device.join(LIMIT)


def test_an_exception_of_a_filter_that_cannot_be_sent(run_in, started, peers, filters):
    device = started(zmqcy.STREAMER, ANY, ANY, filter="filters:shout")
    push, _ = peers(device, zmqcy.PUSH, zmqcy.PULL)
    push.send(b"strange")
    with pytest.raises(Exception, match="odd") as caught:
        device.join(LIMIT)
    if run_in == "process":
        assert str(caught.value) == "Strange: odd"
    else:
        assert type(caught.value).__name__ == "Strange"


def test_a_function_as_a_filter(started, peers):
    device = started(zmqcy.STREAMER, ANY, ANY, filter=lambda direction, messages: [[direction.encode()]] * 2)
    push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
    push.send(b"x")
    assert [pull.recv(), pull.recv()] == [b"front_to_back"] * 2


@rows(
    ("path", "error", "text"),
    [
        ("nowhere:f", ImportError, "device: filter='nowhere:f': No module named 'nowhere'"),
        ("filters:f", ImportError, "device: filter='filters:f': module 'filters' has no attribute 'f'"),
        ("filters:constant", TypeError, "device: filter='filters:constant' must be a function or a Hook, not 5"),
    ],
)
def test_a_filter_that_is_not_there(run_in, make, filters, path, error, text):
    device = make(zmqcy.STREAMER, ANY, ANY, filter=path, run_in=run_in)
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        device.start()


# ---- connections and events


def names(device, side):
    return [each.event.name for each in device.events() if each.side == side]


def test_what_happens_to_connections(run_in, started, socket, peers):
    upstream = socket(zmqcy.ROUTER)
    device = started(zmqcy.QUEUE, ANY, f">{upstream.bind(ANY).endpoint}", watch=True)
    assert device.peers().keys() == {"front", "back"}
    until(lambda: device.peers() == {"front": 0, "back": 1})
    first, second = (socket(zmqcy.REQ) for _ in range(2))
    for each, count in ((first, 1), (second, 2)):
        each.connect(device.endpoints["front"][0])
        until(lambda count=count: device.peers() == {"front": count, "back": 1})
    first.close(0)
    until(lambda: device.peers() == {"front": 1, "back": 1})
    upstream.close(0)
    until(lambda: device.peers() == {"front": 1, "back": 0})
    assert names(device, "front")[0] == "LISTENING"
    assert {"CONNECTED", "HANDSHAKE_SUCCEEDED", "DISCONNECTED"} <= set(names(device, "back"))
    accepted = [each for each in device.events() if each.event.event == zmqcy.Event.ACCEPTED]
    assert [each.event.endpoint for each in accepted] == [*device.endpoints["front"]] * 2
    assert device.statistics().since <= accepted[0].time <= accepted[1].time <= datetime.now(timezone.utc)
    device.stop()
    assert device.peers() == {"front": 0, "back": 0}
    assert names(device, "front")[-1] == "MONITOR_STOPPED"


def test_peer_addresses(run_in, started, socket, tmp_path):
    upstream = socket(zmqcy.ROUTER)
    address = upstream.bind(ANY).endpoint.partition("//")[2]
    path = f"ipc://{tmp_path}/front"
    device = started(zmqcy.QUEUE, [ANY, path], f">tcp://{address}", watch=True)
    with sockets.create_connection(("127.0.0.1", device.endpoints["front"][0].rpartition(":")[2])) as tcp:
        own = f"127.0.0.1:{tcp.getsockname()[1]}"
        until(lambda: device.peer_addresses() == {"front": [own], "back": [address]})
        req = socket(zmqcy.REQ)
        req.connect(path)
        until(lambda: device.peer_addresses()["front"] == [own, path])
    until(lambda: device.peer_addresses()["front"] == [path])
    device.stop()
    assert device.peer_addresses() == {"front": [], "back": []}


def test_the_last_events_are_kept(run_in, started, tmp_path):
    nobody = f"ipc://{tmp_path}/nobody"
    device = started(zmqcy.STREAMER, ANY, f">{nobody}", back_options={"reconnect_ivl": 1}, watch=True)
    until(lambda: len(device.events()) == 100)
    before = device.events()
    until(lambda: before[-1] not in device.events())
    assert len(device.events()) == 100
    assert {each.event.endpoint for each in device.events()} == {nobody}


def test_capture_has_peers_too(started, socket):
    device = started(zmqcy.STREAMER, ANY, ANY, capture=ANY, watch=True)
    sub = socket(zmqcy.SUB)
    sub.connect(device.endpoints["capture"][0])
    until(lambda: device.peers() == {"front": 0, "back": 0, "capture": 1})


def test_a_record_ends_with_the_context_and_begins_anew(make):
    context = zmqcy.Context()
    device = make(zmqcy.QUEUE, ANY, ANY, context=context, watch=True)
    device.start()
    peer = zmqcy.Context()
    req = peer.socket(zmqcy.REQ, linger=0)
    req.connect(device.endpoints["front"][0])
    until(lambda: device.peers() == {"front": 1, "back": 0})
    context.term()
    with pytest.raises(zmqcy.ContextTerminated):
        device.join(LIMIT)
    assert device.peers() == {"front": 0, "back": 0}
    req.close()
    peer.term()
    assert [each for each in threading.enumerate() if each.name == "zmqcy device events"] == []
    other = make(zmqcy.QUEUE, ANY, ANY, watch=True)
    for _ in range(2):
        other.start()
        until(lambda: names(other, "front") == ["LISTENING"])
        other.stop()


def test_a_watched_device_that_cannot_bind_leaves_nothing(make, socket):
    holder = socket(zmqcy.PULL)
    taken = holder.bind(ANY).endpoint
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        with pytest.raises(zmqcy.ZMQError, match="back: bind"):
            make(zmqcy.QUEUE, ANY, taken, watch=True).start()
    until(lambda: len(os.listdir("/dev/fd")) <= before + 2)


def test_without_watch_there_is_no_record(run_in, started):
    device = started(zmqcy.QUEUE, ANY, ANY)
    for call in (device.events, device.peers, device.peer_addresses):
        with pytest.raises(zmqcy.StateError, match="connections are not recorded: create the device with watch=True"):
            call()
    device.stop()
    with pytest.raises(zmqcy.StateError, match="watch=True"):
        device.events()


def test_a_program_that_forgets_a_watched_device_ends(run):
    done = run(f"""
        import zmqcy
        from zmqcy.devices import Device
        device = Device(zmqcy.QUEUE, "{ANY}", "{ANY}", watch=True)
        device.start()
        print(device.peers())
    """)
    assert done.stdout + done.stderr == "{'front': 0, 'back': 0}\n"


@pytest.fixture
def config(tmp_path):
    """A function that writes a file, and creates a device from it."""

    def config(text):
        path = tmp_path / "device.toml"
        path.write_text(text)
        return Device.from_config(path)

    pytest.importorskip("zmqcy.devices.config", reason="the extra [toml] is not installed")
    return config


@pytest.mark.parametrize("where", ["", 'run_in = "process"'])
def test_a_device_from_a_file(config, peers, socket, where):
    device = config(f"""
        kind = "QUEUE"
        io_threads = 2
        watch = true
        {where}
        [front]
        endpoints = ["{ANY}", "@{ANY}"]
        options = {{rcvhwm = 10, linger = 0, spin = 1.5, routing_id = "me", ipv6 = false}}
        [back]
        endpoints = "{ANY}"
        [capture]
        type = "PUSH"
        endpoints = "{ANY}"
        [capture.options]
        sndhwm = 5
        """)
    with device:
        assert (device.pid is None) == (not where)
        assert len(device.endpoints["front"]) == 2
        req, rep = peers(device, zmqcy.REQ, zmqcy.REP)
        listener = socket(zmqcy.PULL)
        listener.connect(device.endpoints["capture"][0])
        req.send(b"x")
        rep.send(rep.recv() + b"y")
        assert req.recv() == b"xy"
        assert listener.recv_multipart()[-1] == b"x"


@pytest.mark.parametrize("where", ["thread", "process"])
def test_a_filter_from_a_file(config, peers, filters, where):
    text = f'kind = "STREAMER"\nfilter = "filters:shout"\nrun_in = "{where}"\n' + FRONT + BACK
    with config(text) as device:
        push, pull = peers(device, zmqcy.PUSH, zmqcy.PULL)
        push.send(b"x")
        assert pull.recv() == b"X"


def test_a_pair_of_types_and_topics_from_a_file(config, peers):
    device = config(f"""
        kind = ["SUB", "XPUB"]
        front = {{endpoints = "{ANY}", options = {{subscribe = ["b", "c"]}}}}
        back = {{endpoints = "{ANY}"}}
        """)
    with device:
        pub, sub = peers(device, zmqcy.PUB, zmqcy.SUB)
        sub.subscribe(b"")
        assert publish_until_received(pub, sub, b"a", b"b") == b"b"


FRONT, BACK = f'front = {{endpoints = "{ANY}"}}\n', f'back = {{endpoints = "{ANY}"}}\n'
QUEUE = 'kind = "QUEUE"\n'


@rows(
    ("text", "error", "words"),
    [
        ("kind =", ValueError, "Invalid value"),
        (FRONT + BACK, ValueError, "kind is missing"),
        (QUEUE + BACK, ValueError, "front is missing"),
        (QUEUE + BACK + "front = {}", ValueError, "front.endpoints is missing"),
        (QUEUE + BACK + FRONT + "capture = {}", ValueError, "capture.endpoints is missing"),
        (QUEUE + BACK + "front = 5", TypeError, "front must be a table, not int"),
        (
            QUEUE + BACK + "front = {endpoint = 'x'}",
            ValueError,
            "unknown key front.endpoint. Known keys: front.endpoints, front.opt",
        ),
        (QUEUE + BACK + "front = {endpoints = 5}", TypeError, "front.endpoints must be an endpoint or a sequence"),
        (QUEUE + BACK + "front = {endpoints = 'tcp:'}", ValueError, "front.endpoints: 'tcp:' is not an endpoint"),
        (
            QUEUE + FRONT + BACK + "size = 5",
            ValueError,
            "unknown key size. Known keys: kind, front, back, capture, run_in, io_thr",
        ),
        (QUEUE + FRONT + BACK + "run_in = 'fork'", ValueError, "run_in must be 'thread' or 'process', not 'fork'"),
        (QUEUE + FRONT + BACK + "filter = 2", TypeError, "filter must be a function, a Hook or a str, not 2"),
        (QUEUE + FRONT + BACK + "io_threads = '2'", TypeError, "io_threads must be an int, not '2'"),
        (QUEUE + FRONT + BACK + "watch = 1", TypeError, "watch must be true or false, not 1"),
        ("kind = 'QUEU'\n" + FRONT + BACK, ValueError, "kind must be one of STREAMER, .* socket types .*, not 'QUEU'"),
        ("kind = ['PULL', 'PUSCH']\n" + FRONT + BACK, ValueError, r"kind must be one of .* types \(PAIR, .*'PUSCH'"),
        ("kind = 3\n" + FRONT + BACK, TypeError, "kind must be one of .*not 3"),
        (QUEUE + FRONT + BACK + f"capture = {{endpoints = '{ANY}', type = 'X'}}", ValueError, "capture.type .*not 'X'"),
        (QUEUE + FRONT + BACK + f"capture = {{endpoints = '{ANY}', type = 'SUB'}}", ValueError, "capture.type .*PUB"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(config, text, error, words):
    with pytest.raises(error, match=f"^/.*device.toml: .*{words}"):
        config(text)


@rows(
    ("option", "error", "words"),
    [
        ("rcvhwn = 1", ValueError, ": unknown option 'rcvhwn'"),
        ("subscribe = 'x'", ValueError, ": a ROUTER socket cannot subscribe"),
        ("rcvhwm = '1'", TypeError, r"\.rcvhwm must be an integer, not '1'"),
        ("rcvhwm = true", TypeError, r"\.rcvhwm must be an integer, not True"),
        ("ipv6 = 1", TypeError, r"\.ipv6 must be true or false, not 1"),
        ("linger = '1s'", TypeError, r"\.linger must be a number, not '1s'"),
        ("identity = 1", TypeError, r"\.identity must be a string, not 1"),
        ("curve_publickey = 1", TypeError, r"\.curve_publickey must be a string of 40 characters, not 1"),
    ],
)
def test_options_that_are_wrong_in_a_file_are_named(config, option, error, words):
    with pytest.raises(error, match=f"^/.*device.toml: front.options{words}"):
        config(QUEUE + BACK + f'front = {{endpoints = "{ANY}", options = {{{option}}}}}')


def test_the_examples_of_the_guide(config, run):
    guide = (ROOT / "docs" / "guide.md").read_text()
    [program] = re.findall(r"```python\n(from zmqcy.devices .*?)```", guide, re.S)
    assert run("import zmqcy\n" + program).stdout == "0\n"
    [program] = re.findall(r"```python\n(def shout.*?)```", guide, re.S)
    run("import zmqcy\nfrom zmqcy.devices import Device\n" + program)
    [text] = re.findall(r"```toml\n(.*?)```", guide, re.S)
    assert repr(config(text)) == "<Device FORWARDER, not started>"


def test_a_file_that_is_not_there(config, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.toml"):
        Device.from_config(tmp_path / "none.toml")


def test_without_a_reader_of_toml(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    monkeypatch.delitem(sys.modules, "zmqcy.devices.config", raising=False)
    monkeypatch.delattr(zmqcy.devices, "config", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"requires msgspec, .*: pip install 'zmqcy\[toml\]'"):
        Device.from_config(tmp_path / "any.toml")


@pytest.mark.parametrize("run_in", ["thread", "process"])
def test_a_device_is_made_once(run_in):
    with Device(zmqcy.QUEUE, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", run_in=run_in) as device:
        with pytest.raises(RuntimeError, match="^Device: already initialised$"):
            device.__init__(zmqcy.STREAMER, "inproc://in", "inproc://out")
        assert device.statistics().state == "running"


# ------------------------------------------------------------------------------------------------------- authentication


def test_the_authenticator_of_a_device(started, run_in, socket):
    """The authenticator runs with the device, also in its process. A side with a domain needs it to bind."""
    options = {"front_options": {"zap_domain": "d"}}
    with pytest.raises(zmqcy.StateError, match="front: bind .*no Authenticator is running"):
        started((zmqcy.PULL, zmqcy.PUSH), ANY, ANY, **options)
    rules = {"null": True, "deny": ["127.0.0.2"]}
    device = started((zmqcy.PULL, zmqcy.PUSH), ANY, ANY, **options, authentication=rules)
    pull = socket(zmqcy.PULL)
    pull.connect(device.endpoints["back"][0])
    for source, event in (("127.0.0.2", "DISCONNECTED"), ("127.0.0.1", "HANDSHAKE_SUCCEEDED")):
        push = socket(zmqcy.PUSH, reconnect_ivl=-1)
        with push.watch(zmqcy.Event.HANDSHAKE_SUCCEEDED | zmqcy.Event.DISCONNECTED) as events:
            push.connect(device.endpoints["front"][0].replace("tcp://", f"tcp://{source}:0;"))
            assert events.recv(LIMIT).name == event
    push.send(b"x")
    assert pull.recv() == b"x"


@pytest.mark.parametrize(
    "rules, error, text",
    [
        (7, TypeError, "Device: authentication must be a dict, not int"),
        ({"allow": "me"}, ValueError, "Device: authentication: Policy: allow: 'me' does not appear"),
        ({"word": {"a": "hunter2"}}, TypeError, "Device: authentication: .*'word'"),
        ({"plain": ["hunter2"]}, TypeError, "Device: authentication: .*must be a mapping"),
        ({"domains": {"d": {"plain": {"a": "hunter2"}}}}, TypeError, "domains must map str to Policy"),
    ],
)
def test_what_is_no_authentication(rules, error, text):
    with pytest.raises(error, match=text) as caught:
        Device((zmqcy.PULL, zmqcy.PUSH), ANY, ANY, authentication=rules)
    assert "hunter2" not in str(caught.value)


def test_a_configuration_with_a_secret_is_for_its_owner(tmp_path):
    pytest.importorskip("zmqcy.devices.config", reason="the extra [toml] is not installed")
    path = tmp_path / "device.toml"
    for secret in (
        "[front.options]\nplain_password = 'hunter2'",
        "[front.options]\ncurve_secretkey = 12345678",
        "[authentication.plain]\nfriend = 'hunter2'",
    ):
        path.write_text(f"kind = 'QUEUE'\nfront.endpoints = '{ANY}'\nback.endpoints = '{ANY}'\n{secret}\n")
        path.chmod(0o644)
        with pytest.raises(
            PermissionError, match=r"other users can open \w+ of this file \(mode 0644\): chmod 600"
        ) as caught:
            Device.from_config(path)
        assert caught.value.filename == str(path)
        path.chmod(0o600)
        if "12345678" in secret:
            with pytest.raises(TypeError, match=r"curve_secretkey must be a string of 40 characters, not int$"):
                Device.from_config(path)
        else:
            Device.from_config(path)
