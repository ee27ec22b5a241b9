"""Translations of operators that take maps to other sizes: resizing, means of any number of bins, regions.

MXNet's bilinear resizing takes its output i from the place p of its input, of a lengths before and b after::

    p = i (a - 1) / (b - 1)         with align_corners, 0 where b is 1
    p = max((i + 1/2) a / b - 1/2, 0)         without, 0 where b is 1

The first is ONNX's 'align_corners', the second its 'pytorch_half_pixel', for every mode that gives b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict

import numpy as np

from mxquant.graph.attributes import read_bool, read_float, read_int, read_tuple
from mxquant.onnx_export.writer import Call

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLING"]

# The first that has regions whose pixels have their centre at one half.
_ALIGNED_REGIONS = 16


def _bilinear_resize(call: Call) -> None:
    before, after = call.shapes[0][2:], call.target()[2:]
    scales = call.constant("scales", [1.0, 1.0, *(_scale(a, b) for a, b in zip(before, after))])
    aligned = read_bool(call.node, "align_corners", True)
    mode = "align_corners" if aligned else "pytorch_half_pixel"
    call.emit("Resize", [call.inputs[0], "", scales], mode="linear", coordinate_transformation_mode=mode)


def _scale(before: int, after: int) -> np.float32:
    """Return the float32 number by which a length becomes another one, rounded down."""
    scale = np.float32(after / before)
    return scale if float(scale) * before >= after else np.nextafter(scale, np.float32(np.inf))


def _means_of_bins(call: Call) -> None:
    sizes = read_tuple(call.node, "output_size") or (1,)
    before, after = call.shapes[0][2:], (sizes[0], sizes[-1])
    if after == (1, 1):
        call.emit("GlobalAveragePool", call.inputs)
        return
    kernel = [length // count for length, count in zip(before, after)]
    if all(length == count * size for length, count, size in zip(before, after, kernel)):
        call.emit("AveragePool", call.inputs, kernel_shape=kernel, strides=kernel)
        return
    # Bins of different lengths, which may overlap, as products with the shares of pixels in them.
    rows, columns = (call.constant(f"shares{axis}", _shares(a, b)) for axis, (a, b) in enumerate(zip(before, after)))
    turned = call.step(
        "Transpose", [call.step("MatMul", [call.inputs[0], columns], "across")], "turned", perm=[0, 1, 3, 2]
    )
    call.emit("Transpose", [call.step("MatMul", [turned, rows], "down")], perm=[0, 1, 3, 2])


def _shares(length: int, count: int) -> NDArray[np.float32]:
    """Return the weight of each pixel in each bin, shape (length, count)."""
    shares = np.zeros((length, count), np.float32)
    for number in range(count):
        begin, end = number * length // count, -(-(number + 1) * length // count)
        shares[begin:end, number] = 1 / (end - begin)
    return shares


def _regions(call: Call) -> None:
    node = call.node
    if read_bool(node, "position_sensitive", False):
        raise call.refuse("position_sensitive is set: ONNX's RoiAlign takes every channel of every region")
    height, width = read_tuple(node, "pooled_size")
    aligned = read_bool(node, "aligned", False)
    if aligned:
        call.writer.opset = max(call.writer.opset, _ALIGNED_REGIONS)
    columns = call.constant("columns", [1, 4], np.int64)
    images, boxes = (call.writer.unused(f"{node.name}_{name}") for name in ("images", "boxes"))
    call.writer.emit("Split", [call.inputs[1], columns], f"{node.name}_split", [images, boxes], axis=1)
    image = call.step("Squeeze", [images, call.constant("column", [1], np.int64)], "image")
    index = call.step("Cast", [image], "index", to=call.writer.onnx.TensorProto.INT64)
    nowhere = call.step("Less", [image, call.constant("first", 0.0)], "nowhere")
    index = call.step("Max", [index, call.constant("first_image", 0, np.int64)], "image_index")
    found = call.step(
        "RoiAlign",
        [call.inputs[0], boxes, index],
        "all",
        mode="avg",
        output_height=height,
        output_width=width,
        sampling_ratio=max(read_int(node, "sample_ratio", -1), 0),
        spatial_scale=read_float(node, "spatial_scale", 1.0),
        **({"coordinate_transformation_mode": "half_pixel"} if aligned else {}),
    )
    rows = call.step("Unsqueeze", [nowhere, call.constant("behind", [1, 2, 3], np.int64)], "nowhere_row")
    call.emit("Where", [rows, call.constant("zero", 0.0), found])


def _largest_of_regions(call: Call) -> None:
    size, scale = read_tuple(call.node, "pooled_size"), read_float(call.node, "spatial_scale", 1.0)
    call.emit("MaxRoiPool", call.inputs, pooled_shape=size, spatial_scale=scale)


SAMPLING: Dict[str, Callable[[Call], None]] = {
    "_contrib_BilinearResize2D": _bilinear_resize,
    "_contrib_AdaptiveAvgPooling2D": _means_of_bins,
    "_contrib_ROIAlign": _regions,
    "ROIPooling": _largest_of_regions,
}
