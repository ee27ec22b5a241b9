"""What surrounds the work of a command: logs and warnings on standard error, as sentences."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import Any, Iterator

from mxquant.cli.options import Common
from mxquant.progress import reporting
from mxquant.shown import say

__all__ = ["session"]


class _Handler(logging.Handler):
    """Writes to what standard error is at the time, which a progress bar replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        head = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(f"{head}{record.getMessage()}")


@contextmanager
def session(common: Common) -> Iterator[None]:
    """Send the library's logs, warnings and progress to standard error for the length of a block.

    Parameters
    ----------
    common : Common
        How much of them.
    """
    logger, handler = logging.getLogger("mxquant"), _Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if common.verbose else logging.WARNING if common.quiet else logging.INFO)
    try:
        with warnings.catch_warnings(), reporting(common.progress):
            warnings.showwarning = _show
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """Write a warning without the place in the code that it comes from, which says nothing to a user."""
    say(f"warning: {message}")
