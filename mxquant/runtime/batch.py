"""Batches: arrays by the name of the input, and along which axis of each the examples lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batch", "Examples", "cut", "examples_of", "joined"]


@dataclass(frozen=True)
class Batch:
    """Inputs of one forward pass.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        float32, int32 or int64, by the name of the input.
    size : int
        Number of examples.
    axes : mapping of str to int or None
        The axis of the examples by the name of the input; None for what is the same for all of them. Empty for the
        first axis of all that have `size` there.
    whole : bool
        Whether the network takes no other size, so that it can be neither cut nor joined with others.
    padding : int
        How many of the last examples only fill it up.
    """

    arrays: Mapping[str, NDArray[Any]]
    size: int
    axes: Mapping[str, Optional[int]] = field(default_factory=dict)
    whole: bool = False
    padding: int = 0

    def axis(self, name: str) -> Optional[int]:
        """Return the axis of the examples of an input; None for what is the same for all of them."""
        return self.axes.get(name) if self.axes else 0


class Examples(Mapping[str, Any]):
    """Arrays by the name of the input, that know where their examples are.

    Parameters
    ----------
    batch : Batch
        The examples.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.batch.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.arrays)

    def __len__(self) -> int:
        return len(self.batch.arrays)

    @property
    def count(self) -> int:
        """How many examples there are."""
        return self.batch.size

    @property
    def whole(self) -> bool:
        """Whether they can only be run together."""
        return self.batch.whole

    def part(self, begin: int, end: Optional[int] = None) -> Examples:
        """Return the examples from `begin` to `end` - 1; all of them where they can only be run together."""
        return Examples(cut(self.batch, begin, self.count if end is None else end))


def examples_of(arrays: Mapping[str, NDArray[Any]]) -> Examples:
    """Return arrays as examples; those that do not know where these lie have them along the first axis."""
    if isinstance(arrays, Examples):
        return arrays
    return Examples(Batch(arrays, len(next(iter(arrays.values())))))


def cut(batch: Batch, begin: int, end: int) -> Batch:
    """Return the examples from `begin` to `end` - 1 of a batch, or all of one that cannot be cut."""
    if batch.whole or (begin <= 0 and end >= batch.size):
        return batch
    end = min(end, batch.size)

    def part(name: str, value: NDArray[Any]) -> NDArray[Any]:
        axis = batch.axis(name)
        if axis is None or value.ndim <= axis or value.shape[axis] != batch.size:
            return value
        return value[(slice(None),) * axis + (slice(begin, end),)]

    return Batch({name: part(name, value) for name, value in batch.arrays.items()}, end - begin, batch.axes)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return one batch of the examples of several, which have the same shapes otherwise."""
    first = batches[0]
    if len(batches) == 1:
        return first

    def together(name: str) -> NDArray[Any]:
        axis = first.axis(name)
        values = [batch.arrays[name] for batch in batches]
        return values[0] if axis is None else np.concatenate(values, axis=axis)

    return Batch({name: together(name) for name in first.arrays}, sum(batch.size for batch in batches), first.axes)
