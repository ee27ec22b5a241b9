"""Translations of ONNX's operators that choose: the largest values, their places, and what is at given places."""

from __future__ import annotations

from typing import Callable, Dict

from mxquant.onnx_import.state import Step
from mxquant.runtime.mxnet import mx

__all__ = ["CHOICES"]

sym = mx.sym


def _top(step: Step) -> None:
    most = [int(number) for number in step.constant(1).reshape(-1)] if step.has(1) else [int(step.attrs["k"])]
    if len(most) != 1 or most[0] < 1:
        # MXNet takes all of them then.
        raise step.refuse(f"k is {most}, expected one number above 0")
    both = sym.topk(
        step.symbol(0),
        k=most[0],
        axis=step.axis(step.attrs.get("axis", -1)),
        ret_typ="both",
        is_ascend=not step.attrs.get("largest", 1),
        name=step.name,
    )
    step.returns(*both)


def _extreme(step: Step) -> None:
    if step.attrs.get("select_last_index", 0):
        raise step.refuse("select_last_index is set; MXNet takes the first of equal values")
    function = {"ArgMax": sym.argmax, "ArgMin": sym.argmin}[step.op]
    axis, keep = step.axis(step.attrs.get("axis", 0)), bool(step.attrs.get("keepdims", 1))
    step.returns(function(step.symbol(0), axis=axis, keepdims=keep, name=step.name))


def _at_places(step: Step) -> None:
    if step.attrs.get("batch_dims", 0):
        raise step.refuse(f"batch_dims is {step.attrs['batch_dims']}, expected 0")
    rank = step.rank(1)
    index = sym.transpose(step.symbol(1), axes=(rank - 1, *range(rank - 1)))
    step.returns(sym.gather_nd(step.symbol(0), index, name=step.name))


CHOICES: Dict[str, Callable[[Step], None]] = {
    "TopK": _top,
    **dict.fromkeys(("ArgMax", "ArgMin"), _extreme),
    "GatherND": _at_places,
}
