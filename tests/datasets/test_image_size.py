"""The size of an image is known before its pixels take memory."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from mxquant.datasets.image_size import check_image, image_size
from mxquant.errors import InputError

PIXELS = np.random.RandomState(0).randint(0, 256, (24, 37, 3)).astype(np.uint8)


def encoded(suffix: str, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, PIXELS, list(options))[1])


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
    ],
    ids=["png", "jpeg", "progressive jpeg", "bmp", "webp", "lossless webp", "gif"],
)
def test_the_size_is_what_the_file_says(content: bytes) -> None:
    assert image_size(content) == (37, 24)
    check_image(content, "it")


def test_of_other_formats_nothing_is_said() -> None:
    assert image_size(encoded(".tiff")) is None
    check_image(encoded(".tiff"), "it")


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


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_a_file_that_is_cut_off_is_refused_or_has_no_other_size(suffix: str) -> None:
    content = encoded(suffix)
    for size in range(len(content)):
        try:
            check_image(content[:size], "it")
        except InputError as error:
            assert size < 26, error
        else:
            assert image_size(content[:size]) in (None, (37, 24))
