"""Contexts: their start, their end, and their attributes."""

import copy
import importlib
import os
import pickle
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings

import pytest
from memory import resident

import zmqcy


def test_with_ends_the_context_and_its_sockets():
    with zmqcy.Context() as context:
        a = context.socket(zmqcy.PUSH)
    assert context.closed
    assert a.closed


def test_with_ends_the_context_though_the_body_raises():
    with pytest.raises(LookupError), zmqcy.Context() as context:
        context.socket(zmqcy.PUSH, linger=0).connect("tcp://127.0.0.1:1")
        raise LookupError
    assert context.closed


def test_term_may_be_called_again():
    context = zmqcy.Context()
    context.term()
    context.term(timeout=0)
    context.destroy()
    context.shutdown()
    assert context.closed


@pytest.mark.parametrize(
    "call",
    [
        lambda context: context.socket(zmqcy.PUSH),
        lambda context: context.io_threads,
        lambda context: context.get(zmqcy.IO_THREADS),
        lambda context: context.set(zmqcy.IO_THREADS, 1),
        lambda context: context.underlying,
    ],
)
def test_what_an_ended_context_says(call):
    context = zmqcy.Context()
    context.term()
    with pytest.raises(zmqcy.ContextTerminated) as caught:
        call(context)
    assert caught.value.errno == zmqcy.ETERM


def test_term_with_open_sockets_times_out_and_may_be_called_again(socket):
    context = zmqcy.Context()
    a = context.socket(zmqcy.PUSH)
    start = time.monotonic()
    with pytest.raises(zmqcy.TimedOut, match="term: timed out after .*PUSH"):
        context.term(timeout=50)
    assert time.monotonic() - start >= 0.05
    assert not context.closed
    with pytest.raises(zmqcy.ContextTerminated):
        a.send(b"")
    with pytest.raises(zmqcy.ContextTerminated):
        context.socket(zmqcy.PUSH)
    a.close()
    context.term(timeout=10_000)
    assert context.closed


def test_term_warns_once_of_open_sockets():
    context = zmqcy.Context()
    a = context.socket(zmqcy.PUSH)
    a.bind("tcp://127.0.0.1:*")
    endpoint = a.last_endpoint
    with pytest.warns(
        RuntimeWarning, match=f"waits for open sockets; close them: <zmqcy.socket.Socket PUSH {endpoint}>"
    ) as seen:
        threading.Timer(2.5, a.close).start()
        context.term()
    assert len(seen) == 1
    assert context.closed


def test_the_warning_names_the_line_that_made_a_socket():
    tracemalloc.start(5)
    try:
        context = zmqcy.Context()
        a = context.socket(zmqcy.PUSH)
        line = sys._getframe().f_lineno - 1
        with (
            pytest.warns(RuntimeWarning, match=f"PUSH.* made at .*_context.py:{line}"),
            pytest.raises(zmqcy.TimedOut),
        ):
            context.term(timeout=1200)
    finally:
        tracemalloc.stop()
    a.close()
    context.term()


def test_term_warns_of_unsent_messages_without_a_linger(tmp_path):
    endpoint = f"ipc://{tmp_path}/late"
    context = zmqcy.Context()
    a = context.socket(zmqcy.PUSH, reconnect_ivl=1)
    with a.watch():  # has a socket of its own, which is closed later
        a.connect(endpoint)
        a.send(b"unsent")
        a.close()
    with (
        pytest.warns(RuntimeWarning, match=f"term waits for unsent messages: PUSH {endpoint}; start the peer, or set"),
        pytest.raises(zmqcy.TimedOut, match=f"after 2000 ms; it waits for unsent messages: PUSH {endpoint}; start"),
    ):
        context.term(timeout=2000)
    with zmqcy.Context() as other, other.socket(zmqcy.PULL, rcvtimeo=10_000) as late:
        late.bind(endpoint)
        assert late.recv() == b"unsent"
    context.term(timeout=10_000)


