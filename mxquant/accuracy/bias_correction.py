"""Analytic bias correction: what rounded weights add to a layer's result on average is taken from its bias.

With weights W, rounded to Ŵ, and the mean of each input channel over the calibration data::

    b̂ = b - (Ŵ - W) E[x]

Source: Nagel et al. 2019, 'Data-Free Quantization Through Weight Equalization and Bias Correction', arXiv:1906.04721,
section 4.2; there E[x] follows from BatchNorm, here it is counted, so that any network will do. Padding is left out of
account, but for convolutions that look at nothing else in places: their biases stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional

import numpy as np

from mxquant._threads import in_parallel
from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_bool, read_int, read_tuple
from mxquant.lowering.pairs import limited
from mxquant.lowering.stored_weights import int8_weight
from mxquant.plan import QuantPlan
from mxquant.stats.channel_sums import ChannelSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["channel_axes", "channel_axis", "correct_biases", "mean_result"]

_LINEAR = ("Convolution", "FullyConnected")


def channel_axes(network: Network) -> Dict[str, int]:
    """Return the tensors whose channel means are needed, and where their channels are: axis 1, or -1 for the last."""
    axes: Dict[str, int] = {}
    for node in network.graph.operators:
        if node.op in _LINEAR:
            axes.setdefault(node.inputs[0].name, channel_axis(node))
    return axes


def channel_axis(node: Node) -> int:
    """Return the axis of the channels of what a layer reads: 1, or -1 for the last."""
    return -1 if node.op == "FullyConnected" and not read_bool(node, "flatten", True) else 1


def correct_biases(network: Network, plan: QuantPlan, means: Mapping[str, ChannelSums]) -> Network:
    """Return a network with biases that make up for the rounding of weights.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A plan for it.
    means : mapping of str to ChannelSums
        Means of what the layers read, by name of the tensor; a layer whose data have none keeps its bias.

    Returns
    -------
    Network
        The same graph; weights with the plan's limits on pairs.
    """
    axes, uses = channel_axes(network), network.graph.uses()
    rounded = limited(network, plan).params

    def shift(node: Node) -> Optional[NDArray[np.float64]]:
        layer = plan.layers.get(node.layers[0])
        if node.op not in _LINEAR or layer is None or layer.precision != "int8" or len(node.inputs) < 3:
            return None
        if _sees_padding_alone(node):
            return None
        data, weight, bias = node.inputs
        if data.name not in means or axes[data.name] != channel_axis(node) or len(uses[bias]) != 1:
            return None
        error = int8_weight(node.op, rounded[weight.node.name], layer) - network.params[weight.node.name]
        return mean_result(node, error, means[data.name].mean)

    nodes = network.graph.operators
    changed = {
        node.inputs[2].node.name: (network.params[node.inputs[2].node.name] - found).astype(np.float32)
        for node, found in zip(nodes, in_parallel(shift, nodes))
        if found is not None
    }
    return Network(network.graph, {**rounded, **changed})


def _sees_padding_alone(node: Node) -> bool:
    """Whether windows of a convolution lie in its padding as a whole, where the mean of the data says nothing."""
    kernel, pad = read_tuple(node, "kernel"), read_tuple(node, "pad")
    dilate = read_tuple(node, "dilate") or (1,) * len(kernel)
    return any(each > step * (length - 1) for length, each, step in zip(kernel, pad, dilate))


def mean_result(node: Node, weight: NDArray[Any], mean: NDArray[np.float64]) -> Optional[NDArray[np.float64]]:
    """Return a layer's mean result for each output channel, or None where weights and means do not fit."""
    groups = read_int(node, "num_group", 1) if node.op == "Convolution" else 1
    # A FullyConnected on images has one weight for each place of each channel.
    channels = weight.shape[1] * groups if node.op == "Convolution" else len(mean)
    if len(mean) != channels or weight[0].size * groups % channels:
        return None
    per_channel = weight.reshape(groups, len(weight) // groups, channels // groups, -1).sum(axis=3)
    result: NDArray[np.float64] = np.einsum("goi,gi->go", per_channel, mean.reshape(groups, -1))
    return result.reshape(-1)
