"""Shards: the parts of a data set that workers take one at a time, each a whole number of batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from mxquant.datasets import Dataset
from mxquant.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Shard", "Sharded", "batches_in", "sharded"]

# So many for each worker, so that none waits long for the others at the end, but no more examples than this in one.
_FOR_EACH_WORKER = 8
_MOST_EXAMPLES = 512
_BATCH = 32


@dataclass(frozen=True)
class Shard:
    """Where a part lies in the whole.

    Parameters
    ----------
    number, count : int
        Which of how many it is, from 0.
    begin, end : int
        Its examples; both 0 where that is not known.
    batch : int
        Number of its first batch.
    title : str
        What the data are called.
    """

    number: int
    count: int
    begin: int
    end: int
    batch: int
    title: str

    def __str__(self) -> str:
        which = f"examples {self.begin} to {self.end - 1} of " if self.end else ""
        return f"shard {self.number + 1} of {self.count} ({which}'{self.title}')"

    @property
    def size(self) -> int:
        """How many examples it has; 0 where that is not known."""
        return self.end - self.begin


@dataclass(frozen=True)
class Sharded:
    """A data set in shards.

    Parameters
    ----------
    shards : sequence of (Shard, object)
        Each with what a worker gets of it: a :class:`~mxquant.datasets.Dataset`, or something that Dask computes.
    total : int or None
        How many examples there are, if that is known.
    batch_size : int
        Examples in a batch.
    """

    shards: Sequence[Tuple[Shard, Any]]
    total: Optional[int]
    batch_size: int


def sharded(
    data: Any, workers: int, shard_size: Optional[int] = None, num_examples: Optional[int] = None, done: int = 0
) -> Sharded:
    """Divide a data set.

    Parameters
    ----------
    data : Dataset, dask.array.Array or dask.bag.Bag
        Rows of an array are examples; so are elements of a bag, and its partitions are the shards.
    workers : int
        How many there are.
    shard_size : int, optional
        Examples in a shard, rounded up to whole batches; default: several shards for each worker.
    num_examples : int, optional
        How many examples to take; default: all.
    done : int
        How many of the first ones to leave out.

    Returns
    -------
    Sharded
        All examples from number `done` on.

    Raises
    ------
    InputError
        If the data are of another kind, or hold fewer examples.
    """
    module = type(data).__module__
    if module.startswith("dask.bag"):
        if num_examples is not None or done:
            raise InputError("nobody knows where the first examples of a dask.bag end; take them with Bag.take, or all")
        parts = data.to_delayed()
        shards = [(Shard(i, len(parts), 0, 0, 0, "a dask.bag"), part) for i, part in enumerate(parts)]
        return Sharded(shards, None, _BATCH)
    if isinstance(data, Dataset):
        first, batch = data.grid
        count, title = len(data), data.title
    elif module.startswith("dask.array"):
        first, batch, title = 0, _BATCH, "a dask.array"
        count = data.shape[0] if data.ndim else 0
        if math.isnan(count):
            raise InputError("a dask.array has chunks of unknown sizes; call its compute_chunk_sizes() first")
    else:
        raise InputError(
            f"data are {type(data).__name__}, expected a data set of mxquant.datasets, a dask.array or a dask.bag: "
            "workers get references to parts of them"
        )
    total = count if num_examples is None else num_examples
    if not 0 < total <= count:
        raise InputError(f"num_calib_examples is {num_examples}, but '{title}' holds {count} examples")
    if done > total:
        raise InputError(f"{done} examples were counted before, but there are {total}; begin anew")
    size = _shard_size(total, batch, workers, shard_size)
    cuts = [
        done,
        *(cut - first for cut in range(first // size * size, first + total, size) if cut - first > done),
        total,
    ]
    ends = list(zip(cuts, cuts[1:])) if done < total else []
    shards = [
        (
            Shard(number, len(ends), begin, end, (first + begin) // batch, title),
            data.part(begin, end) if isinstance(data, Dataset) else _block(data, begin, end),
        )
        for number, (begin, end) in enumerate(ends)
    ]
    return Sharded(shards, total, batch)


def _shard_size(total: int, batch: int, workers: int, wanted: Optional[int]) -> int:
    if wanted is not None and (not isinstance(wanted, int) or wanted < 1):
        raise InputError(f"shard_size is {wanted!r}, expected a whole number from 1")
    size = min(_MOST_EXAMPLES, math.ceil(total / (_FOR_EACH_WORKER * max(1, workers)))) if wanted is None else wanted
    return math.ceil(size / batch) * batch


def _block(array: Any, begin: int, end: int) -> Any:
    """Return rows of a dask.array as one value that a worker computes."""
    rows = array[begin:end]
    (block,) = rows.rechunk(rows.shape).to_delayed().reshape(-1)
    return block


def batches_in(data: Any, size: int) -> Iterator[Tuple[NDArray[Any], ...]]:
    """Yield what a worker has got of a shard as batches of at most `size` examples.

    Parameters
    ----------
    data : Dataset, numpy.ndarray or list
        A part of a data set, rows of an array, or elements of a bag.
    size : int
        Examples in a batch; a data set has its own.

    Yields
    ------
    tuple of numpy.ndarray
        As :func:`mxquant.calibrate` takes them.

    Raises
    ------
    InputError
        If they cannot be read, or are no arrays of one shape.
    """
    if isinstance(data, Dataset):
        yield from data
    elif isinstance(data, np.ndarray):
        yield from ((data[begin : begin + size],) for begin in range(0, len(data), size))
    else:
        examples: List[Any] = [each if isinstance(each, (tuple, list)) else (each,) for each in data]
        for begin in range(0, len(examples), size):
            yield tuple(_stacked(values) for values in zip(*examples[begin : begin + size]))


def _stacked(values: Sequence[Any]) -> NDArray[Any]:
    arrays = [np.asarray(value) for value in values]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise InputError(f"elements of a dask.bag have shapes {sorted(shapes)}, expected one")
    return np.stack(arrays)
