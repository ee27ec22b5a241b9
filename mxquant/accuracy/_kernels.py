"""The compiled loops of adaptive rounding; see :mod:`mxquant.accuracy.rounding`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mxquant.runtime.compiled import compiled, numba

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["descend"]

_Codes, _Floats3, _Gram = numba.int64[:, :, ::1], numba.float64[:, :, ::1], numba.float32[:, :, ::1]


@compiled(
    numba.void(
        _Codes,
        _Floats3,
        numba.float64[:, ::1],
        _Gram,
        _Floats3,
        numba.boolean[:, :, ::1],
        numba.int64[::1],
        numba.int64[::1],
        numba.int64,
        numba.int64,
    )
)
def descend(
    codes: NDArray[Any],
    weights: NDArray[Any],
    steps: NDArray[Any],
    gram: NDArray[Any],
    slopes: NDArray[Any],
    fixed: NDArray[Any],
    partner: NDArray[Any],
    bounds: NDArray[Any],
    begin: int,
    end: int,
) -> None:
    """Improve the codes of the channels `begin` to `end`, counted over all groups, one coordinate after the other.

    Parameters
    ----------
    codes : numpy.ndarray of int64, shape (G, O, K)
        Start and result.
    weights, steps, fixed
        As for :class:`mxquant.accuracy.rounding.Rounding`; float64, and bool.
    gram : numpy.ndarray of float32, shape (G, K, K)
        Covariance of the data.
    slopes : numpy.ndarray of float64, shape (G, O, K)
        Half the derivative of the error by the code, over the step; kept up to date.
    partner : numpy.ndarray of int64, shape (K,)
        Position of the neighbour of each weight, or -1.
    bounds : numpy.ndarray of int64
        Lowest code, highest code, largest sum of a pair, and number of sweeps.
    begin, end : int
        Which channels.
    """
    channels, columns = codes.shape[1], codes.shape[2]
    low, high, limit, sweeps = bounds[0], bounds[1], bounds[2], bounds[3]
    for index in range(begin, end):
        group, channel = index // channels, index % channels
        step = steps[group, channel]
        if step <= 0.0:
            continue
        q, w, h, slope = codes[group, channel], weights[group, channel], gram[group], slopes[group, channel]
        for _ in range(sweeps):
            changed = 0
            for k in range(columns):
                if fixed[group, channel, k] or h[k, k] <= 0.0:
                    continue
                near = w[k] / step
                least = min(max(low, math.ceil(near - 1.0)), q[k])
                most = max(min(high, math.floor(near + 1.0)), q[k])
                if partner[k] >= 0:
                    other = q[partner[k]]
                    if other > 0:
                        most = min(most, limit - other)
                    elif other < 0:
                        least = max(least, -limit - other)
                best = round(q[k] - slope[k] / (step * h[k, k]))
                best = min(max(best, least), most)
                if best == q[k]:
                    continue
                value = step * (best - q[k])
                for j in range(columns):
                    slope[j] += value * h[k, j]
                q[k] = best
                changed += 1
            if 100 * changed < columns:
                break
