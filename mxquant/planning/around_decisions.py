"""Which operators stay float32 because of what a network decides.

Before non-maximum suppression, a topk or a comparison, an error of half a code can change which box is kept: between
the last convolution and such an operator nothing is rounded again, and what was decided goes to the outputs as it is.
Nor are constants rounded, such as anchors, which are the same for every image.

Convolutions and FullyConnected layers run in int8 wherever they are.
"""

from __future__ import annotations

from typing import Dict, List, Mapping

from mxquant.graph import Network, Node
from mxquant.graph.heads import decides, varying
from mxquant.graph.reach import reached
from mxquant.lowering.target import Int8Operator

__all__ = ["kept_in_float32"]


def kept_in_float32(network: Network, operators: Mapping[Node, Int8Operator]) -> Dict[Node, str]:
    """Return operators that gain nothing by int8 and could spoil a decision, with the reason for each.

    Parameters
    ----------
    network : Network
        The prepared fp32 network.
    operators : mapping of Node to Int8Operator
        How its nodes would be computed in int8.

    Returns
    -------
    dict of Node to str
        Of nodes that only may be int8.
    """
    graph = network.graph
    changing = varying(graph, frozenset(network.inputs))
    reasons = {
        node: "it is computed from constants alone"
        for node, operator in operators.items()
        if operator.data and not any(tensor in changing for tensor in node.inputs)
    }
    must = {node for node, operator in operators.items() if operator.must}
    noisy = varying(graph, must)
    readers: Dict[Node, List[Node]] = {node: [] for node in graph.nodes}
    for node in graph.nodes:
        for tensor in node.inputs:
            readers[tensor.node].append(node)
    useful = reached(must, lambda node: [tensor.node for tensor in node.inputs], lambda node: True)

    def may(node: Node) -> bool:
        return node not in must

    for node in graph.operators:
        if not decides(node) or not any(tensor in noisy for tensor in node.inputs):
            continue
        before = reached([node], lambda each: [tensor.node for tensor in each.inputs], may)
        after = reached([node], readers.__getitem__, may) - useful
        reasons.update(dict.fromkeys(before, f"it prepares what {node.op} '{node.name}' decides by"))
        reasons.update(dict.fromkeys(after, f"it works on what {node.op} '{node.name}' has decided"))
    return {node: why for node, why in reasons.items() if node in operators and node not in must}
