"""Give every operator a name of its own.

MXNet allows two operators of one name, and Gluon makes them whenever a block is called twice. Statistics, plans and
exclusions need to tell them apart: the second 'head' becomes 'head_1', and so on. A name of the user's network that
is taken already is passed over. So is one with which a result would be called as a variable is: an operator 'head' is
renamed where an input is called 'head_output'.
"""

from __future__ import annotations

from typing import ClassVar, Dict, FrozenSet, List, Set

from mxquant.graph.ir import Node, Tensor
from mxquant.graph.rewriter import Pass, Refusal, Rewriter

__all__ = ["UniqueNames"]


class UniqueNames(Pass):
    """Rename the second and further operators of one name."""

    name: ClassVar[str] = "unique_names"

    def run(self, rewriter: Rewriter) -> List[Refusal]:
        """Rename; never refuse."""
        taken = {node.name for node in rewriter.graph.operators}
        variables = frozenset(node.name for node in rewriter.graph.variables)
        seen: Set[str] = set()
        numbers: Dict[str, int] = {}
        for node in rewriter.graph.operators:
            while node.name in seen or _results(node) & variables:
                self._rename(rewriter, node, taken, numbers)
            seen.add(node.name)
        return []

    @staticmethod
    def _rename(rewriter: Rewriter, node: Node, taken: Set[str], numbers: Dict[str, int]) -> None:
        old = node.name
        while node.name in taken:
            numbers[old] = numbers.get(old, 0) + 1
            node.name = f"{old}_{numbers[old]}"
        taken.add(node.name)
        node.layers = (node.name,)
        node.output_names = tuple(
            node.name + name[len(old) :] if name.startswith(old) else f"{node.name}_{name}"
            for name in node.output_names
        )
        rewriter.aliases[old] = rewriter.aliases.get(old, frozenset({old})) | {node.name}
        rewriter.modified = True


def _results(node: Node) -> FrozenSet[str]:
    return frozenset(Tensor(node, index).name for index in range(node.num_outputs))
