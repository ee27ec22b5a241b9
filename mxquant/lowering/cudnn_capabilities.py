"""What MXNet 1.9 computes in int8 on NVIDIA GPUs at best.

What a single node has of it, and the reasons, are in :mod:`mxquant.lowering.cudnn`.
"""

from __future__ import annotations

from typing import FrozenSet, Tuple

from mxquant.lowering.capability import Capability
from mxquant.lowering.int8_operator import Int8Operator

__all__ = ["CUDNN"]

_INT8: FrozenSet[str] = frozenset({"int8"})

CUDNN: Tuple[Capability, ...] = (
    Capability(
        "Convolution",
        ("Convolution",),
        Int8Operator(
            "_contrib_quantized_conv",
            must=True,
            data=(0,),
            accepts=_INT8,
            float_output=True,
            fuses_requantize=False,
            reads_zero_point=True,
            returns_zero_point=True,
            int32_bias=True,
        ),
        fuses=("relu", "clip"),
        note="2D, channel-first, without groups or dilation, channels in multiples of 4. A zero point is read without "
        "padding, and returned behind relu or clip, with a bias.",
    ),
    Capability(
        "FullyConnected",
        ("FullyConnected",),
        Int8Operator(
            "_contrib_quantized_fully_connected",
            must=True,
            data=(0,),
            accepts=_INT8,
            float_output=True,
            fuses_requantize=False,
            reads_zero_point=True,
            int32_bias=True,
        ),
        fuses=("relu", "clip"),
        note="`flatten=True`, units in multiples of 4.",
    ),
    Capability(
        "Pooling",
        ("Pooling",),
        Int8Operator(
            "_contrib_quantized_pooling",
            must=False,
            data=(0,),
            accepts=_INT8,
            output="inherited",
            result="like-input",
        ),
        note="Maximum, 2D, channel-first, of whole windows.",
    ),
    Capability(
        "Flatten",
        ("Flatten", "flatten"),
        Int8Operator(
            "_contrib_quantized_flatten",
            must=False,
            data=(0,),
            accepts=_INT8,
            output="inherited",
            result="like-input",
        ),
    ),
)
