r"""The size that a TIFF says it has: two numbers of its first directory.

::

    file       b"II*\0", or b"MM\0*" where numbers begin with the high byte; uint32 place of the directory
    directory  uint16 count, entries
    entry      uint16 tag, uint16 type, uint32 number of values, value or its place in 4 bytes
"""

from __future__ import annotations

import struct
from typing import Optional, Tuple

__all__ = ["tiff_size"]

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_WIDTH, _HEIGHT = 256, 257
_FORMS = {3: "H", 4: "I"}


def tiff_size(content: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height, or None where the directory does not say each of them once.

    Parameters
    ----------
    content : bytes
        A file of TIFF, of 8 bytes at least.
    """
    order = _ORDERS.get(content[:4])
    if order is None:
        return None
    try:
        (place,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, place)
        found = {}
        for at in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", content, at)
            if tag in (_WIDTH, _HEIGHT):
                if tag in found or values != 1:
                    return None
                (found[tag],) = struct.unpack_from(order + _FORMS[kind], content, at + 8)
        return found[_WIDTH], found[_HEIGHT]
    except (struct.error, KeyError):
        return None
