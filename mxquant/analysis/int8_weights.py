"""The weights that an int8 network was made from, read back from its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Graph, Network, Node
from mxquant.graph.kinds import LINEAR
from mxquant.graph.packed_recurrent import input_size
from mxquant.lowering.channel_order import orders_of, restored
from mxquant.lowering.quantized_params import INT8_RANGE
from mxquant.lowering.recurrent import original_parameters, parameters_name
from mxquant.lowering.rest_channel import unrested
from mxquant.lowering.stored_weights import sums_in_memory
from mxquant.lowering.zero_points import bias_shift
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nodes_of", "weights_of"]


def weights_of(network: Network, plan: QuantPlan, int8: Network) -> Network:
    """Return the canonical network with the weights that an int8 network was made from.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        The plan.
    int8 : Network
        What lowering made of it, perhaps with other weights.

    Returns
    -------
    Network
        The same graph; the int8 operators round its weights to those of `int8`.

    Raises
    ------
    InputError
        If a parameter is missing in `int8`, or has another shape.
    """
    params: Dict[str, NDArray[Any]] = {}
    biases = {node.inputs[2].name: node for node in network.graph.operators if node.op in LINEAR and node.inputs[2:]}
    recurrent = {node.inputs[1].name: node for node in network.graph.operators if node.op == "RNN"}
    heads = {name: nodes[-1].output.name for name, nodes in nodes_of(network.graph, plan).items()}
    variables = [node.name for node in network.graph.variables if node.name in network.params]
    # A shifted bias needs the weight of its layer, so biases come last.
    for name in sorted(variables, key=biases.__contains__):
        value = int8.params.get(name)
        if value is None and f"{name}_quantize" in int8.params:
            step = np.float64(int8.params[f"{name}_quantize_max"][0]) / INT8_RANGE
            value = (int8.params[f"{name}_quantize"] * step).astype(np.float32)
        elif value is None and name in biases:
            value = _bias_of(biases[name], heads, plan, int8, params)
        elif value is None and name in recurrent:
            value = _parameters_of(recurrent[name], plan, int8)
        if value is None:
            raise _other(name, network, "does not exist")
        params[name] = value
    params = unrested(network, plan, params)
    for name, value in params.items():
        if value.shape != network.params[name].shape:
            raise _other(name, network, f"shape {value.shape}")
    return restored(Network(network.graph, params), orders_of(network, plan))


def _other(name: str, network: Network, found: str) -> InputError:
    return InputError(
        f"parameter '{name}' has shape {network.params[name].shape} in the fp32 network, and {found} in the int8 "
        "network; compare an int8 network with the network that it was made of"
    )


def _bias_of(
    node: Node, heads: Mapping[str, str], plan: QuantPlan, int8: Network, params: Mapping[str, NDArray[Any]]
) -> Optional[NDArray[np.float32]]:
    """Return the bias of a layer from that which holds the zero points of its data and result too."""
    layer, shifted = plan.layers.get(node.layers[0]), int8.params.get(f"{node.layers[0]}_shifted_bias")
    if layer is None or shifted is None:
        return None
    sums = sums_in_memory(params[node.inputs[1].name], layer)
    shift = bias_shift(sums, plan.tensors.get(node.inputs[0].name), plan.tensors.get(heads[layer.name]))
    return shifted if shift is None else (shifted - shift).astype(np.float32)


def _parameters_of(node: Node, plan: QuantPlan, int8: Network) -> Optional[NDArray[np.float32]]:
    """Return the parameters of an LSTM from those that go with its int8 data."""
    layer, rescaled = plan.layers.get(node.layers[0]), int8.params.get(parameters_name(node))
    if layer is None or layer.recurrent is None or rescaled is None or input_size(node, rescaled.size) is None:
        return rescaled
    return original_parameters(node, rescaled, layer.recurrent)


def nodes_of(graph: Graph, plan: QuantPlan) -> Dict[str, List[Node]]:
    """Return the operators of each layer of a plan; the last of them makes the layer's result."""
    owners = {name: layer.name for layer in plan.layers.values() for name in layer.contains}
    nodes: Dict[str, List[Node]] = {}
    for node in graph.operators:
        if node.layers[0] in owners:
            nodes.setdefault(owners[node.layers[0]], []).append(node)
    return nodes
