"""Write the stubs, zmqcy/*.pyi, from the signatures in the sources and the tables of options and constants.

    python tools/stubs.py

setup.py runs this, so checkouts, wheels and source distributions have the stubs. git ignores them. It reads only the
sources, and needs no compiled module. For each module with a stub:

- The stub has each function with `->` in its header, without the body. A function without `->` inherits its types.
- ``X if flag else Y`` in a signature becomes overloads. `flag` is a parameter, a bool or None by default.
- Code that only types need is in the source: in Python under ``if TYPE_CHECKING:``, in Cython after ``#:``. It is
  copied to the stub, and replaces the definition with the same name.
- Other private names are omitted if no public signature uses them.
- In Cython, the names in `HOMES` need no import.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from enum import Enum, IntFlag
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent.parent / "zmqcy"
package = ModuleType("zmqcy")  # to import the tables of this checkout before the extension modules exist
package.__path__ = [str(PACKAGE)]
sys.modules["zmqcy"] = package

from zmqcy import constants  # noqa: E402
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS, Option  # noqa: E402

Lines = Iterator[str]
Function = ast.FunctionDef | ast.AsyncFunctionDef

# The Python modules with a stub. Type checkers read, and check, the sources of the others.
PYTHON = ("socket", "context", "asyncio", "anyio", "monitor", "security", "auth", "metrics", "web")
# Coroutines without types use those of another class, without its futures.
TWINS = {
    "socket.AsyncSocket": "socket.Socket",
    "socket.AsyncPoller": "_poll.Poller",
    "anyio.Socket": "_aio.FutureSocket",
}
# The method `socket` of an asynchronous context, made from its `_socket_class`.
MAKER = (
    "def socket(self, socket_type: int, socket_class: Callable[[Any, int], Any] | None = None, "
    "**options: Unpack[_SocketOptions]) -> {}: ..."
)
TIME = "float | timedelta | None"  # `_Time` in the sources
HOMES = {
    name: home
    for home, names in {
        "collections.abc": "Awaitable Callable Collection Generator Iterable Sequence",
        "datetime": "timedelta",
        "typing": "Any Final Literal NoReturn Protocol TypeAlias TypeVar final overload type_check_only",
        "typing_extensions": "Buffer Never Self Unpack disjoint_base",
        "asyncio": "AbstractEventLoop Future",
        "_typeshed": "HasFileno",
        "zmqcy._base": "NativeSocket",
        "zmqcy._context": "Context _HasUnderlying",
        "zmqcy._options": "ContextOptions Property SocketOptions _WriteOnly",
        "zmqcy._loop": "_Future",
        "zmqcy._message": "Frame MessageTracker",
        "zmqcy._poll": "_Pollable",
        "zmqcy.constants": "SocketOption",
        "zmqcy.options": "Option",
        "zmqcy.socket": "_SocketOptions",
        "zmqcy.stats": "SocketStats",
    }.items()
    for name in names.split()
}


# ----------------------------------------------------------------------------------------------------------- the tables

GIVES = {
    "int": "int",
    "bool": "bool",
    "int64": "int",
    "uint64": "int",
    "fd": "int",
    "duration": "int",
    "bytes": "bytes",
    "string": "str",
    "key": "bytes",
}
TAKES = GIVES | {
    "duration": TIME,
    "bytes": "Buffer",
    "string": "str | bytes | None",
    "key": "bytes | str",
}
IDENTITY = Option(5, "identity", "bytes", "rw", "", "")  # the old name, which is an attribute too
METHODS = ("subscribe", "unsubscribe")  # of sockets; contexts have options of these names


def property_of(option: Option) -> Lines:
    name, taken = option.name, TAKES[option.kind]
    if option.access == "w":
        yield f"{name}: _WriteOnly[{taken}]"
        return
    yield "@property"
    yield f"def {name}(self) -> {GIVES[option.kind]}: ..."
    if option.access == "rw":
        yield f"@{name}.setter"
        yield f"def {name}(self, value: {taken}) -> None: ..."


def attribute(option: Option) -> str:
    return f"{option.name}: {TAKES[option.kind]}"


def defaults() -> list[Option]:
    """List the socket options for which a context only has defaults."""
    own = {option.name for option in CONTEXT_OPTIONS}
    return [option for option in SOCKET_OPTIONS if "w" in option.access and option.name not in own]


def kinds() -> Lines:
    """Write the socket options by their type in getsockopt and setsockopt."""
    groups = {
        "_DurationOption": ["duration"],
        "_BytesOption": ["bytes"],
        "_StringOption": ["string"],
        "_KeyOption": ["key"],
    }
    groups["_IntOption"] = sorted(set(GIVES).difference(*groups.values()))
    for group, members in groups.items():
        names = [option.name for option in SOCKET_OPTIONS if option.kind in members]
        names += [alias for alias, name in ALIASES.items() if name in names]
        yield f"{group}: TypeAlias = Literal[{', '.join(f'SocketOption.{name.upper()}' for name in names)}]"


def socket_keywords() -> Lines:
    for option in (*SOCKET_OPTIONS, IDENTITY):
        if "w" in option.access and option.name not in METHODS:
            yield attribute(option)


def socket_properties() -> Lines:
    for option in (*SOCKET_OPTIONS, IDENTITY):
        if option.name not in METHODS:
            yield from property_of(option)


def context_keywords() -> Lines:
    for option in (*CONTEXT_OPTIONS, *defaults(), IDENTITY):
        if "w" in option.access and option.name != "io_threads":  # a separate parameter
            yield attribute(option)


def context_attributes() -> Lines:
    for option in CONTEXT_OPTIONS:
        yield from property_of(option)
    for option in (*defaults(), IDENTITY):  # a default is returned as it was set
        yield attribute(option)


FROM_TABLES: dict[str, Callable[[], Lines]] = {
    "_options": kinds,
    "socket._SocketOptions": socket_keywords,
    "socket.BaseSocket": socket_properties,
    "context._ContextOptions": context_keywords,
    "context.Context": context_attributes,
}


def enum(cls: type[Enum]) -> Lines:
    yield f"class {cls.__name__}({'IntFlag' if issubclass(cls, IntFlag) else 'IntEnum'}):"
    for name, member in cls.__members__.items():
        # The values of errors depend on the system.
        yield f"    {name} = {'...' if cls is constants.Errno else member.value}"


def plain_names() -> dict[str, str]:
    """Map each public name of `constants` to its value, except classes."""
    names = {}
    for name in constants.__all__:
        value = getattr(constants, name)
        if isinstance(value, Enum):
            names[name] = f"{type(value).__name__}.{value.name}"
        elif isinstance(value, (int, str)):
            names[name] = repr(value)
    return names


def constants_stub() -> Lines:
    yield "from enum import Enum, IntEnum, IntFlag"
    yield "from typing import Final"
    for cls, _ in constants.ENUMS:
        yield from enum(cls)
    yield "ENUMS: Final[tuple[tuple[type[Enum], str], ...]]"
    names = plain_names()
    for name, value in names.items():
        yield f"{name}: Final = {value}"
    yield f"__all__ = {sorted([*(cls.__name__ for cls, _ in constants.ENUMS), *names])}"


# ---------------------------------------------------------------------------------------------------------- the sources


def skeleton(path: Path) -> Lines:
    """Yield the declarations of a Cython source as Python."""
    text = path.read_text()
    fields = path.with_suffix(".pxd").read_text() if path.with_suffix(".pxd").exists() else ""
    source = iter(text.splitlines())
    in_class = False
    decorators: list[str] = []
    for line in source:
        if typed := re.match(r"( *)#:", line):
            yield f"{typed[1]}if TYPE_CHECKING:"
            while typed:
                yield line.replace("#:", "   ", 1)
                typed = re.match(r" *#:", line := next(source))
        indent = line[: len(line) - len(line.lstrip())]
        if line and line[0].isalpha():
            in_class = line.startswith(("cdef class ", "class "))
        if len(indent) != 4 * in_class and not re.match(r"[@a-z]", line):
            continue
        if imported := re.match(r"from (zmqcy\S*) c?import (.*)", line):
            names = imported[2]
            while names.count("(") > names.count(")"):
                names += next(source)
            yield f"from {imported[1]} import {names}"
        elif line.lstrip().startswith("@"):
            if re.search(r"@(property|classmethod|staticmethod|\w+\.setter|cython\.final)$", line):
                decorators.append(line.replace("@cython.", "@"))
            continue
        elif found := re.match(r"cdef (class (\w+).*)", line):
            yield from decorators
            if re.search(
                rf"^cdef class {found[2]}\b.*\n(?:(?: .*)?\n)*?    cdef [^(\n]*$", fields + text, re.MULTILINE
            ):
                yield "@disjoint_base"
            yield found[1]
            yield "    pass"
        elif line.lstrip().startswith("def "):
            header = line
            while not re.search(r":( *#.*)?$", header):
                header += next(source).strip()
            if "->" in header:
                header = re.sub(r"\b(?:bint|int|size_t) (\w+)", r"\1: int", header)
                yield from decorators
                yield re.sub(r":( *#.*)?$", ": ...", re.sub(r"([(,] ?)([A-Z]\w+) (\w+)", r"\1\3: \2", header))
        decorators = []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def name_of(node: ast.AST) -> str | None:
    """Return the name that a statement defines."""
    if isinstance(node, Function | ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else None


class Choice(ast.NodeTransformer):
    """Replace ``X if flag else Y`` with one of them, or with ``X | Y``."""

    def __init__(self, which: bool | None):
        self.which = which

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        if self.which is None:
            return ast.BinOp(node.body, ast.BitOr(), node.orelse)
        return node.body if self.which else node.orelse


def overloads(function: Function) -> Iterator[Function]:
    """Yield a function once per variant of its types."""
    tests = [node.test for node in ast.walk(function) if isinstance(node, ast.IfExp)]
    if not tests:
        yield function
        return
    flag = next(node.id for node in ast.walk(tests[0]) if isinstance(node, ast.Name) and node.id != "isinstance")
    arguments = function.args
    place = next(i for i, argument in enumerate(arguments.args) if argument.arg == flag)
    annotation = arguments.args[place].annotation
    assert annotation

    def variant(which: bool | None, annotation: ast.expr, kind: str = "default") -> Function:
        made: Function = Choice(which).visit(deepcopy(function))
        made.decorator_list.insert(0, ast.Name("overload"))
        arguments = made.args
        arguments.args[place].annotation = annotation
        given = len(arguments.args) - place  # the arguments from the flag on
        if kind == "positional":
            arguments.defaults = arguments.defaults[len(arguments.defaults) - given + 1 :]
        elif kind == "keyword":
            arguments.kwonlyargs = arguments.args[place:] + arguments.kwonlyargs
            arguments.kw_defaults = [None, *arguments.defaults[-given:][1:], *arguments.kw_defaults]
            del arguments.args[place:], arguments.defaults[-given:]
        return made

    def literal(value: object) -> ast.expr:
        return ast.parse(f"Literal[{value}]", mode="eval").body

    if isinstance(annotation, ast.BinOp):
        if isinstance(tests[0], ast.Call):  # isinstance(flag, A), and `flag` is A | B
            yield variant(True, annotation.left)
            yield variant(False, annotation.right)
        else:  # A | None = None
            yield variant(False, ast.Constant(None))
            yield variant(True, annotation.left, "positional")
        return
    usual = ast.literal_eval(arguments.defaults[place - len(arguments.args)])
    yield variant(usual, literal(usual))
    yield variant(not usual, literal(not usual), "positional")
    yield variant(not usual, literal(not usual), "keyword")
    yield variant(None, annotation)


class Time(ast.NodeTransformer):
    """Replace `_Time` with its parts, which are clearer to users."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        is_used = node.id == "_Time" and isinstance(node.ctx, ast.Load)
        return ast.parse(TIME, mode="eval").body if is_used else node


