"""Weights of even codes are the same where oneDNN halves them, but for the largest of a channel."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant.lowering.even_weights import even_weight
from mxquant.lowering.saturation import halved_weight_codes, weight_codes
from mxquant.lowering.stored_weights import NEARLY_EVEN, int8_weight
from mxquant.plan import LayerPlan
from mxquant.runtime.mxnet import mx
from tests.networks import conv, forward, images, random_params, sqnr

SHAPES = [(4, 3, 3, 3), (8, 2, 1, 1), (6, 1, 3, 3), (3, 40)]
KINDS = ("random", "positive", "equal", "signs", "zeros")
MAGNITUDES = (1e-30, 1e-3, 1.0, 1e30)


def layer(granularity: str, codes: int = NEARLY_EVEN) -> LayerPlan:
    return LayerPlan("l", "Convolution", ("l",), "int8", "", granularity, codes)


def random_weight(seed: int, shape: Tuple[int, ...], kind: str = "random", magnitude: float = 1.0) -> np.ndarray:
    weight = np.random.RandomState(seed).randn(*shape)
    kinds: Dict[str, Any] = {"positive": np.abs, "equal": np.ones_like, "signs": np.sign}
    weight = kinds.get(kind, lambda w: w)(weight)
    if kind == "zeros":
        weight[::2] = 0
    return (weight * magnitude).astype(np.float32)


def evened(weight: np.ndarray, granularity: str) -> np.ndarray:
    found = even_weight("Convolution", weight, layer(granularity))
    return weight if found is None else found


def rows_of(weight: np.ndarray, granularity: str) -> np.ndarray:
    """Return weights with those of one scale in a row."""
    return weight.reshape(len(weight) if granularity == "channel-wise" else 1, -1)


def codes_of(weight: np.ndarray, granularity: str) -> Tuple[np.ndarray, np.ndarray]:
    rows = rows_of(weight, granularity)
    return weight_codes(rows).astype(int), 2 * halved_weight_codes(rows).astype(int)


def any_weights(test: Any) -> Any:
    chosen = (st.integers(0, 99999), st.sampled_from(SHAPES), st.sampled_from(KINDS), st.sampled_from(MAGNITUDES))
    return settings(max_examples=150)(given(*chosen, st.sampled_from(["channel-wise", "tensor-wise"]))(test))


@any_weights
def test_all_codes_but_one_of_each_scale_are_twice_the_halved_ones(
    seed: int, shape: Any, kind: str, magnitude: float, granularity: str
) -> None:
    found = evened(random_weight(seed, shape, kind, magnitude), granularity)
    whole, halved = codes_of(found, granularity)
    assert found.shape == shape and found.dtype == np.float32
    assert ((whole != halved).sum(axis=1) <= 1).all()
    row, at = np.nonzero(whole != halved)
    # It is the largest, and half a step off on either side.
    assert (np.abs(whole[row, at]) == 127).all() and (np.abs(halved[row, at]) == 128).all()


@any_weights
def test_even_weights_stay_what_they_are(seed: int, shape: Any, kind: str, magnitude: float, granularity: str) -> None:
    found = evened(random_weight(seed, shape, kind, magnitude), granularity)
    assert even_weight("Convolution", found, layer(granularity)) is None


@any_weights
def test_weights_are_one_code_off_at_most_and_those_at_the_end_two(
    seed: int, shape: Any, kind: str, magnitude: float, granularity: str
) -> None:
    weight = random_weight(seed, shape, kind, magnitude)
    rows, found = (rows_of(each, granularity).astype(np.float64) for each in (weight, evened(weight, granularity)))
    largest = np.abs(rows).max(axis=1, keepdims=True)
    # One code by rounding, and up to two between a largest weight, which may be -128, and the last even code of others.
    assert (np.abs(found - rows) <= 1.01 * np.where(np.abs(rows) > 0.97 * largest, 2, 1) * largest / 127.5).all()
    assert (np.abs(found).max(axis=1, keepdims=True) >= 0.99 * largest).all()


@pytest.mark.parametrize("granularity", ["channel-wise", "tensor-wise"])
@pytest.mark.parametrize("kind", ["random", "positive"])
def test_they_are_as_good_as_halved_ones(granularity: str, kind: str) -> None:
    weight = random_weight(1, (32, 16, 3, 3), kind)
    found = evened(weight, granularity)
    level = sqnr(weight, int8_weight("Convolution", found, layer(granularity)))
    halved = sqnr(weight, int8_weight("Convolution", weight, layer(granularity, 64)))
    assert level >= halved - 0.3
    # As the weights are in memory, and as each side rounds them.
    steps = np.abs(rows_of(found, granularity)).max(axis=1, keepdims=True) / 127.5
    for codes in codes_of(found, granularity):
        assert sqnr(weight, (codes * steps).reshape(weight.shape)) >= halved - 0.3


def test_a_negative_largest_weight_leaves_no_difference() -> None:
    weight = random_weight(2, (8, 5, 3, 3))
    weight[:, 0, 0, 0] = -np.abs(weight).max(axis=(1, 2, 3)) * 1.1
    found = evened(weight, "channel-wise")
    whole, halved = codes_of(found, "channel-wise")
    assert (found != weight).any() and np.array_equal(whole, halved)


def test_a_negative_largest_weight_is_moved_where_float32_would_miss_its_code() -> None:
    ends = -np.random.RandomState(0).uniform(0.5, 1, 2000).astype(np.float32)
    missed = ends[weight_codes(ends[:, None])[:, 0] == -127]
    assert len(missed) > 100
    found = evened(np.stack([missed, np.zeros_like(missed)], axis=1), "channel-wise")
    np.testing.assert_array_equal(*codes_of(found, "channel-wise"))


def test_channels_that_are_even_are_left_alone() -> None:
    weight = random_weight(3, (4, 3, 3, 3))
    weight[1] = evened(weight, "channel-wise")[1]
    found = even_weight("Convolution", weight, layer("channel-wise"))
    assert found is not None
    changed = (found != weight).reshape(4, -1).any(axis=1)
    assert changed.tolist() == [True, False, True, True]


def test_the_largest_positive_weight_is_taken_for_the_mean_of_both_sides() -> None:
    weight = random_weight(4, (16, 9, 1, 1), "positive")
    found = evened(weight, "channel-wise")
    whole, halved = codes_of(found, "channel-wise")
    steps = np.abs(found).reshape(16, -1).max(axis=1, keepdims=True) / 127.5
    expected = int8_weight("Convolution", found, layer("channel-wise")).reshape(16, -1)
    np.testing.assert_allclose(expected, (whole + halved) / 2 * steps, rtol=1e-6)


def test_the_int8_network_gets_such_weights_for_groups_of_one_scale_and_depthwise() -> None:
    x = conv(mx.sym.Activation(conv(mx.sym.var("data"), "c1", 8), act_type="tanh"), "g", 12, num_group=4)
    symbol, data = conv(x, "dw", 12, num_group=12), images(4, 3, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    plan = mxquant.make_plan(symbol, statistics, arg_params=args, isa="portable")
    models = [mxquant.lower(symbol, plan, arg_params=args, target=target) for target in ("onednn", "simulate")]
    for name, granularity in (("g", "tensor-wise"), ("dw", "channel-wise")):
        found = plan.layers[name]
        assert (found.weight_codes, found.granularity) == (NEARLY_EVEN, granularity)
        weight = models[0].arg_params[f"{name}_weight"].asnumpy()
        assert (weight != args[f"{name}_weight"].asnumpy()).any()
        whole, halved = codes_of(weight, granularity)
        assert ((whole != halved).sum(axis=1) <= 1).all()
    int8, simulated = (forward(each.symbol, dict(each.arg_params), {}, data=data)[0] for each in models)
    assert sqnr(forward(symbol, args, aux, data=data)[0], int8) > 25
    # The largest weight is one of two on this CPU, and the mean of both in the simulation.
    assert sqnr(int8, simulated) > 40
