"""The values that a weight may have so that the int8 operator keeps them: the grid of its codes.

MXNet quantizes fp32 weights when the network runs, by 127.5 over the largest magnitude of each output channel. A weight
tensor whose largest value of each channel stands for 127.5 steps, and whose other values are whole steps, comes out of
that unchanged. The step can be chosen so that the largest weight itself is exact: it is stored as code 127, or -128.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mxquant.lowering.quantized_params import INT8_RANGE
from mxquant.lowering.stored_weights import EVEN, HALVED, NEARLY_EVEN, int8_weight
from mxquant.plan import LayerPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WeightGrid", "exact_ends"]

# Of all float32 numbers, at most 450 in a row miss the code 128.
_DIGITS = tuple(sign * distance for distance in range(257) for sign in (1, -1))


class _Grid(NamedTuple):
    """Steps of a whole code, the outermost codes of weights that are not the largest, and those of the largest one."""

    stride: int
    low: int
    high: int
    positive: float
    negative: float


_WHOLE = _Grid(1, -128, 127, 127.0, 128.0)
# Of targets whose codes of weights are symmetric.
_SYMMETRIC = _Grid(1, -127, 127, 127.0, 127.0)
# By the plan's weight_codes. Of nearly even ones, -128 and 128 would be the value of the largest, another on every CPU.
_GRIDS = {
    HALVED: _Grid(2, -64, 64, 64.0, 64.0),
    EVEN: _Grid(2, -63, 63, 63.0, 63.0),
    NEARLY_EVEN: _Grid(2, -63, 63, INT8_RANGE / 2, 64.0),
}


@dataclass(frozen=True)
class WeightGrid:
    """Steps and codes of the weights of one layer.

    Parameters
    ----------
    op : str
        The layer's operator.
    layer : LayerPlan
        Its plan.
    original : numpy.ndarray
        fp32 weights, shape (O, K).
    anchored : numpy.ndarray
        The same with the largest value of each channel moved to the end of its grid.
    steps : numpy.ndarray
        Shape (O,): the value of one code; 0 for a channel of zeros.
    fixed : numpy.ndarray
        Shape (O, K), bool: the weights that define the grid.
    low, high : int
        The smallest and largest code of all others.
    symmetric : bool
        Whether no code is -128; see :func:`mxquant.lowering.stored_weights.stored_weights`.
    """

    op: str
    layer: LayerPlan
    original: NDArray[np.float32]
    anchored: NDArray[np.float32]
    steps: NDArray[np.float64]
    fixed: NDArray[np.bool_]
    low: int
    high: int
    symmetric: bool = False

    @classmethod
    def of(cls, op: str, weight: NDArray[Any], layer: LayerPlan, symmetric: bool = False) -> WeightGrid:
        """Return the grid on which the largest weight of each channel is exact."""
        rows = weight.reshape(len(weight), -1).astype(np.float32)
        codes = layer.weight_codes or 127
        if layer.granularity == "tensor-wise":
            largest = float(np.abs(rows).max())
            return cls(
                op, layer, rows, rows, np.full(len(rows), largest / codes), np.abs(rows) == largest, -codes, codes
            )
        at = np.abs(rows).argmax(axis=1)[:, None]
        largest_of = np.take_along_axis(rows, at, axis=1)
        fixed = np.zeros(rows.shape, bool)
        np.put_along_axis(fixed, at, True, axis=1)
        # Halved codes, and even ones, are those of every second step.
        stride, low, high, positive, negative = _GRIDS.get(codes, _SYMMETRIC if symmetric else _WHOLE)
        ends = np.where(largest_of > 0, positive, negative)
        anchored = rows
        if codes != EVEN:
            anchors = _anchors((largest_of * np.float32(127.5) / (ends * stride)).astype(np.float32), ends * stride)
            anchored = np.where(fixed, anchors, rows)
        steps = (np.abs(largest_of).astype(np.float64) / ends)[:, 0]
        return cls(op, layer, rows, anchored, steps, fixed, low, high, symmetric)

    def weights(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Return fp32 weights, shape (O, K), that the operator quantizes to `codes`.

        A channel for which it would not keeps its original weights.
        """
        wanted = np.where(self.fixed, self.original, codes * self.steps[:, None])
        # A weight with the code of the largest must not become larger than it, and so define another grid.
        largest = np.abs(np.where(self.fixed, self.anchored, 0)).max(axis=1, keepdims=True)
        most = largest if self.layer.granularity == "channel-wise" else np.float32(np.inf)
        values = np.where(self.fixed, self.anchored, np.clip(wanted, -most, most)).astype(np.float32)
        kept = np.abs(int8_weight(self.op, values, self.layer, self.symmetric) - wanted) <= 0.01 * self.steps[:, None]
        return np.where(kept.all(axis=1)[:, None], values, self.original)


def exact_ends(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values, changed in the last digits where MXNet would not give them the code -128 if they were negative."""
    return -_anchors(-values, np.full_like(values, 128))


def _anchors(values: NDArray[np.float32], ends: NDArray[Any]) -> NDArray[np.float32]:
    """Return values, changed in the last digits where MXNet's float32 arithmetic would miss the codes `ends`."""
    moved = values
    for digits in _DIGITS:
        scales = np.float32(INT8_RANGE) / np.where(moved != 0, np.abs(moved), np.float32(1))
        missed = (ends == 128) & (np.rint(moved * scales) == -127)
        if not missed.any():
            break
        moved = np.where(missed, values * np.float32(1 + digits * np.finfo(np.float32).eps), moved)
    return moved
