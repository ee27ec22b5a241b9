"""Barriers: BlockGrad nodes, which no fusion of MXNet crosses, put before layers and taken away after.

MXNet fuses a convolution with the activation behind it even where another layer reads the convolution too, if that
layer comes after the activation; it then reads the activation instead. It also takes any BatchNorm behind a convolution
for one of its channels. Such layers need a barrier, whatever is fused.

MXNet's softmax may end the process. Where mxquant runs a network it puts a Reshape before each, to the shape that there
is.
"""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, Tuple

from mxquant.graph.attributes import read_int
from mxquant.graph.ir import Graph, Node, Tensor
from mxquant.graph.labels import cut_labels

__all__ = ["BARRIER", "fusable", "put_barriers", "runnable", "take_barriers", "unfusable"]

BARRIER = "mxquant_barrier"
# What MXNet fuses with what follows.
_FUSED = ("Convolution", "FullyConnected", "elemwise_add")
_SOFTMAXES = ("softmax", "log_softmax")

Edge = Tuple[Node, int]


def unfusable(graph: Graph) -> Iterator[Edge]:
    """Yield (reader, input slot) of every edge that no fusion may cross.

    Those are edges to a layer from one that others read, or the network returns, too; and those to a BatchNorm of
    another axis than that of channels.
    """
    for tensor, uses in graph.uses().items():
        if tensor.node.op not in _FUSED:
            continue
        for node, slot in uses:
            if node is not None and (len(uses) > 1 or _is_misfused(node)):
                yield node, slot


def fusable(graph: Graph) -> Graph:
    """Return a copy that MXNet can fuse: as it does by default, but for what would compute another network then.

    That is a BatchNorm that MXNet would take for another, and a layer with weights that several read: an addition may
    get what one of the others has made of it.
    """
    copy = cut_labels(graph).copy()

    def misread(reader: Node, tensor: Tensor) -> bool:
        return _is_misfused(reader) or tensor.node.op != "elemwise_add"

    put_barriers(copy, [(node, slot) for node, slot in unfusable(copy) if misread(node, node.inputs[slot])])
    return copy


def _is_misfused(node: Node) -> bool:
    return node.op == "BatchNorm" and read_int(node, "axis", 1) != 1


def runnable(graph: Graph) -> Graph:
    """Return a copy with which tensors can be observed in their passing: a Reshape is before each softmax.

    Labels are variables, whose shape MXNet finds from the rest.
    """
    copy = cut_labels(graph).copy()
    edges = [(node, 0) for node in copy.operators if node.op in _SOFTMAXES]
    put_barriers(copy, edges, "Reshape", shape="(-2,)")
    return copy


def put_barriers(graph: Graph, edges: Iterable[Edge], op: str = "BlockGrad", **attrs: str) -> None:
    """Put a barrier on each of some edges, one for all edges from the same tensor."""
    stem = f"{BARRIER}_{op}"
    barriers: Dict[Tensor, Node] = {}
    for reader, slot in edges:
        tensor = reader.inputs[slot]
        if tensor.node.name.startswith(BARRIER):
            continue
        if tensor not in barriers:
            barriers[tensor] = Node(op, f"{stem}{len(barriers)}", attrs, [tensor])
        reader.inputs[slot] = barriers[tensor].output
    position = {node: i for i, node in enumerate(graph.nodes)}
    after: Dict[int, List[Node]] = {}
    for tensor, barrier in barriers.items():
        after.setdefault(position[tensor.node], []).append(barrier)
    graph.nodes = [n for i, node in enumerate(graph.nodes) for n in (node, *after.get(i, ()))]


def take_barriers(graph: Graph) -> None:
    """Take all barriers away."""
    for node in graph.operators:
        if node.op == "BlockGrad" and node.name.startswith(BARRIER):
            graph.redirect(node.output, node.inputs[0])
    graph.prune()
