"""Which channels are neighbours, so that pairs of their weights saturate with as little loss as possible.

Where products are added in pairs in int16, two weights of one sign whose codes add up to S > 128 saturate on data of
all 255 codes, see :mod:`mxquant.lowering.saturation`; they are brought down to 128, or the data get fewer codes. Which
weights stand together is free to choose, see :mod:`mxquant.lowering.channel_order`. Channels i and j cost ::

    Σ_o d_o² (S - 128)²     over all weights of i and j of one sign at one place of a kernel, d_o the step of channel o

Channels are taken by what they would cost beside each other one, the largest first, and each gets the cheapest partner
that is left. Then two pairs exchange partners as long as that saves anything; so they do from the given order, and the
cheaper of both is taken. A large weight so finds a small one, or one of the other sign: mostly nothing is left to bring
down.

Behind a Concat channels change places with those of the same layer only, and cost what they do at their place in the
layer that reads them. Where one of them stands beside one of another layer, which takes a layer with an odd number of
channels, they keep their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Tuple
from weakref import finalize

import numpy as np

from mxquant.graph import Network, Node
from mxquant.lowering.free_channels import Channels, free_channels, whole_orders
from mxquant.lowering.pairs import LEAST_LIMIT
from mxquant.lowering.saturation import weight_scales
from mxquant.runtime.threads import in_parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["paired_channels"]


def paired_channels(network: Network, pairs: Callable[[Node], bool]) -> Dict[str, Tuple[int, ...]]:
    """Return the orders of channels with the least loss.

    Parameters
    ----------
    network : Network
        A canonical fp32 network.
    pairs : callable
        Whether the products of a layer, Convolution or FullyConnected, are added in pairs.

    Returns
    -------
    dict of str to tuple of int
        By the names of tensors: which of its channels lies at each place. Tensors without a name here stay as they are.
    """
    free = free_channels(network)
    orders = in_parallel(lambda channels: _known(_read(network, channels, pairs), channels.size), free)
    return whole_orders((channels, order) for channels, order in zip(free, orders) if order is not None)


class _Read(NamedTuple):
    """A weight of which columns from `first` on are read in pairs, of as many as `of`."""

    weight: NDArray[Any]
    first: int
    of: int


# Plans of one network differ in much, but not in this: what was found is kept for as long as its weights exist.
_FOUND: Dict[Tuple[Tuple[int, ...], ...], Optional[Tuple[int, ...]]] = {}


def _read(network: Network, channels: Channels, pairs: Callable[[Node], bool]) -> List[_Read]:
    found = [_Read(network.params[node.inputs[1].node.name], first, of) for node, first, of in channels.readers]
    return [
        each for each, (node, *_) in zip(found, channels.readers) if each.weight.shape[1] == each.of and pairs(node)
    ]


def _known(read: List[_Read], size: int) -> Optional[Tuple[int, ...]]:
    """Return the order of channels that are read, or None for the given one; found once for the same arrays."""
    key = tuple((id(weight), first, of, size) for weight, first, of in read)
    if key not in _FOUND:
        _FOUND[key] = _order(read, size)
        for weight, _, _ in read:
            finalize(weight, _FOUND.pop, key, None).atexit = False
    return _FOUND[key]


def _order(read: List[_Read], size: int) -> Optional[Tuple[int, ...]]:
    from mxquant.lowering._kernels import exchange_partners

    if any(first % 2 or (size % 2 and first + size < of) for _, first, of in read):
        return None  # one stands beside a channel of another layer
    cost = np.zeros((size, size))
    for weight, first, _ in read:
        _add_cost(cost, weight, slice(first, first + size))
    cost += cost.T
    np.fill_diagonal(cost, 0)
    given = np.arange(size)
    if not _total(cost, given):
        return None
    orders = [given, np.array(_matched(cost))]
    for order in orders:
        exchange_partners(cost, order)
    return tuple(min(orders, key=lambda order: _total(cost, order)).tolist())


def _total(cost: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    pairs = len(order) // 2 * 2
    return float(cost[order[0:pairs:2], order[1:pairs:2]].sum())


def _add_cost(cost: NDArray[np.float64], weight: NDArray[Any], columns: slice) -> None:
    """Add that of some columns of one layer, relative to the noise of its rounding."""
    from mxquant.lowering._kernels import excess_of_partners

    scales = weight_scales(weight)
    steps = np.where(scales > 0, 1 / scales.astype(np.float64), 0)
    noise = weight[0].size * float(np.square(steps).sum()) / 12
    parts = weight.reshape(len(weight), weight.shape[1], -1)[:, columns]
    codes = np.clip(np.rint(parts.transpose(0, 2, 1).astype(np.float32) * scales[:, None, None]), -128, 127)
    lines = np.ascontiguousarray(codes).reshape(-1, codes.shape[2])
    counts = np.repeat(np.square(steps) / noise, codes.shape[1]).astype(np.float32)
    excess_of_partners(lines, counts, LEAST_LIMIT, cost)


def _matched(cost: NDArray[np.float64]) -> List[int]:
    """Return channels in an order in which neighbours cost little; the one without a partner comes last."""
    left = np.ones(len(cost), bool)
    order: List[int] = []
    for channel in np.argsort(-cost.sum(axis=1), kind="stable").tolist():
        if not left[channel]:
            continue
        left[channel] = False
        if not left.any():
            return [*order, channel]
        partner = int(np.where(left, cost[channel], np.inf).argmin())
        left[partner] = False
        order += [channel, partner]
    return order
