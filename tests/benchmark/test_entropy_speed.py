"""The entropy search beside MXNet's C++ operator, in one run, interleaved."""

from __future__ import annotations

import time
from statistics import median
from typing import Callable, List, Tuple

import numpy as np
import pytest

from mxquant._compat import mx
from mxquant.thresholds.entropy import entropy_search

ROUNDS = 7


def histogram(bins: int) -> Tuple[np.ndarray, np.ndarray]:
    values = np.random.RandomState(0).standard_normal(1_000_000)
    return np.histogram(values, bins=bins, range=(-6, 6))


def medians(*calls: Callable[[], object]) -> List[float]:
    """Return the median duration of each call in seconds, the calls taking turns."""
    durations: List[List[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for taken, call in zip(durations, calls):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [median(taken) for taken in durations]


@pytest.mark.benchmark
def test_entropy_search_at_8001_bins() -> None:
    hist, edges = histogram(8001)
    stock_hist, stock_edges = mx.nd.array(hist), mx.nd.array(edges)

    def stock() -> None:
        mx.nd.contrib.calibrate_entropy(stock_hist, stock_edges, num_quantized_bins=255)[0].wait_to_read()

    ours, theirs = medians(lambda: entropy_search(hist, edges), stock)
    times = f"{1e3 * ours:.1f} ms, the C++ operator {1e3 * theirs:.0f} ms: {theirs / ours:.0f}x"
    print(f"\nentropy search, 8,001 bins: {times}")
    assert ours <= 0.060
    assert theirs >= 5 * ours


@pytest.mark.benchmark
def test_entropy_search_at_24001_bins() -> None:
    # The stock operator takes 8 seconds.
    hist, edges = histogram(24_001)
    (ours,) = medians(lambda: entropy_search(hist, edges))
    print(f"\nentropy search, 24,001 bins: {1e3 * ours:.1f} ms")
    assert ours <= 0.180
