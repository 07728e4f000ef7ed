"""The command line, ``zmqcy``: how it starts, and how it ends. docs/cli.md tells how to use it."""

import sys
from importlib.util import find_spec
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line with the arguments of the process, and end the process."""
    if not all(map(find_spec, ("click", "rich"))):  # rich is imported only where it is used
        sys.exit("zmqcy: the command line needs click and rich: pip install zmqcy[cli]")
    from zmqcy.cli import commands, signals

    signals.install()
    try:
        code = commands.run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        signals.end_of_output()
    sys.exit(code)
