"""A network: a graph together with the values of its parameters.

Passes that change weights (folding a BatchNorm, equalizing channels) need both. Arrays are shared between networks and
must not be written to; a pass that changes a parameter puts a new array into a new dictionary.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Mapping

import numpy as np

from mxquant.graph.ir import Graph, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Network"]


@dataclass(frozen=True)
class Network:
    """A graph and its parameters.

    Parameters
    ----------
    graph : Graph
        The structure.
    params : mapping of str to numpy.ndarray
        Values of the parameters (arguments and auxiliary states alike) by the name of their variable. Variables
        that are not in it are inputs: data and labels.
    """

    graph: Graph
    params: Mapping[str, NDArray[Any]]

    @property
    def inputs(self) -> List[Node]:
        """The variables that have no value: data and labels, in topological order."""
        return [node for node in self.graph.variables if node.name not in self.params]

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of the network: structure, attributes, names and parameter values."""
        digest = hashlib.sha256()
        digest.update(json.dumps(_structure(self.graph), sort_keys=True).encode())
        for name in sorted(node.name for node in self.graph.variables if node.name in self.params):
            value = np.ascontiguousarray(self.params[name])
            digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
            digest.update(value.data if value.size else b"")
        return digest.hexdigest()

    def copy(self) -> Network:
        """Return a network with a graph of its own and the same arrays."""
        params: Dict[str, NDArray[Any]] = dict(self.params)
        return Network(self.graph.copy(), params)


def _structure(graph: Graph) -> List[object]:
    position = {node: i for i, node in enumerate(graph.nodes)}
    nodes: List[object] = []
    for node in graph.nodes:
        attrs = {key: value for key, value in node.attrs.items() if not key.startswith("__")}
        inputs = [(position[tensor.node], tensor.index) for tensor in node.inputs]
        nodes.append((node.op, node.name, attrs, inputs, [_structure(inner) for inner in node.subgraphs]))
    return [nodes, [(position[tensor.node], tensor.index) for tensor in graph.outputs]]
