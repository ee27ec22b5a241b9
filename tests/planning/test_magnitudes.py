"""Layers whose values int8 could not tell from zeros, or could make infinite, stay float32, and say so."""

from __future__ import annotations

import logging
from typing import Any, Dict

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu

SHAPE = (4, 4, 6, 6)


def network(data_scale: float = 1.0, **scales: float) -> Dict[str, Any]:
    """Return two convolutions and a FullyConnected without biases, with their data and weights scaled."""
    x = relu(conv(mx.sym.var("data"), "first", no_bias=True), "act")
    symbol = dense(conv(x, "second", no_bias=True), "last", no_bias=True)
    args, _ = random_params(symbol, data=SHAPE)
    for name, scale in scales.items():
        args[f"{name}_weight"] *= scale
    return {"net": symbol, "arg_params": args, "data": images(*SHAPE) * np.float32(data_scale)}


def precisions(model: Any) -> Dict[str, str]:
    return {name: layer.precision for name, layer in model.plan.layers.items()}


@pytest.mark.parametrize("scale", [1e-14, 1e-30, 1e-41])
@pytest.mark.parametrize("target", ["onednn", "cudnn", "onnx_qdq"])
def test_what_vanishes_is_computed_in_float32(scale: float, target: str) -> None:
    given = network(scale)
    model = mxquant.quantize(**given, target=target, accuracy="fast", gpu_operations_per_byte=1e-3)
    assert set(precisions(model).values()) == {"float32"}
    if target == "onednn":
        expected = forward(given["net"], given["arg_params"], {}, data=given["data"])[0]
        found = forward(model.symbol, dict(model.arg_params), {}, data=given["data"])[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-44)


def test_only_layers_around_it_stay_float32() -> None:
    model = mxquant.quantize(**network(first=1e-20, second=1e20), accuracy="fast")
    assert precisions(model) == {"first": "float32", "second": "float32", "last": "int8"}
    reasons = {name: layer.reason for name, layer in model.plan.layers.items()}
    assert "no value of 'act_output' is above" in reasons["first"] and "scale it up for int8" in reasons["first"]
    assert "no value of 'act_output' is above" in reasons["second"]


def test_weights_vanish_too() -> None:
    model = mxquant.quantize(**network(1e10, first=1e-20), accuracy="fast", granularity="tensor-wise")
    assert "no value of its weight is above" in model.plan.layers["first"].reason


def test_what_is_nearly_infinite_is_computed_in_float32() -> None:
    given = network(1e31, first=1e6, second=1e-6)
    model = mxquant.quantize(**given, accuracy="fast")
    assert precisions(model) == {"first": "float32", "second": "float32", "last": "int8"}
    assert "'act_output' has a value of" in model.plan.layers["second"].reason
    assert all(np.isfinite(each).all() for each in forward(model.symbol, model.arg_params, {}, data=given["data"]))


def test_the_log_warns_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mxquant"):
        mxquant.quantize(**network(first=1e-20), accuracy="fast")
    assert "layer 'first' stays float32" in caplog.text and "act_output" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "mxquant"):
        mxquant.quantize(**network(1e-10), accuracy="fast")
        mxquant.quantize(**network(0.0), accuracy="fast")
    assert not caplog.text


def test_a_tensor_of_zeros_is_int8() -> None:
    assert set(precisions(mxquant.quantize(**network(0.0), accuracy="fast")).values()) == {"int8"}


@pytest.mark.parametrize("target", ["onednn", "onnx_qdq"])
def test_the_bias_of_channels_without_weights_is_not_lost_on_huge_data(target: str) -> None:
    symbol = conv(mx.sym.var("data"), "conv")
    args, _ = random_params(symbol, data=SHAPE)
    args.update(conv_weight=0 * args["conv_weight"], conv_bias=args["conv_bias"] + 0.5)
    model = mxquant.quantize(symbol, images(*SHAPE) * np.float32(1e20), arg_params=args, target=target, accuracy="fast")
    reason = model.plan.layers["conv"].reason
    assert reason.startswith("channels of it have a bias and no weights, which int8 would lose on data of")
    usual = mxquant.quantize(symbol, images(*SHAPE), arg_params=args, target=target, accuracy="fast")
    assert usual.plan.layers["conv"].precision == "int8"
