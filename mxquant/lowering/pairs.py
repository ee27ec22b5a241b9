"""Weights whose neighbours cannot saturate an int16, and what it costs to make them so.

On CPUs without VNNI a pair of weights of one sign whose codes add up to S bears data up to the code 32767 / S; see
:mod:`mxquant.lowering.saturation`. The few pairs with the largest S would cost all data codes. They can be brought
down to a limit L instead, each by S - L steps, shared between the two where neither is the largest of its channel,
which defines the step. Per output channel with step d, the layer's result then has a further error of variance and
mean ::

    d² Var(x) Σ (S - L)² · (1 or 1/2)        d E[x] Σ ±(S - L)

over the pairs above L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Tuple

import numpy as np

from mxquant.graph import Node
from mxquant.graph.attributes import read_int
from mxquant.lowering.saturation import channel_pair_sums, in_pairs, neighbours, weight_scales
from mxquant.lowering.weight_grid import WeightGrid
from mxquant.plan import LayerPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST_LIMIT", "PairExcess", "largest_data_code", "limited_weight", "nearest_codes"]

# Any sum that one weight alone may have.
LEAST_LIMIT = 128
_LARGEST_SUM = 256
# Weights looked at in one go.
_CHUNK = 1 << 22


def largest_data_code(limit: int) -> int:
    """Return the largest uint8 code of data that pairs of weights with sums up to `limit` can bear."""
    return min(255, 32767 // limit)


@dataclass(frozen=True)
class PairExcess:
    """How many pairs of a layer's weights have which sum, weighted by what an error in them does.

    Parameters
    ----------
    squares : numpy.ndarray
        For each limit up to 256: the sum of d² (S - L)² over the pairs above it, halved for those that can share;
        shape (257,).
    means : numpy.ndarray
        For each limit: the sum over output channels of (d Σ ±(S - L))²; shape (257,).
    """

    squares: NDArray[np.float64]
    means: NDArray[np.float64]

    @classmethod
    def of(cls, weight: NDArray[Any]) -> PairExcess:
        """Return that of a weight, float32, shape (O, ...), without groups, with one step per output channel."""
        from mxquant.lowering._kernels import excess_of_pairs

        steps = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64) / 127
        squares, means = np.zeros(_LARGEST_SUM + 1), np.zeros(_LARGEST_SUM + 1)
        excess_of_pairs(in_pairs(weight), weight_scales(weight), steps, LEAST_LIMIT, squares, means)
        limits = np.arange(_LARGEST_SUM + 1)
        return cls(np.square(np.maximum(limits - limits[:, None], 0)) @ squares, means)

    def noise(self, limit: int, mean: float, variance: float) -> float:
        """Return the mean squared error, summed over output channels, of bringing all pairs down to `limit`.

        Parameters
        ----------
        limit : int
            Largest sum of the codes of a pair, from 128.
        mean, variance : float
            Of the data.
        """
        return float(variance * self.squares[limit] + mean * mean * self.means[limit])


def limited_weight(
    node: Node, weight: NDArray[Any], layer: LayerPlan, limit: int, symmetric: bool = False
) -> Optional[NDArray[np.float32]]:
    """Return a weight of which only channels with a pair above the limit are changed; None where there is none.

    Parameters
    ----------
    node : Node
        A convolution or FullyConnected.
    weight : numpy.ndarray
        Its fp32 weight, shape (O, ...), channels as they lie in memory.
    layer : LayerPlan
        Its plan.
    limit : int
        Largest sum of the codes of two neighbours of one sign.
    symmetric : bool
        Whether -127 is the smallest code.
    """
    groups = read_int(node, "num_group", 1)
    above = np.flatnonzero(np.abs(channel_pair_sums(weight, groups)).max(axis=1) > limit)
    if not len(above):
        return None
    partner, result = neighbours(weight.shape, groups), weight.astype(np.float32)
    step = max(1, _CHUNK // max(1, weight[0].size))
    for begin in range(0, len(above), step):
        some = above[begin : begin + step]
        grid = WeightGrid.of(node.op, weight[some], layer, symmetric)
        smaller = nearest_codes(grid.original, grid.steps, grid.fixed, (grid.low, grid.high), partner, limit)
        result[some] = grid.weights(smaller).reshape(weight[some].shape)
    return result


def nearest_codes(
    weights: NDArray[Any],
    steps: NDArray[Any],
    fixed: NDArray[np.bool_],
    ends: Tuple[int, int],
    partner: Optional[NDArray[np.int64]] = None,
    limit: Optional[int] = None,
) -> NDArray[np.int64]:
    """Return the codes nearest to weights, with pairs of neighbours brought below a limit.

    Parameters
    ----------
    weights : numpy.ndarray
        Shape (..., K).
    steps : numpy.ndarray
        The value of one code, shape (...); 0 for a channel without weights.
    fixed : numpy.ndarray
        Weights that keep their nearest code, bool, shape (..., K); at most one of a pair.
    ends : tuple of int
        The smallest and largest code.
    partner : numpy.ndarray, optional
        Position of the neighbour of each of the K weights, or -1.
    limit : int, optional
        Largest sum of the codes of two neighbours of one sign; at least the largest magnitude of one code.

    Returns
    -------
    numpy.ndarray
        Whole numbers, shape (..., K), at least distance from the weights.
    """
    near = weights / np.where(steps > 0, steps, np.inf)[..., None]
    codes: NDArray[np.int64] = np.clip(np.rint(near), *ends).astype(np.int64)
    if partner is not None and limit is not None:
        _limit_pairs(codes, near, fixed, partner, limit)
    return codes


def _limit_pairs(
    codes: NDArray[np.int64], near: NDArray[Any], fixed: NDArray[np.bool_], partner: NDArray[np.int64], limit: int
) -> None:
    """Bring pairs of neighbouring codes of one sign down to a limit, in place."""
    first = np.flatnonzero(partner > np.arange(len(partner)))
    second = partner[first]
    a, b = codes[..., first], codes[..., second]
    *row, pair = np.nonzero((np.sign(a) * np.sign(b) > 0) & (np.abs(a + b) > limit))
    at = ((*row, first[pair]), (*row, second[pair]))
    pairs, goals = np.stack([codes[each] for each in at]), np.stack([near[each] for each in at])
    kept = np.stack([fixed[each] for each in at])
    while True:
        over = np.abs(pairs.sum(axis=0)) > limit
        if not over.any():
            break
        # Squared distance that one step towards zero adds.
        losses = np.where(kept, np.inf, np.square(pairs - np.sign(pairs) - goals) - np.square(pairs - goals))
        chosen = over & (np.arange(2)[:, None] == losses.argmin(axis=0))
        pairs -= np.where(chosen, np.sign(pairs), 0)
    for index, values in zip(at, pairs):
        codes[index] = values
