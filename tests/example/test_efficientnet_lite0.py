"""EfficientNet-Lite0 with its ImageNet weights, and protocol E1: calibrated on images 00-09, scored on 10-19."""

from __future__ import annotations

import warnings
from typing import Any, Tuple

import efficientnet_lite0
import numpy as np
import pytest
from imagenet_data import Preprocessing, embedded

import mxquant
from mxquant.quantization import quantize_model
from mxquant.runtime.mxnet import mx
from tests.networks import forward, sqnr
from tests.onnx_export.runtimes import in_onnxruntime, in_openvino


@pytest.fixture(scope="module")
def lite0() -> Tuple[Any, Any, Any]:
    block = efficientnet_lite0.load()
    symbol = block(mx.sym.var("data"))
    values = {name: parameter.data() for name, parameter in block.collect_params().items()}
    aux = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    return symbol, values, aux


@pytest.fixture(scope="module")
def images() -> Any:
    return embedded(Preprocessing(mean=(127,) * 3, std=(128,) * 3))


def test_fp32_accuracy(lite0: Any, images: Any) -> None:
    (logits,) = forward(*lite0, data=images.images)
    ranking = np.argsort(-logits, axis=1)
    assert (ranking[:, 0] == images.labels).sum() == 18
    assert (ranking[:, :5] == images.labels[:, None]).any(axis=1).sum() == 19


# The stock tool converts arrays as NumPy 1.25 deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("calib_mode", ["naive", pytest.param("entropy", marks=pytest.mark.slow)])
def test_int8_is_no_less_faithful_than_the_stock_tools(lite0: Any, images: Any, calib_mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mxnet.contrib.quantization import quantize_model_mkldnn
    (reference,) = forward(*lite0, data=images.images[10:])
    levels = []
    for tool in (quantize_model, quantize_model_mkldnn):
        symbol, args, aux = lite0
        quantized = tool(
            symbol,
            {name: value.copy() for name, value in args.items()},
            {name: value.copy() for name, value in aux.items()},
            label_names=None,
            calib_mode=calib_mode,
            calib_data=mx.io.NDArrayIter({"data": images.images[:10]}, batch_size=10),
            quantized_dtype="auto",
            quantize_mode="smart",
        )
        levels.append(sqnr(reference, forward(*quantized, data=images.images[10:])[0]))
    ours, stock = levels
    print(f"\nE1 {calib_mode}: {ours:.2f} dB, stock {stock:.2f} dB")
    assert ours >= stock - 0.3


# Rounding that falls the other way at one value in 100,000 grows from layer to layer: two runs of one arithmetic are as
# near to each other as the last digits of float32 allow, some 28 dB. What each loses to fp32 is the same.
def test_in_onnx_runtime_and_openvino_it_loses_what_the_simulation_says(lite0: Any, images: Any) -> None:
    symbol, args, aux = lite0
    params = {"arg_params": args, "aux_params": aux}
    calibration, evaluation = images.images[:10], images.images[10:]
    statistics = mxquant.calibrate(symbol, calibration, target="onnx_qdq", **params)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", **params)
    model = mxquant.export_onnx(symbol, plan=plan, statistics=statistics, input_shapes=evaluation.shape, **params)
    fp32 = mxquant.export_onnx(symbol, input_shapes=evaluation.shape, **params)
    simulated = mxquant.lower(symbol, plan, target="simulate", statistics=statistics, **params)
    (reference,) = forward(*lite0, data=evaluation)
    (predicted,) = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=evaluation)
    (exported,) = in_onnxruntime(fp32.proto, data=evaluation)
    assert np.abs(exported - reference).max() <= 1e-4 * np.abs(reference).max()
    for found in (in_onnxruntime(model.proto, data=evaluation)[0], in_openvino(model.proto, evaluation)):
        assert sqnr(predicted, found) > 25
        assert sqnr(reference, found) == pytest.approx(sqnr(reference, predicted), abs=1)
        assert (found.argmax(axis=1) == reference.argmax(axis=1)).sum() >= 9
