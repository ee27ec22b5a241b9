"""LSTM layers put together again, for a target that computes several at once.

The canonical form has each layer by itself (:mod:`mxquant.graph.rules.split_recurrent`), which int8 on CPUs needs.
cuDNN computes the steps of several layers at the same time, so that layers which stay float32 are better together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_int, read_tuple
from mxquant.graph.packed_recurrent import PARAMETERS, STATES, directions_of, pack, unpack
from mxquant.graph.rewriter import Rewriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["join_recurrent"]


def join_recurrent(network: Network) -> Network:
    """Return a network in which layers of one LSTM are one operator again.

    Parameters
    ----------
    network : Network
        A canonical network.

    Returns
    -------
    Network
        The same where there are none. Layers stay apart that begin with states of the user's, or whose states are read.
    """
    if not any(_before(node) for node in network.graph.operators):
        return network
    rewriter = Rewriter.of(network)
    for node in rewriter.graph.operators:
        before = _before(node)
        while before is not None and _can_be_joined(rewriter, before, node):
            _join(rewriter, before, node)
            before = _before(node)
    rewriter.settle()
    return rewriter.network()


def _before(node: Node) -> Optional[Node]:
    """Return the layer before `node` in the LSTM that both are of."""
    if node.op != "RNN" or node.inputs[0].index:
        return None
    source = node.inputs[0].node
    # What is called as a part of this LSTM may be another layer of the user's.
    is_part = source.op == "RNN" and source.name.startswith(f"{node.name}_layer") and _kind(source) == _kind(node)
    return source if is_part else None


def _kind(node: Node) -> Dict[str, str]:
    """Return the attributes that all layers of an LSTM share."""
    return {key: value for key, value in node.attrs.items() if key != "num_layers"}


def _can_be_joined(rewriter: Rewriter, before: Node, node: Node) -> bool:
    zeros = all(each.inputs[slot].node.op == "_zeros" for each in (before, node) for slot in STATES)
    unread = not any(
        rewriter.readers(Tensor(each, index)) for each in (before, node) for index in range(1, each.num_outputs)
    )
    return zeros and unread and len(rewriter.readers(before.output)) == 1


def _join(rewriter: Rewriter, before: Node, node: Node) -> None:
    layers = [layer for each in (before, node) for layer in unpack(each, _vector(rewriter, each))]
    count = sum(read_int(each, "num_layers", 1) for each in (before, node))
    rewriter.redirect(before.output, before.inputs[0])
    rewriter.connect(node, PARAMETERS, rewriter.add_parameter(f"{node.name}_joined", pack(layers)))
    for slot in STATES:
        first, last = (each.inputs[slot].node for each in (before, node))
        shape = (count * directions_of(node), *read_tuple(last, "shape")[1:])
        zeros = Node("_zeros", last.name, {**last.attrs, "shape": str(shape)}, layers=(*first.layers, *last.layers))
        rewriter.connect(node, slot, zeros.output)
    node.attrs["num_layers"] = str(count)
    node.layers = (*before.layers, *node.layers)


def _vector(rewriter: Rewriter, node: Node) -> NDArray[Any]:
    value = rewriter.constant(node.inputs[PARAMETERS])
    assert value is not None
    return value
