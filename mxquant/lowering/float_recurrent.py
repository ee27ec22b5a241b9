"""An int8 network for a CPU on which MXNet's int8 LSTM does not run: its LSTM layers in float32 again.

Weights and biases follow from those of the int8 operator, which still has them as float32 numbers; what it reads and
makes is not rounded any more. See :mod:`mxquant.lowering.recurrent` for what is taken out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Tuple

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.packed_recurrent import PARAMETERS, STATES
from mxquant.lowering.recurrent import original_parameters
from mxquant.lowering.target import RECURRENT
from mxquant.plan import LayerPlan, QuantPlan

__all__ = ["with_float_lstm"]

_PREFIX = "quantized_"


def with_float_lstm(network: Network, plan: QuantPlan, why: str) -> Tuple[Network, QuantPlan]:
    """Return an int8 network, and its plan, with LSTM layers in float32.

    Parameters
    ----------
    network : Network
        The int8 network.
    plan : QuantPlan
        What it was made by.
    why : str
        The reason, for the plan.

    Returns
    -------
    tuple of Network and QuantPlan
        Both as they are where there is no int8 LSTM.
    """
    layers = {name: layer for layer in plan.layers.values() if layer.recurrent for name in layer.contains}
    graph, params = network.graph.copy(), dict(network.params)
    changed: Dict[str, LayerPlan] = {}
    for node in [node for node in graph.operators if node.op == RECURRENT]:
        layer = layers.get(node.name[len(_PREFIX) :])
        if layer is None or layer.recurrent is None:
            continue
        name = node.inputs[PARAMETERS].node.name
        node.op, node.name = "RNN", node.name[len(_PREFIX) :]
        node.attrs = {key: value for key, value in node.attrs.items() if key != "quantized"}
        data, parameters, state, cell = node.inputs[:4]
        node.inputs = [_unclipped(data.node.inputs[0], "_data_clipped"), parameters, state, cell]
        node.inputs[STATES[0]] = _unclipped(state, "_state_clipped")
        params[name] = original_parameters(node, params[name], layer.recurrent)
        changed[layer.name] = LayerPlan(layer.name, layer.op, layer.contains, "float32", why)
    if not changed:
        return network, plan
    graph.prune()
    graph.verify()
    used = {node.name for node in graph.variables}
    left = {name: value for name, value in params.items() if name in used}
    return Network(graph, left), replace(plan, layers={**plan.layers, **changed})


def _unclipped(tensor: Tensor, suffix: str) -> Tensor:
    """Return what a clip that belongs to the int8 LSTM reads, or the tensor where there is none."""
    node: Node = tensor.node
    return node.inputs[0] if node.op == "clip" and node.name.endswith(suffix) else tensor
