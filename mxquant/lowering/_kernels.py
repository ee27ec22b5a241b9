"""The loops over all weights of a network that look at pairs of neighbours; see :mod:`mxquant.lowering.saturation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mxquant.runtime.compiled import compiled, numba

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["excess_of_pairs", "excess_of_partners", "exchange_partners", "sums_of_pairs"]

_PARTS, _SCALES = numba.types.Array(numba.float32, 3, "C", readonly=True), numba.float32[::1]
_LINES = numba.types.Array(numba.float32, 2, "C", readonly=True)
_LEAST, _MOST = np.float32(-128), np.float32(127)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


@compiled(numba.int32(numba.float32, numba.float32), inline="always")
def _code(value: Any, scale: Any) -> Any:
    rounded = np.rint(value * scale)
    rounded = rounded if rounded > _LEAST else _LEAST
    return np.int32(rounded if rounded < _MOST else _MOST)


@compiled(numba.void(_PARTS, _SCALES, numba.int64[:, ::1]))
def sums_of_pairs(parts: NDArray[Any], scales: NDArray[Any], sums: NDArray[Any]) -> None:
    """Find the largest sum of positive codes of a pair, and the smallest of negative ones, for each output channel.

    Parameters
    ----------
    parts : numpy.ndarray of float32, shape (O, I, K)
        Weights; [o, 2i, k] and [o, 2i + 1, k] are neighbours, the last of an odd number has none.
    scales : numpy.ndarray of float32, shape (O,)
        Codes per weight.
    sums : numpy.ndarray of int64, shape (O, 2)
        Gets both.
    """
    pairs, places = parts.shape[1] // 2, parts.shape[2]
    for o in range(parts.shape[0]):
        rows, scale, most, least = parts[o], scales[o], np.int32(0), np.int32(0)
        if places == 1:
            line = rows[:, 0]
            for i in range(pairs):
                a, b = _code(line[2 * i], scale), _code(line[2 * i + 1], scale)
                most = max(most, max(a, np.int32(0)) + max(b, np.int32(0)))
                least = min(least, min(a, np.int32(0)) + min(b, np.int32(0)))
        else:
            for i in range(pairs):
                first, second = rows[2 * i], rows[2 * i + 1]
                for k in range(places):
                    a, b = _code(first[k], scale), _code(second[k], scale)
                    most = max(most, max(a, np.int32(0)) + max(b, np.int32(0)))
                    least = min(least, min(a, np.int32(0)) + min(b, np.int32(0)))
        for i in range(2 * pairs, parts.shape[1]):
            for k in range(places):
                a = _code(rows[i, k], scale)
                most, least = max(most, a), min(least, a)
        sums[o, 0], sums[o, 1] = most, least


@compiled(numba.void(_PARTS, _SCALES, numba.float64[::1], numba.int64, numba.float64[::1], numba.float64[::1]))
def excess_of_pairs(
    parts: NDArray[Any],
    scales: NDArray[Any],
    steps: NDArray[Any],
    least: int,
    squares: NDArray[Any],
    means: NDArray[Any],
) -> None:
    """Add up what it costs to bring pairs of one sign down to limits, over all output channels.

    Parameters
    ----------
    parts, scales
        As for :func:`sums_of_pairs`.
    steps : numpy.ndarray of float64, shape (O,)
        The value of one code.
    least : int
        The lowest limit.
    squares : numpy.ndarray of float64, shape (257,)
        Added to: for each sum above `least`, the squared steps of its pairs, halved where both weights can give way.
    means : numpy.ndarray of float64, shape (257,)
        Added to: for each limit, the squares of each channel's steps · Σ (sums of negative pairs - of positive ones
        above the limit).
    """
    signed = np.zeros(squares.size)
    pairs, places = parts.shape[1] // 2, parts.shape[2]
    for o in range(parts.shape[0]):
        rows, scale, step = parts[o], scales[o], steps[o]
        found = False
        for i in range(pairs):
            first, second = rows[2 * i], rows[2 * i + 1]
            for k in range(places):
                a, b = _code(first[k], scale), _code(second[k], scale)
                both = abs(a + b)
                if both <= least or a * b <= 0:
                    continue
                found = True
                # The largest of its channel, which defines the step, keeps its code.
                squares[both] += step * step * (1.0 if max(abs(a), abs(b)) >= 127 else 0.5)
                signed[both] += -step if a > 0 else step
        if not found:
            continue
        number = total = 0.0
        for limit in range(signed.size - 2, least - 1, -1):
            number += signed[limit + 1]
            total += number
            means[limit] += total * total
        signed[:] = 0.0


@compiled(numba.void(_LINES, numba.float32[::1], numba.float32, numba.float64[:, ::1]))
def excess_of_partners(codes: NDArray[Any], weights: NDArray[Any], limit: Any, excess: NDArray[Any]) -> None:
    """Add up what it would cost to bring pairs down to a limit, for each two channels that could be neighbours.

    All is float32, and the innermost loop without jumps, so that the compiler makes vectors of it.

    Parameters
    ----------
    codes : numpy.ndarray of float32, shape (L, I)
        Codes of weights: whole numbers, a line for each output channel and place of its kernel.
    weights : numpy.ndarray of float32, shape (L,)
        What the square of one code counts.
    limit : float
        Of the sum of two codes of one sign; two codes of which neither is above half of it are never looked at.
    excess : numpy.ndarray of float64, shape (I, I)
        Added to; the cost of i beside j is [i, j] + [j, i]. The diagonal means nothing.
    """
    channels, half = codes.shape[1], _HALF * limit
    row = np.zeros(channels, np.float32)
    for i in range(channels):
        row[:] = _ZERO
        for line in range(codes.shape[0]):
            a = codes[line, i]
            if abs(a) <= half:
                continue
            values, weight = codes[line], weights[line]
            least, sign = limit - abs(a), _ONE if a > _ZERO else -_ONE
            for j in range(channels):
                over = max(sign * values[j] - least, _ZERO)
                # Of two large ones each finds the other, and counts half.
                part = weight if abs(values[j]) <= half else _HALF * weight
                row[j] += part * over * over
        for j in range(channels):
            excess[i, j] += row[j]


@compiled(numba.void(numba.float64[:, ::1], numba.int64[::1]))
def exchange_partners(cost: NDArray[Any], order: NDArray[Any]) -> None:
    """Let pairs of neighbours exchange partners, in place, until no exchange of two makes the order cheaper.

    Parameters
    ----------
    cost : numpy.ndarray of float64, shape (I, I)
        What two channels cost as neighbours; symmetric.
    order : numpy.ndarray of int64, shape (I,)
        Places 2i and 2i + 1 are neighbours; the last of an odd number has none, and may become a partner.
    """
    places = order.size
    better = True
    while better:
        better = False
        for i in range(0, places - 1, 2):
            for j in range(i + 2, places, 2):
                a, b, c = order[i], order[i + 1], order[j]
                d = order[j + 1] if j + 1 < places else -1
                now = cost[a, b] + (cost[c, d] if d >= 0 else 0.0)
                one = cost[a, c] + (cost[b, d] if d >= 0 else 0.0)
                other = cost[b, c] + (cost[a, d] if d >= 0 else 0.0)
                # Costs of weights that are no numbers are none either, and never less.
                if not min(one, other) < now * (1 - 1e-12):
                    continue
                better = True
                if one <= other:
                    order[i + 1], order[j] = c, b
                else:
                    order[i], order[j] = c, a
