"""Operators that stay float32 because a length of what they read is not known before the rest of the network is.

An unrolled recurrent layer begins with zeros whose batch is 0, which means unknown: MXNet's Module makes them so. The
length follows backwards, from an operator that adds or multiplies what is made of them and what is made of data.
MXNet's float32 operators find it so, its int8 operators compare shapes without looking, and refuse to be bound.
"""

from __future__ import annotations

from typing import Dict, Mapping, Set

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_tuple
from mxquant.lowering.target import Int8Operator

__all__ = ["of_unknown_lengths", "unknown_lengths"]


def of_unknown_lengths(network: Network, operators: Mapping[Node, Int8Operator]) -> Dict[Node, str]:
    """Return the operators of several tensors of which some have a length that is not known, and why they stay."""
    unknown = unknown_lengths(network)
    if not unknown:
        return {}
    why = "the batch of what it reads is not known before it is computed, which MXNet's int8 operators have to know"
    return {
        node: why
        for node, operator in operators.items()
        if len(_data_of(network, node)) > 1
        and (len(operator.data) > 1 or operator.sum_input is not None)
        and any(tensor in unknown for tensor in node.inputs)
    }


def unknown_lengths(network: Network) -> Set[Tensor]:
    """Return the tensors that have a length which does not follow from what they are computed from."""
    found: Set[Tensor] = set()
    for node in network.graph.operators:
        data = _data_of(network, node)
        begins = not node.inputs and 0 in read_tuple(node, "shape")
        if begins or (data and all(tensor in found for tensor in data)):
            found.update(Tensor(node, index) for index in range(node.num_outputs))
    return found


def _data_of(network: Network, node: Node) -> Set[Tensor]:
    return {tensor for tensor in node.inputs if tensor.node.name not in network.params or not tensor.node.is_variable}
