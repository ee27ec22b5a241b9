"""Every method is total: whatever the histogram, a positive finite float32 threshold within the data's range."""

from __future__ import annotations

import warnings
from typing import List

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant import Histogram, InputError
from mxquant.thresholds import METHODS, choose_threshold

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
arrays = st.one_of(
    st.lists(numbers, max_size=60),
    st.lists(st.sampled_from([0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, -1.0, 5.0]), max_size=20),
    st.builds(lambda value, count: [value] * count, numbers, st.integers(1, 50)),
)


def of(values: List[float], doublings: int = 0) -> Histogram:
    histogram = Histogram.of(np.array(values, dtype=np.float32))
    for _ in range(doublings):
        histogram = histogram + histogram
    return histogram


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=arrays, doublings=st.sampled_from([0, 0, 3, 40]), unsigned=st.booleans())
def test_total(method: str, values: List[float], doublings: int, unsigned: bool) -> None:
    histogram = of([abs(v) for v in values] if unsigned else values, doublings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threshold = choose_threshold(histogram, method, unsigned=unsigned)
    assert np.isfinite(threshold) and threshold > 0
    assert threshold == np.float32(threshold)
    largest = max(abs(v) for v in values) if values else 0
    if largest:
        assert threshold <= np.float32(largest)
    else:
        assert threshold == 1.0


def normal(size: int = 200_000) -> np.ndarray:
    return np.random.RandomState(0).standard_normal(size).astype(np.float32)


def error(values: np.ndarray, threshold: float, top: int = 127) -> float:
    scale = threshold / top
    codes = np.clip(np.rint(values / scale), 0 if top == 255 else -top, top)
    return float(((values - codes * scale) ** 2).mean())


def test_minmax_is_the_largest_magnitude() -> None:
    assert choose_threshold(of([-3.5, 2.0]), "minmax") == 3.5


def test_the_percentile_leaves_out_what_is_rare() -> None:
    values = np.concatenate([np.linspace(-1, 1, 100_000), [50.0]]).astype(np.float32)
    histogram = Histogram.of(values)
    assert choose_threshold(histogram, "percentile", percent=100) == 50
    # One bin of the histogram is 2**-7 wide.
    assert 0.999 <= choose_threshold(histogram, "percentile", percent=99.99) <= 1 + 2**-7
    assert abs(choose_threshold(histogram, "percentile", percent=50) - 0.5) <= 2**-7


@pytest.mark.parametrize("percent", [0, -1, 101, float("nan")])
def test_a_percentage_that_is_none_is_refused(percent: float) -> None:
    with pytest.raises(InputError, match="percent"):
        choose_threshold(of([1.0]), "percentile", percent=percent)


@pytest.mark.parametrize("unsigned", [False, True])
def test_mse_is_the_best_threshold_by_brute_force(unsigned: bool) -> None:
    values = np.abs(normal()) ** 1.5 if unsigned else normal() ** 3
    top = 255 if unsigned else 127
    found = choose_threshold(Histogram.of(values), "mse", unsigned=unsigned)
    best = min(error(values, t, top) for t in np.linspace(0.02, 1, 400) * np.abs(values).max())
    assert error(values, found, top) <= 1.02 * best


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_an_outlier_does_not_take_the_range(method: str) -> None:
    # Not so for mse: here one clipped outlier costs more than rounding all others to zero.
    values = np.append(normal(), np.float32(1000))
    assert choose_threshold(Histogram.of(values), method) < 30


def test_the_sign_of_the_data_does_not_matter() -> None:
    # But for what lies on a bin's edge, and the rest that the last merged bin of the entropy search takes.
    values = normal() + 1
    for method in METHODS:
        mirrored = choose_threshold(Histogram.of(-values), method)
        assert mirrored == pytest.approx(choose_threshold(Histogram.of(values), method), rel=1e-2)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="method is 'kl', expected one of 'minmax', 'entropy', 'percentile', 'mse'"):
        choose_threshold(of([1.0]), "kl")
