"""Zero points in biases: how MXNet's symmetric operators compute with a tensor that has one.

A tensor y with the zero point -128 is stored as y - 128 s, s being its scale. The layer that makes it takes 128 s from
its bias. The layer that reads it adds 128 s times the sum of its weights, as the int8 operator rounds them. Its data
must not be padded, since padding is 0, which stands for 128 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import numpy as np

from mxquant.plan import TensorPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bias_shift"]


def bias_shift(
    sums: NDArray[np.float64], data: Optional[TensorPlan], result: Optional[TensorPlan]
) -> Optional[NDArray[np.float64]]:
    """Return what has to be added to the bias of a convolution for the zero points of its data and its result.

    Parameters
    ----------
    sums : numpy.ndarray
        The sum of its weights, as the operator rounds them, for each output channel, shape (O,).
    data, result : TensorPlan or None
        What it reads and makes; None for a tensor without a plan.

    Returns
    -------
    numpy.ndarray or None
        Shape (O,); None where there are no zero points.
    """
    shift = np.zeros(len(sums))
    if data is not None and data.zero_point and data.scale is not None:
        shift -= data.zero_point * data.scale * sums
    if result is not None and result.zero_point and result.scale is not None:
        shift += result.zero_point * result.scale
    return shift if shift.any() else None
