"""Images in a .rec file, read in one piece or from where a record begins.

A record is one part, or several where its content has the magic number at a multiple of four bytes; there it is cut::

    magic    4 bytes, 0xced7230a, little endian
    length   4 bytes: 29 bits for the bytes of this part, above them 0 whole, 1 first, 2 middle, 3 last part
    content  filled up to a multiple of 4 bytes

An .idx file beside it has a line for each record: a key, and the byte at which the record begins. A record's content is
a flag, a label, two numbers, as many further labels as the flag says, and an image.

Records without an image, as InsightFace's files have at the beginning and at the end, are passed over there. A label of
several numbers, as those of detection, is no class: such a record counts as one without a label.
"""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from mxquant.datasets.dataset import Dataset, check_batch_size
from mxquant.datasets.image_size import MOST_ENCODED
from mxquant.datasets.opening import content_at, is_url, opened, reason_of
from mxquant.datasets.preprocessing import Encoded, Preprocessing, batches_of
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RecordFile", "first_record", "read_record", "record_size"]

_MAGIC = struct.pack("<I", 0xCED7230A)
_HEAD = 8
# Flag, label and two numbers, in front of further labels.
_LABEL = 24
# Longer records are not looked at before they are read: no list of labels is as long, or it is next to an image.
_MOST_WITHOUT_IMAGE = 1024
# Bytes of an .idx file: ten million records.
_MOST_INDEX = 1 << 28
_PLACE = re.compile(r"[0-9]{1,18}", re.ASCII)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


@dataclass(frozen=True, eq=False)
class RecordFile(Dataset):
    """Images in a .rec file; :meth:`of` finds out where they are.

    Parameters
    ----------
    path : str
        Path or URL.
    preprocessing : Preprocessing
        How images become input.
    offsets : numpy.ndarray of int64, shape (n + 1,)
        Where each record with an image begins, and where the last one ends.
    batch_size : int
        Images in a batch.
    first : int
        Number of the first of them, if this is a part of a file.
    before : int
        How many records without an image stand before all others.
    """

    path: str
    preprocessing: Preprocessing
    offsets: NDArray[np.int64]
    batch_size: int = 32
    first: int = 0
    before: int = 0

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    @classmethod
    def of(cls, path: str, preprocessing: Preprocessing, batch_size: int = 32) -> RecordFile:
        """Return the images of a .rec file.

        Parameters
        ----------
        path : str
            Path or URL. The .idx file beside it tells where records begin; without one all of it is looked through.
        preprocessing : Preprocessing
            How images become input.
        batch_size : int
            Images in a batch.

        Returns
        -------
        RecordFile
            All of them.

        Raises
        ------
        InputError
            If one of the files cannot be read.
        """
        path = os.fspath(path)
        with opened(path) as file:
            try:
                begins, before = _images_in(file, path, _indexed(path))
            except InputError:
                raise
            except Exception as error:  # of the operating system, or of what serves a URL
                raise InputError(f"cannot read '{path}': {reason_of(error)}") from error
        return cls(path, preprocessing, np.array(begins, np.int64), batch_size, before=before)

    @property
    def title(self) -> str:
        """The path."""
        return self.path

    @property
    def grid(self) -> Tuple[int, int]:
        """Number of the first record, and the size of batches."""
        return self.first, self.batch_size

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, begin: int, end: int) -> RecordFile:
        """Return the records from `begin` to `end` - 1."""
        return replace(self, offsets=self.offsets[begin : end + 1], first=self.first + begin)

    def read(self, sizes: Sequence[int]) -> Iterator[Tuple[NDArray[Any], ...]]:
        """Yield the images in batches of these sizes."""
        return batches_of(self._images(), self.preprocessing, sizes)

    def _images(self) -> Iterator[Encoded]:
        ends = self.offsets.tolist()[1:]
        with opened(self.path) as file:
            file.seek(int(self.offsets[0]))
            for number, end in enumerate(ends, self.first + self.before):
                content = _record(file, self.path, number)
                if content is None or file.tell() != end:
                    raise InputError(
                        f"record {number} of '{self.path}' does not end at byte {end}, as its .idx file has it; make "
                        "that anew, or remove it"
                    )
                yield _with_image(*_unpacked(content, f"record {number} of '{self.path}'"))


def _indexed(path: str) -> Optional[List[int]]:
    """Return where records begin, as the .idx file beside them has it; None without one."""
    index = f"{os.path.splitext(path)[0]}.idx"
    if not is_url(path) and not os.path.isfile(index):
        return None
    try:
        content = content_at(index, _MOST_INDEX)
    except InputError:
        return None  # behind a URL nobody can say whether there is one
    try:
        places = [line.split("\t")[1].strip() for line in content.decode().splitlines() if line.strip()]
        if not all(map(_PLACE.fullmatch, places)):
            raise ValueError
        return list(map(int, places))
    except (IndexError, ValueError) as error:
        raise InputError(
            f"'{index}' has a line that is no key and place of a record; remove it or make it anew"
        ) from error


def _begins(file: IO[bytes], path: str, size: int) -> Iterator[int]:
    place = number = 0
    while place < size:
        yield place
        kind = _FIRST
        while kind in (_FIRST, _MIDDLE):
            file.seek(place)
            kind, length = _head(file.read(_HEAD), path, number)
            place += _HEAD + (length + 3 & ~3)
        number += 1


