"""The one loop over all activations, compiled: for each value, find its bin and count it.

NumPy takes several passes for this, at twice the time. The machine code is kept on disk by Numba, beside this file or
in the user's cache, so that only the first calibration after an installation waits for the compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count_float32"]

_VALUES = numba.types.Array(numba.float32, 1, "C", readonly=True)
_SIGNATURE = numba.int64(_VALUES, numba.float64, numba.int64, numba.int64[::1])


def _count(values: NDArray[Any], scale: float, first: int, counts: NDArray[Any]) -> int:
    zeros = 0
    for value in values:
        quotient = np.float64(value) * scale
        whole = int(quotient)
        if whole > quotient:
            whole -= 1
        counts[whole - first] += 1
        zeros += value == 0
    return zeros


def _compiled() -> Any:
    try:
        return numba.njit(_SIGNATURE, nogil=True, cache=True)(_count)
    except RuntimeError:  # no folder to keep the code in
        return numba.njit(_SIGNATURE, nogil=True)(_count)


_KERNEL = _compiled()


def count_float32(values: NDArray[np.float32], scale: float, first: int, counts: NDArray[np.int64]) -> int:
    """Count values on a grid, without holding the interpreter's lock.

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
    return int(_KERNEL(values, scale, first, counts))
