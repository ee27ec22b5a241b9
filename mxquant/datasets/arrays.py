"""Examples in .npy and .npz files, read whole or from any row; no pickle is read."""

from __future__ import annotations

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
    try:
        _check_size(path)
        found = _load(path)
    except Exception as error:  # of zipfile, zlib, NumPy and the operating system
        raise _unreadable(str(path), error) from error
    names, label = _chosen(str(path), {name: (value.dtype, value.shape) for name, value in found.items()}, inputs)
    labels = None if label is None else found[label].reshape(-1)
    return Arrays(tuple(found[name] for name in names), labels)


def _unreadable(path: str, error: Exception) -> InputError:
    objects = any(word in str(error) for word in ("pickle", "Python objects"))
    return InputError(f"cannot read '{path}': {'it holds Python objects' if objects else reason_of(error)}")


def _chosen(
    path: str, found: Mapping[str, Tuple[Any, Tuple[int, ...]]], inputs: Sequence[str]
) -> Tuple[List[str], Optional[str]]:
    """Return which arrays of a file are for the inputs, and which holds labels, by their dtypes and shapes."""
    label = next((name for name in _LABELS if name in found and name not in inputs), None)
    others = [name for name in found if name != label]
    if len(inputs) == 1 and inputs[0] not in found and others:
        names = others[:1]
    else:
        missing = [name for name in inputs if name not in others]
        if missing:
            there = ", ".join(map(repr, others)) or "none"
            raise InputError(f"'{path}' has no array '{missing[0]}' for the network's input, only {there}")
        names = list(inputs)
    for name in (*names, *([] if label is None else [label])):
        dtype, shape = found[name]
        if dtype.kind not in "fiub" or not shape or shape[0] != (found[names[0]][1] or (0,))[0] or not shape[0]:
            shapes = ", ".join(f"{found[each][0]} of shape {found[each][1]}" for each in names)
            raise InputError(f"'{path}' holds {shapes}; expected numbers, one row for each example and label")
    if label is not None and int(np.prod(found[label][1])) != found[label][1][0]:
        raise InputError(f"the labels in '{path}' have shape {found[label][1]}, expected one number an example")
    return names, label


def _check_size(path: Path) -> None:
    """Refuse an archive that unpacks to more than memory holds, before it does."""
    if path.suffix != ".npz":
        return
    with zipfile.ZipFile(str(path)) as archive:
        size = sum(each.file_size for each in archive.infolist())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else size
    if size > memory:
        raise ValueError(f"it unpacks to {size} bytes, and this machine has {memory}; use .npy, which is read in parts")


def _load(path: Path) -> Dict[str, NDArray[Any]]:
    if path.suffix == ".npz":
        with np.load(str(path), allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        odd = [name for name, value in found.items() if not isinstance(value, np.ndarray)]
        if odd:
            raise ValueError(f"its member {odd[0]!r} is no array")
        return found
    # It may be larger than memory.
    return {"": np.load(str(path), mmap_mode="r", allow_pickle=False)}


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
        heads = _heads(path)
        names, label = _chosen(path, heads, inputs)
        return cls(path, tuple(names), label, heads[names[0]][1][0], batch_size)

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
    """An array in an open file, and where its values begin."""

    name: str
    file: IO[bytes]
    dtype: np.dtype[Any]
    shape: Tuple[int, ...]
    start: int

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Return the rows from `begin` to `end` - 1."""
        row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        self.file.seek(self.start + begin * row)
        content = self.file.read((end - begin) * row)
        if len(content) != (end - begin) * row:
            raise ValueError(f"it ends before row {end}")
        return np.frombuffer(content, self.dtype).reshape(end - begin, *self.shape[1:])


@contextmanager
def _columns(path: str, names: Sequence[str]) -> Iterator[List[_Column]]:
    """Open the arrays of a file for reading.

    Each has a file and a ZipFile of its own: CPython 3.12.1 and 3.13.0 seek in an uncompressed member from wherever the
    last reader of any other member has left their common file (gh-127847), and return what lies there.
    """
    with ExitStack() as stack:
        try:
            columns = [_column(name, stack.enter_context(_member(path, name))) for name in names]
        except InputError:
            raise
        except Exception as error:  # of zipfile, zlib, NumPy and the operating system
            raise _unreadable(path, error) from error
        yield columns


@contextmanager
def _member(path: str, name: str) -> Iterator[IO[bytes]]:
    """Open one array of a file."""
    with opened(path) as file:
        if not path.endswith(".npz"):
            yield file
            return
        with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
            yield member


def _heads(path: str) -> Dict[str, Tuple[Any, Tuple[int, ...]]]:
    """Return the dtypes and shapes of the arrays of a file by their names, of which only the heads are read."""
    with opened(path) as file:
        try:
            if not path.endswith(".npz"):
                return {"": _head("", file)}
            with zipfile.ZipFile(file) as archive:
                found = {}
                for name in archive.namelist():
                    if name.endswith(".npy"):
                        with archive.open(name) as member:
                            found[name[:-4]] = _head(name, member)
                return found
        except Exception as error:  # of zipfile, zlib, NumPy and the operating system
            raise _unreadable(path, error) from error


def _head(name: str, file: IO[bytes]) -> Tuple[Any, Tuple[int, ...]]:
    column = _column(name, file)
    return column.dtype, column.shape


def _column(name: str, file: IO[bytes]) -> _Column:
    forms: Any = np.lib.format
    version = forms.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its format has version {version}, expected (1, 0) or (2, 0)")
    read = forms.read_array_header_1_0 if version == (1, 0) else forms.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Python objects")
    if fortran and len(shape) > 1:
        raise ValueError("its rows do not lie one after the other; save numpy.ascontiguousarray of the array")
    return _Column(name, file, dtype, shape, file.tell())
