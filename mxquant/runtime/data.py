"""Calibration data in whatever form a user has them, turned into batches of named arrays.

=============================  =================================================================
form                           how it is read
=============================  =================================================================
``mx.io.DataIter``             from its start; the padding of the last batch is left out
one array                      examples along axis 0, in batches of 32
iterable of arrays             one batch each, for a network with one input
iterable of tuples or lists    inputs in the network's order; a label may follow
iterable of dictionaries       arrays by the name of the input; other names are left out
iterable of ``DataBatch``      like a DataIter; a gluon ``DataLoader`` is one of the iterables above
=============================  =================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.runtime.checks import whole_number
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batch", "Sample", "batches", "cut", "part", "peek"]

_BATCH_OF_ARRAY = 32
_BYTES_KEPT = 80e6
_KEPT = ("float32", "int32", "int64")


@dataclass(frozen=True)
class Batch:
    """Inputs of one forward pass.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        float32, int32 or int64, by the name of the input.
    size : int
        Number of examples.
    """

    arrays: Mapping[str, NDArray[Any]]
    size: int


@dataclass
class Sample:
    """The first examples of a stream of batches, kept while the stream passes by.

    Parameters
    ----------
    size : int
        How many to keep at most; fewer where they are large, so that activations stay small enough too.
    """

    size: int
    parts: List[Mapping[str, NDArray[Any]]] = field(default_factory=list)
    kept: int = 0
    full: bool = False

    def of(self, stream: Iterable[Batch]) -> Iterator[Batch]:
        """Yield every batch, keeping examples of the first ones that have one shape."""
        for batch in stream:
            each = sum(value.nbytes for value in batch.arrays.values()) / max(batch.size, 1)
            missing = min(self.size, max(1, int(_BYTES_KEPT // max(each, 1)))) - self.kept if self.size else 0
            if missing > 0 and (not self.parts or self._can_be_joined(batch)):
                kept = part(batch.arrays, batch.size, 0, missing)
                self.parts.append({name: value.copy() for name, value in kept.items()})
                self.kept += min(batch.size, missing)
            self.full = missing <= batch.size
            yield batch

    def fill(self, stream: Iterable[Batch]) -> None:
        """Take examples from a stream until there are enough; raise InputError if it has none."""
        for _ in self.of(stream):
            if self.full:
                return
        if not self.parts:
            raise InputError("the data hold no examples; pass at least one")

    def _can_be_joined(self, batch: Batch) -> bool:
        """Whether a batch has the shape of the first, and examples along the first axis of all its arrays."""
        whole = all(value.ndim and len(value) == batch.size for value in batch.arrays.values())
        return whole and _shapes(self.parts[0]) == _shapes(batch.arrays)

    @property
    def arrays(self) -> Dict[str, NDArray[Any]]:
        """The examples by name of the input."""
        return {name: np.concatenate([each[name] for each in self.parts]) for name in (self.parts or [{}])[0]}


def _shapes(arrays: Mapping[str, NDArray[Any]]) -> Dict[str, Tuple[int, ...]]:
    return {name: value.shape[1:] for name, value in arrays.items()}


def batches(data: Any, inputs: Sequence[str], num_examples: Optional[int] = None) -> Iterator[Batch]:
    """Yield `data` as batches.

    Parameters
    ----------
    data : DataIter, DataLoader, array, or iterable of arrays, tuples, dictionaries or DataBatch
        The examples; see the table in the module's docstring.
    inputs : sequence of str
        Names of the network's inputs (without labels), in order.
    num_examples : int, optional
        How many examples to take; the last batch is cut to make the number exact. Default: all.

    Yields
    ------
    Batch
        Of at least one example.

    Raises
    ------
    InputError
        If the data are of no known form, do not fit the inputs, or hold fewer examples than `num_examples`.
    """
    if num_examples is not None:
        whole_number(num_examples, "num_calib_examples", 1)
    if not inputs:
        raise InputError("calibration data: the network reads none; each of its variables has a value, or is a label")
    seen = 0
    for batch in _read(data, list(inputs)):
        left = None if num_examples is None else int(num_examples) - seen
        batch = batch if left is None else cut(batch, 0, left)
        seen += batch.size
        if batch.size:
            yield batch
        if num_examples is not None and seen >= num_examples:
            return
    if num_examples is not None and seen < num_examples:
        raise InputError(f"num_calib_examples is {num_examples}, but the calibration data hold {seen} examples")


def peek(data: Any) -> Tuple[List[NDArray[Any]], Any]:
    """Return the arrays of the first batch, and data that still begin with it.

    Parameters
    ----------
    data : DataIter, DataLoader, array, or iterable
        As for :func:`batches`.

    Returns
    -------
    tuple
        The arrays, a label perhaps among them as the last; and what to read the data from. The list is empty for
        dictionaries, whose order says nothing, and for data without any batch.
    """
    if isinstance(data, mx.io.DataIter):
        data.reset()
        return [np.zeros(entry[1], dtype=np.float32) for entry in data.provide_data], data
    if _is_array(data):
        return [_array(data, "data")[:1]], data
    if isinstance(data, (str, bytes, Mapping)) or not hasattr(data, "__iter__"):
        return [], data
    iterator = iter(data)
    try:
        first = next(iterator)
    except StopIteration:
        return [], data
    data = chain([first], iterator) if iterator is data else data
    if _is_array(first):
        return [_array(first, "data")], data
    if isinstance(first, mx.io.DataBatch):
        first = first.data
    values = first if isinstance(first, (list, tuple)) else []
    return [_array(value, "data") for value in values if _is_array(value)], data


def _read(data: Any, inputs: List[str]) -> Iterator[Batch]:
    if isinstance(data, mx.io.DataIter):
        data.reset()
        names = [entry[0] for entry in data.provide_data]
        for item in data:
            yield _from_data_batch(item, inputs, names)
        return
    if _is_array(data):
        array = _array(data, "data")
        if array.ndim == 0:
            raise InputError("calibration data: expected an array of examples, found a single number")
        for start in range(0, len(array), _BATCH_OF_ARRAY):
            yield _named(inputs, [array[start : start + _BATCH_OF_ARRAY]])
        return
    if isinstance(data, (str, bytes, Mapping)) or not hasattr(data, "__iter__"):
        raise InputError(
            f"calibration data: found {type(data).__name__}, expected a DataIter, a DataLoader, an array, or an "
            "iterable of batches"
        )
    for item in data:
        yield _from_item(item, inputs)


def _from_item(item: Any, inputs: List[str]) -> Batch:
    if _is_array(item):
        return _named(inputs, [_array(item, "data")])
    if isinstance(item, mx.io.DataBatch):
        names = [entry[0] for entry in item.provide_data] if item.provide_data else inputs
        return _from_data_batch(item, inputs, names)
    if isinstance(item, Mapping):
        missing = [name for name in inputs if name not in item]
        if missing:
            raise InputError(f"calibration data: a batch has no input '{missing[0]}', only {sorted(map(str, item))}")
        return _named(inputs, [_array(item[name], name) for name in inputs])
    if isinstance(item, (list, tuple)):
        if not len(inputs) <= len(item) <= len(inputs) + 1:
            raise InputError(
                f"calibration data: a batch has {len(item)} arrays, but the network has {len(inputs)} inputs "
                f"({', '.join(inputs)}), after which one label may follow"
            )
        return _named(inputs, [_array(value, name) for name, value in zip(inputs, item)])
    raise InputError(f"calibration data: a batch is {type(item).__name__}, expected an array, tuple or dictionary")


def _from_data_batch(item: Any, inputs: List[str], names: Sequence[str]) -> Batch:
    values = item.data if isinstance(item.data, (list, tuple)) else [item.data]
    by_name = dict(zip(names, values))
    if all(name in by_name for name in inputs):
        chosen = [by_name[name] for name in inputs]
    elif len(values) == len(inputs):
        chosen = list(values)
    else:
        raise InputError(
            f"calibration data: batches hold {', '.join(names)}, but the network's inputs are {', '.join(inputs)}; "
            "give data_names"
        )
    batch = _named(inputs, [_array(value, name) for name, value in zip(inputs, chosen)])
    return cut(batch, 0, batch.size - (item.pad or 0))


def _named(inputs: List[str], values: List[NDArray[Any]]) -> Batch:
    if len(values) != len(inputs):
        raise InputError(
            f"calibration data: a batch is one array, but the network has {len(inputs)} inputs "
            f"({', '.join(inputs)}); pass tuples or dictionaries"
        )
    size = len(values[0]) if values[0].ndim else 1
    hollow = next((name for name, value in zip(inputs, values) if size and not value.size), None)
    if hollow is not None:
        shapes = {name: value.shape for name, value in zip(inputs, values)}
        raise InputError(f"calibration data: '{hollow}' holds no value in a batch of {size} examples; shapes: {shapes}")
    return Batch(dict(zip(inputs, values)), size)


def cut(batch: Batch, begin: int, end: int) -> Batch:
    """Return the examples from `begin` to `end` - 1 of a batch."""
    if begin <= 0 and end >= batch.size:
        return batch
    return Batch(part(batch.arrays, batch.size, begin, end), min(end, batch.size) - begin)


def part(arrays: Mapping[str, NDArray[Any]], size: int, begin: int, end: Optional[int] = None) -> Dict[str, Any]:
    """Return the examples from `begin` to `end` - 1 of arrays that hold `size` of them, and others as they are.

    Others are constants, and the states that a recurrent layer begins with, whose first axis are layers.
    """
    return {name: value[begin:end] if value.ndim and len(value) == size else value for name, value in arrays.items()}


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, mx.nd.NDArray))


def _array(value: Any, name: str) -> NDArray[Any]:
    array = value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"calibration data: input '{name}' holds {array.dtype}, expected numbers")
    return array if str(array.dtype) in _KEPT else array.astype(np.float32)
