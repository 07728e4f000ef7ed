"""Many threads use the same objects at once, in a new process each, with and without a GIL."""

import subprocess
import sys
import sysconfig

import pytest
from memory import INSTRUMENTED

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
SECONDS = 1.5
BEGINNING = """\
import faulthandler, gc, os, random, sys, threading, time
import zmqcy

faulthandler.enable()
faulthandler.dump_traceback_later(60, exit=True)
END = time.monotonic() + float(sys.argv[1])
TAKEN = (zmqcy.ZMQError, zmqcy.NotDone, RuntimeError, ValueError, KeyError, BufferError, TypeError)
wrong = []

def hammer(*functions, threads=4, allowed=TAKEN):
    # Call random functions from several threads until the time limit.
    def run(seed):
        chance = random.Random(seed)
        while time.monotonic() < END and not wrong:
            try:
                chance.choice(functions)()
            except allowed:
                pass
            except BaseException as error:
                wrong.append(error)
    all = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for each in all:
        each.start()
    for each in all:
        each.join()
    assert not wrong, wrong
"""

PAIR = """
context = zmqcy.Context()
a, b = context.socket(zmqcy.PAIR, sndhwm=100), context.socket(zmqcy.PAIR, rcvhwm=100)
a.bind("inproc://x"); b.connect("inproc://x")
"""
# Each message is received once, by any thread. The parts of one message stay together.
MESSAGES = """
lock, sent, received = threading.Lock(), [0], []
def put(how):
    with lock:
        number = sent[0]
        sent[0] += 1
    try:
        how(b"%d" % number)
    except zmqcy.ZMQError:
        with lock:
            sent.append(number)  # was not sent
def keep(parts):
    if parts:
        assert len(set(parts)) == 1, parts
        received.append(parts[0])
def look():
    a, b = front(), back()
    a.poll(0), b.poll(1), a.events, b.rcvmore, repr(a), a.linger, a.stats, setattr(a, "linger", 1), b.get(zmqcy.RCVHWM)
hammer(
    lambda: put(lambda data: front().send_multipart([data] * 3, timeout=1)),
    lambda: put(lambda data: front().send_multipart([data] * 3, zmqcy.DONTWAIT, copy=False)),
    lambda: keep(back().recv_multipart(timeout=1)),
    lambda: keep([frame.bytes for frame in back().recv_multipart(zmqcy.DONTWAIT, copy=False)]),
    lambda: [keep(parts) for parts in back().recv_multipart_many(200, timeout=1)],
    look, come_and_go,
)
while b.poll(100):
    keep(b.recv_multipart())
numbers = [int(each) for each in received]
assert len(numbers) == len(set(numbers)), "a message came twice"
assert sorted(numbers + sent[1:]) == list(range(sent[0])), "a message was lost"
assert len(numbers) > 10
"""

