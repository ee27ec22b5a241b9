"""How long each layer of the fp32 network takes."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter
from typing import TYPE_CHECKING, Any, Dict, Mapping

from mxquant.graph import Network
from mxquant.runtime.walk import Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["layer_seconds"]


def layer_seconds(network: Network, inputs: Mapping[str, NDArray[Any]]) -> Dict[str, float]:
    """Return the seconds that each operator of a network takes in float32, alone, by the name of its first layer.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    inputs : mapping of str to numpy.ndarray
        One batch by name of the input.

    Returns
    -------
    dict of str to float
        The shorter of two runs.
    """
    walk = Walk(network, inputs)
    seconds: Dict[str, float] = defaultdict(float)
    while walk.pending and all(t.node.name in walk.known for t in walk.pending[-1].inputs if t.node.is_variable):
        node = walk.pending[-1]
        runs = []
        for _ in range(2):
            start = perf_counter()
            walk.compute(node).wait_to_read()
            runs.append(perf_counter() - start)
        walk.step()
        seconds[node.layers[0]] += min(runs)
    return dict(seconds)
