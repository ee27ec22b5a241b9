"""Examples in .npy and .npz files, read whole or from any row; no pickle is read."""

from __future__ import annotations

import math
import os
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mxquant.datasets.dataset import Dataset, check_batch_size
from mxquant.datasets.opening import opened, reason_of
from mxquant.errors import InputError
from mxquant.files.archive import SUFFIX, arrays_in, checked_member
from mxquant.files.array_head import ArrayHead, read_array, read_head
from mxquant.runtime.control_groups import usable_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArrayFile", "Arrays", "read_arrays"]

_LABELS = ("label", "labels")


@dataclass(frozen=True)
class Arrays:
    """Examples along axis 0 of arrays, one for each input, and of labels where there are any."""

    inputs: Tuple[NDArray[Any], ...]
    labels: Optional[NDArray[Any]] = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def batches(self, size: int) -> Iterator[Tuple[Any, ...]]:
        """Yield the examples as batches of arrays, the labels last."""
        parts = self.inputs if self.labels is None else (*self.inputs, self.labels)
        for begin in range(0, len(self), size):
            yield tuple(np.asarray(part[begin : begin + size]) for part in parts)


def read_arrays(path: Path, inputs: Sequence[str]) -> Arrays:
    """Read a file of arrays.

    Parameters
    ----------
    path : Path
        A .npy file with one array, or a .npz file with arrays by the name of the input, or the first array for a
        network with one input; labels under 'label' or 'labels'.
    inputs : sequence of str
        Names of the network's inputs.

    Returns
    -------
    Arrays
        The examples.

    Raises
    ------
    InputError
        If it cannot be read, or does not have what the network takes.
    """
    heads, label = _heads(str(path), inputs)
    names = [name for name in heads if name != label]
    try:
        _check_memory(str(path), heads)
        found = _load(path, heads)
    except Exception as error:  # of zipfile, zlib, NumPy and the operating system
        raise _unreadable(str(path), error) from error
    labels = None if label is None else found[label].reshape(-1)
    return Arrays(tuple(found[name] for name in names), labels)


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(f"cannot read '{path}': {reason_of(error)}")


def _chosen(path: str, there: Sequence[str], inputs: Sequence[str]) -> Tuple[List[str], Optional[str]]:
    """Return which arrays of a file are for the inputs, and which holds labels, by their names."""
    label = next((name for name in _LABELS if name in there and name not in inputs), None)
    others = [name for name in there if name != label]
    if len(inputs) == 1 and inputs[0] not in others and others:
        return others[:1], label
    missing = [name for name in inputs if name not in others]
    if missing:
        shown = ", ".join(map(repr, others)) or "none"
        raise InputError(f"'{path}' has no array '{missing[0]}' for the network's input, only {shown}")
    return list(inputs), label


def _check_shapes(path: str, heads: Mapping[str, ArrayHead], label: Optional[str]) -> None:
    names = [name for name in heads if name != label]
    rows = (heads[names[0]].shape or (0,))[0]
    for head in heads.values():
        if head.dtype.kind not in "fiub" or not head.shape or head.shape[0] != rows or 0 in head.shape:
            shapes = ", ".join(f"{heads[each].dtype} of shape {heads[each].shape}" for each in names)
            raise InputError(f"'{path}' holds {shapes}; expected numbers, one row for each example and label")
    if label is not None and math.prod(heads[label].shape) != rows:
        raise InputError(f"the labels in '{path}' have shape {heads[label].shape}, expected one number an example")


def _check_memory(path: str, heads: Mapping[str, ArrayHead]) -> None:
    """Refuse an archive whose arrays are more than memory holds, before they are unpacked."""
    size, memory = sum(head.size for head in heads.values()), usable_memory()
    if path.endswith(".npz") and memory is not None and size > memory:
        raise ValueError(
            f"its arrays have {size} bytes, and this process may have {memory}; use .npy, which is read in parts"
        )


def _load(path: Path, heads: Mapping[str, ArrayHead]) -> Dict[str, NDArray[Any]]:
    if path.suffix == ".npz":
        with opened(str(path)) as file, zipfile.ZipFile(file) as archive:
            return {name: _unpacked(archive, name) for name in heads}
    # It may be larger than memory.
    (head,) = heads.values()
    order: Any = "F" if head.fortran else "C"
    with opened(str(path)) as file:
        return {"": np.memmap(file, head.dtype, "r", head.start, head.shape, order)}


