"""Networks beyond classifiers as ONNX: fp32 is MXNet's, int8 the simulation's, and fp32 comes back."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest

import mxquant
from tests.families.boxes import detections, found_again
from tests.families.regions import with_zero_regions
from tests.families.small import SMALL, built
from tests.networks import forward, sqnr
from tests.onnx_export.runtimes import compiled, in_onnxruntime

# Those whose results are no rows of boxes have tests of their own.
KNOWN = [name for name in SMALL if name not in ("CenterNet", "Faster R-CNN")]
DETECTORS = [name for name in KNOWN if SMALL[name].detects]
# Networks of GluonCV whose every operator has one.
WHOLE = (
    *("ssd_512_mobilenet1.0_voc", "yolo3_darknet53_voc", "center_net_resnet18_v1b_voc"),
    *(
        "faster_rcnn_resnet50_v1b_voc",
        "faster_rcnn_fpn_resnet50_v1b_coco",
        "fcn_resnet50_voc",
        "deeplab_resnet50_citys",
    ),
    *("simple_pose_resnet18_v1b", "mobile_pose_mobilenet1.0", "i3d_resnet50_v1_kinetics400", "resnest50"),
)

# Random weights amplify the one code by which a runtime may differ from the simulation.
APART_DB, LOST = 3.0, 5


def check_float(found: List[np.ndarray], expected: List[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def in_int8(symbol: Any, params: Any, data: np.ndarray) -> Tuple[List[np.ndarray], List[np.ndarray]]:
    """Return what the simulation and the file with QuantizeLinear and DequantizeLinear compute."""
    statistics = mxquant.calibrate(symbol, data, target="onnx_qdq", **params)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", method="minmax", **params)
    simulated = mxquant.lower(symbol, plan, target="simulate", statistics=statistics, **params)
    model = mxquant.export_onnx(symbol, plan=plan, statistics=statistics, input_shapes=data.shape, **params)
    expected = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=data)
    return expected, in_onnxruntime(model.proto, data=data)


@pytest.mark.parametrize("name", KNOWN)
def test_a_small_network(name: str) -> None:
    symbol, args, aux, data = built(name)
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.export_onnx(symbol, input_shapes=data.shape, **params)
    check_float(in_onnxruntime(model.proto, data=data), forward(symbol, args, aux, data=data))
    expected, found = in_int8(symbol, params, data)
    if name in DETECTORS:
        shares = found_again(detections(expected), detections(found))
        assert min(shares[:2]) >= 0.9 * shares.looked_for >= 18
    else:
        assert min(sqnr(a, b) for a, b in zip(expected, found)) >= 30


def test_a_small_center_net() -> None:
    """Its boxes have no place, and mostly no area, so that they are compared by class and score."""
    symbol, args, aux, data = built("CenterNet")
    # With these scores none is 1, and no two are equal, whose order would be anybody's.
    args["heat1_weight"][:] /= 12
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.export_onnx(symbol, input_shapes=data.shape, **params)
    check_float(in_onnxruntime(model.proto, data=data), forward(symbol, args, aux, data=data))
    (kinds, scores, _), (found_kinds, found, _) = in_int8(symbol, params, data)
    assert sqnr(scores, found) >= 30
    assert (kinds == found_kinds).mean() >= 0.9


def test_a_small_faster_rcnn() -> None:
    """Regions, classes and offsets; in int8 the first stage may choose other regions, as many as the simulation's."""
    symbol, args, aux, data = built("Faster R-CNN")
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.export_onnx(symbol, input_shapes=data.shape, **params)
    check_float(in_onnxruntime(model.proto, data=data), forward(symbol, args, aux, data=data))
    expected, found = in_int8(symbol, params, data)
    same = np.abs(expected[0] - found[0]).max(axis=1) < 0.5
    assert same.mean() >= 0.9
    assert min(sqnr(a[same], b[same]) for a, b in zip(expected[1:3], found[1:3])) >= 40


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in DETECTORS])
def test_a_small_network_comes_back(name: str, tmp_path: Path) -> None:
    symbol, args, aux, data = built(name)
    options = {"input_shapes": data.shape, "arg_params": args, "aux_params": aux}
    mxquant.export_onnx(symbol, tmp_path / "net.onnx", **options)
    check_float(forward(*mxquant.from_onnx(tmp_path / "net.onnx"), data=data), forward(symbol, args, aux, data=data))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("gluoncv") is None, reason="GluonCV is missing: pip install '.[examples-cv]'")
@pytest.mark.parametrize("name", WHOLE)
def test_a_network_of_gluoncv(name: str) -> None:
    from tests.families.zoo import FAMILIES, loaded

    symbol, args, aux, data = loaded(name)
    if name.startswith("center_net"):
        # Boxes of which all have an area; this is the bias of their sizes, behind a prefix that Gluon counts.
        (sizes,) = (each for each in args if re.fullmatch(r"centernet\d+_conv3_bias", each))
        args[sizes][:] = 20
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.export_onnx(symbol, input_shapes=data.shape, **params)
    symbol = with_zero_regions(symbol)
    found, expected = in_onnxruntime(model.proto, data=data), forward(symbol, args, aux, data=data)
    detects = FAMILIES[name].detects
    if detects:
        result = compiled(model.proto)([data])
        for rows in (found, [np.array(result[slot]) for slot in range(len(expected))]):
            shares = found_again(detections(expected), detections(rows))
            assert min(shares[:2]) >= 0.95 * shares.looked_for > 0
    else:
        check_float(found, expected)
    simulated, found = in_int8(symbol, params, data)
    if detects:
        shares, wanted = (found_again(detections(expected), detections(each)) for each in (found, simulated))
        assert min(shares[:2]) >= min(wanted[:2]) - LOST
        return
    for fp32, int8, simulation in zip(expected, found, simulated):
        assert sqnr(fp32, int8) >= sqnr(fp32, simulation) - APART_DB
