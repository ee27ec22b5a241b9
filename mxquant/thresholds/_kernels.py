"""The one loop over all merged bins of the entropy search; see :mod:`mxquant.thresholds.divergence`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mxquant._compiled import compiled, numba

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["strided_sums"]


@compiled(numba.void(numba.float64[::1], numba.float64[::1], numba.int64, numba.int64, numba.float64[:, ::1]))
def strided_sums(counts: NDArray[Any], nonzero: NDArray[Any], low: int, m: int, sums: NDArray[Any]) -> None:
    """Add up functions of the merged bins [t, t+m), t = low, low + 1, ..., in steps of m.

    With S the sum and n the non-zero count of the bin at low + t, ``sums[k, t + m] = sums[k, t] + f_k`` where
    f_0 = S log(S/n), f_1 = n log(S/n), and f_k = n (n/S)^(k-2) for k >= 2; all are 0 for an empty bin.

    Parameters
    ----------
    counts, nonzero : numpy.ndarray of float64
        Cumulative counts and numbers of non-zero bins.
    low : int
        The first bin.
    m : int
        Width of a merged bin.
    sums : numpy.ndarray of float64, shape (kinds, m + bins)
        The result; its first m columns have to be 0.
    """
    kinds = sums.shape[0]
    for t in range(sums.shape[1] - m):
        mass = counts[low + t + m] - counts[low + t]
        present = nonzero[low + t + m] - nonzero[low + t]
        if mass == 0:
            for k in range(kinds):
                sums[k, t + m] = sums[k, t]
            continue
        log = math.log(mass / present)
        sums[0, t + m] = sums[0, t] + mass * log
        sums[1, t + m] = sums[1, t] + present * log
        value = present
        for k in range(2, kinds):
            sums[k, t + m] = sums[k, t] + value
            value *= present / mass
