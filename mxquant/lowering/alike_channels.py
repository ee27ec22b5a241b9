"""Operators that treat all channels of their first input alike.

With one f for all channels c ::

    y[n, c] = f(x[n, c])

Some of them look at a second input for its height and width only. Where an axis is counted from the end, it has to be
known how many there are.
"""

from __future__ import annotations

from typing import Optional

from mxquant.graph import Node
from mxquant.graph.attributes import read_bounds, read_float, read_int, read_tuple

__all__ = ["axis_of", "is_alike", "is_channel_first", "keeps_zeros", "looks_at_images"]

_SINGLE = (
    *("Activation", "LeakyReLU", "relu", "sigmoid", "tanh", "clip", "abs", "square", "sqrt", "exp"),
    *("_mul_scalar", "_plus_scalar", "_minus_scalar", "_div_scalar"),
)
_IMAGES = ("Pooling", "UpSampling", "_contrib_BilinearResize2D", "_contrib_AdaptiveAvgPooling2D", "Crop")
_PADS = ("Pad", "pad")
_PARTS = ("slice_axis", "slice", "slice_like", "repeat")
_FLATTENS = ("Flatten", "flatten")
# Those of which a second input tells only a height and width.
_LIKE = ("_contrib_BilinearResize2D", "Crop", "slice_like")
# Of what makes 0 of 0 whatever its attributes are.
_KEEPS = ("LeakyReLU", "sqrt", *_IMAGES, *_PARTS, *_FLATTENS)
_CHANNELS_FIRST = ("None", "NCW", "NCHW", "NCDHW")
_FIRST_OF_IMAGE = 2


def is_channel_first(node: Node) -> bool:
    """Whether an operator takes the second axis for that of the channels."""
    return node.attrs.get("layout", "None") in _CHANNELS_FIRST


def axis_of(node: Node, key: str, default: Optional[int], rank: Optional[int]) -> Optional[int]:
    """Return an axis counted from the first one; None where that is not known."""
    axis = default if node.attrs.get(key, "None") == "None" else read_int(node, key, 0)
    if axis is None or axis >= 0:
        return axis
    return None if rank is None else axis + rank


def looks_at_images(node: Node) -> bool:
    """Whether an operator of these takes the second axis for that of the channels, and works on those behind it."""
    return node.op in (*_IMAGES, *_PADS, *_PARTS, *_FLATTENS)


def is_alike(node: Node, rank: Optional[int]) -> bool:
    """Whether an operator treats all channels of its first input, on the second axis, alike.

    Parameters
    ----------
    node : Node
        Any operator.
    rank : int or None
        How many axes its first input has, where that is known.
    """
    if len(node.inputs) != 1 and not (node.op in _LIKE and len(node.inputs) == 2):
        return False
    if node.op in _PADS:
        return not any(read_tuple(node, "pad_width")[: 2 * _FIRST_OF_IMAGE])
    if node.op in ("slice_axis", "repeat"):
        axis = axis_of(node, "axis", None, rank)
        return axis is not None and axis >= _FIRST_OF_IMAGE
    if node.op == "slice":
        return not any(any(read_bounds(node, key)[:_FIRST_OF_IMAGE]) for key in ("begin", "end", "step"))
    if node.op == "slice_like":
        axes = read_tuple(node, "axes")
        least = min((axis if axis >= 0 else axis + (rank or 0) for axis in axes), default=0)
        return least >= _FIRST_OF_IMAGE
    if node.op == "UpSampling" and node.attrs.get("sample_type") != "nearest":
        return False
    return node.op in (*_SINGLE, *_IMAGES, *_FLATTENS) and is_channel_first(node)


def keeps_zeros(node: Node) -> bool:
    """Whether an operator that treats all channels alike makes zeros of zeros."""
    if node.op in _PADS:
        return node.attrs.get("mode", "constant") != "constant" or read_float(node, "constant_value", 0.0) == 0
    return node.op in _KEEPS
