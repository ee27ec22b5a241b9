"""An ONNX graph on its way to a Symbol, and what a translation of one node gets to see."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

import numpy as np

from mxquant.errors import GraphError
from mxquant.graph.names import unused_name
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Length", "State", "Step", "Unfit", "as_float32", "made", "sym"]

sym = mx.sym
# A number, the name of a free length, or None where nothing is known.
Length = Union[int, str, None]
# ONNX's numbers for types: whole numbers, of which narrow ones begin anew beyond their end, and truth values.
_NARROW = (2, 3, 4, 5, 12, 13)
_WHOLE = (*_NARROW, 6, 7)
_BOOL = 9


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
        Shapes as far as ONNX infers them, or else MXNet, where those of the inputs are fixed.
    kinds : dict of str to int
        ONNX's numbers for the types of values, as far as they are known.
    params : dict of str to numpy.ndarray
        Constants that a symbol reads.
    variables : dict of str to mxnet.symbol.Symbol
        Their variables.
    makers : dict of str to str
        ONNX's operators that make values.
    free : dict of str to str
        Shapes that are not fixed: the names of the tensors whose shapes they are, '' for a part of one.
    batch : int or None
        The first length of the first input, where the file fixes it.
    names : set of str
        Names of operators that are taken.
    """

    opset: int
    constants: Dict[str, NDArray[Any]]
    symbols: Dict[str, Any] = field(default_factory=dict)
    shapes: Dict[str, Tuple[Length, ...]] = field(default_factory=dict)
    kinds: Dict[str, int] = field(default_factory=dict)
    params: Dict[str, NDArray[Any]] = field(default_factory=dict)
    variables: Dict[str, Any] = field(default_factory=dict)
    makers: Dict[str, str] = field(default_factory=dict)
    free: Dict[str, str] = field(default_factory=dict)
    batch: Optional[int] = None
    names: Set[str] = field(default_factory=set)
    _numbers: Dict[str, int] = field(default_factory=dict)
    _parameters: Dict[str, int] = field(default_factory=dict)
    _variants: Dict[Tuple[str, Tuple[int, ...], bytes], str] = field(default_factory=dict)

    def unused(self, name: str) -> str:
        """Return a name that MXNet allows and that no other operator has; it is taken then."""
        name = unused_name(re.sub(r"[^\w./-]", "_", name).strip("/") or "layer", self.names, self._numbers)
        self.names.add(name)
        return name

    def shape(self, name: str) -> Optional[Tuple[Length, ...]]:
        """Return the shape of a value; None without. A number that is computed has one axis, as MXNet knows none."""
        if name in self.constants:
            return self.constants[name].shape
        shape = self.shapes.get(name)
        return (1,) if shape == () else shape

    def parameter(self, name: str, value: NDArray[Any]) -> Any:
        """Return a variable of the network that has a value; the same for the same name and value."""
        value = as_float32(name, value)
        if not value.shape:
            # MXNet takes a shape without axes for one that is not known.
            value = value.reshape(1)
        if name in self.params and not np.array_equal(self.params[name], value):
            name = self._variant(name, value)
        if name not in self.variables:
            self.params[name] = value
            self.variables[name] = mx.sym.var(name, shape=value.shape)
        return self.variables[name]

    def _variant(self, name: str, value: NDArray[np.float32]) -> str:
        """Return the name of a constant that another value of the same name came before."""
        key = (name, value.shape, hashlib.sha256(value.tobytes()).digest())
        if key not in self._variants:
            self._variants[key] = unused_name(name, self.params.keys(), self._parameters)
        return self._variants[key]


class Unfit(Exception):
    """MXNet's reason why an operator does not take what it is given."""


def made(symbols: Sequence[Any], params: Mapping[str, NDArray[Any]]) -> List[Optional[Tuple[int, ...]]]:
    """Return the shapes that MXNet infers for symbols whose variables have shapes, None where it cannot tell.

    Where it refuses, or needs a parameter of another shape, that is an Unfit.
    """
    if not symbols:
        return []
    group = mx.sym.Group(list(symbols))
    try:
        args, shapes, aux = group._infer_shape_impl(False)
    except mx.MXNetError as error:
        raise Unfit(first_line(error)) from error
    if shapes is None:
        return [None] * len(symbols)
    names = [*group.list_arguments(), *group.list_auxiliary_states()]
    for name, shape in zip(names, (*args, *aux)):
        if name in params and params[name].shape != tuple(shape):
            raise Unfit(f"'{name}' has the shape {params[name].shape}, expected {tuple(shape)}")
    return [tuple(shape) for shape in shapes]


