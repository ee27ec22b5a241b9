"""Tensors that vanish in int8: not zeros, but so small that products of their scales leave the range of float32.

Activations whose largest magnitude is below 1e-12, denormal ones among them, would all become the code 0, without a
word. A layer that reads or makes such a tensor, or has such weights, stays float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Optional

import numpy as np

from mxquant.graph import Network, Node
from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD

if TYPE_CHECKING:
    from mxquant.lowering.target import Int8Operator
    from mxquant.stats import Histogram

__all__ = ["VANISHES", "vanishing"]

VANISHES = "int8 would take for zeros"


def vanishing(
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
        The tensor, how small it is, and what to do about it.
    """
    tensors = [node.inputs[slot] for slot in operator.data]
    if operator.output == "own" and not operator.float_output:
        tensors.append(node.output)
    for tensor in tensors:
        histogram = statistics.get(tensor.name)
        if histogram is None or tensor.node.name in network.params:
            continue
        largest = max(-histogram.minimum, histogram.maximum)
        if 0 < largest < SMALLEST_THRESHOLD:
            return f"no value of '{tensor.name}' is above {largest:.3g}, which {VANISHES}; scale it up for int8"
    weight = network.params.get(node.inputs[1].node.name) if operator.must and len(node.inputs) > 1 else None
    largest = float(np.abs(weight).max()) if weight is not None and weight.size else 0.0
    if 0 < largest < SMALLEST_THRESHOLD:
        return f"no value of its weight is above {largest:.3g}, which {VANISHES}; scale it up for int8"
    return None
