"""What runtimes compute in int8 of an ONNX file at best.

What a single node has of it, and the reasons, are in :mod:`mxquant.lowering.onnx_qdq`.
"""

from __future__ import annotations

from typing import Tuple

from mxquant.lowering.capability import Capability
from mxquant.lowering.int8_operator import Int8Operator

__all__ = ["ONNX_QDQ"]

ONNX_QDQ: Tuple[Capability, ...] = (
    Capability(
        "Convolution",
        ("Convolution",),
        Int8Operator(
            "",
            must=True,
            data=(0,),
            result="any",
            channel_wise=True,
            reads_zero_point=True,
            returns_zero_point=True,
        ),
        fuses=("relu", "clip"),
        emits=("Conv",),
        note="Channel-first. A zero point is returned behind relu or clip, with a bias.",
    ),
    Capability(
        "FullyConnected",
        ("FullyConnected",),
        Int8Operator("", must=True, data=(0,), result="any", channel_wise=True, float_output=True),
        fuses=("relu", "clip"),
        emits=("Gemm", "MatMul"),
    ),
    Capability(
        "elemwise_add",
        ("elemwise_add",),
        Int8Operator("", must=False, data=(0, 1), result="any"),
        fuses=("relu", "clip"),
        emits=("Add",),
    ),
    Capability(
        "Pooling",
        ("Pooling",),
        Int8Operator("", must=False, data=(0,), output="inherited", result="like-input"),
        emits=("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"),
        note="Maximum and average.",
    ),
    Capability(
        "Flatten",
        ("Flatten", "flatten"),
        Int8Operator("", must=False, data=(0,), output="inherited", result="like-input"),
        emits=("Flatten",),
    ),
    Capability(
        "Activation",
        ("Activation",),
        Int8Operator("", must=False, data=(0,), output="inherited", result="like-input"),
        emits=("Relu",),
        note="relu, where it is not fused.",
    ),
    Capability(
        "Concat",
        ("Concat", "concat"),
        Int8Operator("", must=False, data=(0,), output="joined", result="like-input"),
        emits=("Concat",),
        note="On a positive axis.",
    ),
)
