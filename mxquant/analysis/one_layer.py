"""What a network loses by one layer in int8, for one layer after the other.

All before the layer is float32 and the same each time, so that the fp32 network is run once to its end. At each layer
the int8 result is put in the place of the exact one, and what follows is run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from mxquant.analysis.int8_weights import nodes_of
from mxquant.analysis.judge import Judge
from mxquant.analysis.lone_layer import LoneLayer
from mxquant.analysis.scores import Faithfulness
from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.plan import QuantPlan
from mxquant.runtime.forward import with_labels
from mxquant.runtime.mxnet import mx
from mxquant.runtime.walk import Ready, Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["levels_of_one"]


@dataclass
class _Layer:
    nodes: List[Node]
    lone: LoneLayer
    read: Dict[Tensor, Any] = field(default_factory=dict)
    faithful: Faithfulness = field(default_factory=Faithfulness)


def levels_of_one(
    judge: Judge, network: Network, plan: QuantPlan, progress: Optional[Callable[[int], None]] = None
) -> Dict[str, float]:
    """Return the SQNR in dB of a network, the lowest of its heads, with one layer in int8.

    Parameters
    ----------
    judge : Judge
        Examples, and what the fp32 network computes on them.
    network : Network
        The canonical fp32 network, perhaps with other weights.
    plan : QuantPlan
        A calibrated plan for it.
    progress : callable, optional
        Called with the number of layers done.

    Returns
    -------
    dict of str to float
        By name of the layer, for those of which nothing but the result is read.
    """
    judged = judge.heads.judged(network)
    layers: Dict[str, _Layer] = {}
    for name, nodes in nodes_of(judged.graph, plan).items():
        if plan.layers[name].precision == "int8" and _returns_one(judged.graph, nodes):
            layers[name] = _Layer(nodes, LoneLayer(nodes, judged.params, plan))
    owners = {node: layer for layer in layers.values() for node in layer.nodes}
    ready = Ready()
    done = 0
    for inputs, exact in zip(judge.inputs, judge.expected):
        walk = Walk(judged, with_labels(judged, inputs), ready)
        walk.uses.update(judged.graph.outputs)
        while walk.pending:
            node = walk.pending[-1]
            layer = owners.get(node)
            if layer is None:
                walk.step()
                continue
            layer.read.update({t: walk.value(t) for t in node.inputs if t in layer.lone.data})
            walk.step()
            if node is layer.nodes[-1]:
                values = {tensor: value.asnumpy() for tensor, value in layer.read.items()}
                layer.faithful.add(exact, _outputs(walk.branch(), node.output, layer.lone(values)))
                layer.read.clear()
                done += 1
                if progress is not None:
                    progress(done // len(judge.inputs))
    return {name: level for name, layer in layers.items() for level in [layer.faithful.sqnr] if level is not None}


def _returns_one(graph: Graph, nodes: List[Node]) -> bool:
    """Whether others read the first output of the last operator of a layer, and nothing else of it."""
    inside = set(nodes)
    read = [tensor for node in graph.operators if node not in inside for tensor in node.inputs]
    return all(tensor == nodes[-1].output for tensor in [*read, *graph.outputs] if tensor.node in inside)


def _outputs(walk: Walk, tensor: Tensor, value: NDArray[Any]) -> List[NDArray[Any]]:
    """Return the outputs of a network of which one tensor has another value."""
    walk.values[tensor] = mx.nd.array(value, dtype=value.dtype)
    while walk.pending:
        walk.step()
    return [walk.value(output).asnumpy() for output in walk.graph.outputs]
