"""The pages in docs/: their Python runs, and their links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"

# The parts of a page one after the other, as in `python -m asyncio`: a name from one part is known in the next.
CONSOLE = """
import ast, asyncio, inspect, json, sys

async def main():
    known = {"__name__": "__main__"}
    for line, part in json.load(sys.stdin):
        code = compile("\\n" * line + part, sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, known)
        if inspect.iscoroutine(result):
            await result

asyncio.run(main())
"""
BEFORE = "import asyncio\nimport zmqcy\nfrom zmqcy.asyncio import Context\n"


def parts_of(name):
    """Return the parts of Python on a page, each with the line before it."""
    text = (DOCS / name).read_text()
    return [(text[: found.start(1)].count("\n"), found[1]) for found in re.finditer(r"```python\n(.*?)```", text, re.S)]


def is_program(part):
    return re.search(r"^\w+\.run\(", part, re.M) is not None


PROGRAMS = {"uvloop": "b'hello'\n", "anyio": "b'not lost'\n"}


def test_the_asyncio_page_can_be_typed_into_a_console(run):
    parts = [(line, part) for line, part in parts_of("asyncio.md") if not is_program(part)]
    assert len(parts) > 10
    assert run(CONSOLE, DOCS / "asyncio.md", input=json.dumps(parts)).stdout == ""


@pytest.mark.parametrize("library", PROGRAMS)
def test_the_programs_of_the_asyncio_page_run(run, library):
    programs = [part for _, part in parts_of("asyncio.md") if is_program(part)]
    assert len(programs) == len(PROGRAMS)
    [program] = [part for part in programs if f"{library}.run(" in part]
    assert run(BEFORE + program).stdout == PROGRAMS[library]


def test_the_page_for_users_of_pyzmq_runs(run):
    parts = parts_of("from-pyzmq.md")
    assert len(parts) == 3
    for line, part in parts:  # each in a process of its own: the last puts another module under the name zmq
        assert run(CONSOLE, DOCS / "from-pyzmq.md", input=json.dumps([(line, part)])).stdout == ""


def test_links_lead_somewhere():
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text())]
    assert len(links) > 5
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
