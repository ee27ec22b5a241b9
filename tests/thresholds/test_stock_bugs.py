"""What the stock entropy searches get wrong, and this one does not.

Where the stock operator is wrong, it runs beside it, so that the test shows the difference.
"""

from __future__ import annotations

import numpy as np
import pytest

from mxquant import InputError
from mxquant.runtime.mxnet import mx
from mxquant.thresholds.entropy import _get_optimal_threshold, _smooth_distribution, entropy_search


def stock(hist: np.ndarray, edges: np.ndarray, bins: int = 255) -> float:
    threshold, _ = mx.nd.contrib.calibrate_entropy(mx.nd.array(hist), mx.nd.array(edges), num_quantized_bins=bins)
    return float(threshold.asscalar())


def spike(position: int, bins: int = 8001, reach: float = 5.0) -> tuple:
    hist = np.zeros(bins)
    hist[position] = 1000
    return hist, np.linspace(-reach, reach, bins + 1)


def test_mass_at_the_negative_end_counts_as_at_the_positive_end() -> None:
    right, left = spike(8000), spike(0)
    assert entropy_search(*right).threshold == entropy_search(*left).threshold == 5.0
    assert stock(*right) == 5.0
    assert stock(*left) < 0.2


def test_counts_beyond_two_to_the_31() -> None:
    hist = np.full(8001, 1e9)
    edges = np.linspace(-1, 1, 8002)
    assert entropy_search(hist, edges).threshold == entropy_search(hist / 1e9, edges).threshold


@pytest.mark.parametrize("bad", [0.5, np.nan, -1.0, np.inf])
def test_counts_that_are_none_are_refused(bad: float) -> None:
    hist, edges = spike(4000)
    hist[10] = bad
    with pytest.raises(InputError, match="count"):
        entropy_search(hist, edges)


def test_fractions_give_the_stock_operator_its_smallest_candidate() -> None:
    hist, edges = np.full(8001, 0.5), np.linspace(-1, 1, 8002)
    assert stock(hist, edges) < 0.04
    assert entropy_search(hist * 2, edges).threshold > 0.9


@pytest.mark.filterwarnings("error")
def test_a_constant_array_is_no_divergence_of_nan() -> None:
    low, high, divergence, threshold = _get_optimal_threshold([np.full(1000, 2.0, np.float32)])
    assert (low, high, threshold) == (2.0, 2.0, 2.0)
    assert np.isfinite(divergence)


def test_half_empty_histograms_agree_with_their_mirror_image() -> None:
    values = np.abs(np.random.RandomState(0).standard_normal(50_000)).astype(np.float32)
    right, left = (_get_optimal_threshold(each)[3] for each in (values, -values))
    # The last merged bin takes the rest, which is not symmetric.
    assert right == pytest.approx(left, rel=1e-2)


def test_24001_bins() -> None:
    values = np.random.RandomState(0).standard_normal(100_000).astype(np.float32)
    coarse, fine = (_get_optimal_threshold(values, num_bins=bins)[3] for bins in (8001, 24_001))
    assert 0.5 * np.abs(values).max() < fine <= np.abs(values).max()
    assert fine == pytest.approx(coarse, rel=0.25)


def test_the_last_bin_is_a_candidate() -> None:
    values = np.random.RandomState(0).uniform(-1, 1, 1_000_000).astype(np.float32)
    assert _get_optimal_threshold(values)[3] == pytest.approx(np.abs(values).max(), rel=1e-3)


def test_all_zeros_divide_by_nothing() -> None:
    low, high, divergence, threshold = _get_optimal_threshold(np.zeros(100, np.float32))
    assert (low, high) == (0.0, 0.0)
    assert np.isfinite(divergence)
    assert threshold > 0


def test_smoothing_never_takes_more_than_there_is() -> None:
    # 1 / eps zeros for each non-zero: the stock function fails an assertion.
    p = np.zeros(20_001)
    p[0] = 1
    smooth = _smooth_distribution(p)
    assert (smooth > 0).all()
    assert smooth.sum() == pytest.approx(1)
    with pytest.raises(InputError):
        _smooth_distribution(np.zeros(10))


def test_arrays_of_every_kind_are_one_distribution() -> None:
    values = np.random.RandomState(0).standard_normal(1000).astype(np.float32)
    expected = _get_optimal_threshold(values)
    assert _get_optimal_threshold(mx.nd.array(values)) == expected
    assert _get_optimal_threshold([values[:300], mx.nd.array(values[300:])]) == expected


@pytest.mark.parametrize(
    "bad, error", [("text", TypeError), (3.0, TypeError), ([], ValueError), ([1.0, 2.0], TypeError)]
)
def test_what_is_no_array_is_refused(bad: object, error: type) -> None:
    with pytest.raises(error):
        _get_optimal_threshold(bad)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        _get_optimal_threshold(np.array([1.0, value], np.float32))
