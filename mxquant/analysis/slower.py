"""Which layers are slower in int8 than in float32, on the CPU that this runs on.

A layer that lies between int8 layers needs two conversions more when it is float32, so only those at the ends of a
chain of int8 layers come into question, and of these only those without which the network has no more conversions than
before. Each is tried in the whole network, since a layer that is timed alone finds its data where no other has left
them; both networks take turns. A layer that is left in float32 makes its neighbour the end of the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping, Set

from mxquant.analysis.turns import bound, milliseconds
from mxquant.graph import Graph, Network
from mxquant.plan import QuantPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["slower_layers"]

_CONVERSIONS = frozenset({"_contrib_quantize_v2", "_contrib_dequantize", "_contrib_requantize"})
# By how much the whole network has to be faster with a layer in float32, each time it is measured: less is noise of the
# machine.
_GAIN = 0.02
_REPEATS = 3


def slower_layers(
    network: Network,
    planned: Callable[[Mapping[str, str]], QuantPlan],
    lowered: Callable[[QuantPlan], Network],
    inputs: Mapping[str, NDArray[Any]],
) -> Dict[str, str]:
    """Return the layers without which an int8 network is faster, and has no more conversions.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    planned : callable
        Returns the plan with some layers in float32, given the reason for each.
    lowered : callable
        Returns the int8 network of a plan.
    inputs : mapping of str to numpy.ndarray
        One batch by name of the input.

    Returns
    -------
    dict of str to str
        By name of the layer, the reason with the milliseconds that were measured.
    """
    chosen: Dict[str, str] = {}
    tried: Set[str] = set()
    plan = planned(chosen)
    int8 = lowered(plan)
    while True:
        name = next((name for name in _ends(network.graph, plan) if name not in tried), None)
        if name is None:
            return chosen
        tried.add(name)
        trial = planned({**chosen, name: "tried"})
        other = lowered(trial)
        if _conversions(other) > _conversions(int8):
            continue
        pair = [bound(each, inputs) for each in (int8, other)]
        times = [milliseconds(pair) for _ in range(_REPEATS)]
        if all(after <= (1 - _GAIN) * before for before, after in times):
            before, after = times[-1]
            chosen[name] = f"float32 is faster on this CPU: the network takes {after:.3g} ms instead of {before:.3g} ms"
            plan, int8 = trial, other


def _ends(graph: Graph, plan: QuantPlan) -> Iterator[str]:
    """Yield the int8 layers with weights that read or make float32 tensors, in the order of the network."""
    layer_of = {name: layer for layer in plan.layers.values() for name in layer.contains}
    int8: Dict[str, bool] = {}
    for tensor, uses in graph.uses().items():
        maker = None if tensor.node.is_variable else layer_of[tensor.node.layers[0]]
        for use in uses:
            reader = None if use.node is None else layer_of[use.node.layers[0]]
            if tensor.node.is_variable and use.slot:
                continue
            for layer, neighbour in ((maker, reader), (reader, maker)):
                if layer is not None and layer is not neighbour and not (neighbour and neighbour.precision == "int8"):
                    int8[layer.name] = layer.precision == "int8" and layer.granularity is not None
    return (name for name in plan.layers if int8.get(name))


def _conversions(network: Network) -> int:
    return sum(node.op in _CONVERSIONS for node in network.graph.operators)
