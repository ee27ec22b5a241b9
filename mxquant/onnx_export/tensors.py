"""Translations of operators on tensors: arithmetic, shapes, reductions."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_bounds, read_float, read_int, read_tuple
from mxquant.onnx_export.writer import Call

__all__ = ["TENSORS"]

# Beyond the end of any axis.
_FAR = 2**31 - 1


def _same(call: Call, op: str) -> None:
    call.emit(op, call.inputs)


def _scalar(call: Call, op: str, reverse: bool = False) -> None:
    number = call.constant("scalar", read_float(call.node, "scalar", 0.0), call.dtype)
    call.emit(op, [number, call.inputs[0]] if reverse else [call.inputs[0], number])


def _sum_of_all(call: Call) -> None:
    call.emit("Sum", call.inputs)


def _square(call: Call) -> None:
    call.emit("Mul", [call.inputs[0]] * 2)


def _concat(call: Call) -> None:
    call.emit("Concat", call.inputs, axis=call.axis(read_int(call.node, "dim", 1)))


def _flatten(call: Call) -> None:
    call.emit("Flatten", call.inputs)


def _reshape(call: Call) -> None:
    shape = read_tuple(call.node, "shape")
    if read_bool(call.node, "reverse", False) or not shape or any(number < -1 for number in shape):
        shape = tuple(call.target())
    call.emit("Reshape", [call.inputs[0], call.constant("shape", shape, np.int64)])


def _reshape_like(call: Call) -> None:
    call.emit("Reshape", [call.inputs[0], call.constant("shape", call.target(), np.int64)])


def _transpose(call: Call) -> None:
    axes = read_tuple(call.node, "axes") or tuple(reversed(range(call.rank)))
    call.emit("Transpose", call.inputs, perm=axes)


def _swap_axes(call: Call) -> None:
    order = list(range(call.rank))
    first, second = (call.axis(read_int(call.node, key, 0)) for key in ("dim1", "dim2"))
    order[first], order[second] = order[second], order[first]
    call.emit("Transpose", call.inputs, perm=order)


def _expand_dims(call: Call) -> None:
    axis = read_int(call.node, "axis", 0)
    axes = call.constant("axes", [axis + call.rank + 1 if axis < 0 else axis], np.int64)
    call.emit("Unsqueeze", [call.inputs[0], axes])


def _squeeze(call: Call) -> None:
    axes = read_tuple(call.node, "axis")
    if len(axes or [length for length in call.shapes[0] if length == 1]) == call.rank:
        _returned(call, call.inputs[0])
        return
    call.emit("Squeeze", [call.inputs[0], *([call.constant("axes", axes, np.int64)] if axes else [])])


def _split(call: Call) -> None:
    axis, count = call.axis(read_int(call.node, "axis", 1)), read_int(call.node, "num_outputs", 1)
    sizes = call.constant("sizes", [call.shapes[0][axis] // count] * count, np.int64)
    squeezed = read_bool(call.node, "squeeze_axis", False)
    parts = [call.writer.unused(f"{name}_part") for name in call.outputs] if squeezed else call.outputs
    call.writer.emit("Split", [call.inputs[0], sizes], call.node.name, parts, axis=axis)
    if squeezed:
        axes = call.constant("axes", [axis], np.int64)
        for part, name in zip(parts, call.outputs):
            call.writer.emit("Squeeze", [part, axes], f"{name}_squeeze", [name])


def _depth_to_space(call: Call) -> None:
    call.emit("DepthToSpace", call.inputs, blocksize=read_int(call.node, "block_size", 1), mode="DCR")


def _space_to_depth(call: Call) -> None:
    call.emit("SpaceToDepth", call.inputs, blocksize=read_int(call.node, "block_size", 1))


def _slice_axis(call: Call) -> None:
    axis = call.axis(read_int(call.node, "axis", 0))
    _emit_slice(call, {axis: (read_int(call.node, "begin", 0), read_int(call.node, "end", _FAR), 1)})


def _slice(call: Call) -> None:
    begin, end = (read_bounds(call.node, key) for key in ("begin", "end"))
    step = read_bounds(call.node, "step") or (None,) * len(begin)
    limits: Dict[int, Tuple[int, int, int]] = {}
    for axis, (first, last, stride) in enumerate(zip(begin, end, step)):
        stride = 1 if stride is None else stride
        ends = (0, _FAR) if stride > 0 else (_FAR, -_FAR)
        limits[axis] = (ends[0] if first is None else first, ends[1] if last is None else last, stride)
    _emit_slice(call, limits)


def _reverse(call: Call) -> None:
    _emit_slice(call, {call.axis(axis): (_FAR, -_FAR, -1) for axis in read_tuple(call.node, "axis")})


def _slice_like(call: Call) -> None:
    axes = [call.axis(axis) for axis in read_tuple(call.node, "axes")] or list(range(call.rank))
    lengths = call.target()
    if all(lengths[axis] > 0 for axis in axes):
        _emit_slice(call, {axis: (0, lengths[axis], 1) for axis in axes})
        return
    places = call.constant("axes", axes, np.int64)
    ends = call.step("Gather", [call.step("Shape", [call.inputs[1]], "shape"), places], "ends")
    call.emit("Slice", [call.inputs[0], call.constant("starts", [0] * len(axes), np.int64), ends, places])


def _tile(call: Call) -> None:
    repeats = read_tuple(call.node, "reps")
    data, missing = call.inputs[0], len(repeats) - call.rank
    if missing > 0:
        data = call.step("Unsqueeze", [data, call.constant("axes", list(range(missing)), np.int64)], "deeper")
    repeats = (*[1] * -missing, *repeats)
    call.emit("Tile", [data, call.constant("repeats", repeats, np.int64)])


def _repeat(call: Call) -> None:
    data, rank, axis = call.inputs[0], call.rank, 0
    if call.node.attrs.get("axis", "None") == "None":
        data, rank = call.step("Reshape", [data, call.constant("all", [-1], np.int64)], "flat"), 1
    else:
        axis = call.axis(read_int(call.node, "axis", 0))
    repeats = [1] * (rank + 1)
    repeats[axis + 1] = read_int(call.node, "repeats", 1)
    apart = call.step("Unsqueeze", [data, call.constant("behind", [axis + 1], np.int64)], "apart")
    tiled = call.step("Tile", [apart, call.constant("repeats", repeats, np.int64)], "tiled")
    call.emit("Reshape", [tiled, call.constant("shape", call.target(), np.int64)])


def _arange(call: Call) -> None:
    start, step = read_float(call.node, "start", 0.0), read_float(call.node, "step", 1.0)
    each = read_int(call.node, "repeat", 1)
    if call.node.attrs.get("stop", "None") == "None" and not read_bool(call.node, "infer_range", False):
        # One number is where it ends.
        start = 0.0
    kind = {"int32": np.int32, "int64": np.int64}.get(call.node.attrs.get("dtype", "float32"), np.float32)
    numbers = start + step * (np.arange(call.target()[0]) // each)
    call.emit("Identity", [call.constant("numbers", numbers, kind)])


def _emit_slice(call: Call, limits: Dict[int, Tuple[int, int, int]]) -> None:
    columns = list(zip(*limits.values()))
    names = ("starts", "ends", "steps")
    starts, ends, steps = (call.constant(name, column, np.int64) for name, column in zip(names, columns))
    call.emit("Slice", [call.inputs[0], starts, ends, call.constant("axes", list(limits), np.int64), steps])


def _reduce(call: Call, op: str) -> None:
    given = [call.axis(axis) for axis in read_tuple(call.node, "axis")]
    axes = given or list(range(call.rank))
    if given and read_bool(call.node, "exclude", False):
        axes = [axis for axis in range(call.rank) if axis not in given]
    if not axes:
        call.emit("Identity", call.inputs[:1])
        return
    inputs, attrs = call.inputs[:1], {"keepdims": int(read_bool(call.node, "keepdims", False))}
    if op == "ReduceSum":
        inputs = [call.inputs[0], call.constant("axes", axes, np.int64)]
    else:
        attrs["axes"] = axes  # type: ignore[assignment]
    if attrs["keepdims"] or len(axes) < call.rank:
        call.emit(op, inputs, **attrs)
    else:
        _returned(call, call.step(op, inputs, "number", **attrs))


def _returned(call: Call, number: str) -> None:
    """Return a number, which has an axis in MXNet but for the shapes of ``mx.np``."""
    call.emit("Reshape", [number, call.constant("shape", call.target(), np.int64)])


def _shape_of(call: Call) -> None:
    call.emit("Shape", call.inputs)


def _embedding(call: Call) -> None:
    index = call.step("Cast", [call.inputs[0]], "index", to=call.writer.onnx.TensorProto.INT64)
    call.emit("Gather", [call.inputs[1], index], axis=0)


def _product(call: Call) -> None:
    sides = []
    for name, key, slot in (("left", "transpose_a", 0), ("right", "transpose_b", 1)):
        side = call.inputs[slot]
        if read_bool(call.node, key, False):
            rank = len(call.shapes[slot])
            side = call.step("Transpose", [side], name, perm=[*range(rank - 2), rank - 1, rank - 2])
        sides.append(side)
    if call.node.op == "dot" and any(len(shape) > 2 for shape in call.shapes):
        raise call.refuse("dot of more than two dimensions is not supported")
    if all(len(shape) == 1 for shape in call.shapes):
        _returned(call, call.step("MatMul", sides, "number"))
        return
    call.emit("MatMul", sides)


_SAME = {
    **dict.fromkeys(("elemwise_add", "_plus", "_Plus", "broadcast_add", "broadcast_plus"), "Add"),
    **dict.fromkeys(("elemwise_sub", "_minus", "broadcast_sub", "broadcast_minus"), "Sub"),
    **dict.fromkeys(("elemwise_mul", "_mul", "broadcast_mul"), "Mul"),
    **dict.fromkeys(("elemwise_div", "_div", "broadcast_div"), "Div"),
    **dict.fromkeys(("broadcast_maximum", "_maximum"), "Max"),
    **dict.fromkeys(("broadcast_minimum", "_minimum"), "Min"),
    **dict.fromkeys(("identity", "_copy", "BlockGrad", "Dropout"), "Identity"),
    **{"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softsign": "Softsign", "erf": "Erf"},
    **{"_npi_add": "Add", "_npi_subtract": "Sub", "_npi_multiply": "Mul", "_npi_true_divide": "Div"},
    **{"_npi_matmul": "MatMul", "_npi_exp": "Exp", "_npi_sqrt": "Sqrt", "_npi_tanh": "Tanh", "_npi_absolute": "Abs"},
    **{"sign": "Sign", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos"},
    **dict.fromkeys(("broadcast_power", "_power"), "Pow"),
    **{"exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs", "negative": "Neg", "floor": "Floor", "ceil": "Ceil"},
}
_SCALARS: Dict[str, Tuple[str, bool]] = {
    "_plus_scalar": ("Add", False),
    "_minus_scalar": ("Sub", False),
    "_rminus_scalar": ("Sub", True),
    "_mul_scalar": ("Mul", False),
    "_div_scalar": ("Div", False),
    "_rdiv_scalar": ("Div", True),
    "_power_scalar": ("Pow", False),
    "_rpower_scalar": ("Pow", True),
    "_maximum_scalar": ("Max", False),
    "_minimum_scalar": ("Min", False),
    "_npi_add_scalar": ("Add", False),
    "_npi_subtract_scalar": ("Sub", False),
    "_npi_rsubtract_scalar": ("Sub", True),
    "_npi_multiply_scalar": ("Mul", False),
    "_npi_true_divide_scalar": ("Div", False),
    "_npi_rtrue_divide_scalar": ("Div", True),
    "_npi_power_scalar": ("Pow", False),
}
_REDUCTIONS = {
    **{"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd"},
    **{"_npi_mean": "ReduceMean", "_np_sum": "ReduceSum", "_np_max": "ReduceMax", "_np_min": "ReduceMin"},
}

TENSORS: Dict[str, Callable[[Call], Any]] = {
    **{name: partial(_same, op=op) for name, op in _SAME.items()},
    **{name: partial(_scalar, op=op, reverse=reverse) for name, (op, reverse) in _SCALARS.items()},
    **{name: partial(_reduce, op=op) for name, op in _REDUCTIONS.items()},
    "add_n": _sum_of_all,
    "ElementWiseSum": _sum_of_all,
    "square": _square,
    "Concat": _concat,
    "concat": _concat,
    "Flatten": _flatten,
    "flatten": _flatten,
    "Reshape": _reshape,
    "reshape": _reshape,
    "transpose": _transpose,
    "_np_transpose": _transpose,
    "SwapAxis": _swap_axes,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "_np_squeeze": _squeeze,
    "_np_reshape": _reshape,
    "reshape_like": _reshape_like,
    "_npx_reshape": _reshape,
    "_npi_square": _square,
    "SliceChannel": _split,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "slice_axis": _slice_axis,
    "slice": _slice,
    "slice_like": _slice_like,
    "reverse": _reverse,
    "shape_array": _shape_of,
    "tile": _tile,
    "repeat": _repeat,
    "_arange": _arange,
    "Embedding": _embedding,
    "dot": _product,
    "batch_dot": _product,
}
