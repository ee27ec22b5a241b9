"""Compute a Deconvolution as a Convolution whose channels are then spread over rows and columns.

With stride s and kernel w of length k, a Deconvolution gives, at place s m + r for r = 0 … s - 1, ::

    y[s m + r]  =  Σ_j w[s j + r] x[m - j]

which for each r is a convolution with a kernel of length q = ceil(k / s). So one Convolution with s² times the
channels, padded by q - 1, computes all of them; ``depth_to_space`` puts them into their places, and ``slice`` takes off
what the Deconvolution's padding does. Source: Shi et al. 2016, arXiv:1609.07009.

MXNet has no int8 Deconvolution. An activation that alone reads the result goes before the channels are spread, where
the convolution computes it. To spread them costs about as much as 200 multiplications in float32 for each value; where
there are fewer than 512, int8 gains nothing on CPUs without VNNI, and the Deconvolution stays.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, FrozenSet, List, NamedTuple, Optional, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_int, read_tuple
from mxquant.graph.ir import Node, Tensor
from mxquant.graph.rewriter import Rewriter, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DeconvolutionAsConvolution"]

_WEIGHT, _BIAS = 1, 2
_MULTIPLICATIONS = 512
_ELEMENTWISE: FrozenSet[str] = frozenset({"Activation", "relu", "clip"})


class _Sizes(NamedTuple):
    """Stride s, length q of the new kernels, and what is cut off at the begin and the end of both axes."""

    stride: int
    lengths: Tuple[int, ...]
    begins: Tuple[int, ...]
    ends: Tuple[int, ...]


class DeconvolutionAsConvolution(Rule):
    """Replace a Deconvolution that enlarges maps."""

    name: ClassVar[str] = "deconvolution_as_convolution"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a Deconvolution."""
        return node.op == "Deconvolution"

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse what is not a 2D Deconvolution of one group with equal strides."""
        for tensor in node.inputs[_WEIGHT:]:
            value = rewriter.constant(tensor)
            if value is None or value.dtype != np.float32:
                return f"its parameter '{tensor.name}' has no fixed value of float32"
        kernel, stride = read_tuple(node, "kernel"), read_tuple(node, "stride")
        if len(kernel) != 2:
            return f"it has a {len(kernel)}D kernel; only 2D ones are replaced"
        if read_int(node, "num_group", 1) != 1:
            return f"it has {node.attrs['num_group']} groups; only one is replaced"
        if len(set(stride)) != 1 or stride[0] < 2:
            return f"its strides are {stride or (1, 1)}; only equal ones from 2 on are replaced"
        if any(each != 1 for each in read_tuple(node, "dilate")):
            return "it is dilated"
        if any(read_tuple(node, "target_shape")):
            return "its target_shape is set"
        if node.attrs.get("layout", "None") not in ("None", "NCHW"):
            return f"it has layout {node.attrs['layout']}; only channel-first ones are replaced"
        sizes = _sizes(node)
        if min(sizes.ends) < 0:
            return "its adj is larger than what its kernel reaches"
        count = len(rewriter.params[node.inputs[_WEIGHT].node.name]) * prod(sizes.lengths)
        if count < _MULTIPLICATIONS:
            return f"with {count} multiplications for each value int8 gains nothing; it does from {_MULTIPLICATIONS} on"
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Put a Convolution, depth_to_space and slice in its place."""
        sizes = _sizes(node)
        weight = rewriter.constant(node.inputs[_WEIGHT])
        assert weight is not None
        last = _activation(rewriter, node)
        rewriter.set_parameter(node, _WEIGHT, _kernels(weight, sizes), f"{node.name}_weight")
        if not read_bool(node, "no_bias", True):
            bias = rewriter.constant(node.inputs[_BIAS])
            assert bias is not None
            rewriter.set_parameter(node, _BIAS, np.tile(bias, sizes.stride**2), f"{node.name}_bias")
        node.op = "Convolution"
        node.attrs = {
            "kernel": str(sizes.lengths),
            "stride": "(1, 1)",
            "dilate": "(1, 1)",
            "pad": str(tuple(length - 1 for length in sizes.lengths)),
            "num_filter": str(weight.shape[1] * sizes.stride**2),
            "num_group": "1",
            "no_bias": str(len(node.inputs) <= _BIAS),
        }
        _spread(rewriter, node, last, sizes)


def _sizes(node: Node) -> _Sizes:
    kernel, stride = read_tuple(node, "kernel"), read_tuple(node, "stride")[0]
    pad, adjust = read_tuple(node, "pad") or (0, 0), read_tuple(node, "adj") or (0, 0)
    lengths = tuple(-(-size // stride) for size in kernel)
    ends = (stride * length - size + p - a for length, size, p, a in zip(lengths, kernel, pad, adjust))
    return _Sizes(stride, lengths, tuple(pad), tuple(ends))


def _kernels(weight: NDArray[Any], sizes: _Sizes) -> NDArray[np.float32]:
    """Return the kernels of all places, shape (s · s · outputs, inputs, q, q), from (inputs, outputs, k, k)."""
    stride, (rows, columns) = sizes.stride, sizes.lengths
    short = [(0, stride * length - size) for length, size in zip(sizes.lengths, weight.shape[2:])]
    full = np.pad(weight, [(0, 0), (0, 0), *short])
    inputs, outputs = weight.shape[:2]
    parts = full.reshape(inputs, outputs, rows, stride, columns, stride)[:, :, ::-1, :, ::-1]
    kernels = parts.transpose(3, 5, 1, 0, 2, 4).reshape(stride * stride * outputs, inputs, rows, columns)
    return np.ascontiguousarray(kernels, np.float32)


def _activation(rewriter: Rewriter, node: Node) -> Node:
    """Return the activation that alone reads a node, or the node itself."""
    readers = rewriter.readers(node.output)
    reader = readers[0].node if len(readers) == 1 else None
    return reader if reader is not None and reader.op in _ELEMENTWISE else node


def _spread(rewriter: Rewriter, convolution: Node, last: Node, sizes: _Sizes) -> None:
    """Let the readers of `last` read its channels in their places, cut to size, under the name that they know."""
    known = last.output.name
    moves: List[Node] = [Node("depth_to_space", f"{convolution.name}_spread", {"block_size": str(sizes.stride)})]
    if any(sizes.begins) or any(sizes.ends):
        begins = ", ".join(("None", "None", *map(str, sizes.begins)))
        ends = ", ".join(("None", "None", *(str(-end) if end else "None" for end in sizes.ends)))
        moves.append(Node("slice", f"{convolution.name}_cut", {"begin": f"({begins})", "end": f"({ends})"}))
    for node in dict.fromkeys((convolution, last)):
        node.output_names = (f"{node.output.name}_channels",)
    source: Tensor = last.output
    rewriter.insert(source, moves[-1].output)
    for move in moves:
        move.inputs = [source]
        rewriter.enter(move, 0, source)
        source = move.output
    moves[-1].output_names = (known,)
