"""The parameters of MXNet's recurrent layers, which are one vector.

First the weights of each layer, and in it of each direction: that of the data, that of the state. Then the biases in
the same order, two of each. Rows belong to the gates, of an LSTM: input, forget, cell, output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from mxquant.graph.attributes import read_bool, read_int
from mxquant.graph.ir import Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GATES", "PARAMETERS", "STATES", "Direction", "directions_of", "input_size", "pack", "rows_of", "unpack"]

# Which inputs of a recurrent layer are its parameters, and the state and cell that it begins with.
PARAMETERS, STATES = 1, (2, 3)

# How many gates a unit has, by the mode of the layer.
GATES: Mapping[str, int] = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


class Direction(NamedTuple):
    """Parameters of one direction of one layer, of an LSTM: weights of shape (4 units, inputs), biases (4 units,)."""

    of_data: NDArray[Any]
    of_state: NDArray[Any]
    bias_of_data: NDArray[Any]
    bias_of_state: NDArray[Any]


def directions_of(node: Node) -> int:
    """Return 2 for a layer that reads its data from both ends, else 1."""
    return 2 if read_bool(node, "bidirectional", False) else 1


def input_size(node: Node, length: int) -> Optional[int]:
    """Return how many values each step of the data has, given the length of the vector; None where none fits."""
    units, layers, directions = read_int(node, "state_size", 0), read_int(node, "num_layers", 1), directions_of(node)
    if units < 1 or layers < 1:
        return None
    rows = _gates(node) * units * directions
    # Biases, weights of states, and those of the data of all layers but the first.
    rest = length - rows * (2 * layers + units * layers + (layers - 1) * directions * units)
    return rest // rows if rest > 0 and rest % rows == 0 else None


def unpack(node: Node, vector: NDArray[Any]) -> List[List[Direction]]:
    """Return the parameters of each layer and direction, as views of the vector, which has to fit."""
    units, layers, directions = read_int(node, "state_size", 0), read_int(node, "num_layers", 1), directions_of(node)
    first = input_size(node, vector.size)
    assert first is not None
    parts, rows = _Parts(vector), _gates(node) * units
    weights = [
        [
            (parts.take(rows, first if layer == 0 else directions * units), parts.take(rows, units))
            for _ in range(directions)
        ]
        for layer in range(layers)
    ]
    return [[Direction(*pair, parts.take(rows), parts.take(rows)) for pair in layer] for layer in weights]


def rows_of(directions: Sequence[Direction]) -> NDArray[Any]:
    """Return all weights of a layer, a row for each gate and unit, which is what an int8 LSTM has one scale for."""
    return np.concatenate([weight for each in directions for weight in (each.of_data, each.of_state)], axis=1)


def pack(layers: Sequence[Sequence[Direction]]) -> NDArray[np.float32]:
    """Return the vector of the parameters of layers and their directions."""

    def parts() -> Iterator[NDArray[Any]]:
        for layer in layers:
            for direction in layer:
                yield from (direction.of_data, direction.of_state)
        for layer in layers:
            for direction in layer:
                yield from (direction.bias_of_data, direction.bias_of_state)

    vector: NDArray[np.float32] = np.concatenate([part.ravel() for part in parts()]).astype(np.float32)
    return vector


def _gates(node: Node) -> int:
    return GATES.get(node.attrs.get("mode", ""), 1)


class _Parts:
    """A vector that is taken piece by piece."""

    def __init__(self, vector: NDArray[Any]) -> None:
        self.vector, self.begin = vector, 0

    def take(self, *shape: int) -> NDArray[Any]:
        begin, self.begin = self.begin, self.begin + int(np.prod(shape))
        return self.vector[begin : self.begin].reshape(shape)