@pytest.mark.parametrize("linger", [-1, 10_000])
def test_term_does_not_warn_where_the_linger_was_set(tmp_path, linger):
    context = zmqcy.Context()
    a = context.socket(zmqcy.PUSH, linger=linger, reconnect_ivl=1)
    a.connect(f"ipc://{tmp_path}/late")
    a.send(b"unsent")
    a.close()
    with pytest.raises(zmqcy.TimedOut, match="after 1200 ms$"):  # warnings are errors here
        context.term(timeout=1200)
    with zmqcy.Context() as other, other.socket(zmqcy.PULL, rcvtimeo=10_000) as late:
        late.bind(f"ipc://{tmp_path}/late")
        assert late.recv() == b"unsent"
    context.term(timeout=10_000)


def test_a_warning_that_is_an_error_ends_term():
    context = zmqcy.Context()
    a = context.socket(zmqcy.PUSH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="open sockets"):
            context.term()
    a.close()
    context.term(timeout=10_000)


@pytest.mark.parametrize(("timeout", "error"), [("soon", TypeError), (-2, ValueError), (float("nan"), ValueError)])
def test_a_timeout_that_is_none(timeout, error):
    context = zmqcy.Context()
    with pytest.raises(error, match="term: a time"):
        context.term(timeout=timeout)
    assert not context.closed
    assert context.io_threads == 1  # a bad argument ends nothing
    context.term()


def test_term_wakes_who_waits(ctx):
    outcome = []

    def receive(pull):
        try:
            pull.recv()
        except zmqcy.ContextTerminated as error:
            outcome.append(str(error))
        pull.close()

    context = zmqcy.Context()
    pull = context.socket(zmqcy.PULL)
    thread = threading.Thread(target=receive, args=[pull])
    thread.start()
    context.term(timeout=10_000)
    thread.join(10)
    assert outcome == ["recv (PULL): Context was terminated"]


def test_shutdown_wakes_who_waits_and_lets_the_rest_fail():
    context = zmqcy.Context()
    pull = context.socket(zmqcy.PULL)
    started = threading.Event()
    outcome = []

    def receive():
        started.set()
        with pytest.raises(zmqcy.ContextTerminated):
            pull.recv()
        outcome.append("woken")

    thread = threading.Thread(target=receive)
    thread.start()
    started.wait()
    context.shutdown()
    context.shutdown()
    thread.join(10)
    assert outcome == ["woken"]
    with pytest.raises(zmqcy.ContextTerminated):
        pull.recv()
    pull.close(linger=5)
    context.term(timeout=10_000)


def test_destroy_takes_sockets_from_other_threads():
    context = zmqcy.Context()
    pull = context.socket(zmqcy.PULL)
    outcome = []

    def receive():
        with pytest.raises(zmqcy.ContextTerminated):
            pull.recv()
        outcome.append("woken")

    thread = threading.Thread(target=receive)
    thread.start()
    while not outcome and not in_use(pull):
        pass
    context.destroy(linger=0)
    thread.join(10)
    assert outcome == ["woken"]
    assert pull.closed
    assert context.closed


def receive_until_the_end(pull, started, outcome):
    try:
        while True:
            pull.try_recv()
            started.set()
    except zmqcy.ZMQError as error:
        outcome.append(type(error))


def test_a_thread_between_two_calls_sees_the_end_of_the_context_too():
    for _ in range(20):
        context = zmqcy.Context()
        pull = context.socket(zmqcy.PULL)
        started, outcome = threading.Event(), []
        thread = threading.Thread(target=receive_until_the_end, args=[pull, started, outcome])
        thread.start()
        started.wait()
        context.destroy()
        thread.join(10)
        assert outcome == [zmqcy.ContextTerminated]
        assert pull.closed
        pull.close()


def in_use(socket):
    try:
        socket.poll(0)
    except zmqcy.SocketInUse:
        return True
    return False


def test_what_was_sent_before_term_arrives(socket):
    pull = socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    with zmqcy.Context() as context:
        push = context.socket(zmqcy.PUSH)
        push.connect(pull.last_endpoint)
        for i in range(500):
            push.send(b"%d" % i)
        push.close()
    assert [pull.recv() for _ in range(500)] == [b"%d" % i for i in range(500)]