class Stub:
    """The stub of a module."""

    def __init__(self, module: str):
        self.module = module
        self.cython = module not in PYTHON
        path = PACKAGE / f"{module}.{'pyx' if self.cython else 'py'}"
        text = path.read_text()
        tree = ast.parse("\n".join(skeleton(path)) if self.cython else text)
        self.comments = re.findall(r"^# (?:mypy|pyright): .*$", text, re.MULTILINE)
        self.imported: dict[str, tuple[str, str]] = {}  # by name: ("from home ", "original name")
        self.hidden: dict[str, ast.stmt] = {}  # private names that are not used yet
        self.body = self.parse(FROM_TABLES.get(module))
        for node in self.scope(tree.body, module):
            self.body.append(Time().visit(node))

    @staticmethod
    def parse(lines: Callable[[], Lines] | None) -> list[ast.stmt]:
        return ast.parse("\n".join(lines())).body if lines else []

    def scope(self, body: list[ast.stmt], place: str) -> Iterator[ast.stmt]:
        """Yield the statements of the stub for a module or class."""
        typed = [each for node in body if self.is_typed(node) for each in node.body]  # type: ignore[attr-defined]
        replaced = {name_of(node) for node in typed} - {None}
        for node in body:
            if self.is_typed(node):
                for each in node.body:  # type: ignore[attr-defined]
                    if isinstance(each, ast.Import | ast.ImportFrom):
                        self.note_import(each)
                    else:
                        if f"{place}.{name_of(each)}" in FROM_TABLES:
                            each.body += self.parse(FROM_TABLES[f"{place}.{name_of(each)}"])
                        yield each
            elif name_of(node) not in replaced:
                yield from self.statement(node, place)

    @staticmethod
    def is_typed(node: ast.stmt) -> bool:
        return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"

    def note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        origin = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
        if origin == "from zmqcy ":  # by full name: in an import cycle mypy does not find modules of a package
            node = ast.Import([ast.alias(f"zmqcy.{each.name}", each.asname or each.name) for each in node.names])
            origin = ""
        for each in node.names:
            name = each.asname or each.name.partition(".")[0]
            self.imported[name] = origin, each.name + (f" as {name}" if each.asname else "")

    def statement(self, node: ast.stmt, place: str) -> Iterator[ast.stmt]:
        at_top = place == self.module
        name = name_of(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.note_import(node)
        elif isinstance(node, ast.Try):
            yield from self.scope(node.body, place)
        elif isinstance(node, Function):
            if node.name == "__init__":
                yield from self.attributes(node)
            if node.returns is not None:
                yield from overloads(self.header(node))
            elif isinstance(node, ast.AsyncFunctionDef) and place in TWINS and not is_private(node.name):
                yield from self.twins(node, TWINS[place])
        elif isinstance(node, ast.ClassDef):
            found = [
                *self.scope(node.body, f"{place}.{node.name}"),
                *self.parse(FROM_TABLES.get(f"{place}.{node.name}")),
            ]
            if self.cython and not found:
                return
            node.body = found or [ast.Expr(ast.Constant(...))]
            if is_private(node.name):
                self.hidden[node.name] = node
            else:
                yield node
        elif isinstance(node, ast.Assign) and name == "_socket_class" and place != "context.Context":
            yield from ast.parse(MAKER.format(ast.unparse(node.value))).body
        elif isinstance(node, ast.AnnAssign) and name and not is_private(name):
            if not isinstance(node.value, ast.Constant):
                node.value = None
            yield node
        elif name == "__hash__":
            yield from ast.parse("__hash__: None").body
        elif isinstance(node, ast.Assign) and name and not name.startswith("_"):
            if at_top and name.isupper() and isinstance(node.value, ast.Constant) and name != "TYPE_CHECKING":
                yield from ast.parse(f"{name}: Final = {ast.unparse(node.value)}").body
            elif not at_top and isinstance(node.value, (ast.Name, ast.Attribute)):
                yield node

    @staticmethod
    def attributes(init: Function) -> Iterator[ast.stmt]:
        """Yield the attributes that are annotated in `__init__`."""
        for node in ast.walk(init):
            if isinstance(node, ast.AnnAssign) and (found := re.match(r"self\.([a-z].*)", ast.unparse(node.target))):
                yield from ast.parse(f"{found[1]}: {ast.unparse(node.annotation)}").body

    def twins(self, node: ast.AsyncFunctionDef, place: str) -> Iterator[Function]:
        """Yield a coroutine with the signatures of its twin."""
        module, _, name = place.partition(".")
        twin = self if module == self.module else Stub(module)
        self.imported = twin.imported | self.imported
        [found] = [each for each in twin.body if name_of(each) == name and isinstance(each, ast.ClassDef)]
        for each in found.body:
            if isinstance(each, ast.FunctionDef) and each.name == node.name:
                made = ast.copy_location(ast.AsyncFunctionDef(**dict(ast.iter_fields(deepcopy(each)))), each)
                if isinstance(made.returns, ast.Subscript) and ast.unparse(made.returns.value) == "_Future":
                    made.returns = made.returns.slice
                yield made

    def header(self, node: Function) -> Function:
        arguments = node.args
        arguments.defaults = [each if self.is_plain(each) else ast.Constant(...) for each in arguments.defaults]
        arguments.kw_defaults = [
            each if each is None or self.is_plain(each) else ast.Constant(...) for each in arguments.kw_defaults
        ]
        if self.cython and re.match(r"__(get|set|delete|getitem|contains)__", node.name):  # C passes the arguments
            arguments.posonlyargs, arguments.args = arguments.args, []
            if node.name == "__get__":
                arguments.defaults = [ast.Constant(None)]
        node.body = [ast.Expr(ast.Constant(...))]
        return node

    @staticmethod
    def is_plain(node: ast.expr) -> bool:
        try:
            ast.literal_eval(node)
        except ValueError:
            return False
        return True

    def lines(self) -> Lines:
        body = list(self.body)
        while True:
            used = {node.id for each in body for node in ast.walk(each) if isinstance(node, ast.Name)}
            fresh = [node for name, node in self.hidden.items() if name in used and node not in body]
            if not fresh:
                break
            body = fresh + body
        defined = {name_of(node) for each in body for node in ast.walk(each)}
        wanted: dict[str, list[str]] = {}
        for name in sorted(used - defined):
            if name in self.imported or name in HOMES:
                origin, text = self.imported.get(name) or (f"from {HOMES[name]} ", name)
                wanted.setdefault(origin, []).append(text)
            elif not hasattr(builtins, name):
                raise SystemExit(f"{self.module}: a signature uses {name}; import it, or add it to HOMES")
        yield from self.comments
        yield from (f"{origin}import {', '.join(names)}" for origin, names in sorted(wanted.items()))
        yield from (re.sub(r":\n+ +\.\.\.$", ": ...", ast.unparse(node), flags=re.MULTILINE) for node in body)


def package_stub() -> Lines:
    """Yield the imports of `zmqcy` from its own modules."""
    for node in ast.parse((PACKAGE / "__init__.py").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                yield f"from {node.module} import {each.name} as {each.asname or each.name}"
        elif isinstance(node, ast.Assign) and name_of(node) == "_ELSEWHERE":
            for name, (home, attribute) in ast.literal_eval(node.value).items():
                module, found = (home, attribute) if attribute else home.split(".")
                yield f"from {module} import {found} as {name}"
    yield "from zmqcy.constants import *"
    yield "from datetime import timedelta"
    yield "__version__: str"
    yield "exit_linger: float | timedelta | None"
    yield "def __dir__() -> list[str]: ..."


def stubs() -> dict[str, Lines]:
    """Return the lines of each stub."""
    found = {module: Stub(module) for module in (*PYTHON, *(path.stem for path in PACKAGE.glob("*.pyx")))}
    written = {module: stub.lines() for module, stub in found.items() if stub.body}
    return written | {"__init__": package_stub(), "constants": constants_stub()}


if __name__ == "__main__":
    written = stubs()
    for path in PACKAGE.glob("*.pyi"):
        if path.stem not in written:  # the module has no stub any more; an old one would hide the source
            path.unlink()
    for module, lines in written.items():
        path = PACKAGE / f"{module}.pyi"
        text = "\n".join(["# Written by tools/stubs.py from the source.", *lines, ""])
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
