"""Fold a Pad with zeros into the Convolution that reads it.

A convolution pads both ends of an axis alike, by p. With b zeros before and a after, kernel w of length k, stride s and
dilation d, it computes the same with p = max(b, a), and m = |b - a| / d zeros put before the kernel where b < a, behind
it where b > a::

    Σ_j w[j] x[i s + j d - b]  =  Σ_j w'[j] x[i s + j d - a],     w' = (0, ..., 0, w),  m d = a - b

The number of results stays as well: n + b + a - d (k - 1) = n + 2 p - d (k + m - 1). TensorFlow's 'SAME' padding of
layers with stride 2 is the case b = 0, a = 1. MXNet has no int8 Pad, so that each costs two conversions and a copy.

Where the kernel would get more than twice as large, the Pad stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, List, NamedTuple, Optional, Tuple

import numpy as np

from mxquant.graph.attributes import read_float, read_tuple
from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FoldPad"]

_PADS = ("Pad", "pad")
_CHANNEL_FIRST = ("None", "NCW", "NCHW", "NCDHW")
_WEIGHT = 1
_GROWTH = 2.0


class _Axis(NamedTuple):
    """What becomes of one axis: the padding of both ends, and zeros before and behind the kernel."""

    pad: int
    before: int
    behind: int


class FoldPad(Rule):
    """Let the convolution do the padding."""

    name: ClassVar[str] = "fold_pad"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a Convolution right after a Pad."""
        return node.op == "Convolution" and node.inputs[0].node.op in _PADS

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse what the convolution cannot do; see the module's docstring."""
        pad = node.inputs[0].node
        weight = rewriter.constant(node.inputs[_WEIGHT])
        if weight is None:
            return f"its weight '{node.inputs[_WEIGHT].name}' has no fixed value"
        if pad.attrs.get("mode", "constant") != "constant" or read_float(pad, "constant_value", 0.0) != 0:
            return f"'{pad.name}' pads with something else than zeros"
        if node.attrs.get("layout", "None") not in _CHANNEL_FIRST:
            return f"it has layout {node.attrs['layout']}; only channel-first convolutions are folded"
        widths = read_tuple(pad, "pad_width")
        if any(widths[:4]) or len(widths) != 2 * weight.ndim:
            return f"'{pad.name}' pads examples or channels"
        axes = _axes(pad, node)
        if axes is None:
            return f"the padding of '{pad.name}' does not fit the dilation"
        kernel = np.array(weight.shape[2:])
        if np.prod(_longer(kernel, axes)) > _GROWTH * np.prod(kernel):
            return f"the padding of '{pad.name}' would make the kernel more than twice as large"
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Give the convolution padding and a kernel with zeros, and the Pad's input."""
        pad = node.inputs[0].node
        axes, weight = _axes(pad, node), rewriter.constant(node.inputs[_WEIGHT])
        assert axes is not None and weight is not None
        if any(axis.before or axis.behind for axis in axes):
            zeros = [(0, 0), (0, 0), *((axis.before, axis.behind) for axis in axes)]
            rewriter.set_parameter(node, _WEIGHT, np.pad(weight, zeros), f"{node.name}_weight")
            node.attrs["kernel"] = str(tuple(int(size) for size in _longer(np.array(weight.shape[2:]), axes)))
        node.attrs["pad"] = str(tuple(axis.pad for axis in axes))
        if len(rewriter.readers(pad.output)) == 1:
            node.layers += pad.layers
        rewriter.connect(node, 0, pad.inputs[0])


def _axes(pad: Node, convolution: Node) -> Optional[List[_Axis]]:
    """Return what becomes of each axis, or None where it cannot be."""
    widths = read_tuple(pad, "pad_width")[4:]
    count = len(widths) // 2
    own = read_tuple(convolution, "pad") or (0,) * count
    dilations = read_tuple(convolution, "dilate") or (1,) * count
    axes: List[_Axis] = []
    for before, after, both, dilation in zip(widths[::2], widths[1::2], own, dilations):
        steps, rest = divmod(abs(before - after), dilation)
        if rest:
            return None
        axes.append(_Axis(max(before, after) + both, *_places(steps, before < after)))
    return axes


def _places(steps: int, before: bool) -> Tuple[int, int]:
    return (steps, 0) if before else (0, steps)


def _longer(kernel: NDArray[np.int64], axes: List[_Axis]) -> NDArray[np.int64]:
    return kernel + [axis.before + axis.behind for axis in axes]
