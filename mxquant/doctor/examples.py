"""The examples that the doctor looks at, with their labels where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from mxquant.graph import Network
from mxquant.runtime.batch import Batch, Examples
from mxquant.runtime.data import Sample, batches
from mxquant.runtime.forward import kept_examples
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Labelled", "read_examples"]


@dataclass(frozen=True)
class Labelled:
    """Inputs and labels.

    Parameters
    ----------
    arrays : Examples
        By name of the input.
    labels : numpy.ndarray or None
        Class numbers, shape (n,).
    """

    arrays: Examples
    labels: Optional[NDArray[Any]]

    @property
    def count(self) -> int:
        """How many there are."""
        return self.arrays.count

    def part(self, begin: int, end: int) -> Labelled:
        """Return those from `begin` to `end` - 1; all of them where the network takes no fewer."""
        if self.arrays.whole:
            return self
        return Labelled(self.arrays.part(begin, end), None if self.labels is None else self.labels[begin:end])


def read_examples(
    data: Any,
    inputs: Sequence[str],
    count: int,
    network: Network,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
) -> Labelled:
    """Read the first examples of data.

    Parameters
    ----------
    data : DataIter, DataLoader, array, or iterable
        As for :func:`mxquant.calibrate`. Labels are what follows the inputs in a tuple, or the label of a DataBatch.
    inputs : sequence of str
        Names of the network's inputs, in order.
    count : int
        How many at most; fewer where they are large.
    network : Network
        What reads them.
    batch_axes : mapping of str to int or None, optional
        As for :func:`mxquant.calibrate`.

    Raises
    ------
    InputError
        If the data are of no known form, do not fit the inputs, or hold no examples.
    """
    labels: List[NDArray[Any]] = []
    sample = Sample(count)
    read = partial(batches, inputs=list(inputs), network=network, batch_axes=batch_axes)
    sample.fill(_noting(data, labels, read))
    found = np.concatenate(labels)[: sample.kept] if labels else None
    whole = found is not None and found.ndim == 1 and len(found) == sample.kept
    return Labelled(kept_examples(network, sample), found if whole else None)


def _noting(data: Any, labels: List[NDArray[Any]], read: Callable[..., Iterator[Batch]]) -> Iterator[Batch]:
    """Yield batches, noting the labels of each."""
    is_array = isinstance(data, (np.ndarray, mx.nd.NDArray))
    if is_array or isinstance(data, (str, bytes, dict)) or not hasattr(data, "__iter__"):
        yield from read(data)
        return
    if isinstance(data, mx.io.DataIter):
        data.reset()
    for item in data:
        for batch in read([item]):
            label = _label(item, len(batch.arrays))
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
