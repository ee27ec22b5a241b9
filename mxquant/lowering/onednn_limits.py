"""What each int8 layer of oneDNN may be given so that its sums of products cannot saturate.

Without VNNI oneDNN adds pairs of products in int16; which, and when they saturate, tells
:mod:`mxquant.lowering.saturation`. Per layer the bits that have to go are few:

* uint8 data: the codes of the data end where the worst pair of this layer's own weights would overflow;
* int8 data of a convolution: nothing; oneDNN halves the weights by itself;
* int8 data of a FullyConnected: the weights get one scale, the largest that no pair can overflow with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Tuple

import numpy as np

from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_int
from mxquant.lowering import saturation
from mxquant.lowering.isa import saturates
from mxquant.lowering.quantized_params import INT8_RANGE, quantize_int8

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HALVED", "safe_data_codes", "stored_weights", "weight_codes"]

# The code of the largest weight where oneDNN halves them.
HALVED = 64
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
    forms = [saturation.weight_codes(weight)] if granularity != "tensor-wise" else []
    if granularity != "channel-wise" and (node.op != "_sg_mkldnn_conv" or groups != 1):
        forms.append(quantize_int8(weight)[0])
    return min(saturation.largest_safe_code(codes, groups) for codes in forms)


def _groups(node: Node) -> int:
    return read_int(node.subgraphs[0].operators[0], "num_group", 1)


def _has_kernel(node: Node, shape: Tuple[int, ...]) -> bool:
    """Whether oneDNN compiles a kernel for a convolution; on AVX2 it computes the others exactly, halving nothing."""
    groups = _groups(node)
    if groups == 1 or (len(shape) == 4 and shape[:2] == (groups, 1)):
        return True
    return shape[0] // groups % 4 == 0 and shape[1] % 4 == 0


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
        127, 64 where oneDNN halves the weights, or what no pair of weights can overflow with.
    """
    if node.op not in _PAIRED or dtype == "uint8" or not saturates(isa):
        return 127
    weight = network.params[node.inputs[1].node.name]
    if node.op == "_sg_mkldnn_conv":
        return HALVED if isa != "avx2" or _has_kernel(node, weight.shape) else 127
    safe = (codes for codes in range(127, 63, -1) if saturation.weights_safe_at(quantize_int8(weight, codes)[0], 255))
    return next(safe, 63)


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
