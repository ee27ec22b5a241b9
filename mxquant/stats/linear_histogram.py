"""Merging histograms on a linear grid over [-th, th], as ``mxnet.contrib.quantization`` keeps them.

Calibration itself uses :class:`~mxquant.stats.Histogram`, which merges exactly in any order. On this grid the first
batch decides the width of the bins. New bins of that width are added outside as data grow, and beyond
:data:`MOST_BINS` groups of k bins (k odd, so that the middle one stays in the middle) become one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

from mxquant.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Linear = Tuple[NDArray[Any], NDArray[Any], float, float, float]

__all__ = ["MOST_BINS", "combine_histogram"]

MOST_BINS = 32_769


def combine_histogram(old_hist: Linear, arr: Any, new_min: float, new_max: float, new_th: float) -> Linear:
    """Add the values of an array to a histogram.

    Parameters
    ----------
    old_hist : tuple
        (counts, edges, smallest value, largest value, th): an odd number of bins over [-th, th].
    arr : numpy.ndarray
        Values to add.
    new_min, new_max, new_th : float
        Smallest and largest value of `arr`, and the larger of their magnitudes.

    Returns
    -------
    tuple
        As `old_hist`; no count is lost, and there are at most :data:`MOST_BINS` bins or as many as before.

    Raises
    ------
    InputError
        If the histogram has an even number of bins, or `new_th` is below a magnitude in `arr` or not finite.
    """
    counts, edges, old_min, old_max, old_th = old_hist
    values = np.asarray(arr)
    largest = float(np.abs(values).max()) if values.size else 0.0
    if len(counts) % 2 == 0:
        raise InputError(f"old_hist has {len(counts)} bins, expected an odd number")
    if not np.isfinite(largest) or largest > new_th:
        raise InputError(f"arr holds magnitudes up to {largest}, expected finite ones up to new_th={new_th}")
    limits = (min(old_min, new_min), max(old_max, new_max))
    if new_th > old_th:
        counts, old_th = _widened(np.asarray(counts), float(old_th), float(new_th))
    if old_th == 0:
        counts = np.array(counts)
        counts[len(counts) // 2] += values.size
        return counts, np.asarray(edges), *limits, 0.0
    found, edges = np.histogram(values, bins=len(counts), range=(-old_th, old_th))
    return counts + found, edges, *limits, old_th


def _widened(counts: NDArray[Any], old_th: float, new_th: float) -> Tuple[NDArray[Any], float]:
    """Return the counts on a grid that reaches at least to `new_th`, and how far it reaches."""
    if old_th == 0:
        middle = np.zeros_like(counts)
        middle[len(counts) // 2] = counts.sum()
        return middle, new_th
    width = 2 * old_th / len(counts)
    most = max(MOST_BINS, len(counts))
    group = int(np.ceil(new_th / (width * most / 2)))
    group += 1 - group % 2
    side = len(counts) // 2
    groups = max(0, -(-(side - group // 2) // group))
    if groups:
        padding = groups * group + group // 2 - side
        counts = np.pad(counts, padding).reshape(2 * groups + 1, group).sum(axis=1)
    else:
        counts = counts.sum(keepdims=True)
    width *= group
    more = max(0, int(np.ceil(new_th / width - len(counts) / 2)))
    return np.pad(counts, more), width * (len(counts) + 2 * more) / 2
