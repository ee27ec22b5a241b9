"""Cross-layer equalization: channels of one layer get smaller, and the weights of the next layer that read them larger.

Between two layers with nothing but f(s x) = s f(x), s > 0, in between (ReLU, LeakyReLU, max and average pooling)::

    W1'[i] = W1[i] / s_i      b1'[i] = b1[i] / s_i      W2'[:, i] = W2[:, i] · s_i

compute the same. Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1, which balances the ranges of W1 and W2.
Here each output channel of a weight has a step of its own, so W1 costs nothing; what counts is the one step of the
activation and the steps of W2. With the largest magnitudes a_i of the activation's channels and w_i of W2[:, i],
scales are √(a_i / w_i), or a_i before a depthwise convolution, whose channels have steps of their own. They are used
where they halve the noise that the steps predict, as in :mod:`mxquant.noise`.

A clip to [0, c], as ReLU6 is, knows no scales: on data that calibration has not seen, a channel may reach it. Nothing
is scaled across one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from mxquant.data import Batch
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool, read_int
from mxquant.graph.ir import Use
from mxquant.stats.collectors import Collector
from mxquant.stats.runner import run

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["equalize"]

_LINEAR = ("Convolution", "FullyConnected")
_WORTH = 0.5
# Scales beyond it would bring float32 near its ends.
_LARGEST = 1e6
_CODES = 127.5


class _Pair(NamedTuple):
    """A layer, the one that reads its result, and the tensors that scales change, the last of which `second` reads."""

    first: Node
    second: Node
    tensors: Tuple[Tensor, ...]


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
    moments = _ChannelMoments()
    read = frozenset(pair.tensors[-1].name for pair in pairs)
    run(network, [Batch(dict(inputs), len(next(iter(inputs.values()))))], moments, tensors=read)
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
    """The largest magnitude and the mean square of each channel."""

    def __init__(self) -> None:
        self.largest: Dict[str, NDArray[np.float64]] = {}
        self.squares: Dict[str, NDArray[np.float64]] = {}

    def observe(self, name: str, array: NDArray[Any]) -> None:
        rows = array.reshape(*array.shape[:2], -1)
        self.largest[name] = np.abs(rows).max(axis=(0, 2)).astype(np.float64)
        self.squares[name] = np.einsum("ncs,ncs->c", rows, rows).astype(np.float64) * len(rows[0]) / rows.size

    def __add__(self, other: object) -> _ChannelMoments:
        return NotImplemented

    __radd__ = __add__


def _pair(network: Network, first: Node) -> Optional[_Pair]:
    """Return the pair that begins with a layer, or None where its channels have to stay as they are."""
    if first.op not in _LINEAR or (first.op == "FullyConnected" and not read_bool(first, "flatten", True)):
        return None
    uses = network.graph.uses()
    tensors = [first.output]
    while True:
        readers = uses.get(tensors[-1], [])
        if len(readers) != 1 or readers[0].node is None or readers[0].slot:
            return None
        node = readers[0].node
        if node.op in _LINEAR:
            break
        if not _keeps_scales(node):
            return None
        tensors.append(node.output)
    pair = _Pair(first, node, tuple(tensors))
    return pair if _fits(network, uses, pair) else None


def _keeps_scales(node: Node) -> bool:
    """Whether a node gives s f(x) for s x, channel by channel, channels staying axis 1."""
    if node.op == "Pooling":
        return node.attrs.get("pool_type", "max") in ("max", "avg") and node.attrs.get("layout") in (None, "NCHW")
    if node.op == "LeakyReLU":
        return node.attrs.get("act_type", "leaky") == "leaky"
    return node.op == "relu" or (node.op == "Activation" and node.attrs.get("act_type") == "relu")


def _fits(network: Network, uses: Mapping[Tensor, List[Use]], pair: _Pair) -> bool:
    first, second, _ = pair
    variables = [*first.inputs[1:], second.inputs[1]]
    if any(v.node.name not in network.params or len(uses[v]) != 1 for v in variables):
        return False
    if any(node.attrs.get("layout") not in (None, "None", "NCHW") for node in (first, second)):
        return False
    channels, weight = len(network.params[first.inputs[1].node.name]), network.params[second.inputs[1].node.name]
    if second.op == "FullyConnected":
        return read_bool(second, "flatten", True) and weight.shape[1] % channels == 0
    return bool(weight.shape[1] * read_int(second, "num_group", 1) == channels)


def _columns(pair: _Pair, params: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the weight of the second layer as (groups, outputs, channels of a group, places)."""
    weight = params[pair.second.inputs[1].node.name]
    groups = read_int(pair.second, "num_group", 1) if pair.second.op == "Convolution" else 1
    channels = len(params[pair.first.inputs[1].node.name])
    return weight.reshape(groups, len(weight) // groups, channels // groups, -1)


def _scales(
    pair: _Pair, params: Mapping[str, NDArray[Any]], largest: NDArray[np.float64], squares: NDArray[np.float64]
) -> Optional[NDArray[np.float64]]:
    """Return scales, shape (C,), the largest activation staying as large; None where they gain too little."""
    columns = _columns(pair, params)
    reading = np.abs(columns).max(axis=(1, 3)).reshape(-1).astype(np.float64)
    alive = (largest > 0) & (reading > 0)
    if not alive.any():
        return None
    has_own_steps = columns.shape[2] == 1
    scales = np.ones_like(reading)
    scales[alive] = largest[alive] if has_own_steps else np.sqrt(largest[alive] / reading[alive])
    scales[alive] = np.maximum(scales[alive], scales[alive].max() / _LARGEST)
    scales[alive] *= (largest[alive] / scales[alive]).max() / largest.max()
    before, after = (_noise(columns, largest, squares, each) for each in (np.ones_like(scales), scales))
    return scales if after < _WORTH * before else None


def _noise(
    columns: NDArray[Any], largest: NDArray[np.float64], squares: NDArray[np.float64], scales: NDArray[np.float64]
) -> float:
    """Return the predicted noise of the second layer's result, in units of 1 / 12."""
    groups = columns.shape[0]
    scaled = columns * scales.reshape(groups, 1, -1, 1)
    data = ((largest / scales).max() / (2 * _CODES)) ** 2 * np.square(scaled).sum()
    steps = np.abs(scaled).max(axis=(2, 3)) / _CODES
    power = (squares / np.square(scales)).reshape(groups, -1).sum(axis=1) * columns.shape[3]
    return float(data + (np.square(steps) * power[:, None]).sum())


def _apply(pair: _Pair, params: Dict[str, NDArray[Any]], scales: NDArray[np.float64]) -> None:
    for tensor in pair.first.inputs[1:]:
        value = params[tensor.node.name]
        params[tensor.node.name] = (value / scales.reshape((-1,) + (1,) * (value.ndim - 1))).astype(np.float32)
    columns = _columns(pair, params)
    weight = columns * scales.reshape(len(columns), 1, -1, 1)
    name = pair.second.inputs[1].node.name
    params[name] = weight.reshape(params[name].shape).astype(np.float32)
