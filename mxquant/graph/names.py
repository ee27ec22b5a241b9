"""Names that nothing else has: the name itself, or with the first number behind it that is free.

The last number behind each name is kept, so that thousands of operators of one name cost one step each.
"""

from __future__ import annotations

from typing import AbstractSet, Dict

__all__ = ["unused_name"]


def unused_name(name: str, taken: AbstractSet[str], numbers: Dict[str, int]) -> str:
    """Return `name`, or the first of `name`_1, `name`_2 and so on that is not taken.

    Parameters
    ----------
    name : str
        What is wanted.
    taken : set of str
        Names of others, of which none is given free again.
    numbers : dict of str to int
        The last number behind each name, which is changed.
    """
    number = numbers.get(name, 0)
    candidate = f"{name}_{number}" if number else name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    numbers[name] = number
    return candidate
