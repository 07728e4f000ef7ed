"""Spinning before sleeping: it changes no result, can be turned off, and costs an idle thread nothing."""

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
        assert each.spin == 50


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


@pytest.mark.parametrize("call", [lambda s: s.recv(), lambda s: s.poll(), lambda s: s.recv_multipart()])
def test_an_idle_thread_uses_no_cpu(pair, call):
    a, b = pair(zmqcy.PAIR, zmqcy.PAIR)
    for _ in range(100):  # short waits, so that the next one spins
        b.send(b"")
        a.recv()
    thread = threading.Thread(target=call, args=[a])
    thread.start()
    before = time.process_time()
    time.sleep(2)
    assert time.process_time() - before < 0.1
    b.send(b"")
    thread.join()
