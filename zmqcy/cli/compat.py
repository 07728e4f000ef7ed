"""``zmqcy compat``: run code that says ``import zmq`` on zmqcy, and look whether it can."""

import sys
import sysconfig
from pathlib import Path

import click

LINE = """\
import os, sys; os.environ.get("ZMQCY_AS_ZMQ") in ("1", "tuned") and __import__("zmqcy.compat").compat.install()
"""
"""What site executes at the start of Python: lines of a .pth file that begin with import."""


def _place() -> Path:
    if sys.prefix == sys.base_prefix:
        raise click.ClickException(f"{sys.prefix} is no virtual environment; its Python would change for all programs")
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
    """Run code that says `import zmq` on zmqcy."""


@compat.command()
def enable() -> None:
    """Let ZMQCY_AS_ZMQ=1 make `import zmq` mean zmqcy, in this virtual environment."""
    place = _place()
    place.write_text(LINE, encoding="ascii")
    click.echo(f"{place}: written; ZMQCY_AS_ZMQ=1 in the environment of a program now turns it on")


@compat.command()
def disable() -> None:
    """Take back what `enable` did."""
    place = _place()
    there = place.exists()
    place.unlink(missing_ok=True)
    click.echo(f"{place}: {'removed' if there else 'was not there'}")


@compat.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.pass_context
def check(ctx: click.Context, path: Path) -> None:
    """List what the Python code at PATH uses that zmqcy.compat lacks, or that behaves otherwise there.

    It reads the code and does not run it. Exit code 1 if there is anything.
    """
    from zmqcy.compat.check import check as find

    found = find(path)
    for file, line, text in found:
        click.echo(f"{file}:{line}: {text}")
    if found:
        ctx.exit(1)