def as_float32(name: str, value: NDArray[Any]) -> NDArray[np.float32]:
    """Return a constant as MXNet gets it; raise GraphError where float32 has not such numbers."""
    value = np.asarray(value)
    with np.errstate(over="ignore", invalid="ignore"):
        found: NDArray[np.float32] = np.asarray(value, np.float32)
        whole = value.dtype.kind in "iu"
        lost = found.astype(np.float64) != value if whole else np.isinf(found) & (value != found)
    if found is not value and lost.any():
        raise GraphError(
            f"the constant '{name}' has the number {value[lost].reshape(-1)[0]}, which float32 has not; the network is "
            "computed in float32"
        )
    return found


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
        if name not in self.state.constants and name not in self.state.symbols:
            raise self.refuse(f"its input '{name}' is an output of another operator that has no translation")
        if name not in self.state.constants:
            raise self.refuse(f"its input '{name}' is computed, and has to be constant")
        return self.state.constants[name]

    def number(self, slot: int) -> float:
        """Return an input that has to be a constant of one number."""
        value = self.constant(slot)
        if value.size != 1:
            raise self.refuse(f"its input '{self.inputs[slot]}' has the shape {value.shape}, expected one number")
        return float(as_float32(self.inputs[slot], value).reshape(()))

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
        """Return an axis counted from the front; refuse one that is not there."""
        rank = self.rank(slot)
        if not -rank <= axis < rank:
            raise self.refuse(f"its axis is {axis}, expected one from {-rank} to {rank - 1}")
        return axis + rank if axis < 0 else axis

    def flag(self, key: str, default: int = 0) -> bool:
        """Return an attribute that is 0 or 1; refuse other numbers."""
        value = self.attrs.get(key, default)
        if value not in (0, 1):
            raise self.refuse(f"{key} is {value}, expected 0 or 1")
        return bool(value)

    def numbers(self, attribute: str, slot: int) -> Optional[List[int]]:
        """Return whole numbers that older versions have as an attribute, newer ones as an input; None without."""
        if attribute in self.attrs:
            return [int(number) for number in self.attrs[attribute]]
        return [int(number) for number in self.constant(slot).reshape(-1)] if self.has(slot) else None

    def kind(self, slot: int = 0) -> int:
        """Return ONNX's number for the type of an input; 1, float32, where it is not known."""
        return self.state.kinds.get(self.inputs[slot], 1)

    def whole(self, slot: int = 0) -> bool:
        """Whether an input is of whole numbers."""
        return self.kind(slot) in _WHOLE

    def holds(self, slot: int = 0) -> bool:
        """Whether an input is of truth values."""
        return self.kind(slot) == _BOOL

    def refuse_narrow(self) -> None:
        """Refuse arithmetic on whole numbers that begin anew beyond their end, which float32 does not."""
        for slot, name in enumerate(self.inputs):
            if name and self.kind(slot) in _NARROW:
                raise self.refuse(
                    f"its input '{name}' is of whole numbers of few bits or without sign, expected int32, int64 or "
                    "numbers with a point"
                )

    def is_number(self, slot: int = 0) -> bool:
        """Whether an input is one number without axes, which has one in MXNet."""
        return not self.is_constant(slot) and self.state.shapes.get(self.inputs[slot]) == ()

    def length(self, axis: int, slot: int = 0) -> Optional[int]:
        """Return a length of an input, or None where it is free."""
        shape = self.shape(slot)
        length = shape[axis] if shape is not None and axis < len(shape) else None
        return length if isinstance(length, int) else None

    def filling(self) -> Any:
        """Return the number that a ConstantOfShape repeats, as NumPy's."""
        return self.attrs["value"].reshape(-1)[0] if "value" in self.attrs else np.float32(0)

    def returns(self, *symbols: Any) -> None:
        """Note what the node makes."""
        self.state.symbols.update(zip(self.outputs, symbols))

    def refuse(self, reason: str) -> GraphError:
        """Return the error to raise where a node has no translation."""
        return GraphError(f"ONNX node '{self.name}' ({self.op}): {reason}")
