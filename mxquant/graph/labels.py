"""Labels: what the loss at the end of a network compares its result with. Inference has none, and needs none.

Two things are done for calibration and for judging int8, and undone in the int8 network, which binds with its labels:

* The operators in :data:`LOSSES` return in inference what they would without a label. MXNet finds the shape of a label
  from the result beside it, as long as the label is a variable: not one that goes through a Reshape first, as those of
  MXNet's language models do. They get a variable of their own there.
* What else a label feeds, such as a loss that is written as ``-pick(log_softmax(x), label)``, cannot be computed
  without it. The network is cut before: in place of outputs that depend on labels it returns what they are computed
  from.
"""

from __future__ import annotations

from typing import Collection, Dict, FrozenSet, Iterator, List, NamedTuple, Set

from mxquant.graph.ir import VARIABLE, Graph, Node, Tensor

__all__ = [
    "LABEL_SLOT",
    "LOSSES",
    "cut_behind_labels",
    "cut_labels",
    "has_computed_label",
    "label_name",
    "restore_labels",
    "without_labels",
]

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
    return _has_label(node) and not node.inputs[LABEL_SLOT].node.is_variable


def _has_label(node: Node) -> bool:
    return node.op in LOSSES and len(node.inputs) > LABEL_SLOT


def label_name(node: Node) -> str:
    """Return the name of the variable that a loss reads in place of a label that is computed."""
    return f"{_CUT}{node.name}_label"


def cut_labels(graph: Graph) -> Graph:
    """Return a graph whose losses read variables as labels; the same one where they do."""
    if not any(map(has_computed_label, graph.operators)):
        return graph
    copy = graph.copy()
    for node in filter(has_computed_label, copy.operators):
        _replace_label(copy, node, Node(VARIABLE, label_name(node)))
    copy.prune()
    return copy


def without_labels(graph: Graph) -> Graph:
    """Return a graph whose losses read zeros of the right shape as labels; the same one where there are no losses."""
    if not any(map(_has_label, graph.operators)):
        return graph
    copy = graph.copy()
    for node in filter(_has_label, copy.operators):
        _replace_label(copy, node, Node("_zeros", f"{node.name}_no_label", {"shape": "()", "dtype": "float32"}))
    copy.prune()
    return copy


def _replace_label(graph: Graph, loss: Node, label: Node) -> None:
    graph.nodes.insert(0, label)
    loss.inputs[LABEL_SLOT] = label.output


class _Parts(NamedTuple):
    """What depends on labels, and what is returned without them: other outputs, then what these are computed from."""

    dependent: Set[Tensor]
    outputs: List[Tensor]

    @classmethod
    def of(cls, graph: Graph, labels: Collection[str]) -> _Parts:
        dependent = {node.output for node in graph.variables if node.name in labels}
        for node in graph.operators if dependent else ():
            # A loss does not look at its label.
            read = [t for slot, t in enumerate(node.inputs) if not (slot == LABEL_SLOT and _has_label(node))]
            if any(tensor in dependent for tensor in read):
                dependent.update(Tensor(node, index) for index in range(node.num_outputs))
        kept = [tensor for tensor in graph.outputs if tensor not in dependent]
        losses = sorted(filter(has_computed_label, graph.operators), key=lambda node: node.name)
        ends = [*graph.outputs, *(node.inputs[LABEL_SLOT] for node in losses)]
        seen: Set[Node] = set()
        read = [each for end in ends if end in dependent for each in _read_before(end, dependent, seen)]
        more = [tensor for tensor in dict.fromkeys(read) if tensor not in kept]
        return cls(dependent, [*kept, *more])


def _read_before(tensor: Tensor, dependent: Set[Tensor], seen: Set[Node]) -> Iterator[Tensor]:
    """Yield what operators that depend on labels read of others, in an order that the structure alone decides."""
    if tensor.node in seen:
        return
    seen.add(tensor.node)
    for each in tensor.node.inputs:
        if each in dependent:
            yield from _read_before(each, dependent, seen)
        elif not each.node.is_variable:
            yield each


def cut_behind_labels(graph: Graph, labels: Collection[str]) -> Graph:
    """Return a graph whose outputs need no labels; the same one where they need none.

    Parameters
    ----------
    graph : Graph
        A user's graph, or one that :func:`restore_labels` has returned: the outputs are in the same order.
    labels : collection of str
        Names of its labels.
    """
    found = _Parts.of(graph, labels)
    if not found.outputs or found.outputs == graph.outputs:
        return graph
    cut = Graph(graph.nodes, found.outputs, dict(graph.attrs)).copy()
    cut.prune()
    return cut


def restore_labels(graph: Graph, original: Graph, inputs: Collection[str], labels: Collection[str]) -> Graph:
    """Return a graph with what labels feed as in the user's.

    Parameters
    ----------
    graph : Graph
        Made of the graph that :func:`cut_behind_labels` has returned; losses have kept their names.
    original : Graph
        The user's.
    inputs, labels : collection of str
        Names of its data and labels. The label of a loss that is computed from parameters stays cut.
    """
    own = original.copy()
    found = _Parts.of(own, labels)
    losses = {node.name: node for node in own.operators if has_computed_label(node)}
    cut = [node for node in graph.operators if _is_cut(node) and node.name in losses]
    if not cut and (not found.outputs or found.outputs == own.outputs):
        return graph
    copy = graph.copy()
    joining = _Joining(dict(zip(found.outputs, copy.outputs)), {node.name: node for node in copy.variables})
    given = {*inputs, *labels}
    for node in [node for node in copy.operators if _is_cut(node) and node.name in losses]:
        label = losses[node.name].inputs[LABEL_SLOT]
        if label in found.dependent or all(each.name in given for each in _variables(label.node)):
            node.inputs[LABEL_SLOT] = joining.joined(label)
    copy.outputs = [joining.joined(tensor) for tensor in own.outputs] if found.outputs else copy.outputs
    copy.prune()
    return copy


def _is_cut(node: Node) -> bool:
    return _has_label(node) and node.inputs[LABEL_SLOT].node.name.startswith(label_name(node))


def _variables(node: Node) -> Set[Node]:
    """Return the variables that a node is computed from, itself among them."""
    seen: Set[Node] = set()
    pending = [node]
    while pending:
        each = pending.pop()
        if each not in seen:
            seen.add(each)
            pending += [tensor.node for tensor in each.inputs]
    return {each for each in seen if each.is_variable}


class _Joining:
    """Nodes of one graph, joined to those of another in which some tensors, and variables by name, are known."""

    def __init__(self, known: Dict[Tensor, Tensor], variables: Dict[str, Node]) -> None:
        self.known, self.variables = known, variables
        self.moved: Set[Node] = set()

    def joined(self, tensor: Tensor) -> Tensor:
        if tensor in self.known:
            return self.known[tensor]
        node = tensor.node
        if node.is_variable:
            return self.variables.setdefault(node.name, node).output
        if node not in self.moved:
            self.moved.add(node)
            node.inputs = [self.joined(each) for each in node.inputs]
        return tensor
