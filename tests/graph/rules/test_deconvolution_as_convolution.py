"""A Deconvolution becomes a convolution whose channels are spread over rows and columns; the results are the same."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant.graph.passes import Canonical, canonicalize
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from tests.networks import conv, forward, images, network_of, random_params, relu, sqnr

SHAPE = (2, 512, 3, 4)


def enlarged(x: Any = None, **attrs: Any) -> Any:
    x = mx.sym.var("data") if x is None else x
    given = {"num_filter": 3, "kernel": (4, 4), "stride": (2, 2), "pad": (1, 1), "name": "up", **attrs}
    return mx.sym.Deconvolution(x, **given)


def made(symbol: Any, shape: Tuple[int, ...] = SHAPE) -> Tuple[Canonical, Dict[str, Any], Dict[str, Any], np.ndarray]:
    data = images(*shape)
    args, aux = random_params(symbol, data=shape)
    return canonicalize(network_of(symbol, args, aux)), args, aux, data


def operators(found: Canonical) -> list:
    return [node.op for node in found.network.graph.operators]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.integers(2, 4),
    pad=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    adjust=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    bias=st.booleans(),
)
def test_the_convolution_computes_the_same(kernel: Any, stride: int, pad: Any, adjust: Any, bias: bool) -> None:
    pad = tuple(min(p, (k - 1) // 2) for p, k in zip(pad, kernel))
    symbol = enlarged(kernel=kernel, stride=(stride, stride), pad=pad, adj=adjust, no_bias=not bias)
    found, args, aux, data = made(symbol)
    if found.refusals:
        assert "adj is larger" in found.refusals[0].reason
        return
    assert operators(found)[:2] == ["Convolution", "depth_to_space"]
    (expected,), (result,) = forward(symbol, args, aux, data=data), outputs(found.network, {"data": data})
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_the_multiplications_are_no_more_than_before() -> None:
    found, *_ = made(enlarged())
    assert found.network.params["up_weight"].shape == (4 * 3, 512, 2, 2)


def test_batch_norm_and_relu_are_computed_before_the_channels_are_spread() -> None:
    normed = mx.sym.BatchNorm(enlarged(), fix_gamma=False, name="bn")
    symbol = relu(normed, "act")
    found, args, aux, data = made(symbol)
    assert operators(found) == ["Convolution", "Activation", "depth_to_space", "slice"]
    assert found.network.graph.outputs[0].name == "act_output"
    assert found.network.graph.operators[0].layers == ("up", "bn")
    (expected,), (result,) = forward(symbol, args, aux, data=data), outputs(found.network, {"data": data})
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_what_others_read_before_the_activation_stays() -> None:
    up = enlarged()
    symbol = mx.sym.Group([relu(up), up])
    found, args, aux, data = made(symbol)
    assert operators(found) == ["Convolution", "depth_to_space", "slice", "Activation"]
    for expected, result in zip(forward(symbol, args, aux, data=data), outputs(found.network, {"data": data})):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "attrs, reason",
    [
        ({"num_group": 2, "num_filter": 4}, "2 groups"),
        ({"stride": (2, 1)}, "equal ones from 2 on"),
        ({"stride": (1, 1)}, "equal ones from 2 on"),
        ({"target_shape": (6, 8), "pad": (0, 0)}, "target_shape is set"),
        ({"kernel": (2, 2), "pad": (0, 0), "adj": (1, 1)}, "adj is larger"),
        ({}, "with 508 multiplications for each value"),
    ],
)
def test_what_stays_is_told(attrs: Dict[str, Any], reason: str) -> None:
    found, *_ = made(enlarged(**attrs), (2, 512, 3, 4) if attrs else (2, 127, 3, 4))
    assert operators(found) == ["Deconvolution"] and reason in found.refusals[0].reason


def test_a_1d_deconvolution_stays() -> None:
    symbol = mx.sym.Deconvolution(mx.sym.var("data"), num_filter=3, kernel=(4,), stride=(2,), pad=(1,), name="up")
    found, *_ = made(symbol, (2, 4, 9))
    assert operators(found) == ["Deconvolution"] and "1D kernel" in found.refusals[0].reason


def test_all_of_a_pose_estimator_runs_in_int8_as_its_plan_says() -> None:
    feature = relu(conv(mx.sym.var("data"), "c0", 128))
    symbol = conv(relu(enlarged(feature, num_filter=16)), "joints", 5, kernel=1)
    args, aux = random_params(symbol, data=(4, 3, 8, 8))
    data = images(4, 3, 8, 8)
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, accuracy="fast", **params)
    float32 = [layer.op for layer in model.plan.layers.values() if layer.precision == "float32"]
    assert float32 == ["depth_to_space", "slice"]
    (expected,), (found,) = (
        forward(symbol, args, aux, data=data),
        forward(model.symbol, model.arg_params, model.aux_params, data=data),
    )
    assert sqnr(expected, found) > 30
    assert mxquant.compare(symbol, model, data, **params).outputs[0].int8_simulated == float("inf")


def test_a_layer_is_left_in_float32_by_its_name() -> None:
    symbol = conv(relu(enlarged(relu(conv(mx.sym.var("data"), "c0", 128)))), "c1", 4)
    args, aux = random_params(symbol, data=(2, 3, 8, 8))
    plan = mxquant.quantize(
        symbol, images(2, 3, 8, 8), arg_params=args, aux_params=aux, accuracy="fast", exclude_layers=["up"]
    ).plan
    assert plan.layers["up"].precision == "float32" and "excluded by name" in plan.layers["up"].reason
