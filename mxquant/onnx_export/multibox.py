"""Translations of MXNet's own SSD: anchors of a feature map, and boxes of classes, offsets and anchors.

Anchors depend on nothing but the size of the map, so they are a constant, computed in float32 as MXNet does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_float, read_int
from mxquant.onnx_export.suppression import MOST_ROWS, Rows, columns, first_rows, kept
from mxquant.onnx_export.writer import Call

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MULTIBOX"]

_COLUMNS = 6


def _anchors(call: Call) -> None:
    sizes, ratios = (call.numbers(key, (1.0,)) for key in ("sizes", "ratios"))
    steps, offsets = call.numbers("steps", (-1.0, -1.0)), call.numbers("offsets", (0.5, 0.5))
    lengths = call.lengths[0][2:4]
    if not all(isinstance(length, int) for length in lengths):
        raise call.refuse(f"the size of its map is {list(lengths)}, which grows with the batch")
    height, width = call.shapes[0][2:4]
    if steps[0] <= 0 or steps[1] <= 0:
        steps = np.float32(1) / np.array([height, width], np.float32)
    rows = _boxes(height, width, _halves(sizes, ratios, height, width), steps, offsets)
    if read_bool(call.node, "clip", False):
        rows = np.clip(rows, 0, 1)
    call.emit("Identity", [call.constant("anchors", rows)])


def _halves(
    sizes: NDArray[np.float32], ratios: NDArray[np.float32], height: int, width: int
) -> List[Tuple[np.float32, np.float32]]:
    """Return half of the width and height of each anchor of a place: all sizes, then all ratios but the first."""
    kinds = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    found = []
    for size, ratio in kinds:
        root = np.sqrt(ratio)
        wide = size * np.float32(height) / np.float32(width) * root / np.float32(2)
        found.append((wide, size / root / np.float32(2)))
    return found


def _boxes(
    height: int,
    width: int,
    halves: List[Tuple[np.float32, np.float32]],
    steps: NDArray[np.float32],
    offsets: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return anchors, the rows of the map first, shape (1, anchors, 4)."""
    middle_y = (np.arange(height, dtype=np.float32) + offsets[0]) * steps[0]
    middle_x = (np.arange(width, dtype=np.float32) + offsets[1]) * steps[1]
    y, x = np.meshgrid(middle_y, middle_x, indexing="ij")
    corners = [np.stack([x - wide, y - high, x + wide, y + high], axis=-1) for wide, high in halves]
    rows: NDArray[np.float32] = np.stack(corners, axis=2).reshape(1, -1, 4).astype(np.float32)
    return rows


def _detection(call: Call) -> None:
    (_, classes, rows), anchors = call.shapes[0], call.shapes[2]
    if anchors[0] != 1:
        raise call.refuse(f"its anchors have the shape {anchors}, expected those of all images: (1, anchors, 4)")
    if classes < 2:
        raise call.refuse("it has no class but the background")
    limit, most = read_float(call.node, "nms_threshold", 0.5), read_int(call.node, "nms_topk", -1)
    count = rows if most <= 0 else min(rows, most)
    suppresses = 0 < limit <= 1
    if suppresses and count > MOST_ROWS:
        raise call.refuse(f"it compares {count} boxes with each other, expected at most {MOST_ROWS}; set nms_topk")
    kind, score, valid = _surest_class(call)
    boxes = _decoded(call)
    parts = [call.step("Unsqueeze", [each, _axis(call, 2)], name) for each, name in ((kind, "id"), (score, "score"))]
    all_rows = call.step("Concat", [*parts, boxes], "rows", axis=2)
    if not suppresses:
        _emit_there(call, *_in_order(call, all_rows, valid, rows))
        return
    best = _without_suppressed(call, all_rows, score, valid, count, limit)
    if count == rows:
        call.emit("Identity", [best])
        return
    # What nms_topk leaves out stays in its order, behind, with the class -1.
    left, there = _in_order(call, all_rows, valid, rows)
    ends = [call.constant(name, [number], np.int64) for name, number in (("begin", count), ("end", rows))]
    left, there = (
        call.step("Slice", [each, *ends, _axis(call, 1)], f"behind{n}") for n, each in enumerate((left, there))
    )
    minus = call.constant("minus_one", -1.0)
    unnamed = call.step(
        "Where", [call.constant("names", [True] + [False] * (_COLUMNS - 1), np.bool_), minus, left], "no"
    )
    behind = call.step("Where", [there, unnamed, minus], "behind")
    call.emit("Concat", [best, behind], axis=1)


def _axis(call: Call, axis: int) -> str:
    return call.constant(f"axis{axis}", [axis], np.int64)


