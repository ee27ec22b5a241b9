"""Operators that only move values: which of them MXNet 1.9 does on int8 codes as they are, and as fast.

A Reshape of codes is the Reshape's codes, in the same range, so it may stand between int8 operators. The same holds for
a transpose or a slice, but MXNet has fast forms of them for float32 only: on two threads, transposing (1024, 2, 289)
values of int8 took 15 ms, where a conversion to float32, the transpose and a conversion back took 2.4 ms; a slice of
int8 took ten times as long as one of float32.
"""

from __future__ import annotations

from typing import FrozenSet

__all__ = ["MOVES", "SLOW_MOVES"]

MOVES: FrozenSet[str] = frozenset({"Reshape", "reshape", "expand_dims", "squeeze"})
SLOW_MOVES: FrozenSet[str] = frozenset(
    {
        *("transpose", "SwapAxis", "swapaxes", "slice", "slice_axis", "SliceChannel", "reverse", "flip"),
        *("repeat", "tile", "depth_to_space", "space_to_depth"),
    }
)
