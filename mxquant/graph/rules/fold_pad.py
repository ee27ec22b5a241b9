"""Fold a Pad with zeros into the Convolution that reads it.

A convolution pads both ends of an axis alike, by p. With b zeros before and a after, kernel w of length k, stride s and
dilation d, it computes the same with p = max(b, a), and m = |b - a| / d zeros put before the kernel where b < a, behind
it where b > a::

    Σ_j w[j] x[i s + j d - b]  =  Σ_j w'[j] x[i s + j d - a],     w' = (0, ..., 0, w),  m d = a - b

The number of results stays as well: n + b + a - d (k - 1) = n + 2 p - d (k + m - 1). TensorFlow's 'SAME' padding of
layers with stride 2 is the case b = 0, a = 1. MXNet has no int8 Pad, so that each costs two conversions and a copy.

The zeros in the kernel cost multiplications: O / g / Π s more for each value of the data and each position that the
kernel gains, with O channels in g groups and strides s. Measured in oneDNN on two threads, against a Pad: with up to
224 more, int8 takes 1/7 to 3/4 of the time, with VNNI and without; float32 1/4 to 1.1 times, and 1.4 times in the worst
case, kernels of 1x1 without VNNI. With 448 more, int8 gains nothing without VNNI; with 896, nowhere, and float32 takes
1.4 times. Beyond 256 the Pad stays. It also stays where the kernel would get over four times as large: not measured.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar, List, NamedTuple, Optional, Tuple

import numpy as np

from mxquant.graph.attributes import read_float, read_int, read_tuple
from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["FoldPad"]

_PADS = ("Pad", "pad")
_CHANNEL_FIRST = ("None", "NCW", "NCHW", "NCDHW")
_WEIGHT = 1
_MULTIPLICATIONS = 256
_GROWTH = 4


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
        if min(widths) < 0:
            return f"'{pad.name}' takes rows or columns away"
        axes = _axes(pad, node)
        if axes is None:
            return f"the padding of '{pad.name}' does not fit the dilation"
        return _refuse_cost(pad, node, weight.shape, axes)

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Give the convolution padding and a kernel with zeros, and the Pad's input."""
        pad = node.inputs[0].node
        axes, weight = _axes(pad, node), rewriter.constant(node.inputs[_WEIGHT])
        assert axes is not None and weight is not None
        if any(axis.before or axis.behind for axis in axes):
            zeros = [(0, 0), (0, 0), *((axis.before, axis.behind) for axis in axes)]
            rewriter.set_parameter(node, _WEIGHT, np.pad(weight, zeros), f"{node.name}_weight")
            node.attrs["kernel"] = str(_longer(weight.shape[2:], axes))
        node.attrs["pad"] = str(tuple(axis.pad for axis in axes))
        rewriter.connect(node, 0, pad.inputs[0])
        rewriter.stand_in(pad, node)


def _refuse_cost(pad: Node, convolution: Node, shape: Tuple[int, ...], axes: List[_Axis]) -> Optional[str]:
    """Refuse a kernel whose zeros cost more than the Pad does."""
    old, new = prod(shape[2:]), prod(_longer(shape[2:], axes))
    if new > _GROWTH * old:
        return f"the padding of '{pad.name}' would make the kernel more than four times as large"
    filters = shape[0] / read_int(convolution, "num_group", 1)
    more = (new - old) * filters / prod(read_tuple(convolution, "stride") or (1,))
    if more > _MULTIPLICATIONS:
        return (
            f"the padding of '{pad.name}' would cost {more:.0f} multiplications for each value, which is slower than a "
            f"Pad; at most {_MULTIPLICATIONS} are faster"
        )
    return None


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


def _longer(kernel: Tuple[int, ...], axes: List[_Axis]) -> Tuple[int, ...]:
    return tuple(size + axis.before + axis.behind for size, axis in zip(kernel, axes))
