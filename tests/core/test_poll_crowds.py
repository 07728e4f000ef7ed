"""Polls of many sockets, which wait in an epoll set."""

import gc
import os
import random
import socket as sockets
import sys
import time
import weakref
from contextlib import suppress

import pytest
from polling import Thing, crowd, in_epoll_sets
from rows import rows
from waits import LIMIT, at_least, until_in_use

import zmqcy
from zmqcy import POLLIN, POLLOUT

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="epoll is Linux's")


@pytest.fixture
def thousand():
    """A thousand connected pairs over inproc, the first of each bound."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4000:
        pytest.skip("too few descriptors")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4000), hard))
    context = zmqcy.Context(io_threads=0, max_sockets=2500)
    pairs = []
    for number in range(1000):
        first, second = context.socket(zmqcy.PAIR, linger=0), context.socket(zmqcy.PAIR, linger=0)
        first.bind(f"inproc://{number}")
        second.connect(f"inproc://{number}")
        pairs.append((first, second))
    yield pairs
    context.destroy(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_sockets(thousand, poller):
    """Sockets become ready and not ready by messages, calls and changed flags."""
    for first, _ in thousand:
        poller.register(first, POLLIN)
    assert poller.poll(0) == poller.poll(0) == []
    if sys.platform.startswith("linux"):
        descriptors = in_epoll_sets()
        assert all(descriptors.count(first.fileno()) == 1 for first, _ in thousand)
        assert poller.poll(0) == []
    choice = random.Random(11)
    for round in range(60):
        some = sorted(choice.sample(range(1000), choice.choice((1, 1, 3, 70, 200, 1000))))
        for number in some:
            thousand[number][1].send(b"%d" % number)
        if round % 3 == 0:
            for number in some[::2]:
                assert thousand[number][0].getsockopt(zmqcy.EVENTS) & POLLIN  # this consumes the edge
        expected = [(thousand[number][0], POLLIN) for number in some]
        assert poller.poll(LIMIT) == expected
        assert poller.poll(0) == expected
        poller.modify(thousand[some[0]][0], POLLOUT)
        assert poller.poll(0) == [(thousand[some[0]][0], POLLOUT), *expected[1:]]
        poller.modify(thousand[some[0]][0], POLLIN)
        for number in some:
            assert thousand[number][0].recv() == b"%d" % number
        assert poller.poll(0) == []
    for first, _ in thousand:
        poller.modify(first, POLLOUT)
    assert poller.poll(0) == [(first, POLLOUT) for first, _ in thousand]


def test_a_thousand_sockets_wake_a_poll_that_sleeps(thousand, poller, pool):
    for first, _ in thousand:
        poller.register(first, POLLIN)
    for number in (0, 500, 999):

        def send(number=number):
            until_in_use(poller.poll, 0)
            thousand[number][1].send(b"%d" % number)

        sent = pool.submit(send)
        assert poller.poll() == [(thousand[number][0], POLLIN)]
        assert thousand[number][0].recv() == b"%d" % number
        sent.result(30)


def test_unregister_in_a_crowd(ctx, pair, poller):
    """A ready socket is removed and added again; its old state is not polled."""
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    poller.register(bound, POLLIN)
    idle = crowd(poller, ctx)
    for _ in range(3):
        connected.send(b"one")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        poller.unregister(bound)
        assert poller.poll(0) == []
        assert poller.sockets == [(each, POLLIN) for each in idle]
        connected.send(b"two")
        with at_least(20):
            assert poller.poll(20) == []
        poller.register(bound, POLLIN)
        assert poller.poll(0) == [(bound, POLLIN)]
        assert bound.recv() == b"one"
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert bound.recv() == b"two"
        crowd(poller, ctx, 5)
        idle = [each for each, _ in poller.sockets if each is not bound]


def test_pollout_is_lost_in_a_crowd(ctx, socket, poller):
    pull = socket(zmqcy.PULL, rcvhwm=2)
    pull.bind("inproc://full")
    push = socket(zmqcy.PUSH, sndhwm=2)
    poller.register(push, POLLOUT)
    crowd(poller, ctx)
    push.connect("inproc://full")
    for _ in range(3):
        assert poller.poll(LIMIT) == [(push, POLLOUT)]
        while poller.poll(0):
            push.send(b"x")
        assert not push.try_send(b"x")
        assert pull.recv() and pull.recv()


def test_socket_in_two_crowded_pollers(ctx, pair, poller):
    bound, connected = pair(zmqcy.PULL, zmqcy.PUSH)
    second = zmqcy.Poller()
    for each in (poller, second):
        each.register(bound, POLLIN)
        crowd(each, ctx)
    for _ in range(3):
        assert poller.poll(0) == second.poll(0) == []
        connected.send(b"one")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]  # this reads the events, and consumes the edge
        assert second.poll(LIMIT) == [(bound, POLLIN)]
        assert bound.recv() == b"one"
    second.unregister(bound)
    connected.send(b"one")
    assert poller.poll(LIMIT) == [(bound, POLLIN)]
    assert second.poll(0) == []
    del second
    assert bound.recv() == b"one"
    connected.send(b"two")
    assert poller.poll(LIMIT) == [(bound, POLLIN)]


def test_socket_that_goes_from_thread_to_thread(ctx, pair, poller, pool):
    """The next poll notices calls of other threads, as well as those of its own thread."""
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    poller.register(bound, POLLIN)
    crowd(poller, ctx)
    for number in range(50):
        connected.send(b"%d" % number)
        connected.send(b"second")
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert pool.submit(bound.recv).result(30) == b"%d" % number
        assert poller.poll(LIMIT) == [(bound, POLLIN)]
        assert pool.submit(poller.poll, 0).result(30) == [(bound, POLLIN)]
        assert pool.submit(bound.recv).result(30) == b"second"
        assert poller.poll(0) == []


def test_sockets_and_many_descriptors(ctx, poller):
    """Random registration and readiness of 40 sockets of each kind, in the order of registration."""
    choice = random.Random(13)
    everything, peers, write, read = [], [], {}, {}
    for number in range(40):
        first, second = ctx.socket(zmqcy.PAIR, linger=0), ctx.socket(zmqcy.PAIR, linger=0)
        first.bind(f"inproc://{number}")
        second.connect(f"inproc://{number}")
        one, other = sockets.socketpair()
        everything += [first, one]
        peers.append(other)
        write |= {first: lambda peer=second: peer.send(b"x"), one: lambda peer=other: peer.send(b"x")}
        read |= {first: first.recv, one: lambda one=one: one.recv(1)}
    registered, waiting = [], dict.fromkeys(everything, 0)
    for _ in range(3_000):
        each = choice.choice(everything)
        what = choice.random()
        if what < 0.35:
            write[each]()
            waiting[each] += 1
        elif what < 0.7:
            if waiting[each]:
                read[each]()
                waiting[each] -= 1
        elif each in registered:
            poller.unregister(each)
            registered.remove(each)
        else:
            poller.register(each, POLLIN)
            registered.append(each)
        if choice.random() < 0.5:
            assert poller.poll(0) == [(each, POLLIN) for each in registered if waiting[each]]
    assert [each for each, _ in poller.sockets] == registered
    for each in everything + peers:
        each.close()


def test_closed_socket_in_a_crowd(ctx, socket, poller):
    pull = socket(zmqcy.PULL)
    poller.register(pull, POLLIN)
    crowd(poller, ctx)
    pull.close()
    for _ in range(3):
        with pytest.raises(zmqcy.ZMQError, match=r"^poll \(PULL\): the socket is closed"):
            poller.poll(0)
    poller.unregister(pull)
    assert poller.poll(0) == []


def test_number_of_a_closed_socket_in_a_crowd(ctx, poller):
    """A new socket gets the file descriptor number of a closed one. Removing the closed one keeps the new one."""
    old = ctx.socket(zmqcy.PULL)
    number = old.fileno()
    poller.register(old, POLLIN)
    crowd(poller, ctx)
    old.close()
    deadline = time.monotonic() + LIMIT / 1000
    with suppress(OSError):
        while os.fstat(number):  # libzmq closes it in the background
            assert time.monotonic() < deadline
    made = [ctx.socket(zmqcy.PULL, linger=0)]
    while made[-1].fileno() != number:
        assert len(made) < 200
        made.append(ctx.socket(zmqcy.PULL, linger=0))
    new = made[-1]
    new.bind("inproc://new")
    push = ctx.socket(zmqcy.PUSH, linger=0)
    push.connect("inproc://new")
    other = zmqcy.Poller()
    for each in (poller, other):
        each.register(new, POLLIN)
    with pytest.raises(zmqcy.ZMQError, match="closed"):
        poller.poll(0)
    poller.unregister(old)
    crowd(poller, ctx, 5)
    push.send(b"one")
    assert poller.poll(LIMIT) == [(new, POLLIN)]
    assert other.poll(LIMIT) == [(new, POLLIN)]


@linux
@pytest.mark.parametrize("how", ["close", "shadow", "unregister", "underlying"])
def test_what_leaves_the_set_while_a_child_has_its_descriptors(run, how):
    """A closed file descriptor stays in an epoll set while another process has it: it must be removed before."""
    run("""
        import os, sys, warnings, zmqcy
        from polling import crowd, epoll_sets, in_epoll_sets
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        ctx = zmqcy.Context(linger=0)
        poller = zmqcy.Poller()
        pull = ctx.socket(zmqcy.PULL)
        number = pull.fileno()
        poller.register(pull, zmqcy.POLLIN)
        crowd(poller, ctx)
        assert number in in_epoll_sets()
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        match sys.argv[1]:
            case "close":
                pull.close()
                poller.unregister(pull)
            case "shadow":
                zmqcy.Socket.shadow(pull).close()
                poller.unregister(pull)
            case "unregister":
                poller.unregister(pull)
            case "underlying":
                pull.underlying
        mine = max(epoll_sets(), key=len)
        assert len(mine) == 20, mine
        assert number not in mine
        assert poller.poll(20) == []
        os.close(writer)
        os.waitpid(child, 0)
    """, how, env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip


@linux
def test_shared_socket_is_in_no_set(ctx, socket, poller):
    """Other owners may close a shared socket without notice."""
    pull = socket(zmqcy.PULL)
    number = pull.fileno()
    shadow = zmqcy.Socket.shadow(pull.underlying)
    poller.register(pull, POLLIN)
    poller.register(shadow, POLLIN)
    idle = crowd(poller, ctx)
    found = in_epoll_sets()
    assert number not in found
    assert all(each.fileno() in found for each in idle)


def test_fork_in_a_crowd(run):
    """The child would share its parent's epoll set: the parent must not notice the child's changes."""
    done = run("""
        import os, sys, warnings, zmqcy
        from polling import in_epoll_sets
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        with zmqcy.Context(linger=0) as ctx:
            poller = zmqcy.Poller()
            pairs = []
            for number in range(30):
                pull, push = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
                pull.bind(f"inproc://{number}")
                push.connect(f"inproc://{number}")
                poller.register(pull, zmqcy.POLLIN)
                pairs.append((pull, push))
            assert poller.poll(0) == poller.poll(0) == []
            descriptors = {pull.fileno() for pull, _ in pairs}
            assert poller.poll(0) == []
            child = os.fork()
            if not child:
                try:
                    poller.poll(0)
                except zmqcy.ForkedError:
                    pass
                else:
                    os._exit(1)
                if sys.platform.startswith("linux") and descriptors & set(in_epoll_sets()):
                    os._exit(2)
                for pull, push in pairs:
                    poller.unregister(pull)
                    pull.close()
                with zmqcy.Context(linger=0) as own:
                    pulls = [own.socket(zmqcy.PULL) for _ in range(30)]
                    for number, pull in enumerate(pulls):
                        pull.bind(f"inproc://{number}")
                        poller.register(pull, zmqcy.POLLIN)
                    assert poller.poll(0) == poller.poll(0) == []
                    push = own.socket(zmqcy.PUSH)
                    push.connect("inproc://17")
                    push.send(b"x")
                    assert poller.poll(5000) == [(pulls[17], zmqcy.POLLIN)]
                    own.destroy()
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            for pull, push in pairs:
                assert poller.poll(0) == []
                push.send(b"x")
                assert poller.poll(5000) == [(pull, zmqcy.POLLIN)]
                pull.recv()
            ctx.destroy()
    """, env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.stdout == "7\n"


def test_handler_that_forks_in_a_poll(run):
    """The child continues the poll that the handler interrupted: it must notice that the sockets are the parent's."""
    done = run("""
        import os, signal, warnings, zmqcy
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        children = []
        with zmqcy.Context(linger=0) as ctx:
            poller = zmqcy.Poller()
            for _ in range(30):
                poller.register(ctx.socket(zmqcy.PULL), zmqcy.POLLIN)
            poller.poll(0)
            signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                assert poller.poll(600) == []
            except zmqcy.ForkedError:
                os._exit(7 if children == [0] else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
            ctx.destroy()
    """)
    assert done.stdout == "7\n"


