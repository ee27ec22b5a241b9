"""The examples that the doctor looks at, with their labels where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from mxquant.runtime.data import Batch, Sample, batches, part
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Examples", "read_examples"]


@dataclass(frozen=True)
class Examples:
    """Inputs and labels.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        By name of the input, examples along axis 0.
    labels : numpy.ndarray or None
        Class numbers, shape (n,).
    """

    arrays: Dict[str, NDArray[Any]]
    labels: Optional[NDArray[Any]]

    @property
    def count(self) -> int:
        """How many there are."""
        return max((len(value) for value in self.arrays.values()), default=0)

    def part(self, begin: int, end: int) -> Examples:
        """Return those from `begin` to `end` - 1."""
        arrays = part(self.arrays, self.count, begin, end)
        return Examples(arrays, None if self.labels is None else self.labels[begin:end])


def read_examples(data: Any, inputs: Sequence[str], count: int) -> Examples:
    """Read the first examples of data.

    Parameters
    ----------
    data : DataIter, DataLoader, array, or iterable
        As for :func:`mxquant.calibrate`. Labels are what follows the inputs in a tuple, or the label of a DataBatch.
    inputs : sequence of str
        Names of the network's inputs, in order.
    count : int
        How many at most; fewer where they are large.

    Raises
    ------
    InputError
        If the data are of no known form, do not fit the inputs, or hold no examples.
    """
    labels: List[NDArray[Any]] = []
    sample = Sample(count)
    sample.fill(_noting(data, list(inputs), labels))
    found = np.concatenate(labels)[: sample.kept] if labels else None
    whole = found is not None and found.ndim == 1 and len(found) == sample.kept
    return Examples(sample.arrays, found if whole else None)


def _noting(data: Any, inputs: List[str], labels: List[NDArray[Any]]) -> Iterator[Batch]:
    """Yield batches, noting the labels of each."""
    is_array = isinstance(data, (np.ndarray, mx.nd.NDArray))
    if is_array or isinstance(data, (str, bytes, dict)) or not hasattr(data, "__iter__"):
        yield from batches(data, inputs)
        return
    if isinstance(data, mx.io.DataIter):
        data.reset()
    for item in data:
        for batch in batches([item], inputs):
            label = _label(item, len(inputs))
            if label is not None:
                labels.append(label.reshape(-1)[: batch.size] if label.size >= batch.size else label)
            yield batch


def _label(item: Any, inputs: int) -> Optional[NDArray[Any]]:
    found = None
    if isinstance(item, mx.io.DataBatch):
        found = item.label[0] if item.label else None
    elif isinstance(item, (list, tuple)) and len(item) == inputs + 1:
        found = item[-1]
    if found is None:
        return None
    array = found.asnumpy() if isinstance(found, mx.nd.NDArray) else np.asarray(found)
    return array if array.ndim and array.size == len(array) else None
