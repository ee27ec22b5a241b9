"""Which channels each tensor of a network is made of: a sequence of segments.

A layer gives its result one segment. A Concat along the channels joins the sequences of its inputs; what treats all
channels alike hands its input's on. A sum of two tensors makes their segments the same, pair by pair; so does a
depthwise convolution, whose result has the channels that it reads ::

    x = (s1)   y = (s2)   Concat(x, y) = (s1, s2)   Concat(x, y) + z, z = (s3, s4):  s1 = s3, s2 = s4

Segments are *fixed*, in their order and number, where anything sees their channels by itself: what feeds and reads the
network, operators that are not known here, sums of sequences that do not fit, and a Concat that has one of them twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Sequence, Set

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool, read_int
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.alike_channels import axis_of, is_alike, is_channel_first, looks_at_images

__all__ = ["Given", "Made", "Read", "Segment", "Walk"]

# Of two tensors with the same channels; one of another number of channels leaves no common one.
_TOGETHER = tuple(f"{kind}_{name}" for kind in ("elemwise", "broadcast") for name in ("add", "sub", "mul"))
_CONCATS = ("Concat", "concat")
_FLATTENS = ("Flatten", "flatten")
_SECOND, _LAST = 1, -1
_ROW = 2
# What the parameters of a BatchNorm are for a channel of zeros: gamma, beta, mean, variance.
_NEUTRAL = (1.0, 0.0, 0.0, 1.0)


@dataclass(eq=False)
class Segment:
    """Channels that belong together."""

    size: Optional[int] = None
    fixed: bool = False
    # Which axis layers take for that of the channels: the second or the last one.
    axes: Set[int] = field(default_factory=set)
    same: Optional[Segment] = None

    def root(self) -> Segment:
        """Return the segment that stands for all that were found to be the same."""
        found = self
        while found.same is not None:
            found = found.same
        return found

    def join(self, other: Segment) -> None:
        """Make two segments the same."""
        one, two = self.root(), other.root()
        if one is two:
            return
        if None not in (one.size, two.size) and one.size != two.size:
            one.fixed = two.fixed = True
            return
        one.size = two.size if one.size is None else one.size
        one.fixed = one.fixed or two.fixed
        one.axes |= two.axes
        two.same = one


class Given(NamedTuple):
    """A parameter with a row for each channel of a tensor, and what it is for a channel of zeros."""

    tensor: Tensor
    name: str
    length: int
    neutral: float


class Made(NamedTuple):
    """A layer and what it makes."""

    tensor: Tensor
    node: Node


class Read(NamedTuple):
    """A layer, what it reads, and how many columns its weight has."""

    tensor: Tensor
    node: Node
    columns: int
    flat: bool


class Walk:
    """The segments of all tensors of a canonical network, and what belongs to them."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.sequences: Dict[Tensor, List[Segment]] = {}
        self.rows: List[Given] = []
        self.layers: List[Made] = []
        self.readers: List[Read] = []
        # How many axes tensors have; those that are rows with one value for each channel, or with a number not known.
        self._ranks: Dict[Tensor, int] = {}
        self._single: Set[Tensor] = set()
        self._flat: Set[Tensor] = set()
        self._reads: Dict[str, int] = {}
        for node in network.graph.operators:
            for tensor in node.inputs:
                self._reads[tensor.name] = self._reads.get(tensor.name, 0) + 1
        for node in network.graph.operators:
            self._add(node)
        for tensor in network.graph.outputs:
            self.fix(tensor)
        # Results beside the first, such as the mean that a BatchNorm returns, have the same channels.
        for tensor in [tensor for tensor in self.sequences if tensor.index]:
            self.fix(tensor.node.output)

    def of(self, tensor: Tensor) -> List[Segment]:
        """Return the segments of a tensor; what a variable holds is seen from outside."""
        if tensor not in self.sequences:
            self.sequences[tensor] = [Segment(fixed=tensor.node.is_variable or tensor.index > 0)]
        return [segment.root() for segment in self.sequences[tensor]]

    def fix(self, tensor: Tensor) -> None:
        """Fix all channels of a tensor."""
        for segment in self.of(tensor):
            segment.fixed = True

    def _add(self, node: Node) -> None:
        rank = self._ranks.get(node.inputs[0]) if node.inputs else None
        if node.op in LINEAR and self._is_parameter(node.inputs[1]):
            self._linear(node, rank)
        elif node.op == "BatchNorm" and read_int(node, "axis", 1) == 1:
            self._hand_on(node)
            self._give(node.output, node.inputs[1:], _NEUTRAL)
            self._look(node.output, _SECOND)
        elif node.op == "LeakyReLU" and len(node.inputs) > 1:
            self._hand_on(node)
            slopes = [tensor for tensor in node.inputs[1:] if self._length(tensor) != 1]
            self._give(node.output, slopes, (0.0,) * len(slopes))
            if slopes:
                self._look(node.output, _SECOND)
        elif is_alike(node, rank):
            self._hand_on(node)
            if looks_at_images(node):
                self._look(node.output, _SECOND)
            self._reshape(node, rank)
        elif node.op in _TOGETHER:
            self._together(node)
        elif node.op in _CONCATS:
            self._concat(node, axis_of(node, "dim", 1, rank))
        else:
            for tensor in [*node.inputs, *(Tensor(node, index) for index in range(node.num_outputs))]:
                self.fix(tensor)

    def _linear(self, node: Node, rank: Optional[int]) -> None:
        data, result = node.inputs[0], node.output
        weight, groups = self.network.params[node.inputs[1].node.name], read_int(node, "num_group", 1)
        depthwise = weight.shape[:2] == (groups, 1) and groups > 1
        self.sequences[result] = self.of(data) if depthwise else [Segment(size=len(weight))]
        flat = node.op == "FullyConnected" and read_bool(node, "flatten", True)
        if not is_channel_first(node) or self._reads[node.inputs[1].name] > 1 or (groups > 1 and not depthwise):
            self.fix(data)
            self.fix(result)
        elif groups == 1:
            self.readers.append(Read(data, node, weight.shape[1], flat))
        axis = _SECOND if flat or node.op == "Convolution" else _LAST
        self._look(data, axis)
        # Of rows of two axes the second is the last one.
        if not flat:
            self._look(result, axis)
        self.layers.append(Made(result, node))
        self._give(result, node.inputs[1:], (0.0, 0.0))
        self._rank(result, _ROW if flat else weight.ndim if node.op == "Convolution" else rank)

    def _hand_on(self, node: Node) -> None:
        """Give a result the channels of the first input."""
        data, result = node.inputs[0], node.output
        self.sequences[result] = self.of(data)
        self._rank(result, self._ranks.get(data))
        for those in (self._single, self._flat):
            if data in those:
                those.add(result)

    def _reshape(self, node: Node, rank: Optional[int]) -> None:
        """Note what an operator makes of the axes behind that of the channels."""
        if node.op == "Pooling" and read_bool(node, "global_pool", False):
            self._single.add(node.output)
        elif node.op in _FLATTENS:
            if rank != _ROW and node.output not in self._single:
                self._flat.add(node.output)
            self._rank(node.output, _ROW)
        elif looks_at_images(node):
            self._single.discard(node.output)

    def _together(self, node: Node) -> None:
        first = node.inputs[0]
        for tensor in node.inputs[1:]:
            self._unify(first, tensor)
        self.sequences[node.output] = self.of(first)
        ranks = [self._ranks.get(tensor) for tensor in node.inputs]
        self._rank(node.output, next((rank for rank in ranks if rank is not None), None))
        if all(tensor in self._single for tensor in node.inputs):
            self._single.add(node.output)
        if any(tensor in self._flat for tensor in node.inputs):
            self._flat.add(node.output)

    def _concat(self, node: Node, axis: Optional[int]) -> None:
        if axis == _SECOND:
            self.sequences[node.output] = [segment for tensor in node.inputs for segment in self.of(tensor)]
        else:
            self._together(node)
        self._single.discard(node.output)
        rank = next((self._ranks[tensor] for tensor in node.inputs if tensor in self._ranks), None)
        self._rank(node.output, rank)
        if axis == _SECOND and all(tensor in self._single for tensor in node.inputs):
            self._single.add(node.output)
        # Rows of unlike numbers of values for each channel may have been joined.
        if axis is None or (axis == _SECOND and any(tensor in self._flat for tensor in node.inputs)):
            self.fix(node.output)
        if axis:
            self._look(node.output, _SECOND)

    def _unify(self, one: Tensor, other: Tensor) -> None:
        first, second = self.of(one), self.of(other)
        if len(first) != len(second):
            self.fix(one)
            self.fix(other)
            return
        for mine, yours in zip(first, second):
            mine.join(yours)
        # Sizes that differ leave what follows them in no common place.
        if any(mine.root() is not yours.root() for mine, yours in zip(first, second)):
            self.fix(one)
            self.fix(other)

    def _look(self, tensor: Tensor, axis: int) -> None:
        for segment in self.of(tensor):
            segment.axes.add(axis)

    def _rank(self, tensor: Tensor, rank: Optional[int]) -> None:
        if rank is not None:
            self._ranks[tensor] = rank

    def _give(self, result: Tensor, tensors: Sequence[Tensor], neutral: Sequence[float]) -> None:
        """Note parameters that go with a tensor; one that is computed, or read elsewhere too, fixes its channels."""
        for tensor, value in zip(tensors, neutral):
            if not self._is_parameter(tensor) or self._reads[tensor.name] > 1:
                self.fix(result)
                continue
            self.rows.append(Given(result, tensor.node.name, self._length(tensor), value))

    def _is_parameter(self, tensor: Tensor) -> bool:
        return tensor.node.is_variable and tensor.node.name in self.network.params

    def _length(self, tensor: Tensor) -> int:
        shape = self.network.params[tensor.node.name].shape if self._is_parameter(tensor) else ()
        return int(shape[0]) if shape else 0
