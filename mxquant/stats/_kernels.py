"""The loop over all activations: everything that calibration wants of a tensor, in one look at its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

from mxquant.runtime.compiled import compiled, numba

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TABLES", "drain", "tally"]

# Bins are counted in these in turn: in one table, equal values, as the zeros of a ReLU are, would wait for each other.
TABLES = 4
_BLOCK = 1024
_NEAR = 4096  # values, which stay in the nearest cache
_VALUES = numba.types.Array(numba.float32, 1, "C", readonly=True)
_BITS = numba.types.Array(numba.int32, 1, "C", readonly=True)
_FOUND = numba.types.Tuple((numba.int32, numba.int32, numba.uint32, numba.int64))  # type: ignore[no-untyped-call]
_TALLY = _FOUND(_VALUES, _BITS, numba.int64, numba.float64, numba.uint32[:, ::1], numba.float64[::1])


# Sums may be added in any order: the compiler takes one that the length of a row decides.
@compiled(_TALLY, fastmath={"reassoc"})
def tally(
    values: NDArray[np.float32],
    bits: NDArray[np.int32],
    length: int,
    scale: float,
    tables: NDArray[np.uint32],
    sums: NDArray[np.float64],
) -> Tuple[Any, ...]:
    """Count values on a grid, find their extremes and zeros, and add up rows.

    Parameters
    ----------
    values : numpy.ndarray of float32, shape (n,)
        Fewer than 2**32 values.
    bits : numpy.ndarray of int32, shape (n,)
        The same memory.
    length : int
        Of a row; the last one may be shorter.
    scale : float
        1 / bin width, a power of two.
    tables : numpy.ndarray of uint32, shape (TABLES, bins)
        Added to. Their sum counts the bins, of which the one in the middle begins at 0; the first and the last have
        what lies beyond too.
    sums : numpy.ndarray of float64
        Gets the sum of each row. It is finite if the row's values are.

    Returns
    -------
    tuple of int
        The largest and smallest of `bits`, the largest of them as uint32, and how many values are zero.
    """
    last, middle = np.float64(tables.shape[1] - 1), np.float64(tables.shape[1] // 2)
    a, b, c, d = tables[0], tables[1], tables[2], tables[3]
    bins = np.empty(_BLOCK, np.uint32)
    one = np.uint32(1)
    largest, smallest, highest = np.int32(-(2**31)), np.int32(2**31 - 1), np.uint32(0)
    zeros, row = np.int64(0), 0
    group = max(1, _NEAR // length) * length
    for start in range(0, values.size, group):
        near, near_bits = values[start : start + group], bits[start : start + group]
        for begin in range(0, near.size, length):
            line = near[begin : begin + length]
            total = 0.0
            for i in range(line.size):
                total += line[i]
            sums[row] = total
            row += 1
        for begin in range(0, near.size, _BLOCK):
            block, block_bits = near[begin : begin + _BLOCK], near_bits[begin : begin + _BLOCK]
            nothing = np.int32(0)
            for i in range(block.size):
                word = block_bits[i]
                largest, smallest, highest = max(largest, word), min(smallest, word), max(highest, np.uint32(word))
                nothing += np.int32((word & 0x7FFFFFFF) == 0)
            zeros += nothing
            for i in range(block.size):
                place = np.floor(block[i] * scale) + middle
                place = place if place > 0.0 else 0.0
                bins[i] = np.int32(place if place < last else last)
            whole = block.size // 4 * 4
            for i in range(0, whole, 4):
                a[np.uint64(bins[i])] += one
                b[np.uint64(bins[i + 1])] += one
                c[np.uint64(bins[i + 2])] += one
                d[np.uint64(bins[i + 3])] += one
            for i in range(whole, block.size):
                a[np.uint64(bins[i])] += one
    return largest, smallest, highest, zeros


@compiled(numba.void(numba.uint32[:, ::1], numba.int64[::1], numba.int64, numba.int64))
def drain(tables: NDArray[np.uint32], counts: NDArray[np.int64], begin: int, end: int) -> None:
    """Move the counts of bins from `begin` to `end` - 1 out of tables; the tables are zero there afterwards."""
    for table in range(tables.shape[0]):
        row, found = tables[table, begin:end], counts[begin:end]
        for i in range(row.size):
            found[i] += row[i]
            row[i] = 0
