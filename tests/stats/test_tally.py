"""A tally holds what the histograms of all arrays add up to, however the arrays are counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant.stats.histogram import Histogram
from mxquant.stats.tally import Tally, new_tables

TABLES = [new_tables() for _ in range(3)]


def arrays(seed: int, number: int) -> list:
    """Return arrays of different magnitudes and signs, some of zeros."""
    rng = np.random.RandomState(seed)
    found = []
    for _ in range(number):
        values = rng.standard_normal((rng.randint(1, 9), rng.randint(1, 700))).astype(np.float32)
        kind = rng.randint(5)
        values = [values, np.abs(values), -np.abs(values), np.maximum(values, 0), values * 0][kind]
        found.append(values * np.float32(10.0 ** rng.randint(-12, 12)))
    return found


@settings(deadline=None, max_examples=80, derandomize=True)
@given(st.integers(0, 99999), st.integers(1, 6), st.integers(1, 3))
def test_it_is_the_sum_of_the_histograms(seed: int, number: int, threads: int) -> None:
    tally = Tally()
    for array in arrays(seed, number):
        tally.add(array, 128, TABLES[:threads])
    assert tally.histogram == sum(map(Histogram.of, arrays(seed, number)))
    assert not any(table.any() for table in TABLES)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 99999), st.integers(0, 5))
def test_histograms_merge_into_it(seed: int, added: int) -> None:
    parts = arrays(seed, 5)
    tally = Tally()
    for array in parts[:added]:
        tally.add(array, 64, TABLES[:1])
    for array in parts[added:]:
        tally.merge(Histogram.of(array))
    assert tally.histogram == sum(map(Histogram.of, parts))


def test_values_below_every_step_of_the_grid_keep_their_sign() -> None:
    tally = Tally()
    values = np.array([[1e30, -1e-45, 1e-45, -1e-30, 0.0, -0.0]], np.float32)
    tally.add(values, 6, TABLES[:1])
    assert tally.histogram == Histogram.of(values)
    assert (tally.histogram.first_bin, tally.histogram.counts[0], tally.zeros) == (-1, 2, 2)


@pytest.mark.parametrize(
    ("values", "low", "high"), [([-0.0], 0, 0), ([-3, -2], -3, -2), ([2, 3], 2, 3), ([-0.0, 5], 0, 5)]
)
def test_extremes_are_exact_and_never_a_negative_zero(values: list, low: float, high: float) -> None:
    tally = Tally()
    tally.add(np.array([values], np.float32), 1, TABLES[:1])
    assert (tally.minimum, tally.maximum) == (low, high)
    assert not np.signbit(tally.minimum + tally.maximum) or low < 0


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("before", [0, 1])
def test_what_is_not_finite_changes_nothing(odd: float, before: int) -> None:
    tally, array = Tally(), np.linspace(-3, 5, 5000, dtype=np.float32).reshape(5, 1000)
    for _ in range(before):
        tally.add(array, 1000, TABLES)
    known = tally.histogram
    spoilt = array * 9
    spoilt[3, 77] = odd
    assert tally.add(spoilt, 1000, TABLES) is None
    assert tally.histogram == known
    assert not any(table.any() for table in TABLES)


@pytest.mark.parametrize(
    ("shape", "length"), [((6, 4096 + 77), 4096), ((4, 5, 49), 49), ((3, 2, 12544), 12544), ((2, 7), 1)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_are_added_up(shape: tuple, length: int, threads: int) -> None:
    array = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    sums = Tally().add(array, length, TABLES[:threads])
    parts = np.array_split(array, threads)
    expected = [
        part.reshape(-1)[begin : begin + length].sum(dtype=np.float64)
        for part in parts
        for begin in range(0, part.size, length)
    ]
    np.testing.assert_allclose(sums, expected, rtol=1e-10, atol=1e-10)
