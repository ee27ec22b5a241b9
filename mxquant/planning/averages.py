"""Averages that int8 loses: those over all places of an image that are small beside the values themselves.

A pooling keeps the step s of its data, so that averages y are rounded to it, with a noise of s² / 12 each::

    SQNR = 12 E[y²] / s²,   s = max |x| / 127, or (max x - min x) / 255 with the right zero point

Where values of both signs cancel out, as behind a convolution without ReLU, a handful of codes is left of averages.
Below 20 dB such a pooling stays float32: it has few results, and its data need no code for them.

Source: the model of uniform noise, B. Widrow and I. Kollár, 'Quantization Noise', 2008, chapter 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Mapping, Optional

import numpy as np

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool
from mxquant.planning.noise import DataMoments

if TYPE_CHECKING:
    from mxquant.stats import Histogram

__all__ = ["lost_average"]

_LEAST_DB = 20.0
_SHAPED = ("Flatten", "Reshape", "reshape", "squeeze")


def lost_average(
    network: Network, node: Node, statistics: Mapping[str, Histogram], any_zero_point: bool
) -> Optional[str]:
    """Return why a pooling is better left in float32, or None if it may run in int8.

    Parameters
    ----------
    network : Network
        A prepared fp32 network.
    node : Node
        One of its operators.
    statistics : mapping of str to Histogram
        Calibration by tensor name.
    any_zero_point : bool
        Whether data with negative values may have a zero point.

    Returns
    -------
    str or None
        How few decibels int8 would leave.
    """
    if node.op != "Pooling" or node.attrs.get("pool_type") != "avg" or not read_bool(node, "global_pool", False):
        return None
    data = statistics.get(node.inputs[0].name)
    found = [statistics[name] for name in _names(network, node.output) if name in statistics]
    if data is None or not found:
        return None
    largest = max(-data.minimum, data.maximum)
    reach = max(data.maximum, 0.0) - min(data.minimum, 0.0)
    step = reach / 255 if data.minimum >= 0 or any_zero_point else largest / 127
    power = DataMoments.of(found[0]).square
    if not 0 < step < np.inf or not 0 < power < np.inf:
        return None
    level = 10 * (np.log10(12) + np.log10(power) - 2 * np.log10(step))
    if level >= _LEAST_DB:
        return None
    return f"its averages are so small beside values of {largest:.3g} that int8 would leave {level:.0f} dB of them"


def _names(network: Network, tensor: Tensor) -> List[str]:
    """Return the names of a tensor, and of what has the same values in another shape."""
    readers: Dict[Tensor, List[Node]] = {}
    for node in network.graph.operators:
        if node.op in _SHAPED:
            readers.setdefault(node.inputs[0], []).append(node)
    tensors = [tensor]
    for each in tensors:
        tensors += [node.output for node in readers.get(each, [])]
    return [each.name for each in tensors]
