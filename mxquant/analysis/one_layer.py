"""What a network loses by one layer in int8, for one layer after the other.

All before the layer is float32 and the same each time, so that the fp32 network is run once to its end. At each layer
the int8 result is put in the place of the exact one, and what follows is run again. A layer of which more than its
result is read is simulated within the whole network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence

from mxquant.analysis.int8_weights import nodes_of
from mxquant.analysis.judge import Judge
from mxquant.analysis.lone_layer import LoneLayer
from mxquant.analysis.scores import Faithfulness
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.ir import Use
from mxquant.plan import LayerPlan, QuantPlan
from mxquant.runtime.forward import with_labels
from mxquant.runtime.mxnet import mx
from mxquant.runtime.walk import Ready, Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["levels_of_one", "only"]


@dataclass
class _Layer:
    nodes: List[Node]
    lone: LoneLayer
    read: Dict[Tensor, Any] = field(default_factory=dict)
    faithful: Faithfulness = field(default_factory=Faithfulness)


def levels_of_one(
    judge: Judge, network: Network, plan: QuantPlan, progress: Optional[Callable[[int], None]] = None
) -> Dict[str, float]:
    """Return the SQNR in dB of a network, as `judge` sums it up, with one layer in int8.

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
        By name of each int8 layer of the plan.
    """
    judged = judge.heads.judged(network)
    layers: Dict[str, _Layer] = {}
    uses = judged.graph.uses()
    for name, nodes in nodes_of(judged.graph, plan).items():
        if plan.layers[name].precision == "int8" and _returns_one(uses, nodes):
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
    levels = {name: judge.summary(layer.faithful) for name, layer in layers.items()}
    for name, each in plan.layers.items():
        if each.precision == "int8" and name not in levels:
            levels[name] = judge.level(network, only(plan, frozenset({name})))
            if progress is not None:
                progress(len(levels))
    return levels


def only(plan: QuantPlan, names: FrozenSet[str]) -> QuantPlan:
    """Return a plan in which no layers but `names` are int8; it can be simulated, but perhaps not be lowered."""
    layers = {
        name: layer
        if name in names
        else LayerPlan(layer.name, layer.op, layer.contains, "float32", "left out of a measurement")
        for name, layer in plan.layers.items()
    }
    return replace(plan, layers=layers)


def _returns_one(uses: Mapping[Tensor, Sequence[Use]], nodes: List[Node]) -> bool:
    """Whether others read the first output of the last operator of a layer, and nothing else of it."""
    inside = set(nodes)
    made = [Tensor(node, index) for node in nodes for index in range(node.num_outputs)]
    read = [tensor for tensor in made if any(use.node not in inside for use in uses.get(tensor, ()))]
    return read in ([], [nodes[-1].output])


def _outputs(walk: Walk, tensor: Tensor, value: NDArray[Any]) -> List[NDArray[Any]]:
    """Return the outputs of a network of which one tensor has another value."""
    walk.values[tensor] = mx.nd.array(value, dtype=value.dtype)
    while walk.pending:
        walk.step()
    return [walk.value(output).asnumpy() for output in walk.graph.outputs]
