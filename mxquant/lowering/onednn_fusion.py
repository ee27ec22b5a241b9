"""The fp32 fusion that comes before int8 on the CPU: MXNet's own, kept from what it gets wrong.

MXNet's subgraph backend ``MKLDNN_QUANTIZE`` joins a convolution with the addition and the activation after it, and a
FullyConnected with its activation. Some of these fusions are computed wrongly in int8 by MXNet 1.9.1, or fail:

* LeakyReLU(gelu) after a convolution is applied to scaled integers, and after an addition in place fails;
* LeakyReLU(leaky) after a FullyConnected is stored as uint8, which loses its negative part;
* an addition whose two operands are the same tensor cannot be bound;
* what a network returns from inside a fusion is lost, and something else returned in its place;
* a clip that ends at 0 has no code to end at;
* without calibration, clip and the curved activations are applied to raw sums;
* an addition in place (`apart`, the planner's choice) needs both operands in one type.

Such layers are kept apart by a barrier (:mod:`mxquant.graph.barriers`), as are those that MXNet fuses wrongly in fp32
too. The backend also drops identities and Dropouts, even those that the network returns, and those that are meant for
inference; they go through it as BlockGrad nodes.
"""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterator, Tuple

from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.graph.attributes import read_float
from mxquant.graph.barriers import put_barriers, take_barriers, unfusable
from mxquant.lowering.quantized_params import SMALLEST_THRESHOLD
from mxquant.runtime.mxnet_bridge import backend_symbol, graph_of, symbol_of

__all__ = ["fuse"]

_DROPPED = ("_copy", "identity", "Dropout")
_STARTS = ("Convolution", "FullyConnected")


def fuse(network: Network, calibrated: bool, apart: FrozenSet[str]) -> Network:
    """Return the network with MXNet's fp32 fusions, each fused node knowing the user's layers inside it.

    Parameters
    ----------
    network : Network
        A canonical network: unique names, no fused nodes.
    calibrated : bool
        Whether the plan will have thresholds.
    apart : frozenset of str
        Layers that must not be fused into the one before.

    Returns
    -------
    Network
        A new graph over the same parameters.
    """
    graph = network.graph.copy()
    put_barriers(graph, [*_edges_to_cut(graph, calibrated, apart), *unfusable(graph)])
    originals = _disguise(graph)
    fused = graph_of(backend_symbol(symbol_of(graph), "MKLDNN_QUANTIZE"))
    take_barriers(fused)
    _unmask(fused, originals)
    _inherit_names(fused, network.graph)
    return Network(fused, network.params)


def _edges_to_cut(graph: Graph, calibrated: bool, apart: FrozenSet[str]) -> Iterator[Tuple[Node, int]]:
    """Yield (reader, input slot) of every edge that no fusion may cross."""
    returned = set(graph.outputs)
    for node in graph.operators:
        for slot, tensor in enumerate(node.inputs):
            start = tensor.node.op
            if (
                (tensor in returned and not tensor.node.is_variable)
                or (start in _STARTS and (set(node.layers) & apart or _is_wrong(node, start, calibrated)))
                or (start == "elemwise_add" and _is_wrong(node, "Convolution", calibrated=True))
            ):
                yield node, slot


def _is_wrong(node: Node, start: str, calibrated: bool) -> bool:
    act_type = node.attrs.get("act_type", "leaky" if node.op == "LeakyReLU" else "")
    if node.op == "elemwise_add":
        return node.inputs[0] == node.inputs[1]
    if node.op == "LeakyReLU" and (act_type == "gelu" if start == "Convolution" else act_type == "leaky"):
        return True
    if node.op == "clip" and read_float(node, "a_max", 0.0) < SMALLEST_THRESHOLD:
        return True
    if calibrated:
        return False
    return node.op == "clip" or act_type not in ("", "relu", "leaky")


def _disguise(graph: Graph) -> Dict[str, Node]:
    """Let what the backend would drop look like BlockGrad; return what it was, by name."""
    uses, originals = graph.uses(), {}
    for node in graph.operators:
        if node.op in _DROPPED and Tensor(node, 1) not in uses:
            originals[node.name] = Node(node.op, node.name, node.attrs, num_outputs=node.num_outputs)
            node.op, node.attrs, node.num_outputs = "BlockGrad", {}, 1
    return originals


def _unmask(graph: Graph, originals: Dict[str, Node]) -> None:
    for node in graph.operators:
        original = originals.get(node.name)
        if original is not None and node.op == "BlockGrad":
            node.op, node.attrs, node.num_outputs = original.op, original.attrs, original.num_outputs


def _inherit_names(fused: Graph, canonical: Graph) -> None:
    """Give each fused node the layers inside it and the tensor name of the last one."""
    origin = {node.name: node for node in canonical.operators}
    for node in fused.operators:
        inner = [n for sub in node.subgraphs for n in sub.operators] or [node]
        known = [origin[n.name] for n in inner if n.name in origin]
        if known:
            node.layers = tuple(layer for n in known for layer in n.layers)
            head = node.subgraphs[0].outputs[0].node if node.subgraphs else node
            node.output_names = _visible_names(origin[head.name]) if head.name in origin else ()


def _visible_names(node: Node) -> Tuple[str, ...]:
    return node.output_names or (node.output.name,)