def _head(content: bytes, path: str, number: int) -> Tuple[int, int]:
    """Return the kind of a part, and its length in bytes."""
    if len(content) != _HEAD or content[:4] != _MAGIC:
        raise _damaged(path, number)
    (word,) = struct.unpack("<I", content[4:])
    if word >> 29 > _LAST:
        raise _damaged(path, number)
    return word >> 29, word & (1 << 29) - 1


def _damaged(path: str, number: int) -> InputError:
    return InputError(f"'{path}' is damaged, or no .rec file, at record {number}")


def _record(file: IO[bytes], path: str, number: int) -> Optional[bytes]:
    """Return the record that begins here, or None at the end of the file."""
    parts: List[bytes] = []
    together = 0
    while True:
        try:
            head = file.read(_HEAD)
            if not head and not parts:
                return None
            kind, length = _head(head, path, number)
            together += length
            if length > _left(file) or together > MOST_ENCODED:
                raise _damaged(path, number)
            content = file.read(length + 3 & ~3)
        except InputError:
            raise
        except Exception as error:  # of the operating system, or of what serves a URL
            raise InputError(f"cannot read '{path}' at record {number}: {reason_of(error)}") from error
        if len(content) < length or (kind in (_WHOLE, _FIRST)) == bool(parts):
            raise _damaged(path, number)
        parts.append(content[:length])
        if kind in (_WHOLE, _LAST):
            return _MAGIC.join(parts)


def _left(file: IO[bytes]) -> float:
    """Return how many bytes a file still has, as far as its size is known."""
    try:
        return os.fstat(file.fileno()).st_size - file.tell()
    except (OSError, AttributeError):
        return math.inf


def _images_in(file: IO[bytes], path: str, begins: Optional[List[int]]) -> Tuple[List[int], int]:
    """Return where records with images begin and the last one ends, and how many without stand before them."""
    size = file.seek(0, os.SEEK_END)
    places = sorted(_begins(file, path, size) if begins is None else begins)
    if not places:
        raise InputError(f"'{path}' has no records")
    if not 0 <= places[0] <= places[-1] < size:
        raise InputError(f"the .idx file of '{path}' has a record at byte {places[-1]} of {size}; make it anew")
    places.append(size)
    before, end = 0, len(places) - 1
    while before < end and _has_no_image(file, places[before], places[before + 1]):
        before += 1
    while before < end and _has_no_image(file, places[end - 1], places[end]):
        end -= 1
    if before == end:
        raise InputError(f"'{path}' has {len(places) - 1} records, but none with an image")
    return places[before : end + 1], before


def _has_no_image(file: IO[bytes], begin: int, end: int) -> bool:
    """Whether a record has labels alone, by the number of labels that its flag tells and its length."""
    if end - begin > _MOST_WITHOUT_IMAGE:
        return False
    file.seek(begin)
    head = file.read(_HEAD + 4)
    if len(head) < _HEAD + 4 or head[:4] != _MAGIC:
        return False  # who reads it will tell
    word, flag = struct.unpack("<II", head[4:])
    return bool(word >> 29 == _WHOLE and word & (1 << 29) - 1 == _LABEL + 4 * flag)


def record_size(path: str) -> Optional[int]:
    """Return how many images a .rec file has, where an .idx file beside it tells."""
    begins = _indexed(path)
    if begins is None:
        return None
    with opened(path) as file:
        return len(_images_in(file, path, begins)[0]) - 1


def first_record(path: str) -> Tuple[Encoded, int]:
    """Return the first image of a .rec file, and how many numbers its label has."""
    with opened(path) as file:
        for number in range(1 << 62):
            content = _record(file, path, number)
            if content is None:
                raise InputError(f"'{path}' has {number or 'no'} records{', but none with an image' if number else ''}")
            image, labels = _unpacked(content, f"record {number} of '{path}'")
            if image.content:
                return image, labels
    raise AssertionError


def read_record(path: str) -> Iterator[Encoded]:
    """Yield the images of a .rec file; raise InputError where it is damaged."""
    with opened(path) as file:
        images, without = 0, None
        for number in range(1 << 62):
            content = _record(file, path, number)
            if content is None:
                return
            image, labels = _unpacked(content, f"record {number} of '{path}'")
            if not image.content:
                without = (image, labels)
                continue
            if images and without is not None:
                _with_image(*without)
            images, without = images + 1, None
            yield image


def _unpacked(content: bytes, name: str) -> Tuple[Encoded, int]:
    """Return the image of a record, with its label if that is one number, and how many numbers the label has."""
    try:
        header, image = mx.recordio.unpack(content)
    except Exception as error:  # of struct, or of NumPy: whatever the bytes suggest
        raise InputError(f"{name} holds no label and image") from error
    labels = np.asarray(header.label, np.float64).reshape(-1)
    return Encoded(image, name, float(labels[0]) if labels.size == 1 else None), labels.size


def _with_image(image: Encoded, _: int) -> Encoded:
    if not image.content:
        raise InputError(f"{image.name} has no image, and stands between others that have; make the file without it")
    return image
