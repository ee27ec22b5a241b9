"""Translations of ONNX's arithmetic, comparisons, logic and functions of one tensor, with its broadcasting.

MXNet computes in float32 what ONNX has as whole numbers and truth values. A quotient of whole numbers below 2^24 in
magnitude is rounded to a whole number only where it is one, so that dropping its fraction is ONNX's division.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Callable, Dict, List, Sequence, Tuple

from mxquant.onnx_import.state import Length, Step, sym

__all__ = ["ARITHMETIC", "aligned", "check_groups", "deeper"]

_MOST_GROUPS = 5

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
    step.returns(_two(step, step.name))


def _two(step: Step, name: str) -> Any:
    """Return what an operator makes of two tensors, or of one and a number."""
    same, broadcast, with_scalar, from_scalar = _ARITHMETIC[step.op]
    for slot, function in ((1, with_scalar), (0, from_scalar)):
        number = step.constant(slot) if step.is_constant(slot) else None
        # One with more dimensions than the other side would add some.
        if number is not None and number.size == 1 and (number.ndim <= 1 or number.ndim <= step.rank(1 - slot)):
            return getattr(sym._internal, function)(step.symbol(1 - slot), scalar=step.number(slot), name=name)
    shapes = [step.shape(slot) for slot in (0, 1)]
    # A constant for one example is one for each of several, which the network may be run on later.
    single = any(step.is_constant(slot) and (shapes[slot] or (0,))[0] == 1 for slot in (0, 1))
    alike = shapes[0] is not None and shapes[0] == shapes[1] and None not in shapes[0] and not single
    return getattr(sym, same if alike else broadcast)(*aligned(step), name=name)


def _wrapping(step: Step) -> None:
    """Add, subtract or multiply, but not what begins anew beyond its end."""
    step.refuse_narrow()
    _arithmetic(step)


def _quotient(step: Step) -> None:
    if not step.whole():
        _arithmetic(step)
        return
    if step.is_constant(1) and not step.constant(1).all():
        raise step.refuse(f"whole numbers are divided by '{step.inputs[1]}', which has zeros")
    step.returns(sym.trunc(_two(step, f"{step.name}_quotient"), name=step.name))


def _power(step: Step) -> None:
    if not step.whole():
        _arithmetic(step)
        return
    step.refuse_narrow()
    exponent = step.constant(1) if step.is_constant(1) else None
    if exponent is None or (exponent < 0).any() or (exponent % 1).any():
        raise step.refuse("it raises whole numbers to a power that is computed, negative or has a fraction")
    step.returns(sym.round(_two(step, f"{step.name}_power"), name=step.name))


def _remainder(step: Step) -> None:
    data, divisor = aligned(step)
    if step.attrs.get("fmod", 0):
        # With the sign of the data, where MXNet's has that of the divisor.
        rest = sym.broadcast_mul(sym.sign(data), sym.broadcast_mod(sym.abs(data), sym.abs(divisor)))
    else:
        rest = sym.broadcast_mod(data, divisor)
    if step.is_constant(1) and step.constant(1).all():
        step.returns(sym.identity(rest, name=step.name))
        return
    if step.whole():
        if step.is_constant(1):
            raise step.refuse(f"whole numbers are divided by '{step.inputs[1]}', which has zeros")
        step.returns(sym.identity(rest, name=step.name))
        return
    # MXNet's remainder of a division by 0 is 0, ONNX's is no number: 0 / 0.
    there = sym._internal._not_equal_scalar(divisor, scalar=0.0)
    hole = sym._internal._rdiv_scalar(there, scalar=0.0)
    step.returns(sym.broadcast_add(rest, hole, name=step.name))


def aligned(step: Step, slots: Sequence[int] = (0, 1)) -> List[Any]:
    """Return inputs with as many dimensions each, as MXNet needs it; refuse those whose lengths do not go together.

    Parameters
    ----------
    step : Step
        The node.
    slots : sequence of int
        Which of its inputs.

    Returns
    -------
    list of mxnet.symbol.Symbol
        With axes of length 1 in front.
    """
    ranks = [step.rank(slot) for slot in slots]
    shapes = [step.shape(slot) or () for slot in slots]
    _check_lengths(step, shapes)
    full = [(*[1] * (max(ranks) - len(shape)), *shape) for shape in shapes]
    check_groups(step, [tuple(length == 1 for length in column) for column in zip(*full)])
    found = []
    for slot, rank in zip(slots, ranks):
        missing = max(ranks) - rank
        if missing and step.is_constant(slot):
            value = step.constant(slot)
            found.append(step.state.parameter(step.inputs[slot], value.reshape((1,) * missing + value.shape)))
        else:
            found.append(deeper(step.symbol(slot), missing))
    return found


def check_groups(step: Step, kinds: Sequence[object]) -> None:
    """Refuse more groups of neighbouring axes of a kind than MXNet takes when it broadcasts or reduces.

    Parameters
    ----------
    step : Step
        The node.
    kinds : sequence
        Of each axis, how it is treated.
    """
    count = sum(1 for axis, kind in enumerate(kinds) if axis == 0 or kind != kinds[axis - 1])
    if count > _MOST_GROUPS:
        raise step.refuse(f"it has {count} groups of axes that are treated alike, of which MXNet takes {_MOST_GROUPS}")


def deeper(symbol: Any, missing: int) -> Any:
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


def _many(step: Step) -> None:
    """Add, or take the largest or smallest, of any number of tensors."""
    if step.op == "Sum":
        step.refuse_narrow()
    function = {"Max": sym.broadcast_maximum, "Min": sym.broadcast_minimum, "Sum": sym.broadcast_add}[step.op]
    slots = range(len(step.inputs))
    shapes = [step.shape(slot) for slot in slots]
    if (
        step.op == "Sum"
        and len(shapes) > 1
        and shapes[0] is not None
        and None not in shapes[0]
        and len(set(shapes)) == 1
    ):
        step.returns(sym.add_n(*[step.symbol(slot) for slot in slots], name=step.name))
        return
    parts = aligned(step, slots)
    if len(parts) == 1:
        step.returns(sym.identity(parts[0], name=step.name))
        return
    step.returns(function(reduce(function, parts[:-1]), parts[-1], name=step.name))


_FUNCTIONS = {
    **{"Exp": sym.exp, "Log": sym.log, "Sqrt": sym.sqrt, "Abs": sym.abs, "Neg": sym.negative, "Erf": sym.erf},
    **{"Floor": sym.floor, "Ceil": sym.ceil, "Reciprocal": sym.reciprocal, "Identity": sym.identity},
    **{"Not": sym.logical_not, "Sign": sym.sign, "Sin": sym.sin, "Cos": sym.cos},
}


def _function(step: Step) -> None:
    if step.op in ("Abs", "Neg"):
        step.refuse_narrow()
    step.returns(_FUNCTIONS[step.op](step.symbol(0), name=step.name))


def _dropout(step: Step) -> None:
    """Hand the data on: nothing is dropped at inference."""
    if step.has(2) and (not step.is_constant(2) or step.constant(2).any()):
        raise step.refuse("it is in training mode, or may be")
    step.returns(sym.identity(step.symbol(0), name=step.name))


def _holds(data: Any, name: str) -> Any:
    return sym._internal._not_equal_scalar(data, scalar=0.0, name=name)


def _cast(step: Step) -> None:
    """Keep float32, which MXNet's operators take whole numbers in too."""
    kinds = {**dict.fromkeys((1, 10, 11), sym.identity), **dict.fromkeys((6, 7), sym.trunc), 9: _holds}
    if step.attrs["to"] not in kinds:
        raise step.refuse(f"a cast to type {step.attrs['to']} is not supported")
    step.returns(kinds[step.attrs["to"]](step.symbol(0), name=step.name))


