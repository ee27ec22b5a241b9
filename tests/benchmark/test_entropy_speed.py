"""The entropy search beside MXNet's C++ operator, in one run, in turns; and by the number of bins."""

from __future__ import annotations

from statistics import median

import pytest

from tests.benchmark.search import entropy

ROUNDS = 7


@pytest.mark.benchmark
def test_entropy_search_at_8001_bins() -> None:
    ours, theirs = (median(times) for times in entropy(8001, ROUNDS, with_stock=True).values())
    times = f"{1e3 * ours:.1f} ms, the C++ operator {1e3 * theirs:.0f} ms: {theirs / ours:.0f}x"
    print(f"\nentropy search, 8,001 bins: {times}")
    assert ours <= 0.015
    assert theirs >= 25 * ours


@pytest.mark.benchmark
def test_three_times_the_bins_take_less_than_seven_times_as_long() -> None:
    few, many = (median(entropy(bins, ROUNDS, with_stock=False)["mxquant"]) for bins in (8001, 24_001))
    print(f"\nentropy search, 24,001 bins: {1e3 * many:.1f} ms, {many / few:.1f} times 8,001")
    assert many <= 7 * few
