"""Polls of closed sockets, and polls with other threads, forks and signals."""

import errno
import threading

import pytest
from polling import Thing
from rows import rows
from waits import LIMIT, at_least, until_in_use

import zmqcy
from zmqcy import POLLIN, POLLOUT, POLLPRI

# ---- errors


def test_closed_socket(socket, poller):
    pull, other = socket(zmqcy.PULL), socket(zmqcy.PUB)
    poller.register(pull, POLLIN)
    poller.register(other, POLLOUT)
    assert poller.poll(0) == [(other, POLLOUT)]
    pull.close()
    for _ in range(2):
        with pytest.raises(zmqcy.ZMQError, match=r"^poll \(PULL\): the socket is closed") as caught:
            poller.poll(0)
        assert caught.value.errno == zmqcy.ENOTSOCK
    assert pull in poller
    poller.modify(pull, POLLIN | POLLOUT)
    poller.unregister(pull)
    assert poller.poll(0) == [(other, POLLOUT)]


def test_closed_socket_whose_descriptor_lives_again(ctx, poller):
    """Another socket may have got the number of the closed one."""
    pull = ctx.socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []
    pull.close()
    for _ in range(10):
        ctx.socket(zmqcy.PULL)
        with pytest.raises(zmqcy.ZMQError, match="closed"):
            poller.poll(0)


def test_terminated_context(ctx, socket, poller):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []
    ctx.shutdown()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^poll \(PULL\): "):
        poller.poll()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^poll \(PULL\): "):
        pull.poll()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^register \(PULL\): "):
        zmqcy.Poller().register(pull)
    poller.unregister(pull)
    assert poller.poll(0) == []


@pytest.mark.parametrize("who", ["poller", "socket"])
def test_context_that_is_ended_during_the_poll(ctx, socket, poller, pool, who):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    assert poller.poll(0) == []

    def end():
        until_in_use(*((poller.poll, 0) if who == "poller" else (pull.getsockopt, zmqcy.EVENTS)))
        ctx.shutdown()

    ended = pool.submit(end)
    with pytest.raises(zmqcy.ContextTerminated):
        (poller if who == "poller" else pull).poll()
    ended.result(30)


