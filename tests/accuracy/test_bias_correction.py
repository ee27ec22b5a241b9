"""Biases make up for what rounded weights add to a layer's result on average."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import model as models
from mxquant.accuracy.bias_correction import correct_biases
from mxquant.errors import InputError, StatisticsError
from mxquant.graph import Network
from mxquant.graph.channel_axes import channel_axes
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.stored_weights import int8_weight
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.stats import Statistics
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (16, 4, 6, 6)


def networks() -> Dict[str, Any]:
    """Return single layers, on data that are never negative, by name."""
    x = mx.sym.abs(mx.sym.var("data"), name="x")
    last = mx.sym.transpose(x, axes=(0, 2, 3, 1), name="last")
    return {
        "1x1": conv(x, "layer", 8, 1),
        "3x3": conv(x, "layer", 8, 3, pad=(0, 0)),
        "depthwise": conv(x, "layer", 4, 3, pad=(0, 0), num_group=4),
        "groups": conv(x, "layer", 8, 1, num_group=2),
        "dense on features": dense(mx.sym.Flatten(x), "layer"),
        "dense on images": dense(x, "layer"),
        "dense on the last axis": dense(last, "layer", flatten=False),
    }


def quantized(symbol: Any, isa: str = "vnni", **options: Any) -> Tuple[Network, QuantPlan, Statistics, Any, np.ndarray]:
    data = images(*SHAPE)
    args, _ = random_params(symbol, data=SHAPE)
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    plan = mxquant.make_plan(symbol, statistics, arg_params=args, isa=isa, **options)
    return models.load(symbol, args, {}).canonical.network, plan, statistics, args, data


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("isa", ["vnni", "avx2"])
def test_the_mean_of_the_result_is_that_in_float32(name: str, isa: str) -> None:
    symbol = networks()[name]
    network, plan, statistics, args, data = quantized(symbol, isa)
    assert plan.layers["layer"].precision == "int8"
    corrected = correct_biases(network, plan, statistics)
    weight = int8_weight(
        plan.layers["layer"].op, planned_weights(network, plan).params["layer_weight"], plan.layers["layer"]
    ).astype(np.float32)
    expected = forward(symbol, args, {}, data=data)[0]

    def mean_error(bias: np.ndarray) -> float:
        rounded = {"layer_weight": mx.nd.array(weight), "layer_bias": mx.nd.array(bias)}
        error = forward(symbol, rounded, {}, data=data)[0] - expected
        axis = error.ndim - 1 if error.ndim == 2 or name.endswith("last axis") else 1
        return np.abs(error.mean(axis=tuple(a for a in range(error.ndim) if a != axis))).max()

    before, after = (mean_error(each.params["layer_bias"]) for each in (network, corrected))
    # The mean of 16 x 6 x 6 places is exact where each channel has one mean for all places.
    exact = name not in ("3x3", "depthwise", "dense on images")
    assert after < (1e-4 if exact else 0.5) * before
    assert (corrected.params["layer_weight"] == network.params["layer_weight"]).all()


def deep() -> Any:
    x = mx.sym.var("data")
    for index in range(4):
        x = relu(conv(x, f"c{index}", 16), f"r{index}")
    return dense(x, "out")


def test_lowering_with_statistics_is_nearer_to_float32() -> None:
    symbol = deep()
    _, plan, statistics, args, data = quantized(symbol)
    expected = forward(symbol, args, {}, data=data)[0]
    plain, corrected = (mxquant.lower(symbol, plan, arg_params=args, statistics=each) for each in (None, statistics))
    levels = [
        sqnr(expected, forward(model.symbol, dict(model.arg_params), {}, data=data)[0]) for model in (plain, corrected)
    ]
    assert levels[1] > levels[0] + 0.5


def test_fast_quantization_corrects_biases() -> None:
    symbol = deep()
    _, plan, statistics, args, data = quantized(symbol, isa=None)
    model = mxquant.quantize(symbol, data, arg_params=args, accuracy="fast")
    corrected = mxquant.lower(symbol, plan, arg_params=args, statistics=statistics)
    for name in ("c0_bias", "out_bias"):
        bias = model.arg_params[name].asnumpy()
        np.testing.assert_array_equal(bias, corrected.arg_params[name].asnumpy())
        assert (bias != args[name].asnumpy()).any()


def test_layers_in_float32_and_tensors_without_means_keep_their_biases() -> None:
    network, plan, statistics, _, _ = quantized(deep(), exclude_layers=["c1"])
    means = {name: sums for name, sums in statistics.channel_sums.items() if name != "r2_output"}
    corrected = correct_biases(network, plan, replace(statistics, channel_sums=means))
    changed = [f"c{i}" for i in range(4) if (corrected.params[f"c{i}_bias"] != network.params[f"c{i}_bias"]).any()]
    assert changed == ["c0", "c2"]


@pytest.mark.parametrize(
    "window",
    [
        {"kernel": (3, 3), "pad": (1, 1)},
        {"kernel": (3, 3), "pad": (4, 4), "dilate": (4, 4)},
        {"kernel": (3, 5), "pad": (1, 2), "stride": (2, 3)},
        {"kernel": (1, 3), "pad": (1, 1)},
        {"kernel": (3, 3), "pad": (1, 1), "num_group": 4},
    ],
)
def test_places_of_a_kernel_count_by_how_often_they_are_on_the_data(window: Dict[str, Any]) -> None:
    symbol = mx.sym.Convolution(mx.sym.abs(mx.sym.var("data")), num_filter=8, name="layer", **window)
    args, _ = random_params(symbol, data=SHAPE)
    data = np.broadcast_to(images(*SHAPE)[..., :1, :1], SHAPE)
    params = {"arg_params": args}
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, isa="vnni", **params)
    network = models.load(symbol, args, {}).canonical.network
    corrected = correct_biases(network, plan, statistics).params["layer_bias"]
    weight = int8_weight("Convolution", network.params["layer_weight"], plan.layers["layer"])
    rounded = {"layer_weight": mx.nd.array(weight), "layer_bias": mx.nd.array(corrected)}
    error = forward(symbol, rounded, {}, data=data)[0] - forward(symbol, args, {}, data=data)[0]
    before = np.abs(corrected - network.params["layer_bias"]).max()
    assert np.abs(error.mean(axis=(0, 2, 3))).max() < 1e-3 * before


def test_a_bias_that_two_layers_share_is_kept() -> None:
    x, bias = mx.sym.var("data"), mx.sym.var("shared_bias")
    symbol = conv(relu(conv(x, "a", 8, 1, bias=bias), "r"), "b", 8, 1, bias=bias)
    network, plan, statistics, _, _ = quantized(symbol)
    assert correct_biases(network, plan, statistics).params is not network.params
    for name, value in correct_biases(network, plan, statistics).params.items():
        np.testing.assert_array_equal(value, network.params[name])


def test_the_means_that_are_collected_are_those_of_what_layers_read() -> None:
    x = mx.sym.var("data")
    symbol = dense(relu(conv(x, "c"), "r"), "d", flatten=False)
    network, _, statistics, _, _ = quantized(symbol)
    assert channel_axes(network) == {"data": 1, "r_output": -1}
    assert {name: len(sums.parts) for name, sums in statistics.channel_sums.items()} == {"data": 4, "r_output": 6}


def test_statistics_of_another_network_or_of_another_kind_are_refused() -> None:
    symbol = deep()
    _, plan, _, args, _ = quantized(symbol)
    other = quantized(networks()["1x1"])[2]
    with pytest.raises(StatisticsError, match="the statistics are of network"):
        mxquant.lower(symbol, plan, arg_params=args, statistics=other)
    with pytest.raises(InputError, match="statistics are dict"):
        mxquant.lower(symbol, plan, arg_params=args, statistics={})
