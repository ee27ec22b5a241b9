"""What every threshold has to be: a positive float32 number that does not exceed the largest magnitude seen."""

from __future__ import annotations

import numpy as np

from mxquant.stats.histogram import Histogram

__all__ = ["as_threshold", "largest"]


def largest(histogram: Histogram) -> float:
    """Return the largest magnitude of a tensor, rounded up to float32; 1.0 for a tensor of zeros or without values."""
    magnitude = max(abs(histogram.minimum), abs(histogram.maximum)) if histogram.count else 0.0
    if magnitude == 0:
        return 1.0
    with np.errstate(over="ignore"):
        rounded = np.float32(magnitude)
        if float(rounded) < magnitude:
            rounded = np.nextafter(rounded, np.float32(np.inf))
    return float(min(rounded, np.finfo(np.float32).max))


def as_threshold(value: float, histogram: Histogram) -> float:
    """Return `value` as a threshold of the tensor: float32, positive, at most its largest magnitude."""
    bound = largest(histogram)
    rounded = float(np.float32(min(value, bound)))
    return rounded if rounded > 0 else bound
