"""Suppression of boxes in ONNX Runtime returns MXNet's rows to the last bit, in MXNet's order."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import forward
from tests.onnx_export.runtimes import in_onnxruntime, in_openvino

OPTIONS: Dict[str, Dict[str, Any]] = {
    "without classes": {},
    "by class": {"id_index": 0},
    "by class, the best": {"id_index": 0, "topk": 20},
    "by class, more than there are": {"id_index": 0, "topk": 4000},
    "whatever the class": {"id_index": 0, "force_suppress": True, "topk": 30},
    "without background": {"id_index": 0, "background_id": 1, "valid_thresh": 0.3, "overlap_thresh": 0.2},
    "nothing is sure": {"valid_thresh": 2.0},
    "negative scores": {"valid_thresh": -1.0, "overlap_thresh": 0.05},
    "other columns": {"id_index": 5, "score_index": 6, "coord_start": 1},
}


def boxes(images: int, rows: int, equal: bool = False, seed: int = 0) -> np.ndarray:
    """Return class, score, corners and another number of boxes that overlap; some have no area, some equal scores."""
    rng = np.random.RandomState(seed)
    corners = rng.uniform(0, 20, (images, rows, 2))
    sizes = rng.uniform(-0.5, 12, (images, rows, 2))
    scores = rng.uniform(-0.2, 1, (images, rows, 1))
    scores = np.round(scores * 8) / 8 if equal else scores
    kinds = rng.randint(-1, 3, (images, rows, 1))
    return np.concatenate([kinds, scores, corners, corners + sizes, kinds + 0.5], 2).astype(np.float32)


def exported(shape: Any, options: Dict[str, Any]) -> Any:
    symbol = mx.sym.contrib.box_nms(mx.sym.var("data"), name="nms", **options)
    return symbol, mxquant.export_onnx(symbol, input_shapes=shape).proto


@pytest.mark.parametrize("name", OPTIONS)
def test_the_rows_are_mxnets(name: str) -> None:
    for images, rows, equal in ((1, 1, False), (3, 60, False), (2, 150, True)):
        data = boxes(images, rows, equal)
        symbol, proto = exported(data.shape, OPTIONS[name])
        expected = forward(symbol, {}, {}, data=data)[0]
        for optimized in (False, True):
            np.testing.assert_array_equal(in_onnxruntime(proto, optimized, data=data)[0], expected)


def test_the_batch_is_free() -> None:
    symbol, proto = exported((1, 60, 7), OPTIONS["by class, the best"])
    data = boxes(5, 60, True, seed=1)
    np.testing.assert_array_equal(in_onnxruntime(proto, data=data)[0], forward(symbol, {}, {}, data=data)[0])


def test_a_chain_of_suppressions_is_followed_to_its_end() -> None:
    """Each box overlaps the next one only: every second one is left, as many rounds later."""
    left = np.arange(64, dtype=np.float32) * 2
    ones = np.ones_like(left)
    rows = np.stack([0 * ones, 1 - left / 1000, left, 0 * ones, left + 5, ones], 1)[np.newaxis]
    symbol, proto = exported(rows.shape, {"id_index": 0, "overlap_thresh": 0.4})
    (found,) = in_onnxruntime(proto, data=rows)
    np.testing.assert_array_equal(found[0, :32], rows[0, ::2])
    np.testing.assert_array_equal(found, forward(symbol, {}, {}, data=rows)[0])


@pytest.mark.parametrize("options", [{}, {"id_index": 0, "topk": 1100}], ids=str)
def test_more_rows_than_are_compared_at_once_are_mxnets(options: Dict[str, Any]) -> None:
    """In blocks of 512 of which the last is not full; several images, each with suppressions across blocks."""
    data = boxes(2, 1300, seed=3)
    data[..., 2:6] *= 4
    symbol, proto = exported(data.shape, options)
    expected = forward(symbol, {}, {}, data=data)[0]
    assert (expected[..., 1] > 0).sum() > 600
    for optimized in (False, True):
        np.testing.assert_array_equal(in_onnxruntime(proto, optimized, data=data)[0], expected)


def test_regions_of_no_image_are_zeros_and_others_are_mxnets() -> None:
    """MXNet for CPUs leaves their places as the memory was, and a 0 in another region for each."""
    regions = np.float32([[0, 0, 0, 5, 5], [-1, -1, -1, -1, -1], [1, 2, 2, 9, 9], [-1, 0, 0, 4, 4]])
    symbol = mx.sym.contrib.ROIAlign(mx.sym.var("data"), mx.sym.var("regions"), (3, 3), 1.0, sample_ratio=2)
    options = {"input_shapes": (2, 3, 12, 12), "arg_params": {"regions": mx.nd.array(regions)}}
    data = np.random.RandomState(0).randn(2, 3, 12, 12).astype(np.float32)
    (found,) = in_onnxruntime(mxquant.export_onnx(symbol, **options).proto, data=data)
    there = regions[:, 0] >= 0
    expected = forward(symbol, {"regions": mx.nd.array(regions[there])}, {}, data=data)[0]
    np.testing.assert_allclose(found[there], expected, rtol=1e-5, atol=1e-6)
    assert not found[~there].any()


def test_openvino_returns_the_same_where_scores_differ() -> None:
    data = boxes(2, 100, seed=2)
    symbol, proto = exported(data.shape, OPTIONS["by class, the best"])
    np.testing.assert_array_equal(in_openvino(proto, data), forward(symbol, {}, {}, data=data)[0])
