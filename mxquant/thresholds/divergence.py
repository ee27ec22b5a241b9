"""The divergence of every candidate threshold of the entropy search, without a loop over candidates and bins.

For a candidate of half width i the slice s = hist[z-i : z+i+1] of length L is compared, as p with the clipped counts
added to its two ends, with q, the slice merged into N quantized bins of m = L // N and spread again over the non-zero
p. Both are smoothed: a zero becomes e, a non-zero loses e1 = e · zeros / nonzeros. With P and Q the totals of p and
q::

    D = (1/P) · sum p' log(p'/q')  -  log(P/Q)

Candidates of equal m share their merged bins: the bin [t, t+m) has a sum S and a non-zero count n that depend on t
alone. So has every function of them, and the sum over the bins of one candidate, which lie m apart, is a difference
of cumulative sums taken in steps of m. The smoothing e1 differs between candidates; it enters through the series,
with r = n/S <= 1 for counts::

    sum (p-e) log(p-e)  =  sum p log p  -  e · sum (log p + 1)  +  sum over k>=2 of e^k / (k(k-1)) · sum p^(1-k)
    log(S/n - e)        =  log(S/n)  -  sum over k>=1 of (e r)^k / k

cut where the rest is below 1e-10. The two end bins of p, and the first and last merged bin, are done one by one. The
cost is about B²/N instead of B² · N. Where e is above 1/4 the series converge slowly; but then a slice has at least
2,500 zeros for each non-zero, and the few non-zeros are gone through directly.

Source of the method: NVIDIA, '8-bit Inference with TensorRT', GTC 2017, pages 30 to 38.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

from mxquant.thresholds._kernels import inner_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EPSILON", "candidate_divergences"]

EPSILON = 1e-4
_REST = 1e-10
_SLOW = 0.25


def candidate_divergences(hist: NDArray[Any], num_quantized_bins: int) -> Tuple[NDArray[Any], NDArray[Any]]:
    """Return the divergence of each candidate.

    Parameters
    ----------
    hist : numpy.ndarray
        Whole, non-negative counts as float64; odd length B of at least `num_quantized_bins`; not all zero.
    num_quantized_bins : int
        N, the number of quantized bins; at least 3.

    Returns
    -------
    tuple of numpy.ndarray
        The half widths i = N//2 .. B//2 (int), and their divergences in nats (float64; infinite where q has no mass).
    """
    search = _Search(hist, num_quantized_bins)
    centre = len(hist) // 2
    widths = np.arange(num_quantized_bins // 2, centre + 1)
    merged = (2 * widths + 1) // num_quantized_bins
    return widths, search.divergences(widths, merged)


def _cumulative(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([[0.0], np.cumsum(values)])


def _smoothing(zeros: NDArray[Any], nonzeros: NDArray[Any]) -> Tuple[NDArray[Any], NDArray[Any]]:
    """Return (e, e1): what a zero becomes, and what a non-zero loses, which stays below 1."""
    nonzeros = np.maximum(nonzeros, 1)
    e = np.where(EPSILON * zeros >= nonzeros, 0.5 * nonzeros / np.maximum(zeros, 1), EPSILON)
    return e, e * zeros / nonzeros


def _terms(largest: float) -> int:
    """Return how many terms of the series in e matter, for the largest e that occurs."""
    terms = 0
    while largest ** (terms + 1) / (terms + 1) > _REST:
        terms += 1
    return terms


@dataclass
class _Sums:
    """Cumulative sums over the bins of a histogram."""

    counts: NDArray[Any]
    nonzero: NDArray[Any]
    plogp: NDArray[Any]
    logp: NDArray[Any]


class _Search:
    def __init__(self, hist: NDArray[Any], num_quantized_bins: int) -> None:
        self.hist = hist
        self.parts = num_quantized_bins
        self.centre = len(hist) // 2
        self.total = float(hist.sum())
        self.present = hist > 0
        self.safe = np.where(self.present, hist, 1.0)
        logs = np.log(self.safe)
        self.sums = _Sums(_cumulative(hist), _cumulative(self.present), _cumulative(hist * logs), _cumulative(logs))
        self.powers = [self.sums.nonzero]

    def divergences(self, widths: NDArray[Any], m: NDArray[Any]) -> NDArray[Any]:
        """Return the divergences of the candidates `widths`, whose merged bins are `m` wide."""
        begin, end = self.centre - widths, self.centre + widths + 1
        counts, nonzero = self.sums.counts, self.sums.nonzero
        below, above = counts[begin], self.total - counts[end]
        ends = self.hist[begin], self.hist[end - 1]
        left, right = ends[0] + below, ends[1] + above
        grown_left = ((left > 0) & (ends[0] == 0)).astype(float)
        grown_right = ((right > 0) & (ends[1] == 0)).astype(float)

        first_end, last_begin = begin + m, begin + (self.parts - 1) * m
        first_sum, last_sum = counts[first_end] - counts[begin], counts[end] - counts[last_begin]
        first_count = nonzero[first_end] - nonzero[begin] + grown_left
        last_count = nonzero[end] - nonzero[last_begin] + grown_right

        mass = counts[end] - counts[begin]
        length = (end - begin).astype(float)
        p_nonzero = nonzero[end] - nonzero[begin] + grown_left + grown_right
        q_nonzero = p_nonzero - first_count * (first_sum == 0) - last_count * (last_sum == 0)
        p_e, p_e1 = _smoothing(length - p_nonzero, p_nonzero)
        q_e, q_e1 = _smoothing(length - q_nonzero, q_nonzero)

        slow = np.maximum(p_e1, q_e1) > _SLOW
        p_e1_series, q_e1_series = np.where(slow, 0.0, p_e1), np.where(slow, 0.0, q_e1)
        first = _merged_bin(first_sum, first_count, first_sum + below, p_e1, q_e, q_e1)
        last = _merged_bin(last_sum, last_count, last_sum + above, p_e1, q_e, q_e1)
        plogp = self._sum_of_plogp(begin + 1, end - 1, p_e1_series) + _plogp(left, p_e1) + _plogp(right, p_e1)
        inner = np.empty(len(m))
        inner_bins(counts, nonzero, begin + m, m, p_e1_series, q_e1_series, self.parts - 2, _REST, inner)
        cross = first + last + inner
        for step in np.unique(m[slow]):
            few = np.flatnonzero(slow & (m == step))
            plogp[few], cross[few] = self._few_nonzeros(widths[few], int(step), p_e1[few], q_e[few], q_e1[few])
        smoothed_zeros = (length - p_nonzero) * p_e * np.log(p_e / q_e)
        ratio = np.log(self.total / np.where(mass > 0, mass, 1.0))
        divergence = (plogp + smoothed_zeros - cross) / self.total - ratio
        return np.where((mass > 0) & np.isfinite(cross), divergence, np.inf)

    def _few_nonzeros(
        self, widths: NDArray[Any], m: int, p_e1: NDArray[Any], q_e: NDArray[Any], q_e1: NDArray[Any]
    ) -> Tuple[NDArray[Any], NDArray[Any]]:
        """Return the sums of p' log p' and of p' log q' over the non-zero p, for slices that have only a few."""
        begin, end = self.centre - widths, self.centre + widths + 1
        inner = np.flatnonzero(self.present[begin.min() + 1 : end.max() - 1]) + begin.min() + 1
        inside = (inner > begin[:, None]) & (inner < end[:, None] - 1)
        places = np.concatenate([begin[:, None], np.where(inside, inner, begin[:, None]), end[:, None] - 1], axis=1)
        taken = np.concatenate([np.ones_like(begin)[:, None], inside, np.ones_like(begin)[:, None]], axis=1)
        s = np.where(taken, self.hist[places], 0.0)
        p = s.copy()
        p[:, 0] += self.sums.counts[begin]
        p[:, -1] += self.total - self.sums.counts[end]
        present = p > 0
        merged = np.minimum((places - begin[:, None]) // m, self.parts - 1)
        together = (merged[:, :, None] == merged[:, None, :]) & present[:, None, :]
        mass, count = (together * s[:, None, :]).sum(axis=2), together.sum(axis=2)
        q = np.where(mass > 0, mass / np.maximum(count, 1) - q_e1[:, None], q_e[:, None])
        logs = np.where(q > 0, np.log(np.where(q > 0, q, 1.0)), -np.inf)
        smoothed = np.where(present, p - p_e1[:, None], 0.0)
        plogp = np.where(smoothed > 0, smoothed * np.log(np.where(smoothed > 0, smoothed, 1.0)), 0.0)
        return plogp.sum(axis=1), np.where(present, smoothed * np.where(present, logs, 0.0), 0.0).sum(axis=1)

    def _sum_of_plogp(self, begin: NDArray[Any], end: NDArray[Any], e: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of (p - e) log(p - e) over the non-zero p of [begin, end), by the series in e."""
        sums = self.sums
        count = sums.nonzero[end] - sums.nonzero[begin]
        total: NDArray[Any] = sums.plogp[end] - sums.plogp[begin] - e * (sums.logp[end] - sums.logp[begin] + count)
        power = e
        for k in range(2, _terms(float(e.max())) + 2):
            power = power * e
            cumulative = self._power(k - 1)
            total += power / (k * (k - 1)) * (cumulative[end] - cumulative[begin])
        return total

    def _power(self, k: int) -> NDArray[Any]:
        """Return the cumulative sum of p^-k over the non-zero p."""
        while len(self.powers) <= k:
            self.powers.append(_cumulative(np.where(self.present, self.safe ** -float(len(self.powers)), 0.0)))
        return self.powers[k]


def _plogp(p: NDArray[Any], e: NDArray[Any]) -> NDArray[Any]:
    smoothed = np.where(p > e, p - e, 1.0)
    result: NDArray[Any] = smoothed * np.log(smoothed)
    return result


def _merged_bin(
    mass: NDArray[Any],
    count: NDArray[Any],
    p_mass: NDArray[Any],
    p_e1: NDArray[Any],
    q_e: NDArray[Any],
    q_e1: NDArray[Any],
) -> NDArray[Any]:
    """Return the sum of p' log q' over a merged bin that has an end of p in it; infinite where q' is not positive."""
    q = np.where(mass > 0, mass / np.maximum(count, 1) - q_e1, q_e)
    logs = np.where(q > 0, np.log(np.where(q > 0, q, 1.0)), -np.inf)
    return np.where(count > 0, (p_mass - p_e1 * count) * np.where(count > 0, logs, 0.0), 0.0)
