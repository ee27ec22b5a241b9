"""Thresholds: pure functions from a histogram to the largest magnitude that codes represent."""

from __future__ import annotations

from typing import Any, Callable, Dict

from mxquant.errors import InputError
from mxquant.stats.histogram import Histogram
from mxquant.thresholds.entropy import entropy
from mxquant.thresholds.minmax import minmax
from mxquant.thresholds.mse import mse
from mxquant.thresholds.percentile import percentile

__all__ = ["METHODS", "choose_threshold"]

METHODS: Dict[str, Callable[..., float]] = {
    "minmax": minmax,
    "entropy": entropy,
    "percentile": percentile,
    "mse": mse,
}


def choose_threshold(histogram: Histogram, method: str, *, unsigned: bool = False, **options: Any) -> float:
    """Return a tensor's threshold by the method of that name.

    Parameters
    ----------
    histogram : Histogram
        Of the tensor.
    method : {'minmax', 'entropy', 'percentile', 'mse'}
        How to choose.
    unsigned : bool
        Whether the codes are 0..255 rather than -127..127.
    **options
        Further arguments of the method.

    Returns
    -------
    float
        A positive float32 number.

    Raises
    ------
    InputError
        If there is no such method.
    """
    if method not in METHODS:
        raise InputError(f"method is {method!r}, expected one of {', '.join(map(repr, METHODS))}")
    return METHODS[method](histogram, unsigned=unsigned, **options)
