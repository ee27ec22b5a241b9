"""Write what keeps the first axis of a tensor and joins all others as a Flatten, which passes over channels know.

    Flatten(x) = reshape(x, (0, -1))

Behind a global pooling, where all axes but two have length 1, the same is ``reshape(x, (0, 0))``, and a squeeze of
those axes.
"""

from __future__ import annotations

from typing import ClassVar, Optional

from mxquant.graph.attributes import read_bool, read_tuple
from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["FlattenForms"]

_JOINING, _FIRST_TWO = (0, -1), (0, 0)


class FlattenForms(Rule):
    """Rename a Reshape or a squeeze."""

    name: ClassVar[str] = "flatten_forms"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a Flatten in another form."""
        if node.op in ("Reshape", "reshape"):
            codes = () if read_bool(node, "reverse", False) else read_tuple(node, "shape")
            return codes == _JOINING or (codes == _FIRST_TWO and _places(node) > 0)
        if node.op != "squeeze" or not _places(node):
            return False
        rank = _places(node) + 2
        return {axis % rank for axis in read_tuple(node, "axis") if -rank <= axis < rank} == set(range(2, rank))

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Never refuse."""
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Make `node` a Flatten."""
        own = {key: value for key, value in node.attrs.items() if key.startswith("__")}
        node.op, node.attrs = "Flatten", own
        rewriter.modified = True


def _places(node: Node) -> int:
    """Return how many axes of length 1 a global pooling has left behind the channels, 0 where `node` reads another."""
    before = node.inputs[0].node
    is_global = before.op == "Pooling" and read_bool(before, "global_pool", False)
    return len(read_tuple(before, "kernel")) if is_global and before.attrs.get("layout", "None") in _FIRST else 0


_FIRST = ("None", "NCW", "NCHW", "NCDHW")
