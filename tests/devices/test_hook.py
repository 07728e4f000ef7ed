"""Hooks of devices, in C: the example, and one that is built here and acts on the first byte of a part."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from paths import ROOT

import zmqcy

EXAMPLE = ROOT / "examples" / "cython_hook"
pytest.importorskip("Cython", reason="a hook is built by Cython")
pytestmark = pytest.mark.slow

RULES = """
from libc.errno cimport EAGAIN, EINTR, EPERM
from libc.string cimport memcpy
from zmqcy cimport DROP, FORWARD, Direction, Hook
from zmqcy.libzmq cimport zmq_msg_close, zmq_msg_data, zmq_msg_init_size, zmq_msg_size, zmq_msg_t


cdef int replace(zmq_msg_t *part, const char *data, size_t size) noexcept nogil:
    zmq_msg_close(part)
    if zmq_msg_init_size(part, size) < 0:
        return EPERM
    memcpy(zmq_msg_data(part), data, size)
    return FORWARD

cdef int obey(void *user, zmq_msg_t *parts, int *count, Direction direction) noexcept nogil:
    cdef zmq_msg_t *part = &parts[count[0] - 1 if direction else 0]
    cdef char word = (<char *> zmq_msg_data(part))[0] if zmq_msg_size(part) else 0
    (<int *> user)[<int> direction] += 1
    if word == c"d":
        return DROP
    if word == c"r":
        return replace(part, b"replaced, and longer than what libzmq keeps in a message itself", 63)
    if word == c"c":
        zmq_msg_close(&parts[count[0] - 1])
        count[0] -= 1
        return FORWARD
    if word == c"n":
        return -1
    if word == c"z":
        count[0] = 0
    if word == c"m":
        count[0] += 1
    if word == c"p":
        replace(&parts[0], b"before the error", 16)
        return EPERM
    if word == c"a":
        return EAGAIN
    return EINTR if word == c"i" else FORWARD

cdef class Rules(Hook):
    cdef int[2] counts

    def __cinit__(self):
        self.function = obey
        self.user = &self.counts

    @property
    def seen(self):
        return self.counts[0], self.counts[1]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with zmqcy as a wheel installs it: modules and declarations, without sources."""
    site = tmp_path_factory.mktemp("site")
    source = shutil.ignore_patterns("*.pyx", "*.c", "__pycache__")
    shutil.copytree(Path(zmqcy.__file__).parent, site / "zmqcy", ignore=source)
    libraries = Path(zmqcy.__file__).parents[1] / "zmqcy.libs"  # a wheel has this folder
    if libraries.is_dir():
        shutil.copytree(libraries, site / "zmqcy.libs")
    return site


VERSION = """
cimport zmqcy
from zmqcy.libzmq cimport zmq_version

def address():
    return <size_t> <void *> zmq_version

def verdicts():
    return zmqcy.FORWARD, zmqcy.DROP
"""


def build(folder, site):
    """Build the code in a folder as the example explains, with zmqcy installed. Return the environment for its use."""
    env = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return env


def test_the_example(tmp_path, site):
    folder = tmp_path / "cython_hook"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.c", "*.so", "build"))
    env = build(folder, site)
    done = subprocess.run([sys.executable, "run.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("b'hello!'\nb'a reply of any size'\ndropped: 1\n", "")


def test_a_hook_has_the_libzmq_that_zmqcy_has(tmp_path, site):
    """A hook calls the libzmq that zmqcy has loaded, even if another one is installed."""
    (tmp_path / "version.pyx").write_text(VERSION)
    (tmp_path / "setup.py").write_text((EXAMPLE / "setup.py").read_text().replace("guard", "version"))
    env = build(tmp_path, site)
    program = "import ctypes, version, zmqcy._library as ours; function = ctypes.CDLL(ours.__file__).zmq_version; "
    program += "print(version.address() == ctypes.cast(function, ctypes.c_void_p).value, version.verdicts())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("True (0, -2)\n", "")


@pytest.fixture(scope="module")
def rules(tmp_path_factory, site):
    """The class of the hook."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "zmqcy_test_rules.pyx").write_text(RULES)
    text = (EXAMPLE / "setup.py").read_text()
    (folder / "setup.py").write_text(text.replace("guard", "zmqcy_test_rules"))
    build(folder, site)
    sys.path.insert(0, str(folder))
    try:
        import zmqcy_test_rules
    finally:
        sys.path.remove(str(folder))
    return zmqcy_test_rules.Rules


class Device:
    """A device with a hook, in a thread, over inproc: its sockets, and a peer's socket on each side."""

    def __init__(self, hook, socket, types, peers):
        self.hook = hook
        self.front, self.back = (socket(kind, rcvtimeo=-1, sndtimeo=-1) for kind in types)
        self.steering, self.control, self.capture = socket(zmqcy.PAIR), socket(zmqcy.PAIR), socket(zmqcy.PUSH)
        self.listener = socket(zmqcy.PULL)
        sides = [(self.front, socket(peers[0])), (self.back, socket(peers[1]))]
        self.peers = [peer for _, peer in sides]
        sides += [(self.steering, self.control), (self.capture, self.listener)]
        for i, (bound, connected) in enumerate(sides):
            bound.bind(f"inproc://{i}")
            connected.connect(f"inproc://{i}")
        self.error = self.thread = None

    def start(self):
        self.error = None
        self.thread = threading.Thread(target=self._forward)
        self.thread.start()

    def _forward(self):
        try:
            zmqcy.proxy_steerable(self.front, self.back, self.capture, self.steering, filter=self.hook)
        except Exception as error:
            self.error = error

    def statistics(self):
        self.control.send(b"STATISTICS")
        return [int.from_bytes(part, sys.byteorder) for part in self.control.recv_multipart()]

    def end(self, word=b"TERMINATE"):
        if self.thread is not None and self.thread.is_alive():
            self.control.send(word)
        return self.join()

    def join(self):
        if self.thread is not None:
            self.thread.join(10)
            assert not self.thread.is_alive()
        return self.error


