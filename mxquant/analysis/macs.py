"""How many multiplications each layer takes: those of products of matrices, where nearly all are."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Tuple

from mxquant.graph import Graph, Network, Node
from mxquant.graph.attributes import read_bool, read_int
from mxquant.graph.packed_recurrent import GATES, directions_of
from mxquant.runtime.mxnet_bridge import semantics, symbol_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["layer_macs"]

Shape = Tuple[int, ...]


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
        For the whole batch; only convolutions, FullyConnected, recurrent layers, and products of two tensors.
    """
    nodes = [node for node in network.graph.operators if node.op in _COUNTS]
    if not nodes:
        return {}
    tensors = [tensor for node in nodes for tensor in (node.output, *node.inputs)]
    graph = Graph(network.graph.nodes, tensors, dict(network.graph.attrs)).copy()
    graph.prune()
    symbol = symbol_of(graph)
    values = {**network.params, **inputs}
    known = {name: values[name].shape for name in symbol.list_arguments() if name in values}
    with semantics(network.graph):
        shapes = iter(symbol.infer_shape(**known)[1])
    counts: Dict[str, int] = {}
    for node in nodes:
        result, *read = [next(shapes) for _ in (node.output, *node.inputs)]
        counts[node.layers[0]] = _COUNTS[node.op](node, result, read)
    return counts


def _weights(node: Node, result: Shape, read: List[Shape]) -> int:
    """Every weight meets each place of the result."""
    return prod(result) * prod(read[1][1:])


def _deconvolution(node: Node, result: Shape, read: List[Shape]) -> int:
    """Every weight meets each place of the data."""
    return prod(read[0]) * prod(read[1][1:])


def _product(node: Node, result: Shape, read: List[Shape]) -> int:
    return prod(result) * read[0][-2 if read_bool(node, "transpose_a", False) else -1]


def _scores(node: Node, result: Shape, read: List[Shape]) -> int:
    """Each score is a product of a query and a key of one head; interleaved with values they are a third."""
    parts = 3 if "selfatt" in node.op else 1
    return prod(result) * read[0][-1] // (read_int(node, "heads", 1) * parts)


def _attended(node: Node, result: Shape, read: List[Shape]) -> int:
    """Each result is a product of one row of weights and the values."""
    return prod(result) * read[1][-1]


def _recurrent(node: Node, result: Shape, read: List[Shape]) -> int:
    """Every weight but the biases, of which each gate has two, meets each step of each example."""
    gates = GATES.get(node.attrs.get("mode", ""), 1)
    biases = 2 * gates * directions_of(node) * read_int(node, "num_layers", 1) * read_int(node, "state_size", 0)
    return (prod(read[1]) - biases) * read[0][0] * read[0][1]


_COUNTS: Dict[str, Callable[[Node, Shape, List[Shape]], int]] = {
    "Convolution": _weights,
    "FullyConnected": _weights,
    "Deconvolution": _deconvolution,
    "RNN": _recurrent,
    "dot": _product,
    "batch_dot": _product,
    "_npi_matmul": _product,
    "_contrib_interleaved_matmul_selfatt_qk": _scores,
    "_contrib_interleaved_matmul_encdec_qk": _scores,
    "_contrib_interleaved_matmul_selfatt_valatt": _attended,
    "_contrib_interleaved_matmul_encdec_valatt": _attended,
}
