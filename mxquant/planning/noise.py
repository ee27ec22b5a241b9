"""What a layer's rounding costs, as predicted from its weights and the histogram of its data.

For data x in steps s and weights w of output channel o in steps d_o, relative to the power of the result, taken to be
E[x²] Σ w²::

    s² / 12 · P(x ≠ 0) / E[x²]   +   K Σ_o d_o² / 12 / Σ w²   +   the noise of pairs brought below a limit

Zeros are exact, whatever the step. Of weights in nearly even codes, on data with a zero point of half their range T,
the largest of a channel is half a step off where it is positive, one way or the other::

    Σ_o (d_o / 2)² E[(x - T/2)²] / (E[x²] Σ w²)

Source: the model of uniform noise, B. Widrow and I. Kollár, 'Quantization Noise',
2008, chapter 4; the last term is that of :mod:`mxquant.lowering.pairs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxquant.lowering.pairs import PairExcess
from mxquant.stats import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DataMoments", "LayerNoise"]


@dataclass(frozen=True)
class DataMoments:
    """Moments of a tensor.

    Parameters
    ----------
    mean, square : float
        E[x] and E[x²].
    present : float
        The share of values that are not zero.
    """

    mean: float
    square: float
    present: float

    @classmethod
    def of(cls, histogram: Histogram) -> DataMoments:
        """Return those of a histogram, each value taken at the middle of its bin, zeros exactly."""
        if histogram.exponent is None:
            return cls(0.0, 0.0, 0.0)
        counts = histogram.counts.astype(np.float64)
        if histogram.zeros:
            counts[-histogram.first_bin] -= histogram.zeros
        middles = np.ldexp(histogram.first_bin + np.arange(len(counts)) + 0.5, histogram.exponent)
        first, second = (float(counts @ values) / histogram.count for values in (middles, np.square(middles)))
        return cls(first, second, float(counts.sum()) / histogram.count)


@dataclass(frozen=True)
class LayerNoise:
    """What is needed to predict the noise of one layer.

    Parameters
    ----------
    data : DataMoments
        Of what it reads.
    energy : float
        Σ w² over its weights.
    rounding : float
        K Σ d_o² / 12, for weights of 127 codes.
    pairs : PairExcess or None
        None where no pair of products can saturate.
    uneven : float
        Σ (d_o / 2)² over the channels whose largest weight is positive.
    """

    data: DataMoments
    energy: float
    rounding: float
    pairs: Optional[PairExcess]
    uneven: float = 0.0

    @classmethod
    def of(cls, weight: NDArray[Any], data: DataMoments, pairs: Optional[PairExcess]) -> LayerNoise:
        """Return that of a layer with weights of shape (O, ...)."""
        rows = weight.reshape(len(weight), -1)
        steps = np.abs(rows).max(axis=1).astype(np.float64) / 127
        energy = float(np.einsum("ok,ok->", rows, rows, dtype=np.float64))
        uneven = float(np.square(steps[rows.max(axis=1) > -rows.min(axis=1)]).sum()) / 4
        return cls(data, energy, rows.shape[1] * float(np.square(steps).sum()) / 12, pairs, uneven)

    def relative(self, step: float, limit: Optional[int] = None, halved: bool = False, uneven: bool = False) -> float:
        """Return the noise of the layer's result over its power; 0 for a layer whose result is 0.

        Parameters
        ----------
        step : float
            The real value of one code of the data.
        limit : int, optional
            Largest sum of the codes of a pair of weights; None leaves them as they are.
        halved : bool
            Whether weights have every second code only.
        uneven : bool
            Whether the largest weight of a channel has no code of its own, and the data a zero point.
        """
        mean, square, present = self.data.mean, self.data.square, self.data.present
        power = square * self.energy
        if power <= 0:
            return 0.0
        noise = step * step / 12 * present * self.energy + square * self.rounding * (4 if halved else 1)
        if halved and uneven:
            middle = 128 * step
            noise += self.uneven * (square - 2 * middle * mean + middle * middle)
        if limit is not None and self.pairs is not None:
            noise += self.pairs.noise(limit, mean, max(square - mean * mean, 0.0))
        return noise / power
