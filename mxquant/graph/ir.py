"""The graph that every part of mxquant works on: nodes, the tensors between them, and what must hold.

A :class:`Graph` is a list of :class:`Node` in topological order. A :class:`Tensor` is one output of one node; inputs
of nodes and outputs of the graph are tensors. Variables (data and parameters) are nodes of the operator ``null``.

A node knows which layers of the user's own network it computes (``layers``), and its outputs bear the names of that
network's tensors (``output_names``). Passes and fusions keep both up to date, so that statistics, exclusions and plans
can always speak of the user's layers.

This module knows no file format, no target and no MXNet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from mxquant.errors import GraphError

__all__ = ["VARIABLE", "Graph", "Node", "Tensor", "Use", "depth_first"]

VARIABLE = "null"


@dataclass(eq=False)
class Node:
    """One operator, or one variable, of a graph.

    Parameters
    ----------
    op : str
        Name of the operator; ``null`` for a variable.
    name : str
        Unique name within the graph.
    attrs : dict of str to str
        The operator's arguments, as text.
    inputs : list of Tensor
        What the node reads, in the operator's order.
    num_outputs : int
        How many tensors it makes, hidden ones included.
    subgraphs : tuple of Graph
        What a fused operator computes inside; its variables are the node's inputs, in order.
    layers : tuple of str
        Layers of the user's network that this node computes, first to last. Default: the node's own name.
    output_names : tuple of str
        The user's names of its output tensors. Default: derived from the node's name.
    """

    op: str
    name: str
    attrs: Dict[str, str] = field(default_factory=dict)
    inputs: List[Tensor] = field(default_factory=list)
    num_outputs: int = 1
    subgraphs: Tuple[Graph, ...] = ()
    layers: Tuple[str, ...] = ()
    output_names: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers and not self.is_variable:
            self.layers = (self.name,)

    @property
    def is_variable(self) -> bool:
        """Whether the node is data or a parameter rather than an operator."""
        return self.op == VARIABLE

    @property
    def output(self) -> Tensor:
        """The first output of the node."""
        return Tensor(self, 0)

    def __repr__(self) -> str:
        return f"Node({self.op!r}, {self.name!r})"


@dataclass(frozen=True)
class Tensor:
    """Output number ``index`` of ``node``.

    ``version`` is MXNet's count of in-place changes before the read; it takes no part in comparisons.
    """

    node: Node
    index: int = 0
    version: int = field(default=0, compare=False)

    @property
    def name(self) -> str:
        """The tensor's name in the user's network."""
        node = self.node
        if node.is_variable:
            return node.name
        if self.index < len(node.output_names):
            return node.output_names[self.index]
        return f"{node.name}_output" if node.num_outputs == 1 else f"{node.name}_output{self.index}"

    def __repr__(self) -> str:
        return f"Tensor({self.name!r})"


class Use(NamedTuple):
    """Input number ``slot`` of ``node``; a node of ``None`` stands for output number ``slot`` of the graph."""

    node: Node | None
    slot: int


@dataclass(eq=False)
class Graph:
    """A network's structure: nodes in topological order and the tensors that it returns.

    Parameters
    ----------
    nodes : list of Node
        Every node after the nodes it reads from.
    outputs : list of Tensor
        What the network returns.
    attrs : dict
        Attributes of the file it came from, kept for writing it again.
    """

    nodes: List[Node]
    outputs: List[Tensor]
    attrs: Dict[str, object] = field(default_factory=dict)

    @property
    def variables(self) -> List[Node]:
        """Data and parameters, in topological order."""
        return [node for node in self.nodes if node.is_variable]

    @property
    def operators(self) -> List[Node]:
        """Everything that computes, in topological order."""
        return [node for node in self.nodes if not node.is_variable]

    def find(self, name: str) -> Node:
        """Return the node called `name`.

        Parameters
        ----------
        name : str
            A node's name.

        Returns
        -------
        Node
            The node.

        Raises
        ------
        GraphError
            If there is no such node.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise GraphError(f"the graph has no node '{name}'")

    def uses(self) -> Dict[Tensor, List[Use]]:
        """Return every tensor's readers; the graph's own outputs count as uses without a node."""
        uses: Dict[Tensor, List[Use]] = {}
        for node in self.nodes:
            for slot, tensor in enumerate(node.inputs):
                uses.setdefault(tensor, []).append(Use(node, slot))
        for slot, tensor in enumerate(self.outputs):
            uses.setdefault(tensor, []).append(Use(None, slot))
        return uses

    def redirect(self, old: Tensor, new: Tensor) -> None:
        """Let every reader of `old`, and every output of the graph that is `old`, read `new` instead."""
        for node in self.nodes:
            if node is new.node:
                continue
            for slot, tensor in enumerate(node.inputs):
                if tensor.node is old.node and tensor.index == old.index:
                    node.inputs[slot] = new
        self.outputs = [new if tensor == old else tensor for tensor in self.outputs]

    def prune(self) -> None:
        """Drop the nodes that no output depends on, and put the rest into depth-first topological order."""
        self.nodes = list(depth_first([tensor.node for tensor in self.outputs]))

    def copy(self) -> Graph:
        """Return an independent graph; subgraphs, which no pass changes, are shared."""
        twins: Dict[Node, Node] = {}
        for node in self.nodes:
            twins[node] = Node(
                node.op,
                node.name,
                dict(node.attrs),
                [Tensor(twins[t.node], t.index, t.version) for t in node.inputs],
                node.num_outputs,
                node.subgraphs,
                node.layers,
                node.output_names,
            )
        outputs = [Tensor(twins[t.node], t.index, t.version) for t in self.outputs]
        return Graph(list(twins.values()), outputs, dict(self.attrs))

    def verify(self) -> None:
        """Check the invariants of a graph.

        =================  ==========================================================
        invariant          meaning
        =================  ==========================================================
        has-output         the graph returns at least one tensor
        unique-names       no two variables share a name
        known-nodes        inputs and outputs belong to nodes of this graph
        topological-order  a node stands after every node that it reads
        output-range       a tensor's index is below its node's number of outputs
        variable-leaf      a variable has neither inputs nor subgraphs
        text-attributes    attributes are text
        =================  ==========================================================

        Raises
        ------
        GraphError
            Naming the first broken invariant and the node.
        """
        if not self.outputs:
            raise GraphError("has-output: the graph returns nothing")
        position = {node: i for i, node in enumerate(self.nodes)}
        variables: Dict[str, Node] = {}
        for here, node in enumerate(self.nodes):
            if node.is_variable and variables.setdefault(node.name, node) is not node:
                raise GraphError(f"unique-names: two variables are called '{node.name}'")
            if node.is_variable and (node.inputs or node.subgraphs):
                raise GraphError(f"variable-leaf: variable '{node.name}' has inputs or subgraphs")
            if not all(isinstance(value, str) for value in node.attrs.values()):
                raise GraphError(f"text-attributes: '{node.name}' has an attribute that is not text")
            self._verify_tensors(node.inputs, f"'{node.name}'", position, here)
        self._verify_tensors(self.outputs, "the graph's output", position, len(self.nodes))

    @staticmethod
    def _verify_tensors(tensors: Sequence[Tensor], reader: str, position: Dict[Node, int], here: int) -> None:
        for tensor in tensors:
            source = position.get(tensor.node)
            if source is None:
                raise GraphError(f"known-nodes: {reader} reads '{tensor.node.name}', which is not in the graph")
            if source >= here:
                raise GraphError(f"topological-order: {reader} stands before its input '{tensor.node.name}'")
            if not 0 <= tensor.index < tensor.node.num_outputs:
                raise GraphError(
                    f"output-range: {reader} reads output {tensor.index} of '{tensor.node.name}', "
                    f"which has {tensor.node.num_outputs}"
                )


def depth_first(roots: Sequence[Node]) -> Iterator[Node]:
    """Yield every node that `roots` depend on, inputs before readers, each once, without recursion."""
    done = set()
    for root in roots:
        stack: List[Tuple[Node, int]] = [(root, 0)]
        while stack:
            node, slot = stack.pop()
            if node in done:
                continue
            if slot < len(node.inputs):
                stack.append((node, slot + 1))
                stack.append((node.inputs[slot].node, 0))
            else:
                done.add(node)
                yield node
