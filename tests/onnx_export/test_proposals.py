"""Regions that Faster R-CNN looks at are MXNet's in ONNX Runtime, in MXNet's order."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import LoweringError
from mxquant.runtime.mxnet import mx
from tests.networks import forward
from tests.onnx_export.runtimes import in_onnxruntime

Maps = Dict[str, np.ndarray]
FEW = {"scales": (4,), "ratios": (0.5, 1, 2), "feature_stride": 4, "rpn_pre_nms_top_n": 60, "rpn_min_size": 2}
# Images, anchors at a place, height and width of the map, options.
CASES: Dict[str, Tuple[int, int, int, int, Dict[str, Any]]] = {
    "several images": (3, 3, 8, 9, {**FEW, "rpn_post_nms_top_n": 20}),
    "fewer than are wanted": (2, 3, 5, 6, {**FEW, "rpn_post_nms_top_n": 200, "threshold": 0.1}),
    "defaults": (1, 12, 10, 10, {}),
    "with scores": (2, 12, 7, 9, {"output_score": True, "threshold": 0.3}),
    "corners that are moved": (2, 12, 9, 7, {"iou_loss": True, "rpn_min_size": 8}),
    "all of a map": (1, 12, 12, 12, {"rpn_pre_nms_top_n": -1, "rpn_post_nms_top_n": 50}),
    "all are too small": (1, 3, 8, 9, {**FEW, "rpn_post_nms_top_n": 10, "rpn_min_size": 1000}),
}


def maps(images: int, anchors: int, height: int, width: int, stride: int = 16) -> Maps:
    """Return scores, offsets, and sizes of images of which each ends somewhere else within the map."""
    rng = np.random.RandomState(0)
    sizes = [[height * stride - 7 * i, width * stride - 3 * i, 1 + 0.3 * i] for i in range(images)]
    return {
        "data": rng.rand(images, 2 * anchors, height, width).astype(np.float32),
        "offsets": (0.4 * rng.randn(images, 4 * anchors, height, width)).astype(np.float32),
        "sizes": np.float32(sizes),
    }


def proposals(several: bool, options: Dict[str, Any]) -> Any:
    function = mx.sym.contrib.MultiProposal if several else mx.sym.contrib.Proposal
    symbol = function(*map(mx.sym.var, ("data", "offsets", "sizes")), name="proposal", **options)
    return mx.sym.Group(list(symbol)) if options.get("output_score") else symbol


def check(symbol: Any, inputs: Maps, others: Maps) -> None:
    """Compare with MXNet, after the file was written for one batch, on another one."""
    shapes = {name: value.shape for name, value in inputs.items()}
    proto = mxquant.export_onnx(symbol, input_shapes=shapes).proto
    expected: List[np.ndarray] = forward(symbol, {}, {}, **others)
    for optimized in (False, True):
        for a, b in zip(in_onnxruntime(proto, optimized, **others), expected):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_regions_of_several_images_are_mxnets_for_any_batch(name: str) -> None:
    images, anchors, height, width, options = CASES[name]
    stride = options.get("feature_stride", 16)
    inputs, others = (maps(count, anchors, height, width, stride) for count in (images, images + 1))
    check(proposals(True, options), inputs, inputs)
    check(proposals(True, options), inputs, others)


@pytest.mark.parametrize("name", ["all of a map", "all are too small"])
def test_regions_of_one_image_are_mxnets(name: str) -> None:
    images, anchors, height, width, options = CASES[name]
    inputs = maps(images, anchors, height, width, options.get("feature_stride", 16))
    check(proposals(False, options), inputs, inputs)


def test_more_boxes_than_can_be_compared_are_refused() -> None:
    inputs = maps(1, 12, 80, 80)
    with pytest.raises(LoweringError, match="it compares 76800 boxes, expected at most 65536; set rpn_pre_nms_top_n"):
        check(proposals(True, {"rpn_pre_nms_top_n": -1}), inputs, inputs)
