"""Translation of the regions that Faster R-CNN looks at: Proposal, of one image, and MultiProposal, of several.

Anchors are constants. Boxes have whole pixels at both ends, so that their sides are one longer than the difference.
Those of places beyond the image and those that are too small get the score -1, and take part nevertheless. Where fewer
are left than are wanted, they are repeated from the first one on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_float, read_int
from mxquant.onnx_export.suppression import MOST_ROWS, Rows, columns, first_rows, kept
from mxquant.onnx_export.writer import Call

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PROPOSALS"]


def _proposals(call: Call) -> None:
    _, channels, height, width = call.shapes[0]
    places = channels // 2 * height * width
    most = read_int(call.node, "rpn_pre_nms_top_n", 6000)
    count = places if most <= 0 else min(most, places)
    if count > MOST_ROWS:
        raise call.refuse(f"it compares {count} boxes, expected at most {MOST_ROWS}; set rpn_pre_nms_top_n")
    size = [_column(call, call.inputs[2], axis, ("height", "width", "factor")[axis]) for axis in range(3)]
    corners = _inside(call, _boxes(call, height, width), size)
    score, corners = _filtered(call, _scores(call, size, height, width), corners, size[2])
    rows = call.step(
        "Concat", [*corners, call.step("Unsqueeze", [score, _axis(call, 2)], "score_column")], "rows", axis=2
    )
    best, scores = first_rows(call, score, rows, count, "best")
    # All of them.
    alive = call.step("Equal", [scores, scores], "alive")
    limit = read_float(call.node, "threshold", 0.7)
    left = kept(call, Rows(columns(call, best, "box"), None, count, limit, turned=False, longer=1.0), alive)
    _emit(call, best, left, count)


def _axis(call: Call, axis: int) -> str:
    return call.constant(f"axis{axis}", [axis], np.int64)


def _column(call: Call, table: str, index: int, suffix: str) -> str:
    """Return one column of a table of images, shape (images, 1)."""
    return call.step("Gather", [table, call.constant(f"{suffix}_place", [index], np.int64)], suffix, axis=1)


def _anchors(call: Call, height: int, width: int) -> NDArray[np.float32]:
    """Return the corners of the anchors, those of a place side by side, shape (1, anchors, 4)."""
    stride = read_int(call.node, "feature_stride", 16)
    middle, area = np.float32(0.5 * (stride - 1)), np.float32(stride * stride)
    corners = []
    for ratio in call.numbers("ratios", (0.5, 1.0, 2.0)):
        side = np.floor(np.sqrt(np.floor(area / ratio)) + np.float32(0.5))
        for scale in call.numbers("scales", (4.0, 8.0, 16.0, 32.0)):
            wide = side * scale
            high = np.floor(wide / scale * ratio + np.float32(0.5)) * scale
            reach = [np.float32(0.5) * (length - np.float32(1)) for length in (wide, high)]
            corners.append([middle - reach[0], middle - reach[1], middle + reach[0], middle + reach[1]])
    y, x = np.meshgrid(np.arange(height) * stride, np.arange(width) * stride, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).astype(np.float32)
    rows: NDArray[np.float32] = shifts[:, :, np.newaxis] + np.array(corners, np.float32)
    return rows.reshape(1, -1, 4)


def _boxes(call: Call, height: int, width: int) -> List[str]:
    """Return corners of the boxes that the network predicts, shape (images, anchors, 1) each."""
    shape = call.constant("apart_shape", [0, -1, 4, height * width], np.int64)
    apart = call.step("Reshape", [call.inputs[1], shape], "apart")
    turned = call.step("Transpose", [apart], "turned", perm=[0, 3, 1, 2])
    offsets = call.step("Reshape", [turned, call.constant("offsets_shape", [0, -1, 4], np.int64)], "offsets")
    shifts, anchors = columns(call, offsets, "offset"), _anchors(call, height, width)
    if read_bool(call.node, "iou_loss", False):
        corners = [call.constant(f"corner{slot}", anchors[..., slot : slot + 1]) for slot in range(4)]
        return [call.step("Add", pair, f"moved{slot}") for slot, pair in enumerate(zip(corners, shifts))]
    half, one = call.constant("half", 0.5), call.constant("one", 1.0)
    ends: Tuple[List[str], List[str]] = ([], [])
    for axis in (0, 1):
        sides = anchors[..., 2 + axis] - anchors[..., axis] + np.float32(1)
        middles = anchors[..., axis] + np.float32(0.5) * (sides - np.float32(1))
        side, middle = (
            call.constant(f"{name}{axis}", value[..., np.newaxis]) for name, value in (("side", sides), ("at", middles))
        )
        middle = call.step("Add", [call.step("Mul", [shifts[axis], side], f"shift{axis}"), middle], f"middle{axis}")
        extent = call.step("Mul", [call.step("Exp", [shifts[2 + axis]], f"growth{axis}"), side], f"extent{axis}")
        reach = call.step("Mul", [call.step("Sub", [extent, one], f"between{axis}"), half], f"reach{axis}")
        for part, op, name in zip(ends, ("Sub", "Add"), ("first", "last")):
            part.append(call.step(op, [middle, reach], f"{name}{axis}"))
    return [*ends[0], *ends[1]]


def _inside(call: Call, corners: List[str], size: List[str]) -> List[str]:
    """Return corners that lie in the image."""
    one, zero = call.constant("pixel", 1.0), call.constant("edge", 0.0)
    last = [call.step("Sub", [each, one], f"last_{name}") for each, name in zip(size[1::-1], ("column", "row"))]
    last = [call.step("Unsqueeze", [each, _axis(call, 2)], f"limit{axis}") for axis, each in enumerate(last)]
    found = []
    for slot, corner in enumerate(corners):
        before = call.step("Min", [corner, last[slot % 2]], f"before{slot}")
        found.append(call.step("Max", [before, zero], f"inside{slot}"))
    return found


def _scores(call: Call, size: List[str], height: int, width: int) -> str:
    """Return scores of objects, -1 beyond the image, shape (images, anchors)."""
    anchors = call.shapes[0][1] // 2
    ends = [call.constant(name, [number], np.int64) for name, number in (("begin", anchors), ("end", 2 * anchors))]
    objects = call.step("Slice", [call.inputs[0], *ends, _axis(call, 1)], "objects")
    turned = call.step("Transpose", [objects], "scores_turned", perm=[0, 2, 3, 1])
    score = call.step("Reshape", [turned, call.constant("scores_shape", [0, -1], np.int64)], "scores")
    stride = call.constant("stride", read_float(call.node, "feature_stride", 16.0))
    places = np.indices((height, width, anchors)).reshape(3, 1, -1)
    beyond = []
    for axis, name in enumerate(("rows", "columns")):
        real = call.step("Floor", [call.step("Div", [size[axis], stride], f"{name}_part")], name)
        place = call.constant(f"{name}_at", places[axis])
        beyond.append(call.step("GreaterOrEqual", [place, real], f"beyond_{name}"))
    return call.step("Where", [call.step("Or", beyond, "beyond"), call.constant("minus", -1.0), score], "real_scores")


def _filtered(call: Call, score: str, corners: List[str], factor: str) -> Tuple[str, List[str]]:
    """Return scores and corners after boxes that are too small got larger, and -1."""
    least = call.step(
        "Mul", [factor, call.constant("least", read_float(call.node, "rpn_min_size", 16.0))], "least_side"
    )
    least = call.step("Unsqueeze", [least, _axis(call, 2)], "least_length")
    one, small = call.constant("one_more", 1.0), []
    for axis in (0, 1):
        side = call.step("Sub", [corners[2 + axis], corners[axis]], f"difference{axis}")
        side = call.step("Add", [side, one], f"pixels{axis}")
        small.append(call.step("Less", [side, least], f"small{axis}"))
    too_small = call.step("Or", small, "too_small")
    more = call.step("Div", [least, call.constant("two", 2.0)], "more")
    more = call.step("Where", [too_small, more, call.constant("nothing", 0.0)], "added")
    ops = ("Sub", "Sub", "Add", "Add")
    corners = [call.step(op, [each, more], f"wide{slot}") for slot, (op, each) in enumerate(zip(ops, corners))]
    flat = call.step("Squeeze", [too_small, _axis(call, 2)], "too_small_row")
    return call.step("Where", [flat, call.constant("unsure", -1.0), score], "final_scores"), corners


def _emit(call: Call, best: str, left: str, count: int) -> None:
    """Write the first rows that are left, repeated where there are too few, with the number of their image."""
    wanted = read_int(call.node, "rpn_post_nms_top_n", 300)
    there = min(wanted, count)
    order = call.step("Mul", [left, call.constant("descending", np.arange(count, 0, -1))], "order")
    found, keys = first_rows(call, order, best, there, "left")
    number = call.step("Cast", [call.step("Greater", [keys, call.constant("none", 0.0)], "kept")], "kept_number", to=7)
    total = call.step("ReduceSum", [number, _axis(call, 1)], "total", keepdims=1)
    places = call.step("Mod", [call.constant("places", [np.arange(wanted)], np.int64), total], "places_again")
    index = call.step("Unsqueeze", [places, _axis(call, 2)], "index")
    rows = call.step("GatherND", [found, index], "regions", batch_dims=1)
    names = [call.writer.unused(f"{call.node.name}_{name}") for name in ("boxes", "scores_of_boxes")]
    call.writer.emit(
        "Split", [rows, call.constant("widths", [4, 1], np.int64)], f"{call.node.name}_split", names, axis=2
    )
    image = call.step(
        "CumSum", [_ones_like(call, names[1]), call.constant("images", 0, np.int64)], "image", exclusive=1
    )
    regions = call.step("Concat", [image, names[0]], "numbered", axis=2)
    call.emit("Reshape", [regions, call.constant("regions_shape", [-1, 5], np.int64)])
    shape = call.constant("score_shape", [-1, 1], np.int64)
    if len(call.outputs) > 1:
        call.writer.emit("Reshape", [names[1], shape], f"{call.node.name}_score", call.outputs[1:])


def _ones_like(call: Call, source: str) -> str:
    ones = call.writer.onnx.numpy_helper.from_array(np.ones(1, np.float32))
    return call.step("ConstantOfShape", [call.step("Shape", [source], "shape")], "ones", value=ones)


PROPOSALS: Dict[str, Callable[[Call], None]] = {
    "_contrib_Proposal": _proposals,
    "_contrib_MultiProposal": _proposals,
}
