"""Sums that are kept in double precision, as they were before NumPy 2.

There ``0.0 + numpy.float32(x)`` is a float64 with NumPy 1, and a float32 with NumPy 2. A sum of float32 loses what is
smaller than its 24th bit: of a sum that has come to 3e7, a loss of 0.7 leaves nothing.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["keep_double"]


class _Sum:
    """An attribute whose numbers with a point are float64, whatever is added to them."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is None:
            return self
        if self.name not in owner.__dict__:
            raise AttributeError(f"'{type(owner).__name__}' object has no attribute '{self.name}'")
        return owner.__dict__[self.name]

    def __set__(self, owner: Any, value: Any) -> None:
        numpy: Any = sys.modules["numpy"]
        narrow = isinstance(value, (float, numpy.float32, numpy.float16))
        owner.__dict__[self.name] = numpy.float64(value) if narrow else value


def keep_double(kind: type, *names: str) -> None:
    """Let attributes of a class's objects be float64 where they are numbers with a point.

    Parameters
    ----------
    kind : type
        The class; what is derived from it too, unless that has something of its own by this name.
    *names : str
        The attributes.
    """
    for name in names:
        setattr(kind, name, _Sum(name))
