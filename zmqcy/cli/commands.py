"""The list of commands, which are imported on use, and the reports of their errors."""

import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

import zmqcy
from zmqcy.cli import signals
from zmqcy.cli.formats import printable

COMMANDS = {  # command: its module
    "info": "info",
    "send": "messages",
    "recv": "messages",
    "sub": "messages",
    "req": "requests",
    "echo": "requests",
    "ping": "requests",
    "device": "device",
    "watch": "watch",
    "bench": "bench",
    "curve-keygen": "keys",
    "compat": "compat",
}

ALIASES = {"topic": "subscribe", "t": "s", "curve-file": "key-file", "server-key": "key-file"}
"""Older names of options, which no help shows."""


class Formatter(click.HelpFormatter):
    """Help with one form of defaults: click puts descriptions of defaults in parentheses."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        rows = [(name, re.sub(r"\[default: \(([^)]*)\)", r"[default: \1", text)) for name, text in rows]
        super().write_dl(rows, col_max, col_spacing)


click.Context.formatter_class = Formatter


class Commands(click.Group):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"zmqcy.cli.{COMMANDS[cmd_name]}"), cmd_name.replace("-", "_"))
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], COMMANDS, 1)
            if not near or "mean" in error.message:  # later versions of click suggest one themselves
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1
            signals.end_of_output()


@click.command(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 80,
        "token_normalize_func": lambda name: ALIASES.get(name, name),
    },
    epilog="""\b
Examples:
  zmqcy info
  zmqcy recv pull tcp://127.0.0.1:5555
  seq 1000 | zmqcy send push tcp://127.0.0.1:5555
  zmqcy echo tcp://127.0.0.1:5556
  zmqcy ping tcp://127.0.0.1:5556
  zmqcy watch dealer tcp://127.0.0.1:5556
  zmqcy bench throughput

Exit codes: 0 for success, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.
""",
)
@click.version_option(zmqcy.__version__, prog_name="zmqcy")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (with any command).")
def group(debug: bool) -> None:
    """Use ZeroMQ from the shell: send, receive, forward, watch, measure."""


def run() -> Any:
    """Run the command that the arguments name.

    Returns
    -------
    int or None
        The exit code.
    """
    zmqcy.exit_linger = 0  # commands wait for their unsent messages themselves, and report dropped messages
    arguments = sys.argv[1:]
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debugging = "--debug" in options
    if debugging:
        arguments.remove("--debug")
    try:
        return group.main(arguments, prog_name="zmqcy", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except (click.ClickException, OSError, zmqcy.NotDone) as error:
        if debugging:
            raise
        click.echo(f"zmqcy: {printable(_words(error))}", err=True)
        return 1
    except Exception as error:
        if debugging:
            raise
        click.echo(f"zmqcy: {type(error).__name__}: {printable(str(error))} (--debug shows the traceback)", err=True)
        return 1


def _words(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.filename is not None and not isinstance(error, zmqcy.ZMQError):
        return f"{error.filename}: {error.strerror}"
    return str(error)
