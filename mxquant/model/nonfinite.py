"""Parameters that are NaN or infinite: found when a network is read, and refused, or treated as zeros.

Training leaves them in channels that have died. MXNet's ReLU, ``Activation(act_type='relu')``, makes 0 of NaN, so that
a network with such a channel can return the right numbers in fp32; its ``relu``, ``maximum`` and ``clip`` keep NaN, and
zeros repair the network. Int8 has no NaN: the whole row of codes would be noise, and ONNX runtimes keep NaN.

With zeros for the row of weights and its bias, and for what a BatchNorm adds behind it, the channel is 0 before the
ReLU, and 0 behind it as in fp32.
Where something else reads the channel before a ReLU does, such as an addition, zeros would be another network, and are
refused.

An infinite constant that is no parameter of a layer, such as the mask of attention, is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool, read_float, read_int
from mxquant.shown import logger

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TREATMENTS", "check_folded", "finite"]

TREATMENTS = ("raise", "zero")
# Which axis of a layer's weight has a row for each channel of the result.
_ROW_AXES = {"Convolution": 0, "FullyConnected": 0, "Deconvolution": 1}
_BATCH_NORMS = ("BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm")
_LAYERS = frozenset({*_ROW_AXES, *_BATCH_NORMS, "RNN", "Embedding", "LayerNorm", "InstanceNorm", "GroupNorm"})
# What a dead channel may pass on its way to a ReLU, those first that keep its number.
_KEEPING = frozenset({"Pooling", "Dropout", "_copy", "identity", "BlockGrad", "Pad", "pad", "LRN", "UpSampling"})
_MOVING = frozenset({"Reshape", "reshape", "Flatten", "flatten", "transpose", "SwapAxis", "expand_dims", "Concat"})

Rows = Optional[FrozenSet[int]]
_log = logger(__name__)


def finite(network: Network, treatment: str) -> Tuple[Network, str]:
    """Return a network whose layers have finite parameters, and what was changed for it.

    Parameters
    ----------
    network : Network
        The user's network.
    treatment : {'raise', 'zero'}
        What to do about rows that are not finite: refuse them, or treat them as zeros.

    Raises
    ------
    InputError
        Naming the layer, the parameter and its rows.
    """
    if treatment not in TREATMENTS:
        raise InputError(f"nonfinite_params is {treatment!r}, expected one of {', '.join(map(repr, TREATMENTS))}")
    found = _nonfinite(network)
    if not found:
        return network, ""
    if treatment == "raise":
        node, tensor = found[0]
        raise InputError(
            f"{_described(network, node, tensor)}; train or repair the network, or pass nonfinite_params='zero', which "
            "treats rows as zeros that a ReLU hides"
        )
    zeroing = _Zeroing(network)
    zeroed = zeroing.zeroed()
    left = _nonfinite(zeroed)
    if left:
        raise InputError(f"{_described(network, *left[0])}, which cannot be zeros; train or repair the network")
    return zeroed, f"rows that are zeros: {', '.join(zeroing.told)}"


def check_folded(network: Network, known: Mapping[str, Any]) -> None:
    """Refuse weights that folding has made NaN or infinite; those of the network before, `known`, are finite."""
    changed = {name: value for name, value in network.params.items() if known.get(name) is not value}
    found = _nonfinite(Network(network.graph, changed))
    if found:
        raise InputError(
            f"{_described(network, *found[0])} after folding into it what stands behind it; is a variance negative, or "
            "a product too large?"
        )


def _nonfinite(network: Network) -> List[Tuple[Node, Tensor]]:
    """Return parameters that are not finite, each with who reads it, in the order of the graph."""
    finite = {name: _is_finite(value) for name, value in network.params.items()}
    if all(finite.values()):
        return []
    return [
        (node, tensor)
        for node in network.graph.operators
        for tensor in node.inputs
        if tensor.node.is_variable
        and not finite.get(tensor.node.name, True)
        and (node.op in _LAYERS or bool(np.isnan(network.params[tensor.node.name]).any()))
    ]


def _is_finite(value: NDArray[Any]) -> bool:
    if value.dtype.kind != "f" or not value.size:
        return True
    # Neither a sum nor the ends need memory of the size of the array, and all are NaN where anything is. A sum may
    # overflow by itself, but takes less time.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(value.sum()) or (np.isfinite(value.min()) and np.isfinite(value.max())))


def _described(network: Network, node: Node, tensor: Tensor) -> str:
    value = network.params[tensor.node.name]
    axis = _axis(node, tensor)
    bad = sorted(_rows(value, axis)) if value.ndim else [0]
    count = value.shape[axis] if value.ndim else 1
    shown = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
    return (
        f"layer '{node.name}' ({node.op}): its parameter '{tensor.name}' has NaN or infinities in {len(bad)} of "
        f"{count} rows ({shown})"
    )


def _axis(node: Node, tensor: Tensor) -> int:
    return _ROW_AXES.get(node.op, 0) if len(node.inputs) > 1 and node.inputs[1] == tensor else 0


def _rows(value: NDArray[Any], axis: int = 0) -> FrozenSet[int]:
    rows = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
    return frozenset(np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist())


def _is_relu(node: Node) -> bool:
    """Whether an operator hides NaN, or would make 0 of a channel of zeros where fp32 has NaN."""
    if node.op == "Activation":
        return node.attrs.get("act_type") == "relu"
    if node.op in ("_maximum_scalar", "_npi_maximum_scalar"):
        return read_float(node, "scalar", 0.0) == 0
    return node.op in ("relu", "_npx_relu") or (node.op == "clip" and read_float(node, "a_min", -1.0) == 0)


class _Zeroing:
    """One walk over a network, on which dead channels are followed to the ReLU that hides them."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.params: Dict[str, NDArray[Any]] = dict(network.params)
        self.uses = network.graph.uses()
        self.dead: Dict[Tensor, Rows] = {}
        self.told: List[str] = []

    def zeroed(self) -> Network:
        for node in self.network.graph.operators:
            if node.op in _ROW_AXES:
                self._layer(node)
            elif node.op in _BATCH_NORMS:
                self._batch_norm(node)
            elif node.op == "Embedding":
                self._fill(node.inputs[1], self._own(node, node.inputs[1:]), 0)
                self._tell(node, self._own(node, node.inputs[1:]))
            elif any(tensor in self.dead for tensor in node.inputs):
                self._follow(node)
        return Network(self.network.graph, self.params)

    def _own(self, node: Node, tensors: List[Tensor]) -> FrozenSet[int]:
        """Return the rows that are not finite in any of a layer's parameters, as the user has them."""
        values: Mapping[str, Any] = self.network.params
        known = [tensor for tensor in tensors if tensor.node.is_variable and tensor.node.name in values]
        return frozenset().union(*(_rows(values[t.node.name], _axis(node, t)) for t in known))

    def _layer(self, node: Node) -> None:
        if node.inputs[0] in self.dead:
            raise self._refusal(node)
        rows = self._own(node, node.inputs[1:])
        if rows:
            self._zero(node, rows)
            self.dead[node.output] = rows

    def _zero(self, node: Node, rows: FrozenSet[int]) -> None:
        weight = self.params.get(node.inputs[1].node.name)
        axis = _axis(node, node.inputs[1])
        if weight is None or len(rows) == weight.shape[axis] or (axis and read_int(node, "num_group", 1) > 1):
            raise InputError(f"{self._first(node)}, and no row that could be zeros beside others")
        for tensor in node.inputs[1:]:
            self._fill(tensor, rows, 0, _axis(node, tensor))
        self._tell(node, rows)

    def _tell(self, node: Node, rows: FrozenSet[int]) -> None:
        if rows:
            self.told.append(f"{', '.join(map(str, sorted(rows)))} of '{node.name}'")
            _log.warning("layer '%s': rows that are not finite are treated as zeros: %s", node.name, sorted(rows))

    def _batch_norm(self, node: Node) -> None:
        before = self.dead.get(node.inputs[0], frozenset())
        gamma, beta, mean, variance = node.inputs[1:5]
        fixed = read_bool(node, "fix_gamma", True)
        own = self._own(node, [beta, mean, variance] if fixed else [gamma, beta, mean, variance])
        if before is None:
            raise self._refusal(node)
        if fixed:
            self._fill(gamma, self._own(node, [gamma]), 1)
        if not (before or own):
            return
        if fixed and own - before:
            # Its channel is 0 only where the layer before it makes it 0.
            maker = node.inputs[0].node
            if maker.op not in _ROW_AXES or len(self.uses[node.inputs[0]]) > 1:
                raise InputError(f"{self._first(node)}, which with fix_gamma=True cannot be zeros")
            self._zero(maker, own - before)
        self._tell(node, own)
        for tensor, value in ((beta, 0), (mean, 0), (variance, 1), *(() if fixed else ((gamma, 0),))):
            self._fill(tensor, before | own, value)
        self.dead[node.output] = before | own

    def _fill(self, tensor: Tensor, rows: FrozenSet[int], number: int, axis: int = 0) -> None:
        name = tensor.node.name
        if not rows or name not in self.params:
            return
        if len(self.uses[tensor]) > 1:
            raise InputError(f"parameter '{name}' has rows that are not finite, and is shared by layers; repair it")
        value = self.params[name].copy()
        np.moveaxis(value, axis, 0)[sorted(rows)] = number
        self.params[name] = value

    def _follow(self, node: Node) -> None:
        if _is_relu(node):
            return
        if node.op not in _KEEPING | _MOVING:
            raise self._refusal(node)
        rows: Set[int] = set()
        keeping = node.op in _KEEPING
        for tensor in node.inputs:
            known = self.dead.get(tensor, frozenset())
            keeping = keeping and known is not None
            rows |= known or frozenset()
        for index in range(node.num_outputs):
            self.dead[Tensor(node, index)] = frozenset(rows) if keeping else None

    def _first(self, node: Node) -> str:
        found = next((pair for pair in _nonfinite(self.network) if pair[0] is node), None)
        return _described(self.network, *(found or _nonfinite(self.network)[0]))

    def _refusal(self, node: Node) -> InputError:
        return InputError(
            f"{self._first(node)}; layer '{node.name}' ({node.op}) reads them before a ReLU hides them, so that zeros "
            "would be another network; train or repair it"
        )
