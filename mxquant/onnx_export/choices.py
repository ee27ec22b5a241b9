"""Translations of operators that choose: the largest values and their places, and what is at given places.

Where values are equal, MXNet's sort has them in any order; here the first one comes first.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_int
from mxquant.onnx_export.writer import Call

__all__ = ["CHOICES"]


def _axis_of(call: Call, default: Optional[int]) -> Optional[int]:
    """Return the axis along which is chosen, or None for all values as one row."""
    text = call.node.attrs.get("axis", str(default))
    return None if text == "None" else call.axis(read_int(call.node, "axis", default or 0))


def _row(call: Call, axis: Optional[int]) -> Tuple[str, int]:
    """Return the data, and the axis to choose along."""
    if axis is not None:
        return call.inputs[0], axis
    return call.step("Reshape", [call.inputs[0], call.constant("all", [-1], np.int64)], "flat"), 0


def _best(call: Call, data: str, axis: int, count: str, ascending: bool) -> List[str]:
    """Return the first values of a row that is put into order, and their places."""
    names = [call.writer.unused(f"{call.node.name}_{name}") for name in ("values", "places")]
    call.writer.emit("TopK", [data, count], f"{call.node.name}_best", names, axis=axis, largest=int(not ascending))
    return names


def _length(call: Call, data: str, axis: Optional[int]) -> str:
    """Return the length of an axis of the data, or None's of all that they have as one row."""
    fixed = call.lengths[0] if axis is None else [call.lengths[0][axis]]
    if all(isinstance(length, int) for length in fixed):
        return call.constant("length", [np.prod([int(str(length)) for length in fixed])], np.int64)
    place = call.constant("place", [axis or 0], np.int64)
    return call.step("Gather", [call.step("Shape", [data], "shape"), place], "length", axis=0)


def _top(call: Call) -> None:
    most, kind = read_int(call.node, "k", 1), call.node.attrs.get("ret_typ", "indices")
    along = _axis_of(call, -1)
    data, axis = _row(call, along)
    count = call.constant("count", [most], np.int64) if most > 0 else _length(call, data, along)
    values, places = _best(call, data, axis, count, read_bool(call.node, "is_ascend", False))
    if kind == "mask":
        _mask(call, data, places, axis)
    elif kind == "indices":
        call.emit("Cast", [places], to=call.kind())
    else:
        call.emit("Identity", [values])
        call.writer.emit("Cast", [places], f"{call.node.name}_indices", call.outputs[1:], to=call.kind(1))


def _mask(call: Call, data: str, places: str, axis: int) -> None:
    """Write 1 at some places and 0 at others."""
    shapes = [call.step("Shape", [each], f"shape_of_{name}") for each, name in ((data, "all"), (places, "chosen"))]
    tensor = call.writer.onnx.numpy_helper.from_array
    zeros, ones = (
        call.step("ConstantOfShape", [shape], name, value=tensor(np.array([number], call.dtype)))
        for shape, name, number in zip(shapes, ("zeros", "ones"), (0, 1))
    )
    mask = call.step("ScatterElements", [zeros, places, ones], "mask", axis=axis)
    call.emit("Reshape", [mask, call.step("Shape", call.inputs, "data_shape")])


def _sorted(call: Call, places: bool) -> None:
    along = _axis_of(call, -1)
    data, axis = _row(call, along)
    ascending = read_bool(call.node, "is_ascend", True)
    found = _best(call, data, axis, _length(call, data, along), ascending)
    if places:
        call.emit("Cast", [found[1]], to=call.kind())
    else:
        call.emit("Identity", [found[0]])


def _extreme(call: Call, op: str, default: Optional[int] = None) -> None:
    axis, keep = _axis_of(call, default), read_bool(call.node, "keepdims", False)
    data, along = _row(call, axis)
    place = call.step(op, [data], "place", axis=along, keepdims=int(keep or axis is None))
    if axis is None and keep:
        place = call.step("Reshape", [place, call.constant("shape", [1] * call.rank, np.int64)], "kept")
    call.emit("Cast", [place], to=call.kind())


def _at_places(call: Call) -> None:
    """Write the rows at places whose coordinates are on the first axis."""
    rank = len(call.shapes[1])
    index = call.step("Cast", [call.inputs[1]], "whole", to=call.writer.onnx.TensorProto.INT64)
    index = call.step("Transpose", [index], "index", perm=[*range(1, rank), 0])
    call.emit("GatherND", [call.inputs[0], index])


def _take(call: Call) -> None:
    mode, axis = call.node.attrs.get("mode", "clip"), call.axis(read_int(call.node, "axis", 0))
    if mode not in ("clip", "wrap"):
        raise call.refuse(f"mode is {mode}, expected clip or wrap; ONNX stops the run where a place is not there")
    index = call.step("Cast", [call.inputs[1]], "whole", to=call.writer.onnx.TensorProto.INT64)
    length = _length(call, call.inputs[0], axis)
    if mode == "wrap":
        index = call.step("Mod", [index, length], "index")
    else:
        zero = call.constant("first", [0], np.int64)
        last = call.step("Sub", [length, call.constant("one", [1], np.int64)], "last")
        index = call.step("Max", [call.step("Min", [index, last], "not_beyond"), zero], "index")
    call.emit("Gather", [call.inputs[0], index], axis=axis)


CHOICES: Dict[str, Callable[[Call], Any]] = {
    "topk": _top,
    "sort": partial(_sorted, places=False),
    "argsort": partial(_sorted, places=True),
    "argmax": partial(_extreme, op="ArgMax"),
    "argmin": partial(_extreme, op="ArgMin"),
    "argmax_channel": partial(_extreme, op="ArgMax", default=1),
    "gather_nd": _at_places,
    "take": _take,
}
