"""Extension modules import only modules below them, and no two files import each other."""

import re
from graphlib import TopologicalSorter

import pytest
from paths import ROOT

SIDE_BY_SIDE = [{"_socket"}, {"_poll"}, {"_proxy"}, {"_loop", "_operations", "_aio"}]
TABLES = {"libzmq", "_system", "errors", "options", "socket_types", "stats", "_watcher"}


def modules():
    """The extension modules, from the bottom up."""
    text = (ROOT / "setup.py").read_text()
    return re.findall(r'"(\w+)"', re.search(r"^MODULES = \[(.+?)\]", text, re.MULTILINE | re.DOTALL)[1])


def imported(path):
    """The names of zmqcy that a source imports or cimports, at any level, and the names that it uses of the package."""
    text = path.read_text()
    names = set(re.findall(r"^\s*from zmqcy\.(\w+) c?import", text, re.MULTILINE))
    for line in re.findall(r"^\s*from zmqcy c?import (.+)$", text, re.MULTILINE):
        names |= set(re.findall(r"\w+", line))
    return names | set(re.findall(r"\bzmqcy\.(\w+) c?import", text)) - {path.stem}


def test_extension_modules_import_only_what_lies_below_them():
    order = modules()
    assert set(order) > set().union(*SIDE_BY_SIDE)
    above = []
    for name in order:
        same_floor = set().union(*[rooms for rooms in SIDE_BY_SIDE if name not in rooms])
        below = TABLES | set(order[: order.index(name)]) - same_floor
        for path in (ROOT / "zmqcy").glob(f"{name}.p[xy][xd]"):
            above += [f"{path.name}: {each}" for each in imported(path) - below - {name}]
    assert not above


def test_extension_modules_do_not_look_into_the_package_above_them():
    looks = [
        path.name
        for path in (ROOT / "zmqcy").glob("*.py[x]")
        if re.search(r'modules[.\[(get]*"zmqcy', path.read_text())
    ]
    assert not looks


def test_the_package_needs_no_compat():
    assert not any("compat" in name for name in imported(ROOT / "zmqcy" / "__init__.py"))
    assert '"zmqcy.compat' not in (ROOT / "zmqcy" / "__init__.py").read_text()


@pytest.mark.parametrize("folder", ["benchmarks", "tests", "tools"])
def test_no_files_import_each_other(folder):
    files = {path.stem: path.read_text() for path in (ROOT / folder).rglob("*.py")}
    graph = {
        name: files.keys() & set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE)) - {name}
        for name, text in files.items()
    }
    TopologicalSorter(graph).prepare()  # it raises CycleError, and names the files


def test_no_two_classes_of_sockets_share_a_name_but_those_that_users_import():
    sources = [*(ROOT / "zmqcy").glob("*.pyx"), *(ROOT / "zmqcy").glob("*.py")]
    names = [each for path in sources for each in re.findall(r"^(?:cdef )?class (\w*Socket)\b", path.read_text(), re.M)]
    assert [each for each in set(names) if names.count(each) > 1] == ["Socket"]
