"""From encoded images to what a network reads: decoded, resized, cut and normalised by MXNet's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Iterable, Iterator, NamedTuple, Optional, Tuple, Union

import numpy as np

from mxquant.datasets.image_size import check_image
from mxquant.datasets.scaling import BILINEAR, covering_size, scaled, short_size
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COLORS", "Encoded", "Preprocessing", "batches_of"]

COLORS = ("rgb", "bgr", "gray")
# Of larger images no two are in memory at once, however many a batch has: 0.8 GB each at most.
_MANY_PIXELS = 1 << 22


class Encoded(NamedTuple):
    """An image as it lies in a file, what it is called in messages, and its class or None."""

    content: bytes
    name: str
    label: Optional[float]


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to what the network reads.

    By default the shorter side becomes 256/224 of the network's, and the middle is cut out; an image that has the
    network's size already stays as it is. Then (pixel - mean) / std · scale is taken of each channel.

    Parameters
    ----------
    side : int or (int, int)
        Side of the square that the network takes, or its height and width.
    mean, std : tuple of float
        For each channel, in the order of `color`, or one for all; in the unit of the pixels, 0 to 255.
    scale : float
        What the result is multiplied by.
    channels_first : bool
        Whether the layout is NCHW, else NHWC.
    resize : int or str
        What the shorter side becomes; 'none' for no resizing; 'auto' for the default.
    crop : str, int or (int, int)
        'center' for the middle, of the network's size; a side or a height and width for a middle of another size, which
        then gets the network's; 'none' for whole images, which get the network's size, whatever becomes of their form.
    color : str
        'rgb', 'bgr' or 'gray': what the channels are.

    Raises
    ------
    InputError
        If one of them is something else.
    """

    side: Union[int, Tuple[int, int]] = 224
    mean: Tuple[float, ...] = (0.0, 0.0, 0.0)
    std: Tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1.0
    channels_first: bool = True
    resize: Union[int, str] = "auto"
    crop: Union[int, str, Tuple[int, int]] = "center"
    color: str = "rgb"

    def __post_init__(self) -> None:
        if self.color not in COLORS:
            raise InputError(f"color is {self.color!r}, expected one of {', '.join(map(repr, COLORS))}")
        if not _is_side(self.side):
            raise InputError(f"side is {self.side!r}, expected a whole number from 1, or two for height and width")
        if self.resize not in ("auto", "none") and not _is_count(self.resize):
            raise InputError(f"resize is {self.resize!r}, expected a whole number from 1, 'none' or 'auto'")
        if self.crop not in ("center", "none") and not _is_side(self.crop):
            raise InputError(f"crop is {self.crop!r}, expected 'center', 'none', a side, or a height and width")
        for name in ("mean", "std"):
            values = tuple(getattr(self, name))
            if len(values) != self.channels and len(set(values)) != 1:
                raise InputError(f"{name} is {values}, expected one number, or {self.channels} for {self.color}")

    @property
    def size(self) -> Tuple[int, int]:
        """Height and width of what the network takes."""
        return _pair_of(self.side)

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of an image as the network takes it."""
        return (self.channels, *self.size) if self.channels_first else (*self.size, self.channels)

    @property
    def range(self) -> Tuple[float, float]:
        """The least and the largest value that the network can get."""
        mean, factor = self._normalisation
        ends = [float(value) for pixel in (0, 255) for value in ((pixel - mean) * factor).tolist()]
        return min(ends), max(ends)

    @property
    def _normalisation(self) -> Tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What is subtracted of each channel, and what it is multiplied by then."""
        mean, std = (np.asarray(values, np.float32)[: self.channels] for values in (self.mean, self.std))
        return mean, np.float32(self.scale) / std

    def cut(self, image: Encoded) -> Any:
        """Return the pixels that the network gets as an NDArray; MXNet decodes while Python goes on."""
        check_image(image.content, image.name)
        try:
            pixels = mx.image.imdecode(image.content, flag=int(self.color != "gray"), to_rgb=int(self.color != "bgr"))
            found = self._fitted(pixels, image)
            if pixels.shape[0] * pixels.shape[1] > _MANY_PIXELS:
                found.wait_to_read()
            return found
        except (mx.MXNetError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{image.name} is no image that MXNet can decode") from error

    def _fitted(self, pixels: Any, image: Encoded) -> Any:
        """Return pixels in the network's size."""
        height, width = self.size
        if self.resize == "auto" and self.crop == "center" and pixels.shape[:2] == self.size:
            return pixels
        if self.crop == "none":
            if self.resize == "auto":
                return mx.image.imresize(pixels, width, height, BILINEAR)
            size = pixels.shape[:2] if self.resize == "none" else short_size(pixels.shape[:2], int(self.resize))
            if size != self.size:
                found = " x ".join(map(str, size))
                raise InputError(
                    f"{image.name} has {found} pixels (height x width), the network takes {height} x {width}; cut the "
                    "middle out (crop 'center'), or let every image be resized (crop 'none', resize 'auto')"
                )
            return pixels if self.resize == "none" else scaled(pixels, size, size)
        cut = self.size if self.crop == "center" else _pair_of(self.crop)
        if self.resize != "none":
            found = pixels.shape[:2]
            size = covering_size(found, cut) if self.resize == "auto" else short_size(found, int(self.resize))
            pixels = scaled(pixels, size, cut)
        middle = mx.image.center_crop(pixels, (cut[1], cut[0]), BILINEAR)[0]
        return middle if cut == self.size else mx.image.imresize(middle, width, height, BILINEAR)

    def __call__(self, images: Iterable[Encoded]) -> NDArray[np.float32]:
        """Return images as float32 of shape (n, channels, height, width) or (n, height, width, channels)."""
        decoding = [(image, self.cut(image)) for image in images]
        pixels = np.stack([_pixels(image, cut) for image, cut in decoding]).astype(np.float32)
        mean, factor = self._normalisation
        pixels = (pixels - mean) * factor
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) if self.channels_first else pixels


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_side(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value)))


def _pair_of(side: Any) -> Tuple[int, int]:
    return side if isinstance(side, tuple) else (side, side)


def _pixels(image: Encoded, cut: Any) -> NDArray[Any]:
    try:
        found: NDArray[Any] = cut.asnumpy() if isinstance(cut, mx.nd.NDArray) else cut
    except mx.MXNetError as error:
        raise InputError(f"{image.name} is no image that MXNet can decode") from error
    return found


def batches_of(
    images: Iterable[Encoded], preprocessing: Preprocessing, sizes: Iterable[int]
) -> Iterator[Tuple[Any, ...]]:
    """Yield images as batches of these sizes, while there are any: of arrays, and of labels where images have them."""
    waiting = iter(images)
    for size in sizes:
        taken = list(islice(waiting, size))
        if not taken:
            return
        labels = [image.label for image in taken]
        arrays = preprocessing(taken)
        yield (arrays,) if None in labels else (arrays, np.array(labels))