def _unpacked(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    size = checked_member(archive, name).file_size
    with archive.open(name + SUFFIX) as member:
        return read_array(member, size)


@dataclass(frozen=True, eq=False)
class ArrayFile(Dataset):
    """Rows of the arrays in a .npy or .npz file; :meth:`of` finds out what is in it.

    Parameters
    ----------
    path : str
        Path or URL.
    members : tuple of str
        Names of the arrays in a .npz file, one for each input of the network; one empty name for a .npy file.
    labels : str or None
        Name of the array with labels.
    rows : int
        How many examples.
    batch_size : int
        Examples in a batch.
    first : int
        Number of the first row.
    """

    path: str
    members: Tuple[str, ...]
    labels: Optional[str]
    rows: int
    batch_size: int = 32
    first: int = 0

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    @classmethod
    def of(cls, path: str, inputs: Sequence[str] = ("data",), batch_size: int = 32) -> ArrayFile:
        """Return the examples in a file, of which only the heads of arrays are read.

        Parameters
        ----------
        path : str
            Path or URL of a .npy file with one array, or of a .npz file with arrays by the name of the input, or the
            first array for a network with one input; labels under 'label' or 'labels'. Rows of a compressed .npz file
            cost the time of unpacking all before them.
        inputs : sequence of str
            Names of the network's inputs.
        batch_size : int
            Examples in a batch.

        Returns
        -------
        ArrayFile
            All of them.

        Raises
        ------
        InputError
            If it cannot be read, or does not have what the network takes.
        """
        path = os.fspath(path)
        heads, label = _heads(path, inputs)
        if any(head.fortran and len(head.shape) > 1 for head in heads.values()):
            raise InputError(
                f"cannot read '{path}': its rows do not lie one after the other; save numpy.ascontiguousarray of the "
                "array"
            )
        names = [name for name in heads if name != label]
        return cls(path, tuple(names), label, heads[names[0]].shape[0], batch_size)

    @property
    def title(self) -> str:
        """The path."""
        return self.path

    @property
    def grid(self) -> Tuple[int, int]:
        """Number of the first row, and the size of batches."""
        return self.first, self.batch_size

    def __len__(self) -> int:
        return self.rows

    def part(self, begin: int, end: int) -> ArrayFile:
        """Return the rows from `begin` to `end` - 1."""
        return replace(self, rows=min(end, self.rows) - begin, first=self.first + begin)

    def read(self, sizes: Sequence[int]) -> Iterator[Tuple[NDArray[Any], ...]]:
        """Yield the examples in batches of these sizes, the labels last."""
        names = [*self.members, *([] if self.labels is None else [self.labels])]
        with _columns(self.path, names) as columns:
            begin = self.first
            for size in sizes:
                try:
                    arrays = [each.read(begin, begin + size) for each in columns]
                except Exception as error:  # of zipfile, zlib, the operating system, or of what serves a URL
                    raise _unreadable(self.path, error) from error
                if self.labels is not None:
                    arrays[-1] = arrays[-1].reshape(-1)
                yield tuple(arrays)
                begin += size


class _Column(NamedTuple):
    """An array in an open file."""

    file: IO[bytes]
    head: ArrayHead

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Return the rows from `begin` to `end` - 1."""
        _, *lengths = self.head.shape
        row = self.head.dtype.itemsize * math.prod(lengths)
        self.file.seek(self.head.start + begin * row)
        content = self.file.read((end - begin) * row)
        if len(content) != (end - begin) * row:
            raise ValueError(f"it ends before row {end}")
        return np.frombuffer(content, self.head.dtype).reshape(end - begin, *lengths)


@contextmanager
def _columns(path: str, names: Sequence[str]) -> Iterator[List[_Column]]:
    """Open the arrays of a file for reading.

    Each has a file and a ZipFile of its own: CPython 3.12.1 and 3.13.0 seek in an uncompressed member from wherever the
    last reader of any other member has left their common file (gh-127847), and return what lies there.
    """
    with ExitStack() as stack:
        try:
            members = [stack.enter_context(_member(path, name)) for name in names]
            columns = [_Column(file, read_head(file, size)) for file, size in members]
        except InputError:
            raise
        except Exception as error:  # of zipfile, zlib and the operating system
            raise _unreadable(path, error) from error
        yield columns


@contextmanager
def _member(path: str, name: str) -> Iterator[Tuple[IO[bytes], int]]:
    """Open one array of a file; give its size too."""
    with opened(path) as file:
        if not path.endswith(".npz"):
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            yield file, size
            return
        with zipfile.ZipFile(file) as archive:
            size = checked_member(archive, name).file_size
            with archive.open(name + SUFFIX) as member:
                yield member, size


def _heads(path: str, inputs: Sequence[str]) -> Tuple[Dict[str, ArrayHead], Optional[str]]:
    """Return the heads of the arrays that the inputs need, by name, and the name of the one with labels, the last.

    Nothing else of the file is read, whatever it has.
    """
    try:
        there = [""]
        if path.endswith(".npz"):
            with opened(path) as file, zipfile.ZipFile(file) as archive:
                there = arrays_in(archive)
        names, label = _chosen(path, there, inputs)
        heads = {}
        for name in (*names, *([] if label is None else [label])):
            with _member(path, name) as (file, size):
                heads[name] = read_head(file, size)
    except InputError:
        raise
    except Exception as error:  # of zipfile, zlib and the operating system
        raise _unreadable(path, error) from error
    _check_shapes(path, heads, label)
    return heads, label
