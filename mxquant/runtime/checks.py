"""Arguments that many calls take, checked in one way."""

from __future__ import annotations

from typing import Any

import numpy as np

from mxquant.errors import InputError

__all__ = ["whole_number"]


def whole_number(value: Any, name: str, least: int) -> int:
    """Return a whole number that a user has given.

    Parameters
    ----------
    value : object
        What was given; 16.0 is whole too.
    name : str
        Of the argument, for the message.
    least : int
        The smallest number that is allowed.

    Raises
    ------
    InputError
        If it is another number, or none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or value % 1 != 0:
        raise InputError(f"{name} is {value!r}, expected a whole number")
    if value < least:
        raise InputError(f"{name} is {value!r}, expected at least {least}")
    return int(value)
