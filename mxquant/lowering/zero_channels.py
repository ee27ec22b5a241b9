"""Where channels of zeros are put into a network for some of its layers, and which rows and columns that makes.

Each layer needs one such channel in what it reads. Where a Concat gives it channels of several layers, one of these
does, and those are taken that other layers need anyway. The zeros stand behind the channels of the layers that make
them. Where others follow, these would move to the other place of their pairs, see :mod:`mxquant.lowering.saturation`,
so that there are two channels of zeros: each pair stays, or gets a zero for a partner, and nothing saturates that did
not before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Set, Tuple

import numpy as np

from mxquant.graph import Network
from mxquant.lowering.free_channels import Channels, Reader, free_channels
from mxquant.lowering.resting_values import readers_of_zero

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Zeros", "inserted", "removed", "zeros_for"]

_Option = Tuple[Channels, Sequence[Reader]]


@dataclass
class Zeros:
    """Where zeros are put.

    Parameters
    ----------
    rows, columns : dict of str to list of int
        By the names of parameters: before which place of the first and the second axis one is put, in rising order,
        as often as there are zeros.
    neutral : dict of str to float
        What stands in these rows for a channel of zeros.
    layers : dict of str to int
        How many output channels more a layer has.
    anchors : dict of str to int
        The column, of those that are put in, of which a layer that needs one can count on reading 0: its place in the
        new weight.
    """

    rows: Dict[str, List[int]] = field(default_factory=dict)
    columns: Dict[str, List[int]] = field(default_factory=dict)
    neutral: Dict[str, float] = field(default_factory=dict)
    layers: Dict[str, int] = field(default_factory=dict)
    anchors: Dict[str, int] = field(default_factory=dict)


def zeros_for(network: Network, wanted: Set[str]) -> Zeros:
    """Return where zeros are put so that layers read some.

    Parameters
    ----------
    network : Network
        A canonical network.
    wanted : set of str
        Names of layers; those that cannot read channels of zeros get none.
    """
    zeros = Zeros()
    resting = _chosen(network, wanted) if wanted else []
    for channels, _ in resting:
        _add(zeros, network, channels)
    for parameters in (zeros.rows, zeros.columns):
        for places in parameters.values():
            places.sort()
    for channels, readers in resting:
        for node, first, _ in readers:
            place = first + channels.size
            zeros.anchors.setdefault(node.name, place + zeros.columns[node.inputs[1].node.name].index(place))
    return zeros


def _chosen(network: Network, wanted: Set[str]) -> List[_Option]:
    options: Dict[str, List[_Option]] = {}
    for channels, readers in readers_of_zero(network, free_channels(network)):
        for name in {reader.node.name for reader in readers} & wanted:
            options.setdefault(name, []).append((channels, [each for each in readers if each.node.name in wanted]))
    found: Dict[Channels, _Option] = {}
    # Where there is no choice, it comes first.
    for name in sorted(options, key=lambda name: (len(options[name]), name)):
        if not any(channels in found for channels, _ in options[name]):
            found[options[name][0][0]] = options[name][0]
    return list(found.values())


def _add(zeros: Zeros, network: Network, channels: Channels) -> None:
    followed = any(first + channels.size < of for _, first, of in channels.readers)
    count = 2 if followed else 1
    for row in channels.rows:
        zeros.rows.setdefault(row.name, []).extend([row.first + channels.size] * count)
        zeros.neutral[row.name] = row.neutral
    for node in channels.layers:
        zeros.layers[node.name] = zeros.layers.get(node.name, 0) + count
    for node, first, of in channels.readers:
        name = node.inputs[1].node.name
        each = network.params[name].shape[1] // of
        zeros.columns.setdefault(name, []).extend([(first + channels.size) * each] * count * each)


def inserted(values: NDArray[Any], places: Sequence[int], axis: int, value: float = 0.0) -> NDArray[Any]:
    """Return values with a number put in before places of an axis, in rising order."""
    return np.insert(values, np.asarray(places, np.int64), values.dtype.type(value), axis=axis)


def removed(values: NDArray[Any], places: Sequence[int], axis: int) -> NDArray[Any]:
    """Undo :func:`inserted`."""
    return np.delete(values, np.asarray(places, np.int64) + np.arange(len(places)), axis=axis)
