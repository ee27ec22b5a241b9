"""`Histogram`: what calibration keeps of a tensor, whatever the number of batches.

Counts on the power-of-two grid of :mod:`mxquant.stats.grid`, whose exponent follows the largest magnitude M.
As M, the counts on a given grid and the extremes depend only on which values were seen, so does the
histogram: any batch size, order, or division among workers gives the same one, equal to the last count, and
merging is

    a + b = (a on the coarser of both grids) + (b on the coarser of both grids).

A histogram has at most 2**15 bins, so its counts take at most 256 KiB; seen from zero, at least 8,193 bins
cover [-M, M] (:meth:`Histogram.centred`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Optional, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.stats.binning import Sample, count_bins
from mxquant.stats.grid import bin_of, coarsen, exponent_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Histogram"]

_MAX_COUNT = float(2**63)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of a tensor's values on a power-of-two grid; immutable.

    ``a + b`` is the histogram of the values of both; it is associative and commutative, and 0 is its
    identity, so that ``sum()`` works. ``==`` compares everything, exactly. ``Histogram()`` has seen nothing.

    Parameters
    ----------
    exponent : int or None
        The bin width is ``2**exponent``; None while no finite value but zero was seen.
    first_bin : int
        Number of the lowest bin with a value in it; 0 if there is none.
    counts : numpy.ndarray of int64, shape (n,)
        ``counts[i]`` is the number of values x with ``floor(x / 2**exponent) == first_bin + i``, from the
        lowest to the highest bin with a value in it. Without an exponent, the number of zeros, or nothing.
        Read-only.
    minimum, maximum : float
        Of the finite values, exactly; 0.0 if there are none.
    zeros : int
        How many values are exactly zero; they are in `counts` too.
    nonfinite : int
        How many values were NaN or infinite; they are in nothing else.

    Raises
    ------
    InputError
        If these contradict each other.
    """

    exponent: Optional[int] = None
    first_bin: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    minimum: float = 0.0
    maximum: float = 0.0
    zeros: int = 0
    nonfinite: int = 0

    def __post_init__(self) -> None:
        counts = np.array(self.counts)
        counts.setflags(write=False)
        object.__setattr__(self, "counts", counts)
        problem = self._problem()
        if problem is not None:
            raise InputError(f"not a histogram: {problem}")

    @classmethod
    def of(cls, array: NDArray[Any]) -> Histogram:
        """Count the values of an array.

        Parameters
        ----------
        array : numpy.ndarray
            Of any shape, also empty; float16, float32, float64, integers or bool. Integers beyond 2**53 are
            rounded to float64.

        Returns
        -------
        Histogram
            NaN and infinities are counted and left out.

        Raises
        ------
        InputError
            If it is no NumPy array of such numbers.
        """
        return cls.of_sample(Sample.of(array))

    @classmethod
    def of_sample(cls, sample: Sample) -> Histogram:
        """Count the values of an array that was looked at already.

        Parameters
        ----------
        sample : Sample
            The array's finite values and their extremes.

        Returns
        -------
        Histogram
            The same as :meth:`of` the array.
        """
        low, high, size = sample.minimum, sample.maximum, sample.values.size
        exponent = exponent_of(max(-low, high))
        if exponent is None:
            counts = np.array([size] if size else [], np.int64)
            return cls(counts=counts, zeros=size, nonfinite=sample.nonfinite)
        counts, first_bin, zeros = count_bins(sample, exponent)
        return cls(exponent, first_bin, counts, low, high, zeros, sample.nonfinite)

    @property
    def count(self) -> int:
        """How many finite values were seen."""
        return int(self.counts.sum())

    def centred(self) -> Tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return an odd, zero-centred histogram, as the search for an entropy threshold takes it.

        Bin j is [(2j - 1)·w, (2j + 1)·w), the bins 2j - 1 and 2j of this histogram: twice as wide, and exact.

        Returns
        -------
        hist : numpy.ndarray of int64, shape (2h + 1,)
            Counts; their sum is `count`. From 8,193 to 16,385 bins; fewer if the largest magnitude is below
            2**-1061, deep in float64's denormals, and one, [-1, 1], if there are no values but zero.
        edges : numpy.ndarray of float64, shape (2h + 2,)
            Symmetric: ``edges[i] == -edges[-1 - i]``; ``edges[-1]`` is at least the largest magnitude.
        """
        if self.exponent is None:
            return np.array([self.count], np.int64), np.array([-1.0, 1.0])
        grouped, first = coarsen(self.counts, self.first_bin + 1, 1)
        half = max(-first, first + grouped.size - 1)
        hist = np.zeros(2 * half + 1, np.int64)
        hist[half + first : half + first + grouped.size] = grouped
        with np.errstate(over="ignore"):
            edges = np.ldexp(2.0 * np.arange(-half, half + 2) - 1, self.exponent)
        limit = np.finfo(np.float64).max  # the outermost edge of data near float64's largest
        return hist, np.clip(edges, -limit, limit)

    def __add__(self, other: object) -> Histogram:
        if isinstance(other, int) and other == 0:
            return self
        if not isinstance(other, Histogram):
            return NotImplemented
        if not self.counts.size or not other.counts.size:
            seen = self if self.counts.size else other
            return replace(seen, nonfinite=self.nonfinite + other.nonfinite)
        exponents = [each.exponent for each in (self, other) if each.exponent is not None]
        exponent = max(exponents) if exponents else None
        parts = [self._on(exponent), other._on(exponent)]
        first = min(start for _, start in parts)
        counts = np.zeros(max(start + part.size for part, start in parts) - first, np.int64)
        for part, start in parts:
            counts[start - first : start - first + part.size] += part
        return Histogram(
            exponent,
            first,
            counts,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.zeros + other.zeros,
            self.nonfinite + other.nonfinite,
        )

    __radd__ = __add__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._scalars() == other._scalars() and np.array_equal(self.counts, other.counts)

    def _scalars(self) -> Tuple[object, ...]:
        return self.exponent, self.first_bin, self.minimum, self.maximum, self.zeros, self.nonfinite

    def _on(self, exponent: Optional[int]) -> Tuple[NDArray[np.int64], int]:
        """Return counts and first bin on a grid no finer than this one."""
        if self.exponent is None or exponent is None:
            return self.counts, self.first_bin
        return coarsen(self.counts, self.first_bin, exponent - self.exponent)

    def _problem(self) -> Optional[str]:
        """Say which invariant is broken, if one is."""
        counts, low, high = self.counts, self.minimum, self.maximum
        if counts.dtype != np.int64 or counts.ndim != 1:
            return f"counts are {counts.dtype} of shape {counts.shape}, expected int64 in one dimension"
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            return f"minimum is {low} and maximum {high}"
        if self.exponent != exponent_of(max(-low, high)):
            return f"exponent is {self.exponent}, but the values lie between {low} and {high}"
        if self.nonfinite < 0:
            return f"nonfinite is {self.nonfinite}"
        if not counts.size:
            is_blank = not (low or high or self.first_bin or self.zeros)
            return None if is_blank else "it has a range or zeros, but no counts"
        if counts.min() < 0 or float(counts.sum(dtype=np.float64)) >= _MAX_COUNT:
            return "a count is negative, or there are more than 2**63 - 1 values"
        first, last = (0, 0) if self.exponent is None else (bin_of(low, self.exponent), bin_of(high, self.exponent))
        if (self.first_bin, self.first_bin + counts.size - 1) != (first, last):
            return f"it has {counts.size} counts from bin {self.first_bin}, expected bins {first} to {last}"
        if not (counts[0] and counts[-1]):
            return "the bin of the minimum or of the maximum is empty"
        most = int(counts[-first]) if first <= 0 <= last else 0
        least = most if self.exponent is None else 0
        if not least <= self.zeros <= most:
            return f"zeros are {self.zeros}, expected {least} to {most}"
        return None
