"""From an array of numbers to counts on a grid, at about the speed of reading it.

    bin(x) = floor(x · 2**-k)

The product with a power of two is exact in float64 for every float32: it neither overflows, since |x| · 2**-k < 2**14
by the choice of k, nor underflows. float64 data go the slower way round, for their magnitudes leave no room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.stats.grid import BINS_PER_SIDE, bin_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sample", "count_bins"]

_BLOCK = 1 << 16  # elements, which stay in the cache


class Sample(NamedTuple):
    """The finite values of one array, and what one look at them tells.

    Parameters
    ----------
    values : numpy.ndarray of float32 or float64, shape (n,)
        The finite values, in any order.
    minimum, maximum : float
        Of the values, exactly; 0.0 if there are none. Never -0.0.
    nonfinite : int
        How many NaN and infinities the array held besides.
    """

    values: NDArray[Any]
    minimum: float
    maximum: float
    nonfinite: int

    @classmethod
    def of(cls, array: NDArray[Any]) -> Sample:
        """Look at an array.

        Parameters
        ----------
        array : numpy.ndarray
            Of any shape; float16, float32, float64, integers or bool. Integers beyond 2**53 are rounded to
            float64.

        Returns
        -------
        Sample
            Its values may share memory with the array.

        Raises
        ------
        InputError
            If it is no NumPy array, or its dtype is none of these.
        """
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"expected a NumPy array, found {type(array).__name__}; convert it first, e.g. by .asnumpy()"
            )
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise InputError(f"cannot count values of dtype {array.dtype}; convert them to float32 first")
        values = array.astype(np.result_type(array.dtype, np.float32), copy=False).ravel(order="K")
        minimum, maximum = _extremes(values)
        if np.isfinite(minimum) and np.isfinite(maximum):
            return cls(values, minimum, maximum, 0)
        finite = values[np.isfinite(values)]
        return cls(finite, *_extremes(finite), values.size - finite.size)


def _extremes(values: NDArray[Any]) -> Tuple[float, float]:
    """Return minimum and maximum; NaN if there is a NaN."""
    if not values.size:
        return 0.0, 0.0
    blocks = [values[start : start + _BLOCK] for start in range(0, values.size, _BLOCK)]
    with np.errstate(invalid="ignore"):
        lows, highs = zip(*[(block.min(), block.max()) for block in blocks])
        low, high = np.min(lows), np.max(highs)
    return float(low) + 0.0, float(high) + 0.0  # -0.0 + 0.0 is 0.0: which zero came first must not matter


def count_bins(sample: Sample, exponent: int) -> Tuple[NDArray[np.int64], int, int]:
    """Count the values of a sample on a grid.

    Parameters
    ----------
    sample : Sample
        At least one value.
    exponent : int
        Of the grid, at least ``exponent_of`` the sample's largest magnitude.

    Returns
    -------
    tuple of (numpy.ndarray of int64, int, int)
        Counts from the bin of the minimum to the bin of the maximum, the number of the first bin, and how
        many of the values are exactly zero.
    """
    from mxquant.stats._kernels import TABLES, tally

    values = sample.values
    first, last = bin_of(sample.minimum, exponent), bin_of(sample.maximum, exponent)
    if values.dtype == np.float32:
        values = np.ascontiguousarray(values)
        tables = np.zeros((TABLES, 2 * BINS_PER_SIDE), np.uint32)
        *_, zeros = tally(values, values.view(np.int32), values.size, 2.0**-exponent, tables, np.empty(1))
        return tables[:, BINS_PER_SIDE + first : BINS_PER_SIDE + last + 1].sum(axis=0, dtype=np.int64), first, zeros
    counts = np.zeros(last - first + 1, np.int64)
    for start in range(0, values.size, _BLOCK):
        found = np.bincount(_bins(values[start : start + _BLOCK], exponent) - first)
        counts[: found.size] += found
    return counts, first, int(np.count_nonzero(values == 0))


def _bins(block: NDArray[np.float64], exponent: int) -> NDArray[np.intp]:
    """Return floor(block / 2**exponent), whole numbers within ±2**14."""
    with np.errstate(under="ignore"):
        quotient = np.ldexp(block, -exponent)
    bins: NDArray[np.intp] = np.floor(quotient).astype(np.intp)
    bins[(block < 0) & (quotient == 0)] = -1  # underflown to -0
    return bins
