"""The start and the exit of the command line, ``zmqcy``. docs/cli.md describes its use."""

import sys
from importlib.util import find_spec
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line with the arguments of the process, and exit."""
    if not all(map(find_spec, ("click", "rich"))):  # rich is imported on use
        sys.exit("zmqcy: the command line needs click and rich: pip install 'zmqcy[cli]'")
    from zmqcy.cli import commands, signals

    signals.install()
    try:
        code = commands.run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        signals.end_of_output()
    sys.exit(code)
