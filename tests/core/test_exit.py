"""The end of the process: it exits, in every order, and messages are delivered according to linger."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

import zmqcy

HEAD = """
import sys, threading, time, atexit, os
import zmqcy
url = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:1"
"""


@pytest.fixture
def pull(socket):
    a = socket(zmqcy.PULL)
    a.bind("tcp://127.0.0.1:*")
    return a


@pytest.fixture
def program(run):
    """A function that runs a program. The program starts with an import of zmqcy, and with `url` to connect to."""

    def execute(code, *arguments, **options):
        return run(HEAD + textwrap.dedent(code), *arguments, **options)

    return execute


SEND = "c = zmqcy.Context(); s = c.socket(zmqcy.PUSH); s.connect(url); s.send(b'x' * 1000); "
SENDS = {
    "plain": SEND,
    "closed": SEND + "s.close()",
    "instance": "s = zmqcy.Context.instance().socket(zmqcy.PUSH); s.connect(url); s.send(b'x' * 1000)",
    "cycle": SEND + "l = [s, c]; l.append(l); del s, c, l",
    "leaked": SEND + "import ctypes; ctypes.pythonapi.Py_IncRef(ctypes.py_object(s))",
    "in a thread": f"""
        def work():
            {SEND}
        t = threading.Thread(target=work); t.start(); t.join()""",
    "atexit": f"""
        def work():
            {SEND}
        atexit.register(work)""",
    "sys.exit": SEND + "sys.exit(0)",
    "linger set": SEND.replace("PUSH", "PUSH, linger=20_000"),
}


@pytest.mark.parametrize("how", SENDS)
def test_what_was_sent_arrives(program, pull, how):
    done = program(SENDS[how], pull.last_endpoint)
    assert pull.recv() == b"x" * 1000
    assert done.stderr == ""


def test_a_peer_that_is_absent_is_waited_for_so_long_and_named(program):
    start = time.monotonic()
    done = program("""
        zmqcy.exit_linger = 1500
        c = zmqcy.Context(); s = c.socket(zmqcy.PUSH); s.connect(url); s.send(b"never")
    """)
    assert time.monotonic() - start >= 1.5
    first, second = done.stderr.splitlines()
    assert first.startswith("zmqcy: exit waits for unsent messages: PUSH tcp://127.0.0.1:1. It waits at most 1.5 s")
    assert "linger=0" in first
    assert second == "zmqcy: dropped messages that could not be sent: PUSH tcp://127.0.0.1:1"


def test_a_socket_closed_before_the_exit_is_waited_for_too(program):
    start = time.monotonic()
    program("""
        zmqcy.exit_linger = 500
        c = zmqcy.Context(); s = c.socket(zmqcy.PUSH); s.connect(url); s.send(b"never"); s.close(); del c, s
    """)
    assert time.monotonic() - start >= 0.5


def test_an_exit_linger_of_zero_drops_without_a_word(program):
    done = program("""
        zmqcy.exit_linger = 0
        c = zmqcy.Context(); s = c.socket(zmqcy.PUSH); s.connect(url); s.send(b"never")
    """)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "where", ["s.linger = 700", "c.linger = 700; s = c.socket(zmqcy.PUSH)", "s.setsockopt(zmqcy.LINGER, 700)"]
)
def test_a_linger_that_was_set_is_kept_to_the_letter(program, where):
    start = time.monotonic()
    done = program(f"""
        zmqcy.exit_linger = 0
        c = zmqcy.Context(); s = c.socket(zmqcy.PUSH)
        {where}
        s.connect(url); s.send(b"never")
        print(time.monotonic(), flush=True)
    """)
    assert time.monotonic() - start >= 0.7
    assert done.stderr == ""


def test_a_late_peer_gets_what_was_sent(pull, socket, run):
    """The exit waits for a peer that connects a second later."""
    with socket(zmqcy.PULL) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    code = (
        HEAD
        + "c = zmqcy.Context(); s = c.socket(zmqcy.PUSH); s.connect(url); s.send(b'kept'); print('sent', flush=True)"
    )
    url = f"tcp://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"sent\n"
    time.sleep(1.3)
    late = socket(zmqcy.PULL)
    late.bind(url)
    assert late.recv() == b"kept"
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"exit waits for unsent messages" in errors
    assert b"dropped messages" not in errors


@pytest.mark.parametrize(("linger", "most"), [(10_000, b"It waits at most 10 s"), (-1, b"It waits indefinitely")])
def test_ctrl_c_ends_the_wait_at_exit(linger, most):
    code = f"{HEAD}zmqcy.exit_linger = {linger}; {SEND.replace('PUSH', 'PUSH, linger=-1')}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = process.stderr.readline()
    assert b"exit waits" in line and most in line
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT


def test_a_wait_that_was_broken_off_is_not_begun_again_at_exit(program):
    done = program("""
        import signal
        c = zmqcy.Context(); s = c.socket(zmqcy.PUSH); s.connect(url); s.send(b"never"); s.close()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            c.term()
        except KeyboardInterrupt:
            print("interrupted")
    """)
    assert done.stdout == "interrupted\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "wait", ["s.recv()", "s.poll()", "s.recv_multipart()", "zmqcy.proxy(s, c.socket(zmqcy.PUSH))"]
)  # fmt: skip
def test_a_daemon_thread_that_waits_does_not_hold_the_exit_up(program, wait):
    done = program(f"""
        zmqcy.exit_linger = 60_000
        c = zmqcy.Context(); s = c.socket(zmqcy.PULL); s.bind("tcp://127.0.0.1:*")
        started = threading.Event()
        def work():
            started.set()
            {wait}
        threading.Thread(target=work, daemon=True).start()
        started.wait()
        time.sleep(0.1)
        print("end")
    """)
    assert done.stdout == "end\n"
    assert done.stderr == ""


def test_os_exit_waits_for_nothing(program):
    done = program(
        "c = zmqcy.Context(); s = c.socket(zmqcy.PUSH); s.connect(url); s.send(b'never'); os._exit(3)", check=False
    )
    assert done.returncode == 3
    assert done.stderr == ""


def test_nothing_is_said_in_the_good_cases(program):
    done = program("""
        with zmqcy.Context() as c:
            a, b = c.socket(zmqcy.PAIR), c.socket(zmqcy.PAIR)
            a.bind("inproc://x"); b.connect("inproc://x"); a.send(b"1"); assert b.recv() == b"1"
        poller = zmqcy.Poller()
        d = zmqcy.Context.instance().socket(zmqcy.PULL)
        poller.register(d)
        print("end")
    """)
    assert (done.stdout, done.stderr) == ("end\n", "")


def test_an_unhandled_exception_keeps_its_exit_code(program):
    done = program("c = zmqcy.Context(); s = c.socket(zmqcy.PULL); raise SystemExit(7)", check=False)
    assert done.returncode == 7
