"""Lengths of sequences among the inputs of a network: MXNet does not compare them with the sequences.

A length beyond the end of its sequence lets an operator read other memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, FrozenSet, Mapping, NamedTuple, Optional

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_bool, read_int
from mxquant.runtime.sizes import inferred_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_lengths", "inputs_of_lengths"]

_SEQUENCES = ("SequenceMask", "SequenceLast", "SequenceReverse")
# What hands lengths on as they are.
_SAME = ("Cast", "cast", "_copy", "identity", "Reshape", "reshape", "Flatten", "flatten", "expand_dims", "squeeze")


class _Read(NamedTuple):
    """An operator that reads lengths from an input of the network, the data that they are of, and their axis."""

    node: Node
    source: str
    data: Tensor
    axis: int


def check_lengths(network: Network, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise InputError if a length among the inputs is longer than its sequence, or negative.

    Parameters
    ----------
    network : Network
        Any network.
    arrays : mapping of str to numpy.ndarray
        A batch by the name of the input.
    """
    reads = [read for read in map(_read, network.graph.operators) if read is not None and read.source in arrays]
    given = {name: value.shape for name, value in arrays.items()}
    shapes = inferred_shapes(network, given) or {} if reads else {}
    for node, source, data, axis in reads:
        values, shape = arrays[source], shapes.get(data.name)
        if shape is None or not values.size:
            continue
        low, high = float(np.min(values)), float(np.max(values))
        if low < 0 or high > shape[axis]:
            raise InputError(
                f"layer '{node.name}' ({node.op}): input '{source}' has lengths from {low:g} to {high:g}, but its "
                f"sequences have {shape[axis]} steps; give lengths from 0 to {shape[axis]}"
            )


def inputs_of_lengths(network: Network) -> FrozenSet[str]:
    """Return the names of the inputs that are lengths of sequences, one for each example of a batch."""
    reads = map(_read, network.graph.operators)
    return frozenset(read.source for read in reads if read is not None) & {
        each.name for each in network.graph.variables
    }


def _read(node: Node) -> Optional[_Read]:
    if not read_bool(node, "use_sequence_length", False):
        return None
    if node.op in _SEQUENCES and len(node.inputs) > 1:
        return _Read(node, _source(node.inputs[1]), node.inputs[0], read_int(node, "axis", 0))
    if node.op == "RNN":
        return _Read(node, _source(node.inputs[-1]), node.inputs[0], 0)
    return None


def _source(tensor: Tensor) -> str:
    """Return the name of the variable whose values a tensor has, or of what makes it."""
    node = tensor.node
    while node.op in _SAME and node.inputs:
        node = node.inputs[0].node
    return node.name
