"""Find what a program uses of pyzmq that `zmqcy.compat` does not have, or that behaves otherwise there."""

import ast
from collections.abc import Iterator
from pathlib import Path

from zmqcy.compat import TREE, homes_of
from zmqcy.compat.imports import names_of

OTHERWISE = {
    "zmq.asyncio.install": "does nothing: any event loop will do",
    "zmq.eventloop.ioloop.install": "does nothing: any event loop will do",
    "zmq.get_includes": "returns an empty list: zmqcy brings no headers",
    "zmq.get_library_dirs": "returns an empty list: zmqcy brings no library",
    "zmq.ssh.tunnel.paramiko_tunnel": "raises NotImplementedError: tunnels are made by the system's ssh",
    "zmq.ssh.paramiko_tunnel": "raises NotImplementedError: tunnels are made by the system's ssh",
    "zmq.utils.garbage.gc": "does nothing: zmqcy lends buffers without a thread",
    "zmq.utils.garbage.GarbageCollector": "does nothing: zmqcy lends buffers without a thread",
    "zmq.utils.win32.allow_interrupt": "does not call its action: Ctrl-C ends every wait anyway",
}
"""Names that are there, and what they do otherwise."""

LENIENT = {
    "OSError",
    "IOError",
    "EnvironmentError",
    "ValueError",
    "TimeoutError",
    "BlockingIOError",
    "InterruptedError",
}
"""Exceptions that some of zmqcy's are, and those of pyzmq are not."""

SENDS = {"send", "send_multipart", "send_string", "send_json", "send_pyobj", "send_serialized"}
TUNNELS = {"tunnel_connection", "open_tunnel", "ssh_tunnel", "openssh_tunnel"}
ALWAYS = {"__version__", "__name__", "__file__", "__doc__", "__path__", "__all__", "__revision__", "_FINISHED_TRACKER"}

Finding = tuple[Path, int, str]
"""A file, a line, and what is to be said of it."""


def check(path: Path) -> list[Finding]:
    """Look at a file, or all Python files below a folder.

    Parameters
    ----------
    path : pathlib.Path
        The file or folder; what lies in folders that begin with a dot is left out.

    Returns
    -------
    list of tuple
        Files, lines, and what is to be said of each, in order.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    found: list[Finding] = []
    for file in files:
        if any(part.startswith(".") for part in file.relative_to(path).parts):
            continue
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            found.append((file, getattr(error, "lineno", None) or 1, f"cannot be parsed: {error}"))
            continue
        reader = _Reader()
        reader.visit(tree)
        found += [(file, line, text) for line, text in sorted(set(reader.found))]
    return found


def _what_of(name: str) -> str | None:
    """Return what is to be said of a dotted name of pyzmq, if anything."""
    if name in TREE:
        return None
    module, _, attribute = name.rpartition(".")
    if module not in TREE:
        return _what_of(module) if module else None
    if name in OTHERWISE:
        return f"{name} {OTHERWISE[name]}"
    if attribute in ALWAYS or attribute == "*" or any(attribute in public for _, public in homes_of(module)):
        return None
    try:
        if attribute in names_of(module):
            return None
    except ImportError:  # of tornado, all of which one of pyzmq's modules passes on
        return None
    return f"zmqcy.compat has no {name}"


class _Reader(ast.NodeVisitor):
    """Follows the names that a module gives to what it imports of pyzmq."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.found: list[tuple[int, str]] = []

    def say(self, node: ast.AST, text: str | None) -> None:
        if text:
            self.found.append((getattr(node, "lineno", 1), text))

    def dotted(self, node: ast.AST) -> str | None:
        """Return the name in pyzmq of an expression, if it is one."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute) and (owner := self.dotted(node.value)):
            # An attribute of an object is not one of a module.
            return f"{owner}.{node.attr}" if owner in TREE else None
        return None

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] == "zmq":
                self.known[alias.asname or "zmq"] = alias.name if alias.asname else "zmq"
                if alias.name not in TREE:
                    self.say(node, f"zmqcy.compat has no module {alias.name}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module or node.module.split(".")[0] != "zmq":
            return
        if node.module not in TREE:
            self.say(node, f"zmqcy.compat has no module {node.module}")
            return
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self.known[alias.asname or alias.name] = name
            self.say(node, _what_of(name))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self.dotted(node)
        if name is None:
            self.generic_visit(node)
        else:
            self.say(node, _what_of(name))
        if node.attr == "shadow_pyczmq":
            self.say(node, "Context.shadow_pyczmq is not there: Context.shadow takes an address")

    def visit_Call(self, node: ast.Call) -> None:
        words = {keyword.arg for keyword in node.keywords}
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = self.dotted(node.func) or ""
        if self.known and attribute in SENDS:
            for word in sorted(words & {"routing_id", "group"}, key=str):
                self.say(node, f"{attribute} takes no {word}=: that is of draft sockets")
        if name.startswith("zmq.ssh") and name.rpartition(".")[2] in TUNNELS and "password" in words:
            self.say(node, f"{name} takes no password: it uses keys, or an agent")
        if name in ("zmq.ZMQError", "zmq.error.ZMQError") and "msg" in words:
            self.say(node, "ZMQError has the argument strerror, not msg")
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        before: str | None = None
        for handler in node.handlers:
            kinds = list(_each(handler.type))
            for kind in kinds:
                name = self.dotted(kind) or ""
                if before and name.rpartition(".")[2] in (
                    "ZMQError",
                    "ZMQBaseError",
                    "Again",
                    "NotDone",
                    "ZMQBindError",
                ):
                    self.say(handler, f"`except {before}` comes first, and catches some of {name} here")
            for kind in kinds:
                if isinstance(kind, ast.Name) and kind.id in LENIENT:
                    before = before or kind.id
        self.generic_visit(node)


def _each(kind: ast.expr | None) -> Iterator[ast.expr]:
    if isinstance(kind, ast.Tuple):
        yield from kind.elts
    elif kind is not None:
        yield kind
