"""Give operators of ``mx.np`` that compute the same as an older one its name, by which fusions and int8 know it.

Layers with weights have one name in both, so that most of a network of ``mx.np`` needs nothing. ``_np_transpose`` keeps
its name: behind ``_npx_reshape`` MXNet 1.9.1 cannot run the older one, which takes the memory for oneDNN's. A reshape
has the codes below; one that drops an axis (-3) and one to no values (0) have no older form.

===============================  ===========  ========
lengths of the result            _npx_reshape Reshape
===============================  ===========  ========
what is left                     -1           -1
that of the input                -2           0
those of all further axes        -4           -2
the product of two               -5           -3
one, split into the next two     -6           -4
===============================  ===========  ========
"""

from __future__ import annotations

import re
from typing import Callable, ClassVar, Dict, Optional, Tuple

from mxquant.graph.attributes import read_bool, read_tuple
from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["ClassicOperators"]

Attributes = Dict[str, str]
_CODES = {-1: -1, -2: 0, -4: -2, -5: -3, -6: -4}


class ClassicOperators(Rule):
    """Rename an operator of ``mx.np``."""

    name: ClassVar[str] = "classic_operators"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` has an older name."""
        return node.op in _CLASSIC and _CLASSIC[node.op][1](node) is not None

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Never refuse."""
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Rename `node`, and its attributes."""
        op, attributes = _CLASSIC[node.op]
        own = {key: value for key, value in node.attrs.items() if key.startswith("__")}
        node.op, node.attrs = op, {**own, **(attributes(node) or {})}
        rewriter.modified = True


def _concatenate(node: Node) -> Attributes:
    return {"dim": node.attrs.get("axis", "0"), "num_args": node.attrs["num_args"]}


def _reshape(node: Node) -> Optional[Attributes]:
    codes = read_tuple(node, "newshape")
    if not codes or node.attrs.get("order", "C") != "C" or not all(code > 0 or code in _CODES for code in codes):
        return None
    shape = str(tuple(_CODES.get(code, code) for code in codes))
    return {"shape": shape, "reverse": "True"} if read_bool(node, "reverse", False) else {"shape": shape}


def _numpy_reshape(node: Node) -> Optional[Attributes]:
    return _reshape(node) if min(read_tuple(node, "newshape"), default=0) >= -1 else None


def _squeeze(node: Node) -> Optional[Attributes]:
    # Of all axes the shape () may be left, which older operators do not have.
    return {"axis": node.attrs["axis"]} if read_tuple(node, "axis") else None


def _pad(node: Node) -> Optional[Attributes]:
    widths = re.findall(r"-?\d+", node.attrs.get("pad_width", ""))
    if len(widths) not in (8, 10) or any(map(int, widths[:4])) or node.attrs.get("mode", "constant") != "constant":
        return None
    width, value = f"({', '.join(widths)})", node.attrs.get("constant_value", "0")
    return {"mode": "constant", "pad_width": width, "constant_value": value}


_CLASSIC: Dict[str, Tuple[str, Callable[[Node], Optional[Attributes]]]] = {
    "_npx_relu": ("Activation", lambda node: {"act_type": "relu"}),
    "_npx_sigmoid": ("Activation", lambda node: {"act_type": "sigmoid"}),
    "_npi_concatenate": ("Concat", _concatenate),
    "_npx_reshape": ("Reshape", _reshape),
    "_np_reshape": ("Reshape", _numpy_reshape),
    "_np_squeeze": ("squeeze", _squeeze),
    "_npi_pad": ("Pad", _pad),
}
