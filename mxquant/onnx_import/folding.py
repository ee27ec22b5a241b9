"""What nodes compute of constants, with NumPy: the arithmetic on shapes and masks that exporters write."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Tuple

import numpy as np

from mxquant.onnx_import.state import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FOLDED", "MOST_VALUES", "folded", "limits"]


def limits(start: int, end: int, stride: int, length: int) -> Tuple[int, int]:
    """Return where a part of an axis begins and ends, -1 before the first.

    As Python's, but that what is read backwards from before the first begins with the first.

    Parameters
    ----------
    start, end, stride : int
        ONNX's, negative ones from the end.
    length : int
        Of the axis.
    """
    begin, last = (number + length if number < 0 else number for number in (start, end))
    if stride > 0:
        return min(max(begin, 0), length), min(max(last, 0), length)
    return min(max(begin, 0), length - 1), min(max(last, -1), length - 1)


def _folded_slice(step: Step) -> NDArray[Any]:
    starts, ends = step.numbers("starts", 1) or [], step.numbers("ends", 2) or []
    axes = step.numbers("axes", 3) or list(range(len(starts)))
    steps = step.numbers("steps", 4) or [1] * len(starts)
    places: List[slice] = [slice(None)] * step.constant(0).ndim
    for axis, start, end, stride in zip(axes, starts, ends, steps):
        begin, last = limits(start, end, stride, step.constant(0).shape[axis])
        places[axis] = slice(begin, None if last < 0 else last, stride)
    value: NDArray[Any] = step.constant(0)[tuple(places)]
    return value


def _folded_axes(step: Step, function: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    axes = step.numbers("axes", 1)
    value: NDArray[Any] = function(step.constant(0), tuple(axes) if axes is not None else None)
    return value


def _folded_cast(step: Step) -> NDArray[Any]:
    types = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
    if step.attrs["to"] not in types:
        raise step.refuse(f"a cast to type {step.attrs['to']} is not supported")
    return step.constant(0).astype(types[step.attrs["to"]])


def _divided(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Divide as ONNX does: whole numbers towards zero."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    # NumPy's quotient is the next lower number, whose remainder has the sign of the divisor.
    return np.asarray(a // b + ((a % b != 0) & ((a < 0) != (b < 0))).astype(a.dtype))


def _folded_expand(step: Step) -> NDArray[Any]:
    value = step.constant(0)
    return np.array(np.broadcast_to(value, np.broadcast_shapes(value.shape, _lengths(step, 1))))


def _folded_reshape(step: Step) -> NDArray[Any]:
    value = step.constant(0)
    lengths = list(_lengths(step, 1))
    if not step.attrs.get("allowzero", 0):
        if any(length == 0 and axis >= value.ndim for axis, length in enumerate(lengths)):
            raise step.refuse(
                f"its shape is {lengths}, whose 0 keeps a length that its data {list(value.shape)} have not"
            )
        lengths = [length or value.shape[axis] for axis, length in enumerate(lengths)]
    return value.reshape(lengths)


def _folded_arithmetic(step: Step) -> NDArray[Any]:
    """Return what an operator makes of its inputs, one after the other."""
    values = [step.constant(slot) for slot in range(len(step.inputs))]
    if step.op == "Div" and step.constant(0).dtype.kind in "iu" and not step.constant(1).all():
        raise step.refuse(f"whole numbers are divided by '{step.inputs[1]}', which has zeros")
    return np.asarray(reduce(_ARITHMETIC[step.op], values))


def _folded_range(step: Step) -> NDArray[Any]:
    start, limit, delta = (step.constant(slot).reshape(()) for slot in range(3))
    if not delta:
        raise step.refuse("its step is 0, expected another number")
    return np.arange(start, limit, delta, dtype=start.dtype)


def _folded_reduction(step: Step) -> NDArray[Any]:
    value, axes = step.constant(0), step.numbers("axes", 1)
    if not axes and step.attrs.get("noop_with_empty_axes", 0):
        return value
    function = _REDUCTIONS[step.op]
    made = function(value, axis=tuple(axes) if axes else None, keepdims=bool(step.attrs.get("keepdims", 1)))
    return np.asarray(made, value.dtype)


def _lengths(step: Step, slot: int) -> Tuple[int, ...]:
    return tuple(int(length) for length in step.constant(slot))


# Of two tensors, broadcast; of some operators of any number.
_ARITHMETIC: Dict[str, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]] = {
    **{"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divided},
    **{"Less": np.less, "Greater": np.greater, "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal},
    **{"Max": np.maximum, "Min": np.minimum, "Sum": np.add},
    **{"Pow": lambda a, b: np.power(a, b).astype(a.dtype), "Mod": np.mod},
    **{"Equal": np.equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor},
}
# Of one tensor.
_FUNCTIONS: Dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    **{"Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Round": np.rint, "Sign": np.sign},
    **{"Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt, "Reciprocal": np.reciprocal, "Not": np.logical_not},
    **{"Sin": np.sin, "Cos": np.cos, "Identity": np.asarray},
}
_REDUCTIONS: Dict[str, Callable[..., Any]] = {
    **{"ReduceSum": np.sum, "ReduceProd": np.prod, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceMean": np.mean},
}
# What is computed at once where all inputs are constant.
FOLDED: Dict[str, Callable[[Step], NDArray[Any]]] = {
    "Slice": _folded_slice,
    "Cast": _folded_cast,
    "Gather": lambda step: np.take(step.constant(0), step.constant(1).astype(np.int64), step.attrs.get("axis", 0)),
    "Concat": lambda step: np.concatenate(
        [step.constant(slot) for slot in range(len(step.inputs))], step.attrs.get("axis", 0)
    ),
    "Unsqueeze": lambda step: _folded_axes(step, np.expand_dims),
    "Squeeze": lambda step: _folded_axes(step, np.squeeze),
    "Reshape": _folded_reshape,
    "Transpose": lambda step: np.transpose(step.constant(0), step.attrs.get("perm")),
    "Where": lambda step: np.where(step.constant(0), step.constant(1), step.constant(2)),
    "Expand": _folded_expand,
    "ConstantOfShape": lambda step: np.full(_lengths(step, 0), step.filling()),
    "Range": _folded_range,
    **dict.fromkeys(_FUNCTIONS, lambda step: _FUNCTIONS[step.op](step.constant(0))),
    **dict.fromkeys(_REDUCTIONS, _folded_reduction),
    **dict.fromkeys(_ARITHMETIC, _folded_arithmetic),
}


# Shapes have some numbers, tables of positions some millions.
MOST_VALUES = 1 << 28


def _size(step: Step) -> int:
    """Return how many values a node reads or makes."""
    shapes = [step.constant(slot).shape for slot in range(len(step.inputs)) if step.has(slot)]
    if step.op in _ARITHMETIC or step.op == "Where":
        return math.prod(np.broadcast_shapes(*shapes))
    if step.op == "Expand":
        return math.prod(np.broadcast_shapes(shapes[0], _lengths(step, 1)))
    if step.op == "ConstantOfShape":
        return math.prod(_lengths(step, 0))
    if step.op == "Range":
        start, limit, delta = (float(step.constant(slot).reshape(())) for slot in range(3))
        return max(math.ceil((limit - start) / delta), 0) if delta else 0
    return sum(math.prod(shape) for shape in shapes)


def folded(step: Step) -> NDArray[Any]:
    """Return what a node computes of constants; raise GraphError where that is too much to be meant."""
    together = _size(step)
    if together > MOST_VALUES:
        raise step.refuse(f"it makes {together} values of constants, expected at most {MOST_VALUES}")
    # NaN and infinity are ONNX's too.
    with np.errstate(all="ignore"):
        return FOLDED[step.op](step)
