"""The entropy search by number of bins, beside MXNet's C++ operator."""

from __future__ import annotations

import time
from typing import Callable, Dict, List

import numpy as np

from mxquant._compat import mx
from mxquant.thresholds.entropy import entropy_search

__all__ = ["entropy"]


def entropy(bins: int, rounds: int, with_stock: bool) -> Dict[str, List[float]]:
    """Return the seconds of one search, in turns with the operator of MXNet, which needs 8 s for 24,001 bins.

    Parameters
    ----------
    bins : int
        Of the histogram of a million values of a normal distribution.
    rounds : int
        How often.
    with_stock : bool
        Whether MXNet's operator takes part.
    """
    values = np.random.RandomState(0).standard_normal(1_000_000)
    hist, edges = np.histogram(values, bins=bins, range=(-6, 6))
    stock_hist, stock_edges = mx.nd.array(hist), mx.nd.array(edges)
    calls: Dict[str, Callable[[], object]] = {"mxquant": lambda: entropy_search(hist, edges)}
    if with_stock:
        calls["stock"] = lambda: mx.nd.contrib.calibrate_entropy(stock_hist, stock_edges, num_quantized_bins=255)[
            0
        ].wait_to_read()
    seconds: Dict[str, List[float]] = {kind: [] for kind in calls}
    for each in range(rounds + 1):
        for kind, call in calls.items():
            start = time.perf_counter()
            call()
            if each:
                seconds[kind].append(time.perf_counter() - start)
    return seconds
