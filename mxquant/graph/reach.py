"""What steps from node to node lead to."""

from __future__ import annotations

from typing import Callable, Iterable, List, Set

from mxquant.graph.ir import Node

__all__ = ["reached"]


def reached(
    starts: Iterable[Node], step: Callable[[Node], Iterable[Node]], enters: Callable[[Node], bool]
) -> Set[Node]:
    """Return the nodes that steps lead to from some others, each through such nodes as may be entered alone.

    Parameters
    ----------
    starts : iterable of Node
        Where the ways begin; they are found only where a way leads back to them.
    step : callable
        Returns the nodes next to one, such as those that read it.
    enters : callable
        Whether a way may go to a node, and on from it.
    """
    found: Set[Node] = set()
    pending: List[Node] = list(starts)
    while pending:
        for node in step(pending.pop()):
            if node not in found and enters(node):
                found.add(node)
                pending.append(node)
    return found
