"""The order in which channels lie in memory, where it is free.

Neighbouring input channels of a layer are multiplied in pairs; see :mod:`mxquant.lowering.saturation`. Which channels
are neighbours may be chosen for all tensors of :mod:`mxquant.lowering.free_channels`: with P a permutation ::

    W f(V u + b) = (W P⁻¹) f(P V u + P b)

So the rows of weights before and the columns of weights behind are put in another order, and the network computes the
same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Sequence, Tuple

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Network
from mxquant.lowering.free_channels import free_channels
from mxquant.lowering.memory_order import in_order
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["arranged", "orders_of", "restored"]

Orders = Mapping[str, Sequence[int]]


def orders_of(network: Network, plan: QuantPlan) -> Dict[str, Tuple[int, ...]]:
    """Return the orders that a plan asks for, by the names of the tensors that layers read.

    Raises
    ------
    PlanError
        If a layer is to read channels in an order that they cannot have.
    """
    wanted = {name: layer.channel_order for name, layer in plan.layers.items() if layer.channel_order is not None}
    if not wanted:
        return {}
    free = {reader.name: channels for channels in free_channels(network) for reader in channels.readers}
    orders: Dict[str, Tuple[int, ...]] = {}
    for name, order in wanted.items():
        channels = free.get(name)
        where = f"layers['{name}'].channel_order"
        if channels is None:
            raise PlanError(f"{where} is given, but the order of what '{name}' reads is not free; set it to null")
        if len(order) != channels.size:
            raise PlanError(f"{where} has {len(order)} numbers, expected the {channels.size} of its channels")
        for tensor in channels.tensors:
            if orders.setdefault(tensor, order) != order:
                raise PlanError(f"{where} is another one than that of a layer that reads the same channels")
    return orders


def arranged(network: Network, orders: Orders) -> Network:
    """Return a network with channels in other orders.

    Parameters
    ----------
    network : Network
        A canonical network.
    orders : mapping of str to sequence of int
        By the name of any tensor of theirs: which channel lies at each place.

    Returns
    -------
    Network
        It computes the same; `network` itself where there are no orders.
    """
    if not orders:
        return network
    params: Dict[str, NDArray[Any]] = dict(network.params)
    for channels in free_channels(network):
        order = next((orders[name] for name in channels.tensors if name in orders), None)
        if order is None:
            continue
        for row in channels.rows:
            params[row.name] = np.ascontiguousarray(params[row.name][np.asarray(order)])
        for node in channels.readers:
            name = node.inputs[1].node.name
            params[name] = np.ascontiguousarray(in_order(params[name], order))
    return Network(network.graph, params)


def restored(network: Network, orders: Orders) -> Network:
    """Undo :func:`arranged`."""
    return arranged(network, {name: np.argsort(order).tolist() for name, order in orders.items()})
