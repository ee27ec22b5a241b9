"""Small networks of many forms as ONNX: fp32 is MXNet's, int8 the simulation's, and fp32 comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mxquant
from tests.export.runtimes import in_onnxruntime
from tests.families.small import SMALL, built
from tests.networks import forward, sqnr

# What has operators without a translation.
UNKNOWN = {
    "SSD, anchors as parameters": "_contrib_box_decode .*, _contrib_box_nms .*, slice_like",
    "SSD, MultiBox": "_contrib_MultiBoxDetection .*, _contrib_MultiBoxPrior",
    "YOLOv3": "_contrib_box_nms .*, repeat",
    "Faster R-CNN": "_contrib_MultiProposal .*, argmax",
    "CenterNet": "broadcast_like .*, broadcast_mod .*, gather_nd .*, prod .*, shape_array .*, topk",
}


@pytest.mark.parametrize("name", [name for name in SMALL if name not in UNKNOWN])
def test_a_small_network(name: str, tmp_path: Path) -> None:
    symbol, args, aux, data = built(name)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, target="onnx_qdq", **params)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", method="minmax", **params)
    simulated = mxquant.lower(symbol, plan, target="simulate", statistics=statistics, **params)
    options = {"input_shapes": data.shape, **params}
    fp32 = mxquant.export_onnx(symbol, tmp_path / "net.onnx", **options)
    int8 = mxquant.export_onnx(symbol, plan=plan, statistics=statistics, **options)
    expected = forward(symbol, args, aux, data=data)
    back = forward(*mxquant.from_onnx(tmp_path / "net.onnx"), data=data)
    for found in (in_onnxruntime(fp32.proto, data=data), back):
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
    codes = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=data)
    levels = [sqnr(a, b) for a, b in zip(codes, in_onnxruntime(int8.proto, data=data))]
    assert len(levels) == len(expected)
    assert min(levels) >= 30


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_missing_is_named(name: str) -> None:
    symbol, args, aux, data = built(name)
    with pytest.raises(mxquant.LoweringError, match=f"no translation to ONNX for {UNKNOWN[name]}"):
        mxquant.export_onnx(symbol, input_shapes=data.shape, arg_params=args, aux_params=aux)
