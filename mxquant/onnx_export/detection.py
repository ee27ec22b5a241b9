"""Translations for detectors: boxes from offsets to anchors, and suppression of boxes that overlap.

MXNet suppresses within one tensor of rows, by classes that are computed, and returns rows in their order; ONNX's
NonMaxSuppression has one list of scores for each class. So it is written in full:
:mod:`mxquant.onnx_export.suppression`.
"""

from __future__ import annotations

from typing import Callable, Dict, List

import numpy as np

from mxquant.graph.attributes import read_bool, read_float, read_int
from mxquant.onnx_export.suppression import MOST_ROWS, Rows, columns, first_rows, kept
from mxquant.onnx_export.writer import Call

__all__ = ["DETECTION"]


def _box_decode(call: Call) -> None:
    if len(call.shapes[1]) != 3 or call.shapes[1][0] != 1:
        raise call.refuse(f"its anchors have the shape {call.shapes[1]}, expected those of all images: (1, anchors, 4)")
    anchors = columns(call, call.inputs[1], "anchor")
    if call.node.attrs.get("format", "center") == "corner":
        anchors = _centred(call, anchors)
    offsets = columns(call, call.inputs[0], "offset")
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
    if count > MOST_ROWS:
        raise call.refuse(f"it compares {count} boxes with each other, expected at most {MOST_ROWS}; set topk")
    lowest = call.constant("lowest", -np.inf)
    scores = call.step("Where", [_valid(call), _column(call, call.inputs[0], "score"), lowest], "scores")
    best, kept_scores = first_rows(call, scores, call.inputs[0], count, "best")
    alive = call.step("Greater", [kept_scores, lowest], "alive")
    kinds = None
    if read_int(node, "id_index", -1) >= 0 and not read_bool(node, "force_suppress", False):
        kinds = call.step("Cast", [_column(call, best, "id")], "kind", to=call.writer.onnx.TensorProto.INT32)
    corners = columns(call, best, "box", read_int(node, "coord_start", 2))
    left = kept(call, Rows(corners, kinds, count, read_float(node, "overlap_thresh", 0.5)), alive)
    order = call.constant("descending", np.arange(count, 0, -1))
    left, number = first_rows(call, call.step("Mul", [left, order], "order"), best, count, "left")
    there = call.step("Greater", [number, call.constant("nothing", 0.0)], "there")
    there = call.step("Unsqueeze", [there, _axes(call, 2)], "there_column")
    minus = call.constant("minus", -1.0)
    if count == rows:
        call.emit("Where", [there, left, minus])
        return
    filled = call.step("Where", [there, left, minus], "filled")
    call.emit("Pad", [filled, call.constant("pads", [0, 0, 0, 0, rows - count, 0], np.int64), minus])


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


DETECTION: Dict[str, Callable[[Call], None]] = {
    "_contrib_box_decode": _box_decode,
    "_contrib_box_nms": _box_nms,
}
