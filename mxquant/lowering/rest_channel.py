"""A channel of zeros beside the data of a convolution, whose weights define the steps of all others.

A convolution on int8 data has its weights halved where sums of products may saturate, and whole elsewhere; see
:mod:`mxquant.lowering.stored_weights`. Weights of even codes have one value on both sides, but the largest of an output
channel, which defines the step, only where it is negative: -128, or twice -64. So the data get one more channel, which
is 0, and each output channel a weight of -127.5 steps for it. The largest of the others then ends at ±126.

The channel is made by a row of zeros in each layer before, and what lies between has to keep it 0. What is fed into the
network gets it before it is quantized. It costs a part of the time of one channel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Set

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_int
from mxquant.graph.ir import Use
from mxquant.lowering.free_channels import Channels, free_channels
from mxquant.lowering.moves import MOVES
from mxquant.lowering.onednn_operators import OPERATORS
from mxquant.lowering.stored_weights import EVEN, NEARLY_EVEN, end_of_even, stored_weights
from mxquant.lowering.weight_grid import exact_ends
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_resting", "fed", "may_rest", "rested", "unrested"]

_COUNTS = ("num_filter", "num_hidden")
_OF_ONE: Mapping[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "softsign": lambda x: x / (1 + abs(x)),
    "abs": abs,
    "square": lambda x: x * x,
    "exp": math.exp,
}
_OF_SCALAR: Mapping[str, Callable[[float, float], float]] = {
    "_mul_scalar": lambda x, y: x * y,
    "_div_scalar": lambda x, y: x / y,
    "_plus_scalar": lambda x, y: x + y,
    "_minus_scalar": lambda x, y: x - y,
}
_OF_TWO: Mapping[str, Callable[[float, float], float]] = {
    f"{kind}_{name}": function
    for kind in ("elemwise", "broadcast")
    for name, function in (
        ("add", lambda x, y: x + y),
        ("sub", lambda x, y: x - y),
        ("mul", lambda x, y: x * y),
    )
}
_KEPT = ("Pooling", "Flatten", "flatten", "LeakyReLU", "sqrt")


def may_rest(network: Network) -> Set[str]:
    """Return the names of the convolutions of a canonical network whose data can have a channel that is always 0."""
    uses = network.graph.uses()
    first = [node for node in network.graph.operators if _reads_input(network, node)]
    # All that reads the codes of the input has to count on the channel.
    readers = [node for node in first if all(map(_takes_more, uses[node.inputs[0]]))]
    readers += [reader for channels in free_channels(network) for reader in _at_zero(network, channels)]
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
    while source.op in _OF_SCALAR:
        source = source.inputs[0].node
    return source.is_variable and source.name not in network.params


def fed(network: Network, plan: QuantPlan) -> Set[str]:
    """Return the names of the layers of a plan that read the network's input with a channel of zeros beside it."""
    wanted = _wanted(plan)
    return {node.name for node in network.graph.operators if node.name in wanted and _reads_input(network, node)}


def _at_zero(network: Network, channels: Channels) -> List[Node]:
    """Return the readers of channels that would read 0 in a channel that layers with weights of 0 make."""
    values: Dict[Tensor, Optional[float]] = {}
    for node in network.graph.operators:
        if node.output.name in channels.tensors:
            values[node.output] = 0.0 if node in channels.layers else _value(node, values)
    return [reader for reader in channels.readers if values.get(reader.inputs[0]) == 0]


def _value(node: Node, values: Mapping[Tensor, Optional[float]]) -> Optional[float]:
    """Return what an operator makes of constants; None where that is not known."""
    try:
        return _known_value(node, [values.get(tensor) for tensor in node.inputs])
    except ArithmeticError:
        return None


def _known_value(node: Node, found: Sequence[Optional[float]]) -> Optional[float]:
    given = [value for value in found if value is not None]
    kind = node.attrs.get("act_type", "") if node.op == "Activation" else node.op
    if node.op in _OF_TWO:
        return _OF_TWO[node.op](*given) if len(given) == 2 else None
    if not given or found[0] is None:
        return None
    if kind in _OF_ONE:
        return _OF_ONE[kind](given[0])
    if node.op in _OF_SCALAR:
        return _OF_SCALAR[node.op](given[0], float(node.attrs["scalar"]))
    if node.op == "clip":
        return min(max(given[0], float(node.attrs["a_min"])), float(node.attrs["a_max"]))
    return 0.0 if node.op in (*_KEPT, "BatchNorm") and given[0] == 0 else None


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


def _resting(network: Network, plan: QuantPlan) -> List[Channels]:
    wanted = _wanted(plan)
    if not wanted:
        return []
    return [each for each in free_channels(network) if any(reader.name in wanted for reader in each.readers)]


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
    resting, first, wanted = _resting(network, plan), fed(network, plan), _wanted(plan)
    if not wanted:
        return network
    check_resting(network, plan)
    params = dict(network.params)
    graph = network.graph.copy()
    nodes = {node.name: node for node in graph.operators}
    for channels in resting:
        for row in channels.rows:
            value = params[row.name]
            more = np.full((1, *value.shape[1:]), row.neutral, value.dtype)
            params[row.name] = np.concatenate([value, more])
        for node in channels.layers:
            _widen(nodes[node.name])
    for channels in resting:
        for node in channels.readers:
            name = node.inputs[1].node.name
            params[name] = (_anchored if node.name in wanted else _with_zeros)(params[name], channels.size)
    for each in first:
        name = nodes[each].inputs[1].node.name
        params[name] = _anchored(params[name], params[name].shape[1])
    return Network(graph, params)


def _widen(node: Node) -> None:
    """Give a layer one output channel more, in place."""
    counts = _COUNTS if read_int(node, "num_group", 1) == 1 else (*_COUNTS, "num_group")
    node.attrs = {**node.attrs, **{key: str(read_int(node, key, 0) + 1) for key in counts if key in node.attrs}}


def _with_zeros(weight: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return a weight with zeros for one input channel more."""
    more = np.zeros((len(weight), weight.shape[1] // channels, *weight.shape[2:]), weight.dtype)
    return np.concatenate([weight, more], axis=1)


def _anchored(weight: NDArray[Any], channels: int) -> NDArray[np.float32]:
    """Return a weight in even codes, with the weight that defines the steps for one input channel more."""
    codes, steps = stored_weights(weight, EVEN, "channel-wise")
    shape = (-1,) + (1,) * (weight.ndim - 1)
    result = _with_zeros((codes * steps.reshape(shape)).astype(np.float32), channels)
    result[(slice(None), channels, *(0,) * (weight.ndim - 2))] = -exact_ends(end_of_even(weight))
    return result


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
    result = dict(params)
    for channels in _resting(network, plan):
        for row in channels.rows:
            if row.name in result and len(result[row.name]) == channels.size + 1:
                result[row.name] = result[row.name][:-1]
        for node in channels.readers:
            name = node.inputs[1].node.name
            columns = network.params[name].shape[1]
            if name in result and result[name].ndim > 1:
                result[name] = result[name][:, :columns]
    for each in fed(network, plan):
        name = network.graph.find(each).inputs[1].node.name
        if name in result:
            result[name] = result[name][:, : network.params[name].shape[1]]
    return result
