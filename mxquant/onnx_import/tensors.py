"""Translations of ONNX's arithmetic, shapes and reductions; on constants they are computed with NumPy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from mxquant._compat import mx
from mxquant.onnx_import.state import Length, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FOLDED", "TENSORS", "folded"]

sym = mx.sym
# Of two tensors of one shape, of two others, of a tensor and a number, of a number and a tensor.
_ARITHMETIC = {
    "Add": ("elemwise_add", "broadcast_add", "_plus_scalar", "_plus_scalar"),
    "Sub": ("elemwise_sub", "broadcast_sub", "_minus_scalar", "_rminus_scalar"),
    "Mul": ("elemwise_mul", "broadcast_mul", "_mul_scalar", "_mul_scalar"),
    "Div": ("elemwise_div", "broadcast_div", "_div_scalar", "_rdiv_scalar"),
    "Pow": ("broadcast_power", "broadcast_power", "_power_scalar", "_rpower_scalar"),
}


def _arithmetic(step: Step) -> None:
    same, broadcast, with_scalar, from_scalar = _ARITHMETIC[step.op]
    for slot, function in ((1, with_scalar), (0, from_scalar)):
        if step.is_constant(slot) and step.constant(slot).size == 1:
            number, other = float(step.constant(slot).reshape(())), step.symbol(1 - slot)
            # A number with more dimensions than the other side would add some.
            if step.constant(slot).ndim <= 1 or step.constant(slot).ndim <= step.rank(1 - slot):
                step.returns(getattr(sym._internal, function)(other, scalar=number, name=step.name))
                return
    shapes = [step.shape(slot) for slot in (0, 1)]
    alike = shapes[0] is not None and shapes[0] == shapes[1] and None not in shapes[0]
    step.returns(getattr(sym, same if alike else broadcast)(*_aligned(step), name=step.name))


def _aligned(step: Step) -> List[Any]:
    """Return two inputs with as many dimensions each, as MXNet needs it."""
    ranks = [step.rank(slot) for slot in (0, 1)]
    found = []
    for slot, rank in enumerate(ranks):
        missing = max(ranks) - rank
        if missing and step.is_constant(slot):
            value = step.constant(slot)
            found.append(step.state.parameter(step.inputs[slot], value.reshape((1,) * missing + value.shape)))
        elif missing:
            found.append(sym.reshape(step.symbol(slot), shape=(*[1] * missing, *[0] * rank), reverse=True))
        else:
            found.append(step.symbol(slot))
    return found


def _extreme(step: Step) -> None:
    function = {"Max": sym.broadcast_maximum, "Min": sym.broadcast_minimum}[step.op]
    if len(step.inputs) != 2:
        raise step.refuse(f"it has {len(step.inputs)} inputs, expected two")
    step.returns(function(*_aligned(step), name=step.name))


def _sum(step: Step) -> None:
    step.returns(sym.add_n(*[step.symbol(slot) for slot in range(len(step.inputs))], name=step.name))


_FUNCTIONS = {
    **{"Exp": sym.exp, "Log": sym.log, "Sqrt": sym.sqrt, "Abs": sym.abs, "Neg": sym.negative, "Erf": sym.erf},
    **{"Floor": sym.floor, "Ceil": sym.ceil, "Reciprocal": sym.reciprocal, "Identity": sym.identity},
    "Dropout": sym.identity,
}


def _function(step: Step) -> None:
    step.returns(_FUNCTIONS[step.op](step.symbol(0), name=step.name))


def _cast(step: Step) -> None:
    """Keep float32, which MXNet's operators take whole numbers in too."""
    kinds = {**dict.fromkeys((1, 10, 11), sym.identity), **dict.fromkeys((6, 7), sym.trunc)}
    if step.attrs["to"] not in kinds:
        raise step.refuse(f"a cast to type {step.attrs['to']} is not supported")
    step.returns(kinds[step.attrs["to"]](step.symbol(0), name=step.name))


def _concat(step: Step) -> None:
    parts = [step.symbol(slot) for slot in range(len(step.inputs))]
    step.returns(sym.concat(*parts, dim=step.axis(step.attrs["axis"]), name=step.name))


