"""The groups of fp32 operators that a target computes as one int8 operator: one, and the activation that reads it.

Between the two is no int8 tensor: ONNX runtimes fuse them, and on GPUs the ends of the codes are the activation.
"""

from __future__ import annotations

from typing import Dict, FrozenSet, List, Optional, Sequence

from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.graph.attributes import read_float
from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD

__all__ = ["activation_of", "group_activations"]


def activation_of(node: Node) -> Optional[str]:
    """Return 'relu' or 'clip' for an activation that a quantized range can take over, else None."""
    if (node.op == "Activation" and node.attrs.get("act_type") == "relu") or node.op == "relu":
        return "relu"
    if node.op == "clip" and read_float(node, "a_min", -1.0) == 0:
        # One that ends at 0 has no code to end at.
        return "clip" if read_float(node, "a_max", 0.0) >= SMALLEST_THRESHOLD else None
    return None


def group_activations(network: Network, apart: FrozenSet[str], operators: Sequence[str]) -> Network:
    """Return the network with one node for each group.

    Parameters
    ----------
    network : Network
        A canonical network.
    apart : frozenset of str
        Layers that must not join the one before.

    operators : sequence of str
        What an activation may join.

    Returns
    -------
    Network
        A new graph over the same parameters; a group has the operator and the name of its first node, and what it
        computes as its subgraph.
    """
    graph = network.graph.copy()
    uses = graph.uses()
    absorbed: Dict[Node, Node] = {}
    nodes: List[Node] = []
    for node in graph.nodes:
        source = node.inputs[0].node if node.inputs else node
        joins = (
            activation_of(node) is not None
            and source.op in operators
            and source not in absorbed.values()
            and len(uses[node.inputs[0]]) == 1
            and not set(node.layers) & apart
        )
        if not joins:
            nodes.append(node)
            continue
        source.subgraphs = (_inside(source, node),)
        source.layers += node.layers
        # What it makes is now what the activation makes.
        source.output_names = (node.output.name,)
        absorbed[node] = source
    for node in nodes:
        node.inputs = [_moved(tensor, absorbed) for tensor in node.inputs]
    graph.nodes = nodes
    graph.outputs = [_moved(tensor, absorbed) for tensor in graph.outputs]
    graph.verify()
    return Network(graph, network.params)


def _inside(main: Node, activation: Node) -> Graph:
    variables = [Node("null", f"{main.name}_input{slot}") for slot in range(len(main.inputs))]
    first = Node(main.op, main.name, main.attrs, [each.output for each in variables], layers=main.layers)
    last = Node(activation.op, activation.name, activation.attrs, [first.output], layers=activation.layers)
    return Graph([*variables, first, last], [last.output])


def _moved(tensor: Tensor, absorbed: Dict[Node, Node]) -> Tensor:
    return absorbed[tensor.node].output if tensor.node in absorbed else tensor
