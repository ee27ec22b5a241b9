"""Images in a .rec file, read in one piece or from where a record begins.

A record is one part, or several where its content has the magic number at a multiple of four bytes; there it is cut::

    magic    4 bytes, 0xced7230a, little endian
    length   4 bytes: 29 bits for the bytes of this part, above them 0 whole, 1 first, 2 middle, 3 last part
    content  filled up to a multiple of 4 bytes

An .idx file beside it has a line for each record: a key, and the byte at which the record begins.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from mxquant.datasets.dataset import Dataset, check_batch_size
from mxquant.datasets.opening import is_url, opened, reason_of
from mxquant.datasets.preprocessing import Encoded, Preprocessing, batches_of
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RecordFile", "read_record", "record_size"]

_MAGIC = struct.pack("<I", 0xCED7230A)
_HEAD = 8
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
        Where each record begins, and where the last one ends.
    batch_size : int
        Images in a batch.
    first : int
        Number of the first record, if this is a part of a file.
    """

    path: str
    preprocessing: Preprocessing
    offsets: NDArray[np.int64]
    batch_size: int = 32
    first: int = 0

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
                size = file.seek(0, os.SEEK_END)
                begins = _indexed(path)
                begins = sorted(_begins(file, path, size)) if begins is None else sorted(begins)
            except InputError:
                raise
            except Exception as error:  # of the operating system, or of what serves a URL
                raise InputError(f"cannot read '{path}': {reason_of(error)}") from error
        if not begins:
            raise InputError(f"'{path}' has no records")
        if not 0 <= begins[0] <= begins[-1] < size:
            raise InputError(f"the .idx file of '{path}' has a record at byte {begins[-1]} of {size}; make it anew")
        return cls(path, preprocessing, np.array([*begins, size], np.int64), batch_size)

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
            for number, end in enumerate(ends, self.first):
                content = _record(file, self.path, number)
                if content is None or file.tell() != end:
                    raise InputError(
                        f"record {number} of '{self.path}' does not end at byte {end}, as its .idx file has it; make "
                        "that anew, or remove it"
                    )
                yield _unpacked(content, f"record {number} of '{self.path}'")


def _indexed(path: str) -> Optional[List[int]]:
    """Return where records begin, as the .idx file beside them has it; None without one."""
    index = f"{os.path.splitext(path)[0]}.idx"
    if not is_url(path) and not os.path.isfile(index):
        return None
    try:
        with opened(index) as file:
            content = file.read()
    except (InputError, FileNotFoundError):
        return None  # behind a URL nobody can say whether there is one
    try:
        return [int(line.split("\t")[1]) for line in content.decode().splitlines() if line.strip()]
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
    while True:
        try:
            head = file.read(_HEAD)
            if not head and not parts:
                return None
            kind, length = _head(head, path, number)
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


def record_size(path: str) -> Optional[int]:
    """Return how many images a .rec file has, where an .idx file beside it tells."""
    begins = _indexed(path)
    return None if begins is None else len(begins)


def read_record(path: str) -> Iterator[Encoded]:
    """Yield the images of a .rec file; raise InputError where it is damaged."""
    with opened(path) as file:
        for number in range(1 << 62):
            content = _record(file, path, number)
            if content is None:
                return
            yield _unpacked(content, f"record {number} of '{path}'")


def _unpacked(content: bytes, name: str) -> Encoded:
    try:
        header, image = mx.recordio.unpack(content)
    except Exception as error:  # of struct, or of NumPy: whatever the bytes suggest
        raise InputError(f"{name} holds no label and image") from error
    labels = np.asarray(header.label, np.float64).reshape(-1)
    return Encoded(image, name, float(labels[0]) if labels.size else None)
