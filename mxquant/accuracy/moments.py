"""Covariances of a layer's data and of the results that it should have, summed part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Moments", "PartedMoments"]

# Sums of squares of what is larger may leave float32.
_SQUARABLE = 1e15
# Fewer examples are not divided.
_ENOUGH = 4


class Moments(NamedTuple):
    """Covariances of a layer's data and targets.

    ``gram``, shape (G, K, K), is that of the data, ``cross``, shape (G, O, K), that of targets and data; ``means`` are
    those of data, shape (G, 1, K), and targets, shape (G, 1, O), of so many ``places``.
    """

    gram: NDArray[np.float32]
    cross: NDArray[np.float32]
    means: Tuple[NDArray[np.float32], NDArray[np.float32]]
    places: int

    @classmethod
    def of(cls, rows: NDArray[np.float32], results: NDArray[np.float32]) -> Moments:
        """Return the covariances of data, shape (G, n, K), and targets, shape (G, n, O)."""
        means = rows.mean(axis=1, keepdims=True), results.mean(axis=1, keepdims=True)
        rows, results = rows - means[0], results - means[1]
        count = rows.shape[1]
        gram, cross = (np.matmul(left.transpose(0, 2, 1), rows) / np.float32(count) for left in (rows, results))
        return cls(gram, cross, means, count)

    def __add__(self, other: Moments) -> Moments:  # type: ignore[override]
        """Return those of the places of both."""
        count = self.places + other.places
        shares = np.float32(self.places / count), np.float32(other.places / count)
        apart = [right - left for left, right in zip(self.means, other.means)]
        sums = []
        for first, second, left in zip(self[:2], other[:2], apart):
            total = shares[0] * first
            term = shares[1] * second
            total += term
            np.multiply(left.transpose(0, 2, 1), apart[0], out=term)
            term *= shares[0] * shares[1]
            total += term
            sums.append(total)
        means = tuple(left + shares[1] * each for left, each in zip(self.means, apart))
        return Moments(sums[0], sums[1], (means[0], means[1]), count)

    def some(self, part: slice) -> Moments:
        """Return those of some of the targets."""
        return self._replace(cross=self.cross[:, part], means=(self.means[0], self.means[1][..., part]))

    def errors(self, weights: Sequence[NDArray[np.float64]]) -> List[float]:
        """Return the variance that each of several weights leaves, summed over channels, up to a constant."""
        products = np.matmul(np.concatenate(weights, axis=1), self.gram)  # in one, since float64 copies the matrix
        parts = np.split(products, len(weights), axis=1)
        return [float((each * (product - 2 * self.cross)).sum()) for each, product in zip(weights, parts)]


class PartedMoments:
    """Those of the first three quarters of the examples, and of the last one, by which a choice is judged.

    Parameters
    ----------
    examples : int
        How many there are; fewer than four are not divided.
    largest : float
        The largest magnitude of data and targets. Those beyond 1e15 are divided by it, which is a factor of all errors.
    """

    def __init__(self, examples: int, largest: float = 0.0) -> None:
        self.seen: Optional[Moments] = None
        self.unseen: Optional[Moments] = None
        self._cut = examples * 3 // 4 if examples >= _ENOUGH else examples
        self._factor = np.float32(1 / largest) if largest > _SQUARABLE else None

    def add(self, rows: NDArray[np.float32], results: NDArray[np.float32], examples: NDArray[np.int64]) -> None:
        """Take in some places.

        Parameters
        ----------
        rows : numpy.ndarray
            Data, float32, shape (G, n, K).
        results : numpy.ndarray
            Targets, float32, shape (G, n, O).
        examples : numpy.ndarray
            The number of the example that each of the n places is of, in ascending order.
        """
        if self._factor is not None:
            rows, results = rows * self._factor, results * self._factor
        at = int(np.searchsorted(examples, self._cut))
        self.seen = _joined(self.seen, rows[:, :at], results[:, :at])
        self.unseen = _joined(self.unseen, rows[:, at:], results[:, at:])


def _joined(known: Optional[Moments], rows: NDArray[np.float32], results: NDArray[np.float32]) -> Optional[Moments]:
    """Return covariances with those of more places, of which there may be none."""
    if not rows.shape[1]:
        return known
    found = Moments.of(rows, results)
    return found if known is None else known + found
