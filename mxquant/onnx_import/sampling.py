"""Translations of ONNX's operators that interpolate: resized maps, and regions of maps.

:mod:`mxquant.onnx_export.sampling` has the places of the input that MXNet's bilinear resizing takes its output from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import numpy as np

from mxquant.onnx_import.state import Step, sym

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLING"]

_ROUNDING: Dict[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda place: math.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: math.floor(place + 0.5),
}


def _resize(step: Step) -> None:
    kind = step.attrs.get("mode", "nearest")
    if kind == "linear" and step.whole():
        raise step.refuse("it interpolates between whole numbers, whose fractions ONNX drops")
    if kind not in ("nearest", "linear"):
        raise step.refuse(f"mode is {kind}, expected nearest or linear")
    if step.attrs.get("antialias", 0):
        raise step.refuse("antialias is set, which MXNet does not do")
    if step.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise step.refuse(f"keep_aspect_ratio_policy is {step.attrs['keep_aspect_ratio_policy']}, expected stretch")
    # Before version 11 there was one way.
    mode = "asymmetric"
    if step.op == "Resize" and step.state.opset >= 11:
        mode = step.attrs.get("coordinate_transformation_mode", "half_pixel")
    function = _nearest if kind == "nearest" else _linear
    function(step, mode)


def _scales(step: Step) -> Optional[List[float]]:
    """Return the factors of all axes, or None where sizes are given instead."""
    slot = 2 if step.op == "Resize" and step.state.opset >= 11 else 1
    if "scales" in step.attrs:
        return [float(number) for number in step.attrs["scales"]]
    if step.has(slot) and step.constant(slot).size:
        return _all_axes(step, [float(number) for number in step.constant(slot)], 1.0)
    return None


def _all_axes(step: Step, numbers: List[Any], other: Any) -> List[Any]:
    """Return numbers for all axes, where they may be for some."""
    axes = [step.axis(axis) for axis in step.attrs.get("axes", [])]
    if not axes:
        return numbers
    given = dict(zip(axes, numbers))
    return [given.get(axis, other) for axis in range(step.rank())]


def _lengths(step: Step) -> List[Optional[int]]:
    """Return height and width of the input, None where they are free."""
    shape = step.shape(0)
    if shape is None or len(shape) != 4:
        return [None, None]
    return [length if isinstance(length, int) else None for length in shape[2:]]


def _nearest(step: Step, mode: str) -> None:
    scales = _scales(step)
    if scales is None:
        sizes, before = _all_axes(step, [int(size) for size in step.constant(3)], 0), _lengths(step)
        if None in before:
            raise step.refuse("its sizes need those of its input; give input_shapes")
        scales = [1.0, 1.0, *(after / length for after, length in zip(sizes[2:], before) if length)]
    factor = int(scales[-1])
    if len(scales) != 4 or scales != [1.0, 1.0, factor, factor] or factor < 1:
        raise step.refuse(f"scales are {scales}; only one whole number for height and width is supported")
    rounding = "floor"
    if step.op == "Resize" and step.state.opset >= 11:
        rounding = step.attrs.get("nearest_mode", "round_prefer_floor")
    if not _repeats(mode, rounding, factor):
        raise step.refuse(f"{mode} and {rounding} with the factor {factor} do not repeat every pixel as often")
    step.returns(sym.UpSampling(step.symbol(0), scale=factor, sample_type="nearest", name=step.name))


def _repeats(mode: str, rounding: str, factor: int) -> bool:
    """Whether output i is input i // factor; what is behind the second pixel is as what is before."""
    if mode not in ("asymmetric", "half_pixel", "pytorch_half_pixel") or rounding not in _ROUNDING:
        return factor == 1
    shift = 0.0 if mode == "asymmetric" else 0.5
    places = [(index + shift) / factor - shift for index in range(2 * factor)]
    return [max(_ROUNDING[rounding](place), 0) for place in places] == [index // factor for index in range(2 * factor)]


def _linear(step: Step, mode: str) -> None:
    if mode not in ("align_corners", "half_pixel", "pytorch_half_pixel"):
        raise step.refuse(f"it is linear and {mode}, expected align_corners, half_pixel or pytorch_half_pixel")
    scales, before = _scales(step), _lengths(step)
    if scales is None:
        sizes = _all_axes(step, [int(size) for size in step.constant(3)], 0)
        if len(sizes) != 4:
            raise step.refuse(f"its sizes are {sizes}, expected those of images")
        after: List[Optional[int]] = sizes[2:]
        options = {"height": sizes[2], "width": sizes[3]}
    else:
        if len(scales) != 4 or scales[:2] != [1.0, 1.0] or min(scales) <= 0:
            raise step.refuse(f"scales are {scales}; only height and width can be resized")
        after = [length and int(np.float32(length) * np.float32(scale)) for length, scale in zip(before, scales[2:])]
        options = {"scale_height": scales[2], "scale_width": scales[3]}
    if mode != "align_corners":
        _check_centres(step, mode, before, after, scales)
    aligned = mode == "align_corners"
    step.returns(sym.contrib.BilinearResize2D(step.symbol(0), align_corners=aligned, name=step.name, **options))


def _check_centres(
    step: Step, mode: str, before: List[Optional[int]], after: List[Optional[int]], scales: Optional[List[float]]
) -> None:
    """Refuse what MXNet takes from other places: it divides lengths, ONNX divides by scales; and a single pixel."""
    for axis in (0, 1):
        length, result = before[axis], after[axis]
        if scales is not None and length is None and scales[2 + axis] % 1:
            raise step.refuse(f"scales of {scales} need the size of its input; give input_shapes")
        if scales is not None and length is not None and abs(scales[2 + axis] * length - (result or 0)) > 1e-3:
            raise step.refuse(f"a length of {length} times {scales[2 + axis]} is no whole number; give sizes instead")
        if mode == "half_pixel" and result == 1 and length != 1:
            raise step.refuse("one pixel is taken from the middle, where MXNet takes the first")


def _regions(step: Step) -> None:
    if step.attrs.get("mode", "avg") != "avg":
        raise step.refuse(f"mode is {step.attrs['mode']}, expected avg")
    mode = "output_half_pixel"
    if step.state.opset >= 16:
        mode = step.attrs.get("coordinate_transformation_mode", "half_pixel")
    if mode != "output_half_pixel":
        raise step.refuse(f"it is {mode}, with which MXNet's ROIAlign may end the process")
    scale = _scale(step)
    _check_images(step, step.constant(2) if step.is_constant(2) else None)
    images = sym.expand_dims(step.symbol(2), axis=1)
    step.returns(
        sym.contrib.ROIAlign(
            step.symbol(0),
            sym.concat(images, step.symbol(1), dim=1),
            pooled_size=(step.attrs.get("output_height", 1), step.attrs.get("output_width", 1)),
            spatial_scale=scale,
            sample_ratio=step.attrs.get("sampling_ratio", 0) or -1,
            name=step.name,
        )
    )


def _scale(step: Step) -> float:
    scale = float(step.attrs.get("spatial_scale", 1.0))
    if not 0 < scale <= 1:
        raise step.refuse(f"spatial_scale is {scale}, expected a number of at most 1")
    return scale


def _largest_of_regions(step: Step) -> None:
    _check_images(step, step.constant(1)[:, 0].astype(np.int64) if step.is_constant(1) else None)
    size = tuple(step.attrs["pooled_shape"])
    regions = [step.symbol(slot) for slot in (0, 1)]
    step.returns(sym.ROIPooling(*regions, pooled_size=size, spatial_scale=_scale(step), name=step.name))


def _check_images(step: Step, indices: Optional[NDArray[Any]]) -> None:
    """Refuse regions of images that are not there."""
    if indices is None:
        return
    shape = step.shape(0) or (None,)
    count = shape[0] if isinstance(shape[0], int) else None
    if indices.size and (indices.min() < 0 or (count is not None and indices.max() >= count)):
        raise step.refuse(f"its regions are of images {indices.min()} to {indices.max()}, of {count or 'any number'}")


SAMPLING: Dict[str, Callable[[Step], None]] = {
    "Resize": _resize,
    "Upsample": _resize,
    "RoiAlign": _regions,
    "MaxRoiPool": _largest_of_regions,
}
