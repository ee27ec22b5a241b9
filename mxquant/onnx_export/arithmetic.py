"""Translations of arithmetic that ONNX has in another form: remainders, logarithms, rounding, and, or, not."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict

import numpy as np

from mxquant.graph.attributes import read_float
from mxquant.onnx_export.writer import Call

__all__ = ["ARITHMETIC"]


def _logarithm(call: Call, base: float) -> None:
    """Write a logarithm of another base, which is whole where it has to be."""
    doubles = call.writer.onnx.TensorProto.DOUBLE
    natural = call.step("Log", [call.step("Cast", call.inputs, "precise", to=doubles)], "natural")
    other = call.step("Div", [natural, call.constant("base", np.log(base), np.float64)], "other")
    call.emit("Cast", [other], to=call.kind())


def _remainder(call: Call) -> None:
    """Write MXNet's remainder, which has the sign of the divisor, and is 0 where that is 0."""
    divisor = call.inputs[1] if len(call.inputs) > 1 else call.constant("scalar", read_float(call.node, "scalar", 1.0))
    if call.dtype != "float32":
        divisor = call.step("Cast", [divisor], "whole", to=call.kind())
    zero, one = (call.constant(name, number, call.dtype) for name, number in (("zero", 0), ("one", 1)))
    nothing = call.step("Equal", [divisor, zero], "nothing")
    divisor = call.step("Where", [nothing, one, divisor], "divisor")
    if call.dtype != "float32":
        call.emit("Mod", [call.inputs[0], divisor])
        return
    rest = call.step("Mod", [call.inputs[0], divisor], "rest", fmod=1)
    below = [call.step("Less", [each, zero], f"below{slot}") for slot, each in enumerate((rest, divisor))]
    there = call.step("Not", [call.step("Equal", [rest, zero], "whole")], "there")
    other = call.step("And", [call.step("Xor", below, "opposite"), there], "other_sign")
    rest = call.step("Where", [other, call.step("Add", [rest, divisor], "moved"), rest], "signed")
    call.emit("Where", [nothing, zero, rest])


def _root_below_one(call: Call) -> None:
    call.emit("Reciprocal", [call.step("Sqrt", call.inputs, "root")])


def _without_fraction(call: Call) -> None:
    size = call.step("Floor", [call.step("Abs", call.inputs, "size")], "whole")
    call.emit("Mul", [call.step("Sign", call.inputs, "sign"), size])


def _rounded(call: Call) -> None:
    """Write the nearest whole number, of two the one farther from 0."""
    size = call.step("Abs", call.inputs, "size")
    below, half = call.step("Floor", [size], "below"), call.constant("half", 0.5)
    fraction = call.step("Sub", [size, below], "fraction")
    above = call.step("Cast", [call.step("GreaterOrEqual", [fraction, half], "above")], "one", to=call.kind())
    whole = call.step("Add", [below, above], "whole")
    call.emit("Mul", [call.step("Sign", call.inputs, "sign"), whole])


def _logic(call: Call, op: str) -> None:
    """Write what holds as 1, of numbers of which each but 0 holds."""
    boolean = call.writer.onnx.TensorProto.BOOL
    sides = [call.step("Cast", [each], f"side{slot}", to=boolean) for slot, each in enumerate(call.inputs)]
    if "scalar" in call.node.attrs:
        sides.append(call.constant("scalar", bool(read_float(call.node, "scalar", 0.0)), np.bool_))
    call.emit("Cast", [call.step(op, sides, "holds")], to=call.kind())


ARITHMETIC: Dict[str, Callable[[Call], Any]] = {
    "log2": partial(_logarithm, base=2.0),
    "log10": partial(_logarithm, base=10.0),
    **dict.fromkeys(("broadcast_mod", "_mod", "_mod_scalar"), _remainder),
    "rsqrt": _root_below_one,
    "trunc": _without_fraction,
    "fix": _without_fraction,
    "round": _rounded,
    "logical_not": partial(_logic, op="Not"),
    **{f"broadcast_logical_{name}": partial(_logic, op=name.capitalize()) for name in ("and", "or", "xor")},
    **{f"_logical_{name}_scalar": partial(_logic, op=name.capitalize()) for name in ("and", "or", "xor")},
}
