"""Weights of even codes, but for the largest: nearly the same whether oneDNN halves them or not.

A convolution on int8 data has its weights halved where sums of products may saturate, and whole elsewhere; see
:mod:`mxquant.lowering.stored_weights`. A weight of the code 2k becomes k there, with a step of twice the value. So
every weight of a channel gets the nearest even code, up to ±126. The largest, which defines the step, is -128 on both
sides where it is negative. A positive one is 127 steps or 128: it is taken for 127.5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxquant.lowering.pairs import nearest_codes
from mxquant.lowering.saturation import halved_weight_codes, weight_codes
from mxquant.lowering.weight_grid import WeightGrid
from mxquant.plan import LayerPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["even_weight"]


def even_weight(op: str, weight: NDArray[Any], layer: LayerPlan) -> Optional[NDArray[np.float32]]:
    """Return weights of which a CPU halves all but the largest without a loss.

    Parameters
    ----------
    op : str
        The layer's operator.
    weight : numpy.ndarray
        float32, shape (O, ...).
    layer : LayerPlan
        Its plan.

    Returns
    -------
    numpy.ndarray or None
        The shape of `weight`; None where all codes are even.
    """
    # One scale for all is that of a single channel.
    rows = weight.reshape(len(weight) if layer.granularity == "channel-wise" else 1, -1)
    odd = weight_codes(rows).astype(np.int64) != 2 * halved_weight_codes(rows).astype(np.int64)
    # The largest of a channel has no even code where it is positive.
    largest = np.abs(rows).argmax(axis=1)[:, None]
    negative = np.take_along_axis(rows, largest, axis=1) < 0
    np.put_along_axis(odd, largest, np.take_along_axis(odd, largest, axis=1) & negative, axis=1)
    some = np.flatnonzero(odd.any(axis=1))
    if not len(some):
        return None
    grid = WeightGrid.of(op, rows[some], replace(layer, granularity="channel-wise"))
    result = rows.astype(np.float32)
    result[some] = grid.weights(nearest_codes(grid.original, grid.steps, grid.fixed, (grid.low, grid.high)))
    return result.reshape(weight.shape)
