"""Where a network is judged: at what it computes, not at what it picks by that.

A detector ends in operators that decide: non-maximum suppression keeps boxes, topk sorts them, a comparison lets scores
pass. If int8 changes the order of two scores by a thousandth, two rows of the result change places, and a number that
compares row with row says nothing any more. So such networks are compared at their *heads*: the tensors that are
decided by, such as scores and boxes. What reads the decisions (the second stage of Faster R-CNN) is given those of the
fp32 network, on both sides.

A network without such operators is judged at its outputs. Values in another order, or several of them in one tensor,
are the same values: from an operator that decides, the way leads back to those that compute. Where one of several forms
of a network is chosen, the way leads back from its outputs too: in a tensor of boxes in pixels and scores below 1
nobody would see what becomes of the scores. Probabilities are judged by what their softmax reads then: of few examples
the one of which the network is least sure would decide for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    Container,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
)

from mxquant.errors import GraphError
from mxquant.graph.ir import VARIABLE, Graph, Node, Tensor
from mxquant.graph.network import Network

__all__ = ["Heads", "decides", "varying"]

_Value = TypeVar("_Value")
_COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal")
_DECIDING: FrozenSet[str] = frozenset(
    {
        *(f"{prefix}_{name}" for prefix in ("broadcast", "") for name in _COMPARISONS),
        *(f"_{name}_scalar" for name in _COMPARISONS),
        *("argmax", "argmin", "argmax_channel", "argsort", "topk"),
        *("_contrib_box_nms", "_contrib_bipartite_matching", "_contrib_MultiBoxDetection"),
        *("_contrib_Proposal", "_contrib_MultiProposal"),
    }
)
# The inputs of an operator that hands values on as they are, in another shape or place; all of them for None.
_ARRANGING: Mapping[str, Optional[Tuple[int, ...]]] = {
    **dict.fromkeys(("Concat", "concat", "stack")),
    **dict.fromkeys(("Reshape", "reshape", "Flatten", "flatten", "transpose", "SwapAxis", "swapaxes"), (0,)),
    **dict.fromkeys(("expand_dims", "squeeze", "tile", "repeat", "reverse", "broadcast_axis"), (0,)),
    **dict.fromkeys(("slice", "slice_axis", "slice_like", "SliceChannel", "reshape_like", "broadcast_like"), (0,)),
    **dict.fromkeys(("BlockGrad", "_copy", "identity", "MakeLoss"), (0,)),
    "where": (1, 2),
}
# Whose result depends on the shape of an input, not on its values.
_OF_SHAPES: FrozenSet[str] = frozenset(
    {"zeros_like", "ones_like", "shape_array", "size_array", "_contrib_arange_like", "_contrib_MultiBoxPrior"}
)
_WITH_WEIGHTS: FrozenSet[str] = frozenset({"Convolution", "Deconvolution", "FullyConnected", "RNN"})
_SOFTMAX: Mapping[str, Tuple[int, ...]] = dict.fromkeys(
    ("softmax", "SoftmaxActivation", "SoftmaxOutput", "Softmax"), (0,)
)
_LIKE: FrozenSet[str] = frozenset({"slice_like", "reshape_like", "broadcast_like"})


def decides(node: Node) -> bool:
    """Whether the result of an operator jumps when its data change a little: it sorts, compares or picks."""
    if node.op == "topk":
        return node.attrs.get("ret_typ", "indices") != "value"
    return node.op in _DECIDING


class _Edge(NamedTuple):
    """Input number ``slot`` of the operator called ``reader``; output number ``slot`` of the network for ''."""

    reader: str
    slot: int


@dataclass(frozen=True)
class Heads:
    """Where a network, and what was made of it, is compared.

    Parameters
    ----------
    edges : tuple of (str, int)
        Where the tensors are read; what is made of the network has other tensors there, by other names.
    tensors : tuple of Tensor
        The tensors of the network itself.
    decisions : tuple of Tensor
        What its deciding operators have found, as far as others read it.
    """

    edges: Tuple[_Edge, ...]
    tensors: Tuple[Tensor, ...]
    decisions: Tuple[Tensor, ...]

    @classmethod
    def of(cls, network: Network, parts: bool = False) -> Heads:
        """Return the heads of a network: its outputs, unless it decides by what it has computed.

        Parameters
        ----------
        network : Network
            The canonical fp32 network.
        parts : bool
            Whether outputs that are joined of several tensors, such as boxes and scores, are taken apart too, and
            probabilities of classes followed to what their softmax reads.
        """
        graph = network.graph
        ends = _ends(graph)
        layers = {node for node in graph.operators if node.op in _WITH_WEIGHTS}
        changing = varying(graph, layers)
        deciding = [node for node in graph.operators if decides(node) and _reads(node, changing)]
        if not deciding and not parts:
            return cls(ends, tuple(graph.outputs), ())
        changing = varying(graph, layers, frozenset(deciding))
        starts = [_Edge(node.name, slot) for node in deciding for slot in range(len(node.inputs))]
        nodes = {node.name: node for node in graph.nodes}
        found: Dict[Tensor, _Edge] = {}
        for edge in [*starts, *ends]:
            through = {**_ARRANGING, **_SOFTMAX} if parts and not edge.reader else _ARRANGING
            computed = {
                tensor: read for tensor, read in _sources(nodes, graph.outputs, edge, through) if tensor in changing
            }
            if not computed and not deciding:
                computed = {graph.outputs[edge.slot]: edge}
            found.update((tensor, read) for tensor, read in computed.items() if tensor not in found)
        if not found:
            return cls(ends, tuple(graph.outputs), ())
        uses = graph.uses()
        decisions = [Tensor(node, index) for node in deciding for index in range(node.num_outputs)]
        used = tuple(t for t in decisions if any(use.node is not None for use in uses.get(t, ())))
        return cls(tuple(found.values()), tuple(found), used)

    def undecided(self, network: Network) -> Network:
        """Return a network whose operators read decisions from variables, which are called as the tensors are.

        Parameters
        ----------
        network : Network
            The network itself, or one made of it, in which deciding operators have kept their names.
        """
        if not self.decisions:
            return network
        graph = network.graph.copy()
        nodes = {node.name: node for node in graph.nodes}
        for tensor in self.decisions:
            variable = Node(VARIABLE, tensor.name)
            graph.nodes.insert(0, variable)
            outputs = list(graph.outputs)
            graph.redirect(Tensor(_node(nodes, tensor.node.name), tensor.index), variable.output)
            graph.outputs = outputs
        return Network(graph, network.params)

    def deciding(self, network: Network) -> Network:
        """Return `network`, which these are the heads of, with heads and decisions as its outputs, in this order."""
        graph = Graph(network.graph.nodes, [*self.tensors, *self.decisions], dict(network.graph.attrs)).copy()
        graph.prune()
        return Network(graph, network.params)

    def parted(self, values: Sequence[_Value]) -> Tuple[List[_Value], Dict[str, _Value]]:
        """Return what :meth:`deciding` computes as values of the heads, and of decisions by name of the tensor."""
        count = len(self.tensors)
        return list(values[:count]), {tensor.name: value for tensor, value in zip(self.decisions, values[count:])}

    def judged(self, network: Network) -> Network:
        """Return the network that computes the heads of `network`, given the decisions; see :meth:`undecided`."""
        if not self.decisions and self.edges == _ends(network.graph):
            return network
        graph = self.undecided(network).graph.copy()
        nodes = {node.name: node for node in graph.nodes}
        graph.outputs = [
            _node(nodes, edge.reader).inputs[edge.slot] if edge.reader else graph.outputs[edge.slot]
            for edge in self.edges
        ]
        graph.prune()
        used = {node.name for node in graph.variables}
        return Network(graph, {name: value for name, value in network.params.items() if name in used})


def _ends(graph: Graph) -> Tuple[_Edge, ...]:
    return tuple(_Edge("", slot) for slot in range(len(graph.outputs)))


def _node(nodes: Mapping[str, Node], name: str) -> Node:
    if name not in nodes:
        raise GraphError(f"layer '{name}', which decides or prepares a decision, is not in float32; exclude it by name")
    return nodes[name]


def varying(graph: Graph, starts: Container[Node], given: Container[Node] = frozenset()) -> Set[Tensor]:
    """Return the tensors whose values depend on those of the nodes `starts`, where the results of `given` are fixed."""
    found: Set[Tensor] = set()
    for node in graph.nodes:
        if node in starts or (node not in given and node.op not in _OF_SHAPES and _reads(node, found)):
            found.update(Tensor(node, index) for index in range(node.num_outputs))
    return found


def _reads(node: Node, tensors: Set[Tensor]) -> bool:
    return any(tensor in tensors for tensor in (node.inputs[:1] if node.op in _LIKE else node.inputs))


def _sources(
    nodes: Mapping[str, Node], outputs: Sequence[Tensor], start: _Edge, through: Mapping[str, Optional[Tuple[int, ...]]]
) -> Iterator[Tuple[Tensor, _Edge]]:
    """Yield the tensors that are arranged into what is read at `start`, each with where it is read itself.

    The way leads through operators to inputs of theirs, as `through` says.
    """
    pending: List[_Edge] = [start]
    seen: Set[_Edge] = set()
    while pending:
        edge = pending.pop()
        if edge in seen:
            continue
        seen.add(edge)
        tensor = nodes[edge.reader].inputs[edge.slot] if edge.reader else outputs[edge.slot]
        maker = tensor.node
        if maker.op not in through:
            yield tensor, edge
            continue
        slots = through[maker.op]
        for slot in reversed(range(len(maker.inputs)) if slots is None else slots):
            pending.append(_Edge(maker.name, slot))
