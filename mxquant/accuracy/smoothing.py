"""SmoothQuant: outlier channels of what a LayerNorm makes go, in part, into the weights of the layers that read it.

With one step for the whole tensor x, a few channels that are 20 to 100 times larger than the rest leave the rest a few
codes. For each input channel j of the FullyConnected layers that read x together (queries, keys and values; or the
first of a position-wise network), with their weights W and 0 <= a <= 1::

    s_j = max|x_j|^a / max|W_j|^(1 - a)        x'_j = x_j / s_j        W'_j = W_j · s_j

W' x' = W x. x' costs nothing: gamma and beta of the LayerNorm are divided by s. Where others read x as well, such as
the addition around the layers, they keep x, and the layers get a LayerNorm of their own, with the masks, slices and
the like that are on the way. Source: Xiao et al. 2023, 'SmoothQuant: Accurate and Efficient Post-Training Quantization
for Large Language Models', arXiv:2211.10438, section 4, equations 3 and 4.

The exponent is that of a few for which the steps of x' and of each row of W' predict the least noise; nothing is done
where that is not half of the noise before. Channels that calibration has only seen at 0, or that nothing reads, count
as median ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

import numpy as np

from mxquant.accuracy.step import EXAMPLES, Inputs, ScaleStep
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_float, read_int, read_tuple
from mxquant.graph.ir import Use
from mxquant.runtime.batch import examples_of
from mxquant.runtime.runner import run
from mxquant.stats.collectors import Collector

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SmoothQuant", "smooth", "smoothed_as"]

_ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9)
_WORTH = 0.5
# Scales beyond it would bring float32 near its ends.
_LARGEST = 1e6
_CODES = 127.5
_SUFFIX = "_smoothed"


# Operators that leave channels where they are, the last axis, and those that may do so just before a layer.
_KEEP, _RESHAPE = (
    ("SequenceMask", "transpose", "_np_transpose", "slice_axis"),
    ("Reshape", "reshape", "expand_dims", "squeeze"),
)


class _Group(NamedTuple):
    """A LayerNorm, the FullyConnected layers that read it, and the operators between it and each of them."""

    norm: Node
    layers: Tuple[Node, ...]
    paths: Tuple[Tuple[Node, ...], ...]


@dataclass(frozen=True)
class SmoothQuant(ScaleStep):
    """The step: :func:`smooth`."""

    name: ClassVar[str] = "SmoothQuant"
    needs: ClassVar[FrozenSet[str]] = frozenset({EXAMPLES})

    def change(self, network: Network, inputs: Inputs) -> Tuple[Network, FrozenSet[str]]:
        """Return the network with other scales, and the tensors that differ."""
        return smooth(network, inputs)


def smooth(network: Network, inputs: Mapping[str, NDArray[Any]]) -> Tuple[Network, FrozenSet[str]]:
    """Return a network that computes the same, with fewer outlier channels before FullyConnected layers.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    inputs : mapping of str to numpy.ndarray
        Calibration examples by name of the input.

    Returns
    -------
    tuple of Network and frozenset of str
        The new network, and the tensors that are new in it; `network` itself and none where nothing is gained.
    """
    groups = list(_groups(network))
    if not groups:
        return network, frozenset()
    moments = _LastAxisMoments()
    tensors = {group.norm.output.name for group in groups}
    run(network, [examples_of(inputs).batch], moments, tensors=tensors)
    scales: Dict[str, NDArray[np.float32]] = {}
    for group in groups:
        name = group.norm.output.name
        found = _scales(group, network.params, moments.largest[name], moments.squares[name])
        if found is not None:
            scales[group.norm.name] = found.astype(np.float32)
    return _smoothed(network, groups, scales)


def smoothed_as(network: Network, params: Mapping[str, NDArray[Any]]) -> Network:
    """Return a network smoothed as another one was, whose parameters tell by how much.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    params : mapping of str to numpy.ndarray
        Parameters of what was made of it: an int8 network, or an ONNX model.

    Returns
    -------
    Network
        `network` itself where the other one was not smoothed.
    """
    scales: Dict[str, NDArray[np.float32]] = {}
    groups = list(_groups(network))
    for group in groups:
        names = [tensor.node.name for tensor in group.norm.inputs[1:3]]
        pairs = [(network.params[name], params.get(name + _SUFFIX)) for name in names]
        if any(after is None or after.shape != before.shape for before, after in pairs):
            continue
        ratio = np.ones_like(pairs[0][0])
        for before, after in pairs:
            assert after is not None
            ratio = np.where((ratio == 1) & (after != 0), before / np.where(after == 0, 1, after), ratio)
        scales[group.norm.name] = ratio.astype(np.float32)
    return _smoothed(network, groups, scales)[0]


class _LastAxisMoments(Collector):
    """The largest magnitude and the mean square of each place along the last axis of tensors."""

    def __init__(self) -> None:
        self.largest: Dict[str, NDArray[np.float64]] = {}
        self.squares: Dict[str, NDArray[np.float64]] = {}

    def observe(self, name: str, array: NDArray[Any]) -> None:
        rows = array.reshape(-1, array.shape[-1])
        self.largest[name] = np.abs(rows).max(axis=0).astype(np.float64)
        self.squares[name] = np.einsum("nc,nc->c", rows, rows).astype(np.float64) / len(rows)

    def __add__(self, other: object) -> _LastAxisMoments:
        return NotImplemented

    __radd__ = __add__


def _groups(network: Network) -> Iterator[_Group]:
    """Yield every LayerNorm over the last axis with the layers that can take its scales."""
    uses, params = network.graph.uses(), network.params
    for node in network.graph.operators:
        if node.op != "LayerNorm" or read_int(node, "axis", -1) != -1:
            continue
        if any(tensor.node.name not in params or len(uses[tensor]) != 1 for tensor in node.inputs[1:3]):
            continue
        channels = params[node.inputs[1].node.name].size
        layers: List[Node] = []
        paths: List[Tuple[Node, ...]] = []
        for layer, path in _readers(node.output, uses, ()):
            weight = layer.inputs[1]
            value = params.get(weight.node.name)
            if value is not None and len(uses[weight]) == 1 and value.shape[1] == channels:
                layers.append(layer)
                paths.append(path)
        if layers:
            yield _Group(node, tuple(layers), tuple(paths))


def _readers(
    tensor: Tensor, uses: Mapping[Tensor, List[Use]], path: Tuple[Node, ...]
) -> Iterator[Tuple[Node, Tuple[Node, ...]]]:
    """Yield the FullyConnected layers that read a tensor whose channels are the last axis, and what lies between."""
    for node, slot in uses.get(tensor, []):
        if node is None or slot:
            continue
        if node.op == "FullyConnected":
            yield node, path
        elif node.op in _RESHAPE or (not any(each.op in _RESHAPE for each in path) and _keeps_channels(node)):
            yield from _readers(node.output, uses, (*path, node))


def _keeps_channels(node: Node) -> bool:
    """Whether channels stay the last axis, in their order, and 0 stays 0."""
    if node.op in ("transpose", "_np_transpose"):
        axes = read_tuple(node, "axes")
        return bool(axes) and axes[-1] in (len(axes) - 1, -1)
    return node.op in _KEEP and read_float(node, "value", 0.0) == 0


def _scales(
    group: _Group, params: Mapping[str, NDArray[Any]], largest: NDArray[np.float64], squares: NDArray[np.float64]
) -> Optional[NDArray[np.float64]]:
    """Return scales, shape (C,), the largest channel staying as large; None where they gain too little."""
    weights = [params[node.inputs[1].node.name] for node in group.layers]
    peaks = np.abs(np.concatenate(weights)).max(axis=0).astype(np.float64)
    if not (np.isfinite(largest).all() and np.isfinite(peaks).all() and largest.any() and peaks.any()):
        return None
    energy = sum(np.square(weight, dtype=np.float64).sum(axis=0) for weight in weights)
    values, reading = (np.where(each > 0, each, np.median(each[each > 0])) for each in (largest, peaks))

    def noise(scales: NDArray[np.float64]) -> float:
        """Return the predicted noise of the layers' results, in units of 1 / 12."""
        data = ((largest / scales).max() / _CODES) ** 2 * float((energy * np.square(scales)).sum())
        power = float((squares / np.square(scales)).sum())
        rows = sum(float(np.square(np.abs(w * scales).max(axis=1) / _CODES).sum()) for w in weights)
        return float(data + rows * power)

    best, least = None, _WORTH * noise(np.ones_like(values))
    for alpha in _ALPHAS:
        scales = values**alpha / reading ** (1 - alpha)
        scales = np.maximum(scales, scales.max() / _LARGEST)
        scales *= (largest / scales).max() / largest.max()
        if noise(scales) < least:
            best, least = scales, noise(scales)
    return best


