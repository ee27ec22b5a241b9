"""Poolings whose windows may lie outside the data as a whole, and what may hold the numbers that MXNet returns there.

With ``pooling_convention='full'`` the last window of a pooling begins where its stride says, even beyond the data and
their padding; the largest of no values is -3.4e38 in MXNet. A ReLU behind makes it 0, and the network may well be right
in float32. With ranges that are found at run time, the range of such a tensor is 3.4e38, and all other values get the
code 0. So without calibration nothing may read such a tensor in int8.
"""

from __future__ import annotations

from typing import Dict, FrozenSet

from mxquant.graph import Graph, Node
from mxquant.graph.attributes import read_bool, read_tuple

__all__ = ["may_leave_the_data", "unbounded"]

# What a tensor may hold: nothing that is special, numbers far below 0, or numbers far from 0 on either side.
_FINE, _LOW, _WILD = range(3)
_ENDING: FrozenSet[str] = frozenset({"sigmoid", "tanh", "softsign", "softmax", "log_softmax", "clip", "erf"})
_ENDING_BELOW: FrozenSet[str] = frozenset({"relu", "softrelu", "elu", "selu", "gelu"})
_KEEPING: FrozenSet[str] = frozenset(
    {
        *("Flatten", "Reshape", "expand_dims", "squeeze", "transpose", "SwapAxis", "Concat", "Pooling", "Pad"),
        *("slice", "slice_axis", "SliceChannel", "elemwise_add", "broadcast_add", "add_n", "_plus_scalar", "_copy"),
    }
)


def may_leave_the_data(node: Node) -> bool:
    """Return whether the last window of a pooling may lie beyond the data as a whole.

    Parameters
    ----------
    node : Node
        A Pooling.

    Returns
    -------
    bool
        False where no size of data can do that.
    """
    if node.attrs.get("pooling_convention", "valid") != "full" or read_bool(node, "global_pool", False):
        return False
    kernel, stride, pad = (read_tuple(node, key) for key in ("kernel", "stride", "pad"))
    each = zip(kernel, stride or (1,) * len(kernel), pad or (0,) * len(kernel))
    return any(step > length - edge for length, step, edge in each)


def unbounded(graph: Graph) -> FrozenSet[Node]:
    """Return the operators of a graph whose results may hold numbers for windows outside the data.

    Parameters
    ----------
    graph : Graph
        Any graph.

    Returns
    -------
    frozenset of Node
        Those poolings, and what hands their numbers on.
    """
    states: Dict[Node, int] = {}
    for node in graph.nodes:
        states[node] = _state(node, max((states[tensor.node] for tensor in node.inputs), default=_FINE))
    return frozenset(node for node, state in states.items() if state)


def _state(node: Node, worst: int) -> int:
    """Return what the result of a node may hold, by the worst of what it reads."""
    if node.op == "Pooling" and node.attrs.get("pool_type", "max") == "max" and may_leave_the_data(node):
        return max(worst, _LOW)
    kind = node.attrs.get("act_type", node.op)
    if worst == _FINE or kind in _ENDING:
        return _FINE
    if kind in _ENDING_BELOW and worst == _LOW:
        return _FINE
    return worst if node.op in _KEEPING else _WILD
