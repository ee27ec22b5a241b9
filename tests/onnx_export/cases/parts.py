"""Shapes of data and parts of networks that cases of several kinds share."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

from mxquant.runtime.mxnet import mx

sym = mx.sym
IMAGE, ROW, SENTENCE = (2, 4, 9, 10), (3, 7), (3, 4, 24)
# From the data to the network.
Build = Callable[[Any], Any]
# By name: the shape of the data, and the network.
Cases = Dict[str, Tuple[Tuple[int, ...], Build]]


def whole_numbers(x: Any) -> Any:
    """Return data as whole numbers, of which many are equal."""
    return sym.cast(x * 4, "int32")


def lengths(numbers: Any, most: int) -> Any:
    """Return whole numbers from 0 to `most` - 1."""
    return sym.floor(sym.sigmoid(numbers) * most)


def all_outputs(symbol: Any) -> Any:
    return sym.Group(list(symbol))
