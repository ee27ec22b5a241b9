"""Operators that move values: int8 where MXNet moves codes as fast, else float32; the same numbers always."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.graph import Node
from mxquant.lowering.spread import spread_channels
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import conv, dense, forward, images, random_params, relu

Case = Tuple[Any, ...]


def quantized(symbol: Any, *shape: int, **options: Any) -> Case:
    args, aux = random_params(symbol, data=shape)
    data, params = images(*shape), {"arg_params": args, "aux_params": aux}
    return mxquant.quantize(symbol, data, accuracy="fast", **params, **options), data, params


def between(moved: Any) -> Any:
    """Return what moves values, between two convolutions."""
    return conv(moved(relu(conv(mx.sym.var("data"), "c0", 8))), "c1", 4)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    "moved",
    [
        lambda x: mx.sym.Reshape(x, shape=(0, 4, -1, 0)),
        lambda x: mx.sym.squeeze(mx.sym.expand_dims(x, axis=2), axis=2),
        lambda x: mx.sym.Reshape(mx.sym.Reshape(x, shape=(0, -1)), shape=(0, 8, 8, 8)),
    ],
)
def test_codes_are_reshaped_as_they_are(moved: Any, signed: bool) -> None:
    x = conv(mx.sym.var("data"), "c0", 8)
    symbol = conv(moved(x if signed else relu(x)), "c1", 4)
    model, data, params = quantized(symbol, 2, 3, 8, 8)
    assert {layer.precision for layer in model.plan.layers.values()} == {"int8"}
    operators = [node.op for node in graph_of(model.symbol).operators]
    assert operators.count("_contrib_dequantize") == 1  # of the output
    assert mxquant.compare(symbol, model, data, **params).outputs[0].int8_simulated == float("inf")


@pytest.mark.parametrize(
    "moved",
    [
        lambda x: mx.sym.transpose(x, axes=(0, 1, 3, 2)),
        lambda x: mx.sym.SwapAxis(x, dim1=2, dim2=3),
        lambda x: mx.sym.slice_axis(x, axis=1, begin=0, end=4),
        lambda x: mx.sym.repeat(x, repeats=2, axis=2),
    ],
)
def test_what_is_faster_in_float32_stays_so(moved: Any) -> None:
    symbol = between(moved)
    model, data, params = quantized(symbol, 2, 3, 8, 8)
    (layer,) = (layer for layer in model.plan.layers.values() if layer.precision == "float32")
    assert layer.reason.endswith("takes longer for int8 than for float32, conversions included")
    assert mxquant.compare(symbol, model, data, **params).outputs[0].int8_simulated == float("inf")


@pytest.mark.parametrize("mode", ["smart", "full"])
def test_a_reshape_at_the_end_gains_nothing(mode: str) -> None:
    symbol = mx.sym.Reshape(mx.sym.softmax(dense(mx.sym.var("data"), "f", 8)), shape=(-1, 4))
    model, *_ = quantized(symbol, 2, 6, mode=mode)
    layers = list(model.plan.layers.values())
    assert [layer.precision for layer in layers] == ["int8", "float32", "float32"]


def enlarged(channels: int, size: int) -> Any:
    up = mx.sym.depth_to_space(conv(mx.sym.var("data"), "c0", channels * size**2), block_size=size, name="up")
    return relu(up, "act")


@pytest.mark.parametrize("channels, size", [(3, 2), (5, 3), (1, 4)])
def test_channels_are_spread_by_transposes_to_the_same_places(channels: int, size: int) -> None:
    symbol = enlarged(channels, size)
    model, data, params = quantized(symbol, 2, 3, 4, 5)
    operators = [node.op for node in graph_of(model.symbol).operators]
    assert "depth_to_space" not in operators and operators.count("transpose") == 2
    found = mxquant.compare(symbol, model, data, **params).outputs[0]
    assert found.int8_simulated == float("inf")
    (result,) = forward(model.symbol, model.arg_params, model.aux_params, data=images(5, 3, 6, 7))
    assert result.shape == (5, channels, 6 * size, 7 * size)


def test_the_channels_are_those_of_the_convolution_before() -> None:
    graph = graph_of(enlarged(3, 2))
    assert spread_channels(graph.find("up")) == 3
    data = Node("null", "data")
    assert spread_channels(Node("depth_to_space", "up", {"block_size": "2"}, [data.output])) is None


def test_a_spread_of_unknown_channels_is_mxnets() -> None:
    symbol = conv(mx.sym.depth_to_space(mx.sym.var("data"), block_size=2), "c0", 4)
    model, data, params = quantized(symbol, 2, 8, 4, 4)
    assert "depth_to_space" in [node.op for node in graph_of(model.symbol).operators]
    assert np.isfinite(mxquant.compare(symbol, model, data, **params).outputs[0].sqnr)
