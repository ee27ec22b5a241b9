"""Drop operators that hand their input on: copies, and the gradient's concerns, which inference does not have.

    BlockGrad(x) = MakeLoss(x) = _copy(x) = x

One that is an output of the network stays, since its name is the user's.
"""

from __future__ import annotations

from typing import ClassVar, FrozenSet, Optional

from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["DropIdentity", "is_output"]

_IDENTITIES: FrozenSet[str] = frozenset(
    {"_copy", "_np_copy", "identity", "BlockGrad", "stop_gradient", "MakeLoss", "make_loss"}
)


class DropIdentity(Rule):
    """Let the readers of an identity read its input."""

    name: ClassVar[str] = "drop_identity"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is an identity inside the network."""
        return node.op in _IDENTITIES and not is_output(rewriter, node)

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Never refuse."""
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Bypass `node`."""
        rewriter.redirect(node.output, node.inputs[0])


def is_output(rewriter: Rewriter, node: Node) -> bool:
    """Whether the network returns the first output of `node`."""
    return any(use.node is None for use in rewriter.readers(node.output))
