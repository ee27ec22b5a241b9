"""MXNet's own SSD in ONNX Runtime: its anchors to the last bit, its rows in its order."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import LoweringError
from mxquant.runtime.mxnet import mx
from tests.families.boxes import detections, found_again
from tests.families.large import ssd300_vgg16
from tests.networks import forward, images, random_params
from tests.onnx_export.runtimes import in_onnxruntime, in_openvino
from tests.onnx_export.test_families import check_float, in_int8

ANCHORS: Dict[str, Dict[str, Any]] = {
    "one for each place": {},
    "sizes and ratios": {"sizes": (0.2, 0.272), "ratios": (1, 2, 0.5)},
    "inside the image": {"sizes": (0.5, 0.9), "ratios": (2, 0.5, 3, 1 / 3), "clip": True},
    "steps and offsets": {"sizes": (0.3,), "ratios": (1, 1.7), "steps": (0.11, 0.23), "offsets": (0.3, 0.9)},
}
DETECTIONS: Dict[str, Dict[str, Any]] = {
    "defaults": {},
    "the best": {"nms_topk": 20},
    "whatever the class": {"nms_topk": 100, "force_suppress": True, "nms_threshold": 0.2},
    "beyond the image": {"threshold": 0.6, "clip": False, "variances": (0.2, 0.1, 0.3, 0.15)},
    "nothing is suppressed": {"nms_threshold": 0, "threshold": 0.4},
    "an overlap of one at most": {"nms_threshold": 1.0},
    "nothing is sure": {"threshold": 2.0},
    "everything is sure": {"threshold": -1, "nms_topk": 50},
}


def scene(
    count: int, classes: int, batch: int, equal: bool = False, seed: int = 0
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities of classes, some of them equal, offsets, and anchors that overlap."""
    rng = np.random.RandomState(seed)
    scores = np.exp(3 * rng.randn(batch, classes, count))
    scores /= scores.sum(1, keepdims=True)
    scores = np.round(scores * 8) / 8 if equal else scores
    middle, size = rng.rand(count, 2), rng.uniform(0.02, 0.5, (count, 2))
    anchors = np.concatenate([middle - size / 2, middle + size / 2], 1)[np.newaxis]
    offsets = 1.5 * rng.randn(batch, 4 * count)
    return scores.astype(np.float32), offsets.astype(np.float32), anchors.astype(np.float32)


def exported(scores: np.ndarray, offsets: np.ndarray, anchors: np.ndarray, **options: Any) -> Tuple[Any, Any, Any]:
    """Return a network that detects, its anchors as parameters, and the network as ONNX."""
    symbol = mx.sym.contrib.MultiBoxDetection(
        mx.sym.var("data"), mx.sym.var("offsets"), mx.sym.var("anchors"), **options
    )
    args = {"anchors": mx.nd.array(anchors)}
    shapes = {"data": scores.shape, "offsets": offsets.shape}
    return symbol, args, mxquant.export_onnx(symbol, input_shapes=shapes, arg_params=args).proto


def check_rows(found: np.ndarray, expected: np.ndarray) -> None:
    """Classes and scores are the same; corners have the exponential of another library."""
    np.testing.assert_array_equal(found[..., :2], expected[..., :2])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ANCHORS)
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (19, 19)])
def test_anchors_are_mxnets(size: Tuple[int, int], name: str) -> None:
    data = mx.sym.var("data")
    rows = mx.sym.contrib.MultiBoxPrior(data, **ANCHORS[name])
    symbol = mx.sym.broadcast_add(rows, mx.sym.zeros_like(mx.sym.Reshape(mx.sym.max(data), shape=(1, 1, 1))))
    values = images(2, 3, *size)
    proto = mxquant.export_onnx(symbol, input_shapes=values.shape).proto
    np.testing.assert_array_equal(in_onnxruntime(proto, data=values)[0], forward(symbol, {}, {}, data=values)[0])


@pytest.mark.parametrize("name", DETECTIONS)
def test_the_rows_are_mxnets(name: str) -> None:
    for count, classes, batch, equal in ((1, 2, 1, False), (60, 4, 3, False), (150, 21, 2, True)):
        scores, offsets, anchors = scene(count, classes, batch, equal)
        symbol, args, proto = exported(scores, offsets, anchors, **DETECTIONS[name])
        (expected,) = forward(symbol, args, {}, data=scores, offsets=offsets)
        for optimized in (False, True):
            check_rows(in_onnxruntime(proto, optimized, data=scores, offsets=offsets)[0], expected)


def test_as_many_anchors_as_ssd_has_are_compared_without_a_limit() -> None:
    scores, offsets, anchors = scene(2500, 21, 1)
    symbol, args, proto = exported(scores, offsets, anchors)
    (expected,) = forward(symbol, args, {}, data=scores, offsets=offsets)
    assert 500 < (expected[..., 0] >= 0).sum() < 2400
    check_rows(in_onnxruntime(proto, data=scores, offsets=offsets)[0], expected)


def test_the_batch_is_free() -> None:
    scores, offsets, anchors = scene(60, 4, 5, seed=1)
    symbol, args, proto = exported(scores[:1], offsets[:1], anchors, nms_topk=20)
    (expected,) = forward(symbol, args, {}, data=scores, offsets=offsets)
    check_rows(in_onnxruntime(proto, data=scores, offsets=offsets)[0], expected)


@pytest.mark.parametrize(
    ("count", "classes", "message"),
    [
        (5, 1, "it has no class but the background"),
        (70000, 2, "it compares 70000 boxes with each other, expected at most 65536; set nms_topk"),
    ],
)
def test_what_has_no_meaning_or_takes_too_long_is_refused(count: int, classes: int, message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        exported(*scene(count, classes, 1))


@pytest.mark.slow
def test_an_ssd_of_300_pixels_goes_out_whole() -> None:
    symbol = ssd300_vgg16(mx.sym.var("data"))
    data = images(2, 3, 300, 300)
    args, aux = random_params(symbol, data=data.shape)
    for name in args:
        if name.endswith("weight"):
            # As large behind a ReLU as before it; scores that differ.
            args[name] *= 8 if name.startswith("class") else np.sqrt(2)
    params = {"arg_params": args, "aux_params": aux}
    heads, found = symbol.get_internals()["probabilities_output"], symbol
    whole = mx.sym.Group([found, heads])
    model = mxquant.export_onnx(whole, input_shapes=data.shape, **params)
    expected: List[np.ndarray] = forward(whole, args, aux, data=data)
    assert expected[0].shape == (2, 8732, 6)
    rows, probabilities = in_onnxruntime(model.proto, data=data)
    check_float([probabilities], expected[1:])
    assert min(found_again(expected[0], rows)[:2]) >= 38
    simulated, exported_ = (detections(each[:1]) for each in in_int8(symbol, params, data))
    assert min(found_again(simulated, exported_)[:2]) >= 36
    np.testing.assert_array_equal(in_openvino(model.proto, data).shape, expected[0].shape)
