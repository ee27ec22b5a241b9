"""Results as text and as JSON."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, List, Mapping, Sequence, Tuple

import numpy as np

from mxquant.shown import printable

__all__ = ["csv_of", "facts", "megabytes", "number", "plain", "table"]


def plain(value: Any) -> Any:
    """Return a value as dictionaries, lists, numbers and text for JSON.

    Parameters
    ----------
    value : object
        Dataclasses, mappings, sequences, numbers of NumPy, paths.

    Returns
    -------
    object
        Numbers that are not finite are text.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def facts(rows: Sequence[Tuple[str, str]]) -> str:
    """Return lines of a name and what there is to say of it, in two columns."""
    cells = [(printable(name), printable(text)) for name, text in rows]
    width = max((len(name) for name, _ in cells), default=0) + 2
    return "\n".join(f"{name:<{width}}{text}" for name, text in cells)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a text table; the first column is flush left, the others flush right."""
    lines: List[Sequence[str]] = [list(map(printable, line)) for line in (head, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    cells = (
        [line[0].ljust(widths[0]), *(cell.rjust(w + 2) for cell, w in zip(line[1:], widths[1:]))] for line in lines
    )
    return "\n".join("".join(line).rstrip() for line in cells)


def megabytes(size: float) -> str:
    """Return a size in bytes as text."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def number(value: Any, form: str = ".1f") -> str:
    """Return a number as text, '-' for None."""
    return "-" if value is None else f"{value:{form}}"


def csv_of(rows: Sequence[Any]) -> str:
    """Return dataclasses of one kind as CSV, with the names of their fields in the first line; None is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows[:1]:
        writer.writerow([each.name for each in fields(row)])
    writer.writerows([getattr(row, each.name) for each in fields(row)] for row in rows)
    return text.getvalue()
