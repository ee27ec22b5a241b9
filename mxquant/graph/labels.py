"""Labels: what the loss at the end of a network compares its result with. Inference has none, and needs none.

The operators below return in inference what they would without a label. MXNet finds the shape of a label from the
result beside it, as long as the label is a variable: not one that goes through a Reshape first, as those of MXNet's
language models do. So a network in canonical form has a variable of its own there, and the int8 network gets back what
the user's has.
"""

from __future__ import annotations

from typing import Collection, Dict, FrozenSet, List

from mxquant.graph.ir import VARIABLE, Graph, Node, Tensor

__all__ = ["LABEL_SLOT", "LOSSES", "cut_labels", "has_computed_label", "label_name", "restore_labels", "without_labels"]

LOSSES: FrozenSet[str] = frozenset(
    {
        *("SoftmaxOutput", "Softmax", "SVMOutput"),
        *("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput"),
    }
)
LABEL_SLOT = 1
_CUT = "mxquant_cut_"


def has_computed_label(node: Node) -> bool:
    """Whether an operator is a loss whose label other operators compute."""
    return node.op in LOSSES and len(node.inputs) > LABEL_SLOT and not node.inputs[LABEL_SLOT].node.is_variable


def label_name(node: Node) -> str:
    """Return the name of the variable that a loss reads in place of a label that is computed."""
    return f"{_CUT}{node.name}_label"


def cut_labels(graph: Graph) -> Graph:
    """Return a graph whose losses read variables as labels; the same one where they do."""
    if not any(map(has_computed_label, graph.operators)):
        return graph
    copy = graph.copy()
    for node in filter(has_computed_label, copy.operators):
        variable = Node(VARIABLE, label_name(node))
        copy.nodes.insert(0, variable)
        node.inputs[LABEL_SLOT] = variable.output
    copy.prune()
    return copy


def restore_labels(graph: Graph, original: Graph, inputs: Collection[str]) -> Graph:
    """Return a graph whose losses read what they do in the user's.

    Parameters
    ----------
    graph : Graph
        Made of the canonical graph; losses have kept their names.
    original : Graph
        The user's.
    inputs : collection of str
        Names of its data and labels. A label that is computed from anything else stays cut.
    """
    cut = [node for node in graph.operators if node.op in LOSSES and _is_cut(node)]
    if not cut:
        return graph
    copy, own = graph.copy(), original.copy()
    losses = {node.name: node for node in own.operators if has_computed_label(node)}
    variables = {node.name: node for node in copy.variables}
    for node in [node for node in copy.operators if node.op in LOSSES and _is_cut(node)]:
        label = losses[node.name].inputs[LABEL_SLOT] if node.name in losses else None
        if label is not None and all(each.name in inputs for each in _ancestors(label.node) if each.is_variable):
            node.inputs[LABEL_SLOT] = Tensor(_joined(label.node, variables), label.index)
    copy.prune()
    return copy


def without_labels(graph: Graph) -> Graph:
    """Return a graph whose losses read zeros of the right shape as labels; the same one where there are no losses."""
    if not any(node.op in LOSSES and len(node.inputs) > LABEL_SLOT for node in graph.operators):
        return graph
    copy = graph.copy()
    for node in [node for node in copy.operators if node.op in LOSSES and len(node.inputs) > LABEL_SLOT]:
        zeros = Node("_zeros", f"{node.name}_no_label", {"shape": "()", "dtype": "float32"})
        copy.nodes.insert(0, zeros)
        node.inputs[LABEL_SLOT] = zeros.output
    copy.prune()
    return copy


def _is_cut(node: Node) -> bool:
    return len(node.inputs) > LABEL_SLOT and node.inputs[LABEL_SLOT].node.name.startswith(label_name(node))


def _ancestors(node: Node) -> List[Node]:
    """Return a node and all that it is computed from."""
    found: Dict[Node, None] = {}
    pending = [node]
    while pending:
        each = pending.pop()
        if each not in found:
            found[each] = None
            pending += [tensor.node for tensor in each.inputs]
    return list(found)


def _joined(node: Node, variables: Dict[str, Node]) -> Node:
    """Return a node, with those variables in its ancestors replaced that a graph has already."""
    for each in _ancestors(node):
        for slot, tensor in enumerate(each.inputs):
            if tensor.node.is_variable:
                each.inputs[slot] = variables.setdefault(tensor.node.name, tensor.node).output
    return node
