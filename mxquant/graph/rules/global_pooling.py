"""Write a mean, or a largest value, over all places of an image as a global pooling, which runs in int8.

With x of shape (N, C, H, W) or (N, C, D, H, W)::

    Pooling(x, global_pool, avg)[n, c, 0, 0] = mean over h, w of x[n, c, h, w]

so that the pooling is the mean with ``keepdims``, and the Flatten of it the mean without. The same holds for the
largest value, for AdaptiveAvgPooling2D to one place, for a mean over one axis and then over the other, and for one over
the last axis behind ``reshape(x, (0, 0, -1))``. The axes of x have to be known; see :mod:`mxquant.graph.tensor_facts`.

A global pooling without a kernel gets one, which nothing reads but those who have to know the axes.
"""

from __future__ import annotations

from typing import ClassVar, Dict, FrozenSet, NamedTuple, Optional, Union

from mxquant.graph.attributes import read_bool, read_tuple
from mxquant.graph.ir import Node, Tensor
from mxquant.graph.rewriter import Rewriter, Rule
from mxquant.graph.tensor_facts import Facts, facts_of, reduced_axes

__all__ = ["GlobalPooling"]

_KINDS: Dict[str, str] = {"mean": "avg", "_npi_mean": "avg", "max": "max", "max_axis": "max", "_np_max": "max"}
_ADAPTIVE = "_contrib_AdaptiveAvgPooling2D"
_RESHAPES: Dict[str, str] = {"Reshape": "shape", "reshape": "shape", "_npx_reshape": "newshape"}
_ROWS_OF_PLACES = {"shape": (0, 0, -1), "newshape": (-2, -2, -1)}


class _Reduction(NamedTuple):
    """What is reduced, over which of its axes, and whether they stay, of length 1."""

    data: Tensor
    facts: Facts
    axes: FrozenSet[int]
    keep: bool


class GlobalPooling(Rule):
    """Replace a reduction over all places."""

    name: ClassVar[str] = "global_pooling"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` reduces axes, or is a global pooling that does not say how many."""
        if node.op == "Pooling":
            return read_bool(node, "global_pool", False) and not read_tuple(node, "kernel")
        return node.op == _ADAPTIVE or node.op in _KINDS

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse axes that are unknown or others, and whole numbers."""
        if node.op == _ADAPTIVE:
            single = set(read_tuple(node, "output_size")) <= {1}
            return None if single else f"its results have the size {node.attrs['output_size']}"
        if node.op == "Pooling":
            rank = facts_of(node.inputs[0], rewriter.params).rank
            return None if rank in (3, 4, 5) else f"how many axes '{node.inputs[0].name}' has is not known"
        found = _reduction(rewriter, node)
        return found if isinstance(found, str) else None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Make `node` a global pooling, with a Flatten behind where its axes go."""
        if node.op in ("Pooling", _ADAPTIVE):
            rank = facts_of(node.inputs[0], rewriter.params).rank if node.op == "Pooling" else 4
            assert rank is not None
            attrs = node.attrs if node.op == "Pooling" else _attributes(node, "avg")
            node.op, node.attrs = "Pooling", {**attrs, "kernel": _kernel(rank)}
            rewriter.modified = True
            return
        found = _reduction(rewriter, node)
        assert isinstance(found, _Reduction) and found.facts.rank is not None
        node.attrs = {**_attributes(node, _KINDS[node.op]), "kernel": _kernel(found.facts.rank)}
        node.op = "Pooling"
        before = node.inputs[0].node
        rewriter.connect(node, 0, found.data)
        if before is not found.data.node and not rewriter.readers(before.output):
            rewriter.stand_in(before, node)
        if not found.keep:
            _flatten(rewriter, node)


def _attributes(node: Node, kind: str) -> Dict[str, str]:
    own = {key: value for key, value in node.attrs.items() if key.startswith("__")}
    return {**own, "pool_type": kind, "global_pool": "True"}


def _kernel(rank: int) -> str:
    return str((1,) * (rank - 2))


def _flatten(rewriter: Rewriter, node: Node) -> None:
    """Let the readers of `node` read its values without the axes of length 1, under the name that they know."""
    known = node.output.name
    node.output_names = (f"{known}_pooled",)
    flat = Node("Flatten", f"{node.name}_flatten", {}, [node.output], output_names=(known,))
    rewriter.insert(node.output, flat.output)
    rewriter.enter(flat, 0, node.output)
    rewriter.stand_in(node, flat)


def _reduction(rewriter: Rewriter, node: Node) -> Union[_Reduction, str]:
    """Return the reduction over all places that `node` is, perhaps with the node before, or why it is none."""
    if node.attrs.get("dtype", "None") != "None":
        return f"its type is {node.attrs['dtype']}"
    found = _own(rewriter, node)
    if found is None:
        return f"how many axes '{node.inputs[0].name}' has is not known"
    wider = _of_reshaped(rewriter, found) or _of_reduced(rewriter, node, found) or found
    if not wider.facts.real:
        return f"'{wider.data.name}' may hold whole numbers"
    if wider.facts.rank not in (4, 5) or wider.axes != frozenset(range(2, wider.facts.rank)):
        return f"it goes over axes {sorted(wider.axes)} of {wider.facts.rank}, which are not all places of an image"
    return wider


def _own(rewriter: Rewriter, node: Node) -> Optional[_Reduction]:
    data = node.inputs[0]
    facts = facts_of(data, rewriter.params)
    axes = None if facts.rank is None else reduced_axes(node, facts.rank)
    return None if axes is None else _Reduction(data, facts, axes, read_bool(node, "keepdims", False))


def _of_reshaped(rewriter: Rewriter, found: _Reduction) -> Optional[_Reduction]:
    """Return the reduction over the places that the node before has put into one row."""
    before = found.data.node
    key = _RESHAPES.get(before.op)
    if key is None or found.keep or found.axes != {2} or read_bool(before, "reverse", False):
        return None
    facts = facts_of(before.inputs[0], rewriter.params)
    if read_tuple(before, key) != _ROWS_OF_PLACES[key] or facts.rank is None:
        return None
    return _Reduction(before.inputs[0], facts, frozenset(range(2, facts.rank)), keep=False)


def _of_reduced(rewriter: Rewriter, node: Node, found: _Reduction) -> Optional[_Reduction]:
    """Return the reduction over the axes of `node` and those of one of the same kind before."""
    before = found.data.node
    if _KINDS.get(before.op) != _KINDS[node.op] or before.attrs.get("dtype", "None") != "None":
        return None
    inner = _own(rewriter, before)
    if inner is None or inner.facts.rank is None or inner.keep != found.keep:
        return None
    left = [axis for axis in range(inner.facts.rank) if inner.keep or axis not in inner.axes]
    return inner._replace(axes=inner.axes | {left[axis] for axis in found.axes})
