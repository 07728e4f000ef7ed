"""`zmq.green` of compat: waiting, waking, and other greenlets."""

from textwrap import dedent

import pytest

pytest.importorskip("gevent")

BEGIN = """
import itertools, threading
import zmqcy, zmqcy.compat
zmqcy.compat.install()
import gevent, zmq.green as zmq
from zmqcy.compat import green

context = zmq.Context()
numbers = itertools.count()
looks, sleeps = [], []  # at events, and of greenlets

def pair(kind=zmq.PAIR):
    left, right = context.socket(kind), context.socket(kind)
    left.linger = right.linger = 0
    left.bind(f"inproc://{next(numbers)}")
    right.connect(left.last_endpoint)
    return left, right

def asleep(call, *arguments):
    "Return a greenlet that sleeps in a call."
    before = len(sleeps)
    found = gevent.spawn(call, *arguments)
    while len(sleeps) == before:
        gevent.sleep(0)
    return found

def look(socket, option, call=green._option):
    looks.append(option)
    return call(socket, option)

def counted(call):
    def sleep(self, *arguments):
        sleeps.append(self)
        return call(self, *arguments)
    return sleep

green._option = look
for each in (green.Socket, green.Poller):
    each._sleep = counted(each._sleep)
"""


@pytest.fixture
def greenlets(run):
    """A function that runs code with green sockets in a new process."""
    return lambda code: run(f"{BEGIN}{dedent(code)}\ncontext.destroy(0)\n")


def test_who_receives_in_one_socket_leaves_the_others_asleep(greenlets):
    """The socket can send all the time, which must not wake greenlets that wait to receive."""
    greenlets("""
    left, right = pair(zmq.DEALER)
    waiting = [asleep(left.recv) for _ in range(3)]
    del looks[:]
    gevent.sleep(0.05)
    assert len(looks) < 10
    for number in range(3):
        right.send(b"%d" % number)
    assert sorted(each.get(timeout=10) for each in waiting) == [b"0", b"1", b"2"]
    """)


@pytest.mark.parametrize(
    "swallow",
    [
        "left.getsockopt(zmq.EVENTS)", "left.EVENTS", "left.poll(0, zmq.POLLOUT)", "poller.poll(0)",
        "left.connect('inproc://other')", "left.disconnect(left.connect('inproc://third').addr)",
        "left.unbind(left.bind('inproc://fourth').addr)", "left.send(b'x')", "left.recv(zmq.DONTWAIT)",
    ],
)  # fmt: skip
def test_what_one_greenlet_swallows_another_gets(greenlets, swallow):
    """Operations of all kinds consume the event of the file descriptor."""
    greenlets(f"""
    left, right = pair(zmq.DEALER)
    poller = zmq.Poller()
    poller.register(left, zmq.POLLOUT)
    waiting = asleep(left.recv)
    for _ in range(2):
        zmqcy.Socket.send(right, b"news")  # the event loop does not run before the next line
    {swallow}
    assert waiting.get(timeout=10) == b"news"
    """)


@pytest.mark.parametrize("spin", [0, 1_000_000])
def test_an_ended_wait_takes_no_message(greenlets, spin):
    """gevent ends the wait, with a kill or a timeout, before it is woken or after that and before it continues."""
    greenlets(f"""
    left, right = pair(zmq.DEALER)
    left.spin = {spin}
    left.send(b"question")  # the next wait spins
    waiting = [gevent.spawn(left.recv) for _ in range(6)]
    gevent.sleep(0)
    assert bool(sleeps) == ({spin} == 0)
    waiting[0].kill()
    for each in waiting[1:3]:  # when a message has come for them
        right.send(b"%d" % waiting.index(each))
        each.kill(block=False)
    right.send(b"3")
    gevent.sleep(0.01)
    gevent.killall(waiting)
    found = [each.value for each in waiting if isinstance(each.value, bytes)]
    while left.poll(0):
        found.append(left.recv())
    assert sorted(found) == [b"1", b"2", b"3"]
    left.send(b"question")
    try:
        with gevent.Timeout(0.02):
            left.recv()
    except gevent.Timeout:
        right.send(b"4")
    assert left.recv() == b"4" and left.poll(0) == 0
    """)