@linux
def test_no_descriptor_for_the_set(run):
    """The sockets are polled anyway, and move to an epoll set once one can be created."""
    run("""
        import os, resource, zmqcy
        from polling import in_epoll_sets
        with zmqcy.Context(linger=0) as ctx:
            poller = zmqcy.Poller()
            pairs = []
            for number in range(60):
                pull, push = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
                pull.bind(f"inproc://{number}")
                push.connect(f"inproc://{number}")
                pairs.append((pull, push))

            def check(some):
                for pull, push in some:
                    push.send(b"x")
                    assert poller.poll(5000) == [(pull, zmqcy.POLLIN)]
                    pull.recv()
                assert poller.poll(0) == []

            descriptors = [pull.fileno() for pull, _ in pairs]
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            most = os.open("/dev/null", os.O_RDONLY)
            os.close(most)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            for pull, _ in pairs[:20]:
                poller.register(pull, zmqcy.POLLIN)
            check(pairs[:20])
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            assert not set(descriptors) & set(in_epoll_sets())
            for pull, _ in pairs[20:]:
                poller.register(pull, zmqcy.POLLIN)
            check(pairs)
            assert set(descriptors) <= set(in_epoll_sets())
            ctx.destroy()
    """, env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip


def test_destroyed_context_in_a_crowd(poller):
    context = zmqcy.Context(linger=0)
    idle = crowd(poller, context)
    context.destroy()
    for _ in range(2):
        with pytest.raises(zmqcy.ContextTerminated):
            poller.poll(0)
    for each in idle:
        poller.unregister(each)
    assert poller.poll(0) == []


def test_shutdown_context_in_a_crowd(ctx, poller):
    idle = crowd(poller, ctx)
    ctx.shutdown()
    for each in idle:
        with pytest.raises(zmqcy.ContextTerminated):
            poller.poll()
        poller.unregister(each)
    assert poller.poll(0) == []


@rows("count", [0, 20])
@rows("first", ["poller", "socket"])
def test_poller_and_socket_end_in_any_order(ctx, near, first, count):
    bound, connected = near(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    poller.register(bound)
    poller.register(connected, POLLOUT)
    idle = crowd(poller, ctx, count)
    if first == "poller":
        del poller
        connected.send(b"one")
        assert bound.recv() == b"one"
        bound.close()
        connected.close()
    else:
        for each in (bound, connected):
            poller.unregister(each)
            each.close()
        del bound, connected, each
        assert poller.poll(0) == []
        assert [each for each, _ in poller.sockets] == idle


def test_poller_and_sockets_in_a_cycle(ctx):
    """The garbage collector frees them in any order."""

    class Knot(zmqcy.Socket):
        pass

    for count in (0, 20):
        made = [Knot(ctx, zmqcy.PULL) for _ in range(10)]
        for each in made:
            each.linger = 0
            each.poller = zmqcy.Poller()
        for each in made:
            for other in made:
                each.poller.register(other, POLLIN)
            crowd(each.poller, ctx, count)
        alive = [weakref.ref(each) for each in made]
        del made, each, other
        gc.collect()
        assert not any(each() for each in alive)


def test_what_a_debugger_keeps_of_a_poller(ctx, pair):
    """The parts of a freed poller, found through the garbage collector, are harmless to its sockets."""
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    poller = zmqcy.Poller()
    poller.register(bound, POLLIN)
    crowd(poller, ctx)
    kept = [each for each in gc.get_objects() if type(each).__module__ == "zmqcy._poll"]
    kept = [each for each in kept if each is not poller]
    assert len(kept) >= 21
    del poller
    connected.send(b"one")
    assert bound.recv(timeout=LIMIT) == b"one"
    bound.close()
    kept.clear()


def test_registering_while_fileno_registers(ctx, poller, pipe):
    """`fileno()` is Python code, which may register the same object."""
    reader, writer = pipe()

    class Eager(Thing):
        def fileno(self):
            if len(poller) == 0:
                self.descriptor = reader.fileno()
                first, Eager.fileno = Eager.fileno, Thing.fileno
                poller.register(self, POLLIN)
                Eager.fileno = first
            return self.descriptor

    thing = Eager(None)
    poller.register(thing, POLLIN)
    assert poller.sockets == [(thing, POLLIN)]
    writer.write(b"x")
    assert poller.poll(0) == [(thing, POLLIN)]
    poller.unregister(thing)
    crowd(poller, ctx)
    assert poller.poll(0) == []
