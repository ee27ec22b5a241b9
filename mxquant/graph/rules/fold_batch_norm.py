"""Fold a BatchNorm into the Convolution, Deconvolution or FullyConnected before it.

At inference a BatchNorm is affine in each channel c, and so is what stands before it::

    s_c = gamma_c / sqrt(var_c + eps)          (gamma_c = 1 where fix_gamma)
    W'_c = s_c · W_c
    b'_c = s_c · (b_c - mean_c) + beta_c       (b_c = 0 where there was no bias)

Computed in float64, stored as float32. Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.

Nothing is folded where the BatchNorm alone does not decide what becomes of the weights: another node reads the output
before it, a parameter has no fixed value, or the channels of the two are not the same axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, FrozenSet, List, Optional

import numpy as np

from mxquant.graph.attributes import read_bool, read_float, read_int
from mxquant.graph.ir import Node, Tensor
from mxquant.graph.rewriter import Rewriter, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FoldBatchNorm"]

_BATCH_NORMS: FrozenSet[str] = frozenset({"BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm"})
_PRODUCERS: FrozenSet[str] = frozenset({"Convolution", "Deconvolution", "FullyConnected"})
_EPS = 1e-3
_WEIGHT, _BIAS = 1, 2


class FoldBatchNorm(Rule):
    """Scale the weights and drop the BatchNorm."""

    name: ClassVar[str] = "fold_batch_norm"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is a BatchNorm right after a layer with weights."""
        return node.op in _BATCH_NORMS and node.inputs[0].node.op in _PRODUCERS

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse what cannot be folded; see the module's docstring."""
        return _refuse_uses(rewriter, node) or _refuse_axis(node) or _refuse_values(rewriter, node)

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Give the producer scaled weights and a bias, and bypass the BatchNorm."""
        producer = node.inputs[0].node
        gamma, beta, mean, variance = (_value(rewriter, tensor) for tensor in node.inputs[1:5])
        if read_bool(node, "fix_gamma", True):
            gamma = np.ones_like(mean)
        scale = gamma / np.sqrt(variance + read_float(node, "eps", _EPS))
        weight = rewriter.constant(producer.inputs[_WEIGHT])
        assert weight is not None
        has_bias = _has_bias(producer)
        bias = _value(rewriter, producer.inputs[_BIAS]) if has_bias else np.zeros_like(mean)
        folded = np.empty_like(weight)
        column = _per_channel(producer, scale, weight.ndim)
        np.multiply(weight, column, out=folded, dtype=np.float64, casting="same_kind")
        _set(rewriter, producer, _WEIGHT, folded, "weight")
        producer.attrs["no_bias"] = "False"
        _set(rewriter, producer, _BIAS, scale * (bias - mean) + beta, "bias")
        producer.layers += node.layers
        producer.output_names = (node.output.name,)
        rewriter.redirect(node.output, producer.output)


def _refuse_uses(rewriter: Rewriter, node: Node) -> Optional[str]:
    producer = node.inputs[0].node
    others = [use.node for use in rewriter.readers(producer.output) if use.node is not node]
    if others:
        reader = f"'{others[0].name}'" if others[0] is not None else "the network's output"
        return f"{reader} reads '{producer.output.name}' as well"
    if any(rewriter.readers(Tensor(node, index)) for index in range(1, node.num_outputs)):
        return "its mean or variance is read as an output"
    return None


def _refuse_axis(node: Node) -> Optional[str]:
    producer = node.inputs[0].node
    axis = read_int(node, "axis", 1)
    layout = producer.attrs.get("layout", "None")
    if producer.op != "FullyConnected":
        if layout not in ("None", "NCW", "NCHW", "NCDHW"):
            return f"'{producer.name}' has layout {layout}; only channel-first convolutions are folded"
        allowed = [1]
    else:
        allowed = [1, -1] if read_bool(producer, "flatten", True) else [-1]
    if axis in allowed:
        return None
    return f"it works on axis {axis}, but the channels of '{producer.name}' are axis {allowed[-1]}"


def _refuse_values(rewriter: Rewriter, node: Node) -> Optional[str]:
    producer = node.inputs[0].node
    if producer.op == "Deconvolution" and read_int(producer, "num_group", 1) != 1:
        return f"'{producer.name}' has groups"
    has_bias = _has_bias(producer)
    own = producer.inputs[_WEIGHT : _BIAS + 1 if has_bias else _BIAS]
    tensors: List[Tensor] = [*own, *node.inputs[1:5]]
    weight = rewriter.constant(own[0])
    channel = 1 if producer.op == "Deconvolution" else 0
    rows = 0 if weight is None else weight.shape[channel]
    for tensor in tensors:
        value = rewriter.constant(tensor)
        if value is None:
            return f"its parameter '{tensor.name}' has no fixed value"
        if value.dtype != np.float32:
            return f"its parameter '{tensor.name}' is {value.dtype}, expected float32"
        if tensor is not own[0] and value.size != rows:
            return f"its parameter '{tensor.name}' has {value.size} values, expected {rows}"
        if not np.isfinite(value).all():
            return f"its parameter '{tensor.name}' holds NaN or infinities"
    variance = _value(rewriter, node.inputs[4])
    if (variance + read_float(node, "eps", _EPS) <= 0).any():
        return f"its variance '{node.inputs[4].name}' plus eps is not positive"
    return None


def _has_bias(producer: Node) -> bool:
    return not read_bool(producer, "no_bias", producer.op == "Deconvolution")


def _per_channel(producer: Node, scale: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """Return a number per output channel in a shape that multiplies the weight."""
    # A Deconvolution's weight has its inputs first, and its outputs second.
    first = (1, -1) if producer.op == "Deconvolution" else (-1,)
    return scale.reshape(first + (1,) * (rank - len(first)))


def _value(rewriter: Rewriter, tensor: Tensor) -> NDArray[Any]:
    value = rewriter.constant(tensor)
    assert value is not None
    return value.astype(np.float64)


def _set(rewriter: Rewriter, node: Node, slot: int, value: NDArray[Any], role: str) -> None:
    rewriter.set_parameter(node, slot, value.astype(np.float32, copy=False), f"{node.name}_{role}")
