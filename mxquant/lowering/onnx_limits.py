"""What an int8 layer may be given so that it cannot saturate in ONNX Runtime and OpenVINO on a CPU without VNNI.

Both multiply uint8 data by int8 weights with ``vpmaddubsw`` there, which adds two neighbouring products in int16; see
:mod:`mxquant.lowering.saturation`. OpenVINO's neighbours are those of oneDNN. ONNX Runtime makes a convolution a
product of matrices whose rows hold all channels of the first place of the kernel, then those of the next: with an odd
number of channels other weights are neighbours. Both bounds hold. Signed data are stored as uint8 with the zero point
128, so that all 255 codes occur: weights lose every second code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_int
from mxquant.graph.kinds import LINEAR
from mxquant.lowering import saturation
from mxquant.lowering.isa import saturates
from mxquant.lowering.pairs import PairExcess
from mxquant.lowering.stored_weights import HALVED

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pair_excess", "safe_data_codes", "weight_codes"]


def safe_data_codes(network: Network, node: Node, isa: str) -> int:
    """Return the largest uint8 code of its data with which a layer cannot saturate: 255, or less.

    Parameters
    ----------
    network : Network
        The grouped fp32 network.
    node : Node
        One of its operators.
    isa : str
        Level of the CPU's int8 instructions.
    """
    if node.op not in LINEAR or not saturates(isa) or _is_depthwise(network, node):
        return 255
    weight = network.params[node.inputs[1].node.name]
    return min(
        saturation.safe_code_of_weights(each, n) for each, n in ((weight, _groups(node)), (_by_place(weight), 1))
    )


def pair_excess(network: Network, node: Node, isa: str) -> Optional[PairExcess]:
    """Return the pairs of weights that limit the codes of a layer's data, where they are those of oneDNN alone."""
    if node.op not in LINEAR or not saturates(isa) or _groups(node) != 1:
        return None
    weight = network.params[node.inputs[1].node.name]
    return PairExcess.of(weight) if weight.ndim == 2 or weight.shape[1] % 2 == 0 else None


def weight_codes(network: Network, node: Node, dtype: str, isa: str) -> int:
    """Return the code of its largest weight with which a layer cannot saturate on data of type `dtype`: 127, or 64."""
    if node.op not in LINEAR or dtype == "uint8" or not saturates(isa) or _is_depthwise(network, node):
        return 127
    return HALVED


def _groups(node: Node) -> int:
    return read_int(node, "num_group", 1)


def _is_depthwise(network: Network, node: Node) -> bool:
    """Whether each product has the sum to itself, in kernels that add in int32."""
    return _groups(node) > 1 and network.params[node.inputs[1].node.name].shape[1] == 1


def _by_place(weight: NDArray[Any]) -> NDArray[Any]:
    """Return weights in the order of a row of ONNX Runtime's matrix: by place of the kernel, then by channel."""
    return np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
