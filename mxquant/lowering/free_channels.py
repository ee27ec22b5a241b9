"""Channels that nothing but a network's own layers sees, and the parameters that go with them.

With x a tensor, V the layer that makes it, W one that reads it, and f what lies between::

    y = W f(V u + b)

The rows of V and b belong to the channels of x, and so do the columns of W. Where f treats all channels alike, their
order and number are free: activations, poolings, additions of two such tensors, BatchNorm and depthwise convolutions,
which have a row for each channel themselves. A Concat joins channels of several layers; those of each keep together,
at one place of what it returns ::

    y = W f(x₁, x₂) = W₁ f(x₁) + W₂ f(x₂)        W = (W₁, W₂)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

from mxquant.graph import Network, Node, Tensor
from mxquant.lowering.channel_segments import Segment, Walk

__all__ = ["Channels", "Place", "Reader", "Row", "free_channels", "whole_orders"]


class Row(NamedTuple):
    """A parameter with a row for each channel, what it is for a channel of zeros, and where the channels begin."""

    name: str
    neutral: float
    first: int


class Place(NamedTuple):
    """Where channels lie in a tensor: the first of them, and how many it has in all."""

    first: int
    of: int


class Reader(NamedTuple):
    """A layer that reads channels, the first of them among all that it reads, and how many these are."""

    node: Node
    first: int
    of: int


@dataclass(frozen=True, eq=False)
class Channels:
    """Channels of tensors, in an order that is free.

    Parameters
    ----------
    size : int
        How many they are.
    tensors : mapping of str to Place
        The tensors that have them, by name, in the order in which they are made.
    rows : tuple of Row
        Parameters whose first axis has a part that belongs to them.
    layers : tuple of Node
        Convolutions and FullyConnected layers that make them; a depthwise convolution makes other channels too, where
        it reads others.
    readers : tuple of Reader
        Convolutions and FullyConnected layers that read them: a part of the second axis of the weight belongs to them,
        with as many columns for each channel as a FullyConnected reads values of it.
    """

    size: int
    tensors: Mapping[str, Place]
    rows: Tuple[Row, ...]
    layers: Tuple[Node, ...]
    readers: Tuple[Reader, ...]


@dataclass
class _Found:
    """What belongs to a segment."""

    tensors: Dict[str, Place] = field(default_factory=dict)
    rows: List[Row] = field(default_factory=list)
    layers: List[Node] = field(default_factory=list)
    readers: List[Reader] = field(default_factory=list)


def free_channels(network: Network) -> List[Channels]:
    """Return the channels of a canonical network that only its own layers see, those that belong together as one."""
    walk = Walk(network)
    totals = {tensor: _total(walk.of(tensor)) for tensor in walk.sequences}
    _fix_misfits(walk, totals)
    found: Dict[Segment, _Found] = {}
    for tensor, total in totals.items():
        for segment, first in _placed(walk.of(tensor)):
            found.setdefault(segment, _Found()).tensors[tensor.name] = Place(first, total)
    for given in walk.rows:
        for segment, first in _placed(walk.of(given.tensor)):
            found[segment].rows.append(Row(given.name, given.neutral, first))
    for made in walk.layers:
        for segment, _ in _placed(walk.of(made.tensor)):
            found[segment].layers.append(made.node)
    for read in walk.readers:
        for segment, first in _placed(walk.of(read.tensor)):
            found[segment].readers.append(Reader(read.node, first, totals[read.tensor]))
    return [
        Channels(segment.size or 0, each.tensors, tuple(each.rows), tuple(each.layers), tuple(each.readers))
        for segment, each in found.items()
        if each.readers
    ]


def whole_orders(parts: Iterable[Tuple[Channels, Sequence[int]]]) -> Dict[str, Tuple[int, ...]]:
    """Return the orders of all channels of tensors.

    Parameters
    ----------
    parts : iterable of (Channels, sequence of int)
        Free channels and their order; others keep their places.

    Returns
    -------
    dict of str to tuple of int
        By the names of all tensors that have some of these channels: which channel lies at each place.
    """
    found: Dict[str, List[int]] = {}
    for channels, order in parts:
        for name, (first, of) in channels.tensors.items():
            whole = found.setdefault(name, list(range(of)))
            whole[first : first + channels.size] = [first + each for each in order]
    return {name: tuple(whole) for name, whole in found.items()}


def _total(segments: Sequence[Segment]) -> int:
    """Return the number of channels of a tensor; 0 where it is not known."""
    sizes = [segment.size for segment in segments]
    return 0 if None in sizes else sum(size for size in sizes if size is not None)


def _fix_misfits(walk: Walk, totals: Mapping[Tensor, int]) -> None:
    """Fix the channels of tensors whose places are not known, or that parameters do not fit."""
    for tensor, total in totals.items():
        segments = walk.of(tensor)
        if not total or len(set(segments)) < len(segments):
            walk.fix(tensor)
    for given in walk.rows:
        if given.length != totals[given.tensor]:
            walk.fix(given.tensor)
    for read in walk.readers:
        total = totals[read.tensor]
        if total and (read.columns % total if read.flat else read.columns != total):
            walk.fix(read.tensor)


def _placed(segments: Sequence[Segment]) -> List[Tuple[Segment, int]]:
    """Return the free ones of a tensor's segments, each with the place of its first channel."""
    placed, first = [], 0
    for segment in segments:
        if not segment.fixed and len(segment.axes) < 2:
            placed.append((segment, first))
        first += segment.size or 0
    return placed
