"""What a target computes in int8, as data: one row for each kind of operator.

A row holds what a node of its kind has at best: types, scales, zero points, what is fused. A target's functions take
away what a single node cannot have, and say why where nothing is left. ``docs/targets.md`` shows the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, Optional, Tuple

from mxquant.graph import Node
from mxquant.lowering.int8_operator import Int8Operator

__all__ = ["Capability", "by_operator"]


@dataclass(frozen=True)
class Capability:
    """One kind of operator that a target computes in int8.

    Parameters
    ----------
    layer : str
        What it is to the user: MXNet's fp32 operator.
    operators : tuple of str
        What it is in a prepared network.
    int8 : Int8Operator
        The int8 form of a node that meets all conditions. Its `op` is empty where it is the fp32 operator's; its slots
        are those of a node with the fewest inputs.
    fuses : tuple of str
        Operators that are computed within the int8 one, behind it: activations, by their kind, and ``elemwise_add``.
    unsigned : tuple of str
        Activations behind which the result is uint8; some are fused by other versions of MXNet only.
    emits : tuple of str
        The operators that stand for it where the result is no network of MXNet's.
    note : str
        On what conditions.
    """

    layer: str
    operators: Tuple[str, ...]
    int8: Int8Operator
    fuses: Tuple[str, ...] = ()
    unsigned: Tuple[str, ...] = ()
    emits: Tuple[str, ...] = ()
    note: str = ""

    def operator(self, node: Node, **own: Any) -> Int8Operator:
        """Return the int8 form of `node`: the row's, but for the fields that are the node's own."""
        return replace(self.int8, op=self.int8.op or node.op, **own)

    def result(self, activation: Optional[str]) -> str:
        """Return the type of the result behind a fused activation; None for no activation."""
        return "uint8" if activation in self.unsigned else self.int8.result


def by_operator(rows: Iterable[Capability]) -> Dict[str, Capability]:
    """Return the rows of a target by the operators of prepared networks."""
    return {operator: row for row in rows for operator in row.operators}
