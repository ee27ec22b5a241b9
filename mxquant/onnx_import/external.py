"""Values that an ONNX file keeps in files beside it: read from its own folder, and from nowhere else.

They are read here, from the place that was checked; the package onnx would look for it once more.

==============================  ====================================================================================
what has to hold                what it is for
==============================  ====================================================================================
known keys, each of them once   readers differ in which of two they take
a regular file in the folder,   no other file is read by a name, a symbolic or a hard link
with one name, links followed
as many bytes as the shape has, lengths are compared with the file before memory is taken
within the file
all together at most 2 GB, and  what ONNX's checker takes; a small file does not become a large network by being read
four times the files            many times
==============================  ====================================================================================
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Union

from mxquant.errors import InputError
from mxquant.files.regular import open_regular
from mxquant.onnx_import.model_file import MOST_BYTES

__all__ = ["load_external"]

_KEYS = ("location", "offset", "length", "checksum", "basepath")
_MOST_TIMES = 4
# Bits of ONNX's types by their numbers; texts have none.
_BITS = {
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((7, 11, 13, 14), 64),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
    15: 128,
}


class _Place(NamedTuple):
    """Where the values of a tensor lie."""

    path: Path
    offset: int
    size: int


def load_external(onnx: Any, model: Any, path: Union[str, Path]) -> None:
    """Put the values of other files into a model.

    Parameters
    ----------
    onnx : module
        The package.
    model : onnx.ModelProto
        As it was read from `path`.
    path : str or Path
        The file.

    Raises
    ------
    InputError
        If one of the table above does not hold, or a file cannot be read.
    """
    tensors = [each for each in _tensors(model) if each.data_location == onnx.TensorProto.EXTERNAL]
    folder = Path(path).resolve().parent
    sizes: Dict[Path, int] = {}
    together = 0
    places: List[_Place] = []
    # Everything is looked at before anything is read.
    for tensor in tensors:
        try:
            place = _place(tensor, folder, sizes)
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"cannot read '{path}' as ONNX: the values of {tensor.name!r}: {reason}") from error
        places.append(place)
        together += place.size
    most = min(max(0, MOST_BYTES - model.ByteSize()), _MOST_TIMES * sum(sizes.values()))
    if together > most:
        raise InputError(
            f"cannot read '{path}' as ONNX: the values of its {len(tensors)} tensors in other files are {together} "
            f"bytes, expected at most {most}: 2 GB with the model itself, and {_MOST_TIMES} times what these files have"
        )
    for tensor, place in zip(tensors, places):
        try:
            tensor.raw_data = _read(place)
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"cannot read '{path}' as ONNX: the values of {tensor.name!r}: {reason}") from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _place(tensor: Any, folder: Path, sizes: Dict[Path, int]) -> _Place:
    """Return where the values of a tensor are; a ValueError or OSError says why they are nowhere."""
    entries: Dict[str, str] = {}
    for each in tensor.external_data:
        if each.key not in _KEYS or each.key in entries:
            problem = " twice, expected once" if each.key in entries else f", expected one of {', '.join(_KEYS)}"
            raise ValueError(f"their place has the entry {each.key[:40]!r}{problem}")
        entries[each.key] = each.value
    named = entries.get("location", "")
    path = (folder / named).resolve() if named and "\0" not in named else folder
    if folder not in path.parents:
        raise ValueError(f"they are said to be in {named[:200]!r}, expected a file in its folder")
    if path not in sizes:
        try:
            with open_regular(path, links=False) as file:
                sizes[path] = _size(file.fileno(), named)
        except OSError as error:
            raise ValueError(f"{named!r}: {error.strerror or error}") from None
    offset = _number(entries.get("offset", "0"), "offset")
    size = _number(entries["length"], "length") if "length" in entries else max(0, sizes[path] - offset)
    if offset + size > sizes[path]:
        raise ValueError(f"they are said to be {size} bytes from byte {offset} on, but {named!r} has {sizes[path]}")
    bits = _BITS.get(tensor.data_type)
    if any(length < 0 for length in tensor.dims) or bits is None:
        raise ValueError(f"their shape is {list(tensor.dims)}, of type {tensor.data_type}, expected numbers")
    expected = -(-math.prod(tensor.dims) * bits // 8)
    if size != expected:
        raise ValueError(f"{size} bytes in {named!r}, expected {expected} by their shape {list(tensor.dims)}")
    return _Place(path, offset, size)


def _size(handle: int, named: str) -> int:
    found = os.fstat(handle)
    if found.st_nlink > 1:
        raise ValueError(f"{named!r} has {found.st_nlink} names (hard links), expected one; copy it instead")
    return found.st_size


def _number(text: str, key: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(f"their {key} is {text[:40]!r}, expected a whole number from 0")
    return int(text)


def _read(place: _Place) -> bytes:
    with open_regular(place.path, links=False) as file:
        _size(file.fileno(), place.path.name)
        file.seek(place.offset)
        content = file.read(place.size)
    if len(content) != place.size:
        raise ValueError(f"'{place.path.name}' has become shorter while it was read")
    return content


def _tensors(model: Any) -> Iterator[Any]:
    """Yield all tensors of a model, wherever they are."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)
    for training in model.training_info:
        yield from _tensors_of_graph(training.initialization)
        yield from _tensors_of_graph(training.algorithm)


def _tensors_of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _those_of(attribute, "t", "tensors")
            for sparse in _those_of(attribute, "sparse_tensor", "sparse_tensors"):
                yield from (sparse.values, sparse.indices)
            for graph in _those_of(attribute, "g", "graphs"):
                yield from _tensors_of_graph(graph)


def _those_of(attribute: Any, one: str, many: str) -> Iterator[Any]:
    if attribute.HasField(one):
        yield getattr(attribute, one)
    yield from getattr(attribute, many)
