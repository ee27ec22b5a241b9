"""Images in files of their own: in a folder, in class folders, or in a list of paths and URLs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.datasets.classes import labels_of
from mxquant.datasets.dataset import Dataset, check_batch_size
from mxquant.datasets.image_size import MOST_ENCODED
from mxquant.datasets.opening import content_at, entries, is_url
from mxquant.datasets.preprocessing import Encoded, Preprocessing, batches_of
from mxquant.errors import InputError
from mxquant.shown import logger

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SUFFIXES", "ImageFiles", "class_folders", "files_of", "read_files"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_log = logger(__name__)

File = Tuple[str, Optional[float]]


@dataclass(frozen=True, eq=False)
class ImageFiles(Dataset):
    """Images, each in a file.

    Parameters
    ----------
    files : sequence of (str, float or None)
        Path or URL of each, and its class if that is known.
    preprocessing : Preprocessing
        How they become input.
    batch_size : int
        Images in a batch.
    folder : str
        What messages call them together.
    first : int
        Number of the first one, if these are a part of others.

    Raises
    ------
    InputError
        If there are none, or they are given in another form.
    """

    files: Sequence[File]
    preprocessing: Preprocessing
    batch_size: int = 32
    folder: str = "images"
    first: int = 0

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        files = [(str(path), None if label is None else float(label)) for path, label in map(_pair, self.files)]
        if not files:
            raise InputError(f"'{self.folder}' has no images")
        object.__setattr__(self, "files", tuple(files))

    @classmethod
    def of(
        cls,
        folder: str,
        preprocessing: Preprocessing,
        batch_size: int = 32,
        classes: Optional[Mapping[str, int]] = None,
    ) -> ImageFiles:
        """Return the images of a folder, with labels if they lie in class folders; see :func:`files_of`.

        Parameters
        ----------
        folder : str or Path
            Path or URL; those who read a part of it must find the files by the same paths.
        preprocessing : Preprocessing
            How they become input.
        batch_size : int
            Images in a batch.
        classes : mapping of str to int, optional
            The class of each class folder, by its name. Default: the number that it is, where all are whole numbers,
            else its place in alphabetical order.

        Returns
        -------
        ImageFiles
            All of them.

        Raises
        ------
        InputError
            If there are none, the folder cannot be read, or a class folder has no class.
        """
        folder = os.fspath(folder)
        if not is_url(folder) and not os.path.isdir(folder):
            raise InputError(f"there is no folder '{folder}'")
        return cls(files_of(folder, classes), preprocessing, batch_size, folder)

    @property
    def title(self) -> str:
        """The folder."""
        return self.folder

    @property
    def grid(self) -> Tuple[int, int]:
        """Number of the first image, and the size of batches."""
        return self.first, self.batch_size

    def __len__(self) -> int:
        return len(self.files)

    def part(self, begin: int, end: int) -> ImageFiles:
        """Return the images from `begin` to `end` - 1."""
        return replace(self, files=self.files[begin:end], first=self.first + begin)

    def read(self, sizes: Sequence[int]) -> Iterator[Tuple[NDArray[Any], ...]]:
        """Yield the images in batches of these sizes."""
        return batches_of(read_files(self.files), self.preprocessing, sizes)


def _pair(entry: Any) -> Tuple[Any, Any]:
    if not isinstance(entry, (tuple, list)) or len(entry) != 2:
        raise InputError(f"a list of images has {entry!r}, expected pairs of a path and a label or None")
    return entry[0], entry[1]


def read_files(files: Iterable[Tuple[object, Optional[float]]]) -> Iterator[Encoded]:
    """Yield the images of files; raise InputError where one cannot be read."""
    for path, label in files:
        yield Encoded(content_at(str(path), MOST_ENCODED), f"'{path}'", label)


def class_folders(folder: str) -> List[str]:
    """Return the names of the folders in a folder, in alphabetical order."""
    return [os.path.basename(each) for each in entries(folder)[1]]


def files_of(folder: str, classes: Optional[Mapping[str, int]] = None) -> List[File]:
    """Return the image files of a folder, with their classes if they lie in class folders.

    Files of class folders are mixed, always in the same way, so that the first ones are of many classes.

    Parameters
    ----------
    folder : str
        Path or URL.
    classes : mapping of str to int, optional
        As for :meth:`ImageFiles.of`.

    Raises
    ------
    InputError
        If there are none, images both in class folders and beside them, or a class folder has no class.
    """
    files, folders = entries(folder)
    here = _images_among(files)
    inside = [(os.path.basename(each), path) for each in folders for path in _images_among(entries(each)[0])]
    # A folder without images counts too: a test set may have none of a class.
    labels = labels_of([os.path.basename(each) for each in folders], classes) if inside else {}
    labelled = [(path, float(labels[name])) for name, path in inside]
    if here and labelled:
        raise InputError(
            f"'{folder}' has images in class folders, such as '{labelled[0][0]}', and beside them, such as "
            f"'{here[0]}'; expected one or the other"
        )
    if not here and not labelled:
        raise InputError(f"'{folder}' has no images ({', '.join(SUFFIXES)}), nor class folders with images")
    if here:
        return [(path, None) for path in here]
    order = np.random.RandomState(0).permutation(len(labelled))
    return [labelled[i] for i in order]


def _images_among(files: Sequence[str]) -> List[str]:
    images = [path for path in files if os.path.splitext(path)[1].lower() in SUFFIXES]
    others = [path for path in files if os.path.splitext(path)[1].lower() not in SUFFIXES]
    if images and others:
        _log.warning("passed over %d files that are no images by their names, such as '%s'", len(others), others[0])
    return images