def _where(step: Step) -> None:
    parts, lengths = aligned(step, (0, 1, 2)), [step.shape(slot) or () for slot in (0, 1, 2)]
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


def _slopes(step: Step) -> None:
    """Multiply what is below 0: by one number for each channel on axis 1, or by what ONNX broadcasts to the data.

    max(x, 0) + slope min(x, 0)
    """
    rank = step.rank()
    if step.is_constant(1):
        slope = step.constant(1)
        lengths = (*[1] * (rank - slope.ndim), *slope.shape)
        if len(lengths) != rank:
            raise step.refuse(
                f"its slope has the shape {slope.shape}, which does not go with data of {rank} dimensions"
            )
        if rank > 1 and slope.size == lengths[1] and (slope.size == 1 or slope.size == step.length(1)):
            gamma = step.state.parameter(step.inputs[1], slope.reshape(-1))
            step.returns(sym.LeakyReLU(step.symbol(0), gamma, act_type="prelu", name=step.name))
            return
    elif step.rank(1) > rank:
        raise step.refuse(f"its slope has {step.rank(1)} dimensions, its data have {rank}")
    data, factor = aligned(step)
    below = sym.broadcast_mul(factor, sym._internal._minimum_scalar(data, scalar=0.0))
    step.returns(sym.elemwise_add(sym.Activation(data, act_type="relu"), below, name=step.name))


ARITHMETIC: Dict[str, Callable[[Step], None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(("Add", "Sub", "Mul"), _wrapping),
    "Div": _quotient,
    "Pow": _power,
    "Mod": _remainder,
    **dict.fromkeys(("Max", "Min", "Sum"), _many),
    **dict.fromkeys(_FUNCTIONS, _function),
    "Dropout": _dropout,
    "Cast": _cast,
    "Where": _where,
    "PRelu": _slopes,
}
