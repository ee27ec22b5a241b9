"""Shapes and types of all tensors of a network, and which of their dimensions grow with the batch."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Tuple

from mxquant.errors import InputError
from mxquant.graph import Network, Node, Tensor
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line, tensor_dtypes, tensor_shapes

__all__ = ["Dimension", "Shapes"]

Dimension = Optional[object]
# MXNet's numbers for the types of inputs that the network says to be whole or true.
_KINDS = {"3": "uint8", "4": "int32", "5": "int8", "6": "int64", "7": "bool"}


class Shapes:
    """Shapes of a network's tensors for given inputs.

    Parameters
    ----------
    network : Network
        Any network.
    inputs : mapping of str to tuple of int
        Shapes of its data inputs, the batch first.

    Raises
    ------
    InputError
        If a name or shape does not fit the network.
    """

    def __init__(self, network: Network, inputs: Mapping[str, Tuple[int, ...]]) -> None:
        names = [node.name for node in network.inputs]
        for name, shape in inputs.items():
            if name not in names:
                raise InputError(f"input_shapes: the network has no input '{name}'; its inputs are {', '.join(names)}")
            if not shape or not all(isinstance(length, int) and length > 0 for length in shape):
                raise InputError(f"input_shapes['{name}'] is {shape!r}, expected positive whole numbers")
        self._known = _infer(network, inputs)
        try:
            self._larger = _infer(network, {name: (shape[0] + 1, *shape[1:]) for name, shape in inputs.items()})
        except InputError:
            # The network holds a fixed batch.
            self._larger = self._known
        self._given = {node.name: _KINDS[kind] for node in network.inputs for kind in [_kind(node)] if kind in _KINDS}
        self._dtypes = tensor_dtypes(network, self._given)
        self.batches = {shape[0] for shape in inputs.values()}

    def of(self, tensor: Tensor) -> Tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._known[tensor.name]

    def dtype(self, tensor: Tensor) -> str:
        """Return what a tensor is stored as in ONNX: numbers with a point are float32."""
        dtype = self._dtypes.get(tensor.name, "float32")
        return "float32" if dtype.startswith("float") else dtype

    def symbolic(self, tensor: Tensor) -> List[Dimension]:
        """Return the shape of a tensor, 'N' for the batch and None for what otherwise grows with it."""
        pairs = zip(self._known[tensor.name], self._larger[tensor.name])
        return [a if a == b else "N" if a in self.batches and b == a + 1 else None for a, b in pairs]


def _kind(node: Node) -> str:
    """Return MXNet's number for the type that an input is said to have; nothing without."""
    return node.attrs.get("__dtype__", "")


def _infer(network: Network, inputs: Mapping[str, Tuple[int, ...]]) -> Dict[str, Tuple[int, ...]]:
    """Return shapes by the names of the tensors, which fusions keep."""
    try:
        shapes = tensor_shapes(network, inputs)
    except mx.MXNetError as error:
        raise InputError(f"the network cannot take inputs of {dict(inputs)}: {first_line(error)}") from error
    if shapes is None:
        missing = [node.name for node in network.inputs if node.name not in inputs]
        raise InputError(f"input_shapes: the shape of '{(missing or ['?'])[0]}' is needed")
    return shapes
