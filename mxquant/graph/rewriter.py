"""What passes work with: a private copy of a network that knows the readers of every tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Dict, FrozenSet, List, NamedTuple, Optional

from mxquant.graph.ir import VARIABLE, Graph, Node, Tensor, Use
from mxquant.graph.names import unused_name
from mxquant.graph.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pass", "Refusal", "Rewriter", "Rule"]


class Refusal(NamedTuple):
    """A rule that could not be applied to a layer, and why."""

    rule: str
    layer: str
    reason: str


@dataclass(eq=False)
class Rewriter:
    """A network in the making.

    Nodes and parameters that nothing reads any more are left in place until :meth:`settle`, which also puts the nodes
    into order; a new node need not be entered anywhere, it is enough that something reads it.

    Parameters
    ----------
    graph : Graph
        A graph of its own.
    params : dict of str to numpy.ndarray
        A dictionary of its own; the arrays are shared and not written to.
    """

    graph: Graph
    params: Dict[str, NDArray[Any]]
    modified: bool = False
    aliases: Dict[str, FrozenSet[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.uses = self.graph.uses()
        self._variables = {node.name for node in self.graph.variables}
        self._numbers: Dict[str, int] = {}

    @classmethod
    def of(cls, network: Network) -> Rewriter:
        """Return a rewriter for a copy of `network`."""
        return cls(network.graph.copy(), dict(network.params))

    def readers(self, tensor: Tensor) -> List[Use]:
        """Return who reads `tensor`; an output of the graph is a use without a node."""
        return self.uses.get(tensor, [])

    def redirect(self, old: Tensor, new: Tensor) -> None:
        """Let every reader of `old` read `new` instead; a node that nobody reads any more reads nothing either."""
        for use in self.uses.pop(old, []):
            if use.node is None:
                self.graph.outputs[use.slot] = new
            else:
                use.node.inputs[use.slot] = new
            self.uses.setdefault(new, []).append(use)
        if not any(self.readers(Tensor(old.node, index)) for index in range(old.node.num_outputs)):
            for slot, tensor in enumerate(old.node.inputs):
                self.uses[tensor].remove(Use(old.node, slot))
        self.modified = True

    def insert(self, old: Tensor, new: Tensor) -> None:
        """Let every reader of `old` read `new` instead, which is computed from `old` by nodes that are not entered."""
        for use in list(self.readers(old)):
            if use.node is not None:
                self.connect(use.node, use.slot, new)
                continue
            self.graph.outputs[use.slot] = new
            self.uses[old].remove(use)
            self.uses.setdefault(new, []).append(use)
        self.modified = True

    def enter(self, node: Node, slot: int, tensor: Tensor) -> None:
        """Note that input `slot` of the new node `node` reads `tensor`."""
        self.uses.setdefault(tensor, []).append(Use(node, slot))

    def connect(self, node: Node, slot: int, tensor: Tensor) -> None:
        """Let input `slot` of `node` read `tensor`; one slot beyond the last adds an input."""
        if slot < len(node.inputs):
            self.uses[node.inputs[slot]].remove(Use(node, slot))
            node.inputs[slot] = tensor
        else:
            node.inputs.append(tensor)
        self.enter(node, slot, tensor)
        self.modified = True

    def constant(self, tensor: Tensor) -> Optional[NDArray[Any]]:
        """Return the value of a parameter, or None where `tensor` is computed or an input."""
        return self.params.get(tensor.node.name) if tensor.node.is_variable else None

    def set_parameter(self, node: Node, slot: int, value: NDArray[Any], name: str) -> None:
        """Give input `slot` of `node` a value: its parameter, which nobody else reads, or a new one called `name`."""
        before = self.constant(node.inputs[slot]) if slot < len(node.inputs) else None
        if before is not None and len(self.readers(node.inputs[slot])) == 1:
            variable = node.inputs[slot].node
            if value.shape != before.shape:
                variable.attrs.pop("__shape__", None)
            self.params[variable.name] = value
            self.modified = True
            return
        self.connect(node, slot, self.add_parameter(name, value))

    def add_parameter(self, name: str, value: NDArray[Any]) -> Tensor:
        """Return a new variable with a value, called `name`, or with a number behind where that is taken."""
        variable = Node(VARIABLE, unused_name(name, self._variables, self._numbers))
        self._variables.add(variable.name)
        self.params[variable.name] = value
        return variable.output

    def stand_in(self, gone: Node, new: Node) -> None:
        """Let the name of a layer, and those that stand for it, stand for `new` as well.

        For layers that become a part of `new`, but are not among its ``layers``: those go from first to last, and the
        first names the node.
        """
        for layer in gone.layers:
            for name in {layer, *(old for old, names in self.aliases.items() if layer in names)}:
                self.aliases[name] = self.aliases.get(name, frozenset({name})) | {new.layers[0]}

    def settle(self) -> None:
        """Drop what nothing reads, put the nodes into order, and verify the graph."""
        self.graph.prune()
        self.graph.verify()
        self.uses = self.graph.uses()
        self._variables, self._numbers = {node.name for node in self.graph.variables}, {}
        self.params = {name: value for name, value in self.params.items() if name in self._variables}

    def network(self) -> Network:
        """Return what the network has become."""
        return Network(self.graph, self.params)


class Pass(ABC):
    """One step of a rewrite."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, rewriter: Rewriter) -> List[Refusal]:
        """Change the network; return what could not be done."""


class Rule(Pass):
    """A pass that looks at one node after the other: pattern, check, rewrite."""

    @abstractmethod
    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether the rule has anything to do with `node`."""

    @abstractmethod
    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Return why a node that matches must stay as it is, for the user to read, or None."""

    @abstractmethod
    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Change what is round `node`."""

    def run(self, rewriter: Rewriter) -> List[Refusal]:
        """Apply the rule to every node, in topological order."""
        refusals = []
        for node in rewriter.graph.operators:
            if not self.matches(rewriter, node):
                continue
            reason = self.check(rewriter, node)
            if reason is None:
                self.rewrite(rewriter, node)
            else:
                refusals.append(Refusal(self.name, node.name, reason))
        return refusals
