"""Reads the tensors of a PyTorch checkpoint without PyTorch, and without running anything that is in the file.

The format is the one from before PyTorch 1.6: five pickles (a magic number, a version, facts about the machine, the
state dictionary, the list of storages), then each storage: a count of elements as int64, and the elements. A
checkpoint is a program for a pickle machine, so the machine here knows three words only: an ordered dictionary, a
tensor of a storage, and the storages' types. Any other makes it stop.

Tensors are views of their storage with an offset and strides, which need not be contiguous.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Dict, NamedTuple, Sequence, Tuple, Union

import numpy as np

__all__ = ["CheckpointError", "read_tensors"]

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "HalfStorage": np.float16,
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "IntStorage": np.int32,
    "LongStorage": np.int64,
}


class CheckpointError(ValueError):
    """The file is no checkpoint of this kind, or holds something other than tensors."""


class _View(NamedTuple):
    """A tensor whose storage has not been read yet."""

    storage: str
    dtype: Any
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]

    def of(self, storage: np.ndarray) -> np.ndarray:
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides))
        if self.offset < 0 or min(self.strides, default=0) < 0 or (0 not in self.shape and last >= storage.size):
            raise CheckpointError(f"a tensor of shape {self.shape} reaches beyond its storage of {storage.size}")
        strides = [stride * storage.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, strides).copy()


def _tensor(storage: Tuple[str, Any], offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any) -> _View:
    key, dtype = storage
    return _View(key, dtype, offset, tuple(shape), tuple(strides))


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise CheckpointError(f"the checkpoint asks for {module}.{name}; only tensors are read")

    def persistent_load(self, reference: Any) -> Tuple[str, Any]:
        kind, dtype, key = reference[:3]
        if kind != "storage":
            raise CheckpointError(f"the checkpoint refers to {kind!r}; only storages are read")
        return key, dtype


def read_tensors(path: Union[str, Path]) -> Dict[str, np.ndarray]:
    """Read a state dictionary.

    Parameters
    ----------
    path : str or Path
        The checkpoint.

    Returns
    -------
    dict of str to numpy.ndarray
        Every tensor by its name, contiguous.

    Raises
    ------
    CheckpointError
        If the file is of another format, or holds anything but tensors; nothing of it has run then.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError) as error:
            raise CheckpointError(f"'{path}' is no PyTorch checkpoint of the old format: {error!r}") from error


def _read(file: BinaryIO) -> Dict[str, np.ndarray]:
    if _TensorUnpickler(file).load() != _MAGIC:
        raise CheckpointError("the file does not begin with PyTorch's magic number")
    _version, _machine = (_TensorUnpickler(file).load() for _ in range(2))
    views = {name: view for name, view in _TensorUnpickler(file).load().items() if isinstance(view, _View)}
    dtypes = {view.storage: view.dtype for view in views.values()}
    storages = {}
    for key in _TensorUnpickler(file).load():
        (count,) = np.frombuffer(file.read(8), "<i8")
        dtype = np.dtype(dtypes[key])
        data = file.read(int(count) * dtype.itemsize)
        if len(data) < count * dtype.itemsize:
            raise EOFError(f"storage {key} is cut short")
        storages[key] = np.frombuffer(data, dtype)
    return {name: view.of(storages[view.storage]) for name, view in views.items()}
