"""Drop Dropout, which at inference is the identity unless its mode is 'always'."""

from __future__ import annotations

from typing import ClassVar, Optional

from mxquant.graph.ir import Node, Tensor
from mxquant.graph.rewriter import Rewriter, Rule
from mxquant.graph.rules.drop_identity import is_output

__all__ = ["DropDropout"]


class DropDropout(Rule):
    """Let the readers of a Dropout read its input; one whose mask is read, or that is an output, stays."""

    name: ClassVar[str] = "drop_dropout"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a Dropout that does nothing at inference."""
        if node.op != "Dropout" or node.attrs.get("mode", "training") != "training":
            return False
        return not (is_output(rewriter, node) or rewriter.readers(Tensor(node, 1)))

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Never refuse."""
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Bypass `node`."""
        rewriter.redirect(node.output, node.inputs[0])
