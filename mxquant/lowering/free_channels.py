"""Tensors whose channels nothing but a network's own layers sees, and the parameters that go with these channels.

With x a tensor, V the layer that makes it, W one that reads it, and f what lies between::

    y = W f(V u + b)

The rows of V and b belong to the channels of x, and so do the columns of W. Where f treats all channels alike, their
order and number are free: activations, poolings, additions of two such tensors, BatchNorm and depthwise convolutions,
which have a row for each channel themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, NamedTuple, Sequence, Set, Tuple

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool, read_int

__all__ = ["Channels", "Row", "free_channels"]

# Operators that treat all channels of their first input alike.
_ALIKE = (
    *("Activation", "LeakyReLU", "relu", "sigmoid", "tanh", "clip", "abs", "square", "sqrt", "exp", "Pooling"),
    *("Flatten", "flatten", "_mul_scalar", "_plus_scalar", "_minus_scalar", "_div_scalar"),
)
# Of two tensors with the same channels; one of another number of channels leaves no common one.
_TOGETHER = tuple(f"{kind}_{name}" for kind in ("elemwise", "broadcast") for name in ("add", "sub", "mul"))
_LINEAR = ("Convolution", "FullyConnected")
# Of them, those for which the second axis is that of the channels.
_SHAPED = ("Pooling", "Flatten", "flatten")
_SECOND, _LAST = 1, -1
_CHANNELS_FIRST = ("None", "NCW", "NCHW", "NCDHW")
# What the parameters of a BatchNorm are for a channel of zeros: gamma, beta, mean, variance.
_NEUTRAL = (1.0, 0.0, 0.0, 1.0)


class Row(NamedTuple):
    """A parameter with a row for each channel, and what it is for a channel of zeros."""

    name: str
    neutral: float


@dataclass(frozen=True)
class Channels:
    """Tensors that have the same channels, in an order that is free.

    Parameters
    ----------
    size : int
        How many channels they have.
    tensors : frozenset of str
        Their names.
    rows : tuple of Row
        Parameters whose first axis belongs to them.
    layers : tuple of Node
        Convolutions and FullyConnected layers that make them.
    readers : tuple of Node
        Convolutions and FullyConnected layers that read them: the second axis of the weight belongs to them, with as
        many columns for each channel as a FullyConnected reads values of it.
    """

    size: int
    tensors: FrozenSet[str]
    rows: Tuple[Row, ...]
    layers: Tuple[Node, ...]
    readers: Tuple[Node, ...]


@dataclass
class _Group:
    """Channels in the making."""

    tensors: List[Tensor] = field(default_factory=list)
    rows: List[Row] = field(default_factory=list)
    layers: List[Node] = field(default_factory=list)
    readers: List[Node] = field(default_factory=list)
    # Which axis layers take for that of the channels: the second or the last one.
    axes: Set[int] = field(default_factory=set)
    # How many rows parameters have, and columns.
    lengths: Set[int] = field(default_factory=set)
    columns: Set[int] = field(default_factory=set)
    flat: Set[int] = field(default_factory=set)
    fixed: bool = False


def free_channels(network: Network) -> List[Channels]:
    """Return the tensors of a canonical network that only its own layers see, those with the same channels together."""
    groups = _Groups(network)
    for node in network.graph.operators:
        groups.add(node)
    for tensor in network.graph.outputs:
        groups.of(tensor).fixed = True
    # Results beside the first, such as the mean that a BatchNorm returns, have the same channels.
    for tensor in [tensor for tensor in groups.groups if tensor.index]:
        groups.of(tensor.node.output).fixed = True
    found = {id(group): group for group in groups.groups.values() if not group.fixed and group.readers}
    result: List[Channels] = []
    for group in found.values():
        for size in group.lengths if len(group.lengths) == 1 else ():
            if len(group.axes) < 2 and group.columns <= {size} and not any(columns % size for columns in group.flat):
                names = frozenset(tensor.name for tensor in group.tensors)
                parts = (group.rows, group.layers, group.readers)
                result.append(Channels(size, names, *map(tuple, parts)))  # type: ignore[arg-type]
    return result


def _is_channel_first(node: Node) -> bool:
    return node.attrs.get("layout", "None") in _CHANNELS_FIRST


class _Groups:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.groups: Dict[Tensor, _Group] = {}
        self.reads: Dict[str, int] = {}
        for node in network.graph.operators:
            for tensor in node.inputs:
                self.reads[tensor.name] = self.reads.get(tensor.name, 0) + 1

    def of(self, tensor: Tensor) -> _Group:
        """Return the group of a tensor; what a variable holds is seen from outside."""
        if tensor not in self.groups:
            self.groups[tensor] = _Group(tensors=[tensor], fixed=tensor.node.is_variable or tensor.index > 0)
        return self.groups[tensor]

    def add(self, node: Node) -> None:
        if node.op in _LINEAR and self._is_parameter(node.inputs[1]):
            self._linear(node)
        elif node.op == "BatchNorm" and read_int(node, "axis", 1) == 1:
            self._join(node.output, node.inputs[0])
            self._rows(self.of(node.output), node.inputs[1:], _NEUTRAL)
            self.of(node.output).axes.add(_SECOND)
        elif node.op == "LeakyReLU" and len(node.inputs) > 1:
            self._join(node.output, node.inputs[0])
            slopes = [tensor for tensor in node.inputs[1:] if self._length(tensor) != 1]
            self._rows(self.of(node.output), slopes, (0.0,) * len(slopes))
            self.of(node.output).axes.update({_SECOND} if slopes else ())
        elif node.op in _ALIKE and len(node.inputs) == 1 and _is_channel_first(node):
            self._join(node.output, node.inputs[0])
            self.of(node.output).axes.update({_SECOND} if node.op in _SHAPED else ())
        elif node.op in _TOGETHER:
            for tensor in node.inputs:
                self._join(node.output, tensor)
        else:
            for tensor in [*node.inputs, *(Tensor(node, index) for index in range(node.num_outputs))]:
                self.of(tensor).fixed = True

    def _linear(self, node: Node) -> None:
        weight, groups = self.network.params[node.inputs[1].node.name], read_int(node, "num_group", 1)
        if weight.shape[:2] == (groups, 1) and groups > 1:
            self._join(node.output, node.inputs[0])
        data, result = self.of(node.inputs[0]), self.of(node.output)
        flat = node.op == "FullyConnected" and read_bool(node, "flatten", True)
        if not _is_channel_first(node) or self.reads[node.inputs[1].name] > 1:
            data.fixed = result.fixed = True
        elif groups == 1:
            data.readers.append(node)
            (data.flat if flat else data.columns).add(weight.shape[1])
        elif data is not result:
            data.fixed = result.fixed = True
        axis = _SECOND if flat or node.op == "Convolution" else _LAST
        data.axes.add(axis)
        # Of rows of two axes the second is the last one.
        result.axes.update(() if flat else {axis})
        result.layers.append(node)
        self._rows(result, node.inputs[1:], (0.0, 0.0))

    def _rows(self, group: _Group, tensors: Sequence[Tensor], neutral: Sequence[float]) -> None:
        """Note parameters that go with a group; one that is computed, or read elsewhere too, fixes its order."""
        for tensor, value in zip(tensors, neutral):
            if not self._is_parameter(tensor) or self.reads[tensor.name] > 1:
                group.fixed = True
                continue
            group.rows.append(Row(tensor.node.name, value))
            group.lengths.add(self._length(tensor))

    def _join(self, one: Tensor, other: Tensor) -> None:
        first, second = self.of(one), self.of(other)
        if first is second:
            return
        joined = _Group(
            first.tensors + second.tensors,
            first.rows + second.rows,
            first.layers + second.layers,
            first.readers + second.readers,
            first.axes | second.axes,
            first.lengths | second.lengths,
            first.columns | second.columns,
            first.flat | second.flat,
            first.fixed or second.fixed,
        )
        self.groups.update(dict.fromkeys(joined.tensors, joined))

    def _is_parameter(self, tensor: Tensor) -> bool:
        return tensor.node.is_variable and tensor.node.name in self.network.params

    def _length(self, tensor: Tensor) -> int:
        shape: Tuple[int, ...] = self.network.params[tensor.node.name].shape if self._is_parameter(tensor) else ()
        return shape[0] if shape else 0
