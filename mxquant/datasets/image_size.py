"""The size that an image file says it has, looked at before memory is taken for its pixels.

A small file can say that it is a large image. Whatever is read to find the size is what the decoders read too, so that
no other size comes out; a file in which it is not found, or of another format, is refused.
"""

from __future__ import annotations

import struct
from typing import Optional, Tuple

from mxquant.datasets.tiff_size import tiff_size
from mxquant.errors import InputError

__all__ = ["MOST_ENCODED", "check_image", "image_size"]

# 0.8 GB in 8-bit RGB; the largest cameras have 150 million.
_MOST_PIXELS = 1 << 28
# Bytes of a file with one image, which few have that are not compressed.
MOST_ENCODED = 1 << 30
# Every format has more than this before its first pixel.
_LEAST_BYTES = 26
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_OS2 = b"\x0c\0\0\0"
_STANDALONE = (0x01, *range(0xD0, 0xD8))
# Segments that a JPEG may have in front of its frame: tables, restart intervals, applications' own, comments.
_BEFORE_FRAME = (0xC4, 0xCC, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE)
_FRAMES = tuple(each for each in range(0xC0, 0xD0) if each not in (0xC4, 0xC8, 0xCC))
# Each scan of a progressive JPEG goes over all pixels, and may be some bytes long; encoders write ten.
_SCAN, _MOST_SCANS = b"\xff\xda", 50


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
        If its size is not found, it has no pixels or more than 268 million, or is a JPEG of more than 50 scans.
    """
    if len(content) < _LEAST_BYTES:
        raise InputError(f"{name} is no image that MXNet can decode: it has {len(content)} bytes")
    size = image_size(content)
    if size is None:
        raise InputError(
            f"{name} is no image that MXNet can decode, or does not say its size as others do; expected JPEG, PNG, "
            "BMP, GIF, WebP or TIFF"
        )
    if content[:2] == b"\xff\xd8" and content.count(_SCAN) > _MOST_SCANS:
        raise InputError(f"{name} has {content.count(_SCAN)} scans, expected at most {_MOST_SCANS}; save it anew")
    width, height = size
    if not (width > 0 and height > 0 and width * height <= _MOST_PIXELS):
        raise InputError(f"{name} says that it has {width} x {height} pixels, expected 1 to {_MOST_PIXELS}")


def image_size(content: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height as a file says them, or None where it does not say them or its format is another.

    Parameters
    ----------
    content : bytes
        A file of PNG, JPEG, BMP, GIF, WebP or TIFF, of 26 bytes at least.

    Returns
    -------
    tuple of int or None
        Width and height in pixels.
    """
    if content[:16] == _PNG:
        return struct.unpack_from(">II", content, 16)
    if content[:2] == b"\xff\xd8":
        return _jpeg(content)
    if content[:2] == b"BM":
        # OS/2's header is of 12 bytes.
        width, height = struct.unpack_from("<HH" if content[14:18] == _OS2 else "<ii", content, 18)
        return width, abs(height)
    if content[:4] == b"GIF8":
        return struct.unpack_from("<HH", content, 6)
    if content[:4] == b"RIFF" and content[8:15] == b"WEBPVP8" and len(content) >= 30:
        return _webp(content)
    return tiff_size(content)


def _jpeg(content: bytes) -> Optional[Tuple[int, int]]:
    """Go from segment to segment up to the frame, which has the size."""
    position = 2
    while position + 9 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return width, height
        elif marker in _BEFORE_FRAME and content[position + 2 : position + 4] >= b"\0\2":
            position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        else:
            return None
    return None


def _webp(content: bytes) -> Optional[Tuple[int, int]]:
    kind = content[15:16]
    if kind == b" ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind != b"X":
        return None
    return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1
