"""Compute a BatchNorm with a ReLU in it as a BatchNorm and an Activation, which are folded and fused.

    BatchNormWithReLU(x) = relu(BatchNorm(x))

The operator is what ``gluon.nn.BatchNormReLU`` makes.
"""

from __future__ import annotations

from typing import ClassVar, Optional

from mxquant.graph.ir import Node, Tensor
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["SplitActivation"]


class SplitActivation(Rule):
    """Take the activation out of a BatchNorm."""

    name: ClassVar[str] = "split_activation"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a BatchNorm with a ReLU in it."""
        return node.op == "_contrib_BatchNormWithReLU"

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse one whose mean or variance is read too."""
        if any(rewriter.readers(Tensor(node, index)) for index in range(1, node.num_outputs)):
            return "its mean or variance is read as an output"
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Put an Activation behind it."""
        known = node.output.name
        node.op, node.num_outputs, node.output_names = "BatchNorm", 3, (f"{known}_before_relu",)
        activation = Node("Activation", f"{node.name}_relu", {"act_type": "relu"}, output_names=(known,))
        rewriter.insert(node.output, activation.output)
        activation.inputs = [node.output]
        rewriter.enter(activation, 0, node.output)
        rewriter.stand_in(node, activation)
