"""What becomes of calls of libzmq and of the system that fail: an error that says so, and nothing lost.

shim.c, preloaded, makes the first, the second, ... call of a function fail in each step of faulty.py.
"""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from memory import INSTRUMENTED
from paths import KIT

import zmqcy

FAILURES = {  # function: the errno that it may have, how often at least it is to fail
    ("zmq_ctx_new", "ENOMEM"): 1,
    ("zmq_ctx_set", "EINVAL"): 2,
    ("zmq_ctx_get", "EINVAL"): 2,
    ("zmq_ctx_term", "EINTR"): 1,
    ("zmq_socket", "EMFILE"): 5,
    ("zmq_bind", "EADDRINUSE"): 5,
    ("zmq_connect", "EINVAL"): 3,
    ("zmq_unbind", "ENOENT"): 1,
    ("zmq_disconnect", "ENOENT"): 1,
    ("zmq_setsockopt", "EINVAL"): 10,
    ("zmq_socket_monitor", "EINVAL"): 1,
    ("zmq_msg_init_size", "ENOMEM"): 5,
    ("zmq_msg_init_data", "ENOMEM"): 5,
    ("zmq_msg_send", "EINTR"): 10,
    ("zmq_send", "EINTR"): 5,
    ("zmq_msg_recv", "EINTR"): 50,
    ("zmq_msg_recv", "ENOMEM"): 50,
    ("poll", "EINTR"): 1,
    ("poll", "ENOMEM"): 1,
    ("epoll_create1", "EMFILE"): 1,
    ("epoll_ctl", "ENOSPC"): 20,
    ("malloc", "ENOMEM"): 10,
    ("calloc", "ENOMEM"): 1,
    ("realloc", "ENOMEM"): 3,
    ("zmq_curve_keypair", "ENOTSUP"): 1,
    ("epoll_wait", "EBADF"): 1,
}
if zmqcy.has("draft"):  # what tells of a thread-safe socket
    FAILURES |= {("zmq_poller_new", "EMFILE"): 3, ("zmq_poller_add", "ENOMEM"): 3, ("zmq_poller_fd", "EINVAL"): 3}
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the shim is preloaded as Linux does it"),
    pytest.mark.skipif(INSTRUMENTED, reason="a sanitizer has its own malloc"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the shim is compiled by gcc"),
]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    target = tmp_path_factory.mktemp("shim") / "shim.so"
    command = ["gcc", "-O1", "-shared", "-fPIC", KIT / "shim.c", "-o", target, "-ldl", "-Wl,--no-as-needed"]
    if prefix := os.environ.get("ZMQCY_LIBZMQ"):  # the one that zmqcy was built with
        flags = [f"-I{prefix}/include", f"-L{prefix}/lib", f"-Wl,-rpath,{prefix}/lib", "-lzmq"]
    else:
        found = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libzmq"], capture_output=True, text=True, check=True
        )
        flags = found.stdout.split()
    if zmqcy.has("draft"):
        flags.append("-DZMQ_BUILD_DRAFT_API")
    subprocess.run([*command, *flags], check=True)
    return target


@pytest.mark.slow
@pytest.mark.parametrize(("function", "error"), FAILURES, ids=lambda each: each)
def test_a_call_that_fails(shim, function, error):
    import errno

    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", KIT / "faulty.py", function, str(getattr(errno, error))],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    failed, _raised = map(int, done.stdout.split())
    assert failed >= FAILURES[function, error]


@pytest.mark.parametrize(("options", "sends", "reads"), [("timeout=20", 5, 2), ("flags=zmqcy.DONTWAIT", 3, 1)])
def test_how_often_a_send_that_finds_the_queue_full_calls_libzmq(run, shim, options, sends, reads):
    run(
        f"""
        import ctypes, zmqcy
        shim = ctypes.CDLL(None)
        with zmqcy.Context() as ctx:
            push, pull = ctx.socket(zmqcy.PUSH, linger=0, sndhwm=1), ctx.socket(zmqcy.PULL, rcvhwm=1)
            push.bind("inproc://x")
            pull.connect("inproc://x")
            while push.try_send(b"x"):
                pass
            for name, most in ((b"zmq_send", {sends}), (b"zmq_getsockopt", {reads})):
                shim.shim_arm(name, ctypes.c_long(1 << 30), ctypes.c_long(0), 0)
                try:
                    push.send(b"x", {options})
                except zmqcy.Again:
                    pass
                else:
                    raise AssertionError("there was room")
                assert 1 <= shim.shim_calls() <= most, (name, shim.shim_calls())
        """,
        env={"LD_PRELOAD": str(shim)},
    )


