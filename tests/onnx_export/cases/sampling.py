"""Cases of operators that take maps to other sizes: resizing, means of any number of bins, regions."""

from __future__ import annotations

from typing import Any

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, Build, Cases

sym = mx.sym


def _resized(**options: Any) -> Build:
    return lambda x: sym.contrib.BilinearResize2D(x, **options)


def _rows_of_regions(x: Any) -> Any:
    """Return regions of any size, some of which lie beyond the edges, each of one of the two images."""
    rows = sym.reshape(sym.slice_axis(sym.tanh(x), axis=0, begin=0, end=1), shape=(-1, 5))
    image = sym.slice_axis(rows, axis=1, begin=0, end=1) > 0
    corner = sym.slice_axis(rows, axis=1, begin=1, end=3) * 25 + 12
    sizes = sym.abs(sym.slice_axis(rows, axis=1, begin=3, end=5)) * 40 + 0.1
    return sym.concat(image, corner, corner + sizes, dim=1)


def regions(x: Any, **options: Any) -> Any:
    return sym.contrib.ROIAlign(x, _rows_of_regions(x), **{"spatial_scale": 0.4, "pooled_size": (3, 2), **options})


CASES: Cases = {
    **{
        f"_contrib_BilinearResize2D {height} x {width}{', corners apart' if not aligned else ''}": (
            IMAGE,
            _resized(height=height, width=width, align_corners=aligned),
        )
        for height, width in ((17, 23), (5, 7), (9, 10), (30, 1))
        for aligned in (True, False)
    },
    "_contrib_BilinearResize2D by scales": (IMAGE, _resized(scale_height=1.7, scale_width=0.61)),
    "_contrib_BilinearResize2D by scales, corners apart": (
        IMAGE,
        _resized(scale_height=1.7, scale_width=2.3, align_corners=False),
    ),
    "_contrib_BilinearResize2D odd_scale": (IMAGE, _resized(mode="odd_scale", scale_height=2, scale_width=0.5)),
    **{
        f"_contrib_BilinearResize2D {mode}": (IMAGE, _resized(mode=mode))
        for mode in ("to_even_down", "to_even_up", "to_odd_down", "to_odd_up")
    },
    "_contrib_BilinearResize2D like": (
        IMAGE,
        lambda x: sym.contrib.BilinearResize2D(sym.Pooling(x, kernel=(3, 3), stride=(2, 2)), x, mode="like"),
    ),
    "_contrib_BilinearResize2D of one pixel": (
        IMAGE,
        lambda x: sym.contrib.BilinearResize2D(sym.mean(x, axis=(2, 3), keepdims=True), height=4, width=7),
    ),
    **{
        f"_contrib_AdaptiveAvgPooling2D {size}": (
            IMAGE,
            lambda x, size=size: sym.contrib.AdaptiveAvgPooling2D(x, output_size=size),
        )
        for size in (3, (3, 5), (12, 7))
    },
    "_contrib_AdaptiveAvgPooling2D": (IMAGE, lambda x: sym.contrib.AdaptiveAvgPooling2D(x)),
    "_contrib_ROIAlign": (IMAGE, regions),
    "_contrib_ROIAlign of few samples": (IMAGE, lambda x: regions(x, sample_ratio=2)),
    "_contrib_ROIAlign of large maps": (IMAGE, lambda x: regions(x, spatial_scale=0.05)),
    "_contrib_ROIAlign aligned": (IMAGE, lambda x: regions(x, aligned=True)),
    "ROIPooling": (IMAGE, lambda x: sym.ROIPooling(x, _rows_of_regions(x), pooled_size=(3, 2), spatial_scale=0.4)),
    "ROIPooling of large maps": (
        *(IMAGE, lambda x: sym.ROIPooling(x, _rows_of_regions(x), pooled_size=(2, 2), spatial_scale=0.05)),
    ),
}
