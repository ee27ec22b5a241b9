"""Give operators of ``mx.np`` that compute the same as an older one its name, by which fusions and int8 know it.

Layers with weights have one name in both, so that most of a network of ``mx.np`` needs nothing. ``_np_transpose`` keeps
its name: behind ``_npx_reshape`` MXNet 1.9.1 cannot run the older one, which takes the memory for oneDNN's.
"""

from __future__ import annotations

from typing import Callable, ClassVar, Dict, Optional, Tuple

from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["ClassicOperators"]

Attributes = Dict[str, str]


class ClassicOperators(Rule):
    """Rename an operator of ``mx.np``."""

    name: ClassVar[str] = "classic_operators"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` has an older name."""
        return node.op in _CLASSIC

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Never refuse."""
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Rename `node`, and its attributes."""
        node.op, attributes = _CLASSIC[node.op]
        own = {key: value for key, value in node.attrs.items() if key.startswith("__")}
        node.attrs = {**own, **attributes(node.attrs)}
        rewriter.modified = True


_CLASSIC: Dict[str, Tuple[str, Callable[[Attributes], Attributes]]] = {
    "_npx_relu": ("Activation", lambda attrs: {"act_type": "relu"}),
    "_npx_sigmoid": ("Activation", lambda attrs: {"act_type": "sigmoid"}),
    "_npi_concatenate": ("Concat", lambda attrs: {"dim": attrs.get("axis", "0"), "num_args": attrs["num_args"]}),
}
