"""Spinning before sleeping: results do not change, spin=0 disables it, and an idle thread uses no CPU."""

import itertools
import signal
import threading
import time

import pytest

import zmqcy


def test_the_default_and_who_overrides_it():
    with zmqcy.Context() as context:
        assert context.spin > 0
        assert context.socket(zmqcy.PULL).spin == context.spin
        assert context.socket(zmqcy.PULL, spin=7).spin == 7
        context.spin = 0
        assert context.socket(zmqcy.PULL).spin == 0
    with zmqcy.Context(spin=12.5) as context:
        assert context.socket(zmqcy.PULL).spin == 12.5


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (float("nan"), ValueError), (2e6, ValueError), ("x", TypeError)]
)
def test_what_is_no_spin(socket, ctx, value, error):
    for each in (socket(zmqcy.PULL), ctx):
        with pytest.raises(error, match=f"spin: .*{value}"):
            each.spin = value
        assert each.spin == 100


@pytest.mark.parametrize("spin", [0, 50, 100_000])
def test_round_trips(pair, spin):
    rep, req = pair(zmqcy.REP, zmqcy.REQ, {"spin": spin}, {"spin": spin})
    total = 300

    def answer():
        for _ in range(total):
            rep.send(rep.recv())

    thread = threading.Thread(target=answer)
    thread.start()
    for i in range(total):
        req.send(b"%d" % i)
        assert req.recv() == b"%d" % i
    thread.join()


@pytest.mark.parametrize("spin", [0, 50, 100_000])
def test_timeouts(socket, spin):
    pull = socket(zmqcy.PULL, spin=spin)
    start = time.monotonic()
    with pytest.raises(zmqcy.TimedOut):
        pull.recv(timeout=60)
    assert pull.poll(60) == 0
    assert time.monotonic() - start >= 0.12


@pytest.mark.parametrize("spin", [0, 50, 100_000])
def test_round_trips_of_a_poller(pair, spin):
    rep, req = pair(zmqcy.REP, zmqcy.REQ, {"spin": spin}, {"spin": spin})
    poller = zmqcy.Poller()
    poller.register(req, zmqcy.POLLIN)
    total = 300

    def answer():
        waiting = zmqcy.Poller()
        waiting.register(rep, zmqcy.POLLIN)
        for _ in range(total):
            assert waiting.poll(10_000) == [(rep, zmqcy.POLLIN)]
            rep.send(rep.recv())

    thread = threading.Thread(target=answer)
    thread.start()
    for i in range(total):
        req.send(b"%d" % i)
        assert poller.poll(10_000) == [(req, zmqcy.POLLIN)]
        assert req.recv() == b"%d" % i
    thread.join()


@pytest.mark.parametrize("spin", [0, 50, 100_000])
def test_round_trips_through_a_device(ctx, socket, spin):
    front, back = socket(zmqcy.ROUTER, spin=spin), socket(zmqcy.DEALER, spin=spin)
    rep, req = socket(zmqcy.REP, spin=spin), socket(zmqcy.REQ, spin=spin)
    for bound, peer in ((front, req), (back, rep)):
        bound.bind("tcp://127.0.0.1:*")
        peer.connect(bound.last_endpoint)

    def forward():
        with pytest.raises(zmqcy.ContextTerminated):
            zmqcy.proxy(front, back)

    def answer():
        for _ in range(300):
            rep.send(rep.recv())

    threads = [threading.Thread(target=each) for each in (forward, answer)]
    for thread in threads:
        thread.start()
    for i in range(300):
        req.send(b"%d" % i)
        assert req.recv() == b"%d" % i
    threads[1].join()
    ctx.shutdown()
    threads[0].join()


@pytest.mark.parametrize("spin", [0, 100_000, 1_000_000])
def test_timeouts_of_a_poller(socket, spin):
    poller = zmqcy.Poller()
    poller.register(socket(zmqcy.PULL, spin=spin), zmqcy.POLLIN)
    start = time.monotonic()
    for _ in range(2):
        assert poller.poll(60) == []
    assert time.monotonic() - start >= 0.12


