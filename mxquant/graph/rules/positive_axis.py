"""Count the axis of a Concat from the front, as MXNet's int8 Concat has to have it.

Concat(x, y, dim=-1) = Concat(x, y, dim=r - 1)        for x and y of r axes
"""

from __future__ import annotations

from typing import ClassVar, Optional

from mxquant.graph.attributes import read_int
from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule
from mxquant.graph.tensor_facts import facts_of

__all__ = ["PositiveAxis"]


class PositiveAxis(Rule):
    """Rewrite a negative axis."""

    name: ClassVar[str] = "positive_axis"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a Concat whose axis is counted from the end."""
        return node.op in ("Concat", "concat") and read_int(node, "dim", 1) < 0

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse tensors of unknown axes."""
        rank = facts_of(node.output, rewriter.params).rank
        if rank is None or read_int(node, "dim", 1) < -rank:
            return f"how many axes '{node.inputs[0].name}' has is not known"
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Change the attribute."""
        rank = facts_of(node.output, rewriter.params).rank
        assert rank is not None
        node.attrs["dim"] = str(read_int(node, "dim", 1) + rank)
        rewriter.modified = True
