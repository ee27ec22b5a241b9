"""The power-of-two grid that all histograms lie on.

A grid is its exponent k. Bin i is the half-open interval [i·w, (i + 1)·w) with w = 2**k, so x lies in bin
floor(x / w). Dividing by a power of two is exact in binary floating point, so the bin is exact, and since

    floor(x / 2w) = floor(floor(x / w) / 2),

a histogram on a coarser grid follows from a finer one without the data. k is a function of the largest
magnitude M alone: the k with 2**13 <= M / w < 2**14. Coarsening never has to be undone, because M only grows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Optional, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BINS_PER_SIDE", "bin_of", "coarsen", "exponent_of"]

_LEVELS = 14
BINS_PER_SIDE = 1 << _LEVELS  # the lowest bin is -BINS_PER_SIDE, the highest BINS_PER_SIDE - 1
_MIN_EXPONENT = -1074  # 2**-1074 is the smallest positive float64: no bin is narrower, so every edge is a float64


def exponent_of(magnitude: float) -> Optional[int]:
    """Return the exponent of the grid for data whose largest magnitude is given.

    Parameters
    ----------
    magnitude : float
        The largest absolute value of the data, finite, not negative.

    Returns
    -------
    int or None
        k of the bin width 2**k; None for a magnitude of 0, which every grid can hold.
    """
    if magnitude == 0:
        return None
    _, exponent = math.frexp(magnitude)
    return max(exponent - _LEVELS, _MIN_EXPONENT)


def bin_of(value: float, exponent: int) -> int:
    """Return floor(value / 2**exponent), exactly.

    Parameters
    ----------
    value : float
        Finite.
    exponent : int
        Of the grid; not so small that the quotient overflows.

    Returns
    -------
    int
        The number of the bin.
    """
    found = math.floor(math.ldexp(value, -exponent))
    return min(found, -1) if value < 0 else found  # a tiny negative quotient underflows to -0


def coarsen(counts: NDArray[np.int64], first_bin: int, levels: int) -> Tuple[NDArray[np.int64], int]:
    """Put counts on the grid whose bins are 2**levels times as wide.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (n,)
        Counts of neighbouring bins.
    first_bin : int
        Number of the bin that ``counts[0]`` belongs to, at least -BINS_PER_SIDE.
    levels : int
        How many times the width doubles, 0 or more.

    Returns
    -------
    tuple of (numpy.ndarray of int64, int)
        Counts and the number of the first bin on the coarser grid.
    """
    if levels == 0 or not counts.size:
        return counts, first_bin
    shift = min(levels, _LEVELS)  # after that, bins -1 and 0 are all that is left, and stay what they are
    first = first_bin >> shift
    inner = np.arange(((first + 1) << shift) - first_bin, counts.size, 1 << shift)
    return np.add.reduceat(counts, np.concatenate(([0], inner))), first