def sleeps():
    """Return the number of voluntary context switches of this thread."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "RUSAGE_THREAD"):
        pytest.skip("the system has no counters per thread")
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


class Alarm(Exception):
    pass


def until_the_alarm(socket, spin):
    """Run a device until an alarm; return how often the thread slept."""

    def ring(*_):
        raise Alarm

    front, back = socket(zmqcy.ROUTER, spin=0), socket(zmqcy.DEALER, spin=spin)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        slept = sleeps()
        with pytest.raises(Alarm):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            zmqcy.proxy(front, back)
        return sleeps() - slept
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


numbers = itertools.count()


def asking(socket, spin):
    """Return a socket that has sent a message, so that a wait for the reply may spin."""
    a, b = socket(zmqcy.PAIR, spin=spin), socket(zmqcy.PAIR)
    a.bind(f"inproc://asking-{next(numbers)}")
    b.connect(a.last_endpoint)
    a.send(b"?")
    return a


def a_poll(socket, spin):
    """Poll two sockets until a timeout; return how often the thread slept."""
    poller = zmqcy.Poller()
    poller.register(asking(socket, 0), zmqcy.POLLIN)
    poller.register(asking(socket, spin), zmqcy.POLLIN)
    slept = sleeps()
    assert poller.poll(50) == []
    return sleeps() - slept


def a_poll_of_one(socket, spin):
    pair = asking(socket, spin)
    slept = sleeps()
    assert pair.poll(50) == 0
    return sleeps() - slept


def a_receive(socket, spin):
    pair = asking(socket, spin)
    slept = sleeps()
    with pytest.raises(zmqcy.TimedOut):
        pair.recv(timeout=50)
    return sleeps() - slept


@pytest.mark.parametrize("wait", [a_receive, a_poll, a_poll_of_one, until_the_alarm])
def test_who_spins_and_who_sleeps(socket, wait):
    """The first wait spins for the largest `spin` of the sockets. 0 disables spinning."""
    assert min(wait(socket, 1_000_000) for _ in range(3)) == 0
    assert min(wait(socket, 0) for _ in range(3)) > 0


def test_where_no_answer_is_expected_nobody_spins(socket):
    """A wait for a stream of messages, or at the high-water mark, leaves the CPU to libzmq's threads."""
    pull, push = socket(zmqcy.PULL, spin=1_000_000), socket(zmqcy.PUSH, spin=1_000_000)
    poller = zmqcy.Poller()
    poller.register(pull, zmqcy.POLLIN)
    waits = [
        lambda: pytest.raises(zmqcy.TimedOut, pull.recv, timeout=20),
        lambda: pytest.raises(zmqcy.TimedOut, push.send, b"no peer", timeout=20),
        lambda: pull.poll(20),
        lambda: poller.poll(20),
    ]
    for wait in waits:
        slept = sleeps()
        wait()
        assert sleeps() > slept


def test_a_poll_spins_no_more_once_spin_is_0(socket):
    poller, pull = zmqcy.Poller(), asking(socket, 1_000_000)
    poller.register(pull, zmqcy.POLLIN)
    assert poller.poll(20) == []
    pull.spin = 0
    pull.getsockopt(zmqcy.EVENTS)
    slept = sleeps()
    assert poller.poll(20) == []
    assert sleeps() > slept


def test_a_poll_sleeps_once_what_was_ready_is_taken_out(pair):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR, {"spin": 0}, {"spin": 0})
    poller = zmqcy.Poller()
    poller.register(bound, zmqcy.POLLIN)
    poller.register(connected, zmqcy.POLLIN)
    connected.send(b"")
    assert poller.poll(10_000) == [(bound, zmqcy.POLLIN)]
    poller.unregister(bound)
    slept = sleeps()
    assert poller.poll(20) == []
    assert sleeps() > slept


IDLE = """
    import signal, sys, time, zmqcy
    with zmqcy.Context(linger=0, spin=20_000) as context:
        a, b = context.socket(zmqcy.PAIR), context.socket(zmqcy.PAIR)
        a.bind("inproc://a")
        b.connect("inproc://a")
        poller = zmqcy.Poller()
        for socket in (a, *[context.socket(zmqcy.PULL) for _ in range(int(sys.argv[2]))]):
            poller.register(socket, zmqcy.POLLIN)
        b.send(b"")
        assert poller.poll() == [(a, zmqcy.POLLIN)]
        a.recv()
        before = time.process_time()
        if sys.argv[1] == "poller":
            assert poller.poll(1000) == []
        elif sys.argv[1] == "recv":
            try:
                a.recv(timeout=1000)
            except zmqcy.TimedOut:
                pass
        else:
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, 1)
            try:
                zmqcy.proxy(a, context.socket(zmqcy.PAIR))
            except KeyboardInterrupt:
                pass
        print(time.process_time() - before)
        context.destroy()
"""


@pytest.mark.parametrize(("what", "others"), [("recv", 0), ("poller", 0), ("poller", 100), ("device", 0)])
def test_an_idle_process_uses_no_cpu(run, what, others):
    """A wait of 1 s spins once at most, for 20 ms, and then sleeps."""
    assert float(run(IDLE, what, others).stdout) < 0.1  # s of CPU time


@pytest.mark.parametrize("call", [lambda s: s.recv(), lambda s: s.poll(), lambda s: s.recv_multipart()])
def test_an_idle_thread_uses_no_cpu(near, call):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    for _ in range(100):  # short waits, so that the next one spins
        b.send(b"")
        a.recv()
    thread = threading.Thread(target=call, args=[a])
    thread.start()
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1
    b.send(b"")
    thread.join()
