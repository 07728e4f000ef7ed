"""Find names of pyzmq in a program that `zmqcy.compat` does not have, or that behave differently there."""

import ast
from collections.abc import Iterator
from pathlib import Path

from zmqcy.compat import TREE, homes_of
from zmqcy.compat.imports import names_of

OTHERWISE = {
    "zmq.asyncio.install": "does nothing: all event loops work",
    "zmq.eventloop.ioloop.install": "does nothing: all event loops work",
    "zmq.get_includes": "returns an empty list: zmqcy has no C headers",
    "zmq.get_library_dirs": "returns an empty list: zmqcy has no library to link with",
    "zmq.ssh.tunnel.paramiko_tunnel": "raises NotImplementedError: tunnels use the system's ssh",
    "zmq.ssh.paramiko_tunnel": "raises NotImplementedError: tunnels use the system's ssh",
    "zmq.utils.garbage.gc": "does nothing: zmqcy needs no thread for zero-copy buffers",
    "zmq.utils.garbage.GarbageCollector": "does nothing: zmqcy needs no thread for zero-copy buffers",
    "zmq.utils.win32.allow_interrupt": "does not call its action: Ctrl-C ends every wait anyway",
}
"""Names that behave differently, and how."""

LENIENT = {
    "OSError",
    "IOError",
    "EnvironmentError",
    "ValueError",
    "TimeoutError",
    "BlockingIOError",
    "InterruptedError",
}
"""Base classes of zmqcy's exceptions that pyzmq's do not have."""

SENDS = {"send", "send_multipart", "send_string", "send_json", "send_pyobj", "send_serialized"}
TUNNELS = {"tunnel_connection", "open_tunnel", "ssh_tunnel", "openssh_tunnel"}
ALWAYS = {"__version__", "__name__", "__file__", "__doc__", "__path__", "__all__", "__revision__", "_FINISHED_TRACKER"}

Finding = tuple[Path, int, str]
"""A file, a line, and a message."""


def check(path: Path) -> list[Finding]:
    """Check a file, or all Python files in a folder and its subfolders.

    Parameters
    ----------
    path : pathlib.Path
        The file or folder. Subfolders whose names begin with a dot are skipped.

    Returns
    -------
    list of tuple
        The file, line and message of each finding, in order.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    return survey(path)[2]


def survey(path: Path) -> tuple[int, set[tuple[str, str]], list[Finding]]:
    """Return the number of files, the modules and names of pyzmq in them, and the findings of `check`."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    names: set[tuple[str, str]] = set()
    found: list[Finding] = []
    for file in files:
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            found.append((file, getattr(error, "lineno", None) or 1, f"cannot be parsed: {error}"))
            continue
        reader = _Reader()
        reader.visit(tree)
        names |= reader.names
        found += [(file, line, text) for line, text in sorted(set(reader.found))]
    return len(files), names, found


def _what_of(name: str) -> str | None:
    """Return the message for a dotted name of pyzmq, or None."""
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
    except ImportError:  # tornado is not installed. One of pyzmq's modules re-exports all its names.
        return None
    return f"zmqcy.compat has no {name}"


class _Reader(ast.NodeVisitor):
    """Track the local names of pyzmq's modules and objects in a module."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.found: list[tuple[int, str]] = []
        self.names: set[tuple[str, str]] = set()  # modules, and the names of them that the code uses

    def say(self, node: ast.AST, text: str | None) -> None:
        if text:
            self.found.append((getattr(node, "lineno", 1), text))

    def dotted(self, node: ast.AST) -> str | None:
        """Return the dotted name in pyzmq of an expression, or None."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute) and (owner := self.dotted(node.value)):
            # Only attributes of modules are names of pyzmq.
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
            if name not in TREE:
                self.names.add((node.module, alias.name))
            self.say(node, _what_of(name))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self.dotted(node)
        if name is None:
            self.generic_visit(node)
        else:
            self.say(node, _what_of(name))
            if name not in TREE:
                self.names.add((name.rpartition(".")[0], node.attr))
        if node.attr == "shadow_pyczmq":
            self.say(node, "zmqcy.compat has no Context.shadow_pyczmq: use Context.shadow with an address")

    def visit_Call(self, node: ast.Call) -> None:
        words = {keyword.arg for keyword in node.keywords}
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = self.dotted(node.func) or ""
        if self.known and attribute in SENDS:
            for word in sorted(words & {"routing_id", "group"}, key=str):
                self.say(node, f"{attribute} does not support {word}=, which is for draft sockets")
        if name.startswith("zmq.ssh") and name.rpartition(".")[2] in TUNNELS and "password" in words:
            self.say(node, f"{name} does not support passwords: use a key or an agent")
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
