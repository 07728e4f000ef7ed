"""What a call costs: send and recv in one thread, multipart, options, import. Calls a second."""

import compileall
from pathlib import Path

from common import alone, arguments, bare, in_turns, rivals, save, show, summary

import zmqcy

WORK = [
    ("PAIR over inproc in one thread, 8 B", "pair", 8, 1_000_000, ("zmqcy", "C", "pyzmq", "pyomq")),
    ("three parts, send and recv in one thread", "multipart", 8, 200_000, ("zmqcy", "C", "pyzmq", "pyomq")),
    ("read an option by attribute", "get", 0, 500_000, ("zmqcy", "pyzmq", "pyomq")),
    ("set an option by attribute", "set", 0, 500_000, ("zmqcy", "pyzmq", "pyomq")),
    ("import", "import", 0, 0, ("zmqcy", "pyzmq", "pyomq")),
    ("import, context and first socket", "first", 0, 0, ("zmqcy", "pyzmq", "pyomq")),
]


def main():
    options = arguments(__doc__)
    tables = {}
    compileall.compile_dir(Path(zmqcy.__file__).parent, quiet=1)  # as pip has done for the others
    for title, work, size, count, names in WORK:
        count = int(count * options.scale)
        commands = rivals(*names)
        if work in ("import", "first"):
            commands = {name: bare(command) for name, command in commands.items()}
        # pyomq is some hundred times slower over inproc in one thread: its count is cut, its rate stays the same.
        counts = {
            name: count // 20 if name == "pyomq" and work in ("pair", "multipart") else count for name in commands
        }
        runs = {name: lambda n=name: alone(commands[n], work, size, counts[n]) for name in commands}
        tables[title] = summary(in_turns(title, runs, options.rounds))
        show(title, "a second", tables[title])
    save("calls", tables)


if __name__ == "__main__":
    main()
