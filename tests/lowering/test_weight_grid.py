"""Weights from a grid are quantized to the codes they were made of, and the largest of each channel is exact."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant.lowering.stored_weights import int8_weight
from mxquant.lowering.weight_grid import WeightGrid
from mxquant.plan import LayerPlan

KINDS = [
    ("Convolution", "channel-wise", 127),
    ("Convolution", "channel-wise", 64),
    ("FullyConnected", "channel-wise", 127),
    ("FullyConnected", "tensor-wise", 127),
    ("FullyConnected", "tensor-wise", 90),
]


def plan_of(op: str, granularity: str, codes: int) -> LayerPlan:
    return LayerPlan("layer", op, ("layer",), "int8", "", granularity, codes)


def wanted_codes(grid: WeightGrid, seed: int) -> np.ndarray:
    """Return any codes that lie inside the grid, and those of the weights that define it."""
    end = min(-grid.low, grid.high) if grid.layer.granularity == "tensor-wise" else min(-grid.low, grid.high + 1) - 1
    codes = np.random.RandomState(seed).randint(-end, end + 1, grid.original.shape)
    steps = np.where(grid.steps > 0, grid.steps, 1)[:, None]
    codes = np.where(grid.fixed, np.rint(grid.original / steps), codes)
    return np.where(grid.steps[:, None] > 0, codes, 0)


def assert_gives(grid: WeightGrid, codes: np.ndarray) -> np.ndarray:
    """Check that weights are quantized to `codes`; return them."""
    weights = grid.weights(codes)
    assert weights.dtype == np.float32
    found = int8_weight(grid.op, weights, grid.layer)
    steps = np.where(grid.steps > 0, grid.steps, 1)[:, None]
    np.testing.assert_array_equal(np.rint(found / steps), codes)
    np.testing.assert_allclose(found, codes * grid.steps[:, None], rtol=1e-5)
    return weights


def random_weight(seed: int, shape: Tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


@pytest.mark.parametrize("op, granularity, codes", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_wanted_codes_are_what_the_operator_quantizes_to(op: str, granularity: str, codes: int, seed: int) -> None:
    weight = random_weight(seed, (64, 30)) * np.float32(10.0 ** (seed - 3))
    grid = WeightGrid.of(op, weight, plan_of(op, granularity, codes))
    assert_gives(grid, wanted_codes(grid, seed))


@pytest.mark.parametrize("op, granularity, codes", KINDS)
def test_the_largest_weight_of_a_scale_is_exact(op: str, granularity: str, codes: int) -> None:
    weight = random_weight(0, (64, 30))
    grid = WeightGrid.of(op, weight, plan_of(op, granularity, codes))
    assert (grid.fixed.any(axis=1)).all() == (granularity == "channel-wise")
    found = int8_weight(op, assert_gives(grid, wanted_codes(grid, 1)), grid.layer)
    np.testing.assert_allclose(found[grid.fixed], weight[grid.fixed], rtol=1e-6)


@pytest.mark.parametrize("codes", [127, 64])
def test_by_itself_the_operator_does_not_keep_the_largest_weight(codes: int) -> None:
    weight, layer = random_weight(0, (64, 30)), plan_of("Convolution", "channel-wise", codes)
    largest = np.abs(weight).argmax(axis=1)[:, None]
    found = np.take_along_axis(int8_weight("Convolution", weight, layer), largest, axis=1)
    assert (np.abs(found / np.take_along_axis(weight, largest, axis=1) - 1) > 1e-3).all()


@pytest.mark.parametrize("op, granularity, codes", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_other_weights_may_get_the_code_of_the_largest_too(op: str, granularity: str, codes: int, sign: int) -> None:
    weight = np.array([[sign, sign * 0.999, 0.3], [sign * 0.4, sign, sign * 0.9985]], np.float32)
    grid = WeightGrid.of(op, weight, plan_of(op, granularity, codes))
    nearest = np.clip(np.rint(weight / grid.steps[:, None]), grid.low, grid.high)
    assert np.abs(nearest[0, :2]).min() >= np.abs(nearest[0, 0])
    assert_gives(grid, nearest)


@pytest.mark.parametrize("op, granularity, codes", KINDS[:3])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_weight_may_have_either_sign(op: str, granularity: str, codes: int, sign: int) -> None:
    weight = np.array([[sign, 0.25, -0.5], [sign * 3, 2.75, -2.9]], np.float32)
    grid = WeightGrid.of(op, weight, plan_of(op, granularity, codes))
    wanted = np.rint(weight / grid.steps[:, None])
    found = int8_weight(op, assert_gives(grid, wanted), grid.layer)
    np.testing.assert_allclose(found[:, 0], weight[:, 0], rtol=1e-6)
    ends = np.abs(weight[:, 0]) / grid.steps
    assert set(np.rint(ends)) <= ({64} if codes == 64 else {127} if sign > 0 else {127, 128})


@pytest.mark.parametrize("op, granularity, codes", KINDS)
def test_a_channel_of_zeros_stays_zero_beside_others(op: str, granularity: str, codes: int) -> None:
    weight = random_weight(0, (4, 9))
    weight[2] = 0
    grid = WeightGrid.of(op, weight, plan_of(op, granularity, codes))
    wanted = wanted_codes(grid, 1)
    wanted[2] = 0
    weights = assert_gives(grid, wanted)
    assert not weights[2].any()
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("op, granularity, codes", KINDS)
def test_weights_that_are_all_zero_stay_zero(op: str, granularity: str, codes: int) -> None:
    grid = WeightGrid.of(op, np.zeros((2, 3), np.float32), plan_of(op, granularity, codes))
    weights = grid.weights(np.zeros((2, 3)))
    assert (weights == 0).all()


@pytest.mark.parametrize("op, granularity, codes", KINDS[:3])
@pytest.mark.parametrize("value", [0.7, -0.7, 1e-6, -3e4])
def test_a_channel_of_one_weight_is_exact(op: str, granularity: str, codes: int, value: float) -> None:
    weight = np.full((3, 1), value, np.float32)
    grid = WeightGrid.of(op, weight, plan_of(op, granularity, codes))
    weights = assert_gives(grid, wanted_codes(grid, 0))
    np.testing.assert_allclose(int8_weight(op, weights, grid.layer), weight, rtol=1e-6)


def test_steps_of_a_kernel_are_those_of_the_flattened_rows() -> None:
    weight, layer = random_weight(0, (6, 2, 3, 3)), plan_of("Convolution", "channel-wise", 127)
    grid, flat = (WeightGrid.of("Convolution", each, layer) for each in (weight, weight.reshape(6, 18)))
    np.testing.assert_array_equal(grid.steps, flat.steps)
    assert grid.original.shape == (6, 18)


def test_a_channel_whose_codes_cannot_be_kept_keeps_its_weights() -> None:
    weight, layer = random_weight(0, (2, 5)), plan_of("Convolution", "channel-wise", 127)
    grid = WeightGrid.of("Convolution", weight, layer)
    codes = wanted_codes(grid, 0)
    free = int(np.flatnonzero(~grid.fixed[0])[0])
    codes[0, free] = 300
    weights = grid.weights(codes)
    np.testing.assert_array_equal(weights[0], weight[0])
    np.testing.assert_allclose(int8_weight("Convolution", weights, layer)[1], codes[1] * grid.steps[1], rtol=1e-5)


@pytest.mark.parametrize("op, granularity, codes", KINDS)
def test_the_nearest_codes_lose_no_more_than_the_operator_by_itself(op: str, granularity: str, codes: int) -> None:
    weight, layer = random_weight(3, (64, 30)), plan_of(op, granularity, codes)
    grid = WeightGrid.of(op, weight, layer)
    nearest = np.clip(np.rint(weight / grid.steps[:, None]), grid.low, grid.high)
    found = int8_weight(op, grid.weights(nearest), layer)
    itself = int8_weight(op, weight, layer)
    assert np.square(found - weight).sum() <= 1.02 * np.square(itself - weight).sum()


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 12), st.integers(-4, 4))
def test_any_weights_and_codes(kind: Tuple[str, str, int], seed: int, outputs: int, columns: int, power: int) -> None:
    op, granularity, codes = kind
    weight = random_weight(seed, (outputs, columns)) * np.float32(10.0**power)
    weight[np.random.RandomState(seed).rand(outputs) < 0.1] = 0
    if weight.any():
        grid = WeightGrid.of(op, weight, plan_of(op, granularity, codes))
        assert_gives(grid, wanted_codes(grid, seed))


def test_the_largest_weight_gets_the_last_code_wherever_float32_would_miss_it() -> None:
    # Between these numbers 450 in a row, divided into 127.5 and multiplied by what comes out, are below 127.5.
    ends = -1.4111935 * 128 / 127.5 * (1 + np.arange(450) * np.finfo(np.float32).eps / 1.4111935)
    weight = np.stack([ends, np.full(450, 0.5)], axis=1).astype(np.float32)
    grid = WeightGrid.of("Convolution", weight, plan_of("Convolution", "channel-wise", 127))
    codes = np.stack([np.full(450, -128), np.arange(450) % 128], axis=1)
    found = int8_weight("Convolution", grid.weights(codes), grid.layer) / grid.steps[:, None]
    np.testing.assert_allclose(found, codes, atol=0.01)
