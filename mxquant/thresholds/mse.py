"""The mean-squared-error threshold: the best balance between rounding and clipping.

For a threshold T with step s (T/127, or T/255 unsigned) and a histogram of bins with centre c and count n::

    error(T) = sum over |c| <= T of n · r(c, s)²  +  sum over |c| > T of n · (|c| - T)²

where r is the distance to the nearest multiple of s. Zeros are exact. 128 candidates are tried, evenly spaced up to
the largest magnitude, then 32 around the best of them. Source: Nagel et al., 'A White Paper on Neural Network
Quantization', 2021, arXiv:2106.08295, section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mxquant.stats.histogram import Histogram
from mxquant.thresholds._rounding import as_threshold, largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["mse"]

_CODES = {False: 127, True: 255}


def mse(histogram: Histogram, *, unsigned: bool = False) -> float:
    """Return the threshold of least squared error.

    Parameters
    ----------
    histogram : Histogram
        Of the tensor.
    unsigned : bool
        Whether its codes are 0..255 over [0, threshold] rather than -127..127 over [-threshold, threshold].

    Returns
    -------
    float
        A positive float32 number; 1.0 for a tensor of zeros.
    """
    if histogram.exponent is None:
        return largest(histogram)
    magnitudes, counts = _magnitudes(histogram)
    top = float(largest(histogram))
    unit = magnitudes / top
    coarse = np.arange(1, 129) / 128
    best = coarse[int(np.argmin(_errors(unit, counts, coarse, _CODES[unsigned])))]
    fine = np.linspace(max(best - 1 / 128, 1 / 1024), min(best + 1 / 128, 1.0), 33)
    best = fine[int(np.argmin(_errors(unit, counts, fine, _CODES[unsigned])))]
    return as_threshold(float(best) * top, histogram)


def _magnitudes(histogram: Histogram) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return magnitudes of bin centres, and their counts, without exact zeros and with bins merged by sign."""
    exponent = histogram.exponent
    assert exponent is not None
    bins = histogram.first_bin + np.arange(len(histogram.counts), dtype=np.int64)
    counts = histogram.counts.astype(np.float64)
    counts[bins == 0] -= histogram.zeros
    distance = np.where(bins >= 0, bins, -bins - 1)
    mass = np.bincount(distance, weights=counts)
    occupied = np.flatnonzero(mass > 0)
    return np.ldexp(occupied + 0.5, exponent), mass[occupied]


def _errors(unit: NDArray[Any], counts: NDArray[Any], candidates: NDArray[Any], codes: int) -> NDArray[Any]:
    errors = np.empty(len(candidates))
    for i, threshold in enumerate(candidates):
        scaled = unit * (codes / threshold)
        rounded = np.minimum(np.rint(scaled), codes)
        errors[i] = counts @ np.square(scaled - rounded) * threshold * threshold
    return errors
