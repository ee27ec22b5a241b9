"""Cases of the regions that Faster R-CNN looks at: Proposal, of one image, and MultiProposal, of several."""

from __future__ import annotations

from typing import Any

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import Cases

sym = mx.sym
PLACES = (1, 24, 5, 6)


def _proposed(x: Any, name: str) -> Any:
    """Return regions of an image by scores and offsets of three anchors for each place."""
    sizes = sym.broadcast_add(sym.ones(shape=(1, 3)) * 80, sym.zeros(shape=(1, 1)))
    options = {"scales": (2,), "rpn_pre_nms_top_n": 50, "rpn_post_nms_top_n": 20, "rpn_min_size": 4}
    scores = sym.slice_axis(x, axis=1, begin=0, end=6)
    return getattr(sym.contrib, name)(scores, sym.slice_axis(x, axis=1, begin=12, end=24) / 4, sizes, **options)


CASES: Cases = {
    **{f"_contrib_{name}": (PLACES, lambda x, name=name: _proposed(x, name)) for name in ("Proposal", "MultiProposal")},
}
