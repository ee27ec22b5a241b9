"""The size that an image file says it has, looked at before memory is taken for its pixels.

A small file can say that it is a large image.
"""

from __future__ import annotations

import struct
from typing import Optional, Tuple

from mxquant.errors import InputError

__all__ = ["check_image", "image_size"]

# 0.8 GB in 8-bit RGB; the largest cameras have 150 million.
_MOST_PIXELS = 1 << 28
# Every format has more than this before its first pixel.
_LEAST_BYTES = 26
_STANDALONE = (0x01, *range(0xD0, 0xDA))
_NO_FRAME = (0xC4, 0xC8, 0xCC)


def check_image(content: bytes, name: str) -> None:
    """Refuse what cannot be an image, or would be too large.

    Parameters
    ----------
    content : bytes
        An image file.
    name : str
        What it is called in messages.

    Raises
    ------
    InputError
        If it has no pixels, or more than 268 million.
    """
    if len(content) < _LEAST_BYTES:
        raise InputError(f"{name} is no image that MXNet can decode: it has {len(content)} bytes")
    size = image_size(content)
    if size is None:
        return
    width, height = size
    if not (width > 0 and height > 0 and width * height <= _MOST_PIXELS):
        raise InputError(f"{name} says that it has {width} x {height} pixels, expected 1 to {_MOST_PIXELS}")


def image_size(content: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height as a file says them, or None where its format is not known here.

    Parameters
    ----------
    content : bytes
        A file of PNG, JPEG, BMP, GIF or WebP, of 26 bytes at least.

    Returns
    -------
    tuple of int or None
        Width and height in pixels.
    """
    if content[:4] == b"\x89PNG":
        return struct.unpack_from(">II", content, 16)
    if content[:2] == b"\xff\xd8":
        return _jpeg(content)
    if content[:2] == b"BM":
        width, height = struct.unpack_from("<ii", content, 18)
        return width, abs(height)
    if content[:4] == b"GIF8":
        return struct.unpack_from("<HH", content, 6)
    if content[:4] == b"RIFF" and content[8:15] == b"WEBPVP8" and len(content) >= 30:
        return _webp(content)
    return None


def _jpeg(content: bytes) -> Optional[Tuple[int, int]]:
    """Go from segment to segment up to the frame, which has the size."""
    position = 2
    while position + 9 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return width, height
        else:
            position += 2 + max(2, int.from_bytes(content[position + 2 : position + 4], "big"))
    return None


def _webp(content: bytes) -> Optional[Tuple[int, int]]:
    kind = content[15:16]
    if kind == b" ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1
