"""From an array of numbers to counts on a grid, at about the speed of reading it.

    bin(x) = floor(x · 2**-k)

in float32 where that is exact, which is nearly always: the product with a power of two is exact unless it
overflows (|x| · 2**-k < 2**14 by the choice of k) or underflows (impossible for k <= 0). Otherwise in
float64. Data go through in blocks that stay in the cache; every loop is NumPy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.stats.grid import bin_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sample", "count_bins"]

_BLOCK = 1 << 16  # elements: one block and its scratch arrays take 1 MiB
_MAX_FLOAT32_EXPONENT = 127


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
    values = sample.values
    first, last = bin_of(sample.minimum, exponent), bin_of(sample.maximum, exponent)
    counts = np.zeros(last - first + 1, np.int64)
    size = min(values.size, _BLOCK)
    floors, bins, is_zero = np.empty(size, np.float32), np.empty(size, np.intp), np.empty(size, np.bool_)
    spans_zero = sample.minimum <= 0 <= sample.maximum
    zeros = 0
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        floor, index = floors[: block.size], bins[: block.size]
        _floor_divide(block, exponent, floor)
        np.subtract(floor, np.float32(first), out=floor)
        index[:] = floor
        found = np.bincount(index)
        counts[: found.size] += found
        if spans_zero:
            zeros += int(np.count_nonzero(np.equal(block, 0, out=is_zero[: block.size])))
    return counts, first, zeros


def _floor_divide(block: NDArray[Any], exponent: int, out: NDArray[np.float32]) -> None:
    """Write floor(block / 2**exponent), whole numbers within ±2**14, to `out` (float32)."""
    if block.dtype == np.float32 and 0 <= -exponent <= _MAX_FLOAT32_EXPONENT:
        np.multiply(block, np.float32(2.0**-exponent), out=out)
        np.floor(out, out=out)
        return
    with np.errstate(under="ignore"):
        quotient = np.ldexp(block.astype(np.float64), -exponent)
    out[:] = np.floor(quotient)
    out[(block < 0) & (quotient == 0)] = -1  # underflown to -0