@pytest.mark.parametrize("who", ["left", "poller"])
def test_who_waits_for_an_answer_spins(greenlets, who):
    """A wait for an early reply does not sleep, and others run. Waits for late or unrequested messages sleep."""
    greenlets(f"""
    left, right = pair(zmq.DEALER)
    poller = zmq.Poller()
    poller.register(left, zmq.POLLIN)
    turns = []

    def answer():
        for _ in range(20):
            turns.append(len(sleeps))
            gevent.sleep(0)
        zmqcy.Socket.send(right, b"answer")

    def receive():
        if {who} is poller:
            assert poller.poll(20_000) == [(left, zmq.POLLIN)]
        return left.recv() == b"answer"

    left.spin = 1_000_000
    left.send(b"question")
    gevent.spawn(answer)
    assert receive() and len(turns) == 20 and not sleeps
    gevent.spawn(answer)
    assert receive() and sleeps == [{who}]  # not a reply, so it does not spin
    del sleeps[:]
    left.spin = 0.1
    left.send(b"question")
    gevent.spawn_later(0.05, answer)
    assert receive() and sleeps == [{who}] and not {who}._eager
    left.spin = 1_000_000  # but the last wait was long
    left.send(b"question")
    gevent.spawn(answer)
    assert receive() and sleeps == [{who}] * 2 and {who}._eager
    left.spin = 0
    left.send(b"question")
    gevent.spawn(answer)
    assert receive() and sleeps == [{who}] * 3
    """)


@pytest.mark.parametrize("close", ["greenlet", "thread", "context", "swallowed"])
def test_close_ends_all_waits(greenlets, close):
    """A greenlet or another thread closes the socket, or the context ends."""
    greenlets(f"""
    gevent.get_hub().exception_stream = None
    left, right = pair()
    poller = zmq.Poller()
    poller.register(left, zmq.POLLIN)
    waiting = [asleep(left.recv), asleep(left.recv_multipart), asleep(left.poll, 20_000)]
    if "{close}" == "greenlet":
        left.close()
    elif "{close}" == "thread":
        threading.Timer(0.05, left.close).start()  # while the loop sleeps
    else:
        zmqcy.Context.shadow(context).shutdown()
    for call in (poller.poll, left.poll) if "{close}" == "swallowed" else ():
        try:
            call(0)
        except zmq.ContextTerminated:
            pass
        else:
            raise AssertionError(call)
    for each in waiting:
        each.join(10)
        assert isinstance(each.exception, zmq.ZMQError if left.closed else zmq.ContextTerminated), each
    """)


def test_close_ends_the_waits_in_a_shadow(greenlets):
    greenlets("""
    gevent.get_hub().exception_stream = None
    left, right = pair()
    shadow = zmq.Socket.shadow(zmq.Socket.shadow(left))
    waiting = [asleep(shadow.recv), asleep(shadow.poll, 20_000)]
    left.close()
    for each in waiting:
        each.join(10)
        assert each.exception.errno == zmq.ENOTSOCK, each
    """)


def test_close_ends_a_poll(greenlets):
    greenlets("""
    gevent.get_hub().exception_stream = None
    left, right = pair()
    poller = zmq.Poller()
    poller.register(left, zmq.POLLIN)
    polling = asleep(poller.poll, 20_000)
    left.close()
    polling.join(10)
    assert isinstance(polling.exception, zmq.ZMQError) or polling.value == [(left, zmq.POLLERR)]
    """)


def test_a_socket_goes_from_thread_to_thread(greenlets):
    """Each thread has its own event loop."""
    greenlets("""
    left, right = pair()

    def turn():
        waiting = asleep(left.recv)
        right.send(b"x")
        found.append(waiting.get(timeout=10))
        gevent.get_hub().destroy()

    found = []
    for _ in range(3):
        thread = threading.Thread(target=turn)
        thread.start()
        thread.join()
    turn()
    assert found == [b"x"] * 4
    """)


def test_the_loop_ends_when_nobody_waits(greenlets):
    """A socket with an earlier wait does not keep the loop running."""
    greenlets("""
    left, right = pair()
    waiting = asleep(left.recv)
    assert left.poll(1) == 0
    right.send(b"x")
    assert waiting.get(timeout=10) == b"x"
    assert gevent.get_hub().join(timeout=10)
    """)
