r"""What stands before the values of an array in a .npy file, read without evaluating it.

::

    file    6 bytes \x93NUMPY, version 1.0 or 2.0 as 2 bytes, length of the text as uint16 or uint32, text, values
    text    {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }

NumPy's own reader evaluates the text, and believes the shape.
"""

from __future__ import annotations

import math
import re
import struct
from typing import IO, TYPE_CHECKING, Any, Dict, NamedTuple, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArrayHead", "read_array", "read_head"]

_MAGIC = b"\x93NUMPY"
_LENGTHS = {b"\1\0": "<H", b"\2\0": "<I"}
# That of an array of numbers has a hundred and twenty.
_MOST_TEXT = 10_000
_MOST_DIMENSIONS = 32
_PART = 1 << 20
_ENTRY = re.compile(
    r"""\s*['"](?P<key>descr|fortran_order|shape)['"]\s*:\s*"""
    r"""(?:['"](?P<type>[^'"\\]*)['"]|(?P<flag>True|False)|\((?P<shape>[\d\sL,]*)\))\s*(?:,|(?=\s*\}))"""
)
# NumPy before 2.0 makes a negative length of a text of 900 million letters.
_TYPE = re.compile(r"[<>|=]?(?:[fiubcSUVO?]\d{0,6}|[mM]8(?:\[\w{1,9}\])?)")
_LENGTH = re.compile(r"\d{1,18}")


class ArrayHead(NamedTuple):
    """What a file says of its array.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the values, which may be no number.
    shape : tuple of int
        Its lengths, none negative.
    fortran : bool
        Whether the first axis varies fastest.
    start : int
        At which byte the values begin.
    """

    dtype: np.dtype[Any]
    shape: Tuple[int, ...]
    fortran: bool
    start: int

    @property
    def size(self) -> int:
        """How many bytes the values have."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_head(file: IO[bytes], size: int) -> ArrayHead:
    """Read what stands before the values.

    Parameters
    ----------
    file : file
        At its beginning; afterwards where the values begin.
    size : int
        How many bytes it has.

    Returns
    -------
    ArrayHead
        Its values lie within the file.

    Raises
    ------
    ValueError
        If it is no .npy file, has Python objects, no simple type, or fewer values than it says.
    """
    begin = file.read(8)
    if begin[:6] != _MAGIC:
        found = "an archive, as .npz files are" if begin[:2] == b"PK" else "something else"
        raise ValueError(f"it is {found}, expected an array as numpy.save writes it")
    form = _LENGTHS.get(begin[6:])
    if form is None:
        raise ValueError(f"its format has version {tuple(begin[6:])}, expected (1, 0) or (2, 0)")
    width = struct.calcsize(form)
    length = int.from_bytes(file.read(width), "little")
    if length > min(_MOST_TEXT, size):
        raise ValueError(
            f"the text before its values would have {length} bytes, expected at most {min(_MOST_TEXT, size)}"
        )
    entries = _entries(file.read(length).decode("latin1"))
    dtype, shape, fortran = _dtype(entries["descr"]), _shape(entries["shape"]), entries["fortran_order"] == "True"
    head = ArrayHead(dtype, shape, fortran, 8 + width + length)
    if head.dtype.hasobject:
        raise ValueError("it holds Python objects, expected numbers")
    if head.start + head.size > size:
        raise ValueError(
            f"its values of shape {head.shape} are {head.size} bytes, but it has {max(0, size - head.start)} for them: "
            "it is cut off, or damaged"
        )
    return head


def read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Read the array of a .npy file of `size` bytes; raise ValueError as :func:`read_head`, or if it ends early."""
    head = read_head(file, size)
    values = np.empty(head.size, np.uint8)
    for begin in range(0, head.size, _PART):
        # A reader of archives holds what it is asked for twice.
        part = file.read(min(_PART, head.size - begin))
        if len(part) != min(_PART, head.size - begin):
            raise ValueError(f"it ends after {begin + len(part)} bytes of values, expected {head.size}")
        values[begin : begin + len(part)] = np.frombuffer(part, np.uint8)
    return np.ndarray(head.shape, head.dtype, values, order="F" if head.fortran else "C")


def _entries(text: str) -> Dict[str, str]:
    """Return the three entries of the text."""
    stripped, found, place = text.strip(), {}, 1
    while stripped[:1] == "{":
        match = _ENTRY.match(stripped, place)
        if match is None or match["key"] in found:
            break
        found[match["key"]] = next(each for each in match.group("type", "flag", "shape") if each is not None)
        place = match.end()
    if len(found) == 3 and stripped[place:].strip() == "}":
        return found
    raise ValueError(
        f"before its values stands {stripped[:80]!r}, expected their type, order and shape, as numpy.save writes them "
        "of an array of numbers"
    )


def _dtype(text: str) -> np.dtype[Any]:
    try:
        if _TYPE.fullmatch(text):
            return np.dtype(text)
    except TypeError:
        pass
    raise ValueError(f"its values are of type {text[:40]!r}, expected numbers, such as '<f4'")


def _shape(text: str) -> Tuple[int, ...]:
    lengths = [each.strip().rstrip("L") for each in text.split(",")]
    if lengths[-1] == "":
        lengths.pop()
    if len(lengths) > _MOST_DIMENSIONS or not all(map(_LENGTH.fullmatch, lengths)):
        raise ValueError(f"its shape is ({text[:80]}), expected at most {_MOST_DIMENSIONS} lengths below 10**18")
    return tuple(map(int, lengths))
