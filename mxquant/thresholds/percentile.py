"""The percentile threshold: all but the few largest magnitudes are represented, those are clipped."""

from __future__ import annotations

import numpy as np

from mxquant.errors import InputError
from mxquant.stats.histogram import Histogram
from mxquant.thresholds._rounding import as_threshold, largest

__all__ = ["percentile"]


def percentile(histogram: Histogram, *, unsigned: bool = False, percent: float = 99.99) -> float:
    """Return the smallest bin edge below which `percent` of the magnitudes lie.

    Parameters
    ----------
    histogram : Histogram
        Of the tensor.
    unsigned : bool
        Whether its codes are 0..255 rather than -127..127; makes no difference here.
    percent : float
        Percentage of the values, above 0 and up to 100.

    Returns
    -------
    float
        A positive float32 number; 1.0 for a tensor of zeros.

    Raises
    ------
    InputError
        If `percent` is out of range.
    """
    if not 0 < percent <= 100:
        raise InputError(f"percent is {percent!r}, expected a number above 0 and up to 100")
    if histogram.exponent is None or percent == 100:
        return largest(histogram)
    bins = histogram.first_bin + np.arange(len(histogram.counts), dtype=np.int64)
    outer = np.where(bins >= 0, bins + 1, -bins)
    mass = np.bincount(outer, weights=histogram.counts.astype(np.float64))
    reached = np.cumsum(mass) >= histogram.count * (percent / 100)
    edge = int(np.argmax(reached)) if reached.any() else int(outer.max())
    return as_threshold(float(np.ldexp(float(max(edge, 1)), histogram.exponent)), histogram)
