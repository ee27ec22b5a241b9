"""Weights as a plan has them: pairs of neighbours below their limits, even codes where weights may be halved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxquant.graph import Network, Node
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.channel_order import arranged, orders_of
from mxquant.lowering.even_weights import even_weight
from mxquant.lowering.memory_order import as_in_memory, in_order
from mxquant.lowering.pairs import limited_weight
from mxquant.lowering.rest_channel import rested
from mxquant.lowering.stored_weights import NEARLY_EVEN, is_symmetric
from mxquant.plan import QuantPlan
from mxquant.runtime.threads import in_parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["in_memory", "planned_weights"]


def planned_weights(network: Network, plan: QuantPlan) -> Network:
    """Return a network whose weights keep what the plan says of them.

    Parameters
    ----------
    network : Network
        The canonical fp32 network, or a part of it.
    plan : QuantPlan
        A plan for it.

    Returns
    -------
    Network
        `network` itself where nothing has to change; else the same graph with other weights.
    """

    def weight(node: Node) -> Optional[NDArray[np.float32]]:
        layer = plan.layers.get(node.layers[0])
        if layer is None or layer.precision != "int8" or node.op not in LINEAR:
            return None
        value: NDArray[Any] = network.params[node.inputs[1].node.name]
        if layer.pair_codes is None:
            return even_weight(node.op, value, layer) if layer.weight_codes == NEARLY_EVEN else None
        symmetric = is_symmetric(plan.target)
        found = limited_weight(node, as_in_memory(layer, value), layer, layer.pair_codes, symmetric)
        if found is None or layer.channel_order is None:
            return found
        return in_order(found, np.argsort(layer.channel_order).tolist())

    nodes = network.graph.operators
    found = zip(nodes, in_parallel(weight, nodes))
    changed = {node.inputs[1].node.name: value for node, value in found if value is not None}
    return Network(network.graph, {**network.params, **changed}) if changed else network


def in_memory(network: Network, plan: QuantPlan) -> Network:
    """Return a network as :func:`planned_weights` does, with channels as they lie in memory, those of zeros too."""
    return rested(arranged(planned_weights(network, plan), orders_of(network, plan)), plan)
