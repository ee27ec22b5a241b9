"""256 codes with zero at any place: for tensors whose negative and positive values reach differently far.

With the scale s and the lowest code l, counted from zero, codes stand for l s, ..., (l + 255) s, of which one is 0. For
the method 'mse' both are those of least squared error: for each of 64 scales, then of 33 around the best of them, all
places are tried; the error may be that of what becomes of the values. For the other methods the codes cover what is
within the threshold T of the method, [max(min x, -T), min(max x, T)].

Source: Nagel et al., 'A White Paper on Neural Network Quantization', 2021, arXiv:2106.08295, sections 2.1 and 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Tuple

import numpy as np

from mxquant.stats.grid import coarsen
from mxquant.stats.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["affine", "covering"]

_STEPS = 255
_BINS = 8192
_COARSE, _FINE = 64, 33
# At least one code is left above zero.
_LOWEST = np.arange(1 - _STEPS, 1)


Results = Callable[[Any], Any]


def _unchanged(values: NDArray[Any]) -> NDArray[Any]:
    return values[None]


def affine(
    histogram: Histogram,
    method: str,
    threshold: Callable[[], float],
    results: Results = _unchanged,
    exact: Optional[Results] = None,
) -> Tuple[float, int]:
    """Return the codes of a tensor by a method.

    Parameters
    ----------
    histogram : Histogram
        Of the tensor; it has values other than zero.
    method : {'minmax', 'entropy', 'percentile', 'mse'}
        How to choose.
    threshold : callable
        Returns the threshold by that method; not called for 'mse'.
    results : callable, optional
        For 'mse': what becomes of values, from float64 of shape (n,) to shape (results, n), whose squared errors are
        added; the values themselves by default.
    exact : callable, optional
        What should become of them; `results` by default.

    Returns
    -------
    tuple of (float, int)
        Scale, in the tensor's own unit, and lowest code, -254 to 0.
    """
    if method == "mse":
        return _least_error(histogram, results, exact or results)
    end = threshold()
    return covering(max(histogram.minimum, -end), min(histogram.maximum, end))


def covering(low: float, high: float) -> Tuple[float, int]:
    """Return scale and lowest code of codes that cover [low, high] and 0, the ends half a step off at most.

    Where all is negative, one step more.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / _STEPS
    return scale, max(int(np.rint(low / scale)), int(_LOWEST[0]))


def _least_error(histogram: Histogram, results: Results, exact: Results) -> Tuple[float, int]:
    middles, counts = _mass(histogram)
    span = max(histogram.maximum, 0.0) - min(histogram.minimum, 0.0)
    mass = _Mass(middles, counts, results, exact)

    def best(shares: NDArray[Any]) -> Tuple[float, float, int]:
        return min(mass.error(share * span / _STEPS) for share in shares)

    _, scale, _ = best(np.arange(1, _COARSE + 1) / _COARSE)
    share, width = scale / span * _STEPS, 1 / _COARSE
    _, scale, lowest = best(np.linspace(max(share - width, 1 / 1024), min(share + width, 1.0), _FINE))
    return scale, lowest


def _mass(histogram: Histogram) -> Tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return middles of bins and counts, without exact zeros and empty bins, of 8,192 bins or so."""
    assert histogram.exponent is not None
    counts = histogram.counts.copy()
    if histogram.zeros:
        counts[-histogram.first_bin] -= histogram.zeros
    levels = max((len(counts) - 1) // _BINS, 0).bit_length()
    grouped, first = coarsen(counts, histogram.first_bin, levels)
    occupied = np.flatnonzero(grouped)
    middles = np.ldexp(first + occupied + 0.5, histogram.exponent + levels)
    return middles, grouped[occupied].astype(np.float64)


class _Mass:
    """Values with their counts, and what becomes of them."""

    def __init__(
        self, values: NDArray[np.float64], counts: NDArray[np.float64], results: Results, exact: Results
    ) -> None:
        self.values, self.counts, self.results = values, counts, results
        self.exact = exact(values)
        # Of counts, and of counts times results and squares of results, up to each value.
        self.sums = [_up_to(counts * self.exact**power) for power in range(3)]

    def error(self, scale: float) -> Tuple[float, float, int]:
        """Return the least squared error with a scale, the scale, and the lowest code that gives it."""
        rounded = self.results(scale * np.rint(self.values / scale))
        inside = _up_to((self.counts * np.square(rounded - self.exact)).sum(axis=0))
        low, high = scale * _LOWEST, scale * (_LOWEST + _STEPS)
        begin = np.searchsorted(self.values, low - scale / 2)
        end = np.searchsorted(self.values, high + scale / 2)
        errors = inside[end] - inside[begin] + self._beyond(low, 0, begin) + self._beyond(high, end, -1)
        least = int(np.argmin(errors))
        return float(errors[least]), scale, int(_LOWEST[least])

    def _beyond(self, bounds: NDArray[Any], start: Any, stop: Any) -> NDArray[Any]:
        """Return the error of the values from one place to another, all of which become the bound."""
        number, first, second = (each[..., stop] - each[..., start] for each in self.sums)
        bound = self.results(bounds)
        total: NDArray[Any] = (second - 2 * bound * first + np.square(bound) * number).sum(axis=0)
        return total


def _up_to(values: NDArray[Any]) -> NDArray[Any]:
    """Return sums along the last axis, from none of the values to all of them."""
    return np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
