"""`ChannelSums`: the mean of each channel of a tensor, whatever the number of batches and their order.

Floating-point sums depend on their order. Here each example's mean of a channel is rounded once, to two whole numbers,
which are added exactly::

    m ≈ a · 2^-12 + b · 2^-52        |m| <= 2^28

so that ``+`` is associative and commutative, and any division of the examples gives the same sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import numpy as np

from mxquant.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChannelSums"]

_COARSE, _FINE = 2.0**12, 2.0**52
_LARGEST = 2.0**28
# Beyond it a sum of whole numbers might not fit into int64.
_MOST_EXAMPLES = 1 << 22


@dataclass(frozen=True, eq=False)
class ChannelSums:
    """Sums over examples of each channel's mean.

    Parameters
    ----------
    count : int
        Number of examples, from 1.
    parts : numpy.ndarray of int64, shape (C, 2)
        Sums of a and of b. Read-only.

    Raises
    ------
    InputError
        If these are anything else.
    """

    count: int
    parts: NDArray[np.int64]

    def __post_init__(self) -> None:
        parts = np.array(self.parts)
        if parts.dtype != np.int64 or parts.ndim != 2 or parts.shape[1] != 2 or self.count < 1:
            raise InputError(f"not sums of channels: {parts.dtype} of shape {parts.shape}, {self.count} examples")
        parts.setflags(write=False)
        object.__setattr__(self, "parts", parts)

    @classmethod
    def of(cls, means: NDArray[np.float64]) -> Optional[ChannelSums]:
        """Return the sums of one array's means.

        Parameters
        ----------
        means : numpy.ndarray
            float64, shape (N, C): the mean of each example's channels.

        Returns
        -------
        ChannelSums or None
            None where means are not finite, or above 2^28, or there are none.
        """
        if not means.size or len(means) > _MOST_EXAMPLES or not (np.abs(means) <= _LARGEST).all():
            return None
        coarse = np.rint(means * _COARSE)
        fine = np.rint((means - coarse / _COARSE) * _FINE)
        parts = np.stack([each.astype(np.int64).sum(axis=0) for each in (coarse, fine)], axis=1)
        return cls(len(means), parts)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel, shape (C,)."""
        return (self.parts[:, 0] / _COARSE + self.parts[:, 1] / _FINE) / self.count

    def plus(self, other: ChannelSums) -> Optional[ChannelSums]:
        """Return the sums of both, or None where the channels differ in number or the examples are too many."""
        if self.parts.shape != other.parts.shape or self.count + other.count > _MOST_EXAMPLES:
            return None
        return ChannelSums(self.count + other.count, self.parts + other.parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChannelSums):
            return NotImplemented
        return self.count == other.count and np.array_equal(self.parts, other.parts)
