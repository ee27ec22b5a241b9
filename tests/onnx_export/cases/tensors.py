"""Cases of operators on tensors: arithmetic, shapes, reductions."""

from __future__ import annotations

from typing import Any

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, ROW, Cases, whole_numbers

sym = mx.sym


def _area_of(x: Any) -> Any:
    return sym.prod(sym.slice_axis(sym.shape_array(x), axis=0, begin=2, end=None), keepdims=True)


CASES: Cases = {
    **{
        f"{op} of all numbers": (IMAGE, lambda x, op=op: getattr(sym, op)(x / 100 + 1) * 2)
        for op in ("mean", "sum", "max", "min", "prod")
    },
    "mean of all numbers, returned": (IMAGE, lambda x: sym.mean(x, axis=(0, 1, 2, 3))),
    "sum of all numbers, with axes": (IMAGE, lambda x: sym.broadcast_add(sym.sum(x, keepdims=True), x)),
    "max of a row": (ROW, lambda x: sym.max(sym.slice_axis(x, axis=0, begin=0, end=1), axis=(0, 1))),
    "mean of axes but two": (IMAGE, lambda x: sym.mean(x, axis=(0, -1), exclude=True)),
    "mean but for no axis": (IMAGE, lambda x: sym.mean(x, exclude=True)),
    "sum but for all axes": (IMAGE, lambda x: sym.sum(x, axis=(0, 1, 2, 3), exclude=True)),
    "squeeze to a number": (IMAGE, lambda x: sym.squeeze(sym.mean(x, axis=(0, 1, 2, 3), keepdims=True))),
    "dot of two rows": (ROW, lambda x: sym.dot(sym.mean(x, axis=0), sym.max(x, axis=0))),
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x)) for op in ("relu", "sigmoid", "tanh", "softsign")},
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x)) for op in ("exp", "abs", "negative", "floor", "ceil")},
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(sym.abs(x) + 1)) for op in ("log", "sqrt")},
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x)) for op in ("square", "erf")},
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x)) for op in ("sign", "reciprocal", "sin", "cos")},
    "_plus_scalar": (IMAGE, lambda x: x + 2),
    "_plus_scalar to whole numbers": (IMAGE, lambda x: whole_numbers(x) + 2.5),
    "_minus_scalar": (IMAGE, lambda x: x - 2),
    "_rminus_scalar": (IMAGE, lambda x: 2 - x),
    "_mul_scalar": (IMAGE, lambda x: x * 3),
    "_div_scalar": (IMAGE, lambda x: x / 3),
    "_rdiv_scalar": (IMAGE, lambda x: 3 / (sym.abs(x) + 1)),
    "_power_scalar": (IMAGE, lambda x: x**2),
    "_rpower_scalar": (IMAGE, lambda x: 2**x),
    "_maximum_scalar": (IMAGE, lambda x: sym.maximum(x, 0.1)),
    "_minimum_scalar": (IMAGE, lambda x: sym.minimum(x, 0.1)),
    "elemwise_add": (IMAGE, lambda x: x + sym.exp(x)),
    "elemwise_sub": (IMAGE, lambda x: x - sym.exp(x)),
    "elemwise_mul": (IMAGE, lambda x: x * sym.exp(x)),
    "elemwise_div": (IMAGE, lambda x: x / sym.exp(x)),
    **{
        f"broadcast_{op}": (
            IMAGE,
            lambda x, op=op: getattr(sym, f"broadcast_{op}")(x, sym.exp(sym.mean(x, axis=(2, 3), keepdims=True))),
        )
        for op in ("add", "sub", "mul", "div", "maximum", "minimum")
    },
    "_maximum": (IMAGE, lambda x: sym.maximum(x, sym.relu(x) - 0.5)),
    "_minimum": (IMAGE, lambda x: sym.minimum(x, sym.relu(x) - 0.5)),
    "broadcast_power": (IMAGE, lambda x: sym.broadcast_power(sym.abs(x), sym.mean(x, axis=1, keepdims=True))),
    "_power": (IMAGE, lambda x: sym.abs(x) ** x),
    "add_n": (IMAGE, lambda x: sym.add_n(x, sym.relu(x), sym.tanh(x))),
    "BlockGrad": (IMAGE, lambda x: sym.BlockGrad(x) + 1),
    "Dropout": (IMAGE, lambda x: sym.Dropout(x) + 1),
    "Concat": (IMAGE, lambda x: sym.concat(x, sym.relu(x), dim=2)),
    "Concat of the last axis": (IMAGE, lambda x: sym.concat(x, sym.relu(x), dim=-1)),
    "Flatten": (IMAGE, lambda x: sym.Flatten(x)),
    "Reshape": (IMAGE, lambda x: sym.reshape(x, shape=(0, 2, -1))),
    "Reshape that joins": (IMAGE, lambda x: sym.reshape(x, shape=(-3, -2))),
    "Reshape that splits": (IMAGE, lambda x: sym.reshape(x, shape=(0, -4, 2, -1, 0, 0))),
    "Reshape from the right": (IMAGE, lambda x: sym.reshape(x, shape=(-1, 2, 0), reverse=True)),
    "reshape_like": (IMAGE, lambda x: sym.reshape_like(sym.relu(x), sym.transpose(x, (0, 3, 2, 1)))),
    "reshape_like of some axes": (
        IMAGE,
        lambda x: sym.reshape_like(sym.reshape(x, (0, 0, -1)), x, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4),
    ),
    "transpose": (IMAGE, lambda x: sym.transpose(x, axes=(0, 2, 3, 1))),
    "transpose of all": (IMAGE, lambda x: sym.transpose(x)),
    "SwapAxis": (IMAGE, lambda x: sym.swapaxes(x, 1, 3)),
    "expand_dims": (IMAGE, lambda x: sym.expand_dims(x, axis=-1)),
    "squeeze": (IMAGE, lambda x: sym.squeeze(sym.mean(x, axis=1, keepdims=True), axis=1)),
    "SliceChannel": (IMAGE, lambda x: sym.Group(list(sym.SliceChannel(x, num_outputs=2)))),
    "SliceChannel that drops the axis": (
        IMAGE,
        lambda x: sym.Group(list(sym.SliceChannel(x, num_outputs=9, axis=2, squeeze_axis=True))),
    ),
    "depth_to_space": ((2, 12, 3, 5), lambda x: sym.depth_to_space(x, block_size=2)),
    "space_to_depth": ((2, 3, 4, 6), lambda x: sym.space_to_depth(x, block_size=2)),
    "slice_axis": (IMAGE, lambda x: sym.slice_axis(x, axis=-1, begin=2, end=-1)),
    "slice_axis to the end": (IMAGE, lambda x: sym.slice_axis(x, axis=2, begin=2, end=None)),
    "slice": (IMAGE, lambda x: sym.slice(x, begin=(None, 1, 0, 1), end=(None, 3, -1, None), step=(1, 1, 2, 3))),
    "slice backwards": (IMAGE, lambda x: sym.slice(x, (None, -1, 7, None), (None, 0, None, 2), (1, -1, -3, -2))),
    "reverse": (IMAGE, lambda x: sym.reverse(x, axis=(1, 3))),
    "shape_array": (IMAGE, lambda x: sym.shape_array(x)),
    "shape_array in arithmetic": (
        *(IMAGE, lambda x: sym.broadcast_mul(x, sym.cast(_area_of(x) * 3 - 1 > 268, "float32"))),
    ),
    "slice_like": (
        IMAGE,
        lambda x: sym.slice_like(x, sym.slice(x, begin=(0, 1, 2, 3), end=(2, 4, 9, 7)), axes=(2, -1)),
    ),
    "slice_like of all axes": (
        IMAGE,
        lambda x: sym.slice_like(sym.concat(x, x, dim=0), sym.slice_axis(x, axis=3, begin=2, end=6)),
    ),
    "tile": (IMAGE, lambda x: sym.tile(x, reps=(2, 1, 3))),
    "tile to more dimensions": (ROW, lambda x: sym.tile(x, reps=(2, 1, 3))),
    "repeat": (IMAGE, lambda x: sym.repeat(x, repeats=3, axis=-2)),
    "repeat of images": (IMAGE, lambda x: sym.repeat(x, repeats=2, axis=0)),
    "repeat of all": (ROW, lambda x: sym.repeat(x, repeats=2)),
    "_arange": (ROW, lambda x: sym.broadcast_add(x, sym.reshape(sym.arange(1, 4.5, step=0.5), shape=(1, -1)))),
    "_arange to a number": (ROW, lambda x: sym.broadcast_add(x, sym.reshape(sym.arange(7), shape=(1, -1)))),
    "_arange of a length that is inferred": (
        ROW,
        lambda x: sym.broadcast_add(
            x, sym.reshape(sym.elemwise_add(sym.arange(7, 14), sym.arange(3, infer_range=True)), shape=(1, -1))
        ),
    ),
    "_arange of whole numbers": (
        ROW,
        lambda x: sym.cast(
            sym.reshape(sym.arange(7, dtype="int32"), (1, -1))
            + sym.cast(sym.slice_axis(x, axis=0, begin=0, end=1), "int32"),
            "float32",
        ),
    ),
    "_arange with repetition": (
        ROW,
        lambda x: sym.broadcast_add(x, sym.reshape(sym.arange(0, 3, repeat=3), shape=(1, -1)).slice_axis(1, 2, None)),
    ),
    "mean": (IMAGE, lambda x: sym.mean(x, axis=(2, 3))),
    "mean excluding axes": (IMAGE, lambda x: sym.mean(x, axis=(0, 1), exclude=True, keepdims=True)),
    "sum": (IMAGE, lambda x: sym.sum(x, axis=-1)),
    "max": (IMAGE, lambda x: sym.max(x, axis=1)),
    "min": (IMAGE, lambda x: sym.min(x, axis=1)),
    "prod": (IMAGE, lambda x: sym.prod(x, axis=1, keepdims=True)),
    "Embedding": (ROW, lambda x: sym.Embedding(sym.abs(x), input_dim=20, output_dim=4)),
    "dot": (ROW, lambda x: sym.dot(x, sym.exp(x), transpose_b=True)),
    "batch_dot": ((2, 3, 7), lambda x: sym.batch_dot(x, sym.exp(x), transpose_a=True)),
}
