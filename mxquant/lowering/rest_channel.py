"""A channel of zeros beside the data of a convolution, whose weights define the steps of all others.

A convolution on int8 data has its weights halved where sums of products may saturate, and whole elsewhere; see
:mod:`mxquant.lowering.stored_weights`. Weights of even codes have one value on both sides, but the largest of an output
channel, which defines the step, only where it is negative: -128, or twice -64. So the data get one more channel, which
is 0, and each output channel a weight of -127.5 steps for it. The largest of the others then ends at ±126.

The channel is made by a row of zeros in each layer before, and what lies between has to keep it 0. Where a Concat joins
the channels of several layers, those of one of them get it; see :mod:`mxquant.lowering.zero_channels`. What is fed into
the network gets it before it is quantized. It costs a part of the time of one channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Set, Tuple

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_int
from mxquant.graph.ir import Use
from mxquant.lowering.free_channels import free_channels
from mxquant.lowering.moves import MOVES
from mxquant.lowering.onednn_operators import OPERATORS
from mxquant.lowering.resting_values import OF_SCALAR, readers_of_zero
from mxquant.lowering.stored_weights import EVEN, NEARLY_EVEN, end_of_even, stored_weights
from mxquant.lowering.weight_grid import exact_ends
from mxquant.lowering.zero_channels import Zeros, inserted, removed, zeros_for
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_resting", "fed", "may_rest", "rested", "unrested"]

_COUNTS = ("num_filter", "num_hidden")


def may_rest(network: Network) -> Set[str]:
    """Return the names of the convolutions of a canonical network whose data can have a channel that is always 0."""
    uses = network.graph.uses()
    first = [node for node in network.graph.operators if _reads_input(network, node)]
    # All that reads the codes of the input has to count on the channel.
    readers = [node for node in first if all(map(_takes_more, uses[node.inputs[0]]))]
    at_zero = readers_of_zero(network, free_channels(network))
    readers += [reader.node for _, found in at_zero for reader in found]
    return {node.name for node in readers if node.op == "Convolution"}


def _takes_more(use: Use) -> bool:
    """Whether what reads a tensor reads no codes of it, or can count on a channel of zeros."""
    node = use.node
    if node is None or not (node.op in MOVES or node.op in OPERATORS or node.op == "FullyConnected"):
        return True
    if node.op != "Convolution" or use.slot or read_int(node, "num_group", 1) > 1:
        return False
    return node.attrs.get("layout", "None") in ("None", "NCHW", "NCDHW")


def _reads_input(network: Network, node: Node) -> bool:
    """Whether an operator reads what is fed into the network, as it is or scaled."""
    source = node.inputs[0].node if node.inputs else node
    while source.op in OF_SCALAR:
        source = source.inputs[0].node
    return source.is_variable and source.name not in network.params


def fed(network: Network, plan: QuantPlan) -> Set[str]:
    """Return the names of the layers of a plan that read the network's input with a channel of zeros beside it."""
    wanted = _wanted(plan)
    return {node.name for node in network.graph.operators if node.name in wanted and _reads_input(network, node)}


def _wanted(plan: QuantPlan) -> Set[str]:
    return {
        layer.name
        for layer in plan.layers.values()
        if layer.op == "Convolution" and layer.weight_codes == EVEN and layer.precision == "int8"
    }


def check_resting(network: Network, plan: QuantPlan) -> None:
    """Raise PlanError if a plan has a layer whose data cannot have the channel of zeros that it needs."""
    wanted = _wanted(plan)
    for name in sorted(wanted - may_rest(network)) if wanted else ():
        raise PlanError(
            f"layers['{name}'].weight_codes is {EVEN}, but its data cannot have a channel of zeros more; use "
            f"{NEARLY_EVEN}"
        )


def _zeros(network: Network, plan: QuantPlan) -> Zeros:
    """Return where a plan's layers need zeros; what is fed into the network gets them behind its channels."""
    zeros = zeros_for(network, _wanted(plan))
    for each in fed(network, plan):
        name = network.graph.find(each).inputs[1].node.name
        zeros.anchors[each] = network.params[name].shape[1]
        zeros.columns[name] = [zeros.anchors[each]]
    return zeros


def rested(network: Network, plan: QuantPlan) -> Network:
    """Return a network with channels of zeros where a plan has layers that need them.

    Parameters
    ----------
    network : Network
        A canonical network.
    plan : QuantPlan
        A plan for it.

    Returns
    -------
    Network
        It computes the same but for the rounding of these layers' weights; `network` itself where there are none.

    Raises
    ------
    PlanError
        If a layer is to have a channel of zeros that it cannot have.
    """
    if not _wanted(plan):
        return network
    check_resting(network, plan)
    zeros, params = _zeros(network, plan), dict(network.params)
    graph = network.graph.copy()
    for name, places in zeros.rows.items():
        params[name] = inserted(params[name], places, 0, zeros.neutral[name])
    ends = {}
    for node in graph.operators:
        _widen(node, zeros.layers.get(node.name, 0))
        if node.name in zeros.anchors:
            name = node.inputs[1].node.name
            params[name], ends[node] = _even(params[name])
    for name, places in zeros.columns.items():
        params[name] = inserted(params[name], places, 1)
    for node, end in ends.items():
        weight = params[node.inputs[1].node.name]
        first: Any = (slice(None), zeros.anchors[node.name], *(0,) * (weight.ndim - 2))
        weight[first] = -end
    return Network(graph, params)


def _widen(node: Node, more: int) -> None:
    """Give a layer more output channels, in place."""
    counts = _COUNTS if read_int(node, "num_group", 1) == 1 else (*_COUNTS, "num_group")
    changed = {key: str(read_int(node, key, 0) + more) for key in counts if more and key in node.attrs}
    node.attrs = {**node.attrs, **changed}


def _even(weight: NDArray[Any]) -> Tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a weight in even codes, and the magnitude, shape (O,), of one more that defines their steps."""
    codes, steps = stored_weights(weight, EVEN, "channel-wise")
    shape = (-1,) + (1,) * (weight.ndim - 1)
    return (codes * steps.reshape(shape)).astype(np.float32), exact_ends(end_of_even(weight))


def unrested(network: Network, plan: QuantPlan, params: Mapping[str, NDArray[Any]]) -> Dict[str, NDArray[Any]]:
    """Return parameters without the channels that :func:`rested` has added.

    Parameters
    ----------
    network : Network
        The canonical network that they were added to.
    plan : QuantPlan
        The plan.
    params : mapping of str to numpy.ndarray
        Parameters by name, those of the rested network.
    """
    zeros, result = _zeros(network, plan), dict(params)
    for axis, parameters in enumerate((zeros.rows, zeros.columns)):
        for name, places in parameters.items():
            longer = network.params[name].shape[axis] + len(places)
            if name in result and result[name].ndim > axis and result[name].shape[axis] == longer:
                result[name] = removed(result[name], places, axis)
    return result
