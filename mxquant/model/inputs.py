"""Which variables of a network are data, and which are labels."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Sequence, Tuple

from mxquant.errors import InputError
from mxquant.files.twice import first_twice
from mxquant.graph import Graph

__all__ = ["inputs_of", "names_of"]


def inputs_of(
    graph: Graph,
    params: Mapping[str, Any],
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """Return the names of the data inputs and of the labels of a network: its variables without a value.

    Parameters
    ----------
    graph : Graph
        The network.
    params : mapping of str
        Values, of which only the names count.
    data_names, label_names
        As for :func:`read`.

    Returns
    -------
    tuple of tuple of str
        Data inputs and labels.

    Raises
    ------
    InputError
        If a parameter has no value, or the network has no input of a name.
    """
    free = [node.name for node in graph.variables if node.name not in params]
    labels = tuple(
        name
        for name in free
        if name not in (data_names or ()) and (name in (label_names or ()) or name.endswith("label"))
    )
    if data_names is None:
        likely = [name for name in free if name not in labels]
        parameters = [name for name in likely if _looks_like_parameter(name)]
        if parameters:
            raise InputError(_missing(parameters))
        return tuple(likely), labels
    absent = [name for name in data_names if name not in free]
    if absent:
        raise InputError(f"data_names: the network has no input '{absent[0]}'; its inputs are {', '.join(free)}")
    missing = [name for name in free if name not in data_names and name not in labels]
    if missing:
        raise InputError(_missing(missing))
    return tuple(data_names), labels


def names_of(names: Any, role: str) -> Optional[Sequence[str]]:
    """Return names that a user gives, of which one may be given by itself; raise InputError for anything else."""
    if isinstance(names, str):
        return [names]
    if names is None:
        return None
    listed = list(names) if isinstance(names, Iterable) else [names]
    wrong = next((name for name in listed if not isinstance(name, str)), None)
    if wrong is not None:
        raise InputError(f"{role} is {names!r}, expected names of inputs")
    twice = first_twice(listed)
    if twice is not None:
        raise InputError(f"{role} has '{twice}' twice: {listed}")
    return listed


def _missing(names: Sequence[str]) -> str:
    return f"the network's parameter '{names[0]}' has no value ({len(names)} missing in all); are these its parameters?"


def _looks_like_parameter(name: str) -> bool:
    return name.endswith(("_weight", "_bias", "_gamma", "_beta", "_mean", "_var", "_parameters"))
