"""Loops over all activations that NumPy would take several passes for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mxquant._compiled import compiled, numba

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count_float32", "row_sums"]

_BLOCK = 512
_ROWS = numba.types.Array(numba.float32, 2, "C", readonly=True)
_VALUES = numba.types.Array(numba.float32, 1, "C", readonly=True)


@compiled(numba.int64(_VALUES, numba.float64, numba.int64, numba.int64[::1]))
def count_float32(values: NDArray[np.float32], scale: float, first: int, counts: NDArray[np.int64]) -> int:
    """Count values on a grid.

    Parameters
    ----------
    values : numpy.ndarray of float32, shape (n,)
        Finite values.
    scale : float
        1 / bin width, a power of two.
    first : int
        Number of the bin that ``counts[0]`` counts.
    counts : numpy.ndarray of int64
        Reaches to the bin of the largest value; is added to.

    Returns
    -------
    int
        How many of the values are zero.
    """
    # Bins of a block are computed side by side, then counted in four tables in turn: in one, equal values, as the zeros
    # of a ReLU are, would wait for each other.
    tables = np.zeros((4, counts.size), np.uint32)
    a, b, c, d = tables[0], tables[1], tables[2], tables[3]
    bins = np.empty(_BLOCK, np.uint32)
    start, one = np.int32(first), np.uint32(1)
    whole = values.size // _BLOCK * _BLOCK
    zeros = 0
    for begin in range(0, whole, _BLOCK):
        block = values[begin : begin + _BLOCK]
        for i in range(_BLOCK):
            quotient = np.float64(block[i]) * scale
            floor = np.int32(quotient)
            floor -= np.int32(floor > quotient)
            bins[i] = np.uint32(floor - start)
            zeros += block[i] == 0
        for i in range(0, _BLOCK, 4):
            a[np.uint64(bins[i])] += one
            b[np.uint64(bins[i + 1])] += one
            c[np.uint64(bins[i + 2])] += one
            d[np.uint64(bins[i + 3])] += one
    for i in range(whole, values.size):
        quotient = np.float64(values[i]) * scale
        floor = np.int32(quotient)
        floor -= np.int32(floor > quotient)
        counts[floor - start] += 1
        zeros += values[i] == 0
    for i in range(counts.size):
        counts[i] += np.int64(a[i]) + b[i] + c[i] + d[i]
    return zeros


@compiled(numba.float64[::1](_ROWS))
def row_sums(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Add up rows in float64, in an order that depends on their length alone.

    Parameters
    ----------
    rows : numpy.ndarray of float32, shape (n, m)
        Values.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        Sums.
    """
    count, length = rows.shape
    sums = np.empty(count)
    whole = length // 8 * 8
    for index in range(count):
        row = rows[index]
        # Eight sums at a time, which the processor can add side by side.
        a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(0, whole, 8):
            a += row[i]
            b += row[i + 1]
            c += row[i + 2]
            d += row[i + 3]
            e += row[i + 4]
            f += row[i + 5]
            g += row[i + 6]
            h += row[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
        for i in range(whole, length):
            total += row[i]
        sums[index] = total
    return sums
