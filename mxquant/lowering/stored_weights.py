"""The weights that an int8 layer computes with: how MXNet and oneDNN round them.

Where sums of products may saturate, oneDNN halves the weights of a convolution on int8 data; elsewhere it does not. A
weight w of a channel whose largest magnitude is M has the value ::

    halved   2 q · M / 127.5,  q = round(w · 63.75 / M)  from -64 to 64
    whole      q · M / 127.5,  q = round(w · 127.5 / M)  from -128 to 127

Plans for CPUs where sums may saturate, and for all, make weights the same on both sides, as far as they can:

* beside a channel of zeros (:mod:`mxquant.lowering.rest_channel`) weights have even codes, M the code 126;
* without one they have even codes but for M itself (:mod:`mxquant.lowering.even_weights`), which is 127 or 128 steps
  where it is positive. What is computed from weights, such as biases, takes the mean of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Tuple

import numpy as np

from mxquant.lowering import saturation
from mxquant.lowering.quantized_params import INT8_RANGE, largest_magnitude, quantize_int8
from mxquant.plan import LayerPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "EVEN",
    "HALVED",
    "NEARLY_EVEN",
    "end_of_even",
    "int8_weight",
    "is_halved",
    "is_symmetric",
    "stored_weights",
    "sums_in_memory",
    "weight_sums",
]

# Values of a plan's weight_codes: the code of the largest weight where oneDNN halves them; even codes, with which it
# does not matter whether it does; and even codes of all weights but the largest.
HALVED, EVEN, NEARLY_EVEN = 64, 126, 125


def is_halved(codes: Optional[int]) -> bool:
    """Whether weights of these codes are stored in steps of two."""
    return codes in (HALVED, EVEN, NEARLY_EVEN)


def is_symmetric(target: str) -> bool:
    """Whether codes of weights are symmetric, from -127 to 127, as ONNX runtimes like them."""
    return target == "onnx_qdq"


def stored_weights(
    weight: NDArray[Any], codes: int, granularity: Optional[str], symmetric: bool = False
) -> Tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the codes that a convolution's weights are stored in, and their steps.

    Parameters
    ----------
    weight : numpy.ndarray
        float32, shape (O, ...).
    codes : int
        The plan's weight_codes: 127, 64 where oneDNN halves them, 126 or 125 where it may.
    granularity : {'tensor-wise', 'channel-wise'}
        Whether all channels have one step.
    symmetric : bool
        Whether -127 is the smallest code. The largest weight is half a step from it, as it is from -128.

    Returns
    -------
    tuple of numpy.ndarray
        Codes in the shape of `weight`, whole numbers but for the largest of nearly even ones; the value of one code,
        shape (O,).
    """
    rows = weight.reshape(len(weight) if granularity == "channel-wise" else 1, -1)
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    if codes == EVEN:
        steps = np.where(largest > 0, largest, 1) / (EVEN // 2)
        stored = np.rint(rows / steps[:, None])
        return stored.reshape(weight.shape), np.broadcast_to(np.where(largest > 0, steps, 0), (len(weight),))
    steps = largest / INT8_RANGE
    stored = (saturation.halved_weight_codes if codes == HALVED else saturation.weight_codes)(rows).astype(np.float64)
    if codes == NEARLY_EVEN:
        stored = (stored / 2 + saturation.halved_weight_codes(rows)) / 2
    steps = steps * 2 if is_halved(codes) else steps
    stored = np.maximum(stored, -127) if symmetric else stored
    return stored.reshape(weight.shape), np.broadcast_to(steps, (len(weight),))


def end_of_even(weight: NDArray[Any]) -> NDArray[np.float32]:
    """Return the magnitude, shape (O,), that defines the steps of even codes: 127.5 steps."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    return np.asarray(largest * (INT8_RANGE / EVEN), np.float32)


def sums_in_memory(weight: NDArray[Any], layer: LayerPlan) -> NDArray[np.float64]:
    """Return the sum of each output channel's weights, shape (O,), as they are given to a convolution of MXNet's."""
    # Even codes lie beside the weight that defines their steps: what MXNet makes of them is the same on all CPUs.
    codes = NEARLY_EVEN if layer.weight_codes == EVEN else layer.weight_codes or 127
    return weight_sums(*stored_weights(weight, codes, layer.granularity))


def weight_sums(stored: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each output channel's weights, shape (O,), from what :func:`stored_weights` returns."""
    sums: NDArray[np.float64] = stored.reshape(len(stored), -1).sum(axis=1) * steps
    return sums


def int8_weight(op: str, weight: NDArray[Any], layer: LayerPlan, symmetric: bool = False) -> NDArray[np.float64]:
    """Return the real values that an int8 layer computes with.

    Parameters
    ----------
    op : {'Convolution', 'FullyConnected'}
        The layer's operator.
    weight : numpy.ndarray
        Its fp32 weight, shape (O, ...).
    layer : LayerPlan
        Its plan.
    symmetric : bool
        As for :func:`stored_weights`.

    Returns
    -------
    numpy.ndarray
        The shape of `weight`.
    """
    codes = layer.weight_codes or 127
    if op == "FullyConnected" and layer.granularity == "tensor-wise":
        return quantize_int8(weight, codes)[0] * np.float64(largest_magnitude(weight) / codes)
    stored, steps = stored_weights(weight, codes, layer.granularity, symmetric)
    return stored * steps.reshape((-1,) + (1,) * (weight.ndim - 1))
