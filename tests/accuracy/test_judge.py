"""How faithful a network is: decibels, and outputs for inputs that may lack labels."""

from __future__ import annotations

import numpy as np
import pytest

import mxquant
from mxquant.analysis.judge import Judge
from mxquant.analysis.noise_ratio import NoiseRatio
from mxquant.graph.passes import canonicalize
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, network_of, random_params, relu

SHAPE = (4, 3, 8, 8)


def sqnr(exact: np.ndarray, found: np.ndarray) -> float:
    ratio = NoiseRatio()
    ratio.add(exact, found)
    return ratio.sqnr


def test_equal_arrays_have_no_noise() -> None:
    assert sqnr(np.ones(3), np.ones(3)) == float("inf")
    assert sqnr(np.zeros(3), np.zeros(3)) == float("inf")


def test_without_a_signal_all_is_noise() -> None:
    assert sqnr(np.zeros(3), np.ones(3)) == float("-inf")


@pytest.mark.parametrize("part, level", [(1, 0), (0.1, 20), (1e-3, 60), (10, -20)])
def test_noise_of_a_part_of_the_signal(part: float, level: float) -> None:
    signal = images(5, 7)
    assert sqnr(signal, signal * (1 + part)) == pytest.approx(level, abs=1e-3)


def test_a_wrong_scale_is_noise_too() -> None:
    signal = images(5, 7)
    assert sqnr(signal, 2 * signal) == pytest.approx(0)


def test_squares_do_not_overflow_float32() -> None:
    signal = images(5, 7) * np.float32(1e25)
    assert sqnr(signal, signal * np.float32(1.1)) == pytest.approx(20, abs=1e-3)


def labelled():
    x = dense(relu(conv(mx.sym.var("data"), "c", 4)), "fc", 5)
    return mx.sym.SoftmaxOutput(x, mx.sym.var("softmax_label"), name="softmax")


def test_labels_are_fed_zeros() -> None:
    args, aux = random_params(labelled(), data=SHAPE, softmax_label=(4,))
    data = images(*SHAPE)
    (found,) = outputs(network_of(labelled(), args, aux), {"data": data})
    (expected,) = forward(labelled(), args, aux, data=data, softmax_label=np.zeros(4, np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_outputs_come_in_order_and_see_auxiliary_states() -> None:
    x = mx.sym.BatchNorm(conv(mx.sym.var("data"), "c", 4), fix_gamma=False, name="bn")
    symbol = mx.sym.Group([dense(x, "fc", 5), x, mx.sym.Flatten(x)])
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    found = outputs(network_of(symbol, args, aux), {"data": data})
    expected = forward(symbol, args, aux, data=data)
    assert [value.shape for value in found] == [value.shape for value in expected]
    for value, other in zip(found, expected):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5)


def test_inputs_keep_their_type() -> None:
    symbol = mx.sym.take(mx.sym.var("table"), mx.sym.var("rows"))
    args, rows = {"table": mx.nd.array(images(6, 3))}, np.array([5, 0], np.int32)
    (found,) = outputs(network_of(symbol, args, {}), {"rows": rows})
    np.testing.assert_array_equal(found, args["table"].asnumpy()[[5, 0]])


def test_the_level_is_that_of_the_int8_network_and_the_lowest_of_its_outputs() -> None:
    x = relu(conv(mx.sym.var("data"), "c1", 8))
    symbol = mx.sym.Group([dense(x, "fc1", 5), dense(relu(dense(x, "fc2", 6)), "fc3", 5)])
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    params = {"arg_params": args, "aux_params": aux}
    plan = mxquant.make_plan(symbol, mxquant.calibrate(symbol, data, **params), **params, method="minmax")
    network = canonicalize(network_of(symbol, args, aux)).network
    found = Judge(network, {"data": data}).level(network, plan)
    model = mxquant.lower(symbol, plan, **params)
    int8 = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=data)
    levels = [sqnr(exact, value) for exact, value in zip(forward(symbol, args, aux, data=data), int8)]
    assert abs(levels[0] - levels[1]) > 0.1
    assert found == pytest.approx(min(levels), abs=0.02)
    of_parts = Judge(network, {"data": data}, parts=True).level(network, plan)
    assert of_parts == pytest.approx(sum(levels) / 2, abs=0.02)
