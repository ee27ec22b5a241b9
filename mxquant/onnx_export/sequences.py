"""Translations for networks of text: attention, masks by length, and what numbers and shapes they are made from."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_float, read_int, read_tuple
from mxquant.onnx_export.writer import Call

__all__ = ["SEQUENCES", "softmax_with_length"]

# What stands for minus infinity before a softmax.
_LOWEST = -1e30


def _heads(call: Call, source: str, parts: int, slot: int = 0) -> List[str]:
    """Return interleaved projections (time, batch, heads · parts · width), apart, as (batch, heads, time, width)."""
    heads = read_int(call.node, "heads", 1)
    width = call.shapes[slot][2] // heads // parts
    apart = _shaped(call, source, [0, 0, heads, parts, width], f"heads{slot}")
    found = []
    for part in range(parts):
        index = call.constant(f"part{slot}_{part}", part, np.int64)
        one = call.step("Gather", [apart, index], f"apart{slot}_{part}", axis=3)
        found.append(call.step("Transpose", [one], f"order{slot}_{part}", perm=[1, 2, 0, 3]))
    return found


def _shaped(call: Call, source: str, shape: List[int], suffix: str) -> str:
    return call.step("Reshape", [source, call.constant(f"{suffix}_shape", shape, np.int64)], suffix)


def _scores(call: Call, queries: str, keys: str, width: int) -> None:
    """Write queries times keys, divided by the root of their width, as (batch · heads, time, time)."""
    scale = call.constant("scale", 1 / np.sqrt(width))
    turned = call.step("Transpose", [keys], "turned", perm=[0, 1, 3, 2])
    product = call.step("MatMul", [call.step("Mul", [queries, scale], "scaled"), turned], "product")
    call.emit("Reshape", [product, call.constant("result_shape", call.target(), np.int64)])


def _self_scores(call: Call) -> None:
    queries, keys, _ = _heads(call, call.inputs[0], 3)
    _scores(call, queries, keys, call.shapes[0][2] // read_int(call.node, "heads", 1) // 3)


def _cross_scores(call: Call) -> None:
    (queries,), (keys, _) = _heads(call, call.inputs[0], 1), _heads(call, call.inputs[1], 2, 1)
    _scores(call, queries, keys, call.shapes[0][2] // read_int(call.node, "heads", 1))


def _attended(call: Call, parts: int) -> None:
    """Write attention times values, as (time, batch, channels)."""
    heads, (_, rows, columns) = read_int(call.node, "heads", 1), call.shapes[1]
    values = _heads(call, call.inputs[0], parts)[-1]
    weights = _shaped(call, call.inputs[1], [-1, heads, rows, columns], "weights")
    product = call.step("Transpose", [call.step("MatMul", [weights, values], "product")], "joined", perm=[2, 0, 1, 3])
    channels = call.shapes[0][2] // parts
    call.emit("Reshape", [product, call.constant("result_shape", [0, 0, channels], np.int64)])


def _root_of_width(call: Call) -> None:
    call.emit("Div", [call.inputs[0], call.constant("root", np.sqrt(call.shapes[0][-1]))])


def softmax_with_length(call: Call) -> None:
    """Write a softmax over the last axis of which only the first places count, as many as the second input says."""
    if call.axis(read_int(call.node, "axis", -1)) != call.rank - 1:
        raise call.refuse(f"axis is {call.node.attrs['axis']}, expected the last one where use_length is set")
    places = call.constant("places", np.arange(call.shapes[0][-1]))
    lengths = call.step("Unsqueeze", [_real(call, 1), call.constant("last", [-1], np.int64)], "lengths")
    inside = call.step("Less", [places, lengths], "inside")
    shown = call.step("Where", [inside, call.inputs[0], call.constant("lowest", _LOWEST)], "shown")
    weights = call.step("Softmax", [shown], "weights", axis=call.rank - 1)
    call.emit("Where", [inside, weights, call.constant("zero", 0.0)])


def _sequence_mask(call: Call) -> None:
    if not read_bool(call.node, "use_sequence_length", False):
        call.emit("Identity", call.inputs[:1])
        return
    axis = read_int(call.node, "axis", 0)
    steps = np.arange(call.shapes[0][axis]).reshape((-1, 1) if axis == 0 else (1, -1))
    lengths = call.step("Unsqueeze", [_real(call, 1), call.constant("time", [axis], np.int64)], "lengths")
    inside = call.step("Less", [call.constant("steps", steps), lengths], "inside")
    if call.rank > 2:
        rest = call.constant("rest", list(range(2, call.rank)), np.int64)
        inside = call.step("Unsqueeze", [inside, rest], "everywhere")
    call.emit("Where", [inside, call.inputs[0], call.constant("value", read_float(call.node, "value", 0.0))])


def _real(call: Call, slot: int) -> str:
    """Return an input as float32."""
    return call.step("Cast", [call.inputs[slot]], f"real{slot}", to=call.writer.onnx.TensorProto.FLOAT)


def _comparison(call: Call, op: str, negated: bool = False) -> None:
    """Write a comparison, which in MXNet is 1 or 0 of the type that is compared."""
    inputs = call.inputs
    if len(inputs) == 1:
        inputs = [inputs[0], call.constant("scalar", read_float(call.node, "scalar", 0.0), call.dtype)]
    found = call.step(op, inputs, "holds")
    found = call.step("Not", [found], "not") if negated else found
    call.emit("Cast", [found], to=call.kind())


def _where(call: Call) -> None:
    condition = call.step("Cast", call.inputs[:1], "condition", to=call.writer.onnx.TensorProto.BOOL)
    missing = list(range(call.rank, len(call.shapes[1])))
    if missing:
        # One number for each row.
        condition = call.step("Unsqueeze", [condition, call.constant("behind", missing, np.int64)], "rows")
    call.emit("Where", [condition, *call.inputs[1:]])


def _filled(call: Call, value: float) -> None:
    tensor = call.writer.onnx.numpy_helper.from_array(np.array([value], call.dtype))
    call.emit("ConstantOfShape", [call.step("Shape", call.inputs[:1], "shape")], value=tensor)


def _arange_like(call: Call) -> None:
    axis = call.node.attrs.get("axis", "None")
    if axis == "None" or read_int(call.node, "repeat", 1) != 1:
        raise call.refuse("only numbers along one axis, each once, are supported")
    start, step = read_float(call.node, "start", 0.0), read_float(call.node, "step", 1.0)
    count = call.target()[0]
    if count >= 0:
        numbers = (start + step * np.arange(count)).astype(np.float32)
        call.emit("Identity", [call.constant("numbers", numbers)])
        return
    shape = call.step("Shape", call.inputs, "shape")
    length = call.step("Gather", [shape, call.constant("axis", call.axis(int(axis)), np.int64)], "length", axis=0)
    ends = [call.constant(name, number, np.int64) for name, number in (("none", 0), ("one", 1))]
    places = call.step("Range", [ends[0], length, ends[1]], "whole")
    places = call.step("Cast", [places], "places", to=call.kind())
    scaled = call.step("Mul", [places, call.constant("step", step)], "scaled")
    call.emit("Add", [scaled, call.constant("start", start)])


def _broadcast_axis(call: Call) -> None:
    lengths = [1] * call.rank
    for axis, size in zip(read_tuple(call.node, "axis"), read_tuple(call.node, "size")):
        lengths[axis] = size
    call.emit("Expand", [call.inputs[0], call.constant("lengths", lengths, np.int64)])


def _broadcast_to(call: Call) -> None:
    # A length of 0 stays as it is.
    lengths = [length or 1 for length in read_tuple(call.node, "shape")]
    call.emit("Expand", [call.inputs[0], call.constant("lengths", lengths, np.int64)])


def _broadcast_like(call: Call) -> None:
    shape = call.step("Shape", [call.inputs[1]], "shape")
    axes = [read_tuple(call.node, key) for key in ("lhs_axes", "rhs_axes")]
    if axes[0]:
        whole = len(call.shapes[1])
        taken = dict(zip((call.axis(axis) for axis in axes[0]), (axis % whole for axis in axes[1])))
        # Lengths of the other, and a 1 behind them for axes that stay.
        lengths = call.step("Concat", [shape, call.constant("one", [1], np.int64)], "lengths", axis=0)
        places = [taken.get(axis, whole) for axis in range(call.rank)]
        shape = call.step("Gather", [lengths, call.constant("places", places, np.int64)], "wanted", axis=0)
    call.emit("Expand", [call.inputs[0], shape])


def _cast(call: Call) -> None:
    types = call.writer.onnx.TensorProto
    known = {"float32": types.FLOAT, "float64": types.FLOAT, "int32": types.INT32, "int64": types.INT64}
    dtype = call.node.attrs.get("dtype", "")
    if dtype not in known:
        raise call.refuse(f"dtype is {dtype}, expected one of {', '.join(known)}")
    call.emit("Cast", call.inputs, to=known[dtype])


def _stack(call: Call) -> None:
    axis = read_int(call.node, "axis", 0)
    axis = axis + call.rank + 1 if axis < 0 else axis
    axes = call.constant("axes", [axis], np.int64)
    parts = [call.step("Unsqueeze", [each, axes], f"part{slot}") for slot, each in enumerate(call.inputs)]
    call.emit("Concat", parts, axis=axis)


_COMPARISONS: Dict[str, Tuple[str, bool]] = {
    "lesser": ("Less", False),
    "greater": ("Greater", False),
    "lesser_equal": ("LessOrEqual", False),
    "greater_equal": ("GreaterOrEqual", False),
    "equal": ("Equal", False),
    "not_equal": ("Equal", True),
}

SEQUENCES: Dict[str, Callable[[Call], Any]] = {
    "_contrib_interleaved_matmul_selfatt_qk": _self_scores,
    "_contrib_interleaved_matmul_selfatt_valatt": partial(_attended, parts=3),
    "_contrib_interleaved_matmul_encdec_qk": _cross_scores,
    "_contrib_interleaved_matmul_encdec_valatt": partial(_attended, parts=2),
    "_contrib_div_sqrt_dim": _root_of_width,
    "_contrib_arange_like": _arange_like,
    **{f"broadcast_{name}": partial(_comparison, op=op, negated=no) for name, (op, no) in _COMPARISONS.items()},
    **{f"_{name}_scalar": partial(_comparison, op=op, negated=no) for name, (op, no) in _COMPARISONS.items()},
    "where": _where,
    "zeros_like": partial(_filled, value=0.0),
    "ones_like": partial(_filled, value=1.0),
    "broadcast_axis": _broadcast_axis,
    "broadcast_to": _broadcast_to,
    "broadcast_like": _broadcast_like,
    "Cast": _cast,
    "cast": _cast,
    "stack": _stack,
    "SequenceMask": _sequence_mask,
}
