"""Which layers and operators the user's names and wildcards mean."""

from __future__ import annotations

import fnmatch
from typing import Dict, FrozenSet, Iterable, Mapping, Sequence, Set

from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.graph.passes import Canonical

__all__ = ["check_operators", "check_tensors", "excluded_layers", "layers_of", "rewritten_layers"]

_FUSED_OPERATORS = frozenset({"_sg_mkldnn_conv", "_sg_mkldnn_fully_connected"})


def layers_of(canonical: Canonical, fused: Network) -> Dict[str, FrozenSet[str]]:
    """Return the layers that a name stands for: one of the user's, or one that a fusion gave."""
    names = {name: frozenset({name}) for name in canonical.dropped}
    for node in fused.graph.operators:
        names.update({layer: frozenset({layer}) for layer in node.layers})
        names.setdefault(node.name, frozenset(node.layers))
    names.update(canonical.aliases)
    return names


def excluded_layers(
    patterns: Iterable[str], known: Mapping[str, FrozenSet[str]], role: str = "exclude"
) -> FrozenSet[str]:
    """Return the layers that patterns name; raise InputError for one that matches none."""
    excluded: Set[str] = set()
    for pattern in patterns:
        found = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not found:
            raise InputError(f"{role}: no layer is called '{pattern}'{_similar(pattern, known)}")
        excluded.update(*(known[name] for name in found))
    return frozenset(excluded)


def _similar(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(repr(match) for match in close)}?" if close else ""


def check_tensors(names: Iterable[str], known: Set[str], role: str) -> None:
    """Raise InputError for a tensor that the network does not have."""
    for name in names:
        if name not in known:
            raise InputError(f"{role}: no tensor is called '{name}'{_similar(name, known)}")


def check_operators(names: Sequence[str], known: FrozenSet[str]) -> None:
    """Raise InputError for an operator that the network does not have."""
    for name in names:
        if name not in known | _FUSED_OPERATORS:
            raise InputError(f"exclude: the network has no operator '{name}'; it has {', '.join(sorted(known))}")


def rewritten_layers(operators: Sequence[str], canonical: Canonical) -> FrozenSet[str]:
    """Return the layers that are one of some operators in the user's network, and another in canonical form."""
    return frozenset().union(*(canonical.rewritten.get(operator, frozenset()) for operator in operators))
