"""Images in another size, of which only the middle is wanted: of a strip the rest is cut off before, not after.

A strip of one pixel by some thousand has gigabytes where its shorter side becomes 256. An image whose scaled form is of
a usual size is resized whole, and the middle cut out of that.
"""

from __future__ import annotations

from typing import Any, Tuple

from mxquant.runtime.mxnet import mx

__all__ = ["BILINEAR", "covering_size", "scaled", "short_size"]

BILINEAR = 1
# Pixels that an image is scaled to whole, or this many times the pixels of what is cut out.
_MOST_PIXELS, _MOST_TIMES = 1 << 24, 16
# Pixels of the image around what is cut out, of which the interpolation at its edge is made, and for rounding.
_MARGIN = 2
Size = Tuple[int, int]


def covering_size(found: Size, cut: Size) -> Size:
    """Return the height and width of an image that covers 256/224 of what is cut out, in its own proportions."""
    height, width = found
    least = [side * 256 // 224 for side in cut]
    if least[0] * width >= least[1] * height:
        return least[0], max(least[0] * width // height, 1)
    return max(least[1] * height // width, 1), least[1]


def short_size(found: Size, side: int) -> Size:
    """Return the height and width of an image whose shorter side becomes `side`."""
    height, width = found
    return (side * height // width, side) if height > width else (side, side * width // height)


def scaled(pixels: Any, size: Size, cut: Size) -> Any:
    """Return an image in another size, or the middle of that, at least what is cut out, where all of it is too much.

    Parameters
    ----------
    pixels : mxnet.nd.NDArray
        Of shape (height, width, channels).
    size : (int, int)
        Height and width that the whole image gets.
    cut : (int, int)
        Height and width of the middle that is wanted of that.
    """
    height, width = size
    if height * width > max(_MOST_PIXELS, _MOST_TIMES * cut[0] * cut[1]):
        (top, rows, height), (left, columns, width) = map(_middle, pixels.shape[:2], size, cut)
        pixels = pixels[top : top + rows, left : left + columns]
    return mx.image.imresize(pixels, width, height, BILINEAR)


def _middle(length: int, new: int, wanted: int) -> Tuple[int, int, int]:
    """Return where the middle of an axis begins, its length, and the length that it gets."""
    kept = min(length, -(-wanted * length // new) + 2 * _MARGIN)
    # As much is cut off on both sides.
    kept += (length - kept) % 2
    if new <= wanted or kept == length:
        return 0, length, new
    return (length - kept) // 2, kept, max(wanted, round(kept * new / length))
