"""What becomes of a tensor value by value: the functions that it goes through before anything else reads it.

A convolution before x · sigmoid(x) is rounded twice where a runtime has no int8 form of the product: as x, and as what
comes out. Below -8 next to nothing of x comes out, so that no codes need be spent on it. Which codes are best for x is
therefore judged by what they make of the results, as far as these depend on one value of x alone::

    error = Σ over results f, and over x, of (f(x̂) - f(x))²

The results are the last tensors of such functions; x is one itself where something else reads it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence

import numpy as np

from mxquant.graph import Graph, Node, Tensor
from mxquant.graph.attributes import read_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Followers"]

Values = Any  # numpy.ndarray of float64
_Compute = Callable[..., Values]


@dataclass(frozen=True)
class Followers:
    """What is computed from a tensor alone, value by value.

    Parameters
    ----------
    tensor : Tensor
        The tensor.
    nodes : list of Node
        What computes, in order.
    results : list of Tensor
        The tensors, perhaps `tensor` among them, that anything else reads.
    """

    tensor: Tensor
    nodes: List[Node]
    results: List[Tensor]

    @classmethod
    def of(cls, graph: Graph, readers: Mapping[Tensor, Sequence[Optional[Node]]], tensor: Tensor) -> Followers:
        """Return those of a tensor of a prepared fp32 graph; `readers` are the nodes that read each, None outputs."""
        nodes: List[Node] = []
        followed = {tensor: None}
        pending = list(graph.operators) if any(map(_is_known, readers.get(tensor, ()))) else []
        for node in pending:
            if node.inputs and all(each in followed for each in node.inputs) and _is_known(node):
                nodes.append(node)
                followed[node.output] = None
        inside = set(nodes)
        results = [each for each in followed if any(node not in inside for node in readers.get(each, (None,)))]
        return cls(tensor, nodes, results)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what values become, from float64 of shape (n,) to shape (results, n)."""
        known: Dict[Tensor, Values] = {self.tensor: values}
        with np.errstate(over="ignore"):
            for node in self.nodes:
                compute = _compute(node)
                assert compute is not None
                known[node.output] = compute(*(known[each] for each in node.inputs))
        return np.stack([known[each] for each in self.results])


def _is_known(node: Optional[Node]) -> bool:
    return node is not None and _compute(node) is not None


def _sigmoid(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))


def _scalar(compute: Callable[[Values, float], Values]) -> Callable[[Node], _Compute]:
    return lambda node: lambda x: compute(x, read_float(node, "scalar", 0.0))


_ACTIVATIONS: Mapping[str, _Compute] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softrelu": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
}
_LEAKY: Mapping[str, Callable[[Values, float], Values]] = {
    "leaky": lambda x, slope: np.where(x > 0, x, slope * x),
    "elu": lambda x, slope: np.where(x > 0, x, slope * np.expm1(np.minimum(x, 0))),
}
_OPERATORS: Mapping[str, Callable[[Node], Optional[_Compute]]] = {
    "Activation": lambda node: _ACTIVATIONS.get(node.attrs.get("act_type", "")),
    "LeakyReLU": lambda node: _leaky(node),
    **{op: lambda node: _ACTIVATIONS["relu"] for op in ("relu", "_npx_relu")},
    **{op: lambda node: _sigmoid for op in ("sigmoid", "_npx_sigmoid")},
    "tanh": lambda node: np.tanh,
    "clip": lambda node: lambda x: np.clip(x, read_float(node, "a_min", 0.0), read_float(node, "a_max", 0.0)),
    "hard_sigmoid": lambda node: (
        lambda x: np.clip(read_float(node, "alpha", 0.2) * x + read_float(node, "beta", 0.5), 0, 1)
    ),
    "_plus_scalar": _scalar(lambda x, scalar: x + scalar),
    "_minus_scalar": _scalar(lambda x, scalar: x - scalar),
    "_rminus_scalar": _scalar(lambda x, scalar: scalar - x),
    "_mul_scalar": _scalar(lambda x, scalar: x * scalar),
    "_div_scalar": _scalar(lambda x, scalar: x / scalar),
    "_maximum_scalar": _scalar(np.maximum),
    "_minimum_scalar": _scalar(np.minimum),
    **{op: lambda node: np.add for op in ("elemwise_add", "broadcast_add")},
    **{op: lambda node: np.subtract for op in ("elemwise_sub", "broadcast_sub")},
    **{op: lambda node: np.multiply for op in ("elemwise_mul", "broadcast_mul")},
}


def _leaky(node: Node) -> Optional[_Compute]:
    compute = _LEAKY.get(node.attrs.get("act_type", "leaky"))
    slope = read_float(node, "slope", 0.25)
    return None if compute is None else lambda x: compute(x, slope)


def _compute(node: Node) -> Optional[_Compute]:
    """Return what a node computes value by value; None where it is not known to do so."""
    found = _OPERATORS.get(node.op)
    return None if found is None or node.subgraphs else found(node)
