"""How things show: text of strangers, on a terminal or in log records, tables for notebooks in HTML, numbers.

Names of layers, files and tensors, and what an ONNX file says of itself, are whatever somebody wrote. A terminal obeys
control characters, and formatting characters for text from right to left turn around what stands beside them. So all
that this package prints, logs or raises has them as :func:`printable` writes them. JSON has none of them.

Commands print by :func:`show` and :func:`say`, a library by neither.
"""

from __future__ import annotations

import logging
import re
import sys
from html import escape
from typing import Any, Iterable, Optional, Sequence

__all__ = ["decibels", "html_table", "logger", "percent", "printable", "say", "show"]

# Control characters, what sets the direction of text (Unicode Standard Annex 9), the separators of lines and of
# paragraphs, and surrogates, by which Python names files that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")


def printable(text: object, lines: bool = False) -> str:
    """Return text with everything in it that is not to be seen, but obeyed, as Python's escapes.

    Parameters
    ----------
    text : object
        Of whatever origin; what is no text is written by ``str``.
    lines : bool
        Leave ends of lines as they are, for text of our own in several lines.

    Returns
    -------
    str
        All other text, in whatever script, as it is, and a backslash too, so that it changes nothing the second time.
    """
    return _UNPRINTABLE.sub(lambda found: _escaped(found.group(), lines), str(text))


def _escaped(character: str, lines: bool) -> str:
    return character if lines and character == "\n" else character.encode("unicode_escape").decode()


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
    print(printable(text, lines), file=sys.stderr, flush=True)


class _Printable(logging.Filter):
    """Writes a record out before any handler gets it, those of the user's program too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, as one line."""
        record.msg, record.args = printable(record.getMessage()), ()
        return True


_PRINTABLE = _Printable()


def logger(name: str) -> logging.Logger:
    """Return the logger of a module, whose records are :func:`printable`.

    Parameters
    ----------
    name : str
        Of the module.
    """
    found = logging.getLogger(name)
    found.addFilter(_PRINTABLE)  # once, however often it is called
    return found


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]], notes: Iterable[str] = ()) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    caption : str
        What stands above it; begins with the name of the class.
    heads : sequence of str
        Titles of the columns.
    rows : iterable of sequence
        Cells, which are written by ``str``.
    notes : iterable of str
        Sentences below it.
    """
    head = "".join(f"<th style='text-align:left'>{_cell(each)}</th>" for each in heads)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    below = "".join(f"<p>{_cell(note)}</p>" for note in notes)
    return (
        f"<table><caption style='text-align:left'>{_cell(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
    )


def _cell(text: object) -> str:
    return escape(printable(text))


def decibels(value: Optional[float]) -> str:
    """Return a level with one digit behind the point, '-' for None."""
    return "-" if value is None else f"{value:.1f}"


def percent(share: Optional[float]) -> str:
    """Return a share of 1 in percent, '-' for None."""
    return "-" if share is None else f"{100 * share:.2f} %"