@pytest.fixture
def device(rules, socket):
    """A function that creates a device with the hook."""
    made = []

    def make(types=(zmqcy.PULL, zmqcy.PUSH), peers=(zmqcy.PUSH, zmqcy.PULL)):
        made.append(Device(rules(), socket, types, peers))
        return made[-1]

    yield make
    for each in made:
        each.end()


REPLACED = b"replaced, and longer than what libzmq keeps in a message itself"


def test_what_a_hook_forwards_drops_and_changes(device):
    run = device()
    run.start()
    push, pull = run.peers
    for parts in ([b"1"], [b"d", b"x"], [b"r", b"x", b"y"], [b"c", b"x", b"y"], [b"d"], [b"r"], [b"", b"last"]):
        push.send_multipart(parts)
    expected = [[b"1"], [REPLACED, b"x", b"y"], [b"c", b"x"], [REPLACED], [b"", b"last"]]
    assert [pull.recv_multipart() for _ in expected] == expected
    assert [run.listener.recv_multipart() for _ in expected] == expected  # the capture socket gets them too
    # dropped messages were received, and not sent
    assert run.statistics() == [7, 15, 0, 0, 0, 0, 5, 1 + 63 + 2 + 2 + 63 + 4]
    assert run.hook.seen == (7, 0)


def test_directions_and_routing_ids(device):
    run = device((zmqcy.ROUTER, zmqcy.DEALER), (zmqcy.DEALER, zmqcy.DEALER))
    run.start()
    client, worker = run.peers
    client.send(b"request")
    routing_id, request = worker.recv_multipart()
    assert request == b"request"
    worker.send_multipart([routing_id, b"d"])
    worker.send_multipart([routing_id, b"r"])
    assert client.recv_multipart() == [REPLACED]
    assert run.hook.seen == (1, 2)


def test_many_that_are_dropped(device):
    """Dropped messages count as part of the burst, so the device executes commands between them."""
    run = device()
    push, pull = run.peers
    for _ in range(900):
        push.send(b"d")
    push.send(b"last")
    run.start()
    assert pull.recv() == b"last"
    assert run.end(b"DRAIN") is None
    assert run.hook.seen == (901, 0)


@pytest.mark.parametrize(
    ("word", "number", "text"),
    [
        (b"p", errno.EPERM, "Operation not permitted"),
        (b"a", errno.EAGAIN, "Resource temporarily unavailable"),
        (b"i", errno.EINTR, "Interrupted system call"),
        (b"n", errno.EINVAL, "the hook returned -1"),
        (b"z", errno.EINVAL, "Invalid argument"),
        (b"m", errno.EINVAL, "Invalid argument"),
    ],
)
def test_what_a_hook_returns_ends_the_device_and_the_message_goes_back(device, word, number, text):
    run = device()
    run.start()
    push, pull = run.peers
    push.send(b"1")
    push.send_multipart([word, b"x", b"y"])
    push.send(b"2")
    assert pull.recv() == b"1"
    error = run.join()
    assert isinstance(error, zmqcy.ZMQError)
    assert error.errno == number
    assert str(error).startswith("proxy_steerable <zmqcy.socket.Socket PULL inproc://0> and <")
    assert "zmqcy_test_rules.Rules object" in str(error)
    assert str(error).endswith(text)
    first = b"before the error" if word == b"p" else word  # in the hook's version, and still whole
    assert run.front.recv_multipart(timeout=10_000) == [first, b"x", b"y"]
    assert run.front.recv_multipart(timeout=10_000) == [b"2"]


def test_a_message_without_room_is_seen_once_and_goes_back_whole(device):
    run = device()
    push, pull = run.peers
    pull.close()
    while run.back.poll(0, zmqcy.POLLOUT):  # until libzmq reports no POLLOUT
        pass
    push.send_multipart([b"c", b"x", b"y"])
    push.send(b"2")
    run.start()
    while run.statistics()[0] == 0:
        pass
    assert run.end() is None
    assert run.hook.seen == (1, 0)
    assert run.front.recv_multipart(timeout=10_000) == [b"c", b"x"]
    assert run.front.recv_multipart(timeout=10_000) == [b"2"]


def test_a_hook_in_a_device_of_a_thread(rules, socket):
    from zmqcy import devices

    hook = rules()
    with devices.Device(zmqcy.STREAMER, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", filter=hook) as running:
        push, pull = socket(zmqcy.PUSH), socket(zmqcy.PULL)
        push.connect(running.endpoints["front"][0])
        pull.connect(running.endpoints["back"][0])
        for word in (b"d", b"r"):
            push.send(word)
        assert pull.recv() == REPLACED
    assert hook.seen == (2, 0)