def test_a_dropped_context_ends_in_the_background(socket):
    """With a message for an absent peer and infinite linger, termination never ends: no call may wait for it."""
    context = zmqcy.Context()
    push = context.socket(zmqcy.PUSH)
    push.connect("tcp://127.0.0.1:1")
    push.send(b"never")
    start = time.monotonic()
    del push, context
    assert time.monotonic() - start < 5


def test_what_a_dropped_socket_has_queued_arrives(socket):
    pull = socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    context = zmqcy.Context()
    push = context.socket(zmqcy.PUSH)
    push.connect(pull.last_endpoint)
    push.send(b"kept")
    del push, context
    assert pull.recv() == b"kept"


def test_sockets_in_a_cycle_are_collected():
    import gc

    context = zmqcy.Context()

    class Mine(zmqcy.Socket):
        pass

    before = len(context._open_sockets())
    a = Mine(context, zmqcy.PUSH)
    a.me = a
    del a
    gc.collect()
    assert len(context._open_sockets()) == before
    context.term(timeout=10_000)


def test_instance_is_one_a_process():
    first = zmqcy.Context.instance()
    assert zmqcy.Context.instance() is first
    first.term()
    second = zmqcy.Context.instance()
    assert second is not first
    assert not second.closed
    second.term()


@pytest.mark.parametrize("module", ["", ".asyncio", ".anyio", ".compat.core", ".compat.asyncio"])
def test_threads_that_ask_at_once_get_one_instance(module):
    kind = importlib.import_module(f"zmqcy{module}").Context
    made, second = [], threading.Event()

    class Slow(kind):
        __slots__ = ()
        _instance = None  # a subclass of compat's Context, whose subclasses otherwise share the global context

        def __init__(self, *arguments):
            made.append(self)
            if len(made) > 1:
                second.set()
            second.wait(0.2)  # it must not be set
            super().__init__(*arguments)

    got = []
    threads = [threading.Thread(target=lambda: got.append(Slow.instance())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == 4 * made
    made[0].term()


@pytest.mark.parametrize("module", ["", ".compat.core"])
def test_an_instance_that_is_being_made_stops_no_other(run, module):
    """The constructor may call `instance` of another class, and the process may fork meanwhile."""
    run(f"""
        import importlib, os, signal, threading, warnings
        Context = importlib.import_module("zmqcy{module}").Context
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork

        class Other(Context):
            _instance = None

        class Slow(Context):
            _instance = None

            def __init__(self, *arguments):
                Other.instance().term()
                begun.set()
                forked.wait()
                super().__init__(*arguments)

        begun, forked = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: Slow.instance().term(), daemon=True)
        thread.start()
        assert begun.wait(10)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            Other.instance().term()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        forked.set()
        thread.join(10)
        assert not thread.is_alive()
    """)


def test_shadow_leaves_the_context_alive():
    context = zmqcy.Context()
    for shadow in (zmqcy.Context.shadow(context.underlying), zmqcy.Context.shadow(context)):
        assert shadow.underlying == context.underlying
        a = shadow.socket(zmqcy.PUSH, linger=0)
        a.close()
        del shadow
    b = context.socket(zmqcy.PUSH)
    b.close()
    context.term(timeout=10_000)


@pytest.mark.parametrize("address", [0, -1, "x", None])
def test_shadow_of_nothing(address):
    with pytest.raises(TypeError, match="shadow: the address of a context"):
        zmqcy.Context.shadow(address)


@pytest.mark.parametrize(("threads", "error"), [(-1, zmqcy.InvalidArgument), ("2", TypeError), (1 << 40, ValueError)])
def test_io_threads_that_are_none(threads, error):
    with pytest.raises(error, match=f"Context:? ?io_threads.*{threads}"):
        zmqcy.Context(threads)


def test_options_of_a_new_context():
    with zmqcy.Context(2, max_sockets=10, ipv6=True, linger=5) as context:
        assert (context.io_threads, context.max_sockets, context.ipv6) == (2, 10, True)
        assert context.socket(zmqcy.PUSH).linger == 5
    with pytest.raises(AttributeError, match="did you mean 'max_sockets'"):
        zmqcy.Context(max_socket=5)


def test_more_sockets_than_max_sockets():
    with zmqcy.Context(max_sockets=3) as context:
        sockets = [context.socket(zmqcy.PUSH) for _ in range(3)]
        with pytest.raises(zmqcy.ZMQError, match="socket type=PUSH max_sockets=3") as caught:
            context.socket(zmqcy.PUSH)
        assert caught.value.errno == zmqcy.EMFILE
        sockets.pop().close()
        deadline = time.monotonic() + 10
        while True:  # its place becomes free in the background
            try:
                context.socket(zmqcy.PUSH)
                break
            except zmqcy.ZMQError:
                assert time.monotonic() < deadline


WAITING = """
import sys, zmqcy
context = zmqcy.Context()
{0}
{1}
print("ended")
"""
SOCKETS = """
for _ in range(1022):
    with context.socket(zmqcy.DEALER, linger=0) as socket:
        socket.connect("inproc://nobody")
"""
# Give libzmq's thread time to close the socket: if the context ends meanwhile, libzmq aborts the process in one of 40
# runs (own.cpp:180).
CONNECTIONS = """
import time
with context.socket(zmqcy.DEALER, linger=0) as socket:
    for i in range(1500):
        socket.connect(f"inproc://nobody.{i % 700}")
time.sleep(0.2)
"""


@pytest.mark.parametrize(
    "end",
    ["context.term(20_000)", "context.shutdown(); context.term(20_000)", "context.destroy(0)", "del context, socket"],
)
@pytest.mark.parametrize("what", [SOCKETS, CONNECTIONS], ids=["sockets", "connections"])
def test_who_waits_for_a_name_of_inproc_is_let_go_in_the_end(what, end):
    """libzmq needs a place in max_sockets for each such connection, and aborts the process if there is none."""
    program = WAITING.format(what, end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_who_waits_for_a_name_of_inproc_leaves_a_few_sockets_their_places():
    with zmqcy.Context(max_sockets=2) as context:
        a = context.socket(zmqcy.PAIR)
        a.connect("inproc://x")
        context.socket(zmqcy.PAIR).bind("inproc://x")


def test_who_comes_late_to_a_name_of_inproc_is_served():
    with zmqcy.Context() as context:
        clients = [context.socket(zmqcy.DEALER) for _ in range(600)]
        for client in clients:
            client.connect("inproc://late")
            client.send(b"before")
        server = context.socket(zmqcy.ROUTER)
        server.bind("inproc://late")
        for _ in clients:
            server.send_multipart(server.recv_multipart(timeout=10_000))
        assert {client.recv(timeout=10_000) for client in clients} == {b"before"}


def test_names_of_inproc_that_are_free_again_cost_no_memory(ctx):
    a, b = ctx.socket(zmqcy.PAIR), ctx.socket(zmqcy.PAIR)

    def use(count):
        for i in range(count):
            name = f"inproc://{'x' * 1000}.{i}"
            a.bind(name)
            b.connect(name)
            b.disconnect(name)
            a.unbind(name)
            assert a.events == b.events == 0
            if i % 10 == 0:
                with a.watch():
                    pass

    use(500)
    before = resident()
    use(10_000)
    assert resident() - before < 5_000_000  # bytes; the names alone are 10,000,000


REFUSED = {
    "Context(10**9)": "InvalidArgument: Context io_threads=1000000000: each I/O thread needs two file",
    "Context(max_sockets=2**31 - 1)": "InvalidArgument: set max_sockets=2147483647: the maximum is 1048576",
    "Context(thread_sched_policy=99)": "InvalidArgument: set thread_sched_policy=99: the system has no such scheduling",
    "Context(thread_priority=100)": "InvalidArgument: set thread_priority=100: the maximum is 99",
    "Context(thread_affinity_cpu_add=5000)": "InvalidArgument: set thread_affinity_cpu_add=5000: the system has",
    "Context().set(zmqcy.THREAD_SCHED_POLICY, 99)": "InvalidArgument: set thread_sched_policy=99: the system has",
    "Context(60).socket(zmqcy.PUSH)": "ZMQError: socket io_threads=60: libzmq needs 128 file",
    "Context(thread_sched_policy=1).socket(zmqcy.PUSH)": "InvalidArgument: socket thread_sched_policy=1: Invalid",
    "Context.shadow(other(thread_sched_policy=1)).socket(zmqcy.PUSH)": "InvalidArgument: socket thread_sched_policy=1:",
}


@pytest.mark.skipif(sys.platform != "linux", reason="priorities are another system's")
@pytest.mark.parametrize("call", REFUSED)
def test_what_libzmq_could_not_start_its_threads_with(run, call):
    """Without the checks, libzmq would abort in a new thread, possibly long after the option was set."""
    done = run("""
        import resource, sys, zmqcy
        from zmqcy import Context
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

        def other(**options):
            global kept
            kept = Context(**options)
            return kept

        try:
            eval(sys.argv[1])
        except zmqcy.ZMQError as error:
            print(f"{type(error).__name__}: {error}")
    """, call)  # fmt: skip
    assert done.stdout.startswith(REFUSED[call])


def test_no_threads_left(run):
    """The limit of threads is reached, for the user or the system."""
    done = run("""
        import os, resource
        import zmqcy._aio, zmqcy._socket
        from zmqcy import PUSH, Context, ZMQError  # while the files may be read
        if os.getuid() == 0:
            os.setuid(12345)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            Context().socket(PUSH)
        except ZMQError as error:
            print(error)
    """)
    text = "socket io_threads=1: libzmq needs 2 threads, but only {} can be started; raise the limit (ulimit -u)\n"
    assert done.stdout in {text.format(got) for got in (0, 1)}


def test_no_descriptors_left(run):
    """libzmq aborts if its first threads get no file descriptors."""
    done = run("""
        import errno, os, resource, zmqcy
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for free in range(20):
            try:
                context = zmqcy.Context()
                break
            except zmqcy.ZMQError as error:
                assert error.errno == errno.EMFILE, error
                os.close(taken.pop())
        for free in range(20):
            try:
                socket = context.socket(8)
                break
            except zmqcy.ZMQError as error:
                assert error.errno == errno.EMFILE, error
                os.close(taken.pop())
        print("free", free)
        sockets = [socket]
        try:
            while True:
                sockets.append(context.socket(8))
        except zmqcy.ZMQError as error:
            assert error.errno == errno.EMFILE, error
            print(error)
        for fd in taken:
            os.close(fd)
        context.destroy(0)
    """)
    assert "free" in done.stdout
    assert "socket type=PUSH: no file descriptor is left" in done.stdout
    assert done.stderr == ""


def test_more_connections_than_descriptors(run):
    """A socket takes one file descriptor, and a tcp connection one at each end. Existing connections still work."""
    done = run("""
        import resource, zmqcy
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        with zmqcy.Context(max_sockets=10_000, linger=0) as context:
            server = context.socket(zmqcy.ROUTER)
            server.bind("tcp://127.0.0.1:*")
            clients = []
            try:
                while True:
                    clients.append(context.socket(zmqcy.DEALER))
                    clients[-1].connect(server.last_endpoint)
                    clients[-1].send(b"hello")
                    if len(clients) <= 10:
                        server.send_multipart(server.recv_multipart(timeout=10))
            except zmqcy.ZMQError as error:
                print(error, error.errno == zmqcy.EMFILE)
            for client in clients[:10]:
                assert client.recv(timeout=10) == b"hello"
    """)
    error = "socket type=DEALER: no file descriptor is left; raise the limit (ulimit -n) True\n"
    assert (done.stdout, done.stderr) == (error, "")


@pytest.mark.parametrize(("limit", "left"), [(64, [20, 31, 60]), (300, [40, 100, 200, 299]), (300, [])])
def test_descriptors_left_are_counted_wherever_they_are(run, limit, left):
    done = run("""
        import os, resource, sys, zmqcy, zmqcy._base
        limit, left = eval(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        context = zmqcy.Context()
        while os.dup(0) < limit - 1:
            pass
        for fd in left:
            os.close(fd)
        try:
            context.socket(8)
        except zmqcy.ZMQError as error:
            print(error)
            sys.stdout.flush()
        os._exit(0)
    """, (limit, left))  # fmt: skip
    text = f"libzmq needs 10 file descriptors, but only {len(left)} are left; raise the limit (ulimit -n)"
    assert done.stdout == f"socket io_threads=1: {text}\n"


@pytest.mark.parametrize("call", ["bind tcp://127.0.0.1:*", "bind tcp://lo:*", "connect tcp://127.0.0.1:0;127.0.0.1:1"])
def test_an_endpoint_without_descriptors(run, call):
    """libzmq aborts if it gets no file descriptor to look up the interfaces."""
    done = run("""
        import errno, os, resource, sys, zmqcy
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        context = zmqcy.Context(linger=0)
        socket = context.socket(zmqcy.PUSH)
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        name, endpoint = sys.argv[1].split()
        for free in range(20):
            try:
                getattr(socket, name)(endpoint)
                break
            except zmqcy.ZMQError as error:
                assert error.errno == errno.EMFILE, error
                print(error)
                os.close(taken.pop())
        context.destroy(0)
    """, call)  # fmt: skip
    assert done.stdout.splitlines() == [f"{call} (PUSH): Too many open files"] * 4
    assert done.stderr == ""


def test_descriptors_are_given_back():
    def count():
        return len(os.listdir("/proc/self/fd"))

    with zmqcy.Context() as context:
        context.socket(zmqcy.PUSH).close()
    before = count()
    for _ in range(50):
        with zmqcy.Context() as context:
            a, b = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
            a.bind("tcp://127.0.0.1:*")
            b.connect(a.last_endpoint)
            b.send(b"x")
            assert a.recv() == b"x"
    assert count() <= before


def test_a_context_cannot_be_copied(ctx):
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="Context: .*one per process"):
            call(ctx)


def test_repr():
    context = zmqcy.Context()
    a = context.socket(zmqcy.PUSH)
    assert repr(context).startswith("<zmqcy.context.Context 1 sockets at 0x")
    a.close()
    context.term()
    assert repr(context).startswith("<zmqcy.context.Context closed at 0x")


def test_a_context_that_was_not_initialised():
    class Mine(zmqcy.Context):
        def __init__(self):
            pass

    mine = Mine()
    assert mine.closed
    mine.term()
    with pytest.raises(zmqcy.ZMQError, match="not initialised"):
        mine.io_threads  # noqa: B018
    assert repr(mine)


def test_a_second_initialisation_is_refused(ctx):
    with pytest.raises(RuntimeError, match="already initialised"):
        ctx.__init__()


def test_many_contexts_in_many_threads():
    failures = []

    def work():
        try:
            for _ in range(20):
                with zmqcy.Context() as context:
                    a, b = context.socket(zmqcy.PAIR), context.socket(zmqcy.PAIR)
                    a.bind("inproc://x")
                    b.connect("inproc://x")
                    a.send(b"x")
                    assert b.recv(timeout=5000) == b"x"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_first_socket_while_another_thread_ends_the_context(run):
    """Either the socket is created, and `term` waits for it, or the call fails. Freed memory of libzmq is not used."""
    run(
        """
        import threading, zmqcy

        def make(context, failures):
            try:
                context.socket(zmqcy.PUSH).close(0)
            except zmqcy.ContextTerminated:
                pass
            except zmqcy.ZMQError as error:
                failures.append(error)

        failures = []
        for _ in range(300):
            context = zmqcy.Context()
            thread = threading.Thread(target=make, args=(context, failures))
            thread.start()
            context.term(timeout=10_000)
            thread.join()
        assert failures == [], failures
        """
    )


def test_an_ipc_bind_warns_where_few_descriptors_are_left(run, tmp_path):
    """libzmq aborts the process if it cannot accept an ipc connection."""
    done = run("""
        import os, resource, sys, warnings, zmqcy
        context = zmqcy.Context(linger=0)
        socket = context.socket(zmqcy.PULL)
        for limit, count in (1000, 0), (60, 1):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 1000))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                socket.bind(f"ipc://{sys.argv[1]}/{limit}")
            assert len(caught) == count, caught
        assert caught[0].category is RuntimeWarning and caught[0].filename == "<string>"
        print(caught[0].message)
        context.destroy(0)
    """, tmp_path)  # fmt: skip
    assert done.stdout.startswith("bind (ipc): the process has fewer than 64 file descriptors left")
    assert done.stderr == ""
