"""Which tensors are worth observing during calibration, whatever the target.

All but one kind: what a convolution or FullyConnected, or the addition after a convolution, hands to a ReLU, or to a
clip from 0, and to nobody else. Every target computes them as one, and the range after the activation is the one it
needs.
"""

from __future__ import annotations

from typing import FrozenSet, Optional

from mxquant.graph import Graph, Node, Tensor

__all__ = ["observable"]

_PRODUCERS = ("Convolution", "FullyConnected")
_ADD = "elemwise_add"


def observable(graph: Graph) -> FrozenSet[str]:
    """Return the names of the tensors of a canonical graph that calibration should observe."""
    names = {node.name for node in graph.variables}
    uses = graph.uses()
    for node in graph.operators:
        for index in range(max(1, len(node.output_names))):
            tensor = Tensor(node, index)
            readers = [use.node for use in uses.get(tensor, ())]
            hidden = _is_fused(node) and bool(readers) and all(_rectifies(reader) for reader in readers)
            if not hidden:
                names.add(tensor.name)
    return frozenset(names)


def _is_fused(node: Node) -> bool:
    """Whether targets compute a ReLU together with `node`."""
    if node.op != _ADD:
        return node.op in _PRODUCERS
    return node.inputs[0] != node.inputs[1] and any(t.node.op == "Convolution" for t in node.inputs)


def _rectifies(node: Optional[Node]) -> bool:
    if node is None:
        return False
    if node.op == "clip":
        return float(node.attrs.get("a_min", "-inf")) == 0
    return node.op == "Activation" and node.attrs.get("act_type") == "relu"
