"""The one loop over all merged bins of the entropy search; see :mod:`mxquant.thresholds.divergence`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mxquant.runtime.compiled import compiled, numba

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["inner_bins"]

_Floats, _Ints = numba.float64[::1], numba.int64[::1]


@compiled(numba.void(_Floats, _Floats, _Ints, _Ints, _Floats, _Floats, numba.int64, numba.float64, _Floats))
def inner_bins(
    counts: NDArray[Any],
    nonzero: NDArray[Any],
    begin: NDArray[Any],
    m: NDArray[Any],
    p_e1: NDArray[Any],
    q_e1: NDArray[Any],
    number: int,
    rest: float,
    total: NDArray[Any],
) -> None:
    """Find the sum of (S - p_e1 n) log(S/n - q_e1) over the inner merged bins of every candidate.

    Candidates of one m share their bins. Column t + m of a table holds column t plus f_k of the bin
    [low + t, low + t + m): f_0 = S log(S/n), f_1 = n log(S/n), and f_k = n (n/S)^(k-2) for k >= 2, all 0 for an empty
    bin.

    Parameters
    ----------
    counts, nonzero : numpy.ndarray of float64
        Cumulative counts and numbers of non-zero bins.
    begin, m : numpy.ndarray of int64, shape (candidates,)
        First inner bin and width of the merged bins; candidates of one m stand together.
    p_e1, q_e1 : numpy.ndarray of float64, shape (candidates,)
        What smoothing takes from a non-zero.
    number : int
        How many inner merged bins there are.
    rest : float
        Where the series in q_e1 is cut.
    total : numpy.ndarray of float64, shape (candidates,)
        The result.
    """
    start = 0
    while start < len(begin):
        width, low, high, largest = m[start], begin[start], begin[start], 0.0
        stop = start
        while stop < len(begin) and m[stop] == width:
            low, high, largest = min(low, begin[stop]), max(high, begin[stop]), max(largest, q_e1[stop])
            stop += 1
        terms, power = 0, largest
        while power / (terms + 1) > rest:
            terms += 1
            power *= largest
        kinds = terms + 3 if terms else 2
        sums = np.zeros((kinds, high - low + number * width + 1))
        for t in range(sums.shape[1] - width):
            mass = counts[low + t + width] - counts[low + t]
            present = nonzero[low + t + width] - nonzero[low + t]
            if mass == 0:
                for k in range(kinds):
                    sums[k, t + width] = sums[k, t]
                continue
            log = math.log(mass / present)
            sums[0, t + width] = sums[0, t] + mass * log
            sums[1, t + width] = sums[1, t] + present * log
            value = present
            for k in range(2, kinds):
                sums[k, t + width] = sums[k, t] + value
                value *= present / mass
        for i in range(start, stop):
            first = begin[i] - low
            last = first + number * width
            result = sums[0, last] - sums[0, first] - p_e1[i] * (sums[1, last] - sums[1, first])
            power = 1.0
            for k in range(1, terms + 1):
                power *= q_e1[i]
                ratio = sums[k + 1, last] - sums[k + 1, first]
                result -= power / k * (ratio - p_e1[i] * (sums[k + 2, last] - sums[k + 2, first]))
            total[i] = result
        start = stop