def test_poller_in_two_threads(pair, poller, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    assert poller.poll(0) == []
    done = pool.submit(poller.poll)
    until_in_use(poller.poll, 0)
    for call, name in (
        (lambda: poller.poll(0), "poll"),
        (lambda: poller.poll(), "poll"),
        (lambda: poller.register(0), "register"),
        (lambda: poller.register(bound, POLLIN | POLLOUT), "register"),
        (lambda: poller.modify(bound, POLLOUT), "modify"),
        (lambda: poller.unregister(bound), "unregister"),
    ):
        with pytest.raises(zmqcy.SocketInUse, match=f"^{name}: another thread is in a call on this poller") as caught:
            call()
        assert caught.value.errno == errno.EBUSY
    assert len(poller) == 1 and bound in poller and poller.sockets == [(bound, POLLIN)]
    connected.send(b"one")
    assert done.result(30) == [(bound, POLLIN)]
    assert poller.poll(0) == [(bound, POLLIN)]


def test_socket_in_another_thread(pair, poller, pool):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    assert poller.poll(0) == []
    done = pool.submit(bound.recv)
    until_in_use(bound.getsockopt, zmqcy.EVENTS)
    with pytest.raises(zmqcy.SocketInUse, match=r"^poll \(PULL\): "):
        poller.poll(0)
    with pytest.raises(zmqcy.SocketInUse, match=r"^poll \(PULL\): "):
        bound.poll(0)
    with pytest.raises(zmqcy.SocketInUse, match=r"^register \(PULL\): "):
        zmqcy.Poller().register(bound)
    connected.send(b"one")
    assert done.result(30) == b"one"
    assert poller.poll(0) == []


def test_many_threads_on_one_poller(pair, poller):
    """Each thread gets the ready sockets or SocketInUse, and nothing breaks."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    other = Thing(0)
    unexpected = []

    def use():
        for number in range(500):
            try:
                if number % 5 == 0:
                    poller.register(other, POLLPRI)
                elif number % 5 == 1:
                    poller.unregister(other)
                else:
                    poller.poll(0 if number % 2 else 1)
            except (zmqcy.SocketInUse, KeyError):
                pass
            except Exception as error:
                unexpected.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert unexpected == []
    connected.send(b"one")
    assert (bound, POLLIN) in poller.poll(LIMIT)


def test_fork(run):
    done = run("""
        import os, warnings, zmqcy
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        with zmqcy.Context() as ctx, ctx.socket(zmqcy.PULL) as pull:
            poller = zmqcy.Poller()
            poller.register(pull, zmqcy.POLLIN)
            assert poller.poll(0) == []
            child = os.fork()
            if not child:
                for call in (lambda: poller.poll(0), pull.poll, lambda: zmqcy.Poller().register(pull)):
                    try:
                        call()
                    except zmqcy.ForkedError:
                        continue
                    os._exit(1)
                poller.unregister(pull)
                reader, writer = os.pipe()
                poller.register(reader, zmqcy.POLLIN)
                os.write(writer, b"x")
                os._exit(7 if poller.poll(1000) == [(reader, zmqcy.POLLIN)] else 2)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))
            assert poller.poll(0) == []
    """)
    assert done.stdout == "7\n"


def test_finalizer_that_changes_the_poller(run):
    """The garbage collector may run between two sockets of a poll: freed sockets are not read."""
    run("""
        import gc, zmqcy

        class Cycle:
            def __init__(self, poller, gone):
                self.itself, self.poller, self.gone = self, poller, gone
            def __del__(self):
                while self.gone:
                    self.poller.unregister(self.gone[-1])
                    self.gone.pop().close(0)

        gc.disable()
        with zmqcy.Context() as ctx:
            for threshold in range(1, 60):
                poller = zmqcy.Poller()
                kept = [ctx.socket(zmqcy.PUB, linger=0) for _ in range(20)]
                gone = [ctx.socket(zmqcy.PUB, linger=0) for _ in range(20)]
                for socket in kept + gone:
                    poller.register(socket)
                del socket
                Cycle(poller, gone)
                gc.set_threshold(threshold)
                gc.enable()
                try:
                    ready = poller.poll(0)
                except (zmqcy.SocketInUse, zmqcy.ZMQError, RuntimeError):
                    pass
                else:
                    assert [socket for socket, _ in ready][:20] == kept
                gc.disable()
                gc.collect()
                assert len(poller) in (20, 40)
                for socket in kept + gone:
                    socket.close(0)
    """)


# ---- signals


def test_signals_keep_the_time(socket, poller, alarms):
    """After a handler a poll continues with the remaining time."""
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    rung = []
    with alarms(lambda *_: rung.append(1)):
        for call in (poller.poll, pull.poll):
            rung.clear()
            with at_least(200):
                assert not call(200)
            assert len(rung) >= 2
        rung.clear()
        with at_least(200):
            assert zmqcy.select([pull], [], [], 0.2) == ([], [], [])
        assert len(rung) >= 2


class Stop(Exception):
    pass


def stop(*_):
    raise Stop


@rows("timeout", [None, LIMIT])
def test_handler_that_raises(near, alarms, timeout):
    """The exception ends the poll. The poller can be used again."""
    bound, connected = near(zmqcy.PULL, zmqcy.PUSH)
    poller = zmqcy.Poller()
    poller.register(bound, POLLIN)
    for _ in range(3):
        for call in (poller.poll, bound.poll):
            with pytest.raises(Stop), alarms(stop):
                call(timeout)
        assert poller.poll(0) == []
        connected.send(b"one")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert bound.poll(0) == POLLIN
        assert bound.recv() == b"one"


def test_interrupt(run):
    """Ctrl-C ends any wait."""
    done = run("""
        import signal, zmqcy
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        ended = 0
        with zmqcy.Context() as ctx, ctx.socket(zmqcy.PULL) as pull:
            poller = zmqcy.Poller()
            poller.register(pull, zmqcy.POLLIN)
            for call in (poller.poll, pull.poll, lambda: zmqcy.select([pull], [], [])):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                try:
                    call()
                except KeyboardInterrupt:
                    ended += 1
            assert poller.poll(0) == []
        print(ended)
    """)
    assert done.stdout == "3\n"


def test_handler_that_sends(pair, poller, alarms):
    """The interrupted poll notices a handler's calls."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    for call in (poller.poll, bound.poll):
        sent = []

        def send(*_, sent=sent):
            if not sent:
                connected.send(b"from the handler")
                sent.append(1)

        with alarms(send):
            assert call()
        assert bound.recv() == b"from the handler"


def test_handler_that_receives_one_of_two(socket, poller, alarms):
    """The handler consumes both edges. The poll still finds the second message."""
    pull = socket(zmqcy.PULL)
    pull.bind("inproc://handler")
    push = socket(zmqcy.PUSH)
    push.connect("inproc://handler")
    poller.register(pull, POLLIN)
    received = []

    def handler(*_):
        if not received:
            push.send(b"one")
            push.send(b"two")
            received.append(pull.recv())

    with alarms(handler):
        assert poller.poll() == [(pull, POLLIN)]
    assert received == [b"one"]
    assert pull.recv() == b"two"


def test_handler_that_polls_what_a_device_has_in_hand(socket, poller, alarms):
    """The device has the message when the handler polls its socket, and returns it afterwards."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)  # without a peer
    pull.bind("inproc://hand")
    sender = socket(zmqcy.PUSH)
    sender.connect("inproc://hand")
    poller.register(pull, POLLIN)
    sender.send(b"one")
    looks = []

    def handler(*_):
        looks.append(poller.poll(0))
        raise Stop

    with pytest.raises(Stop), alarms(handler):
        zmqcy.proxy(pull, push)
    assert looks[0] == []
    assert poller.poll(0) == [(pull, POLLIN)]
    assert pull.recv() == b"one"
    assert poller.poll(0) == []


def test_handler_that_changes_the_poller(socket, poller, alarms, pipe):
    """Between two waits the poller is free: a handler may register and unregister."""
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    writers = [pipe()[1] for _ in range(40)]

    def handler(*_):
        if pull in poller:
            poller.unregister(pull)
            for writer in writers:
                poller.register(writer, POLLOUT)

    with alarms(handler):
        assert poller.poll() == [(writer, POLLOUT) for writer in writers]


def test_handler_that_closes_the_socket(socket, poller, alarms):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    with alarms(lambda *_: pull.close()), pytest.raises(zmqcy.ZMQError, match="closed"):
        poller.poll()
    other = socket(zmqcy.PULL)
    with alarms(lambda *_: other.close()), pytest.raises(zmqcy.ZMQError, match="closed"):
        other.poll(1_000)
