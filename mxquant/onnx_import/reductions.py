"""Translations of ONNX's reductions."""

from __future__ import annotations

from typing import Callable, Dict

from mxquant.onnx_import.arithmetic import check_groups
from mxquant.onnx_import.state import Step, sym

__all__ = ["REDUCTIONS"]

_REDUCTIONS = {
    **{"ReduceMean": sym.mean, "ReduceSum": sym.sum, "ReduceMax": sym.max, "ReduceMin": sym.min},
    "ReduceProd": sym.prod,
}


def _reduce(step: Step) -> None:
    if step.op in ("ReduceMean", "ReduceSum", "ReduceProd"):
        step.refuse_narrow()
    axes = step.numbers("axes", 1)
    if not axes and step.attrs.get("noop_with_empty_axes", 0):
        step.returns(sym.identity(step.symbol(0), name=step.name))
        return
    rank = step.rank()
    axes = sorted(step.axis(axis) for axis in axes or range(rank))
    if len(set(axes)) < len(axes):
        raise step.refuse(f"its axes are {axes}, expected each once")
    check_groups(step, [axis in axes for axis in range(rank)])
    keep = bool(step.attrs.get("keepdims", 1))
    if step.op == "ReduceMean" and keep and (rank, axes) == (4, [2, 3]) and not step.whole():
        # As global pooling it can run in int8.
        step.returns(sym.Pooling(step.symbol(0), kernel=(1, 1), global_pool=True, pool_type="avg", name=step.name))
        return
    found = {"axis": tuple(axes), "keepdims": keep}
    if step.op == "ReduceMean" and step.whole():
        step.returns(sym.trunc(sym.mean(step.symbol(0), **found), name=step.name))
        return
    step.returns(_REDUCTIONS[step.op](step.symbol(0), name=step.name, **found))


REDUCTIONS: Dict[str, Callable[[Step], None]] = dict.fromkeys(_REDUCTIONS, _reduce)
