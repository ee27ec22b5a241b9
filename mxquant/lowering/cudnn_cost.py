"""Which layers int8 makes slower on a GPU, by a model of bytes and operations.

MXNet's int8 convolution for GPUs is not the int8 kernel alone: it brings data and result from NCHW to NHWC and back,
and its sums are float32, then int32. Only layers with many products for each value gain from it. The model counts in
bytes that go through the GPU's memory, for each value of a layer's data (in) and result (out):

=================================  ===============================================================
float32 convolution                4 in + 4 out, or its operations if they take longer; 8 out for the bias
int8 convolution                   1 in + 4 out, or its operations; 2 in + 16 out for the order of values; 8 out, bias
FullyConnected                     the same without changes of order, but with its weights, 4 or 1 for each
sums to int8, ReLU                 5 out, 2 out
sums to float32, float32 ReLU      16 out, 8 out
float32 to int8, int8 to float32   5 for each value, once per tensor
pooling, flatten                   4 or 1 for each value in and out
=================================  ===============================================================

A GPU does ``operations_per_byte`` float32 operations while it moves one byte, and four times as many in int8
(``dp4a``): 25 on a Tesla T4 (8.1 Tflop/s, 320 GB/s), 29 on a P4, 23 on a GTX 1080 Ti, by NVIDIA's data sheets. None of
this was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, Sequence, Set

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool
from mxquant.graph.ir import Use
from mxquant.graph.kinds import LINEAR

__all__ = ["OPERATIONS_PER_BYTE", "not_worthwhile"]

OPERATIONS_PER_BYTE = 25.0
# Over how many examples the weights of a FullyConnected are read once.
_BATCH = 8


def not_worthwhile(
    network: Network, int8: Set[Node], sizes: Mapping[str, float], operations_per_byte: float
) -> Dict[Node, str]:
    """Return layers that are faster in float32, conversions included.

    Parameters
    ----------
    network : Network
        The grouped fp32 network.
    int8 : set of Node
        The nodes that would run in int8.
    sizes : mapping of str to float
        How many values the tensors around them have, by name, all for the same examples.
    operations_per_byte : float
        float32 operations of the GPU in the time in which it moves one byte.

    Returns
    -------
    dict of Node to str
        One layer, or several that only together should stay float32, and why; empty where int8 is as good for all.
        To be asked again without these.
    """
    model = _Model(network, network.graph.uses(), sizes, operations_per_byte)
    layers = [node for node in network.graph.operators if node in int8 and node.op in LINEAR]
    single = {node: model.gain(int8, {node}) for node in layers}
    worst = max(single, key=lambda node: single[node], default=None)
    if worst is not None and single[worst] > 0:
        return {worst: _REASON}
    for group in _connected(network, int8):
        if model.gain(int8, group) > 0:
            return {node: _REASON for node in layers if node in group}
    return {}


_REASON = "in int8 it would take longer on a GPU, conversions included"


@dataclass(frozen=True)
class _Model:
    network: Network
    uses: Mapping[Tensor, Sequence[Use]]
    sizes: Mapping[str, float]
    operations_per_byte: float

    def gain(self, int8: Set[Node], removed: Set[Node]) -> float:
        """Return how much less it costs to run `removed` in float32."""
        tensors = {tensor for node in removed for tensor in (*node.inputs[:1], node.output)}
        return self._cost(removed, tensors, int8) - self._cost(removed, tensors, int8 - removed)

    def _cost(self, nodes: Iterable[Node], tensors: Iterable[Tensor], int8: Set[Node]) -> float:
        total = sum(self._node(node, node in int8) for node in nodes)
        for tensor in tensors:
            readers = [use.node for use in self.uses.get(tensor, ())]
            read_int8 = any(reader in int8 for reader in readers)
            read_float = any(reader not in int8 for reader in readers)
            between = _bytes_between(tensor, tensor.node in int8, read_int8, read_float)
            total += self.sizes.get(tensor.name, 0.0) * between
        return total

    def _node(self, node: Node, int8: bool) -> float:
        size_in, size_out = (self.sizes.get(tensor.name, 0.0) for tensor in (node.inputs[0], node.output))
        width = 1 if int8 else 4
        if node.op not in LINEAR:
            return width * (size_in + size_out)
        weight = self.network.params[node.inputs[1].node.name]
        products = int(weight[0].size)
        moved = width * size_in + 4 * size_out
        order = 2 * size_in + 16 * size_out if int8 else 0.0
        if node.op == "FullyConnected":
            moved += width * weight.size * size_in / products / _BATCH
            order = 0.0
        operations = 2 * size_out * products / self.operations_per_byte / (4 if int8 else 1)
        bias = 0.0 if read_bool(node, "no_bias", False) else 8 * size_out
        return float(max(operations, moved) + order + bias)


def _bytes_between(tensor: Tensor, made_int8: bool, read_int8: bool, read_float: bool) -> int:
    """Return the bytes for each value of a tensor between the node that makes it and those that read it."""
    linear, activation = tensor.node.op in LINEAR, bool(tensor.node.subgraphs)
    if not made_int8:
        return (8 if activation else 0) + (5 if read_int8 else 0)
    if linear and not read_int8:
        return 16 + (8 if activation else 0)
    return (5 if linear else 0) + (2 if activation else 0) + (5 if read_float else 0)


def _connected(network: Network, int8: Set[Node]) -> List[Set[Node]]:
    """Return the int8 nodes in groups that hand int8 tensors to each other."""
    groups: List[Set[Node]] = []
    for node in network.graph.operators:
        if node in int8:
            touching = [group for group in groups if any(tensor.node in group for tensor in node.inputs)]
            groups = [group for group in groups if group not in touching]
            groups.append({node}.union(*touching))
    return groups
