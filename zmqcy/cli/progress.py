"""How many messages went, on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def counting(verb: str, data: TextIO | None, quiet: bool) -> Iterator[Callable[[int], object]]:
    """Give the function that counts messages: on stderr where that is a terminal, and `data` is none.

    Parameters
    ----------
    verb : str
        What becomes of the messages.
    data : file, optional
        Where the messages come from or go to: on a terminal they would be mixed with the count.
    quiet : bool
        Show nothing.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty() or (data is not None and data.isatty()):
        yield lambda number: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(verb, total=None)
        yield lambda number: progress.advance(task, number)
