"""A progress bar on stderr, if stderr is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def counting(verb: str, data: TextIO | None, quiet: bool, total: int | None) -> Iterator[Callable[[int], object]]:
    """Yield a function that advances the bar. There is no bar if `data` is a terminal too.

    After the last message the bar is full, even if there were fewer than `total`.

    Parameters
    ----------
    verb : str
        What happens to the messages.
    data : file, optional
        The source or target of the messages. A terminal would show them mixed with the bar.
    quiet : bool
        Show nothing.
    total : int, optional
        The expected number of messages.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty() or (data is not None and data.isatty()):
        yield lambda number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.completed:,.0f} {task.description}")
    columns = BarColumn(), TaskProgressColumn(), text, TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(verb, total=total)
        yield lambda number: progress.advance(task, number)
        if done := progress.tasks[0].completed:
            progress.update(task, total=done)
