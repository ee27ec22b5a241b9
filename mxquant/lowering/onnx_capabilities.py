"""What runtimes compute in int8 of an ONNX file at best.

What a single node has of it, and the reasons, are in :mod:`mxquant.lowering.onnx_qdq`.
"""

from __future__ import annotations

from functools import partial
from typing import Tuple

from mxquant.lowering.capability import Capability
from mxquant.lowering.int8_operator import Int8Operator

__all__ = ["ONNX_QDQ"]

_operator = partial(Int8Operator, "", any_zero_point=True)

ONNX_QDQ: Tuple[Capability, ...] = (
    Capability(
        "Convolution",
        ("Convolution",),
        _operator(
            must=True, data=(0,), result="any", channel_wise=True, reads_zero_point=True, returns_zero_point=True
        ),
        fuses=("relu", "clip"),
        emits=("Conv",),
        note="Channel-first.",
    ),
    Capability(
        "FullyConnected",
        ("FullyConnected",),
        _operator(must=True, data=(0,), result="any", channel_wise=True, float_output=True),
        fuses=("relu", "clip"),
        emits=("Gemm", "MatMul"),
    ),
    Capability(
        "elemwise_add",
        ("elemwise_add",),
        _operator(must=False, data=(0, 1), result="any"),
        fuses=("relu", "clip"),
        emits=("Add",),
    ),
    Capability(
        "Pooling",
        ("Pooling",),
        _operator(must=False, data=(0,), output="inherited", result="like-input"),
        emits=("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"),
        note="Maximum and average.",
    ),
    Capability(
        "Flatten",
        ("Flatten", "flatten"),
        _operator(must=False, data=(0,), output="inherited", result="like-input"),
        emits=("Flatten",),
    ),
    Capability(
        "Activation",
        ("Activation",),
        _operator(must=False, data=(0,), output="inherited", result="like-input"),
        emits=("Relu",),
        note="relu, where it is not fused.",
    ),
    Capability(
        "Concat",
        ("Concat", "concat"),
        _operator(must=False, data=(0,), output="joined", result="like-input"),
        emits=("Concat",),
        note="On a positive axis.",
    ),
)
