"""Tensors that int8 loses: not zeros, but so small, or so large, that their scales leave the range of float32.

Activations whose largest magnitude is below 1e-12, denormal ones among them, would all become the code 0, without a
word; what their codes stand for may be infinite where it is above 1e37. A layer that reads or makes such a tensor, or
has such weights, stays float32. A bias is a whole number in the unit of data times weights; where a channel has no
weights but zeros, their step is taken for 1e-9, and on data of 1e8 the bias would become 0. A bias below 1e-12 may
become 0 by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Optional

import numpy as np

from mxquant.graph import Network, Node
from mxquant.lowering.quantized_params import LARGEST_THRESHOLD, SMALLEST_STEP, SMALLEST_THRESHOLD
from mxquant.lowering.target import observed_tensors

if TYPE_CHECKING:
    from mxquant.lowering.target import Int8Operator
    from mxquant.stats import Histogram

__all__ = ["LOST", "lost_in_int8"]

LOST = "int8 would lose"


def lost_in_int8(
    network: Network, node: Node, operator: Int8Operator, statistics: Mapping[str, Histogram]
) -> Optional[str]:
    """Return why a layer loses all that it computes in int8, or None if it does not.

    Parameters
    ----------
    network : Network
        A prepared fp32 network.
    node : Node
        One of its operators.
    operator : Int8Operator
        How it would run in int8.
    statistics : mapping of str to Histogram
        Calibration by tensor name.

    Returns
    -------
    str or None
        The tensor, how small or large it is, and what to do about it.
    """
    for tensor in observed_tensors(node, operator):
        histogram = statistics.get(tensor.name)
        if histogram is None or tensor.node.name in network.params:
            continue
        lost = _lost(f"'{tensor.name}'", max(-histogram.minimum, histogram.maximum))
        if lost:
            return lost
    weight = network.params.get(node.inputs[1].node.name) if operator.must and len(node.inputs) > 1 else None
    if weight is None or not weight.size:
        return None
    return _lost("its weight", float(np.abs(weight).max())) or _lost_bias(network, node, statistics)


def _lost_bias(network: Network, node: Node, statistics: Mapping[str, Histogram]) -> Optional[str]:
    """Return why a layer loses the bias of channels without weights: its unit is larger than a code of the result."""
    data, result = (statistics.get(tensor.name) for tensor in (node.inputs[0], node.output))
    bias = network.params.get(node.inputs[2].node.name) if len(node.inputs) > 2 else None
    weight = network.params[node.inputs[1].node.name]
    if data is None or result is None or bias is None or bias.shape != weight.shape[:1]:
        return None
    empty = np.abs(weight.reshape(len(weight), -1)).max(axis=1) < 127 * SMALLEST_STEP
    unit = SMALLEST_STEP * max(-data.minimum, data.maximum) / 127
    step = max(-result.minimum, result.maximum) / 127
    if unit <= step or not bias[empty].any():
        return None
    return f"channels of it have a bias and no weights, which {LOST} on data of {127 * unit / SMALLEST_STEP:.3g}"


def _lost(what: str, largest: float) -> Optional[str]:
    if 0 < largest < SMALLEST_THRESHOLD:
        return f"no value of {what} is above {largest:.3g}, which {LOST}; scale it up for int8"
    if largest > LARGEST_THRESHOLD:
        return f"{what} has a value of {largest:.3g}, which {LOST}; scale it down for int8"
    return None