GOES = """
import ctypes, select, sys, zmqcy
shim = ctypes.CDLL(None)
Call = ctypes.CFUNCTYPE(None)
shim.shim_before.argtypes = [ctypes.c_char_p, ctypes.c_long, Call]
ctx = zmqcy.Context(linger=0)

def connected(sender, kind, endpoint):
    peer = ctx.socket(kind, linger=0, rcvtimeo=10_000)
    peer.connect(endpoint)
    sender.poll(1000, zmqcy.POLLOUT)
    return peer

def see(address):
    events, size = ctypes.c_int(), ctypes.c_size_t(4)
    assert shim.zmq_getsockopt(
        ctypes.c_void_p(address), int(zmqcy.EVENTS), ctypes.byref(events), ctypes.byref(size)) == 0

def goes_before(function, calls, peer, sender):
    # Between two parts of a message, so that `sender` knows of it when it sends the next one.
    descriptor, address = sender.fileno(), sender.underlying
    def go():
        while select.select([descriptor], [], [], 0)[0]:
            see(address)
        peer.close()
        assert select.select([descriptor], [], [], 10)[0]
        see(address)
        gone.append(True)
    goes_before.kept = Call(go)
    shim.shim_before(function, calls, goes_before.kept)

gone = []
"""


@pytest.fixture
def parted(run, shim):
    """A function that runs code in which a peer can go in the middle of a message."""
    return lambda code: run(GOES + textwrap.dedent(code), env={"LD_PRELOAD": str(shim)})


@pytest.mark.parametrize("kind", ["PUSH", "DEALER"])
def test_nothing_of_a_message_whose_peer_goes_after_its_first_part_is_in_the_next(parted, kind):
    parted(f"""
        sender = ctx.socket(zmqcy.{kind}, linger=0)
        sender.bind("inproc://x")
        kind = zmqcy.PULL if sender.type == zmqcy.PUSH else zmqcy.DEALER
        goes_before(b"zmq_send", 1, connected(sender, kind, "inproc://x"), sender)
        try:
            sender.send_multipart([b"1", b"2", b"3", b"4"], timeout=0)
        except zmqcy.Again:  # or libzmq has taken and dropped it, as when the peer goes a moment later
            pass
        assert gone
        peer = connected(sender, kind, "inproc://x")
        sender.send_multipart([b"a", b"b"])
        assert peer.recv_multipart() == [b"a", b"b"]
        ctx.destroy()
    """)


def test_a_signal_while_the_rest_of_a_message_is_dropped_loses_nothing_of_the_message_sent_anew(parted):
    parted("""
        import errno
        shim.shim_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int]
        for i in range(100):
            sender = ctx.socket(zmqcy.DEALER, linger=0)
            sender.bind(f"inproc://{i}")
            goes_before(b"zmq_send", 1, connected(sender, zmqcy.DEALER, f"inproc://{i}"), sender)
            second = connected(sender, zmqcy.DEALER, f"inproc://{i}")
            goes = goes_before.kept

            def goes_and_signals():
                goes()
                shim.shim_arm(b"zmq_send", 1, 1, errno.EINTR)  # the last of the two parts that end what is dropped

            kept = Call(goes_and_signals)
            shim.shim_before(b"zmq_send", 1, kept)
            sender.send_multipart([b"1", b"2", b"3", b"4"], timeout=0)
            assert shim.shim_failed() == 1
            if shim.shim_calls() > 3:  # otherwise libzmq has seen the end of the connection, and drops the rest itself
                break
        assert shim.shim_calls() == 7  # two parts, one of them twice, and the message anew
        assert second.recv_multipart() == [b"1", b"2", b"3", b"4"]
        ctx.destroy()
    """)


def test_a_request_whose_peer_goes_after_its_first_part_counts_as_sent(parted):
    parted("""
        sender = ctx.socket(zmqcy.REQ, linger=0)
        sender.bind("inproc://x")
        goes_before(b"zmq_send", 1, connected(sender, zmqcy.REP, "inproc://x"), sender)
        sender.send_multipart([b"1", b"2", b"3", b"4"], timeout=0)
        assert gone and sender.stats.messages_sent == 1
        try:
            sender.recv(timeout=0)
        except zmqcy.Again:  # it awaits the reply
            pass
        else:
            raise AssertionError("a reply of nobody")
        ctx.destroy()
    """)


def test_a_device_whose_peer_goes_after_the_first_part_forwards_whole_messages(parted):
    parted("""
        front, back, control = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH), ctx.socket(zmqcy.PULL)
        for name, each in (("front", front), ("back", back), ("control", control)):
            each.bind(f"inproc://{name}")
        push, steering = ctx.socket(zmqcy.PUSH), ctx.socket(zmqcy.PUSH)
        push.connect("inproc://front")
        steering.connect("inproc://control")
        goes_before(b"zmq_msg_send", 1, connected(back, zmqcy.PULL, "inproc://back"), back)
        second = connected(back, zmqcy.PULL, "inproc://back")
        push.send_multipart([b"1", b"2", b"3"])
        push.send_multipart([b"a", b"b"])
        steering.send(b"DRAIN")
        zmqcy.proxy_steerable(front, back, None, control)
        assert gone
        got = [second.recv_multipart()]
        if got == [[b"1", b"2", b"3"]]:  # or libzmq has taken and dropped it
            got = [second.recv_multipart()]
        assert got == [[b"a", b"b"]]
        ctx.destroy()
    """)