def _flatten(step: Step) -> None:
    if step.attrs.get("axis", 1) != 1:
        raise step.refuse(f"axis is {step.attrs['axis']}, expected 1")
    step.returns(sym.Flatten(step.symbol(0), name=step.name))


def _reshape(step: Step) -> None:
    if step.attrs.get("allowzero", 0):
        raise step.refuse("allowzero is set")
    lengths = [int(length) for length in step.constant(1)]
    known = step.shape(0)
    # The batch stays free, though a file may have its number.
    if known and lengths and lengths[0] == known[0] and lengths[0] > 0 and -1 not in lengths[:1]:
        lengths[0] = 0
    if lengths == [0, -1] or (known is not None and lengths == [-1, _product(known[1:])]):
        step.returns(sym.Flatten(step.symbol(0), name=step.name))
        return
    step.returns(sym.reshape(step.symbol(0), shape=tuple(lengths), name=step.name))


def _product(lengths: Tuple[Length, ...]) -> Optional[int]:
    numbers = [length for length in lengths if isinstance(length, int)]
    return int(np.prod(numbers)) if len(numbers) == len(lengths) else None


def _transpose(step: Step) -> None:
    order = step.attrs.get("perm") or list(reversed(range(step.rank())))
    step.returns(sym.transpose(step.symbol(0), axes=tuple(order), name=step.name))


def _squeeze(step: Step) -> None:
    axes = step.numbers("axes", 1)
    if axes is None:
        raise step.refuse("its axes are not given")
    step.returns(sym.squeeze(step.symbol(0), axis=tuple(axes), name=step.name))


def _unsqueeze(step: Step) -> None:
    axes = step.numbers("axes", 1) or []
    rank = step.rank() + len(axes)
    symbol = step.symbol(0)
    for axis in sorted(axis + rank if axis < 0 else axis for axis in axes):
        symbol = sym.expand_dims(symbol, axis=axis)
    step.returns(symbol)


def _slice(step: Step) -> None:
    starts, ends = step.numbers("starts", 1), step.numbers("ends", 2)
    assert starts is not None and ends is not None
    axes = step.numbers("axes", 3) or list(range(len(starts)))
    steps = step.numbers("steps", 4) or [1] * len(starts)
    if min(steps) < 1:
        raise step.refuse(f"steps are {steps}, expected positive numbers")
    rank = step.rank()
    limits: List[Tuple[Optional[int], Optional[int], Optional[int]]] = [(None, None, None)] * rank
    for axis, start, end, stride in zip(axes, starts, ends, steps):
        limits[step.axis(axis)] = (start, None if end >= 2**31 - 1 else end, stride)
    begin, end_, stride_ = zip(*limits)
    step.returns(sym.slice(step.symbol(0), begin=begin, end=end_, step=stride_, name=step.name))


def _split(step: Step) -> None:
    axis = step.axis(step.attrs.get("axis", 0))
    sizes = step.numbers("split", 1)
    if sizes is None or len(set(sizes)) == 1:
        parts = sym.split(step.symbol(0), num_outputs=len(step.outputs), axis=axis, name=step.name)
        step.returns(*(list(parts) if len(step.outputs) > 1 else [parts]))
        return
    ends = np.cumsum(sizes)
    step.returns(
        *(
            sym.slice_axis(step.symbol(0), axis=axis, begin=int(end - size), end=int(end), name=f"{step.name}_{number}")
            for number, (size, end) in enumerate(zip(sizes, ends))
        )
    )


def _gather(step: Step) -> None:
    axis = step.axis(step.attrs.get("axis", 0))
    if step.is_constant(0) and axis == 0:
        table = step.constant(0)
        step.returns(
            sym.Embedding(
                step.symbol(1), step.symbol(0), input_dim=len(table), output_dim=table.shape[1], name=step.name
            )
        )
        return
    index = step.constant(1)
    if index.ndim == 0:
        # A length is taken from one place of an axis, which goes.
        place = int(index)
        end = None if place == -1 else place + 1
        part = sym.slice_axis(step.symbol(0), axis=axis, begin=place, end=end)
        step.returns(sym.squeeze(part, axis=axis, name=step.name))
        return
    step.returns(sym.take(step.symbol(0), step.state.parameter(step.inputs[1], index), axis=axis, name=step.name))


_REDUCTIONS = {"ReduceMean": sym.mean, "ReduceSum": sym.sum, "ReduceMax": sym.max, "ReduceMin": sym.min}


