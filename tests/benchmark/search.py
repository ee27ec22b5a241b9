"""The entropy search by number of bins, beside MXNet's C++ operator."""

from __future__ import annotations

from typing import Callable, Dict, List

import numpy as np

from mxquant.runtime.mxnet import mx
from mxquant.thresholds.entropy import entropy_search
from tests.benchmark.turns import in_turns

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
    return in_turns(calls, rounds)
