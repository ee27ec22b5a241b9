"""What each int8 layer of oneDNN may be given so that its sums of products cannot saturate.

Without VNNI oneDNN adds pairs of products in int16; which, and when they saturate, tells
:mod:`mxquant.lowering.saturation`. Per layer the bits that have to go are few:

* uint8 data: the codes of the data end where the worst pair of this layer's own weights would overflow;
* int8 data of a convolution: every second code of the weights, since oneDNN halves them by itself;
* int8 data of a FullyConnected: the weights get one scale, the largest that no pair can overflow with.
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_int
from mxquant.lowering import saturation
from mxquant.lowering.isa import saturates
from mxquant.lowering.pairs import PairExcess
from mxquant.lowering.quantized_params import quantize_int8
from mxquant.lowering.stored_weights import EVEN

__all__ = ["pair_excess", "safe_data_codes", "weight_codes"]

# A channel with a smaller largest weight has codes in float32's denormals.
_SMALLEST = 1e-30
_PAIRED = ("_sg_mkldnn_conv", "_sg_mkldnn_fully_connected")


def safe_data_codes(network: Network, node: Node, isa: str, granularity: Optional[str] = None) -> int:
    """Return the largest uint8 code of its data with which a layer cannot saturate.

    Parameters
    ----------
    network : Network
        The fused fp32 network.
    node : Node
        One of its operators.
    isa : str
        Level of the CPU's int8 instructions.
    granularity : {'tensor-wise', 'channel-wise', None}
        Whether its weights have one scale; None for what is safe with either.

    Returns
    -------
    int
        255, or less where the layer would saturate.
    """
    if node.op not in _PAIRED or not saturates(isa):
        return 255
    weight, groups = network.params[node.inputs[1].node.name], _groups(node)
    # All weights may get one scale in a FullyConnected, and do in convolutions of some groups.
    safe = [saturation.safe_code_of_weights(weight, groups)] if granularity != "tensor-wise" else []
    if granularity != "channel-wise" and (node.op != "_sg_mkldnn_conv" or groups != 1):
        safe.append(saturation.largest_safe_code(quantize_int8(weight)[0], groups))
    return min(safe)


def pair_excess(network: Network, node: Node, isa: str) -> Optional[PairExcess]:
    """Return the pairs of weights that limit the codes of a layer's data.

    Parameters
    ----------
    network : Network
        The fused fp32 network.
    node : Node
        One of its operators, whose weights have a step for each output channel.
    isa : str
        Level of the CPU's int8 instructions.

    Returns
    -------
    PairExcess or None
        None where nothing saturates, or weights cannot be made smaller: in groups, or where they are too small for
        float32 to tell their codes apart.
    """
    if node.op not in _PAIRED or not saturates(isa) or (node.op == "_sg_mkldnn_conv" and _groups(node) != 1):
        return None
    weight = network.params[node.inputs[1].node.name]
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    return PairExcess.of(weight) if (largest[largest > 0] > _SMALLEST).all() else None


def _groups(node: Node) -> int:
    return read_int(node.subgraphs[0].operators[0], "num_group", 1)


def weight_codes(network: Network, node: Node, dtype: str, granularity: str, isa: str) -> int:
    """Return the code of its largest weight with which a layer cannot saturate.

    Parameters
    ----------
    network : Network
        The fused fp32 network.
    node : Node
        An operator with int8 weights.
    dtype : {'int8', 'uint8'}
        Type of its data.
    granularity : {'tensor-wise', 'channel-wise'}
        Whether its weights have one scale or one per output channel.
    isa : str
        Level of the CPU's int8 instructions.

    Returns
    -------
    int
        127; 126 for even codes, which stay what they are where oneDNN halves weights; or what no pair of weights can
        overflow with. MXNet itself makes the codes of channel-wise weights, so that they end at 127 or are not safe:
        63, which no pair overflows with.
    """
    if node.op not in _PAIRED or dtype == "uint8" or not saturates(isa):
        return 127
    weight = network.params[node.inputs[1].node.name]
    if node.op == "_sg_mkldnn_conv":
        return EVEN
    if granularity == "channel-wise":
        return 127 if saturation.safe_code_of_weights(weight) >= 255 else 63
    first = saturation.most_codes(weight)
    safe = (codes for codes in range(first, 63, -1) if saturation.weights_safe_at(quantize_int8(weight, codes)[0], 255))
    return next(safe, 63)
