"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Callable, Iterator, Optional

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(label: str, total: Optional[int]) -> Iterator[Optional[Callable[[int], None]]]:
    """Show how far a loop over examples has come, where standard error is a terminal.

    Parameters
    ----------
    label : str
        What is being done.
    total : int or None
        How many examples there will be, if that is known.

    Yields
    ------
    callable or None
        To be called with the number of examples done so far; None where nothing is shown.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
