"""Expand the nodes that MXNet has fused already into the operators inside them.

A network that went through ``get_backend_symbol('MKLDNN')`` or ``'MKLDNN_QUANTIZE'`` holds nodes ``_sg_mkldnn_*``
with a subgraph. The subgraph's variables stand for the node's inputs, in order. Its operators still have the user's
names.
"""

from __future__ import annotations

from typing import ClassVar, Dict, Optional

from mxquant.graph.ir import Node, Tensor
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["InlineFused"]


class InlineFused(Rule):
    """Replace a fused node by what it computes."""

    name: ClassVar[str] = "inline_fused"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is one of MXNet's fused oneDNN operators."""
        return node.op.startswith("_sg_mkldnn_") and len(node.subgraphs) == 1

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse a node whose inputs are not the variables of its subgraph."""
        inside = len(node.subgraphs[0].variables)
        if inside == len(node.inputs):
            return None
        return f"the fused node has {len(node.inputs)} inputs, but its subgraph {inside} variables"

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Put a copy of the subgraph in the place of `node`."""
        inner = node.subgraphs[0].copy()
        outside: Dict[Node, Tensor] = dict(zip(inner.variables, node.inputs))
        for each in inner.operators:
            # Whatever MXNet fuses has one output that can be seen.
            each.output_names = (f"{each.name}_output",)
            each.inputs = [outside.get(tensor.node, tensor) for tensor in each.inputs]
            for slot, tensor in enumerate(each.inputs):
                rewriter.enter(each, slot, tensor)
        for index, tensor in enumerate(inner.outputs):
            rewriter.redirect(Tensor(node, index), outside.get(tensor.node, tensor))
        rewriter.aliases[node.name] = frozenset(each.name for each in inner.operators)
