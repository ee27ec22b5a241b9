"""The 34 networks of the Gluon zoo and EfficientNet-Lite0 as ONNX: fp32 is MXNet's, int8 the simulation's."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest

import mxquant
from tests.networks import ZOO, forward, sqnr, zoo
from tests.onnx_export.runtimes import executed, in_onnxruntime, in_openvino

# One of each family; the others take minutes.
QUICK = ("resnet18_v1", "resnet18_v2", "squeezenet1.1", "mobilenet0.25", "mobilenetv2_0.25")
NETWORKS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ZOO]


def exported(name: str) -> Tuple[Any, Any, Dict[str, np.ndarray], np.ndarray]:
    """Return both models of a network, what it and the simulation compute, and the data."""
    symbol, args, aux, data = zoo(name)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, target="onnx_qdq", **params)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", method="minmax", **params)
    simulated = mxquant.lower(symbol, plan, target="simulate", statistics=statistics, **params)
    expected = {
        "fp32": forward(symbol, args, aux, data=data)[0],
        "int8": forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=data)[0],
    }
    options = {"input_shapes": data.shape, **params}
    fp32 = mxquant.export_onnx(symbol, **options)
    int8 = mxquant.export_onnx(symbol, plan=plan, statistics=statistics, **options)
    return fp32.proto, int8.proto, expected, data


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_the_zoo(name: str) -> None:
    fp32, int8, expected, data = exported(name)
    (found,) = in_onnxruntime(fp32, data=data)
    assert np.abs(found - expected["fp32"]).max() <= 1e-4 * np.abs(expected["fp32"]).max()
    assert sqnr(expected["int8"], in_onnxruntime(int8, data=data)[0]) >= 30


@pytest.mark.parametrize("name", ["resnet18_v1", "mobilenetv2_0.25"])
def test_openvino_computes_every_convolution_in_int8(name: str) -> None:
    _, int8, expected, data = exported(name)
    assert sqnr(expected["int8"], in_openvino(int8, data)) >= 30
    convolutions = [kind for kind in executed(int8).values() if kind[0] == "Convolution"]
    weighted = [node for node in int8.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == len(weighted)
    assert {precision for _, precision in convolutions} <= {"i8", "u8"}
