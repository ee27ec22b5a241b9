"""How many multiplications each layer takes: those of convolutions and FullyConnected, where nearly all are."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Dict, Mapping

from mxquant.graph import Graph, Network
from mxquant.mxnet_bridge import symbol_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["layer_macs"]


def layer_macs(network: Network, inputs: Mapping[str, NDArray[Any]]) -> Dict[str, int]:
    """Return the multiply-accumulate operations of each layer, by the name of its first layer.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    inputs : mapping of str to numpy.ndarray
        One batch by name of the input; only its shapes count.

    Returns
    -------
    dict of str to int
        For the whole batch; layers of other operators than Convolution, Deconvolution and FullyConnected are left out.
    """
    nodes = [n for n in network.graph.operators if n.op in ("Convolution", "Deconvolution", "FullyConnected")]
    if not nodes:
        return {}
    # Every weight meets each place of the result, or of the data of a Deconvolution.
    places = [node.inputs[0] if node.op == "Deconvolution" else node.output for node in nodes]
    weights = [node.inputs[1] for node in nodes]
    graph = Graph(network.graph.nodes, [*places, *weights], dict(network.graph.attrs)).copy()
    graph.prune()
    symbol = symbol_of(graph)
    values = {**network.params, **inputs}
    known = {name: values[name].shape for name in symbol.list_arguments() if name in values}
    shapes = symbol.infer_shape(**known)[1]
    return {
        node.layers[0]: prod(place) * prod(weight[1:])
        for node, place, weight in zip(nodes, shapes, shapes[len(nodes) :])
    }
