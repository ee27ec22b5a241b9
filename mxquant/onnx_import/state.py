"""An ONNX graph on its way to a Symbol, and what a translation of one node gets to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from mxquant.errors import GraphError
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Length", "State", "Step"]

# A number, the name of a free length, or None where nothing is known.
Length = Union[int, str, None]


@dataclass
class State:
    """What is known while a graph is translated.

    Parameters
    ----------
    opset : int
        Version of ONNX's operators.
    constants : dict of str to numpy.ndarray
        Values that do not depend on the inputs.
    symbols : dict of str to mxnet.symbol.Symbol
        Values that do.
    shapes : dict of str to tuple
        Shapes as far as ONNX infers them.
    params : dict of str to numpy.ndarray
        Constants that a symbol reads.
    variables : dict of str to mxnet.symbol.Symbol
        Their variables.
    inputs : dict of str to tuple of int
        Shapes of the network's inputs, where they are fixed.
    free : dict of str to str
        Shapes that are not fixed: the names of the tensors whose shapes they are, '' for a part of one.
    """

    opset: int
    constants: Dict[str, NDArray[Any]]
    symbols: Dict[str, Any] = field(default_factory=dict)
    shapes: Dict[str, Tuple[Length, ...]] = field(default_factory=dict)
    params: Dict[str, NDArray[Any]] = field(default_factory=dict)
    variables: Dict[str, Any] = field(default_factory=dict)
    inputs: Dict[str, Tuple[int, ...]] = field(default_factory=dict)
    free: Dict[str, str] = field(default_factory=dict)

    def shape(self, name: str) -> Optional[Tuple[Length, ...]]:
        """Return the shape of a value, from ONNX, or else from MXNet where the inputs' are fixed; None without."""
        if name in self.constants:
            return self.constants[name].shape
        if name not in self.shapes or None in self.shapes[name]:
            found = self._inferred(name)
            if found is not None:
                self.shapes[name] = found
        return self.shapes.get(name)

    def _inferred(self, name: str) -> Optional[Tuple[int, ...]]:
        symbol = self.symbols.get(name)
        if symbol is None or not self.inputs:
            return None
        given = {key: shape for key, shape in self.inputs.items() if key in symbol.list_inputs()}
        try:
            _, shapes, _ = symbol.infer_shape(**given)
        except mx.MXNetError:
            return None
        return tuple(shapes[0]) if shapes else None

    def parameter(self, name: str, value: NDArray[Any]) -> Any:
        """Return a variable of the network that has a value; the same for the same name and value."""
        value = np.asarray(value, np.float32)
        number, candidate = 0, name
        while candidate in self.params and not np.array_equal(self.params[candidate], value):
            number += 1
            candidate = f"{name}_{number}"
        if candidate not in self.variables:
            self.params[candidate] = value
            self.variables[candidate] = mx.sym.var(candidate, shape=value.shape)
        return self.variables[candidate]


@dataclass
class Step:
    """One node to translate.

    Parameters
    ----------
    state : State
        What is known so far.
    name : str
        What its operator is to be called.
    op : str
        ONNX's operator.
    inputs, outputs : sequence of str
        Names of values; an input that is left out is ''.
    attrs : dict
        Its attributes as Python values.
    """

    state: State
    name: str
    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attrs: Dict[str, Any]

    def has(self, slot: int) -> bool:
        """Whether there is an input."""
        return slot < len(self.inputs) and bool(self.inputs[slot])

    def constant(self, slot: int) -> NDArray[Any]:
        """Return an input that has to be constant."""
        name = self.inputs[slot]
        if name in self.state.free:
            raise self.refuse("it computes with a shape that is not fixed; give input_shapes")
        if name not in self.state.constants:
            raise self.refuse(f"its input '{name}' is computed, and has to be constant")
        return self.state.constants[name]

    def is_constant(self, slot: int) -> bool:
        """Whether an input is constant."""
        return self.inputs[slot] in self.state.constants

    def symbol(self, slot: int) -> Any:
        """Return an input as a symbol, constants as parameters."""
        name = self.inputs[slot]
        if name in self.state.symbols:
            return self.state.symbols[name]
        return self.state.parameter(name, self.constant(slot))

    def shape(self, slot: int) -> Optional[Tuple[Length, ...]]:
        """Return the shape of an input, or None where it is not known."""
        return self.state.shape(self.inputs[slot])

    def rank(self, slot: int = 0) -> int:
        """Return the number of dimensions of an input."""
        shape = self.shape(slot)
        if shape is None:
            raise self.refuse(f"the number of dimensions of '{self.inputs[slot]}' is not known; give input_shapes")
        return len(shape)

    def axis(self, axis: int, slot: int = 0) -> int:
        """Return an axis counted from the front."""
        return axis + self.rank(slot) if axis < 0 else axis

    def numbers(self, attribute: str, slot: int) -> Optional[List[int]]:
        """Return whole numbers that older versions have as an attribute, newer ones as an input; None without."""
        if attribute in self.attrs:
            return [int(number) for number in self.attrs[attribute]]
        return [int(number) for number in self.constant(slot).reshape(-1)] if self.has(slot) else None

    def filling(self) -> Any:
        """Return the number that a ConstantOfShape repeats, as NumPy's."""
        return self.attrs["value"].reshape(-1)[0] if "value" in self.attrs else np.float32(0)

    def returns(self, *symbols: Any) -> None:
        """Note what the node makes."""
        self.state.symbols.update(zip(self.outputs, symbols))

    def refuse(self, reason: str) -> GraphError:
        """Return the error to raise where a node has no translation."""
        return GraphError(f"ONNX node '{self.name}' ({self.op}): {reason}")