def _reduce(step: Step) -> None:
    axes = step.numbers("axes", 1) or list(range(step.rank()))
    axes = [step.axis(axis) for axis in axes]
    keep = bool(step.attrs.get("keepdims", 1))
    if step.op == "ReduceMean" and keep and axes == [2, 3]:
        # As global pooling it can run in int8.
        step.returns(sym.Pooling(step.symbol(0), kernel=(1, 1), global_pool=True, pool_type="avg", name=step.name))
        return
    step.returns(_REDUCTIONS[step.op](step.symbol(0), axis=tuple(axes), keepdims=keep, name=step.name))


def _depth_to_space(step: Step) -> None:
    if step.attrs.get("mode", "DCR") not in ("DCR", b"DCR"):
        raise step.refuse(f"mode is {step.attrs['mode']}, expected DCR")
    step.returns(sym.depth_to_space(step.symbol(0), block_size=step.attrs["blocksize"], name=step.name))


TENSORS: Dict[str, Callable[[Step], None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(("Max", "Min"), _extreme),
    "Sum": _sum,
    **dict.fromkeys(_FUNCTIONS, _function),
    "Cast": _cast,
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "DepthToSpace": _depth_to_space,
}


def _folded_shape(step: Step) -> NDArray[Any]:
    shape = step.shape(0)
    if shape is None or not all(isinstance(length, int) for length in shape):
        raise step.refuse("it asks for a shape that is not fixed; give input_shapes")
    return np.asarray(shape, np.int64)


def _folded_slice(step: Step) -> NDArray[Any]:
    starts, ends = step.numbers("starts", 1) or [], step.numbers("ends", 2) or []
    axes = step.numbers("axes", 3) or list(range(len(starts)))
    steps = step.numbers("steps", 4) or [1] * len(starts)
    places: List[slice] = [slice(None)] * step.constant(0).ndim
    for axis, start, end, stride in zip(axes, starts, ends, steps):
        places[axis] = slice(start, end, stride)
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


# What is computed at once where all inputs are constant: the arithmetic on shapes that exporters write.
FOLDED: Dict[str, Callable[[Step], NDArray[Any]]] = {
    "Shape": _folded_shape,
    "Slice": _folded_slice,
    "Cast": _folded_cast,
    "Gather": lambda step: np.take(step.constant(0), step.constant(1).astype(np.int64), step.attrs.get("axis", 0)),
    "Concat": lambda step: np.concatenate(
        [step.constant(slot) for slot in range(len(step.inputs))], step.attrs.get("axis", 0)
    ),
    "Unsqueeze": lambda step: _folded_axes(step, np.expand_dims),
    "Squeeze": lambda step: _folded_axes(step, np.squeeze),
    "Reshape": lambda step: step.constant(0).reshape(step.constant(1).astype(int)),
    "Transpose": lambda step: np.transpose(step.constant(0), step.attrs.get("perm")),
    "Identity": lambda step: step.constant(0),
    "Sqrt": lambda step: np.sqrt(step.constant(0)),
    "Add": lambda step: step.constant(0) + step.constant(1),
    "Sub": lambda step: step.constant(0) - step.constant(1),
    "Mul": lambda step: step.constant(0) * step.constant(1),
    "Div": lambda step: _divided(step.constant(0), step.constant(1)),
}


# Shapes have some numbers, tables of positions some millions.
_MOST_VALUES = 1 << 28


def folded(step: Step) -> NDArray[Any]:
    """Return what a node computes of constants; raise GraphError where that is too much to be meant."""
    shapes = [step.constant(slot).shape for slot in range(len(step.inputs)) if step.has(slot) and step.op != "Shape"]
    together = sum(int(np.prod(shape)) for shape in shapes)
    if step.op in _ARITHMETIC:
        together = math.prod(np.broadcast_shapes(*shapes))
    if together > _MOST_VALUES:
        raise step.refuse(f"it makes {together} values of constants, expected at most {_MOST_VALUES}")
    return FOLDED[step.op](step)


def _divided(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Divide as ONNX does: whole numbers towards zero."""
    quotient: NDArray[Any] = a / b
    return quotient if a.dtype.kind == "f" else np.trunc(quotient).astype(a.dtype)
