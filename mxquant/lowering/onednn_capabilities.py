"""What MXNet 1.9 computes in int8 on the CPU at best.

What a single node has of it, and the reasons, are in :mod:`mxquant.lowering.onednn_operators`.
"""

from __future__ import annotations

from typing import FrozenSet, Tuple

from mxquant.lowering.capability import Capability
from mxquant.lowering.int8_operator import RECURRENT, Int8Operator
from mxquant.lowering.moves import MOVES

__all__ = ["ONEDNN"]

_SIGNED: FrozenSet[str] = frozenset({"int8"})

ONEDNN: Tuple[Capability, ...] = (
    Capability(
        "Convolution",
        ("_sg_mkldnn_conv",),
        Int8Operator(
            "_sg_mkldnn_conv",
            must=True,
            data=(0,),
            channel_wise=True,
            reads_zero_point=True,
            returns_zero_point=True,
        ),
        fuses=("elemwise_add", "relu", "clip", "leaky"),
        unsigned=("relu", "clip", "sigmoid", "softrelu"),
        note="2D and 3D, channel-first. Groups, but for depthwise: one scale, requantized apart, no zero points. A "
        "zero point is read without padding, and returned behind relu or clip without addition; both with a bias.",
    ),
    Capability(
        "FullyConnected",
        ("_sg_mkldnn_fully_connected",),
        Int8Operator(
            "_sg_mkldnn_fully_connected",
            must=True,
            data=(0,),
            weights=(1,),
            channel_wise=True,
            float_output=True,
        ),
        fuses=("relu", "clip", "elu", "gelu", "abs"),
        unsigned=("relu", "clip", "abs", "sigmoid", "softrelu", "square", "sqrt", "exp"),
        note="One scale, and an int8 bias, where `granularity` says so or weights need fewer codes. Without "
        "calibration no bias but zeros, one scale, no float32 result.",
    ),
    Capability(
        "Pooling",
        ("Pooling",),
        Int8Operator("_contrib_quantized_pooling", must=False, data=(0,), output="inherited", result="like-input"),
        note="Maximum and average, 2D and 3D, channel-first.",
    ),
    Capability(
        "Flatten",
        ("Flatten", "flatten"),
        Int8Operator("_contrib_quantized_flatten", must=False, data=(0,), output="inherited", result="like-input"),
    ),
    Capability(
        "Reshape, expand_dims, squeeze",
        tuple(sorted(MOVES)),
        Int8Operator("", must=False, data=(0,), output="inherited", result="like-input", moves=True),
        note="Between int8 layers only, in mode 'full' too.",
    ),
    Capability(
        "Activation",
        ("Activation",),
        Int8Operator(
            "_contrib_quantized_act",
            must=False,
            data=(0,),
            accepts=_SIGNED,
            output="inherited",
            result="like-input",
        ),
        note="relu, where it is not fused.",
    ),
    Capability(
        "BatchNorm",
        ("BatchNorm",),
        Int8Operator("_contrib_quantized_batch_norm", must=False, data=(0,)),
        note="On axis 1, where it is not folded. Calibrated only.",
    ),
    Capability(
        "Concat",
        ("Concat", "concat"),
        Int8Operator("_contrib_quantized_concat", must=False, data=(0,), output="joined", result="like-input"),
        note="On a positive axis.",
    ),
    Capability(
        "elemwise_add",
        ("elemwise_add",),
        Int8Operator("_contrib_quantized_elemwise_add", must=False, data=(0, 1), result="like-input"),
        note="Where it is not fused. Calibrated only.",
    ),
    Capability(
        "elemwise_mul",
        ("elemwise_mul",),
        Int8Operator(
            "_contrib_quantized_elemwise_mul",
            must=False,
            data=(0, 1),
            accepts=_SIGNED,
            float_output=True,
            fuses_requantize=False,
        ),
        note="Without calibration no float32 result.",
    ),
    Capability(
        "Embedding",
        ("Embedding",),
        Int8Operator("_contrib_quantized_embedding", must=False, data=(), output="weights", weights=(1,)),
    ),
    Capability(
        "RNN",
        ("RNN",),
        Int8Operator(
            RECURRENT,
            must=True,
            data=(),
            output="float32",
            channel_wise=True,
            note="its data and state have 128 codes, with which it cannot saturate",
        ),
        note="LSTM that is not small, on CPUs that have it. Calibrated only.",
    ),
)
