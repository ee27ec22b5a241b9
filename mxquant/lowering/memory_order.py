"""Weights with their input channels as they lie in memory, in the order of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from mxquant.errors import PlanError
from mxquant.plan import LayerPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_in_memory", "in_order"]


def as_in_memory(layer: LayerPlan, weight: NDArray[Any]) -> NDArray[Any]:
    """Return a layer's weight, shape (O, columns, ...), with its channels in the order of its plan.

    Raises
    ------
    PlanError
        If the weight cannot have that order.
    """
    order = layer.channel_order
    if order is None:
        return weight
    if not order or weight.shape[1] % len(order):
        where = f"layers['{layer.name}'].channel_order"
        raise PlanError(f"{where} has {len(order)} numbers, expected the {weight.shape[1]} of its channels")
    return in_order(weight, order)


def in_order(values: NDArray[Any], order: Sequence[int]) -> NDArray[Any]:
    """Return values, shape (O, columns, ...), with the columns of each channel, as many of each, in another order."""
    places = np.asarray(order)
    each = values.shape[1] // len(places)
    return values[:, (places[:, None] * each + np.arange(each)).reshape(-1)]
