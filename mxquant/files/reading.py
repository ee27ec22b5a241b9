"""JSON and text of files that may be damaged or made to harm: read within bounds, refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Tuple, Type, Union

from mxquant.errors import MXQuantError
from mxquant.files.regular import content_of
from mxquant.files.twice import first_twice

__all__ = ["parse_json", "read_json", "read_text"]

# The largest symbols and plans have some megabytes.
_MOST_BYTES = 1 << 26
# A list in a list is two letters of a file, and sixty bytes of memory. The largest symbols have some hundred thousand.
_MOST_VALUES = 1 << 22
# What Python itself converts from 3.11 on; older versions would take hours over a longer one.
_MOST_DIGITS = 4300


def read_text(path: Union[str, Path], error: Type[MXQuantError], what: str) -> str:
    """Return the text of a file in UTF-8.

    Parameters
    ----------
    path : str or Path
        The file.
    error : type of MXQuantError
        What to raise where it cannot be read.
    what : str
        What it is for, such as 'the plan'.

    Returns
    -------
    str
        All of it.
    """
    try:
        return content_of(path, _MOST_BYTES).decode()
    except (OSError, ValueError, MemoryError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"cannot read {what} '{path}': {reason}") from None


def parse_json(text: str) -> Any:
    """Return what a JSON text says.

    Parameters
    ----------
    text : str
        JSON.

    Returns
    -------
    object
        Dictionaries, lists, texts, numbers, truth values and None.

    Raises
    ------
    ValueError
        If it is no JSON, nested too deeply, has millions of values or a number of thousands of digits, or says
        something twice.
    """
    count = sum(map(text.count, ",[{"))
    if count > _MOST_VALUES:
        raise ValueError(f"it has some {count} values, expected at most {_MOST_VALUES}")
    try:
        return json.loads(text, parse_int=_whole, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except MemoryError:
        raise ValueError("it does not fit into memory") from None


def read_json(path: Union[str, Path], error: Type[MXQuantError], what: str) -> Any:
    """Return what a JSON file says; see :func:`read_text` and :func:`parse_json`."""
    text = read_text(path, error, what)
    try:
        return parse_json(text)
    except ValueError as problem:
        raise error(f"cannot read {what} '{path}': it is no JSON: {problem}") from None


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"{first_twice(name for name, _ in pairs)!r} stands twice in one object")
    return found
