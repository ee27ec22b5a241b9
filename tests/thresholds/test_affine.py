"""Codes with zero at any place: against trying everything, and for the functions that values go through."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import numpy as np
import pytest

from mxquant.stats import Histogram
from mxquant.thresholds import choose_threshold
from mxquant.thresholds.affine import affine, covering
from tests.networks import sqnr


def rounded(values: np.ndarray, scale: float, lowest: int) -> np.ndarray:
    return scale * np.clip(np.rint(values / scale), lowest, lowest + 255)


def chosen(values: np.ndarray, method: str = "mse", *results: Callable[[Any], Any]) -> Tuple[float, int]:
    histogram = Histogram.of(values)
    return affine(histogram, method, lambda: choose_threshold(histogram, method), *results)


def swish(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / (1 + np.exp(-values)))


def normal(seed: int = 0, count: int = 20_000) -> np.ndarray:
    return np.random.RandomState(seed).randn(count).astype(np.float32)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-1, 1, -128), (-1, 254, -1), (-3, 0, -254), (0, 2, 0), (1, 2, 0), (-254, 1, -254), (-100, 155, -100)],
)
def test_codes_cover_a_range_and_zero(low: float, high: float, expected: int) -> None:
    scale, lowest = covering(low, high)
    assert lowest == expected
    for end in (low, high):
        # Of what is all negative, zero has one of two codes above.
        assert abs(rounded(np.float64(end), scale, lowest) - end) <= scale * (1 if high <= 0 else 0.5) + 1e-12


@pytest.mark.parametrize("values", [normal(), swish(normal() * 4), np.abs(normal()) * -3 + 0.2, normal() ** 3 + 2])
def test_no_other_codes_have_clearly_less_squared_error(values: np.ndarray) -> None:
    scale, lowest = chosen(values)
    error = np.square(rounded(values, scale, lowest) - values).mean()
    span = max(values.max(), 0) - min(values.min(), 0)
    tried = [
        np.square(rounded(values, span * share / 255, end) - values).mean()
        for share in np.linspace(0.3, 1, 60)
        for end in range(-254, 1, 3)
    ]
    assert error < 1.02 * min(tried)


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_a_tensor_with_few_small_negative_values_gets_nearly_twice_the_codes(method: str) -> None:
    values = np.maximum(normal() * 4, -0.3)
    scale, lowest = chosen(values, method)
    threshold = choose_threshold(Histogram.of(values), method)
    assert -12 <= lowest < 0
    assert scale < 0.6 * threshold / 127


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_other_methods_clip_at_their_threshold(method: str) -> None:
    values = np.concatenate([normal(), [50.0, -0.5]]).astype(np.float32)
    scale, lowest = chosen(values, method)
    threshold = choose_threshold(Histogram.of(values), method)
    ends = max(values.min(), -threshold), min(values.max(), threshold)
    assert (scale, lowest) == covering(*ends)


def test_what_a_function_makes_nothing_of_gets_no_codes() -> None:
    values = normal() * 6
    plain, seen = chosen(values), chosen(values, "mse", lambda x: swish(x)[None])
    assert seen[0] * seen[1] > -10 > plain[0] * plain[1]
    exact = swish(values)
    noise = [sqnr(exact, swish(rounded(values, *codes))) for codes in (plain, seen)]
    assert noise[1] > noise[0] + 3


def test_what_rounding_of_the_result_hides_is_not_kept() -> None:
    values, step = normal() * 6, 0.5

    def coarse(x: np.ndarray) -> np.ndarray:
        return step * np.rint(swish(x) / step)[None]

    scale, lowest = chosen(values, "mse", coarse, lambda x: swish(x)[None])
    exact = swish(values)
    best = np.square(coarse(values)[0] - exact).mean()
    assert np.square(coarse(rounded(values, scale, lowest))[0] - exact).mean() < 1.05 * best


def test_all_negative_values_keep_their_zero() -> None:
    scale, lowest = chosen(-1 - np.abs(normal()))
    assert lowest == -254 and rounded(np.zeros(1), scale, lowest) == 0
