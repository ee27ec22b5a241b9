"""``str`` as it was before NumPy 2: of ``(numpy.int64(2), 3)`` the text is '(2, 3)'.

MXNet's operators take their attributes as text, and know nothing of '(np.int64(2), 3)'.
"""

from __future__ import annotations

import builtins
import sys
from typing import Any

__all__ = ["PlainText", "plain_text"]


def plain_text(value: Any) -> str:
    """Return the text of a value, in which scalars of NumPy look like numbers of Python.

    Parameters
    ----------
    value : object
        Tuples and lists are looked into; all else has the text that Python gives it.

    Returns
    -------
    str
        Such as '(2, 3)'.
    """
    text = builtins.str(value)
    # `numpy.str_` is written 'np.str_(...)' as well, and so are numbers: no other text needs another look.
    return _spelled(value) if "np." in text and type(value) in (tuple, list) else text


def _spelled(value: Any) -> str:
    if type(value) is tuple:
        return f"({', '.join(map(_spelled, value))}{',' if len(value) == 1 else ''})"
    if type(value) is list:
        return f"[{', '.join(map(_spelled, value))}]"
    numpy: Any = sys.modules["numpy"]
    if isinstance(value, numpy.generic):
        return repr(value.item()) if isinstance(value, numpy.character) else builtins.str(value)
    return repr(value)


class _Type(type):
    """Whatever is a ``str`` is one of these too, so that ``isinstance(value, str)`` says what it did."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, builtins.str) if cls is PlainText else type.__instancecheck__(cls, value)

    def __subclasscheck__(cls, other: Any) -> bool:
        return issubclass(other, builtins.str) if cls is PlainText else type.__subclasscheck__(cls, other)


class PlainText(str, metaclass=_Type):
    """What MXNet's modules have by the name ``str``: called, it returns a ``str`` of Python's."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Return the text of a value; what is derived from this class gets instances of its own."""
        if cls is not PlainText:
            return builtins.str.__new__(cls, *args, **options)
        if len(args) == 1 and not options:
            return plain_text(args[0])
        return builtins.str(*args, **options)
