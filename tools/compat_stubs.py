"""Write the stubs of `zmq` on zmqcy.compat for type checkers: packaging/zmqcy-as-pyzmq/zmq/**/*.pyi.

The stub of a module imports its names from the modules of zmqcy that define them. Run this after a change of the tree.
"""

from pathlib import Path

from zmqcy.compat import LOADED, TREE, homes_of

FOLDER = Path(__file__).resolve().parent.parent / "packaging" / "zmqcy-as-pyzmq" / "zmq"
# Names that `import *` imports too, with another type.
OVERRIDDEN = {("zmq.constants", "Event"), ("zmq.green", "device")}
HEAD = "# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.\n"


def stub_of(module: str) -> str:
    """Return the text of the stub of a module."""
    lines: list[str] = []
    seen: set[str] = set()
    shared = module != "zmq" and set(TREE["zmq"]) <= set(TREE[module])
    for home, names in homes_of(module):
        fresh = sorted(name for name in names if name not in seen)
        seen.update(fresh)
        if shared and home in TREE["zmq"]:
            continue
        if module != "zmq" and home == "zmqcy.constants":
            lines.insert(0, f"from {home} import *")
        else:
            for name in fresh:
                ignore = "  # type: ignore[assignment]" if (module, name) in OVERRIDDEN else ""
                lines.append(f"from {home} import {name} as {name}{ignore}")
    if shared:
        lines.insert(0, "from zmq import *")
    for name in LOADED.get(module, ()):
        parent, _, child = name.rpartition(".")
        if parent == module and child not in seen:
            lines.append(f"from {parent} import {child} as {child}")
    return HEAD + "".join(f"{line}\n" for line in lines)


def stubs() -> dict[Path, str]:
    """Return the text of each stub by its file."""
    found = {}
    for module in TREE:
        is_package = module == "zmq" or any(each.startswith(f"{module}.") for each in TREE)
        path = FOLDER.joinpath(*module.split(".")[1:])
        found[path / "__init__.pyi" if is_package else path.with_suffix(".pyi")] = stub_of(module)
    return found


if __name__ == "__main__":
    for path, text in stubs().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (FOLDER / "py.typed").touch()
