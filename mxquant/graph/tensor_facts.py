"""What a graph tells of a tensor without any shape of data: how many axes it has, and whether its values are real.

Both follow from layers whose attributes say it, a 2D kernel or a weight, through operators that keep them. Where
nothing says it, the answer is that it is not known; it is never a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from mxquant.graph.attributes import read_bool, read_tuple
from mxquant.graph.ir import Node, Tensor, depth_first

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Facts", "facts_of", "reduced_axes"]


class Facts(NamedTuple):
    """What is known of a tensor.

    Parameters
    ----------
    rank : int or None
        Number of its axes; None where it is not known.
    real : bool
        Whether its values are known to be of a floating-point type.
    """

    rank: Optional[int] = None
    real: bool = False


_KERNELS: FrozenSet[str] = frozenset({"Convolution", "Deconvolution", "Pooling"})
# Whose result has the axes of the first input. The first compute on real values alone, the others on any.
_REAL_ALIKE: FrozenSet[str] = frozenset(
    {
        *(
            "BatchNorm",
            "_contrib_BatchNormWithReLU",
            "_contrib_SyncBatchNorm",
            "LayerNorm",
            "GroupNorm",
            "InstanceNorm",
        ),
        *("Activation", "LeakyReLU", "LRN", "L2Normalization", "UpSampling", "_contrib_BilinearResize2D"),
        *("sigmoid", "tanh", "softsign", "erf", "softmax", "log_softmax", "_npx_sigmoid", "_npi_tanh"),
    }
)
_ALIKE: FrozenSet[str] = frozenset(
    {
        *("relu", "_npx_relu", "clip", "abs", "square", "sqrt", "exp", "log", "negative"),
        *("_copy", "_np_copy", "identity", "BlockGrad", "MakeLoss", "Dropout"),
        *(f"_{name}_scalar" for name in ("plus", "minus", "rminus", "mul", "div", "maximum", "minimum")),
        *("_npi_maximum_scalar", "_npi_minimum_scalar", "zeros_like", "ones_like"),
        *("Pad", "_npi_pad", "transpose", "_np_transpose", "SwapAxis", "slice", "slice_axis", "slice_like", "reverse"),
        *("depth_to_space", "space_to_depth"),
    }
)
# All inputs of which have the same axes and the same type.
_JOINED: FrozenSet[str] = frozenset(
    {
        *("elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div", "add_n", "Concat", "_npi_concatenate"),
        *("_maximum", "_minimum"),
    }
)
_BROADCAST: FrozenSet[str] = frozenset(
    {
        *(f"broadcast_{name}" for name in ("add", "sub", "mul", "div", "maximum", "minimum")),
        *(f"_npi_{name}" for name in ("add", "subtract", "multiply", "maximum", "minimum")),
    }
)
_REDUCING: FrozenSet[str] = frozenset({"mean", "_npi_mean", "max", "_np_max", "min", "_np_min", "sum", "_np_sum"})
_RESHAPES: FrozenSet[str] = frozenset({"Reshape", "_npx_reshape", "_np_reshape"})


def facts_of(tensor: Tensor, params: Mapping[str, NDArray[Any]]) -> Facts:
    """Return what is known of a tensor.

    Parameters
    ----------
    tensor : Tensor
        Any tensor of a graph.
    params : mapping of str to numpy.ndarray
        Values of variables by name.

    Returns
    -------
    Facts
        Its number of axes, and whether it is real.
    """
    known: Dict[Node, Facts] = {}
    for node in depth_first([tensor.node]):
        if node.is_variable:
            known[node] = _of_variable(node, params.get(node.name))
        else:
            # Further outputs, such as the mean of a BatchNorm, are others; what splits has equal parts.
            known[node] = _of_operator(
                node, [known[each.node] if not each.index else Facts() for each in node.inputs] or [Facts()]
            )
    return known[tensor.node] if not tensor.index else Facts()


def reduced_axes(node: Node, rank: int) -> Optional[FrozenSet[int]]:
    """Return the axes, from 0 on, that a reduction takes away from a tensor of some rank.

    Parameters
    ----------
    node : Node
        A mean, a sum, a largest or smallest value along axes.
    rank : int
        Number of axes of what it reads.

    Returns
    -------
    frozenset of int or None
        The axes; None where one is beyond the rank.
    """
    given = read_tuple(node, "axis")
    if any(not -rank <= axis < rank for axis in given):
        return None
    axes = frozenset(axis % rank for axis in given)
    if not axes:
        return frozenset(range(rank))
    return frozenset(range(rank)) - axes if read_bool(node, "exclude", False) else axes


def _of_variable(node: Node, value: Optional[NDArray[Any]]) -> Facts:
    if value is not None:
        return Facts(value.ndim, np.issubdtype(value.dtype, np.floating))
    shape = read_tuple(node, "__shape__")
    return Facts(len(shape) or None, node.attrs.get("__dtype__") in ("0", "1", "2"))


def _of_operator(node: Node, inputs: Sequence[Facts]) -> Facts:
    first = inputs[0]
    if node.op in _KERNELS:
        kernel = read_tuple(node, "kernel")
        return Facts(len(kernel) + 2 if kernel else first.rank, True)
    if node.op == "FullyConnected":
        return Facts(2 if read_bool(node, "flatten", True) else first.rank, True)
    if node.op == "_contrib_AdaptiveAvgPooling2D":
        return Facts(4, True)
    if node.op == "Flatten":
        return Facts(2, first.real)
    if node.op in _REAL_ALIKE:
        return Facts(first.rank, True)
    if node.op in _ALIKE:
        return first
    if node.op in _JOINED | _BROADCAST:
        return Facts(_joined_rank(node, inputs), any(each.real for each in inputs))
    if node.op in _REDUCING and node.attrs.get("dtype", "None") == "None":
        return Facts(_rank_that_is_left(node, first.rank), first.real)
    if node.op in _RESHAPES:
        return Facts(_rank_of_reshape(node), first.real)
    return Facts()


def _joined_rank(node: Node, inputs: Sequence[Facts]) -> Optional[int]:
    ranks: List[int] = [each.rank for each in inputs if each.rank is not None]
    if node.op in _BROADCAST and len(ranks) < len(inputs):
        return None
    return max(ranks, default=None)


def _rank_that_is_left(node: Node, rank: Optional[int]) -> Optional[int]:
    if rank is None or read_bool(node, "keepdims", False):
        return rank
    axes = reduced_axes(node, rank)
    return None if axes is None else rank - len(axes) or None


def _rank_of_reshape(node: Node) -> Optional[int]:
    """Return the number of lengths where each stands for one axis."""
    codes = read_tuple(node, "newshape" if node.op != "Reshape" else "shape")
    one_each = -2 if node.op == "_npx_reshape" else -1
    return len(codes) if codes and min(codes) >= one_each else None
