"""Translations of ONNX's arithmetic, comparisons, shapes and reductions."""

from __future__ import annotations

from functools import reduce
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mxquant.onnx_import.state import Length, Step
from mxquant.runtime.mxnet import mx

__all__ = ["TENSORS"]

sym = mx.sym
# Of two tensors of one shape, of two others, of a tensor and a number, of a number and a tensor.
_ARITHMETIC = {
    "Add": ("elemwise_add", "broadcast_add", "_plus_scalar", "_plus_scalar"),
    "Sub": ("elemwise_sub", "broadcast_sub", "_minus_scalar", "_rminus_scalar"),
    "Mul": ("elemwise_mul", "broadcast_mul", "_mul_scalar", "_mul_scalar"),
    "Div": ("elemwise_div", "broadcast_div", "_div_scalar", "_rdiv_scalar"),
    "Pow": ("broadcast_power", "broadcast_power", "_power_scalar", "_rpower_scalar"),
    # What holds is 1, what does not is 0.
    "Less": ("broadcast_lesser", "broadcast_lesser", "_lesser_scalar", "_greater_scalar"),
    "Greater": ("broadcast_greater", "broadcast_greater", "_greater_scalar", "_lesser_scalar"),
    "LessOrEqual": (
        "broadcast_lesser_equal",
        "broadcast_lesser_equal",
        "_lesser_equal_scalar",
        "_greater_equal_scalar",
    ),
    "GreaterOrEqual": (
        *("broadcast_greater_equal", "broadcast_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar"),
    ),
    "Equal": ("broadcast_equal", "broadcast_equal", "_equal_scalar", "_equal_scalar"),
    "And": ("broadcast_logical_and", "broadcast_logical_and", "_logical_and_scalar", "_logical_and_scalar"),
    "Or": ("broadcast_logical_or", "broadcast_logical_or", "_logical_or_scalar", "_logical_or_scalar"),
    "Xor": ("broadcast_logical_xor", "broadcast_logical_xor", "_logical_xor_scalar", "_logical_xor_scalar"),
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


def _aligned(step: Step, slots: Sequence[int] = (0, 1)) -> List[Any]:
    """Return inputs with as many dimensions each, as MXNet needs it."""
    ranks = [step.rank(slot) for slot in slots]
    _check_lengths(step, [step.shape(slot) or () for slot in slots])
    found = []
    for slot, rank in zip(slots, ranks):
        missing = max(ranks) - rank
        if missing and step.is_constant(slot):
            value = step.constant(slot)
            found.append(step.state.parameter(step.inputs[slot], value.reshape((1,) * missing + value.shape)))
        elif missing:
            found.append(_deeper(step.symbol(slot), missing))
        else:
            found.append(step.symbol(slot))
    return found


def _deeper(symbol: Any, missing: int) -> Any:
    """Return a tensor with more dimensions in front, whatever rank a file says that it has."""
    for _ in range(missing):
        symbol = sym.expand_dims(symbol, axis=0)
    return symbol


def _check_lengths(step: Step, shapes: List[Tuple[Length, ...]]) -> None:
    """Refuse shapes that do not go together."""
    for place in range(1, max(map(len, shapes), default=0) + 1):
        lengths = {shape[-place] for shape in shapes if len(shape) >= place}
        if len({length for length in lengths if isinstance(length, int) and length != 1}) > 1:
            raise step.refuse(f"its inputs have the shapes {', '.join(str(list(shape)) for shape in shapes)}")


def _extreme(step: Step) -> None:
    function = {"Max": sym.broadcast_maximum, "Min": sym.broadcast_minimum}[step.op]
    if len(step.inputs) != 2:
        raise step.refuse(f"it has {len(step.inputs)} inputs, expected two")
    step.returns(function(*_aligned(step), name=step.name))


def _remainder(step: Step) -> None:
    data, divisor = _aligned(step)
    if not step.attrs.get("fmod", 0):
        step.returns(sym.broadcast_mod(data, divisor, name=step.name))
        return
    # With the sign of the data, where MXNet's has that of the divisor.
    rest = sym.broadcast_mod(sym.abs(data), sym.abs(divisor))
    step.returns(sym.broadcast_mul(sym.sign(data), rest, name=step.name))


def _sum(step: Step) -> None:
    step.returns(sym.add_n(*[step.symbol(slot) for slot in range(len(step.inputs))], name=step.name))


_FUNCTIONS = {
    **{"Exp": sym.exp, "Log": sym.log, "Sqrt": sym.sqrt, "Abs": sym.abs, "Neg": sym.negative, "Erf": sym.erf},
    **{"Floor": sym.floor, "Ceil": sym.ceil, "Reciprocal": sym.reciprocal, "Identity": sym.identity},
    **{"Dropout": sym.identity, "Not": sym.logical_not, "Sign": sym.sign, "Sin": sym.sin, "Cos": sym.cos},
}


def _function(step: Step) -> None:
    step.returns(_FUNCTIONS[step.op](step.symbol(0), name=step.name))


def _holds(data: Any, name: str) -> Any:
    return sym._internal._not_equal_scalar(data, scalar=0.0, name=name)


def _cast(step: Step) -> None:
    """Keep float32, which MXNet's operators take whole numbers in too."""
    kinds = {**dict.fromkeys((1, 10, 11), sym.identity), **dict.fromkeys((6, 7), sym.trunc), 9: _holds}
    if step.attrs["to"] not in kinds:
        raise step.refuse(f"a cast to type {step.attrs['to']} is not supported")
    step.returns(kinds[step.attrs["to"]](step.symbol(0), name=step.name))


def _where(step: Step) -> None:
    parts, lengths = _aligned(step, (0, 1, 2)), [step.shape(slot) or () for slot in (0, 1, 2)]
    rank = max(map(len, lengths))
    lengths = [(*[1] * (rank - len(each)), *each) for each in lengths]
    largest = tuple(next((length for length in column if length != 1), 1) for column in zip(*lengths))
    fits = [each == largest and None not in each for each in lengths]
    if any(fits):
        whole = parts[fits.index(True)]
    else:
        whole = reduce(sym.broadcast_add, [sym.zeros_like(part) for part in parts])
    parts = [part if same else sym.broadcast_like(part, whole) for part, same in zip(parts, fits)]
    step.returns(sym.where(*parts, name=step.name))


def _expand(step: Step) -> None:
    lengths = [int(length) for length in step.constant(1)]
    if min(lengths, default=1) < 1:
        raise step.refuse(f"its shape is {lengths}, expected numbers above 0")
    rank, symbol = step.rank(), step.symbol(0)
    if len(lengths) > rank:
        symbol = _deeper(symbol, len(lengths) - rank)
    known = (*[1] * (len(lengths) - rank), *(step.shape(0) or ()))
    lengths = [*[1] * (rank - len(lengths)), *lengths]
    # What stays as it is, is 0: the batch is free, though a file may have its number.
    wanted = [0 if length in (1, before) else length for length, before in zip(lengths, known)]
    step.returns(sym.broadcast_to(symbol, shape=tuple(wanted), name=step.name))


def _tile(step: Step) -> None:
    repeats = step.numbers("repeats", 1)
    assert repeats is not None
    step.returns(sym.tile(step.symbol(0), reps=tuple(repeats), name=step.name))


def _filled(step: Step) -> None:
    """Fill the shape of a tensor that is not fixed; one that is, is constant."""
    source = step.state.free.get(step.inputs[0])
    if not source:
        raise step.refuse(f"its shape '{step.inputs[0]}' is computed, and has to be constant or that of a tensor")
    zeros = sym.zeros_like(step.state.symbols[source])
    step.returns(sym._internal._plus_scalar(zeros, scalar=float(step.filling()), name=step.name))


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
    if known is not None:
        _check_size(step, known, lengths)
    # The batch stays free, though a file may have its number.
    if known and lengths and lengths[0] == known[0] and lengths[0] > 0 and -1 not in lengths[:1]:
        lengths[0] = 0
    if lengths == [0, -1] or (known is not None and lengths == [-1, _product(known[1:])]):
        step.returns(sym.Flatten(step.symbol(0), name=step.name))
        return
    step.returns(sym.reshape(step.symbol(0), shape=tuple(lengths), name=step.name))


def _check_size(step: Step, known: Tuple[Length, ...], lengths: List[int]) -> None:
    """Refuse a shape that has not as many values as the data."""
    kept = [axis for axis, length in enumerate(lengths) if length == 0]
    if any(axis >= len(known) for axis in kept):
        raise step.refuse(f"its shape is {lengths}, whose 0 keeps a length that its data {list(known)} have not")
    before = _product(tuple(length for axis, length in enumerate(known) if axis not in kept))
    after = _product(tuple(length for length in lengths if length > 0))
    if before is None or after is None:
        return
    if before % after if -1 in lengths else before != after:
        raise step.refuse(f"its shape is {lengths}, which has not as many values as its data {list(known)}")


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
    shape = step.shape(0) or (None,) * step.rank()
    places = [
        (step.axis(axis), slice(start, end, stride)) for axis, start, end, stride in zip(axes, starts, ends, steps)
    ]
    lengths = [shape[axis] for axis, _ in places]
    if set(steps) == {1} and all(isinstance(length, int) for length in lengths):
        # Not by one slice, which oneDNN cannot do of blocks of channels.
        symbol = step.symbol(0)
        for number, ((axis, place), length) in enumerate(zip(places, lengths), start=1):
            begin, end, _ = place.indices(length)  # type: ignore[arg-type]
            name = step.name if number == len(places) else f"{step.name}_{number}"
            symbol = sym.slice_axis(symbol, axis=axis, begin=begin, end=end, name=name)
        step.returns(symbol)
        return
    limits: List[Tuple[Optional[int], Optional[int], Optional[int]]] = [(None, None, None)] * len(shape)
    for axis, place in places:
        first, last = (None if abs(number) >= 2**31 - 1 else number for number in (place.start, place.stop))
        limits[axis] = (first, last, place.step)
    begin_, end_, stride_ = zip(*limits)
    step.returns(sym.slice(step.symbol(0), begin=begin_, end=end_, step=stride_, name=step.name))


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
    if not step.is_constant(1):
        # Negative places count from the end.
        step.returns(sym.take(step.symbol(0), step.symbol(1), axis=axis, mode="wrap", name=step.name))
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


_REDUCTIONS = {
    **{"ReduceMean": sym.mean, "ReduceSum": sym.sum, "ReduceMax": sym.max, "ReduceMin": sym.min},
    "ReduceProd": sym.prod,
}


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


def _space_to_depth(step: Step) -> None:
    step.returns(sym.space_to_depth(step.symbol(0), block_size=step.attrs["blocksize"], name=step.name))


TENSORS: Dict[str, Callable[[Step], None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(("Max", "Min"), _extreme),
    "Mod": _remainder,
    "Sum": _sum,
    **dict.fromkeys(_FUNCTIONS, _function),
    "Cast": _cast,
    "Where": _where,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _filled,
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
    "SpaceToDepth": _space_to_depth,
}
