"""Parameters as int8, with one symmetric range per tensor, rounded as oneDNN rounds.

For a tensor of largest magnitude M::

    q = round(x · 127 / M)        to nearest, halves to even, in float32

MXNet reads a range of ±R as R = 127.5 codes, so the range that goes with these codes is R = M · 127.5 / 127.

A tensor of zeros gets the smallest range that keeps products of scales within float32. Any wider one may make MXNet's
FullyConnected, which looks at the range of its bias alone, believe that a bias of zeros overflows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence, Tuple

import numpy as np

from mxquant.plan import TensorPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "INT8_RANGE",
    "LARGEST_THRESHOLD",
    "SMALLEST_STEP",
    "SMALLEST_THRESHOLD",
    "UINT8_RANGE",
    "joined_range",
    "largest_magnitude",
    "parameter_range",
    "quantize_int8",
    "range_end",
]

# The codes, half ones too, that MXNet means by the end of a range.
INT8_RANGE, UINT8_RANGE = 127.5, 255.5

# Step of the weights of a channel that has none but zeros.
SMALLEST_STEP = 1e-9

# Below this, 127 / threshold and its products with other scales leave the range of float32.
SMALLEST_THRESHOLD = 1e-12
# Above this, what the codes stand for may do so.
LARGEST_THRESHOLD = 1e37


def quantize_int8(values: NDArray[Any], codes: int = 127) -> Tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Quantize a parameter.

    Parameters
    ----------
    values : numpy.ndarray
        float32, any shape.
    codes : int
        The code of its largest magnitude.

    Returns
    -------
    tuple of numpy.ndarray
        Codes (int8, the shape of `values`); the range's lower and upper end (float32, shape (1,)).
    """
    values = np.asarray(values, dtype=np.float32)
    largest = np.float32(largest_magnitude(values))
    end = np.array([parameter_range(values, codes)], dtype=np.float32)
    return np.rint(values * (np.float32(codes) / largest)).astype(np.int8), -end, end


def parameter_range(values: NDArray[Any], codes: int = 127) -> float:
    """Return the end of the range that goes with the codes of a parameter."""
    return float(np.float32(largest_magnitude(values)) * np.float32(INT8_RANGE / codes))


def largest_magnitude(values: NDArray[Any]) -> float:
    """Return the threshold of a parameter: its largest magnitude, a float32 number above 0."""
    largest = float(np.abs(values).max()) if values.size else 0.0
    return max(largest, SMALLEST_THRESHOLD)


def range_end(plan: TensorPlan) -> float:
    """Return the end of a tensor's range as MXNet states it, a float32 number.

    Nine digits tell float32 numbers apart. Those of a number between two of them may name the farther one.
    """
    assert plan.scale is not None
    return float(np.float32(plan.scale * (UINT8_RANGE if plan.dtype == "uint8" else INT8_RANGE)))


def joined_range(inputs: Sequence[TensorPlan], dtype: str) -> Tuple[float, int]:
    """Return the range that MXNet's int8 Concat gives its result, the widest of its inputs'.

    Parameters
    ----------
    inputs : sequence of TensorPlan
        Plans of its inputs, all with a threshold.
    dtype : {'int8', 'uint8'}
        Type of the result.

    Returns
    -------
    tuple of float and int
        Threshold and codes.
    """
    widest = max(inputs, key=range_end)
    assert widest.threshold is not None and widest.codes is not None
    if widest.dtype == dtype:
        return widest.threshold, widest.codes
    return range_end(widest), 127
