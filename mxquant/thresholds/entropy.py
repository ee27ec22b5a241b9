"""The entropy threshold: the one whose quantized distribution diverges least from the original.

Source of the method: NVIDIA, '8-bit Inference with TensorRT', GTC 2017, pages 30 to 38. See
:mod:`mxquant.thresholds.divergence` for the equations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.stats.histogram import Histogram
from mxquant.thresholds._rounding import as_threshold
from mxquant.thresholds.divergence import EPSILON, candidate_divergences

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EntropySearch", "entropy", "entropy_search"]

SIGNED_BINS, UNSIGNED_BINS = 255, 511


class EntropySearch(NamedTuple):
    """Result of a search: the best threshold, its divergence in nats, and both for every candidate."""

    threshold: float
    divergence: float
    thresholds: NDArray[Any]
    divergences: NDArray[Any]


def entropy_search(hist: NDArray[Any], edges: NDArray[Any], num_quantized_bins: int = SIGNED_BINS) -> EntropySearch:
    """Find the threshold of least divergence.

    Parameters
    ----------
    hist : numpy.ndarray
        Whole, non-negative counts; odd length B, centred on zero.
    edges : numpy.ndarray
        The B + 1 edges of the bins, ascending.
    num_quantized_bins : int
        Number of quantized bins; odd, at least 3: 255 for int8, 511 for uint8.

    Returns
    -------
    EntropySearch
        The first candidate of smallest divergence; the largest threshold where every divergence is infinite, and where
        there are fewer bins than quantized bins, which loses nothing.

    Raises
    ------
    InputError
        If the histogram is not odd, has counts that are negative, fractional or not finite, or does not fit its edges.
    """
    counts, edges = np.asarray(hist, dtype=np.float64), np.asarray(edges)
    _check(counts, edges, num_quantized_bins)
    if len(counts) < num_quantized_bins or not counts.any():
        last = float(edges[-1])
        return EntropySearch(last, 0.0, np.array([last]), np.array([0.0]))
    widths, divergences = candidate_divergences(counts, num_quantized_bins)
    thresholds = edges[len(counts) // 2 + widths + 1]
    best = int(np.argmin(divergences)) if np.isfinite(divergences).any() else len(widths) - 1
    return EntropySearch(float(thresholds[best]), float(divergences[best]), thresholds, divergences)


def entropy(histogram: Histogram, *, unsigned: bool = False) -> float:
    """Return the entropy threshold of a tensor.

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
    hist, edges = histogram.centred()
    return as_threshold(entropy_search(hist, edges, UNSIGNED_BINS if unsigned else SIGNED_BINS).threshold, histogram)


def _get_optimal_threshold(
    arr: Any, num_bins: int = 8001, num_quantized_bins: int = 255
) -> Tuple[float, float, float, float]:
    """Find the entropy threshold of an array, or of several together.

    Parameters
    ----------
    arr : NDArray, numpy.ndarray, or a list of them
        The values.
    num_bins : int
        Bins of the histogram over [-max|x|, max|x|]; odd.
    num_quantized_bins : int
        Number of quantized bins; odd.

    Returns
    -------
    tuple of float
        Smallest value, largest value, least divergence in nats, and the threshold.

    Raises
    ------
    TypeError
        If `arr` is something else.
    InputError
        If there are no values, or some are not finite, or a number of bins is not odd.
    """
    items = [_values(item).reshape(-1) for item in (arr if isinstance(arr, list) else [arr])]
    if not any(item.size for item in items):
        raise InputError("there are no values to find a threshold for")
    values = np.concatenate(items)
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} of {values.size} values are NaN or infinite")
    if num_bins < 1 or num_bins % 2 == 0:
        raise InputError(f"num_bins is {num_bins}, expected an odd number")
    low, high = values.min(), values.max()
    magnitude = max(abs(low), abs(high))
    hist, edges = np.histogram(values, bins=num_bins, range=(-magnitude, magnitude))
    found = entropy_search(hist, edges, num_quantized_bins)
    return float(low), float(high), found.divergence, found.threshold


def _values(item: Any) -> NDArray[Any]:
    if isinstance(item, np.ndarray):
        return item
    if hasattr(item, "asnumpy"):
        return np.asarray(item.asnumpy())
    raise TypeError(f"expected an NDArray, an ndarray or a list of them, found {type(item).__name__}")


def _smooth_distribution(p: NDArray[Any], eps: float = EPSILON) -> NDArray[Any]:
    """Replace the zeros of a distribution by a little, taken evenly from the rest.

    Parameters
    ----------
    p : numpy.ndarray
        Counts or probabilities, at least one of them not 0.
    eps : float
        What each zero becomes; less where there are more than 1/eps zeros for each non-zero.

    Returns
    -------
    numpy.ndarray
        float64, with the sum of `p`.

    Raises
    ------
    InputError
        If all entries are 0.
    """
    p = np.asarray(p, dtype=np.float64)
    zeros = p == 0
    n_zeros = int(zeros.sum())
    n_nonzeros = p.size - n_zeros
    if not n_nonzeros:
        raise InputError("all entries of the distribution are 0")
    if eps * n_zeros >= n_nonzeros:
        eps = 0.5 * n_nonzeros / n_zeros
    return np.where(zeros, eps, p - eps * n_zeros / n_nonzeros)


def _check(counts: NDArray[Any], edges: NDArray[Any], num_quantized_bins: int) -> None:
    if counts.ndim != 1 or len(counts) % 2 == 0:
        raise InputError(f"the histogram has shape {counts.shape}, expected one dimension of odd length")
    if edges.shape != (len(counts) + 1,):
        raise InputError(f"the histogram has {len(counts)} bins and {edges.size} edges, expected {len(counts) + 1}")
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.floor(counts)).any():
        raise InputError("the histogram has counts that are negative, fractional or not finite; expected whole numbers")
    if num_quantized_bins < 3 or num_quantized_bins % 2 == 0:
        raise InputError(f"num_quantized_bins is {num_quantized_bins}, expected an odd number of at least 3")
