"""Write every ReLU as an Activation, the form that is fused and runs in int8.

    relu(x) = max(x, 0) = max(0, x) = clip(x, 0, oo) = LeakyReLU(x, slope 0) = where(x > 0, x, 0) = x * (x > 0)

oo is what float32 ends at, or more. The zero is a scalar, a parameter of zeros, or an operator that makes zeros; behind
``x >= 0`` the same holds. With a number a > 0 there is another form that is fused::

    min(max(x, 0), a) = max(min(x, a), 0) = clip(x, 0, a)

Activation does not compute on whole numbers as the others do, so that x has to be known to be real. It makes 0 of NaN.
"""

from __future__ import annotations

from typing import ClassVar, FrozenSet, Optional

import numpy as np

from mxquant.graph.attributes import read_float
from mxquant.graph.ir import Node, Tensor, Use
from mxquant.graph.rewriter import Rewriter, Rule
from mxquant.graph.tensor_facts import facts_of

__all__ = ["ReluForms"]

_SCALAR_MAXIMA: FrozenSet[str] = frozenset({"_maximum_scalar", "_npi_maximum_scalar"})
_SCALAR_MINIMA: FrozenSet[str] = frozenset({"_minimum_scalar", "_npi_minimum_scalar"})
_MAXIMA: FrozenSet[str] = frozenset({"_maximum", "broadcast_maximum", "_npi_maximum"})
_PRODUCTS: FrozenSet[str] = frozenset({"elemwise_mul", "broadcast_mul", "_npi_multiply"})
_COMPARISONS: FrozenSet[str] = frozenset(
    {"_greater_scalar", "_greater_equal_scalar", "_npi_greater_scalar", "_npi_greater_equal_scalar"}
)
_ZEROS: FrozenSet[str] = frozenset({"_zeros", "zeros_like", "_npi_zeros"})
_LARGEST = float(np.finfo(np.float32).max)


class ReluForms(Rule):
    """Replace an operator by the activation that it is."""

    name: ClassVar[str] = "relu_forms"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a ReLU in another form, or a ReLU and what ends its values at a number."""
        return _rectified(rewriter, node) is not None or _end(rewriter, node) is not None

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse values that may be whole numbers."""
        data = _rectified(rewriter, node) or node.inputs[0]
        return None if facts_of(data, rewriter.params).real else f"'{data.name}' may hold whole numbers"

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Make `node` an Activation or a clip."""
        own = {key: value for key, value in node.attrs.items() if key.startswith("__")}
        end = _end(rewriter, node)
        if end is not None:
            before = node.inputs[0].node
            node.op, node.attrs = "clip", {**own, "a_min": "0", "a_max": end}
            rewriter.connect(node, 0, before.inputs[0])
            rewriter.stand_in(before, node)
            return
        data = _rectified(rewriter, node)
        assert data is not None
        for slot, tensor in enumerate(node.inputs):
            rewriter.readers(tensor).remove(Use(node, slot))
        node.op, node.attrs, node.inputs = "Activation", {**own, "act_type": "relu"}, [data]
        rewriter.enter(node, 0, data)
        rewriter.modified = True


def _rectified(rewriter: Rewriter, node: Node) -> Optional[Tensor]:
    """Return the tensor of which `node` is the ReLU, or None where it is none in another form."""
    inputs = node.inputs
    if node.op in ("relu", "_npx_relu"):
        return inputs[0]
    if node.op in _SCALAR_MAXIMA:
        return inputs[0] if _is_scalar_relu(node) else None
    if node.op == "clip":
        is_relu = read_float(node, "a_min", -1.0) == 0 and read_float(node, "a_max", 0.0) >= _LARGEST
        return inputs[0] if is_relu else None
    if node.op == "LeakyReLU":
        is_relu = node.attrs.get("act_type", "leaky") == "leaky" and read_float(node, "slope", 0.25) == 0
        return inputs[0] if is_relu else None
    if node.op in _MAXIMA:
        return next((a for a, b in (inputs, inputs[::-1]) if _is_zero(rewriter, b, a)), None)
    if node.op in _PRODUCTS:
        return next((a for a, b in (inputs, inputs[::-1]) if _tells_positive(b, a)), None)
    if node.op in ("where", "_npi_where"):
        condition, data, zero = inputs
        return data if _tells_positive(condition, data) and _is_zero(rewriter, zero, data) else None
    if node.op == "_npi_where_rscalar":
        condition, data = inputs
        is_relu = _tells_positive(condition, data) and read_float(node, "scalar", -1.0) == 0
        return data if is_relu else None
    return None


def _end(rewriter: Rewriter, node: Node) -> Optional[str]:
    """Return the number above 0 at which values end, where `node` and the one before, which it alone reads, clip."""
    before = node.inputs[0].node if node.inputs else node
    if before is node or len(rewriter.readers(node.inputs[0])) != 1:
        return None
    is_relu = before.op == "Activation" and before.attrs.get("act_type") == "relu"
    ends = node if is_relu else before if _is_scalar_relu(node) else None
    if ends is None or ends.op not in _SCALAR_MINIMA or read_float(ends, "scalar", 0.0) <= 0:
        return None
    return ends.attrs["scalar"]


def _is_scalar_relu(node: Node) -> bool:
    return node.op in _SCALAR_MAXIMA and read_float(node, "scalar", -1.0) == 0


def _tells_positive(condition: Tensor, data: Tensor) -> bool:
    node = condition.node
    return node.op in _COMPARISONS and node.inputs[0] == data and read_float(node, "scalar", -1.0) == 0


def _is_zero(rewriter: Rewriter, tensor: Tensor, other: Tensor) -> bool:
    """Whether a tensor is all zeros, and gives another, with which it is joined, no other shape."""
    if tensor.node.op == "zeros_like":
        return tensor.node.inputs[0] == other
    value = rewriter.constant(tensor)
    if value is not None:
        return value.size == 1 and value.ndim <= 1 and not value.any()
    return tensor.node.op in _ZEROS and tensor.node.attrs.get("shape", "").strip("()[], ") in ("1", "")
