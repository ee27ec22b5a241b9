"""`Tally`: the histogram of a tensor while calibration runs, counted in place.

It holds the same as a :class:`~mxquant.stats.Histogram`, in one table for all bins that its grid can have. An array is
counted on the grid of what was seen before; only if a value lies beyond, the grid changes, and the array is counted
again. So the counts are those that merging a histogram of each array gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Tuple

import numpy as np

from mxquant.runtime.threads import in_parallel
from mxquant.stats.grid import BINS_PER_SIDE, bin_of, coarsen, exponent_of
from mxquant.stats.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Tally", "new_tables"]

_BINS = 2 * BINS_PER_SIDE


def new_tables() -> NDArray[np.uint32]:
    """Return what one thread needs to count, of use again and again."""
    from mxquant.stats._kernels import TABLES

    return np.zeros((TABLES, _BINS), np.uint32)


class _Found(NamedTuple):
    """What one look at values tells."""

    minimum: float
    maximum: float
    zeros: int
    sums: NDArray[np.float64]

    @property
    def exponent(self) -> Optional[int]:
        """That of the grid for these values."""
        return exponent_of(max(-self.minimum, self.maximum))


@dataclass
class Tally:
    """A histogram that grows.

    Parameters
    ----------
    exponent : int or None
        The bin width is ``2**exponent``; None while nothing but zeros was seen.
    counts : numpy.ndarray of int64, shape (2 * BINS_PER_SIDE,)
        From the lowest bin that the grid can have to the highest.
    size : int
        How many values were seen.
    minimum, maximum : float
        Of the values; 0.0 while there are none.
    zeros : int
        How many of the values are zero.
    nonfinite : int
        How many others were NaN or infinite.
    """

    exponent: Optional[int] = None
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    size: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    zeros: int = 0
    nonfinite: int = 0

    @property
    def histogram(self) -> Histogram:
        """All that was seen, as a histogram."""
        first, last = (0, 0) if self.exponent is None else self._bins(self.minimum, self.maximum)
        counts = self.counts[BINS_PER_SIDE + first : BINS_PER_SIDE + last + 1] if self.size else self.counts[:0]
        return Histogram(self.exponent, first, counts, self.minimum, self.maximum, self.zeros, self.nonfinite)

    def add(
        self, array: NDArray[np.float32], length: int, tables: List[NDArray[np.uint32]]
    ) -> Optional[NDArray[np.float64]]:
        """Count the values of an array.

        Parameters
        ----------
        array : numpy.ndarray of float32
            In C order, at least one value.
        length : int
            Of the rows to add up; each thread's last one may be shorter.
        tables : list of numpy.ndarray
            Of :func:`new_tables`, one for each thread that is to count.

        Returns
        -------
        numpy.ndarray of float64 or None
            The sum of each row; None if a value is NaN or infinite: nothing was counted then.
        """
        from mxquant.stats._kernels import drain

        parts = np.array_split(array, len(tables)) if len(tables) > 1 else [array]
        exponent = _first_exponent(array) if self.exponent is None else self.exponent
        found = _look(parts, length, exponent, tables)
        needed = None if found is None else found.exponent
        if needed is not None and exponent is not None and needed > exponent:
            _empty(tables)
            exponent = needed
            found = _look(parts, length, exponent, tables)
        if found is None:
            _empty(tables)
            return None
        self._coarsen(exponent)
        self._take_note(array.size, found.minimum, found.maximum, found.zeros)
        first, last = (0, 0) if exponent is None else self._bins(found.minimum, found.maximum)
        for table in tables:
            drain(table, self.counts, BINS_PER_SIDE + first, BINS_PER_SIDE + last + 1)
        return found.sums

    def merge(self, histogram: Histogram) -> None:
        """Add all that a histogram has seen."""
        self.nonfinite += histogram.nonfinite
        if not histogram.counts.size:
            return
        exponents = [each for each in (self.exponent, histogram.exponent) if each is not None]
        self._coarsen(max(exponents, default=None))
        counts, first = histogram.counts, histogram.first_bin
        if histogram.exponent is not None and self.exponent is not None:
            counts, first = coarsen(counts, first, self.exponent - histogram.exponent)
        self.counts[BINS_PER_SIDE + first : BINS_PER_SIDE + first + counts.size] += counts
        self._take_note(histogram.count, histogram.minimum, histogram.maximum, histogram.zeros)

    def _take_note(self, size: int, minimum: float, maximum: float, zeros: int) -> None:
        self.minimum = min(self.minimum, minimum) if self.size else minimum
        self.maximum = max(self.maximum, maximum) if self.size else maximum
        self.size += size
        self.zeros += zeros

    def _coarsen(self, exponent: Optional[int]) -> None:
        """Go over to a coarser grid. On every grid zeros are in the bin in the middle."""
        if self.exponent is not None and exponent is not None and exponent > self.exponent:
            counts, first = coarsen(self.counts, -BINS_PER_SIDE, exponent - self.exponent)
            self.counts = np.zeros(_BINS, np.int64)
            self.counts[BINS_PER_SIDE + first : BINS_PER_SIDE + first + counts.size] = counts
        self.exponent = self.exponent if exponent is None else exponent

    def _bins(self, low: float, high: float) -> List[int]:
        assert self.exponent is not None
        return [bin_of(value, self.exponent) for value in (low, high)]


def _look(
    parts: List[NDArray[np.float32]], length: int, exponent: Optional[int], tables: List[NDArray[np.uint32]]
) -> Optional[_Found]:
    """Count parts of an array, each in tables of its own; return None if a value is NaN or infinite."""
    from mxquant.stats._kernels import tally

    scale = 1.0 if exponent is None else 2.0**-exponent

    def look(index: int) -> _Found:
        values = parts[index].reshape(-1)
        sums = np.empty(-(-values.size // length))
        return _Found(*_extremes(*tally(values, values.view(np.int32), length, scale, tables[index], sums)), sums)

    found = in_parallel(look, [index for index, part in enumerate(parts) if part.size])
    sums = np.concatenate([each.sums for each in found])
    if not np.isfinite(sums).all():
        return None
    minimum, maximum = min(each.minimum for each in found), max(each.maximum for each in found)
    return _Found(minimum, maximum, sum(each.zeros for each in found), sums)


def _extremes(largest: int, smallest: int, highest: int, zeros: int) -> Tuple[float, float, int]:
    """Return minimum and maximum from the extremes of the bits of float32 values.

    As int32, positive values are in order, and after all negative ones, which are in reverse order; as uint32 the one
    farthest below zero is the highest.
    """
    bits = (highest if smallest < 0 else smallest, largest if largest >= 0 else smallest)
    low, high = np.array([each & 0xFFFFFFFF for each in bits], np.uint32).view(np.float32)
    return float(low) + 0.0, float(high) + 0.0, zeros  # -0.0 + 0.0 is 0.0: which zero came first must not matter


def _first_exponent(array: NDArray[np.float32]) -> Optional[int]:
    """Return the exponent of the grid for an array; None if it has only zeros, or cannot be counted anyway."""
    magnitude = float(max(-array.min(), array.max()))
    return exponent_of(magnitude) if np.isfinite(magnitude) else None


def _empty(tables: List[NDArray[np.uint32]]) -> None:
    for table in tables:
        table[:] = 0
