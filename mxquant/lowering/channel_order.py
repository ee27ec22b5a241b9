"""The order in which channels lie in memory, where it is free.

Neighbouring input channels of a layer are multiplied in pairs; see :mod:`mxquant.lowering.saturation`. Which channels
are neighbours may be chosen among all channels of :mod:`mxquant.lowering.free_channels`: with P a permutation ::

    W f(V u + b) = (W P⁻¹) f(P V u + P b)

So the rows of weights before and the columns of weights behind are put in another order, and the network computes the
same. The order of what a Concat returns leaves the channels of each layer at their place, and those that are not free
where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Network
from mxquant.lowering.free_channels import Channels, Reader, free_channels, whole_orders
from mxquant.lowering.memory_order import in_order
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["arranged", "orders_of", "restored"]

Orders = Mapping[str, Sequence[int]]


def orders_of(network: Network, plan: QuantPlan) -> Dict[str, Tuple[int, ...]]:
    """Return the orders that a plan asks for, by the names of all tensors whose channels have them.

    Raises
    ------
    PlanError
        If a layer is to read channels in an order that they cannot have.
    """
    wanted = {name: layer.channel_order for name, layer in plan.layers.items() if layer.channel_order is not None}
    if not wanted:
        return {}
    free: Dict[str, List[Tuple[Channels, Reader]]] = {}
    for channels in free_channels(network):
        for reader in channels.readers:
            free.setdefault(reader.node.name, []).append((channels, reader))
    orders: Dict[Channels, Tuple[int, ...]] = {}
    for name, order in wanted.items():
        for channels, part in _parts(f"layers['{name}'].channel_order", name, order, free.get(name, [])):
            if orders.setdefault(channels, part) != part:
                raise PlanError(
                    f"layers['{name}'].channel_order is another one than that of a layer that reads the same channels"
                )
    return whole_orders(orders.items())


def _parts(
    where: str, name: str, order: Sequence[int], free: Sequence[Tuple[Channels, Reader]]
) -> List[Tuple[Channels, Tuple[int, ...]]]:
    """Return an order of what a layer reads as orders of channels that belong together."""
    if not free:
        raise PlanError(f"{where} is given, but the order of what '{name}' reads is not free; set it to null")
    count = free[0][1].of
    if len(order) != count:
        raise PlanError(f"{where} has {len(order)} numbers, expected the {count} of its channels")
    left, parts = set(range(count)), []
    for channels, (_, first, _) in free:
        places = range(first, first + channels.size)
        part = order[first : first + channels.size]
        if set(part) != set(places):
            raise PlanError(
                f"{where} has {_other(part, places)} at one of the places {first} to {places[-1]}, expected the "
                f"channels {first} to {places[-1]} there, which are joined to others"
            )
        parts.append((channels, tuple(each - first for each in part)))
        left -= set(places)
    for place in sorted(left):
        if order[place] != place:
            raise PlanError(f"{where} has {order[place]} at place {place}, expected {place}, which is not free to move")
    return parts


def _other(part: Sequence[int], places: Sequence[int]) -> int:
    return next(each for each in part if each not in places)


def arranged(network: Network, orders: Orders) -> Network:
    """Return a network with channels in other orders.

    Parameters
    ----------
    network : Network
        A canonical network.
    orders : mapping of str to sequence of int
        By the name of any tensor that has them: which of its channels lies at each place.

    Returns
    -------
    Network
        It computes the same; `network` itself where there are no orders.
    """
    if not orders:
        return network
    rows: Dict[str, NDArray[np.int64]] = {}
    columns: Dict[str, NDArray[np.int64]] = {}
    for channels in free_channels(network):
        name = next((name for name in channels.tensors if name in orders), None)
        if name is None:
            continue
        first = channels.tensors[name].first
        order = np.asarray(orders[name][first : first + channels.size]) - first
        for row in channels.rows:
            _place(rows.setdefault(row.name, np.arange(len(network.params[row.name]))), row.first, order)
        for reader in channels.readers:
            _place(columns.setdefault(reader.node.inputs[1].node.name, np.arange(reader.of)), reader.first, order)
    params: Dict[str, NDArray[Any]] = dict(network.params)
    for name, places in rows.items():
        params[name] = np.ascontiguousarray(params[name][places])
    for name, places in columns.items():
        params[name] = np.ascontiguousarray(in_order(params[name], places.tolist()))
    return Network(network.graph, params)


def _place(places: NDArray[np.int64], first: int, order: NDArray[np.int64]) -> None:
    places[first : first + len(order)] = first + order


def restored(network: Network, orders: Orders) -> Network:
    """Undo :func:`arranged`."""
    return arranged(network, {name: np.argsort(order).tolist() for name, order in orders.items()})
