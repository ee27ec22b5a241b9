"""Let losses read variables as labels: :mod:`mxquant.graph.labels`. Inference does not read them.

SoftmaxOutput(data, Reshape(label)) = SoftmaxOutput(data, another label)
"""

from __future__ import annotations

from typing import ClassVar, Optional

from mxquant.graph.ir import VARIABLE, Node
from mxquant.graph.labels import LABEL_SLOT, has_computed_label, label_name
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["CutLabels"]


class CutLabels(Rule):
    """Give a loss a variable for a label that operators compute."""

    name: ClassVar[str] = "cut_labels"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a loss whose label is computed."""
        return has_computed_label(node)

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Never refuse."""
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Let `node` read a new variable."""
        rewriter.connect(node, LABEL_SLOT, Node(VARIABLE, label_name(node)).output)
