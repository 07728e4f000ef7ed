"""``zmqcy compat``: run code that imports ``zmq`` on zmqcy, and check such code."""

import sys
import sysconfig
from pathlib import Path

import click

from zmqcy.cli.formats import counted

LINE = """\
import os, sys; os.environ.get("ZMQCY_AS_ZMQ") in ("1", "tuned") and __import__("zmqcy.compat").compat.install()
"""
"""The line of a .pth file that Python executes at its start."""


def _place() -> Path:
    if sys.prefix == sys.base_prefix:
        raise click.ClickException(
            f"{sys.prefix} is not a virtual environment; a change would affect all programs of this Python"
        )
    return Path(sysconfig.get_path("purelib"), "zmqcy_as_zmq.pth")


@click.group(
    epilog="""\b
Examples:
  zmqcy compat check src/
  zmqcy compat enable
  ZMQCY_AS_ZMQ=1 python program.py
  python -m zmqcy.compat program.py    (without enable)
"""
)
def compat() -> None:
    """Run code that imports `zmq` on zmqcy."""


@compat.command(
    epilog="""\b
Example:
  zmqcy compat enable && ZMQCY_AS_ZMQ=1 python program.py
"""
)
def enable() -> None:
    """Let ZMQCY_AS_ZMQ=1 replace `zmq` by zmqcy.

    It applies to this virtual environment.
    """
    place = _place()
    place.write_text(LINE, encoding="ascii")
    click.echo(f"{place}: written; set ZMQCY_AS_ZMQ=1 in the environment of a program to use it")


@compat.command(
    epilog="""\b
Example:
  zmqcy compat disable
"""
)
def disable() -> None:
    """Revert `enable`."""
    place = _place()
    there = place.exists()
    place.unlink(missing_ok=True)
    click.echo(f"{place}: {'removed' if there else 'did not exist'}")


@compat.command(
    epilog="""\b
Example:
  zmqcy compat check src/
"""
)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.pass_context
def check(ctx: click.Context, path: Path) -> None:
    """List differences between pyzmq and zmqcy in code.

    PATH is a Python file or a folder. The command lists the names that zmqcy.compat lacks, or that behave differently.
    It reads the code and does not run it. It writes the numbers of files and names that it has checked to stderr. The
    exit code is 1 if it finds a difference.
    """
    from zmqcy.compat.check import survey

    files, names, found = survey(path)
    for file, line, text in found:
        click.echo(f"{file}:{line}: {text}")
    modules = ", ".join(sorted({module for module, _ in names})) or "no module of pyzmq"
    checked = f"checked {counted(files, 'file')} and {counted(len(names), 'name')} from {modules}"
    click.echo(f"{checked}: {counted(len(found), 'difference') if found else 'no differences'}", err=True)
    if found:
        ctx.exit(1)