def _surest_class(call: Call) -> Tuple[str, str, str]:
    """Return the class of each anchor, its score, and whether that is enough, shape (images, anchors) each."""
    ends = [call.constant(name, [number], np.int64) for name, number in (("second", 1), ("last", 2**31 - 1))]
    objects = call.step("Slice", [call.inputs[0], *ends, _axis(call, 1)], "objects")
    score = call.step("ReduceMax", [objects], "best_score", axes=[1], keepdims=0)
    place = call.step("ArgMax", [objects], "best_class", axis=1, keepdims=0)
    kind = call.step("Cast", [place], "kind", to=call.kind())
    least = call.constant("least", read_float(call.node, "threshold", 0.01))
    above = call.step("Greater", [score, call.constant("none", -1.0)], "above")
    return kind, score, call.step("And", [call.step("GreaterOrEqual", [score, least], "enough"), above], "valid")


def _decoded(call: Call) -> str:
    """Return corners of boxes, shape (images, anchors, 4)."""
    variances = call.numbers("variances", (0.1, 0.1, 0.2, 0.2))
    shape = call.constant("offsets_shape", [0, -1, 4], np.int64)
    offsets = columns(call, call.step("Reshape", [call.inputs[1], shape], "offsets"), "offset")
    anchors = columns(call, call.inputs[2], "anchor")
    two = call.constant("two", 2.0)
    first, last = [], []
    for axis in (0, 1):
        size = call.step("Sub", [anchors[2 + axis], anchors[axis]], f"size{axis}")
        centre = call.step(
            "Div", [call.step("Add", [anchors[axis], anchors[2 + axis]], f"sum{axis}"), two], f"at{axis}"
        )
        shift, growth = (
            call.step("Mul", [offsets[slot], call.constant(f"variance{slot}", variances[slot])], f"scaled{slot}")
            for slot in (axis, 2 + axis)
        )
        middle = call.step("Add", [call.step("Mul", [shift, size], f"shift{axis}"), centre], f"middle{axis}")
        extent = call.step("Mul", [call.step("Exp", [growth], f"growth{axis}"), size], f"extent{axis}")
        reach = call.step("Div", [extent, two], f"reach{axis}")
        first.append(call.step("Sub", [middle, reach], f"first{axis}"))
        last.append(call.step("Add", [middle, reach], f"end{axis}"))
    boxes = call.step("Concat", [*first, *last], "decoded", axis=2)
    if not read_bool(call.node, "clip", True):
        return boxes
    inside = call.step("Min", [boxes, call.constant("one", 1.0)], "not_beyond")
    return call.step("Max", [inside, call.constant("edge", 0.0)], "inside")


def _without_suppressed(call: Call, rows: str, score: str, valid: str, count: int, limit: float) -> str:
    """Return the rows of the highest scores, with the class -1 where they are suppressed, -1 where there are none."""
    lowest, minus = call.constant("lowest", -np.inf), call.constant("minus", -1.0)
    best, scores = first_rows(call, call.step("Where", [valid, score, lowest], "valid_score"), rows, count, "best")
    alive = call.step("Greater", [scores, lowest], "alive")
    kind = call.step("Gather", [best, call.constant("first_column", 0, np.int64)], "best_kind", axis=2)
    kinds = None if read_bool(call.node, "force_suppress", False) else kind
    all_rows = Rows(columns(call, best, "box", 2), kinds, count, limit, at_limit=True, turned=False)
    left = call.step("Greater", [kept(call, all_rows, alive), call.constant("half", 0.5)], "left")
    name = call.step("Where", [left, kind, minus], "name")
    ends = [call.constant(key, [number], np.int64) for key, number in (("second_column", 1), ("end_column", _COLUMNS))]
    rest = call.step("Slice", [best, *ends, _axis(call, 2)], "rest")
    named = call.step("Concat", [call.step("Unsqueeze", [name, _axis(call, 2)], "name_column"), rest], "named", axis=2)
    there = call.step("Unsqueeze", [alive, _axis(call, 2)], "alive_column")
    return call.step("Where", [there, named, minus], "surest")


def _in_order(call: Call, rows: str, valid: str, count: int) -> Tuple[str, str]:
    """Return valid rows one behind the other in their order, and where there are some, shape (images, rows, 1)."""
    number = call.step("Cast", [valid], "valid_number", to=call.kind())
    order = call.step("Mul", [number, call.constant("descending", np.arange(count, 0, -1))], "order")
    found, places = first_rows(call, order, rows, count, "ordered")
    there = call.step("Greater", [places, call.constant("nothing_there", 0.0)], "there")
    return found, call.step("Unsqueeze", [there, _axis(call, 2)], "there_column")


def _emit_there(call: Call, rows: str, there: str) -> None:
    call.emit("Where", [there, rows, call.constant("minus_one", -1.0)])


MULTIBOX: Dict[str, Callable[[Call], None]] = {
    "_contrib_MultiBoxPrior": _anchors,
    "_contrib_MultiBoxDetection": _detection,
}
