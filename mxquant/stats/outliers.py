"""Tensors of which a few values lie far beyond all others: codes that reach to them leave next to none for the rest.

A sensor that fails, a missing value written as 1e6, a frame of another scale: one such example among the calibration
data decides the range of its tensors, and the grid of their histograms too, so that no method can choose well.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional

import numpy as np

from mxquant.stats.histogram import Histogram

__all__ = ["Outlier", "outlier", "outliers"]

# A thousandth of the values that are not zero may be large; 255 codes have no place for so many as a thousand times.
_BULK, _FAR, _FEWEST = 0.999, 1000.0, 1000


class Outlier(NamedTuple):
    """The largest magnitude of a tensor, and one below which 99.9 % of its values that are not zero lie."""

    largest: float
    bulk: float


def outlier(histogram: Histogram) -> Optional[Outlier]:
    """Return how far the largest values of a tensor lie beyond the others; None unless it is a thousand times."""
    if histogram.exponent is None:
        return None
    bins = histogram.first_bin + np.arange(len(histogram.counts), dtype=np.int64)
    counts = histogram.counts.astype(np.float64)
    counts[bins == 0] -= histogram.zeros
    mass = np.bincount(np.where(bins >= 0, bins + 1, -bins), weights=counts)
    total = mass.sum()
    edge = int(np.argmax(np.cumsum(mass) >= _BULK * total))
    found = Outlier(max(-histogram.minimum, histogram.maximum), float(np.ldexp(float(edge), histogram.exponent)))
    return found if total >= _FEWEST and found.largest >= _FAR * found.bulk > 0 else None


def outliers(histograms: Mapping[str, Histogram]) -> Optional[str]:
    """Return a sentence about the tensors that have outliers, by name; None where there are none."""
    found = {name: each for name, each in ((name, outlier(value)) for name, value in histograms.items()) if each}
    if not found:
        return None
    shown = [
        f"'{name}' reaches {each.largest:.3g}, and 99.9 % of what is not 0 lies below {each.bulk:.3g}"
        for name, each in list(found.items())[:3]
    ]
    more = f", and {len(found) - 3} more tensors" if len(found) > 3 else ""
    return (
        f"a few values lie far beyond all others: {'; '.join(shown)}{more}. Int8 codes would stand for them and for "
        "little else: look for broken examples in the calibration data, and calibrate again without"
    )
