"""The weights that an int8 layer computes with: how MXNet and oneDNN round them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Tuple

import numpy as np

from mxquant.lowering import saturation
from mxquant.lowering.quantized_params import INT8_RANGE, largest_magnitude, quantize_int8
from mxquant.plan import LayerPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HALVED", "int8_weight", "stored_weights", "weight_sums"]

# The code of the largest weight where oneDNN halves them.
HALVED = 64


def stored_weights(
    weight: NDArray[Any], codes: int, granularity: Optional[str]
) -> Tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the codes that a convolution's weights are stored in, and their steps.

    Parameters
    ----------
    weight : numpy.ndarray
        float32, shape (O, ...).
    codes : int
        The plan's weight_codes: 127, or 64 where oneDNN halves them.
    granularity : {'tensor-wise', 'channel-wise'}
        Whether all channels have one step.

    Returns
    -------
    tuple of numpy.ndarray
        Codes, whole numbers in the shape of `weight`; the value of one code, shape (O,).
    """
    rows = weight.reshape(len(weight) if granularity == "channel-wise" else 1, -1)
    steps = np.abs(rows).max(axis=1).astype(np.float64) / INT8_RANGE
    halved = codes == HALVED
    stored = saturation.halved_weight_codes(rows) if halved else saturation.weight_codes(rows)
    return stored.astype(np.float64).reshape(weight.shape), np.broadcast_to(steps * (1 + halved), (len(weight),))


def weight_sums(stored: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each output channel's weights, shape (O,), from what :func:`stored_weights` returns."""
    sums: NDArray[np.float64] = stored.reshape(len(stored), -1).sum(axis=1) * steps
    return sums


def int8_weight(op: str, weight: NDArray[Any], layer: LayerPlan) -> NDArray[np.float64]:
    """Return the real values that an int8 layer computes with.

    Parameters
    ----------
    op : {'Convolution', 'FullyConnected'}
        The layer's operator.
    weight : numpy.ndarray
        Its fp32 weight, shape (O, ...).
    layer : LayerPlan
        Its plan.

    Returns
    -------
    numpy.ndarray
        The shape of `weight`.
    """
    codes = layer.weight_codes or 127
    if op == "FullyConnected" and layer.granularity == "tensor-wise":
        return quantize_int8(weight, codes)[0] * np.float64(largest_magnitude(weight) / codes)
    stored, steps = stored_weights(weight, codes, layer.granularity)
    return stored * steps.reshape((-1,) + (1,) * (weight.ndim - 1))
