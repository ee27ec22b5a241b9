"""How the layers that stay in float32 for a target were found; :mod:`mxquant.accuracy.mixed_precision` searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

__all__ = ["MixedPrecision", "Trial"]


@dataclass(frozen=True)
class Trial:
    """One measurement: layers left in float32, what the network reaches, and what these layers cost in seconds."""

    float32: Tuple[str, ...]
    value: float
    seconds: float


@dataclass(frozen=True)
class MixedPrecision:
    """The outcome of a search.

    Parameters
    ----------
    float32 : tuple of str
        The layers that stay in float32.
    value : float
        What the network reaches with that.
    met : bool
        Whether that is the target.
    reason : str
        A sentence for the user.
    curve : tuple of Trial
        Every measurement, cheapest first.
    """

    float32: Tuple[str, ...]
    value: float
    met: bool
    reason: str
    curve: Tuple[Trial, ...]
