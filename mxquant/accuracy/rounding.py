"""Adaptive rounding: whole numbers for weights that keep a layer's result, not each weight, near to what it was.

For one output channel with step d, data x̂ as the int8 layer will see them, and target t, the result in fp32::

    E(q) = Var(t - d q·x̂) = d² qᵀ H q - 2 d gᵀ q + const        H = Cov(x̂),  g = Cov(x̂, t)

Adaptive rounding (Nagel et al. 2020, 'Up or Down?', arXiv:2004.10568) minimizes this over rounding each weight up or
down. Here it is done by coordinate descent: with all other codes fixed the best code is known in closed form. Codes
stay within one step of the fp32 weight. A ridge pulls H towards a multiple of the identity, and the target towards the
fp32 weights w, so that few data are not over-fitted::

    H + λ h I,   g + λ h w        h = mean diagonal of H

λ is chosen for each layer by the error on a quarter of the examples, which the descent did not see; rounding to nearest
is one of the candidates.

Without VNNI two neighbouring products must fit into int16: pairs of codes are brought below a limit first, by the
smaller loss of each step, and stay there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxquant.accuracy._kernels import descend
from mxquant.accuracy.moments import Moments, PartedMoments
from mxquant.lowering.pairs import nearest_codes
from mxquant.runtime.threads import in_parallel, number_of_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Rounding"]

RIDGES = (0.01, 0.1, 1.0)
_UNLIMITED = 1 << 20
_SWEEPS = 6
# How many channels of a group the ridge is chosen by, at most.
_JUDGED = 64


@dataclass(frozen=True)
class Rounding:
    """The weights of a layer, and which codes they may get.

    Parameters
    ----------
    weights : numpy.ndarray
        fp32 weights, shape (G, O, K): groups, output channels of a group, weights of a channel.
    steps : numpy.ndarray
        The value of one code, shape (G, O); 0 for a channel without weights.
    fixed : numpy.ndarray
        Weights that keep their nearest code, bool, shape (G, O, K).
    low, high : int
        The smallest and largest code.
    partner : numpy.ndarray, optional
        For each of the K weights the position of its neighbour, or -1.
    pair_limit : int, optional
        Largest sum of two neighbours' codes of one sign.
    """

    weights: NDArray[Any]
    steps: NDArray[np.float64]
    fixed: NDArray[np.bool_]
    low: int
    high: int
    partner: Optional[NDArray[np.int64]] = None
    pair_limit: Optional[int] = None

    def solve(self, data: PartedMoments) -> NDArray[np.int64]:
        """Return codes for the data that the layer will see and the results that it should have.

        Parameters
        ----------
        data : PartedMoments
            Their covariances.

        Returns
        -------
        numpy.ndarray
            Codes, shape (G, O, K).
        """
        assert data.seen is not None
        if data.unseen is None:
            return self.descend(data.seen, RIDGES[-1])
        some = slice(None, None, -(-self.weights.shape[1] // _JUDGED))
        judged = replace(self, **{name: getattr(self, name)[:, some] for name in ("weights", "steps", "fixed")})
        seen, unseen = data.seen.some(some), data.unseen.some(some)
        tried = [judged.nearest(), *(judged.descend(seen, ridge) for ridge in RIDGES)]
        errors = unseen.errors([judged.values(codes) for codes in tried])
        best = errors.index(min(errors))  # the first, where several are
        return self.nearest() if best == 0 else self.descend(data.seen + data.unseen, RIDGES[best - 1])

    def values(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weights that codes stand for; those that define the grid are exact."""
        return np.where(self.fixed, self.weights, codes * self.steps[..., None])

    def nearest(self) -> NDArray[np.int64]:
        """Return the nearest codes that keep the limit of pairs."""
        ends = (self.low, self.high)
        return nearest_codes(self.weights, self.steps, self.fixed, ends, self.partner, self.pair_limit)

    def descend(self, moments: Moments, ridge: float) -> NDArray[np.int64]:
        """Return codes by coordinate descent from the nearest ones."""
        codes = self.nearest()
        groups, channels, columns = codes.shape
        pull = np.float32(ridge) * np.einsum("gkk->gk", moments.gram).mean(axis=1)[:, None, None]
        weights = np.ascontiguousarray(self.weights, np.float64)
        gram = moments.gram.copy()
        np.einsum("gkk->gk", gram)[:] += pull[..., 0]
        slopes = np.matmul(self.values(codes).astype(np.float32), gram) - (moments.cross + pull * weights)
        arrays = (
            weights,
            np.ascontiguousarray(self.steps),
            gram,
            slopes,
            np.ascontiguousarray(self.fixed),
            np.full(columns, -1) if self.partner is None else self.partner,
        )
        bounds = np.array([self.low, self.high, self.pair_limit or _UNLIMITED, _SWEEPS])
        edges = np.linspace(0, groups * channels, 4 * number_of_threads() + 1).astype(int)
        in_parallel(lambda ends: descend(codes, *arrays, bounds, *ends), zip(edges, edges[1:]))
        return codes
