"""How an int8 network is fed, and how its outputs are nested, as the file of its plan keeps them.

A symbol has its inputs in the order in which its graph reaches them, and without those that nothing reads; its outputs
are one flat list. The file has two fields more, beside the digests of the other files::

    "inputs": ["data0", "data1"], "outputs": [0, [1, 2]]

that is the names of the data inputs in the user's order, and the numbers of the symbol's outputs, in lists as the
user's block returns them; null for one flat list.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant.errors import PlanError
from mxquant.model.inputs import inputs_of
from mxquant.runtime.mxnet_bridge import graph_of

__all__ = ["interface_entries", "nested", "read_interface"]


def interface_entries(inputs: Sequence[str], structure: Any) -> Dict[str, Any]:
    """Return the two fields of the file."""
    return {"inputs": list(inputs), "outputs": structure}


def read_interface(document: Mapping[str, Any], symbol: Any, params: Mapping[str, Any]) -> Tuple[Tuple[str, ...], Any]:
    """Return inputs and the structure of outputs.

    Parameters
    ----------
    document : mapping
        What the file of the plan says.
    symbol : mxnet.symbol.Symbol
        The int8 network.
    params : mapping of str
        Its parameters.

    Returns
    -------
    tuple
        As :class:`~mxquant.QuantizedModel` has them; those of the symbol where the file does not say them.

    Raises
    ------
    PlanError
        If they cannot be those of the symbol.
    """
    structure = document.get("outputs")
    count = len(symbol.list_outputs())
    if structure is not None and _numbers(structure) != list(range(count)):
        raise PlanError(f"outputs is {structure!r:.80}, expected the numbers from 0 to {count - 1} in order, in lists")
    if "inputs" not in document:
        return inputs_of(graph_of(symbol), params)[0], structure
    names = document["inputs"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise PlanError(f"inputs is {names!r:.80}, expected a list of different names")
    valued = [name for name in names if name in params]
    if valued:
        raise PlanError(
            f"inputs has '{valued[0]}', which is a parameter of the network; is the plan another network's?"
        )
    return tuple(names), structure


def nested(structure: Any, values: Sequence[Any]) -> Any:
    """Return values in lists as a structure says."""
    if isinstance(structure, list):
        return [nested(item, values) for item in structure]
    return values[structure]


def _numbers(structure: Any) -> Optional[List[int]]:
    """Return the numbers of a structure in order, or None where it is none."""
    if not isinstance(structure, list):
        whole = isinstance(structure, int) and not isinstance(structure, bool)
        return [structure] if whole else None
    parts = [_numbers(item) for item in structure]
    known = [part for part in parts if part is not None]
    return [number for part in known for number in part] if len(known) == len(parts) else None