def _smoothed(
    network: Network, groups: List[_Group], scales: Mapping[str, NDArray[np.float32]]
) -> Tuple[Network, FrozenSet[str]]:
    """Return the network with a LayerNorm of their own for the layers of every group that has scales."""
    if not scales:
        return network, frozenset()
    graph, params = network.graph.copy(), dict(network.params)
    named = {node.name: node for node in graph.operators}
    made: Set[str] = set()
    for group in groups:
        if group.norm.name not in scales:
            continue
        norm, by = named[group.norm.name], scales[group.norm.name]
        inputs: List[Tensor] = [norm.inputs[0]]
        for tensor in norm.inputs[1:3]:
            name = tensor.node.name + _SUFFIX
            params[name] = params[tensor.node.name] / by
            inputs.append(Node("null", name).output)
        twin = _named_twin(norm, inputs)
        twins = {group.norm: twin}
        for layer, path in zip(group.layers, group.paths):
            for node in path:
                twins.setdefault(node, _twin(named[node.name], twins[node.inputs[0].node]))
            named[layer.name].inputs[0] = twins[layer.inputs[0].node].output
            weight = layer.inputs[1].node.name
            params[weight] = params[weight] * by
        made.update(each.output.name for each in twins.values())
    graph.prune()
    graph.verify()
    used = {node.name for node in graph.variables}
    return Network(graph, {name: value for name, value in params.items() if name in used}), frozenset(made)


def _twin(node: Node, source: Node) -> Node:
    """Return an operator that does to another tensor what `node` does to its first input."""
    return _named_twin(node, [source.output, *node.inputs[1:]])


def _named_twin(node: Node, inputs: List[Tensor]) -> Node:
    twin = Node(node.op, node.name + _SUFFIX, dict(node.attrs), inputs, node.num_outputs)
    twin.output_names = (node.output.name + _SUFFIX,)
    return twin
