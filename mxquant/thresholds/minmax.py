"""The min-max threshold: the largest magnitude seen. Nothing is clipped."""

from __future__ import annotations

from mxquant.stats.histogram import Histogram
from mxquant.thresholds._rounding import largest

__all__ = ["minmax"]


def minmax(histogram: Histogram, *, unsigned: bool = False) -> float:
    """Return the largest magnitude of a tensor.

    Parameters
    ----------
    histogram : Histogram
        Of the tensor.
    unsigned : bool
        Whether its codes are 0..255 rather than -127..127; makes no difference here.

    Returns
    -------
    float
        A positive float32 number; 1.0 for a tensor of zeros.
    """
    return largest(histogram)
