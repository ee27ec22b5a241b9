"""How things show in a notebook: tables in HTML that need no style and no script; and how numbers read."""

from __future__ import annotations

from html import escape
from typing import Any, Iterable, Optional, Sequence

__all__ = ["decibels", "html_table", "percent"]


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
    head = "".join(f"<th style='text-align:left'>{escape(each)}</th>" for each in heads)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f"<table><caption style='text-align:left'>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
    )


def decibels(value: Optional[float]) -> str:
    """Return a level with one digit behind the point, '-' for None."""
    return "-" if value is None else f"{value:.1f}"


def percent(share: Optional[float]) -> str:
    """Return a share of 1 in percent, '-' for None."""
    return "-" if share is None else f"{100 * share:.2f} %"
