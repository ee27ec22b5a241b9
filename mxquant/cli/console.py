"""What the command writes to its terminal or pipe: all of it goes through here, and none of it is obeyed.

Names in it are of whoever made the files; :func:`~mxquant.shown.printable` says what is written out, and JSON has none
of that.
"""

from __future__ import annotations

import sys

from mxquant.shown import printable

__all__ = ["say", "show"]


def show(text: str) -> None:
    """Write a result to standard output.

    Parameters
    ----------
    text : str
        Of one line or several.
    """
    print(printable(text, lines=True), flush=True)


def say(text: str, lines: bool = False) -> None:
    """Write to standard error, which a progress bar may have replaced.

    Parameters
    ----------
    text : str
        A sentence.
    lines : bool
        Whether it has several lines, as a traceback has.
    """
    print(printable(text, lines), file=sys.stderr)
