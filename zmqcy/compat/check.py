"""Find names of pyzmq in a program that `zmqcy.compat` does not have, or that behave differently there."""

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

from zmqcy import errors
from zmqcy.compat import TREE, homes_of
from zmqcy.compat.imports import names_of
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS

OTHERWISE = {
    "zmq.asyncio.install": "does nothing: all event loops work",
    "zmq.eventloop.ioloop.install": "does nothing: all event loops work",
    "zmq.get_includes": "returns an empty list: zmqcy has no C headers",
    "zmq.get_library_dirs": "returns an empty list: zmqcy has no library to link with",
    "zmq.ssh.tunnel.paramiko_tunnel": "raises NotImplementedError: tunnels use the system's ssh",
    "zmq.ssh.paramiko_tunnel": "raises NotImplementedError: tunnels use the system's ssh",
    "zmq.utils.garbage": "does nothing: zmqcy needs no thread for zero-copy buffers",
    "zmq.utils.garbage.gc": "does nothing: zmqcy needs no thread for zero-copy buffers",
    "zmq.utils.garbage.GarbageCollector": "does nothing: zmqcy needs no thread for zero-copy buffers",
    "zmq.utils.garbage.GarbageCollectorThread": "does nothing: zmqcy needs no thread for zero-copy buffers",
    "zmq.utils.win32": "does nothing: Ctrl-C ends every wait anyway",
    "zmq.utils.win32.allow_interrupt": "does not call its action: Ctrl-C ends every wait anyway",
}
"""Names that behave differently, and how."""

ATTRIBUTES = {
    "handle_zap_message": "zmqcy.compat has no Authenticator.handle_zap_message",
    "pipe_endpoint": "zmqcy.compat has no ThreadAuthenticator.pipe_endpoint",
    "recv_pyobj": "recv_pyobj warns once: a peer that sends a pickle can run any code",
    "shadow_pyczmq": "zmqcy.compat has no Context.shadow_pyczmq: use Context.shadow with an address",
    "tracker_event": "zmqcy.compat has no Frame.tracker_event: use Frame.tracker",
}
"""Attributes of pyzmq's objects whose names no other library has, and how they differ."""

SAME_CLASS = {
    "asyncio.TimeoutError": "TimeoutError",
    "os.error": "OSError",
    "select.error": "OSError",
    "socket.error": "OSError",
    "socket.timeout": "TimeoutError",
}
"""Other names of built-in exceptions."""

OPTIONS = {option.name for option in (*SOCKET_OPTIONS, *CONTEXT_OPTIONS)} | set(ALIASES)
SENDS = {"send", "send_multipart", "send_string", "send_json", "send_pyobj", "send_serialized"}
TUNNELS = {"tunnel_connection", "open_tunnel", "ssh_tunnel", "openssh_tunnel"}
ALWAYS = {"__version__", "__name__", "__file__", "__doc__", "__path__", "__all__", "__revision__", "_FINISHED_TRACKER"}

