"""Write sums and products that might broadcast, and do not, as elementwise ones, which are fused and run in int8.

    x + y = broadcast_add(x, y) = elemwise_add(x, y)        for x and y of one shape

``mx.np`` has sums that broadcast only. Two tensors have one shape for all data if they come from the same tensor by
steps that change it alike. A convolution or pooling of kernel k, dilation d, stride s and padding p on each side makes
of n places::

    floor((n + c - 1) / s) + 1,   c = 2 p - d (k - 1)

so that along an axis (c, s) is all that counts: a 3x3 with padding 1 and a 1x1 without are alike, at any stride. Of
channels the numbers have to be equal.

A tensor that is added to itself stays: MXNet's fusions cannot compute an elementwise sum of one convolution.
"""

from __future__ import annotations

from typing import ClassVar, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from mxquant.graph.attributes import read_bool, read_int, read_tuple
from mxquant.graph.ir import Node, Tensor, depth_first
from mxquant.graph.rewriter import Rewriter, Rule
from mxquant.graph.tensor_facts import facts_of

__all__ = ["SumsOfAlike"]

_ELEMENTWISE: Mapping[str, str] = {
    "broadcast_add": "elemwise_add",
    "_npi_add": "elemwise_add",
    "broadcast_mul": "elemwise_mul",
    "_npi_multiply": "elemwise_mul",
}
_ALIKE: FrozenSet[str] = frozenset(
    {
        *("Activation", "LeakyReLU", "BatchNorm", "Dropout", "clip", "relu", "sigmoid", "tanh", "_copy", "BlockGrad"),
        *("elemwise_add", "elemwise_sub", "elemwise_mul", "add_n", "_npi_tanh", "erf", "abs", "square", "sqrt", "exp"),
        *(f"_{name}_scalar" for name in ("plus", "minus", "mul", "div", "maximum", "minimum")),
    }
)
_FIRST = ("None", "NCW", "NCHW", "NCDHW")

# What a step makes of an axis: (c, s, rounding).
_Axis = Tuple[int, int, str]


class _Shape(NamedTuple):
    """A shape by the tensor that it comes from, its channels, None for those of that tensor, and the steps between."""

    origin: Tensor
    channels: Optional[int] = None
    steps: Tuple[object, ...] = ()


class SumsOfAlike(Rule):
    """Rename a sum or product of two tensors of one shape."""

    name: ClassVar[str] = "sums_of_alike"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` might broadcast, and does not."""
        op = _ELEMENTWISE.get(node.op)
        if op is None or (op == "elemwise_add" and node.inputs[0] == node.inputs[1]):
            return False
        first, second = (_shape_of(tensor) for tensor in node.inputs)
        return first == second and all(facts_of(tensor, rewriter.params).real for tensor in node.inputs)

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Never refuse."""
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Rename `node`."""
        node.op = _ELEMENTWISE[node.op]
        rewriter.modified = True


def _shape_of(tensor: Tensor) -> _Shape:
    shapes: Dict[Node, _Shape] = {}
    for node in depth_first([tensor.node]):
        inputs = [shapes[each.node] if not each.index else _Shape(each) for each in node.inputs]
        shapes[node] = (_step(node, inputs) if inputs else None) or _Shape(node.output)
    return _Shape(tensor) if tensor.index else shapes[tensor.node]


def _step(node: Node, inputs: Sequence[_Shape]) -> Optional[_Shape]:
    """Return the shape of a result, or None where it is not known by those of the inputs."""
    first = inputs[0]
    if node.op in _ALIKE:
        return first
    if node.op in ("Convolution", "Pooling"):
        return _of_windows(node, first)
    if node.op == "FullyConnected" and read_bool(node, "flatten", True):
        return _Shape(first.origin, read_int(node, "num_hidden", 0), ("rows",))
    if node.op == "Flatten":
        return _Shape(first.origin, None, (*first.steps, first.channels, "rows"))
    if node.op == "Concat" and read_int(node, "dim", 1) == 1:
        channels: List[int] = [each.channels for each in inputs if each.channels is not None]
        alike = {each._replace(channels=None) for each in inputs}
        return first._replace(channels=sum(channels)) if len(channels) == len(inputs) and len(alike) == 1 else None
    return None


def _of_windows(node: Node, data: _Shape) -> Optional[_Shape]:
    kernel, layout = read_tuple(node, "kernel"), node.attrs.get("layout", "None")
    if not kernel or layout not in _FIRST:
        return None
    channels = read_int(node, "num_filter", 0) if node.op == "Convolution" else data.channels
    if node.op == "Pooling" and read_bool(node, "global_pool", False):
        return _Shape(data.origin, channels, ("one place", len(kernel)))
    ones, rounding = (1,) * len(kernel), node.attrs.get("pooling_convention", "valid")
    strides, dilations = read_tuple(node, "stride") or ones, read_tuple(node, "dilate") or ones
    pads = read_tuple(node, "pad") or (0,) * len(kernel)
    axes: List[_Axis] = [
        (2 * p - d * (k - 1), s, rounding if s > 1 or rounding == "same" else "valid")
        for k, s, d, p in zip(kernel, strides, dilations, pads)
    ]
    if all(axis == (0, 1, "valid") for axis in axes):
        return data._replace(channels=channels)
    return _Shape(data.origin, channels, (*data.steps, tuple(axes)))
