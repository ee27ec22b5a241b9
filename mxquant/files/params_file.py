"""MXNet's files of parameters, read and written without MXNet; what a file says of lengths is compared with its size.

All numbers are little-endian, a text is its length as uint64 and UTF-8::

    file    uint64 0x112, uint64 reserved, uint64 count, arrays, uint64 count, names
    array   uint32 form, int32 storage, shape, int32 device, int32 number of the device, int32 type, values
    shape   int32 dimensions, int64 each

The form is 0xF993FAC9, or ...CA for arrays of ``mxnet.np``. Files of MXNet before 0.12 have the form ...C8, without
storage, and those before 0.11 the number of dimensions in its place, and lengths as uint32.

What is written equals what ``mxnet.nd.save`` writes, to the last byte.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Dict, Mapping, Tuple, Union

import numpy as np

from mxquant.errors import InputError
from mxquant.files.regular import open_regular
from mxquant.files.twice import first_twice

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_params_file", "write_params_file"]

_MAGIC = 0x112
_OLD, _PLAIN, _NUMPY = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_MOST_DIMENSIONS = 32
_TYPES = dict(enumerate(("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")))
_NUMBERS = {np.dtype(name): number for number, name in _TYPES.items()}


def read_params_file(path: Union[str, Path]) -> Dict[str, NDArray[Any]]:
    """Return the arrays of a file by name.

    Parameters
    ----------
    path : str or Path
        A file of ``mxnet.nd.save``, ``save_checkpoint``, ``save_parameters`` or ``export``.

    Returns
    -------
    dict of str to numpy.ndarray
        In the order of the file, with their types and shapes.

    Raises
    ------
    InputError
        If it cannot be read, is no such file, is shorter or longer than it says, or has arrays that are sparse, without
        a name, or of a type that NumPy does not have.
    """
    try:
        with open_regular(path) as file:
            return _Reader(file, os.fstat(file.fileno()).st_size).arrays()
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it does not fit into memory"
        raise InputError(f"cannot read the parameters '{path}': {reason}") from None


def write_params_file(path: Union[str, Path], arrays: Mapping[str, Any], numpy: bool = False) -> None:
    """Write arrays to a file that ``mxnet.nd.load`` reads.

    Parameters
    ----------
    path : str or Path
        The file.
    arrays : mapping of str to NDArray or numpy.ndarray
        By name, with the prefixes 'arg:' and 'aux:' for a checkpoint.
    numpy : bool
        Whether as ``mxnet.nd.save`` does under ``npx.set_np()``, which is how ``mxnet.nd.load`` reads such a file.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with open(path, "wb") as file:
        file.write(struct.pack("<QQQ", _MAGIC, 0, len(arrays)))
        for value in arrays.values():
            array = np.ascontiguousarray(value if isinstance(value, np.ndarray) else value.asnumpy())
            form = _NUMPY if numpy else _PLAIN
            file.write(struct.pack(f"<Iii{array.ndim}q", form, 0, array.ndim, *array.shape))
            file.write(struct.pack("<iii", 1, 0, _NUMBERS[array.dtype]))
            file.write(array.data)
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name.encode())) + name.encode())


class _Reader:
    """What is left of a file; a ValueError says what is wrong with it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def arrays(self) -> Dict[str, NDArray[Any]]:
        if self.left < 24 or self.number("<Q") != _MAGIC:
            raise ValueError("it does not begin as a file of MXNet's parameters does")
        self.number("<Q")
        values = [self.array(number) for number in range(self.count("arrays"))]
        names = [self.name() for _ in range(self.count("names"))]
        if values and not names:
            raise ValueError("its arrays have no names; save them with mx.model.save_checkpoint")
        if len(names) != len(values):
            raise ValueError(f"it has {len(values)} arrays, but {len(names)} names")
        twice = first_twice(names)
        if twice is not None:
            raise ValueError(f"it has two arrays called {twice!r}")
        if self.left:
            raise ValueError(f"it goes on for {self.left} bytes after its end")
        return dict(zip(names, values))

    def array(self, number: int) -> NDArray[Any]:
        form = self.number("<I")
        if form in (_PLAIN, _NUMPY) and self.number("<i") != 0:
            raise ValueError(f"array {number} is sparse; save it dense, with tostype('default')")
        shape = self.shape(form, number)
        self.take(8)
        kind = self.number("<i")
        if kind not in _TYPES:
            raise ValueError(f"array {number} has type number {kind}, expected one of {', '.join(_TYPES.values())}")
        dtype = np.dtype(_TYPES[kind]).newbyteorder("<")
        # Python's integers do not overflow.
        size = math.prod(shape) * dtype.itemsize
        if size > self.left:
            raise ValueError(f"it is cut off, or array {number} is no array: {size} bytes, where {self.left} are left")
        array: NDArray[Any] = np.frombuffer(self.take(size), dtype).reshape(shape)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def shape(self, form: int, number: int) -> Tuple[int, ...]:
        old = form not in (_OLD, _PLAIN, _NUMPY)
        dimensions = form if old else self.number("<i")
        if not (0 if form == _NUMPY else 1) <= dimensions <= _MOST_DIMENSIONS:
            raise ValueError(f"array {number} has {dimensions} dimensions, or is no array")
        form_of_all = f"<{dimensions}{'I' if old else 'q'}"
        lengths = struct.unpack(form_of_all, self.take(struct.calcsize(form_of_all)))
        if min(lengths, default=1) < 1:
            raise ValueError(f"array {number} has shape {lengths}, and so no values")
        return lengths

    def name(self) -> str:
        return self.take(self.number("<Q")).decode()

    def count(self, what: str) -> int:
        count = self.number("<Q")
        if 8 * count > self.left:
            raise ValueError(f"it is cut off, or damaged: {count} {what}, where {self.left} bytes are left")
        return count

    def number(self, form: str) -> int:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(value)

    def take(self, size: int) -> bytearray:
        if size > self.left:
            raise ValueError(f"it is cut off: {size} bytes expected, where {self.left} are left")
        content = bytearray(size)
        if self.file.readinto(content) != size:  # type: ignore[attr-defined]
            raise ValueError("it has become shorter while it was read")
        self.left -= size
        return content
