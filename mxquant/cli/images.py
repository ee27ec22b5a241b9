"""Images in a folder or a .rec file, decoded, resized, cut and normalised by MXNet's own functions."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from mxquant._compat import mx
from mxquant.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SUFFIXES", "Encoded", "Preprocessing", "batches_of", "files_of", "read_files", "read_record", "record_size"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_BILINEAR = 1
_log = logging.getLogger(__name__)


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


def batches_of(images: Iterable[Encoded], preprocessing: Preprocessing, size: int) -> Iterator[Tuple[Any, ...]]:
    """Yield images as batches: of arrays, and of labels where images have them."""
    waiting: List[Encoded] = []
    for image in images:
        waiting.append(image)
        if len(waiting) == size:
            yield _batch(waiting, preprocessing)
            waiting = []
    if waiting:
        yield _batch(waiting, preprocessing)


def _batch(images: List[Encoded], preprocessing: Preprocessing) -> Tuple[Any, ...]:
    labels = [image.label for image in images]
    arrays = preprocessing(images)
    return (arrays,) if None in labels else (arrays, np.array(labels))


def files_of(folder: Path) -> List[Tuple[Path, Optional[int]]]:
    """Return the image files of a folder, with their classes if they lie in class folders.

    Files of class folders are mixed, always in the same way, so that the first ones are of many classes.

    Raises
    ------
    InputError
        If there are none, or images both in class folders and beside them.
    """
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    here = _images_in(folder)
    labelled = [(path, label) for label, each in enumerate(classes) for path in _images_in(each)]
    if here and labelled:
        raise InputError(
            f"--data: '{folder}' has images in class folders, such as '{labelled[0][0]}', and beside them, such as "
            f"'{here[0]}'; expected one or the other"
        )
    if not here and not labelled:
        raise InputError(f"--data: '{folder}' has no images ({', '.join(SUFFIXES)}), nor class folders with images")
    if here:
        return [(path, None) for path in here]
    order = np.random.RandomState(0).permutation(len(labelled))
    return [labelled[i] for i in order]


def _images_in(folder: Path) -> List[Path]:
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in SUFFIXES]
    if images and others:
        _log.warning("passed over %d files that are no images by their names, such as '%s'", len(others), others[0])
    return images


def read_files(files: Iterable[Tuple[Path, Optional[int]]]) -> Iterator[Encoded]:
    """Yield the images of files; raise InputError where one cannot be read."""
    for path, label in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"--data: cannot read '{path}': {error.strerror or error}") from error
        yield Encoded(content, f"--data: '{path}'", label)


def record_size(path: Path) -> Optional[int]:
    """Return how many images a .rec file has, where an .idx file beside it tells."""
    index = path.with_suffix(".idx")
    if not index.is_file():
        return None
    return sum(1 for line in index.read_text(encoding="utf-8").splitlines() if line.strip())


def read_record(path: Path) -> Iterator[Encoded]:
    """Yield the images of a .rec file; raise InputError where it is damaged."""
    record = mx.recordio.MXRecordIO(os.fspath(path), "r")
    try:
        for number in range(1 << 62):
            try:
                content = record.read()
            except mx.MXNetError as error:
                raise InputError(f"--data: '{path}' is damaged, or no .rec file, at record {number}") from error
            if content is None:
                return
            yield _unpacked(content, f"--data: record {number} of '{path}'")
    finally:
        record.close()


def _unpacked(content: bytes, name: str) -> Encoded:
    try:
        header, image = mx.recordio.unpack(content)
    except Exception as error:  # of struct, or of NumPy: whatever the bytes suggest
        raise InputError(f"{name} holds no label and image") from error
    labels = np.asarray(header.label, np.float64).reshape(-1)
    return Encoded(image, name, float(labels[0]) if labels.size else None)
