"""From encoded images to what a network reads: decoded, resized, cut and normalised by MXNet's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Iterable, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from mxquant.datasets.image_size import check_image
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Encoded", "Preprocessing", "batches_of"]

_BILINEAR = 1


class Encoded(NamedTuple):
    """An image as it lies in a file, what it is called in messages, and its class or None."""

    content: bytes
    name: str
    label: Optional[float]


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to what the network reads.

    The shorter side becomes 256/224 of the network's, the middle is cut out, and (pixel - mean) / std · scale taken of
    each RGB channel.

    Parameters
    ----------
    side : int
        Side of the square that the network takes.
    mean, std : tuple of float
        For red, green, blue; in the unit of the pixels, 0 to 255.
    scale : float
        What the result is multiplied by.
    channels_first : bool
        Whether the layout is NCHW, else NHWC.
    """

    side: int = 224
    mean: Tuple[float, ...] = (0.0, 0.0, 0.0)
    std: Tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1.0
    channels_first: bool = True

    def cut(self, image: Encoded) -> Any:
        """Return the pixels of the middle as an NDArray; MXNet decodes while Python goes on."""
        check_image(image.content, image.name)
        try:
            pixels = mx.image.resize_short(mx.image.imdecode(image.content), self.side * 256 // 224, _BILINEAR)
            return mx.image.center_crop(pixels, (self.side, self.side), _BILINEAR)[0]
        except (mx.MXNetError, ValueError) as error:
            raise InputError(f"{image.name} is no image that MXNet can decode") from error

    def __call__(self, images: Iterable[Encoded]) -> NDArray[np.float32]:
        """Return images as float32 of shape (n, 3, side, side) or (n, side, side, 3)."""
        decoding = [(image, self.cut(image)) for image in images]
        pixels = np.stack([_pixels(image, cut) for image, cut in decoding]).astype(np.float32)
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        pixels = (pixels - mean) * (np.float32(self.scale) / std)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) if self.channels_first else pixels


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