USER_ID = "User-Id is set only if an authenticator accepted the peer"

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
    if name in OTHERWISE:
        return f"{name} {OTHERWISE[name]}"
    if name in TREE:
        return None
    module, _, attribute = name.rpartition(".")
    if module not in TREE:
        return _what_of(module) if module else None
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
        self.green = False  # whether the code imports zmq.green
        self.objects: set[str] = set()  # the source of expressions that are sockets or contexts

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
                self.say(node, _what_of(alias.name) if alias.name in OTHERWISE else None)
                self.green |= alias.name.startswith("zmq.green")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module or node.module.split(".")[0] != "zmq":
            return
        if node.module not in TREE:
            self.say(node, f"zmqcy.compat has no module {node.module}")
            return
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self.known[alias.asname or alias.name] = name
            self.green |= name.startswith("zmq.green")
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
        if self.known:
            self.say(node, ATTRIBUTES.get(node.attr))
        option = node.attr.lower()
        if self.is_object(node.value) and option in OPTIONS and node.attr not in (option, option.upper()):
            self.say(node, f"zmqcy.compat has no attribute {node.attr}: use {option} or {option.upper()}")
        if self.green and option in ("rcvtimeo", "sndtimeo"):
            self.say(node, f"green sockets apply {node.attr}; pyzmq's ignore it")

    def is_object(self, node: ast.AST) -> bool:
        """Return whether an expression certainly is a socket or a context of pyzmq."""
        if not isinstance(node, ast.Call):
            return ast.unparse(node) in self.objects
        function, method = node.func, None
        if isinstance(function, ast.Attribute):
            method = function.attr
            if method in ("instance", "shadow"):
                function = function.value
        return self.is_class(function) or (method == "socket" and any(self.dotted(each) for each in node.args[:1]))

    def visit_Assign(self, node: ast.Assign) -> None:
        if self.is_object(node.value):
            self.objects |= {ast.unparse(target) for target in node.targets}
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self.is_class(node.annotation) or (node.value and self.is_object(node.value)):
            self.objects.add(ast.unparse(node.target))
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        if node.annotation and self.is_class(node.annotation):
            self.objects.add(node.arg)
        self.generic_visit(node)

    def is_class(self, node: ast.AST) -> bool:
        """Return whether an expression names a class of contexts or sockets of pyzmq."""
        name = self.dotted(node) or ""
        return name.startswith("zmq.") and name.rpartition(".")[2] in ("Context", "Socket")

    def visit_withitem(self, node: ast.withitem) -> None:
        made = node.context_expr
        if node.optional_vars and self.is_object(made):
            self.objects.add(ast.unparse(node.optional_vars))
        function = made.func if isinstance(made, ast.Call) else None
        if isinstance(function, ast.Attribute) and function.attr == "shadow" and self.is_object(made):
            self.say(made, "`with` of a shadow closes only the sockets that the shadow has made, not the context")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.known and isinstance(node.slice, ast.Constant) and node.slice.value == "User-Id":
            self.say(node, USER_ID)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        words = {keyword.arg for keyword in node.keywords}
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = self.dotted(node.func) or ""
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if first == "pyzmq" and (attribute or getattr(node.func, "id", None)) == "version":
            self.say(node, "version('pyzmq') is the version of the installed pyzmq, or raises: use zmq.__version__")
        if self.known and attribute == "get" and first == "User-Id":
            self.say(node, USER_ID)
        if attribute in ("join", "leave") and isinstance(node.func, ast.Attribute) and self.is_object(node.func.value):
            self.say(node, f"{attribute} raises NotSupported: it is for draft sockets")
        if self.known and attribute in SENDS:
            for word in sorted(words & {"routing_id", "group"}, key=str):
                self.say(node, f"{attribute} does not support {word}=, which is for draft sockets")
        if name.startswith("zmq.ssh") and name.rpartition(".")[2] in TUNNELS and "password" in words:
            self.say(node, f"{name} does not support passwords: use a key or an agent")
        if name.startswith("zmq.ssh") and name.rpartition(".")[2] in TUNNELS and "paramiko" in words:
            self.say(node, f"{name} ignores paramiko=: tunnels use the system's ssh")
        if name in ("zmq.ZMQError", "zmq.error.ZMQError") and "msg" in words:
            self.say(node, "ZMQError has the argument strerror, not msg")
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        before: list[str] = []
        for handler in node.handlers:
            kinds = list(_each(handler.type))
            for name in filter(None, map(self.dotted, kinds)):
                earlier = next((kind for kind in before if _both_catch(kind, name.rpartition(".")[2])), None)
                if earlier:
                    self.say(handler, f"`except {earlier}` comes first, and catches some of {name} here")
            before += map(ast.unparse, kinds)
        self.generic_visit(node)


def _each(kind: ast.expr | None) -> Iterator[ast.expr]:
    if isinstance(kind, ast.Tuple):
        yield from kind.elts
    elif kind is not None:
        yield kind


def _both_catch(builtin: str, ours: str) -> bool:
    """Return whether a built-in exception and one of pyzmq's catch a common exception in zmqcy, but not in pyzmq."""
    base = getattr(builtins, SAME_CLASS.get(builtin, builtin), None)
    kind = getattr(errors, ours, None)
    if not isinstance(base, type) or not isinstance(kind, type) or base in (Exception, BaseException):
        return False
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.ZMQBaseError)
    ]
    # pyzmq's InterruptedSystemCall is an OSError too.
    return any(
        issubclass(each, kind) and issubclass(each, base)
        for each in classes
        if each is not errors.InterruptedSystemCall
    )
