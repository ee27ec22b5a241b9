"""On a CPU without VNNI OpenVINO's sums saturate, unless the plan is for such a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import conv, forward, images, random_params, relu, sqnr

RUN = """
import sys
import numpy as np, onnx
from tests.onnx_export.runtimes import in_openvino
folder = sys.argv[1]
np.save(folder + "/out.npy", in_openvino(onnx.load(folder + "/net.onnx"), np.load(folder + "/data.npy")))
"""


def on_avx2(proto: Any, data: np.ndarray, folder: Path) -> np.ndarray:
    """Return what OpenVINO computes if it may use no more than AVX2."""
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    np.save(folder / "data.npy", data)
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", RUN, str(folder)], check=True, env=environment, timeout=120)
    return np.load(folder / "out.npy")


@pytest.mark.parametrize(("isa", "exact"), [("vnni", False), ("avx2", True)])
def test_large_weights_beside_each_other(isa: str, exact: bool, tmp_path: Path) -> None:
    symbol = conv(relu(conv(mx.sym.var("data"), "c1", 16)), "c2", 16)
    data = np.abs(images(4, 16, 8, 8))
    args, aux = random_params(symbol, data=data.shape)
    args["c1_bias"][:] = 5
    args["c2_weight"][:] = mx.nd.abs(args["c2_weight"]) + 1
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", isa=isa, method="minmax", **params)
    simulated = mxquant.lower(symbol, plan, target="simulate", **params)
    expected = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=data)[0]
    model = mxquant.export_onnx(symbol, plan=plan, input_shapes=data.shape, **params)
    level = sqnr(expected, on_avx2(model.proto, data, tmp_path))
    assert level > 60 if exact else level < 30
