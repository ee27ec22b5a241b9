"""Cross-layer equalization: channels of one layer get smaller, and the weights of the next layer that read them larger.

Between two layers with nothing but f(s x) = s f(x), s > 0, in between (ReLU, leaky or with slopes of its own, max and
average pooling, Flatten)::

    W1'[i] = W1[i] / s_i      b1'[i] = b1[i] / s_i      W2'[:, i] = W2[:, i] · s_i

compute the same. Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1, which balances the ranges of W1 and W2.
Here each output channel of a weight has a step of its own, so W1 costs nothing; what counts is the one step of the
activation and the steps of W2. With the largest magnitudes a_i of the activation's channels and w_i of W2[:, i],
scales are √(a_i / w_i), or min(1.5 a_i, max a) before a depthwise convolution, whose channels have steps of their own.
A channel that calibration has only seen at 0, or that nothing reads, counts as one of median magnitude: other data may
wake it. Scales are used where they halve the noise that the steps predict, as in :mod:`mxquant.planning.noise`.

A clip to [0, c], as ReLU6 is, knows no scales: on data that calibration has not seen, a channel may reach it. Nothing
is scaled across one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from mxquant.accuracy.step import EXAMPLES, Inputs, ScaleStep
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool, read_int
from mxquant.graph.ir import Use
from mxquant.graph.kinds import LINEAR
from mxquant.runtime.batch import examples_of
from mxquant.runtime.runner import run
from mxquant.stats.collectors import Collector

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Equalization", "equalize"]

_CHANNELS_FIRST = (None, "None", "NCHW")
_WORTH = 0.5
# Channels that all reach the end of the range in calibration would saturate on other data.
_HEADROOM = 1.5
# Scales beyond it would bring float32 near its ends.
_LARGEST = 1e6
_CODES = 127.5


class _Pair(NamedTuple):
    """A layer, the one that reads its result, and the tensors that scales change, the last of which `second` reads."""

    first: Node
    second: Node
    tensors: Tuple[Tensor, ...]


@dataclass(frozen=True)
class Equalization(ScaleStep):
    """The step: :func:`equalize`."""

    name: ClassVar[str] = "cross-layer equalization"
    needs: ClassVar[FrozenSet[str]] = frozenset({EXAMPLES})

    def change(self, network: Network, inputs: Inputs) -> Tuple[Network, FrozenSet[str]]:
        """Return the network with other scales, and the tensors that differ."""
        return equalize(network, inputs)


def equalize(network: Network, inputs: Mapping[str, NDArray[Any]]) -> Tuple[Network, FrozenSet[str]]:
    """Return a network that computes the same, with channels that suit one step for each tensor.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    inputs : mapping of str to numpy.ndarray
        Calibration examples by name of the input.

    Returns
    -------
    tuple of Network and frozenset of str
        The same graph with other weights and biases, and the tensors whose values differ now; `network` itself and
        none where nothing is gained.
    """
    pairs = [pair for pair in (_pair(network, node) for node in network.graph.operators) if pair is not None]
    if not pairs:
        return network, frozenset()
    moments = _ChannelMoments({pair.tensors[-1].name: _channels(pair, network.params) for pair in pairs})
    run(network, [examples_of(inputs).batch], moments, tensors=moments.channels)
    params = dict(network.params)
    changed: Set[str] = set()
    for pair in pairs:
        largest, squares = (found[pair.tensors[-1].name] for found in (moments.largest, moments.squares))
        scales = _scales(pair, params, largest, squares)
        if scales is not None:
            _apply(pair, params, scales)
            changed.update(tensor.name for tensor in pair.tensors)
    return (Network(network.graph, params), frozenset(changed)) if changed else (network, frozenset())


class _ChannelMoments(Collector):
    """The largest magnitude and the mean square of each channel of tensors of which the number of channels is given."""

    def __init__(self, channels: Mapping[str, int]) -> None:
        self.channels = channels
        self.largest: Dict[str, NDArray[np.float64]] = {}
        self.squares: Dict[str, NDArray[np.float64]] = {}

    def observe(self, name: str, array: NDArray[Any]) -> None:
        rows = array.reshape(len(array), self.channels[name], -1)
        self.largest[name] = np.abs(rows).max(axis=(0, 2)).astype(np.float64)
        self.squares[name] = np.einsum("ncs,ncs->c", rows, rows).astype(np.float64) * len(rows[0]) / rows.size

    def __add__(self, other: object) -> _ChannelMoments:
        return NotImplemented

    __radd__ = __add__


def _pair(network: Network, first: Node) -> Optional[_Pair]:
    """Return the pair that begins with a layer, or None where its channels have to stay as they are."""
    if first.op not in LINEAR or (first.op == "FullyConnected" and not read_bool(first, "flatten", True)):
        return None
    uses = network.graph.uses()
    tensors = [first.output]
    while True:
        readers = uses.get(tensors[-1], [])
        if len(readers) != 1 or readers[0].node is None or readers[0].slot:
            return None
        node = readers[0].node
        if node.op in LINEAR:
            break
        if not _keeps_scales(node):
            return None
        tensors.append(node.output)
    pair = _Pair(first, node, tuple(tensors))
    return pair if _fits(network, uses, pair) else None


def _keeps_scales(node: Node) -> bool:
    """Whether a node gives s f(x) for s x, channel by channel, channels staying axis 1."""
    if node.op == "Pooling":
        return node.attrs.get("pool_type", "max") in ("max", "avg") and node.attrs.get("layout") in _CHANNELS_FIRST
    if node.op == "LeakyReLU":
        return node.attrs.get("act_type", "leaky") in ("leaky", "prelu")
    if node.op == "Activation":
        return node.attrs.get("act_type") == "relu"
    return node.op in ("relu", "Flatten", "flatten")


def _fits(network: Network, uses: Mapping[Tensor, List[Use]], pair: _Pair) -> bool:
    first, second, _ = pair
    variables = [*first.inputs[1:], second.inputs[1]]
    if any(v.node.name not in network.params or len(uses[v]) != 1 for v in variables):
        return False
    if any(node.attrs.get("layout") not in _CHANNELS_FIRST for node in (first, second)):
        return False
    channels, weight = _channels(pair, network.params), network.params[second.inputs[1].node.name]
    if second.op == "FullyConnected":
        return read_bool(second, "flatten", True) and weight.shape[1] % channels == 0
    return bool(weight.shape[1] * read_int(second, "num_group", 1) == channels)


def _channels(pair: _Pair, params: Mapping[str, NDArray[Any]]) -> int:
    """Return how many channels the first layer has."""
    return len(params[pair.first.inputs[1].node.name])


def _columns(pair: _Pair, params: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the weight of the second layer as (groups, outputs, channels of a group, places)."""
    weight = params[pair.second.inputs[1].node.name]
    groups = read_int(pair.second, "num_group", 1) if pair.second.op == "Convolution" else 1
    return weight.reshape(groups, len(weight) // groups, _channels(pair, params) // groups, -1)


def _scales(
    pair: _Pair, params: Mapping[str, NDArray[Any]], largest: NDArray[np.float64], squares: NDArray[np.float64]
) -> Optional[NDArray[np.float64]]:
    """Return scales, shape (C,), the largest activation staying as large; None where they gain too little."""
    columns = _columns(pair, params)
    peaks = np.abs(columns).max(axis=3).astype(np.float64)
    reading = peaks.max(axis=1).reshape(-1)
    if not (np.isfinite(largest).all() and largest.any() and reading.any()):
        return None
    values, weights = (np.where(each > 0, each, np.median(each[each > 0])) for each in (largest, reading))
    has_own_steps = columns.shape[2] == 1
    scales = np.minimum(_HEADROOM * values, values.max()) if has_own_steps else np.sqrt(values / weights)
    scales = np.maximum(scales, scales.max() / _LARGEST)
    scales *= (largest / scales).max() / largest.max()
    energy = np.einsum("goik,goik->gi", columns, columns).reshape(-1).astype(np.float64)
    places = columns.shape[3]

    def noise(scales: NDArray[np.float64]) -> float:
        """Return the predicted noise of the second layer's result, in units of 1 / 12."""
        data = ((largest / scales).max() / (2 * _CODES)) ** 2 * (energy * np.square(scales)).sum()
        steps = (peaks * scales.reshape(len(peaks), 1, -1)).max(axis=2) / _CODES
        power = (squares / np.square(scales)).reshape(len(peaks), 1, -1).sum(axis=2) * places
        return float(data + (np.square(steps) * power).sum())

    with np.errstate(over="ignore", invalid="ignore"):
        # What is not finite is never lower.
        worth = noise(scales) < _WORTH * noise(np.ones_like(scales))
    return scales if worth else None


def _apply(pair: _Pair, params: Dict[str, NDArray[Any]], scales: NDArray[np.float64]) -> None:
    for tensor in pair.first.inputs[1:]:
        value = params[tensor.node.name]
        params[tensor.node.name] = value / scales.astype(np.float32).reshape((-1,) + (1,) * (value.ndim - 1))
    columns, name = _columns(pair, params), pair.second.inputs[1].node.name
    product = columns * scales.astype(np.float32).reshape(len(columns), 1, -1, 1)
    params[name] = product.reshape(params[name].shape)
