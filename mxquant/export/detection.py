"""Translations for detectors: boxes from offsets to anchors, and suppression of boxes that overlap.

MXNet suppresses within one tensor of rows, by classes that are computed, and returns rows in their order; ONNX's
NonMaxSuppression has one list of scores for each class. So it is written in full. Of the K best rows, in descending
order, let S[i, j] be 1 where i comes before j, has its class, and overlaps it too much. Row j is kept if no kept row
suppresses it::

    kept[j] = alive[j] and not any(kept[i] and S[i, j] for i < j)

A Loop of ``kept = alive and not kept S > 0`` ends with it, after as many rounds as suppressions depend on each other:
it is the only solution, since kept[j] depends on smaller i alone. Arithmetic is MXNet's, in its order.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

from mxquant.export.writer import Call
from mxquant.graph.attributes import read_bool, read_float, read_int

__all__ = ["DETECTION"]

# Overlaps are computed of all pairs.
_MOST_ROWS = 4096


def _box_decode(call: Call) -> None:
    if len(call.shapes[1]) != 3 or call.shapes[1][0] != 1:
        raise call.refuse(f"its anchors have the shape {call.shapes[1]}, expected those of all images: (1, anchors, 4)")
    anchors = _columns(call, call.inputs[1], "anchor")
    if call.node.attrs.get("format", "center") == "corner":
        anchors = _centred(call, anchors)
    offsets = _columns(call, call.inputs[0], "offset")
    offsets = [
        call.step("Mul", [each, call.constant(f"std{slot}", read_float(call.node, f"std{slot}", 1.0))], f"scaled{slot}")
        for slot, each in enumerate(offsets)
    ]
    clip, half = read_float(call.node, "clip", -1.0), call.constant("half", 0.5)
    ends: Dict[str, List[str]] = {"first": [], "last": []}
    for axis in (0, 1):
        place, size = anchors[axis], anchors[2 + axis]
        middle = call.step("Add", [call.step("Mul", [offsets[axis], size], f"shift{axis}"), place], f"middle{axis}")
        growth = offsets[2 + axis]
        if clip > 0:
            growth = call.step("Min", [growth, call.constant(f"clip{axis}", clip)], f"clipped{axis}")
        extent = call.step("Mul", [call.step("Exp", [growth], f"growth{axis}"), size], f"extent{axis}")
        reach = call.step("Mul", [extent, half], f"reach{axis}")
        ends["first"].append(call.step("Sub", [middle, reach], f"first{axis}"))
        ends["last"].append(call.step("Add", [middle, reach], f"last{axis}"))
    call.emit("Concat", [*ends["first"], *ends["last"]], axis=2)


def _centred(call: Call, corners: List[str]) -> List[str]:
    """Return middle and size of boxes of corners."""
    middles, sizes = [], []
    for axis in (0, 1):
        sizes.append(call.step("Sub", [corners[2 + axis], corners[axis]], f"size{axis}"))
        half = call.step("Mul", [sizes[-1], call.constant(f"half{axis}", 0.5)], f"half_size{axis}")
        middles.append(call.step("Add", [corners[axis], half], f"centre{axis}"))
    return middles + sizes


def _columns(call: Call, rows: str, suffix: str, start: int = 0) -> List[str]:
    """Return four columns of rows, shape (images, rows, 1) each."""
    ends = [call.constant(f"{suffix}_{key}", [n], np.int64) for key, n in (("start", start), ("end", start + 4))]
    four = call.step("Slice", [rows, *ends, call.constant(f"{suffix}_axis", [2], np.int64)], f"{suffix}_four")
    names = [call.writer.unused(f"{call.node.name}_{suffix}{number}") for number in range(4)]
    sizes = call.constant(f"{suffix}_sizes", [1, 1, 1, 1], np.int64)
    call.writer.emit("Split", [four, sizes], f"{call.node.name}_{suffix}_split", names, axis=2)
    return names


def _box_nms(call: Call) -> None:
    node = call.node
    if call.rank != 3:
        raise call.refuse(f"its data have {call.rank} dimensions, expected images, rows and columns")
    formats = [node.attrs.get(key, "corner") for key in ("in_format", "out_format")]
    if formats != ["corner", "corner"]:
        raise call.refuse(f"its boxes are of the formats {formats[0]} and {formats[1]}, expected corner")
    rows, most = call.shapes[0][1], read_int(node, "topk", -1)
    count = rows if most < 0 else min(rows, most)
    if not count:
        call.emit("Identity", call.inputs)
        return
    if count > _MOST_ROWS:
        raise call.refuse(f"it compares {count} boxes with each other, expected at most {_MOST_ROWS}; set topk")
    lowest = call.constant("lowest", -np.inf)
    scores = call.step("Where", [_valid(call), _column(call, call.inputs[0], "score"), lowest], "scores")
    best, kept_scores = _best(call, scores, call.inputs[0], count, "best")
    alive = call.step("Unsqueeze", [call.step("Greater", [kept_scores, lowest], "alive"), _axes(call, 1)], "alive_row")
    kept = _settled(
        call, call.step("Cast", [alive], "alive_number", to=_float(call)), _suppressing(call, best, count), count
    )
    kept = call.step("Squeeze", [kept, _axes(call, 1)], "kept_flat")
    order = call.constant("descending", np.arange(count, 0, -1))
    left, number = _best(call, call.step("Mul", [kept, order], "order"), best, count, "left")
    there = call.step("Greater", [number, call.constant("nothing", 0.0)], "there")
    there = call.step("Unsqueeze", [there, _axes(call, 2)], "there_column")
    minus = call.constant("minus", -1.0)
    if count == rows:
        call.emit("Where", [there, left, minus])
        return
    filled = call.step("Where", [there, left, minus], "filled")
    call.emit("Pad", [filled, call.constant("pads", [0, 0, 0, 0, rows - count, 0], np.int64), minus])


def _float(call: Call) -> int:
    return int(call.writer.onnx.TensorProto.FLOAT)


def _axes(call: Call, axis: int) -> str:
    return call.constant(f"axis{axis}", [axis], np.int64)


def _column(call: Call, rows: str, key: str) -> str:
    """Return scores or classes of rows, shape (images, rows)."""
    index = read_int(call.node, f"{key}_index", {"score": 1, "id": -1}[key])
    return call.step("Gather", [rows, call.constant(f"{key}_index", index, np.int64)], f"{key}_column", axis=2)


def _valid(call: Call) -> str:
    """Return which rows take part, shape (images, rows)."""
    least = call.constant("least", read_float(call.node, "valid_thresh", 0.0))
    valid = call.step("Greater", [_column(call, call.inputs[0], "score"), least], "sure")
    if read_int(call.node, "id_index", -1) < 0:
        return valid
    background = call.constant("background", read_int(call.node, "background_id", -1))
    is_background = call.step("Equal", [_column(call, call.inputs[0], "id"), background], "is_background")
    return call.step("And", [valid, call.step("Not", [is_background], "is_object")], "valid")


def _best(call: Call, scores: str, rows: str, count: int, suffix: str) -> List[str]:
    """Return the rows of the highest scores, and these scores, the highest first; of equal ones the first first."""
    names = [call.writer.unused(f"{call.node.name}_{suffix}_{each}") for each in ("scores", "places")]
    number = call.constant(f"{suffix}_count", [count], np.int64)
    call.writer.emit("TopK", [scores, number], f"{call.node.name}_{suffix}_top", names, axis=1)
    places = call.step("Unsqueeze", [names[1], _axes(call, 2)], f"{suffix}_index")
    return [call.step("GatherND", [rows, places], f"{suffix}_rows", batch_dims=1), names[0]]


def _suppressing(call: Call, rows: str, count: int) -> str:
    """Return 1 where a row, on the axis before the last, suppresses another if it is kept itself."""
    node, zero = call.node, call.constant("zero", 0.0)
    columns = _columns(call, rows, "box", read_int(node, "coord_start", 2))
    across = [call.step("Transpose", [each], f"across{slot}", perm=[0, 2, 1]) for slot, each in enumerate(columns)]
    sides, common = [], []
    for axis in (0, 1):
        begin = call.step("Max", [columns[axis], across[axis]], f"begin{axis}")
        end = call.step("Min", [columns[2 + axis], across[2 + axis]], f"end{axis}")
        common.append(call.step("Max", [call.step("Sub", [end, begin], f"long{axis}"), zero], f"common{axis}"))
        side = call.step("Sub", [columns[2 + axis], columns[axis]], f"length{axis}")
        sides.append(call.step("Max", [side, zero], f"side{axis}"))
    area, shared = call.step("Mul", sides, "area"), call.step("Mul", common, "shared")
    both = call.step("Add", [area, call.step("Transpose", [area], "area_across", perm=[0, 2, 1])], "both")
    overlap = call.step("Div", [shared, call.step("Sub", [both, shared], "union")], "overlap")
    limit = call.constant("limit", read_float(node, "overlap_thresh", 0.5))
    meets = call.step("Greater", [overlap, limit], "too_much")
    if read_int(node, "id_index", -1) >= 0 and not read_bool(node, "force_suppress", False):
        kind = call.step("Cast", [_column(call, rows, "id")], "kind", to=call.writer.onnx.TensorProto.INT32)
        down, right = (call.step("Unsqueeze", [kind, _axes(call, axis)], f"kind{axis}") for axis in (2, 1))
        meets = call.step("And", [meets, call.step("Equal", [down, right], "same_kind")], "meets")
    places = np.arange(count)
    first, last = call.constant("first", places[:, np.newaxis]), call.constant("last", places)
    before = call.step("And", [meets, call.step("Less", [first, last], "before")], "suppressing")
    return call.step("Cast", [before], "suppressing_number", to=_float(call))


def _settled(call: Call, alive: str, suppressing: str, count: int) -> str:
    """Return what is kept in the end, shape (images, 1, rows)."""
    helper, name = call.writer.onnx.helper, call.node.name
    kinds = call.writer.onnx.TensorProto
    inner = {each: call.writer.unused(f"{name}_loop_{each}") for each in ("round", "go", "old", "new", "changed")}
    half, zero = call.constant("one_half", 0.5), call.constant("no_change", 0.0)

    def step(op: str, inputs: List[str], output: str, **attrs: Any) -> Any:
        return helper.make_node(op, inputs, [output], output, **attrs)

    between = [
        call.writer.unused(f"{name}_loop_{each}") for each in ("hits", "free", "number", "difference", "size", "most")
    ]
    hits, free, number, difference, size, most = between
    body = helper.make_graph(
        [
            step("MatMul", [inner["old"], suppressing], hits),
            step("Less", [hits, half], free),
            step("Cast", [free], number, to=kinds.FLOAT),
            step("Mul", [number, alive], inner["new"]),
            step("Sub", [inner["new"], inner["old"]], difference),
            step("Abs", [difference], size),
            step("ReduceMax", [size], most, keepdims=0),
            step("Greater", [most, zero], inner["changed"]),
        ],
        f"{name}_loop",
        [
            helper.make_tensor_value_info(inner["round"], kinds.INT64, []),
            helper.make_tensor_value_info(inner["go"], kinds.BOOL, []),
            helper.make_tensor_value_info(inner["old"], kinds.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info(inner["changed"], kinds.BOOL, []),
            helper.make_tensor_value_info(inner["new"], kinds.FLOAT, None),
        ],
    )
    rounds, go = call.constant("rounds", count, np.int64), call.constant("go", True, np.bool_)
    return call.step("Loop", [rounds, go, alive], "kept", body=body)


DETECTION: Dict[str, Callable[[Call], None]] = {
    "_contrib_box_decode": _box_decode,
    "_contrib_box_nms": _box_nms,
}
