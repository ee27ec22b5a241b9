"""combine_histogram: MXNet's function without its traps: no count is lost, memory is bounded, nothing overflows."""

from __future__ import annotations

import warnings
from typing import Any, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxquant import InputError
from mxquant.stats.linear_histogram import MOST_BINS, combine_histogram

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mxnet.contrib.quantization import combine_histogram as stock


def first(values: Any, bins: int = 8001) -> Any:
    values = np.asarray(values, np.float32)
    reach = float(np.abs(values).max())
    counts, edges = np.histogram(values, bins=bins, range=(-reach, reach))
    return counts, edges, values.min(), values.max(), reach


def add(histogram: Any, values: Any) -> Any:
    values = np.asarray(values, np.float32)
    return combine_histogram(histogram, values, values.min(), values.max(), float(np.abs(values).max()))


def test_smaller_values_are_added_as_mxnet_adds_them() -> None:
    old, new = np.linspace(-2, 2, 1000), np.linspace(-1, 1.5, 500).astype(np.float32)
    ours = add(first(old), new)
    theirs = stock(first(old), new, new.min(), new.max(), 1.5)
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine, other)


def test_larger_values_widen_the_histogram_by_whole_bins() -> None:
    counts, edges, low, high, reach = add(first([-1.0, 1.0]), [3.0, 0.5])
    assert (low, high) == (-1.0, 3.0)
    assert reach >= 3
    assert edges[1] - edges[0] == pytest.approx(2 / 8001, rel=1e-3)  # NumPy gives float32 edges
    assert counts.sum() == 4
    assert len(counts) % 2 == 1
    occupied = [(edges[i], edges[i + 1]) for i in np.flatnonzero(counts)]
    for value, (left, right) in zip([-1.0, 0.5, 1.0, 3.0], occupied):
        assert left - 1e-6 <= value <= right + 1e-6


def test_values_ten_thousand_times_larger_ask_for_no_more_memory() -> None:
    counts, _, _, high, _ = add(first([-1.0, 1.0]), [1e4])
    assert len(counts) <= MOST_BINS
    assert (counts.sum(), high) == (3, 1e4)
    # The stock function makes 80 million bins of it.
    assert len(stock(first([-1.0, 1.0]), np.array([10.0]), 10.0, 10.0, 10.0)[0]) > 10 * 8001 - 100


def test_a_first_batch_of_zeros() -> None:
    zeros = first(np.zeros(10))
    assert add(zeros, np.zeros(5))[0].sum() == 15
    counts, _, low, high, reach = add(zeros, [2.0, -1.0])
    assert (counts.sum(), low, high, reach) == (12, -1.0, 2.0, 2.0)
    assert counts[len(counts) // 2] == 10
    with pytest.raises((OverflowError, ZeroDivisionError, ValueError)):
        stock(zeros, np.array([2.0]), 2.0, 2.0, 2.0)


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5), min_size=1, max_size=6))
def test_no_count_is_lost(batches: List[List[float]]) -> None:
    histogram = first(batches[0], bins=101)
    for batch in batches[1:]:
        histogram = add(histogram, batch)
    everything = [np.float32(value) for batch in batches for value in batch]
    assert histogram[0].sum() == len(everything)
    assert (histogram[2], histogram[3]) == (min(everything), max(everything))
    assert len(histogram[1]) == len(histogram[0]) + 1


@pytest.mark.parametrize("bad", [[np.nan], [np.inf]])
def test_values_that_are_not_finite_are_refused(bad: Any) -> None:
    with pytest.raises(InputError, match="expected finite ones"):
        combine_histogram(first([1.0]), np.array(bad), 0, 1, 1)


def test_a_range_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="arr holds magnitudes up to 2.0, expected finite ones up to new_th=1"):
        combine_histogram(first([1.0]), np.array([2.0]), 2, 2, 1)
    with pytest.raises(InputError, match="has 10 bins, expected an odd number"):
        combine_histogram(first([1.0], bins=10), np.array([1.0]), 1, 1, 1)
