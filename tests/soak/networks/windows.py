"""Layers whose windows move over one, two or three axes."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from hypothesis import strategies as st

from tests.soak.networks.description import Layer
from tests.soak.networks.names import layer_names
from tests.soak.networks.sketch import Sketch

__all__ = ["convolution", "deconvolution", "pad", "pooling"]


def _each(draw: st.DrawFn, axes: int, low: int, high: int) -> Tuple[int, ...]:
    """Draw one number for each axis, more often than not the same."""
    if draw(st.booleans()):
        return (draw(st.integers(low, high)),) * axes
    return tuple(draw(st.integers(low, high)) for _ in range(axes))


def convolution(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a convolution: plain, grouped or depthwise, dilated, strided, padded, with or without a bias."""
    data = sketch.some(draw, (3, 4, 4, 4, 5))
    if data is None:
        return None
    shape = sketch.shapes[data]
    axes, channels = len(shape) - 2, shape[1]
    groups = draw(st.sampled_from([1, 1, 1, *(g for g in range(2, channels + 1) if channels % g == 0)]))
    per_group = channels // groups
    filters = per_group if groups > 1 and draw(st.booleans()) else draw(st.integers(1, max(12 // groups, 1)))
    attrs: Dict[str, Any] = {"kernel": _each(draw, axes, 1, 3), "num_filter": filters * groups, "num_group": groups}
    if draw(st.booleans()):
        attrs["pad"] = tuple(length // 2 for length in attrs["kernel"])
    else:
        attrs.update(stride=_each(draw, axes, 1, 3), dilate=_each(draw, axes, 1, 2), pad=_each(draw, axes, 0, 3))
    attrs["no_bias"] = draw(st.sampled_from((False, False, True)))
    shares = draw(st.sampled_from((None, None, None, *_same_weights(sketch, attrs, shape[1]))))
    name = draw(layer_names(sketch.number, plain=shares is not None))
    return Layer("Convolution", name, (data,), attrs, shares=shares)


def _same_weights(sketch: Sketch, attrs: Dict[str, Any], channels: int) -> List[int]:
    """Return earlier convolutions whose weight has the shape that this one's would have."""

    def weight(attrs: Dict[str, Any], channels: int) -> Tuple[Any, ...]:
        return attrs["num_filter"], channels, attrs["num_group"], attrs["kernel"]

    return [
        number
        for number, layer in enumerate(sketch.layers)
        if layer.op == "Convolution"
        and (layer.name is not None or layer.shares is not None)
        and weight(dict(layer.attrs), sketch.shapes[layer.reads[0]][1]) == weight(attrs, channels)
    ]


def deconvolution(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a transposed convolution of images."""
    data = sketch.some(draw, (4,))
    if data is None:
        return None
    attrs = {"kernel": _each(draw, 2, 1, 3), "stride": _each(draw, 2, 1, 2), "num_filter": draw(st.integers(1, 6))}
    return Layer("Deconvolution", f"layer{sketch.number}", (data,), attrs)


def pooling(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a pooling, global or with windows."""
    data = sketch.some(draw, (3, 4, 4, 5))
    if data is None:
        return None
    axes = len(sketch.shapes[data]) - 2
    attrs: Dict[str, Any] = {"pool_type": draw(st.sampled_from(("max", "max", "avg", "avg", "sum", "lp")))}
    if attrs["pool_type"] == "lp":
        attrs["p_value"] = 2
    if draw(st.sampled_from((False, False, True))):
        attrs["global_pool"] = True
        if draw(st.booleans()):
            attrs["kernel"] = (1,) * axes
        return Layer("Pooling", draw(layer_names(sketch.number, plain=False)), (data,), attrs)
    attrs["kernel"] = _each(draw, axes, 1, 3)
    attrs["stride"] = _each(draw, axes, 1, 3)
    attrs["pad"] = tuple(draw(st.integers(0, length - 1)) for length in attrs["kernel"])
    attrs["pooling_convention"] = draw(st.sampled_from(("valid", "valid", "full", "same")))
    if attrs["pool_type"] == "avg":
        attrs["count_include_pad"] = draw(st.booleans())
    return Layer("Pooling", draw(layer_names(sketch.number, plain=False)), (data,), attrs)


def pad(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a padding of the last axes, by zeros or otherwise."""
    data = sketch.some(draw, (4, 5))
    if data is None:
        return None
    shape = sketch.shapes[data]
    widths = [draw(st.integers(0, 2)) for _ in shape[2:] for _ in range(2)]
    mode = draw(st.sampled_from(("constant", "constant", "edge", "reflect")))
    if mode == "reflect" and max(widths) >= min(shape[2:]):
        return None
    attrs: Dict[str, Any] = {"mode": mode, "pad_width": (0, 0, 0, 0, *widths)}
    if mode == "constant":
        attrs["constant_value"] = draw(st.sampled_from((0, 0, 0.5, -3)))
    return Layer("Pad", draw(layer_names(sketch.number, plain=False)), (data,), attrs)
