"""`zmqcy.compat`: behaviors that programs rely on, compared with pyzmq, and its installation."""

import ast
import importlib.util
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from rows import rows

import zmqcy

PROGRAM = Path(__file__).with_name("behaviours.py")
NAMES = ROOT / "tools" / "compare_names.py"
BEHAVIOURS = [
    node.name
    for node in ast.parse(PROGRAM.read_text()).body
    if isinstance(node, ast.FunctionDef) and "ctx" in (argument.arg for argument in node.args.args[:1])
    if len(node.args.args) == 1
]


def outcomes(*how):
    done = subprocess.run([sys.executable, *how, PROGRAM], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ours():
    """The result of each behavior with compat."""
    return outcomes("-m", "zmqcy.compat")


@pytest.fixture(scope="module")
def theirs():
    """The result of each behavior with pyzmq."""
    return outcomes() if importlib.util.find_spec("zmq") else None


@rows("name", BEHAVIOURS)
def test_behaviour(ours, theirs, name):
    found = ours[name]
    if isinstance(found, dict) and found["error"] == "ModuleNotFoundError" and "zmq" not in found["text"]:
        pytest.skip(found["text"])
    assert found is not False and not (isinstance(found, dict) and "error" in found), found
    if theirs is not None:
        assert found == theirs[name]


def test_every_name_of_each_module_is_there_or_has_a_reason():
    """All names that `dir` lists for any module of pyzmq."""
    for name in ("zmq", "tornado", "gevent"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    done = subprocess.run([sys.executable, NAMES], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_names_that_are_left_out_are_on_the_page():
    table = subprocess.check_output([sys.executable, NAMES, "--markdown"], text=True, timeout=60)
    assert table in ROOT.joinpath("docs", "from-pyzmq.md").read_text(), "compare_names.py --markdown"


def test_names_that_come_by_imports_of_pyzmq(run):
    pytest.importorskip("tornado")
    run("""
    import asyncio, errno, os, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    assert zmq.error.EINTR == errno.EINTR and zmq.os is os and zmq.sugar.socket.zmq is zmq
    assert os.path.isdir(os.path.dirname(zmq.__file__)) and os.path.isfile(zmq.__file__)
    from zmq import asyncio as of_zmq
    assert of_zmq is zmq.asyncio is not asyncio and of_zmq.asyncio is asyncio
    from zmq.eventloop import ioloop
    from zmq.eventloop.ioloop import *
    import tornado.ioloop
    assert {name for name in dir(tornado.ioloop) if name[0] != "_"} <= set(dir(ioloop))
    assert PeriodicCallback is ioloop.PeriodicCallback is tornado.ioloop.PeriodicCallback
    assert ioloop.TimeoutError is tornado.ioloop.TimeoutError
    import zmq.ssh, zmq.devices
    assert zmq.ssh.tunnel.tunnel_connection and zmq.devices.basedevice.BackgroundDevice
    """)


def test_every_module_of_the_tree_can_be_imported(run):
    pytest.importorskip("tornado")
    pytest.importorskip("gevent")
    run("""
    import importlib, zmqcy.compat
    zmqcy.compat.install()
    for name in zmqcy.compat.TREE:
        module = importlib.import_module(name)
        assert module.__name__ == name and importlib.import_module(name) is module
        exec(f"from {name} import *", {})
    """)


def test_install_twice_and_in_a_thread(run):
    run("""
    import sys, threading
    from zmqcy.compat import install
    threads = [threading.Thread(target=install) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    install()
    assert sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path) == 1
    import zmq, zmq.sugar.socket
    from zmq import *
    assert zmq.PUSH is PUSH and zmq.Socket is zmq.sugar.socket.Socket and zmq.error.Again is zmq.Again
    install()
    """)


def test_install_after_pyzmq_is_refused(run):
    if importlib.util.find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    done = run("import zmq, zmqcy.compat; zmqcy.compat.install()", check=False)
    assert done.returncode == 1
    assert "ImportError: zmqcy.compat.install: pyzmq is imported already, from " in done.stderr


def test_install_in_a_thread_after_pyzmq_is_refused_too(run):
    """The failed call of `install` changes nothing: pyzmq still works."""
    if importlib.util.find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    run("""
    import sys, threading, zmq, zmqcy.compat
    finders, refused = list(sys.meta_path), []

    def install():
        try:
            zmqcy.compat.install()
        except ImportError as error:
            refused.append(error.name)

    for _ in range(2):
        thread = threading.Thread(target=install)
        thread.start()
        thread.join()
    assert refused == ["zmq", "zmq"] and sys.meta_path == finders
    import zmq.asyncio
    assert zmq.Socket.__module__ != "zmqcy.compat.core" and zmq.asyncio.Context.__module__ == "zmq.asyncio"
    """)


def test_installed_in_a_thread_it_is_there_for_all(run):
    run("""
    import threading
    from zmqcy.compat import install
    found = []

    def use():
        import zmq.asyncio
        found.append(zmq.Socket.__module__)

    for function in (install, use):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()
    import zmq
    assert found == [zmq.Socket.__module__] == ["zmqcy.compat.core"]
    """)


def test_what_pyzmq_has_and_compat_lacks_says_where_to_ask(run):
    """Names of pyzmq, in each form in which a program accesses them."""
    run("""
    import zmqcy.compat
    zmqcy.compat.install()
    import zmq, zmq.utils.z85, zmq.backend

    for module, name in ((zmq.utils.z85, "_85s"), (zmq.backend, "select_backend"), (zmq, "_libs_on_path")):
        assert not hasattr(module, name)
        try:
            getattr(module, name)
        except AttributeError as error:
            text = str(error)
            assert f"zmqcy.compat has no {module.__name__}.{name};" in text
            assert "docs/from-pyzmq.md" in text and "ask for it in an issue of zmqcy" in text
            assert error.name == name and error.obj is module
    for statement in ("from zmq import _libs_on_path", "from zmq.backend import select_backend"):
        try:
            exec(statement)
        except ImportError as error:
            assert statement.split()[-1] in str(error)
        else:
            raise AssertionError(statement)
    for module in ("zmq.backend.cffi", "zmq.ssh.forward", "zmq.tests"):
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            text = str(error)
            assert f"zmqcy.compat has no module {module};" in text and "ask for it in an issue of zmqcy" in text
        else:
            raise AssertionError(module)
    """)


def test_what_is_missing_says_so(run):
    run("""
    import zmqcy.compat
    zmqcy.compat.install()
    import zmq
    assert not hasattr(zmq, "nothing")
    try:
        zmq.nothing
    except AttributeError as error:
        assert "zmqcy.compat has no zmq.nothing" in str(error) and "issue" in str(error)
    try:
        import zmq.nothing
    except ModuleNotFoundError as error:
        assert "zmqcy.compat has no module zmq.nothing" in str(error) and error.name == "zmq.nothing"
    """)


def test_import_is_light(run):
    run("""
    import sys, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    assert not {"asyncio", "tornado", "gevent", "logging", "multiprocessing"} & set(sys.modules)
    """)


def test_new_sockets_heed_the_threshold(run):
    run("""
    import zmqcy.compat
    zmqcy.compat.install()
    import zmq
    zmq.COPY_THRESHOLD = 77
    with zmq.Context() as ctx, ctx.socket(zmq.PUSH) as push:
        assert push.copy_threshold == 77
    """)


def test_pickles_are_warned_of_once(run):
    done = run("""
    import warnings, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    with zmq.Context() as ctx, ctx.socket(zmq.PUSH) as push, ctx.socket(zmq.PULL) as pull:
        push.bind("inproc://pickle")
        pull.connect("inproc://pickle")
        push.send_pyobj(1)
        push.send_pyobj(2)
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            print(pull.recv_pyobj(), pull.recv_pyobj(), *(warning.category.__name__ for warning in given))
    """)
    assert done.stdout.split() == ["1", "2", "RuntimeWarning"]


PROGRAM_OF_A_USER = """
import sys
import zmq
print(zmq.__name__, zmq.Socket.__module__, *sys.argv[1:], __name__)
"""


@pytest.mark.parametrize("how", [("user.py",), ("-m", "user"), ("--tuned", "user.py"), ("--tuned", "-m", "user")])
def test_run_a_program(tmp_path, how):
    (tmp_path / "user.py").write_text(PROGRAM_OF_A_USER)
    command = [sys.executable, "-m", "zmqcy.compat", *how, "one", "--two"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.stdout == "zmq zmqcy.compat.core one --two __main__\n", done.stderr


PROGRAM_THAT_FAILS = """
import os, signal, sys, time
if __name__ == "__main__":
    if sys.argv[1] == "hook":
        sys.excepthook = lambda kind, error, trace: print(kind, trace is not None, file=sys.stderr)
    if sys.argv[1] == "exit":
        sys.exit(3)
    if sys.argv[1] == "text":
        sys.exit("the reason")
    if sys.argv[1] == "signal":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)
    raise ValueError("its own") from OSError("its cause")
"""


@pytest.mark.parametrize("why", ["raise", "hook", "exit", "text", "signal", "syntax", "no file"])
@pytest.mark.parametrize("by_module", [False, True])
def test_a_program_fails_as_it_would(tmp_path, why, by_module):
    program = {"syntax": "def (", "no file": ""}.get(why, PROGRAM_THAT_FAILS)
    if program:
        (tmp_path / "fails.py").write_text(program)
    arguments = ["-m", "fails", why] if by_module else ["fails.py", why]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 30}
    own = subprocess.run([sys.executable, *arguments], **options)
    ours = subprocess.run([sys.executable, "-m", "zmqcy.compat", *arguments], **options)
    assert ours.returncode == own.returncode != 0
    if not by_module:
        assert ours.stderr == own.stderr
    assert own.stderr.splitlines()[-1:] == ours.stderr.splitlines()[-1:] or why == "no file"
    assert "runpy" not in ours.stderr and "compat" not in ours.stderr


def test_run_without_a_program():
    done = subprocess.run([sys.executable, "-m", "zmqcy.compat"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "python -m zmqcy.compat [--tuned] program.py" in done.stderr


PROGRAM_WITH_CHILDREN = """
import os, subprocess, sys
import zmq
code = "import sys, zmq; print(zmq.Socket.__module__, 'seen' in sys.modules)"
for options in ([], ["-m", "child"]):
    print(subprocess.check_output([sys.executable, *(options or ["-c", code])], text=True).strip())
"""


@pytest.mark.parametrize("seen", [False, True])
def test_what_a_program_starts_has_it_too(tmp_path, seen):
    """In an environment without `enable`. A sitecustomize of the environment is imported, if there is one."""
    (tmp_path / "program.py").write_text(PROGRAM_WITH_CHILDREN)
    (tmp_path / "child.py").write_text("import zmq\nprint(zmq.Socket.__module__)\n")
    if seen:
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['seen'] = sys\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "zmqcy.compat", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == f"zmqcy.compat.core {seen}\nzmqcy.compat.core\n"


def test_modules_that_python_runs():
    """`python -m zmq.curve_keygen`, and `python -m zmq.log`, which prints the records of a PUBHandler."""
    command = [sys.executable, "-m", "zmqcy.compat", "-m"]
    keys = json.loads(subprocess.check_output([*command, "zmq.curve_keygen", "--json"], timeout=30))
    assert len(keys["public"]) == len(keys["secret"]) == 40
    again = subprocess.check_output([*command, "zmq.curve_keygen", f"--secret={keys['secret']}"], timeout=30, text=True)
    assert again.split("\n")[1] == keys["public"]
    with zmqcy.Context() as ctx, ctx.socket(zmqcy.XPUB, linger=0) as pub:
        pub.bind("tcp://127.0.0.1:*")
        options = ["--topic", "root.", "--align", "--color", "--timestamp", pub.last_endpoint]
        with subprocess.Popen([*command, "zmq.log", *options], stdout=subprocess.PIPE, text=True) as watching:
            assert pub.recv(timeout=30_000) == b"\1root."
            pub.send_multipart([b"root.INFO.topic", "a text: é\n".encode()])
            line = watching.stdout.readline()
            assert line.endswith(" \033[97mroot.INFO.topic | a text: é\033[0m\n")
            watching.send_signal(signal.SIGINT)
            assert watching.wait(30) == 0


def test_exit_waits_for_a_second_at_most(run):
    """No warning is printed, because pyzmq does not wait. A program can set a longer time before or after."""
    done = run("""
    import warnings
    warnings.simplefilter("ignore", ResourceWarning)
    import zmqcy, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    assert zmqcy.exit_linger == 1000
    ctx = zmq.Context()
    socket = ctx.socket(zmq.REQ)
    socket.connect("tcp://127.0.0.1:1")
    socket.send(b"to nobody")
    """)
    assert done.stderr == ""
    run("""
    import zmqcy
    zmqcy.exit_linger = 5
    import zmqcy.compat
    zmqcy.compat.install()
    assert zmqcy.exit_linger == 5
    """)


def test_a_stream_drops_what_cannot_be_sent(run):
    """The stream continues with the next message, and logs the loss once."""
    pytest.importorskip("tornado")
    run("""
    import asyncio, logging, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    from zmq.eventloop.zmqstream import ZMQStream

    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    logging.getLogger("tornado.general").addHandler(Keep())

    async def main():
        with zmq.Context() as ctx:
            pull, push = ZMQStream(ctx.socket(zmq.PULL)), ZMQStream(ctx.socket(zmq.PUSH))
            pull.bind("inproc://drops")
            push.connect("inproc://drops")
            received, done = [], asyncio.Event()
            pull.on_recv(lambda message: (received.append(message), message == [b"last"] and done.set()))
            for message in ([b"first"], ["text"], [b"a", 5], [b"last"]):
                push.send_multipart(message)
            await asyncio.wait_for(done.wait(), 20)
            assert received == [[b"first"], [b"last"]] and not push.sending()
            push.send_multipart([None])
            push.flush()
            pull.close()
            push.close()
        assert len(records) == 3 and "dropped: ['text']" in records[0], records

    asyncio.run(main())
    """)


def test_a_handler_leaves_the_record_to_others_as_it_was(run):
    """Any thread may log, also with an asynchronous socket. A forked child warns once and drops records."""
    run("""
    import logging, os, threading, warnings, zmqcy.compat
    zmqcy.compat.install()
    import zmq, zmq.asyncio
    from zmq.log.handlers import PUBHandler

    texts = []

    class Keep(logging.Handler):
        def emit(self, record):
            texts.append(record.getMessage())

    log = logging.getLogger("handlers")
    log.setLevel(1)
    log.propagate = False
    with zmq.Context() as ctx:
        sub = ctx.socket(zmq.SUB)
        sub.rcvtimeo = 20_000
        sub.subscribe(b"")
        handlers = []
        for number, context in enumerate((ctx, zmq.asyncio.Context(ctx))):
            pub = context.socket(zmq.PUB)
            pub.bind(f"inproc://log{number}")
            sub.connect(f"inproc://log{number}")
            handlers.append(PUBHandler(pub))
            log.addHandler(handlers[-1])
        log.addHandler(Keep())

        def speak():
            log.info("listening on [::1]:80")
            log.info("topic::%s", "text")

        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
        received = [sub.recv_multipart() for _ in range(4)]
        assert sorted(received) == 2 * [[b"INFO.listening on [", b"1]:80\\n"]] + 2 * [[b"INFO.topic", b"text\\n"]]
        assert texts == ["listening on [::1]:80", "topic::text"]
        child = os.fork()
        if child == 0:
            with warnings.catch_warnings(record=True) as given:
                warnings.simplefilter("always")
                speak()
            said = [str(each.message) for each in given if each.category is RuntimeWarning]
            os._exit(0 if len(said) == 2 and "PUBHandler" in said[0] else 1)
        assert os.waitpid(child, 0)[1] == 0
        for handler in handlers:
            handler.socket.close(0)
        sub.close(0)
    """)


def test_a_topic_logger_names_its_caller():
    from zmqcy.compat.log import TopicLogger

    log, places = TopicLogger("topics"), []

    class Keep(logging.Handler):
        def emit(self, record):
            places.append((record.filename, record.funcName, record.getMessage()))

    log.addHandler(Keep())
    log.info("topic", "%d", 1)
    log.log(logging.ERROR, "topic", "2")
    (lambda: log.warning("topic", "3", stacklevel=2))()
    try:
        raise ValueError
    except ValueError:
        log.exception("topic", "4")
    here = ("test_compat.py", "test_a_topic_logger_names_its_caller")
    assert places == [(*here, f"topic::{number}") for number in range(1, 5)]


def test_ssh_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    from zmqcy.compat import ssh

    fake = tmp_path / "ssh"
    fake.write_text("#!/bin/sh\nexec sleep 100\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(ssh, "CONNECT_TIMEOUT", 0.1)
    assert not ssh.try_passwordless_ssh("u@silent", None)
    with pytest.raises(RuntimeError, match="tunnel to u@silent: no login within"):
        ssh.open_tunnel("tcp://there:5555", "u@silent")


def test_a_cancelled_receive_takes_nothing(run):
    """pyzmq may lose the message here."""
    run("""
    import asyncio, zmqcy.compat
    zmqcy.compat.install()
    import zmq, zmq.asyncio

    async def main():
        with zmq.asyncio.Context() as ctx, ctx.socket(zmq.PUSH) as push, ctx.socket(zmq.PULL) as pull:
            push.bind("inproc://cancel")
            pull.connect("inproc://cancel")
            for receive in (pull.recv, pull.recv_string, pull.recv_json, pull.recv_multipart):
                waiting = receive()
                waiting.cancel()
                await push.send(b"1")
                assert await asyncio.wait_for(pull.recv(), 5) == b"1" and waiting.cancelled()
            failing = pull.recv_json()
            await push.send(b"no JSON")
            try:
                await failing
            except ValueError:
                return
            raise AssertionError

    asyncio.run(main())
    """)


def test_a_closed_socket_does_not_end_the_poll_of_the_others(run):
    """The socket is closed before or during the poll, in an asyncio poller, `select` and `zmq_poll`."""
    run("""
    import asyncio, zmqcy.compat
    zmqcy.compat.install()
    import zmq, zmq.asyncio

    async def main(ctx):
        pull, push, closed = (ctx.socket(kind) for kind in (zmq.PULL, zmq.PUSH, zmq.PULL))
        pull.bind("inproc://others")
        push.connect("inproc://others")
        poller = zmq.asyncio.Poller()
        poller.register(closed, zmq.POLLIN)
        poller.register(pull, zmq.POLLIN)
        assert await poller.poll(10) == []
        waiting = poller.poll(20_000)
        await asyncio.sleep(0)
        closed.close()
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await push.send(b"x")
        assert await waiting == await poller.poll(20_000) == [(pull, zmq.POLLIN)]
        assert zmq.select([closed, pull], [closed], [], 20) == ([pull], [], [])
        assert zmq.zmq_poll([(closed, zmq.POLLIN), (pull, zmq.POLLIN)], 20_000) == [(pull, zmq.POLLIN)]
        assert zmq.zmq_poll([(closed, zmq.POLLIN)], 10) == []

    with zmq.asyncio.Context() as ctx:
        asyncio.run(main(ctx))
    """)


def test_a_name_is_bound_to_by_any_libzmq(run):
    """Before 4.3.5 libzmq's bind accepts only addresses."""
    run("""
    import zmqcy.compat
    zmqcy.compat.install()
    import zmq
    with zmq.Context() as ctx, ctx.socket(zmq.PULL) as pull, ctx.socket(zmq.PUSH) as push:
        port = pull.bind_to_random_port("tcp://localhost")
        assert pull.last_endpoint == b"tcp://127.0.0.1:%d" % port
        push.connect(f"tcp://localhost:{port}")
        push.send(b"x")
        assert pull.recv() == b"x"
        pull.unbind(f"tcp://localhost:{port}")
        pull.ipv6 = True
        with pull.bind("tcp://localhost:*"):
            assert pull.last_endpoint.startswith(b"tcp://[::")
        try:
            pull.bind("tcp://no-such-host.invalid:5555")
        except zmq.ZMQError as error:
            assert "tcp://no-such-host.invalid:5555" in str(error)
        else:
            raise AssertionError
    """)


def test_green_sockets_heed_their_timeouts(run):
    """Timeouts work, unlike in pyzmq. Other greenlets run meanwhile. A message that arrives in time is received."""
    pytest.importorskip("gevent")
    run("""
    import time, zmqcy.compat
    zmqcy.compat.install()
    import gevent, zmq.green as zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as left, context.socket(zmq.DEALER) as right:
        left.linger = right.linger = 0
        left.rcvtimeo = 200
        left.RCVTIMEO = 200
        left.setsockopt(zmq.SNDTIMEO, 200)
        left.sndhwm = right.rcvhwm = 1
        assert left.getsockopt(zmq.RCVTIMEO) == left.rcvtimeo == left.sndtimeo == 200
        turns = []

        def tick():
            while True:
                turns.append(1)
                gevent.sleep(0.001)

        ticking = gevent.spawn(tick)
        for call in (left.recv, left.recv_multipart, left.recv_json, left.recv_string,
                     lambda: left.recv_into(bytearray(5)), lambda: left.send(b"to nobody"),
                     lambda: left.send_multipart([b"to", b"nobody"]), lambda: left.send_json(1)):
            before, since = len(turns), time.monotonic()
            try:
                call()
            except zmq.Again:
                assert time.monotonic() - since > 0.19 and len(turns) - before > 1
            else:
                raise AssertionError(call)
        right.bind("inproc://green")
        left.connect("inproc://green")
        left.rcvtimeo = left.sndtimeo = 20_000
        asked = [gevent.spawn(left.recv), gevent.spawn(left.recv_multipart)]
        gevent.sleep(0.01)
        right.send(b"1")
        right.send_multipart([b"2", b"3"])
        assert [each.get(timeout=10) for each in asked] == [b"1", [b"2", b"3"]]
        sending = gevent.spawn(lambda: [left.send(b"%d" % number) for number in range(20)])
        assert [right.recv() for _ in range(20)] == [b"%d" % number for number in range(20)]
        sending.get(timeout=10)
        left.rcvtimeo = -1  # wait indefinitely
        waiting = gevent.spawn(left.recv)
        gevent.sleep(0.05)
        assert not waiting.ready()
        right.send(b"last")
        assert waiting.get(timeout=10) == b"last"
        left.rcvtimeo = 0
        try:
            left.recv()
        except zmq.Again:
            pass
        ticking.kill()
    """)


def test_a_green_router_whose_peer_is_full_waits_for_it_alone(run):
    """The ROUTER reports POLLOUT because of its other peers. Other greenlets run meanwhile."""
    pytest.importorskip("gevent")
    run("""
    import zmqcy.compat
    zmqcy.compat.install()
    import gevent, zmq.green as zmq

    with zmq.Context() as context:
        router, dealer, other = (context.socket(kind) for kind in (zmq.ROUTER, zmq.DEALER, zmq.DEALER))
        router.linger = dealer.linger = other.linger = 0
        router.router_mandatory = True
        router.sndhwm = dealer.rcvhwm = 1
        dealer.identity = b"full"
        router.bind("inproc://full")
        dealer.connect("inproc://full")
        dealer.send(b"here")
        assert router.recv_multipart() == [b"full", b"here"]
        other.connect("inproc://full")
        other.send(b"has room")
        assert router.recv_multipart()[1] == b"has room"
        sent = 0
        try:
            while True:
                router.send_multipart([b"full", b"%d" % sent], zmq.DONTWAIT)
                sent += 1
        except zmq.Again:
            assert router.getsockopt(zmq.EVENTS) & zmq.POLLOUT
        router.sndtimeo = 50
        try:
            router.send_multipart([b"full", b"in vain"])
        except zmq.Again:
            pass
        else:
            raise AssertionError
        router.sndtimeo = 20_000
        sending = gevent.spawn(router.send_multipart, [b"full", b"last"])
        gevent.sleep(0.01)
        assert not sending.ready()
        assert [dealer.recv() for _ in range(sent)] == [b"%d" % number for number in range(sent)]
        sending.get(timeout=10)
        assert dealer.recv() == b"last"
        for socket in (router, dealer, other):
            socket.close()
    """)


def test_a_stream_of_a_closed_socket_warns_as_in_pyzmq(run):
    pytest.importorskip("tornado")
    done = run("""
    import asyncio, warnings, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    from zmq.eventloop.zmqstream import ZMQStream

    async def main():
        with zmq.Context() as ctx:
            stream = ZMQStream(ctx.socket(zmq.PUSH))
            stream.socket.close()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert stream.closed()
            print(*[f"{each.category.__name__}: {each.message}" for each in caught])

    asyncio.run(main())
    """)
    assert done.stdout.startswith("UserWarning: ZMQStream: file descriptor ")
    assert "after closing socket;" in done.stdout  # pyzmq's words, which its own test expects


def test_a_stream_answers(run):
    """Test a REP, which must send before it receives, and a ROUTER with many requests at once."""
    pytest.importorskip("tornado")
    done = run("""
    import asyncio, threading, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    from zmq.eventloop.zmqstream import ZMQStream

    def ask(context, where, kind, answers):
        with context.socket(kind) as socket:
            socket.linger, socket.rcvtimeo = 0, 10_000
            socket.connect(where)
            if kind == zmq.REQ:
                for number in range(300):
                    socket.send(b"%d" % number)
                    answers.append(socket.recv())
            else:
                for number in range(300):
                    socket.send(b"%d" % number)
                answers.extend(socket.recv() for _ in range(300))

    async def main():
        failed = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
        with zmq.Context() as context:
            for server, client in ((zmq.REP, zmq.REQ), (zmq.ROUTER, zmq.DEALER)):
                stream, answers = ZMQStream(context.socket(server)), []
                stream.bind(f"inproc://{int(server)}")
                sent = []
                stream.on_send(lambda message, status: sent.append(message[-1]))
                stream.on_recv(stream.send_multipart)
                where = f"inproc://{int(server)}"
                await asyncio.to_thread(ask, context, where, client, answers)
                assert answers == sent == [b"%d" % number for number in range(300)] and not stream.sending()
                stream.close()
        assert failed == []

    asyncio.run(main())
    """)
    assert done.stderr == ""


def test_objects_of_zmqcy_and_of_compat_shadow_each_other(run):
    """Contexts and sockets of one libzmq, plain and asynchronous, by object and by address, while both exist."""
    run("""
    import asyncio, zmqcy, zmqcy.asyncio, zmqcy.compat
    zmqcy.compat.install()
    import zmq, zmq.asyncio

    ours, theirs = zmqcy.Context(), zmq.Context()
    numbers = iter(range(1000))

    def talk(first, second):
        where = f"inproc://{next(numbers)}"
        with first.socket(zmq.PULL) as pull, second.socket(zmq.PUSH) as push:
            pull.rcvtimeo = 5000
            pull.bind(where)
            push.connect(where)
            push.send(b"x")
            assert pull.recv() == b"x"

    for library, origin in ((zmq, ours), (zmqcy, theirs)):
        kind = library.Context
        for make in (kind.shadow, kind, lambda context, kind=kind: kind(shadow=context.underlying)):
            shadow = make(origin)
            assert type(shadow) is kind and shadow.underlying == origin.underlying
            talk(origin, shadow)
            talk(shadow, origin)
            del shadow
            assert not origin.closed

    def back_and_forth(one, other, shadow_of_one):
        other.rcvtimeo = shadow_of_one.rcvtimeo = 5000
        shadow_of_one.send(b"by the shadow")
        one.send_multipart([b"by", b"itself"])
        assert [other.recv(), other.recv_multipart()] == [b"by the shadow", [b"by", b"itself"]]
        other.send(b"1")
        other.send(b"2")
        assert [one.recv(), shadow_of_one.recv()] == [b"1", b"2"]
        shadow_of_one.sndhwm = 7
        assert one.sndhwm == 7

    for context, kind in ((ours, zmq.Socket), (theirs, zmqcy.Socket)):
        for make in (kind.shadow, lambda socket: kind.shadow(socket.underlying)):
            where = f"inproc://{next(numbers)}"
            one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            one.bind(where)
            other.connect(where)
            shadow = make(one)
            assert type(shadow) is kind and shadow.underlying == one.underlying and not shadow.closed
            back_and_forth(one, other, shadow)
            del shadow  # `one` stays open
            assert not one.closed
            again = make(one)
            one.close(0)
            for use in (lambda: again.send(b"x"), again.recv):
                try:
                    use()
                except zmq.ZMQError as error:
                    assert error.errno == zmq.ENOTSOCK
                else:
                    raise AssertionError("a shadow of a closed socket")
            other.close(0)

    async def both(context, kind):
        where = f"inproc://{next(numbers)}"
        one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        one.bind(where)
        other.connect(where)
        shadow = kind.shadow(one)
        waiting = asyncio.ensure_future(shadow.recv())
        await asyncio.sleep(0)
        other.send(b"to the coroutine")
        assert await asyncio.wait_for(waiting, 5) == b"to the coroutine"
        await shadow.send(b"from it")
        other.rcvtimeo = 5000
        assert other.recv() == b"from it"
        one.close(0)
        other.close(0)

    asyncio.run(both(ours, zmq.asyncio.Socket))
    asyncio.run(both(theirs, zmqcy.asyncio.Socket))
    ours.destroy(0)
    theirs.destroy(0)
    """)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_devices_in_processes(tmp_path, method):
    """Devices run with each start method of multiprocessing, and end with their process."""
    (tmp_path / "devices.py").write_text(PROGRAM_WITH_DEVICES)
    command = [sys.executable, "-W", "error", "devices.py", method]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "device\nproxy\nmonitored queue\n"


PROGRAM_WITH_DEVICES = """
import multiprocessing, os, sys, time
from zmqcy.compat import install
install()
import zmq, zmq.devices

LIMIT = 20_000


def linked(ctx, kind, port, **options):
    socket = ctx.socket(kind)
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = LIMIT
    for name, value in options.items():
        setattr(socket, name, value)
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


def started(device, *sides):
    ports = [getattr(device, f"bind_{side}_to_random_port")("tcp://127.0.0.1") for side in sides]
    for side in sides:
        getattr(device, f"setsockopt_{side}")(zmq.LINGER, 0)
    device.start()
    process = device.launcher
    assert isinstance(process, multiprocessing.process.BaseProcess) and process.daemon and process.pid != os.getpid()
    return ports


def end(device, *sockets):
    for socket in sockets:
        socket.close()
    device.join(0.01)
    assert device.launcher.is_alive()
    device.launcher.terminate()
    device.join(20)
    assert device.launcher.exitcode == -15


def subscribed(sub, send, receive):
    while not sub.poll(20):  # messages that are sent before the subscription arrives are dropped
        send()
        receive()
    return sub.recv_multipart()


def main(ctx):
    device = zmq.devices.ProcessDevice(zmq.QUEUE, zmq.ROUTER, zmq.DEALER)
    front, back = started(device, "in", "out")
    req, rep = linked(ctx, zmq.REQ, front), linked(ctx, zmq.REP, back)
    for number in range(20):
        req.send_multipart([b"question", b"%d" % number])
        rep.send_multipart([b"answer", *rep.recv_multipart()])
        assert req.recv_multipart() == [b"answer", b"question", b"%d" % number]
    end(device, req, rep)
    print("device")

    device = zmq.devices.ProcessProxy(zmq.PULL, zmq.PUSH, zmq.PUB)
    front, back, capture = started(device, "in", "out", "mon")
    push, pull = linked(ctx, zmq.PUSH, front), linked(ctx, zmq.PULL, back)
    sub = linked(ctx, zmq.SUB, capture, subscribe=b"")
    assert subscribed(sub, lambda: push.send_multipart([b"1", b"2"]), pull.recv_multipart) == [b"1", b"2"]
    push.send(b"now")
    assert pull.recv() == b"now"
    while sub.recv_multipart() != [b"now"]:  # copies of earlier messages
        pass
    for number in range(200):
        push.send(b"%d" % number)
    wanted = [b"%d" % number for number in range(200)]
    assert [pull.recv() for _ in range(200)] == wanted
    assert [sub.recv() for _ in range(200)] == wanted
    end(device, push, pull, sub)
    print("proxy")

    device = zmq.devices.ProcessMonitoredQueue(zmq.ROUTER, zmq.DEALER, zmq.PUB, b"in", b"out")
    front, back, capture = started(device, "in", "out", "mon")
    req, rep = linked(ctx, zmq.REQ, front, identity=b"me"), linked(ctx, zmq.REP, back)
    sub = linked(ctx, zmq.SUB, capture, subscribe=b"")

    def ask():
        req.send(b"question")
        rep.send(rep.recv() + b", answered")

    prefix, *rest = subscribed(sub, ask, req.recv)
    if prefix == b"out":  # the subscription came between a question and its answer
        ask()
        req.recv()
        prefix, *rest = sub.recv_multipart()
    assert prefix == b"in"
    assert rest == [b"me", b"", b"question"]
    assert sub.recv_multipart() == [b"out", b"me", b"", b"question, answered"]
    end(device, req, rep, sub)
    print("monitored queue")


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    context = zmq.Context()
    try:
        main(context)
    finally:
        context.destroy(0)
"""


@pytest.mark.parametrize("server", ["-oProxyCommand=x", "user@-oProxyCommand=x", "user@-oProxyCommand=x:22", "@-V"])
def test_a_server_of_a_tunnel_is_no_option(server):
    from zmqcy.compat import ssh

    for call in (ssh.try_passwordless_ssh, lambda server, _: ssh.open_tunnel("tcp://there:5555", server)):
        with pytest.raises(ValueError, match=r"the server must be \[user@\]host\[:port\], not"):
            call(server, None)


def test_tunnels_say_what_ssh_says():
    from zmqcy.compat import ssh

    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh")
    [closed] = ssh.select_random_ports(1)
    assert not ssh.try_passwordless_ssh(f"127.0.0.1:{closed}", None)
    with pytest.raises(RuntimeError, match="(?i)tunnel to 127.0.0.1:.*(refused|closed)"):
        ssh.open_tunnel("tcp://there:5555", f"127.0.0.1:{closed}")
    with pytest.raises(ValueError, match="tcp"):
        ssh.open_tunnel("ipc://there", "server")
    with pytest.raises(NotImplementedError, match="key"):
        ssh.open_tunnel("tcp://there:5555", "server", password="secret")
    with pytest.raises(ValueError, match="the server must be"):
        ssh.try_passwordless_ssh("-oProxyCommand=true", None)


def test_what_nobody_awaits_is_sent(run):
    run("""
    import asyncio, gc, zmqcy.compat
    zmqcy.compat.install()
    import zmq, zmq.asyncio

    async def main():
        with zmq.asyncio.Context() as ctx, ctx.socket(zmq.PUSH) as push, ctx.socket(zmq.PULL) as pull:
            push.send(b"1")
            push.send_multipart([b"2", b"3"])
            gc.collect()
            push.bind("inproc://late")
            pull.connect("inproc://late")
            assert await asyncio.wait_for(pull.recv_multipart(), 5) == [b"1"]
            assert await asyncio.wait_for(pull.recv_multipart(), 5) == [b"2", b"3"]

    asyncio.run(main())
    """)


def test_frames_are_those_of_pyzmq(run):
    run("""
    import copy, zmqcy.compat
    zmqcy.compat.install()
    import zmq
    with zmq.Context() as ctx, ctx.socket(zmq.PAIR) as one, ctx.socket(zmq.PAIR) as two:
        one.bind("inproc://frames")
        two.connect("inproc://frames")
        one.send_multipart([zmq.Frame(b"a"), b"x" * 2000])
        first, second = two.recv_multipart(copy=False)
        assert type(first) is type(second) is zmq.Frame
        assert second.bytes is second.bytes == b"x" * 2000 and str(first) == "<zmq.Frame(b'a')>"
        view = second.buffer
        assert view is second.buffer and copy.copy(second).bytes == second.bytes
        one.send(first)
        frame = two.recv(copy=False)
        assert type(frame) is zmq.Frame and frame.bytes == b"a"
    """)


@pytest.mark.parametrize("kind", ["thread", "asyncio"])
def test_authenticators(run, tmp_path, kind):
    run(
        """
        import asyncio, logging, sys, zmqcy.compat
        zmqcy.compat.install()
        import zmq, zmq.asyncio, zmq.auth, zmq.auth.thread, zmq.auth.asyncio, zmq.utils.monitor

        async def enters(ctx, server_keys, keys):
            with ctx.socket(zmq.PULL) as pull, ctx.socket(zmq.PUSH) as push:
                pull.linger = push.linger = 0
                pull.curve_publickey, pull.curve_secretkey = server_keys
                pull.curve_server = True
                port = pull.bind_to_random_port("tcp://127.0.0.1")
                monitor = pull.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
                push.curve_publickey, push.curve_secretkey = keys
                push.curve_serverkey = server_keys[0]
                push.connect(f"tcp://127.0.0.1:{port}")
                event = await zmq.utils.monitor.recv_monitor_message(monitor)
                pull.disable_monitor()
                monitor.close()
                return event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED

        class Provider:
            def callback(self, domain, key):
                return domain == "*" and key == self.key

        async def main(kind, folder):
            _, secret = zmq.auth.create_certificates(folder, "client", {"name": "me"})
            keys, server, other = zmq.auth.load_certificate(secret), zmq.curve_keypair(), zmq.curve_keypair()
            assert zmq.auth.load_certificates(folder) == {keys[0]: True}
            ctx = zmq.asyncio.Context()
            kinds = {"thread": zmq.auth.thread.ThreadAuthenticator, "asyncio": zmq.auth.asyncio.AsyncioAuthenticator}
            auth, said = kinds[kind](ctx), []
            auth.log.setLevel(1)
            auth.log.addHandler(logging.Handler())
            auth.log.handlers[0].emit = lambda record: said.append(record.getMessage().split()[0])
            auth.start()
            found = [await enters(ctx, server, keys)]
            auth.configure_curve(location=folder)
            found += [await enters(ctx, server, keys), await enters(ctx, server, other)]
            provider = Provider()
            provider.key = other[0]
            auth.configure_curve_callback(credentials_provider=provider)
            found += [await enters(ctx, server, keys), await enters(ctx, server, other)]
            auth.configure_curve(location=zmq.auth.CURVE_ALLOW_ANY)
            found += [await enters(ctx, server, keys)]
            auth.deny("127.0.0.1")
            found += [await enters(ctx, server, keys)]
            auth.stop()
            ctx.term()
            assert said == [{True: "ALLOWED", False: "DENIED"}[each] for each in found]
            return found

        assert asyncio.run(main(*sys.argv[1:])) == [False, True, False, False, True, True, False]
        """,
        kind,
        str(tmp_path),
    )


def test_authenticators_refuse_whatever_happens(run):
    run("""
    import asyncio, zmqcy.compat
    zmqcy.compat.install()
    import logging
    import zmq, zmq.asyncio, zmq.auth.thread, zmq.auth.asyncio

    def ask(ctx, address=b"127.0.0.1", mechanism=(b"NULL",)):
        with ctx.socket(zmq.REQ) as question:
            question.linger, question.rcvtimeo = 0, 10_000
            question.connect("inproc://zeromq.zap.01")
            question.send_multipart([b"1.0", b"7", b"", address, b"", *mechanism])
            return question.recv_multipart()[2]

    class Provider:
        def callback(self, domain, key):
            raise SystemExit

    curve = b"CURVE", bytes(32)
    with zmq.Context() as ctx:
        auth = zmq.auth.thread.ThreadAuthenticator(ctx)
        auth.start()
        auth.configure_curve_callback(credentials_provider=Provider())
        assert [ask(ctx, mechanism=curve) for _ in range(2)] == [b"500", b"500"]
        assert auth.is_alive() and ask(ctx) == b"200"
        auth.deny("127.0.0.1", "2001:db8::0:1", "fe80::1")
        for address in (b"127.0.0.1", b"::ffff:127.0.0.1", b"::FFFF:7f00:1", b"2001:db8::1", b"fe80::1%eth0"):
            assert ask(ctx, address) == b"400", address
        assert ask(ctx, b"127.0.0.2") == ask(ctx, b"localhost:0:0:1") == b"200"
        auth.stop()
        assert not auth.is_alive() and ask(ctx, b"127.0.0.2") == b"400"
    texts = []
    logging.getLogger("zmq.auth").addFilter(lambda record: texts.append(record.getMessage()))
    for kind in (zmq.Context, zmq.asyncio.Context):
        with kind() as ctx, ctx.socket(zmq.PULL) as pull:
            pull.zap_domain = b"global"
            pull.bind("tcp://127.0.0.1:*")
    assert len(texts) == 2 and all("no Authenticator is running" in text for text in texts), texts

    async def main(ctx):
        auth = zmq.auth.asyncio.AsyncioAuthenticator(ctx)
        auth.start()
        auth.allow("::ffff:127.0.0.1", "fe80::2%eth0")
        wanted = {b"127.0.0.1": b"200", b"127.0.0.2": b"400", b"fe80::2%eth0": b"200", b"fe80::2%eth1": b"400"}
        for address, status in wanted.items():
            assert await asyncio.to_thread(ask, ctx, address) == status
        return auth

    with zmq.Context() as ctx:
        auth = asyncio.run(main(ctx))
        assert ask(ctx) == b"500"
        auth.stop()
        assert ask(ctx) == b"400"
    """)
