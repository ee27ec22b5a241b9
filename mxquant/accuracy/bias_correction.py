"""Analytic bias correction: what rounded weights add to a layer's result on average is taken from its bias.

With weights W, rounded to Ŵ, and the mean of each input channel over the calibration data::

    b̂ = b - (Ŵ - W) E[x]

Source: Nagel et al. 2019, 'Data-Free Quantization Through Weight Equalization and Bias Correction', arXiv:1906.04721,
section 4.2; there E[x] follows from BatchNorm, here it is counted, so that any network will do. Besides, each place of
a kernel counts by the share of windows in which it lies on the data rather than on padding: in a 3x3 kernel on 7x7
values, padded by one, a corner does in 36 of 49. Images are taken for square, since only their size is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, FrozenSet, Optional, Sequence

import numpy as np

from mxquant.accuracy.step import STATISTICS, Candidate, Inputs, WeightStep
from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_int, read_tuple
from mxquant.graph.channel_axes import channel_axes, channel_axis
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.stored_weights import int8_weight, is_symmetric
from mxquant.plan import QuantPlan
from mxquant.runtime.threads import in_parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mxquant.stats import Statistics

__all__ = ["AnalyticBiasCorrection", "correct_biases", "mean_result"]


@dataclass(frozen=True)
class AnalyticBiasCorrection(WeightStep):
    """The step: :func:`correct_biases`."""

    name: ClassVar[str] = "analytic bias correction"
    needs: ClassVar[FrozenSet[str]] = frozenset({STATISTICS})

    def change(self, candidate: Candidate, inputs: Inputs) -> Network:
        """Return the network with biases that make up for the rounding of weights."""
        return correct_biases(*candidate[:3])


def correct_biases(network: Network, plan: QuantPlan, statistics: Statistics) -> Network:
    """Return a network with biases that make up for the rounding of weights.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A plan for it.
    statistics : Statistics
        With the means of what the layers read; a layer whose data have none keeps its bias.

    Returns
    -------
    Network
        The same graph; weights with the plan's limits on pairs.
    """
    axes, uses = channel_axes(network), network.graph.uses()
    rounded, means = planned_weights(network, plan).params, statistics.channel_sums

    def shift(node: Node) -> Optional[NDArray[np.float64]]:
        layer = plan.layers.get(node.layers[0])
        if node.op not in LINEAR or layer is None or layer.precision != "int8" or len(node.inputs) < 3:
            return None
        data, weight, bias = node.inputs
        if data.name not in means or axes[data.name] != channel_axis(node) or len(uses[bias]) != 1:
            return None
        int8 = int8_weight(node.op, rounded[weight.node.name], layer, is_symmetric(plan.target))
        error = int8 - network.params[weight.node.name]
        sums, rank = means[data.name], len(read_tuple(node, "kernel"))
        size = statistics[data.name].count / (sums.count * len(sums.parts))
        return mean_result(node, error, sums.mean, [round(size ** (1 / rank))] * rank if rank else [])

    nodes = network.graph.operators
    changed = {
        node.inputs[2].node.name: (network.params[node.inputs[2].node.name] - found).astype(np.float32)
        for node, found in zip(nodes, in_parallel(shift, nodes))
        if found is not None
    }
    return Network(network.graph, {**rounded, **changed})


def mean_result(
    node: Node, weight: NDArray[Any], mean: NDArray[np.float64], lengths: Sequence[int]
) -> Optional[NDArray[np.float64]]:
    """Return a layer's mean result for each output channel.

    Parameters
    ----------
    node : Node
        A Convolution or FullyConnected.
    weight : numpy.ndarray
        Its weight, or an error of it, shape (O, ...).
    mean : numpy.ndarray
        The mean of each channel of its data.
    lengths : sequence of int
        For a convolution, the lengths of the axes of its data that its kernel moves over.

    Returns
    -------
    numpy.ndarray or None
        Shape (O,); None where weights and means do not fit.
    """
    convolves = node.op == "Convolution"
    groups = read_int(node, "num_group", 1) if convolves else 1
    # A FullyConnected on images has one weight for each place of each channel.
    channels = weight.shape[1] * groups if convolves else len(mean)
    if len(mean) != channels or weight[0].size * groups % channels:
        return None
    seen = weight * _shares_on_data(node, lengths) if convolves else weight
    per_channel = seen.reshape(groups, len(weight) // groups, channels // groups, -1).sum(axis=3)
    result: NDArray[np.float64] = np.einsum("goi,gi->go", per_channel, mean.reshape(groups, -1))
    return result.reshape(-1)


def _shares_on_data(node: Node, lengths: Sequence[int]) -> NDArray[np.float64]:
    """Return in which share of windows each place of a kernel lies on the data, in the shape of the kernel."""
    shares = np.ones(())
    kernel = read_tuple(node, "kernel")
    ones, none = (1,) * len(kernel), (0,) * len(kernel)
    each = zip(
        kernel, read_tuple(node, "stride") or ones, read_tuple(node, "dilate") or ones, read_tuple(node, "pad") or none
    )
    for length, (places, stride, dilate, pad) in zip(lengths, each):
        windows = max(length + 2 * pad - dilate * (places - 1) - 1, 0) // stride + 1
        at = np.arange(windows) * stride - pad + dilate * np.arange(places)[:, None]
        shares = np.multiply.outer(shares, ((at >= 0) & (at < length)).mean(axis=1))
    return shares
