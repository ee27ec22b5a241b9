"""The one loop over all activations: for each value, find its bin and count it; NumPy would take several passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mxquant._compiled import compiled, numba

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count_float32"]

_VALUES = numba.types.Array(numba.float32, 1, "C", readonly=True)


@compiled(numba.int64(_VALUES, numba.float64, numba.int64, numba.int64[::1]))
def count_float32(values: NDArray[np.float32], scale: float, first: int, counts: NDArray[np.int64]) -> int:
    """Count values on a grid.

    Parameters
    ----------
    values : numpy.ndarray of float32, shape (n,)
        Finite values.
    scale : float
        1 / bin width, a power of two.
    first : int
        Number of the bin that ``counts[0]`` counts.
    counts : numpy.ndarray of int64
        Reaches to the bin of the largest value; is added to.

    Returns
    -------
    int
        How many of the values are zero.
    """
    zeros = 0
    for value in values:
        quotient = np.float64(value) * scale
        whole = int(quotient)
        if whole > quotient:
            whole -= 1
        counts[whole - first] += 1
        zeros += value == 0
    return zeros
