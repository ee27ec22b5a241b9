"""One layer of an fp32 network in int8, by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence

from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.lowering.simulate import simulate
from mxquant.plan import QuantPlan
from mxquant.runtime.forward import outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoneLayer", "data_of"]


class LoneLayer:
    """What a layer computes in int8 from the data that the fp32 network gives it.

    Parameters
    ----------
    nodes : sequence of Node
        Its operators; the last one makes its result.
    params : mapping of str to numpy.ndarray
        Parameters of the network.
    plan : QuantPlan
        A plan in which the layer is int8.
    """

    def __init__(self, nodes: Sequence[Node], params: Mapping[str, NDArray[Any]], plan: QuantPlan) -> None:
        self.data = data_of(nodes, params)
        self.network = simulate(_network(nodes, params), plan)

    def __call__(self, values: Mapping[Tensor, NDArray[Any]]) -> NDArray[Any]:
        """Return its result for the values of :attr:`data`."""
        return outputs(self.network, {tensor.name: values[tensor] for tensor in self.data})[0]


def data_of(nodes: Sequence[Node], params: Mapping[str, NDArray[Any]]) -> List[Tensor]:
    """Return what a layer reads, other than its parameters, each tensor once."""
    inside = set(nodes)
    read = [tensor for node in nodes for tensor in node.inputs if tensor.node not in inside]
    return [t for t in dict.fromkeys(read) if not (t.node.is_variable and t.node.name in params)]


def _network(nodes: Sequence[Node], params: Mapping[str, NDArray[Any]]) -> Network:
    """Return the network that consists of one layer; what it reads are variables by the names of the tensors."""
    twins: Dict[Tensor, Tensor] = {}
    made: List[Node] = []
    for node in nodes:
        for tensor in node.inputs:
            if tensor not in twins:
                attrs = dict(tensor.node.attrs) if tensor.node.is_variable else {}
                made.append(Node("null", tensor.name, attrs))
                twins[tensor] = made[-1].output
        read = [twins[tensor] for tensor in node.inputs]
        attrs, layers, names = dict(node.attrs), node.layers, node.output_names
        twin = Node(node.op, node.name, attrs, read, node.num_outputs, node.subgraphs, layers, names)
        made.append(twin)
        twins.update((Tensor(node, index), Tensor(twin, index)) for index in range(node.num_outputs))
    used = {node.name for node in made if node.is_variable}
    graph = Graph(made, [twins[nodes[-1].output]])
    return Network(graph, {name: value for name, value in params.items() if name in used})
