"""The size of an image is known before its pixels take memory."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest

from mxquant.datasets.image_size import check_image, image_size
from mxquant.errors import InputError

PIXELS = np.random.RandomState(0).randint(0, 256, (24, 37, 3)).astype(np.uint8)


def encoded(suffix: str, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, PIXELS, list(options))[1])


def tiff_of(*entries: Any, order: str = "<") -> bytes:
    """Return a TIFF with these entries in its directory, without pixels."""
    content = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    return content + b"".join(struct.pack(order + form, *values) for form, *values in entries) + bytes(20)


@pytest.mark.parametrize(
    "content",
    [
        encoded(".png"),
        encoded(".jpg"),
        encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".bmp"),
        encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80),
        encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
        b"GIF89a" + struct.pack("<HH", 37, 24) + bytes(20),
        b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 37, 24, 1, 24),
        encoded(".tiff"),
        tiff_of(("HHIHH", 256, 3, 1, 37, 0), ("HHII", 257, 4, 1, 24), order=">"),
    ],
    ids=["png", "jpeg", "progressive jpeg", "bmp", "webp", "lossless webp", "gif", "OS/2's bmp", "tiff", "big-endian"],
)
def test_the_size_is_what_the_file_says(content: bytes) -> None:
    assert image_size(content) == (37, 24)
    check_image(content, "it")


JPEG = encoded(".jpg")
FRAME = JPEG.index(b"\xff\xc0")


@pytest.mark.parametrize(
    "content",
    [
        JPEG[:2] + b"\xff\0" + JPEG[2:],
        JPEG[:2] + b"\xff\xe0\0\1" + JPEG[2:],
        JPEG[:2] + b"extra" + JPEG[2:],
        JPEG[:FRAME] + b"\xff\xda\0\2" + JPEG[FRAME:],
        JPEG[:FRAME] + b"\xff\xd9" + JPEG[FRAME:],
        JPEG[:FRAME],
        encoded(".png")[:8] + b"\0\0\0\0cHRM\0\0\0\0" + encoded(".png")[8:],
        tiff_of(("HHIHH", 256, 3, 1, 37, 0)),
        tiff_of(("HHIHH", 256, 3, 1, 37, 0), ("HHIHH", 256, 3, 1, 1, 0), ("HHII", 257, 4, 1, 24)),
        tiff_of(("HHIHH", 256, 3, 2, 37, 0), ("HHII", 257, 4, 1, 24)),
        tiff_of(("HHIHH", 256, 3, 1, 37, 0), ("HHIf", 257, 11, 1, 24.0)),
        b"II*\0" + b"\xff" * 40,
        b"II+\0" + bytes(40),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        b"P6 37 24 255 " + bytes(40),
        b"no image at all, but some text",
    ],
)
def test_what_does_not_say_its_size_as_others_do_is_refused(content: bytes) -> None:
    assert image_size(content) is None
    with pytest.raises(InputError, match="'a' is no image that MXNet can decode, or does not say its size"):
        check_image(content, "'a'")


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    check_image(encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "it")
    with pytest.raises(InputError, match="it has 301 scans, expected at most 50"):
        check_image(JPEG + b"\xff\xda\0\2" * 300, "it")


def test_a_tiff_of_too_many_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="it says that it has 4000000000 x 24 pixels, expected 1 to 268435456"):
        check_image(tiff_of(("HHII", 256, 4, 1, 4_000_000_000), ("HHII", 257, 4, 1, 24)), "it")


def png_of(width: int, height: int) -> bytes:
    content = encoded(".png")
    return content[:16] + struct.pack(">II", width, height) + content[24:]


@pytest.mark.parametrize(
    "content", [png_of(100_000, 100_000), png_of(2**31, 1), png_of(2**32 - 1, 2**32 - 1), png_of(0, 5)]
)
def test_too_many_pixels_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"'a.png' says that it has \d+ x \d+ pixels, expected 1 to 268435456"):
        check_image(content, "'a.png'")


def test_a_jpeg_of_the_largest_size_is_refused() -> None:
    content = encoded(".jpg")
    sizes = struct.pack(">HH", 24, 37)
    at = content.index(sizes)
    with pytest.raises(InputError, match="65535 x 65535"):
        check_image(content[:at] + b"\xff" * 4 + content[at + 4 :], "it")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_a_file_that_is_cut_off_is_refused_or_has_no_other_size(suffix: str) -> None:
    content = encoded(suffix)
    for size in range(len(content)):
        try:
            check_image(content[:size], "it")
        except InputError:
            assert size < 26 or image_size(content[:size]) is None
        else:
            assert image_size(content[:size]) == (37, 24)
