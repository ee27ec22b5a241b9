"""How far a call has come: nothing by default, a bar on a terminal, lines in a pipe, or a function of the user's."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Callable, Iterator, List, Optional, Union

from mxquant.errors import InputError
from mxquant.shown import printable, say

__all__ = ["Progress", "Report", "progress_bar", "reporting"]

Progress = Union[bool, Callable[[str, int, Optional[int]], Any]]
# Takes how much is done, and perhaps a word on it, such as 'shard 3 of 8'.
Report = Callable[..., None]

# In a pipe: a line at most this often.
_SECONDS = 5.0
_reporter: ContextVar[Progress] = ContextVar("mxquant progress", default=False)


@contextmanager
def reporting(progress: Progress) -> Iterator[None]:
    """Let the steps within a block tell how far they are.

    Parameters
    ----------
    progress : bool or callable
        False: nothing. True: on standard error, a bar with rate and time left where that is a terminal, else a line
        every five seconds. A callable gets the name of the step, how much of it is done, and how much there is, or
        None where that is not known.

    Raises
    ------
    InputError
        If `progress` is none of these.
    """
    if not isinstance(progress, bool) and not callable(progress):
        raise InputError(f"progress is {progress!r}, expected True, False or a callable")
    token = _reporter.set(progress)
    try:
        yield
    finally:
        _reporter.reset(token)


@contextmanager
def progress_bar(label: str, total: Optional[int]) -> Iterator[Optional[Report]]:
    """Report how far one step has come, to whom :func:`reporting` says.

    Parameters
    ----------
    label : str
        What is being done.
    total : int or None
        How much there will be, if that is known.

    Yields
    ------
    callable or None
        To be called with how much is done so far, and for a bar or lines perhaps a word on it; None where nothing is
        reported.
    """
    reporter = _reporter.get()
    if callable(reporter):
        tell = reporter
        yield lambda done, word="": tell(label, done, total)
    elif not reporter:
        yield None
    elif sys.stderr.isatty():
        with _bar(label, total) as report:
            yield report
    else:
        with _lines(label, total) as report:
            yield report


@contextmanager
def _bar(label: str, total: Optional[int]) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Rate(ProgressColumn):
        """How much is done in a second."""

        def render(self, task: Any) -> Text:
            return Text(_rate(task.completed, task.elapsed or 0.0))

    columns: List[Any] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), Rate()]
    columns += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(_head(label, ""), total=total)
        yield lambda done, word="": bar.update(task, completed=done, description=_head(label, word))


@contextmanager
def _lines(label: str, total: Optional[int]) -> Iterator[Report]:
    begin = last = time.monotonic()
    done, about = 0, ""

    def tell() -> None:
        now = time.monotonic()
        of = "" if total is None else f"/{total}"
        left = f", {(now - begin) * (total - done) / done:.0f} s left" if total and 0 < done < total else ""
        say(f"{_head(label, about)}: {done}{of}, {_rate(done, now - begin)}{left}")

    def report(count: int, word: str = "") -> None:
        nonlocal done, last, about
        done, about = count, word
        if time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            tell()

    yield report
    tell()


def _head(label: str, word: str) -> str:
    return printable(f"{label}, {word}" if word else label)


def _rate(done: float, seconds: float) -> str:
    return f"{done / seconds:.3g}/s" if seconds > 0 else "-/s"