PROGRAMS = {
    "one_socket": PAIR + "front, back, come_and_go = lambda: a, lambda: b, lambda: None" + MESSAGES,
    "socket_and_shadows": PAIR
    + """
fronts = [a, zmqcy.Socket.shadow(a), zmqcy.Socket.shadow(a.underlying)]
backs = [b, zmqcy.Socket.shadow(b), zmqcy.Socket.shadow(b.underlying)]
front, back = lambda: random.choice(fronts), lambda: random.choice(backs)
def come_and_go():
    fronts[random.randrange(1, 3)] = zmqcy.Socket.shadow(front())
    backs[random.randrange(1, 3)] = zmqcy.Socket.shadow(back().underlying)
"""
    + MESSAGES,
    "options_and_endpoints": """
context = zmqcy.Context()
a = context.socket(zmqcy.DEALER)
def bind():
    a.bind("tcp://127.0.0.1:*"); a.unbind(a.last_endpoint)
hammer(
    bind, lambda: a.connect("tcp://127.0.0.1:9"), lambda: a.disconnect("tcp://127.0.0.1:9"),
    lambda: setattr(a, "sndhwm", 5), lambda: setattr(a, "routing_id", b"name"), lambda: a.routing_id,
    lambda: a.set(zmqcy.LINGER, 0), lambda: setattr(a, "copy_threshold", 9), lambda: a.fileno(), lambda: a.underlying,
)
a.close(0)
""",
    "close": """
context = zmqcy.Context()
sockets = [context.socket(zmqcy.PUSH, linger=0)]
def again():
    sockets[0] = context.socket(random.choice((zmqcy.PUSH, zmqcy.PULL, zmqcy.REP)), linger=0)
    sockets[0].bind("inproc://x%d" % random.randrange(3))
hammer(
    again, lambda: sockets[0].close(), lambda: sockets[0].close(0), lambda: sockets[0].send(b"", timeout=1),
    lambda: sockets[0].recv(timeout=1), lambda: sockets[0].recv_many(500, timeout=1), lambda: sockets[0].closed,
    lambda: sockets[0].poll(1), lambda: sockets[0].fileno(),
)
context.destroy(0)
""",
    "close_with_shadows": """
context = zmqcy.Context()
sockets = [None] * 3
any = lambda: random.choice(sockets)
def again():
    made = context.socket(random.choice((zmqcy.PUSH, zmqcy.PULL, zmqcy.REP)), linger=0)
    sockets[:] = [made, zmqcy.Socket.shadow(made), zmqcy.Socket.shadow(made.underlying)]
    made.bind("inproc://x%d" % random.randrange(3))
again()
hammer(
    again, lambda: any().close(), lambda: any().close(0), lambda: any().send(b"", timeout=1),
    lambda: any().send_multipart([b"", b""], zmqcy.DONTWAIT), lambda: any().recv(timeout=1),
    lambda: any().recv_many(500, timeout=1), lambda: any().recv(zmqcy.DONTWAIT), lambda: any().closed,
    lambda: any().poll(1), lambda: any().fileno(), lambda: setattr(any(), "linger", 0), lambda: repr(any()),
    lambda: sockets.__setitem__(random.randrange(3), zmqcy.Socket.shadow(any())), lambda: any().watch(),
)
context.destroy(0)
""",
    # shadows of a socket that another library made and closes
    "shadows_of_a_foreign_socket": """
import ctypes, ctypes.util
libzmq = ctypes.CDLL(ctypes.util.find_library("zmq"))
libzmq.zmq_ctx_new.restype = libzmq.zmq_socket.restype = ctypes.c_void_p
made = ctypes.c_void_p(libzmq.zmq_ctx_new())
sockets = [libzmq.zmq_socket(made, int(zmqcy.PAIR)) for _ in range(2)]
for address, function in zip(sockets, (libzmq.zmq_bind, libzmq.zmq_connect)):
    assert function(ctypes.c_void_p(address), b"inproc://x") == 0
shadows = [None] * 4
def again():
    shadows[random.randrange(4)] = zmqcy.Socket.shadow(random.choice(sockets))
any = lambda: random.choice(shadows)
hammer(
    again, again, lambda: shadows.__setitem__(random.randrange(4), None), lambda: any().send(b"x", timeout=1),
    lambda: any().recv(zmqcy.DONTWAIT), lambda: any().recv(timeout=1), lambda: any().poll(1), lambda: any().linger,
    allowed=(*TAKEN, AttributeError),
)
shadows.clear()
for address in sockets:
    assert libzmq.zmq_close(ctypes.c_void_p(address)) == 0
assert libzmq.zmq_ctx_term(made) == 0
""",
    "contexts": """
contexts = [zmqcy.Context()]
kept = [None] * 8
def begin():
    contexts[0] = zmqcy.Context(io_threads=0)
def open():
    kept[random.randrange(8)] = contexts[0].socket(zmqcy.PAIR, linger=0)
hammer(
    begin, open, open, open, lambda: contexts[0].destroy(0), lambda: contexts[0].shutdown(), lambda: repr(contexts[0]),
    lambda: contexts[0].max_sockets, lambda: setattr(contexts[0], "blocky", 1), lambda: kept[0].send(b"", timeout=1),
    lambda: kept.__setitem__(random.randrange(8), None), lambda: contexts[0].underlying, lambda: contexts[0].closed,
    allowed=(*TAKEN, AttributeError),
)
kept.clear()
""",
    "contexts_and_shadows": """
contexts = [None] * 3
kept = [None] * 8
any = lambda: random.choice(contexts)
def begin():
    made = zmqcy.Context(io_threads=0)
    contexts[:] = [made, zmqcy.Context.shadow(made), zmqcy.Context.shadow(made.underlying)]
def open():
    kept[random.randrange(8)] = any().socket(zmqcy.PAIR, linger=0)
def bind():
    name = "inproc://x%d" % random.randrange(3)
    random.choice((kept[0].bind, kept[1].connect, kept[0].unbind))(name)
begin()
hammer(
    begin, open, open, open, bind, bind, lambda: any().destroy(0), lambda: any().term(1), lambda: any().shutdown(),
    lambda: repr(any()), lambda: any().max_sockets, lambda: setattr(any(), "blocky", 1), lambda: any().closed,
    lambda: kept[0].send(b"", timeout=1), lambda: kept.__setitem__(random.randrange(8), None),
    lambda: contexts.__setitem__(random.randrange(3), zmqcy.Context.shadow(any())), lambda: any().underlying,
    allowed=(*TAKEN, AttributeError),
)
kept.clear()
""",
    "poller": """
context = zmqcy.Context()
sockets = [context.socket(zmqcy.DEALER, linger=0) for _ in range(12)]
sockets[0].bind("inproc://x")
for each in sockets[1:]:
    each.connect("inproc://x")
pollers = [zmqcy.Poller(), zmqcy.Poller()]
any = lambda: random.choice(sockets)
poller = lambda: random.choice(pollers)
def make_new():
    pollers[random.randrange(2)] = zmqcy.Poller()
def replace():
    each = context.socket(zmqcy.DEALER, linger=0)
    each.connect("inproc://x")
    sockets[random.randrange(1, 12)] = each
hammer(
    lambda: poller().register(any(), zmqcy.POLLIN), lambda: poller().register(any()),
    lambda: poller().unregister(any()), lambda: poller().modify(any(), zmqcy.POLLOUT),
    lambda: poller().poll(1), lambda: poller().poll(0),
    lambda: poller().sockets, lambda: any().send(b"x", zmqcy.DONTWAIT), lambda: any().recv(zmqcy.DONTWAIT),
    lambda: random.choice(sockets[1:]).close(0) if random.random() < 0.05 else None, replace, make_new,
    lambda: zmqcy.select([any()], [any()], [], 0),
)
""",
    "frames": """
context = zmqcy.Context()
a, b = context.socket(zmqcy.PUSH), context.socket(zmqcy.PULL)
a.bind("inproc://x"); b.connect("inproc://x")
frames = [zmqcy.Frame(b"content" * 5000)]
views = [None]
def make_new():
    frames[0] = zmqcy.Frame(bytes([random.randrange(256)]) * random.choice((5, 50, 20000)), copy=random.random() < 0.5)
def receive():
    frames[0] = b.recv(zmqcy.DONTWAIT, copy=False)
def same():
    content = frames[0].bytes
    assert content == content[:1] * len(content) or content == b"content" * 5000
def view():
    views[0] = memoryview(frames[0])
hammer(
    make_new, receive, same, view, lambda: a.send(frames[0], zmqcy.DONTWAIT), lambda: frames[0].release(),
    lambda: a.send_multipart([frames[0]] * 3, zmqcy.DONTWAIT), lambda: a.send(frames[0], zmqcy.DONTWAIT, track=True),
    lambda: len(frames[0]), lambda: repr(frames[0]), lambda: bytes(views[0]), lambda: views.__setitem__(0, None),
    lambda: frames[0].more, lambda: __import__("copy").copy(frames[0]),
)
""",
    "trackers": """
context = zmqcy.Context()
a, b = context.socket(zmqcy.PUSH, sndhwm=0), context.socket(zmqcy.PULL, rcvhwm=0)
a.bind("inproc://x"); b.connect("inproc://x")
trackers, called, asked = [a.send(bytearray(99), track=True)], [], []
def send():
    trackers[0] = a.send(bytearray(99), copy=False, track=True)
def ask():
    asked.append(0)
    trackers[0].add_done_callback(called.append)
hammer(
    send, ask, ask, lambda: b.recv(zmqcy.DONTWAIT), lambda: b.recv(zmqcy.DONTWAIT), lambda: trackers[0].done,
    lambda: trackers[0].wait(0.001),
)
while b.poll(100):
    b.recv()
deadline = time.monotonic() + 20
while len(called) < len(asked) and time.monotonic() < deadline:
    trackers[0].done, time.sleep(0.01), a.send(b"", copy=False)
assert len(called) == len(asked), (len(called), len(asked))
""",
    "devices": """
context = zmqcy.Context()
front, back = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH, linger=0)
front.bind("inproc://front"); back.bind("inproc://back")
a, b = context.socket(zmqcy.PUSH, linger=0, sndhwm=10), context.socket(zmqcy.PULL)
a.connect("inproc://front"); b.connect("inproc://back")
def forward():
    try:
        zmqcy.proxy(front, back, filter=lambda direction, messages: messages)
    except zmqcy.ContextTerminated:
        pass
device = threading.Thread(target=forward)
device.start()
seen = []
hammer(
    lambda: a.send(b"x", timeout=1), lambda: seen.append(b.recv(timeout=1)), lambda: front.recv(zmqcy.DONTWAIT),
    lambda: back.send(b"x", zmqcy.DONTWAIT), lambda: front.close(), lambda: back.linger, lambda: front.poll(0),
    lambda: repr(front),
)
assert set(seen) == {b"x"}
context.destroy(0)
device.join(30)
assert not device.is_alive()
""",
    # an event loop in each thread, and one socket that all threads try to use
    "asyncio": """
import asyncio, zmqcy.asyncio
context = zmqcy.asyncio.Context()
foreign = [None]
async def main(name):
    a, b = context.socket(zmqcy.PAIR), context.socket(zmqcy.PAIR)
    a.bind("inproc://" + name); b.connect("inproc://" + name)
    number = 0
    while time.monotonic() < END:
        waiting = asyncio.ensure_future(asyncio.wait_for(b.recv(), 10))
        foreign[0] = b, b.recv()
        foreign[0][1].cancel()
        await asyncio.sleep(0)
        await a.send(b"%d" % number)
        assert await waiting == b"%d" % number
        number += 1
    foreign[0] = None
    assert number > 10
    a.close(0); b.close(0)
def loop(name):
    try:
        asyncio.run(main(name))
    except BaseException as error:
        wrong.append(error)
loops = [threading.Thread(target=loop, args=("x%d" % i,)) for i in range(2)]
for each in loops:
    each.start()
hammer(
    lambda: foreign[0][1].done(), lambda: foreign[0][0].recv(), lambda: foreign[0][1].cancelled(),
    lambda: foreign[0][1].cancel(), lambda: repr(foreign[0][0]), lambda: foreign[0][0].linger,
    threads=2, allowed=(*TAKEN, asyncio.CancelledError),
)
for each in loops:
    each.join()
assert not wrong, wrong
context.destroy(0)
""",
    # A task and threads receive from one socket. Each message is received once.
    "asyncio_and_shadow": """
import asyncio, zmqcy.asyncio
context = zmqcy.asyncio.Context()
shadow, got, stolen, sent = [None], [], [], []
async def main():
    a, b = context.socket(zmqcy.PAIR), context.socket(zmqcy.PAIR)
    a.bind("inproc://x"); b.connect("inproc://x")
    shadow[0] = zmqcy.Socket.shadow(b)
    while time.monotonic() < END:
        sent.append(len(sent))
        await a.send(b"%d" % sent[-1])
        try:
            got.append(await b.recv(timeout=2))
        except (zmqcy.Again, zmqcy.SocketInUse):  # a thread uses the socket
            pass
def loop():
    try:
        asyncio.run(main())
    except BaseException as error:
        wrong.append(error)
thread = threading.Thread(target=loop)
thread.start()
hammer(
    lambda: stolen.append(shadow[0].recv(zmqcy.DONTWAIT)), lambda: stolen.append(shadow[0].recv(timeout=1)),
    lambda: stolen.extend(shadow[0].recv_many(10, timeout=1)), lambda: shadow[0].poll(1), lambda: repr(shadow[0]),
    lambda: shadow[0].linger, lambda: shadow.__setitem__(0, zmqcy.Socket.shadow(shadow[0])),
    threads=2, allowed=(*TAKEN, AttributeError),
)
thread.join()
assert not wrong, wrong
while shadow[0].poll(100):
    stolen.append(shadow[0].recv())
assert sorted(map(int, got + stolen)) == sent
assert got and len(sent) > 10
context.destroy(0)
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_threads_in_the_same_objects(name):
    program = BEGINNING + PROGRAMS[name] + "\nprint('ended well')\n"
    seconds = SECONDS if not INSTRUMENTED else 4 * SECONDS
    done = subprocess.run(
        [sys.executable, "-c", program, str(seconds)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ended well"), done.stderr[-4000:]


@pytest.mark.skipif(not FREE_THREADED, reason="this Python has a GIL")
def test_the_import_leaves_the_gil_away():
    program = "import sys, zmqcy, zmqcy.asyncio, zmqcy.auth; print(sys._is_gil_enabled())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
