"""The command line, ``zmqcy``: how it starts, and how it ends. docs/cli.md tells how to use it."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line with the arguments of the process, and end the process."""
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        sys.exit("zmqcy: the command line needs click and rich: pip install zmqcy[cli]")
    from zmqcy.cli import commands, signals

    signals.install()
    try:
        code = commands.run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does. The interpreter would try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = signals.BROKEN_PIPE
    sys.exit(code)
