"""Cases of detectors: boxes from offsets to anchors, and suppression of boxes that overlap."""

from __future__ import annotations

from typing import Any

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import Cases

sym = mx.sym
ROWS = (2, 60, 7)


def suppressed(x: Any, **options: Any) -> Any:
    """Suppress boxes of any place and size, some without area, of which some have equal scores."""
    x = sym.tanh(x)
    kind = sym.floor(sym.slice_axis(x, axis=2, begin=0, end=1) * 2)
    score = sym.floor(sym.slice_axis(x, axis=2, begin=1, end=2) * 8) / 8
    corner = sym.slice_axis(x, axis=2, begin=2, end=4) * 10
    size = sym.slice_axis(x, axis=2, begin=4, end=6) * 6 + 4
    rows = sym.concat(kind, score, corner, corner + size, sym.slice_axis(x, axis=2, begin=6, end=7), dim=2)
    return sym.contrib.box_nms(rows, **options)


def _decoded(x: Any, **options: Any) -> Any:
    """Return boxes by offsets and anchors that are computed of the same data."""
    offsets = sym.slice_axis(x, axis=2, begin=0, end=4)
    anchors = sym.abs(sym.slice(x, begin=(0, 0, 3), end=(1, None, 7)))
    return sym.contrib.box_decode(offsets, anchors, **options)


CASES: Cases = {
    "_contrib_box_decode": (ROWS, lambda x: _decoded(x, std0=0.1, std1=0.2, std2=0.3, std3=0.4)),
    "_contrib_box_decode of corners": (ROWS, lambda x: _decoded(x, format="corner", clip=0.5)),
    **{
        f"_contrib_box_nms {', '.join(f'{key}={value}' for key, value in options.items())}": (
            ROWS,
            lambda x, options=options: suppressed(x, **options),
        )
        for options in (
            {},
            {"id_index": 0, "topk": 20, "overlap_thresh": 0.3},
            {"topk": 0},
        )
    },
}
