"""Parameters as int8, with one symmetric range per tensor, rounded as oneDNN rounds.

For a tensor of largest magnitude M::

    q = round(x · 127 / M)        to nearest, halves to even, in float32

A tensor of zeros gets the smallest range that keeps products of scales within float32. Any wider one may make MXNet's
FullyConnected, which looks at the range of its bias alone, believe that a bias of zeros overflows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SMALLEST_THRESHOLD", "largest_magnitude", "quantize_int8"]

# Below this, 127 / threshold and its products with other scales leave the range of float32.
SMALLEST_THRESHOLD = 1e-12


def quantize_int8(values: NDArray[Any]) -> Tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Quantize a parameter.

    Parameters
    ----------
    values : numpy.ndarray
        float32, any shape.

    Returns
    -------
    tuple of numpy.ndarray
        Codes (int8, the shape of `values`); the range's lower and upper end (float32, shape (1,)).
    """
    values = np.asarray(values, dtype=np.float32)
    largest = np.float32(largest_magnitude(values))
    codes = np.rint(values * (np.float32(127) / largest)).astype(np.int8)
    return codes, np.array([-largest], dtype=np.float32), np.array([largest], dtype=np.float32)


def largest_magnitude(values: NDArray[Any]) -> float:
    """Return the threshold of a parameter: its largest magnitude, a float32 number above 0."""
    largest = float(np.abs(values).max()) if values.size else 0.0
    return max(largest, SMALLEST_THRESHOLD)
