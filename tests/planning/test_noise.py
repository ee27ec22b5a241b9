"""The predicted noise of a layer is what rounding its data and its weights gives."""

from __future__ import annotations

import numpy as np
import pytest

from mxquant.lowering.pairs import PairExcess
from mxquant.lowering.saturation import weight_codes
from mxquant.planning.noise import DataMoments, LayerNoise
from mxquant.stats import Histogram

ROWS, OUTPUTS, COLUMNS = 20000, 12, 64


def layer() -> tuple:
    """Return ReLU data, half of them zeros, and weights."""
    rng = np.random.default_rng(0)
    data = np.maximum(rng.standard_normal((ROWS, COLUMNS)), 0)
    return data, rng.uniform(-1, 1, (OUTPUTS, COLUMNS)).astype(np.float32)


def test_moments_are_those_of_the_values() -> None:
    data, _ = layer()
    found = DataMoments.of(Histogram.of(data))
    assert found.mean == pytest.approx(data.mean(), rel=1e-3)
    assert found.square == pytest.approx(np.square(data).mean(), rel=1e-3)
    assert found.present == np.count_nonzero(data) / data.size


def test_negative_values_and_a_histogram_that_does_not_reach_zero_are_right() -> None:
    values = np.array([-4.0, 5.0, 0.0, 0.0])
    found = DataMoments.of(Histogram.of(values))
    assert (found.mean, found.square, found.present) == pytest.approx((0.25, 10.25, 0.5), rel=1e-3)
    far = DataMoments.of(Histogram.of(np.array([5.0, 6.0])))
    assert (far.mean, far.square, far.present) == pytest.approx((5.5, 30.5, 1.0), rel=1e-3)


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros(0)])
def test_without_values_there_is_no_noise(values: np.ndarray) -> None:
    moments = DataMoments.of(Histogram.of(values))
    assert LayerNoise.of(np.ones((2, 3), np.float32), moments, None).relative(0.1) == 0.0


@pytest.mark.parametrize("step, halved", [(0.1, False), (0.01, False), (0.01, True)])
def test_noise_is_that_of_rounded_data_and_weights(step: float, halved: bool) -> None:
    data, weight = layer()
    size = np.abs(weight).max(axis=1, keepdims=True) / 127 * (2 if halved else 1)
    rounded = np.rint(data / step) * step @ (np.rint(weight / size) * size).T
    measured = np.square(data @ weight.T - rounded).mean(axis=0).sum()
    power = np.square(data).mean() * np.square(weight).sum()
    predicted = LayerNoise.of(weight, DataMoments.of(Histogram.of(data)), None).relative(step, halved=halved)
    assert predicted == pytest.approx(measured / power, rel=0.25)


def test_a_limit_on_pairs_adds_its_own_noise() -> None:
    data, weight = layer()
    moments, pairs = DataMoments.of(Histogram.of(data)), PairExcess.of(weight)
    noise = LayerNoise.of(weight, moments, pairs)
    more = noise.relative(0.01, 150) - noise.relative(0.01)
    variance = moments.square - moments.mean**2
    assert more == pytest.approx(pairs.noise(150, moments.mean, variance) / (moments.square * noise.energy))
    assert noise.relative(0.01, 255) == noise.relative(0.01)
    assert np.abs(weight_codes(weight)).max() == 127
