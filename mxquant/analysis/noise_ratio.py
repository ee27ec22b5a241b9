"""The signal-to-quantization-noise ratio, by sums that grow batch by batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, List, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NoiseRatio"]


@dataclass
class NoiseRatio:
    """Sums of squares of what is exact, and of what is lost.

    ``a + b`` is what one would have found on the data of both. Sums are kept for each batch, and added only at the end,
    by :func:`math.fsum`, which rounds once: their order does not matter.

    Parameters
    ----------
    signal, noise : list of float
        Of each batch.
    """

    signal: List[float] = field(default_factory=list)
    noise: List[float] = field(default_factory=list)

    def add(self, exact: NDArray[Any], found: NDArray[Any]) -> None:
        """Take in a batch of any shape."""
        reference = np.asarray(exact, np.float64)
        self.signal.append(float(np.square(reference).sum()))
        self.noise.append(float(np.square(reference - found).sum()))

    def __add__(self, other: NoiseRatio) -> NoiseRatio:
        return NoiseRatio([*self.signal, *other.signal], [*self.noise, *other.noise])

    @property
    def sqnr(self) -> float:
        """10 · log10(Σ y² / Σ (y - ŷ)²) in dB; infinite where nothing is lost."""
        signal, noise = _sum(self.signal), _sum(self.noise)
        if noise == 0:
            return math.inf
        return 10 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf


def _sum(values: Sequence[float]) -> float:
    # math.fsum refuses infinities of both signs, and sums beyond the largest number.
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)
