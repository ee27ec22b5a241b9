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

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.runtime.batch import Batch, Examples, cut, joined
from mxquant.runtime.batching import Batching, batch_of_array
from mxquant.runtime.checks import whole_number
from mxquant.runtime.lengths import check_lengths, inputs_of_lengths
from mxquant.runtime.mxnet import mx
from mxquant.runtime.wanted_types import WantedTypes
from mxquant.shown import logger

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sample", "batches", "peek"]

_BATCH_OF_ARRAY = 32
_BYTES_KEPT = 80e6
_KEPT = ("float32", "int32", "int64")
# That of a DataDesc for which nobody has said another.
_USUAL_LAYOUT = "NCHW"
_log = logger(__name__)


@dataclass
class Sample:
    """The first examples of a stream of batches, kept while the stream passes by.

    Parameters
    ----------
    size : int
        How many to keep at most; fewer where they are large, so that activations stay small enough too. Of batches that
        cannot be cut, the first one is kept.
    """

    size: int
    parts: List[Batch] = field(default_factory=list)
    full: bool = False

    @property
    def kept(self) -> int:
        """How many examples are kept."""
        return sum(batch.size for batch in self.parts)

    def of(self, stream: Iterable[Batch]) -> Iterator[Batch]:
        """Yield every batch, keeping examples of the first ones that have one shape."""
        for batch in stream:
            each = sum(value.nbytes for value in batch.arrays.values()) / max(batch.size, 1)
            missing = min(self.size, max(1, int(_BYTES_KEPT // max(each, 1)))) - self.kept if self.size else 0
            if missing > 0 and (not self.parts or self._can_be_joined(batch)):
                kept = cut(batch, 0, missing)
                self.parts.append(replace(kept, arrays={name: value.copy() for name, value in kept.arrays.items()}))
            self.full = missing <= batch.size or batch.whole
            yield batch

    def fill(self, stream: Iterable[Batch]) -> None:
        """Take examples from a stream until there are enough; raise InputError if it has none."""
        for _ in self.of(stream):
            if self.full:
                return
        if not self.parts:
            raise InputError("the data hold no examples; pass at least one")

    def _can_be_joined(self, batch: Batch) -> bool:
        """Whether a batch has the shapes of the first but for its size, and what is no example is the same."""
        first = self.parts[0]
        if batch.whole or dict(batch.axes) != dict(first.axes):
            return False

        def fits(name: str) -> bool:
            one, other = first.arrays[name], batch.arrays[name]
            axis = batch.axis(name)
            if axis is None:
                return np.array_equal(one, other)
            return other.ndim > axis and other.shape[axis] == batch.size and _shape(one, axis) == _shape(other, axis)

        return all(map(fits, batch.arrays))

    @property
    def examples(self) -> Examples:
        """All that is kept."""
        return Examples(joined(self.parts) if self.parts else Batch({}, 0))


def _shape(array: NDArray[Any], axis: int) -> Tuple[int, ...]:
    return array.shape[:axis] + array.shape[axis + 1 :]


def batches(
    data: Any,
    inputs: Sequence[str],
    num_examples: Optional[int] = None,
    network: Optional[Network] = None,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
) -> Iterator[Batch]:
    """Yield `data` as batches.

    Parameters
    ----------
    data : DataIter, DataLoader, array, or iterable of arrays, tuples, dictionaries or DataBatch
        The examples; see the table in the module's docstring.
    inputs : sequence of str
        Names of the network's inputs (without labels), in order.
    num_examples : int, optional
        How many examples to take; the last batch is cut to make the number exact, where the network takes others.
        Default: all.
    network : Network, optional
        What reads them: it tells along which axes examples lie, and whether it takes batches of other sizes. Default:
        along the first axis, and it does.
    batch_axes : mapping of str to int or None, optional
        Axes that are known, by the name of the input.

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
    stream = _read(data, list(inputs), network)
    if network is not None:
        stream = WantedTypes(network.graph, network.params).of(stream)
    for batch in _fitting(stream, network, batch_axes or {}):
        left = batch.size if num_examples is None else int(num_examples) - seen
        batch = cut(batch, 0, left)
        seen += batch.size
        if batch.size:
            yield batch
        if num_examples is not None and seen >= num_examples:
            return
    if num_examples is not None and seen < num_examples:
        raise InputError(f"num_calib_examples is {num_examples}, but the calibration data hold {seen} examples")


def _fitting(
    stream: Iterable[Batch], network: Optional[Network], given: Mapping[str, Optional[int]]
) -> Iterator[Batch]:
    """Yield batches as a network takes them, without what only fills the last one up."""
    batching: Optional[Batching] = None
    first, has_lengths = True, False
    for batch in stream:
        if network is not None and batch.size:
            shapes = {name: value.shape for name, value in batch.arrays.items()}
            if batching is None:
                batching = Batching.of(network, shapes, {**batch.axes, **given})
                has_lengths = bool(inputs_of_lengths(network))
            if has_lengths:
                check_lengths(network, batch.arrays)
            size = batching.size(shapes)
            batch = replace(batch, size=size, axes=batching.axes, whole=batching.only is not None)
            if batching.only is not None and (size < batching.only or (batch.padding and not first)):
                text = "a batch of %d examples is left out: the network takes %d at a time, no more and no fewer"
                _log.warning(text, size - batch.padding, batching.only)
                continue
            first = False
        yield cut(batch, 0, batch.size - batch.padding)


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


def _read(data: Any, inputs: List[str], network: Optional[Network] = None) -> Iterator[Batch]:
    if isinstance(data, mx.io.DataIter):
        data.reset()
        for item in data:
            yield _from_data_batch(item, inputs, data.provide_data)
        return
    if _is_array(data):
        array = _array(data, "data")
        if array.ndim == 0:
            raise InputError("calibration data: expected an array of examples, found a single number")
        size = _BATCH_OF_ARRAY
        if network is not None and len(inputs) == 1:
            size = batch_of_array(network, inputs[0], array.shape[1:])
        for start in range(0, len(array), size):
            yield _named(inputs, [array[start : start + size]])
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
        return _from_data_batch(item, inputs, item.provide_data)
    if isinstance(item, Examples):
        return item.batch
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


def _from_data_batch(item: Any, inputs: List[str], described: Optional[Sequence[Any]]) -> Batch:
    names = [entry[0] for entry in described] if described else inputs
    values = item.data if isinstance(item.data, (list, tuple)) else [item.data]
    by_name = dict(zip(names, values))
    if all(name in by_name for name in inputs):
        chosen = [by_name[name] for name in inputs]
    elif len(values) == len(inputs):
        chosen, by_name = list(values), {}
    else:
        raise InputError(
            f"calibration data: batches hold {', '.join(names)}, but the network's inputs are {', '.join(inputs)}; "
            "give data_names"
        )
    batch = _named(inputs, [_array(value, name) for name, value in zip(inputs, chosen)])
    axes = {name: axis for name, axis in map(_batch_axis, described or ()) if axis is not None and name in inputs}
    return replace(batch, axes=axes, padding=item.pad or 0)


def _batch_axis(described: Any) -> Tuple[str, Optional[int]]:
    """Return the name and the axis of examples of a DataDesc; None where its layout is the one that all have."""
    layout = getattr(described, "layout", None)
    if not isinstance(layout, str) or layout == _USUAL_LAYOUT or "N" not in layout:
        return described[0], None
    return described[0], layout.index("N")


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


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, mx.nd.NDArray))


def _array(value: Any, name: str) -> NDArray[Any]:
    array = value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"calibration data: input '{name}' holds {array.dtype}, expected numbers")
    return array if str(array.dtype) in _KEPT else array.astype(np.float32)
