"""`zmqcy.compat`: what programs rely on, beside pyzmq itself, and how it is installed."""

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zmqcy import compat

PROGRAM = Path(__file__).with_name("behaviours.py")
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
    """What comes of each behaviour with compat."""
    return outcomes("-m", "zmqcy.compat")


@pytest.fixture(scope="module")
def theirs():
    """The same with pyzmq."""
    return outcomes() if importlib.util.find_spec("zmq") else None


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour(ours, theirs, name):
    found = ours[name]
    if isinstance(found, dict) and found["error"] == "ModuleNotFoundError" and "zmq" not in found["text"]:
        pytest.skip(found["text"])
    assert found is not False and not (isinstance(found, dict) and "error" in found), found
    if theirs is not None:
        assert found == theirs[name]


def test_every_name_of_pyzmq_is_there(run):
    """All that `dir(zmq)` of pyzmq lists, and what its modules say that they export."""
    if importlib.util.find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    modules = [name for name in compat.TREE if ".green" not in name]
    theirs = run(
        """
        import importlib, json, sys, warnings
        warnings.simplefilter("ignore")
        names = {}
        for name in json.loads(sys.argv[1]):
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            names[name] = dir(module) if name == "zmq" else list(getattr(module, "__all__", ()))
        print(json.dumps(names))
        """,
        json.dumps(modules),
    ).stdout
    missing = run(
        """
        import importlib, json, sys, zmqcy.compat
        zmqcy.compat.install()
        missing = []
        for module, names in json.loads(sys.argv[1]).items():
            missing += [f"{module}.{name}" for name in names if not hasattr(importlib.import_module(module), name)]
        print(json.dumps(missing))
        """,
        theirs,
    ).stdout
    own = {"Enum", "IntEnum", "IntFlag", "annotations", "os", "sys", "contextmanager", "_typing", "_libs_on_path"}
    own |= {"__annotations__", "__builtins__", "__cached__", "__file__"}
    assert [name for name in json.loads(missing) if name.rpartition(".")[2] not in own] == []


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


@pytest.mark.parametrize("how", [("user.py",), ("-m", "user")])
def test_run_a_program(tmp_path, how):
    (tmp_path / "user.py").write_text(PROGRAM_OF_A_USER)
    command = [sys.executable, "-m", "zmqcy.compat", *how, "one", "--two"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.stdout == "zmq zmqcy.compat.core one --two __main__\n", done.stderr


def test_run_without_a_program():
    done = subprocess.run([sys.executable, "-m", "zmqcy.compat"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "python -m zmqcy.compat program.py" in done.stderr


def test_a_cancelled_receive_takes_nothing(run):
    """Where pyzmq's may have taken the message."""
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
    with pytest.raises(ValueError, match="no name"):
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
        import asyncio, sys, zmqcy.compat
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
            auth = kinds[kind](ctx)
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
            return found

        assert asyncio.run(main(*sys.argv[1:])) == [False, True, False, False, True, True, False]
        """,
        kind,
        str(tmp_path),
    )
