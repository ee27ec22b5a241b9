"""Translations of ONNX's operators that choose: the largest values, their places, and what is at given places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import numpy as np

from mxquant.onnx_import.state import Step, sym

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHOICES"]


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
    if step.is_constant(1):
        _check_places(step, step.constant(1), [step.length(axis) for axis in range(step.rank())])
    if rank == 1:
        # One place alone, without an axis for it.
        found = sym.gather_nd(step.symbol(0), sym.expand_dims(step.symbol(1), axis=1))
        step.returns(sym.squeeze(found, axis=0, name=step.name))
        return
    index = sym.transpose(step.symbol(1), axes=(rank - 1, *range(rank - 1)))
    step.returns(sym.gather_nd(step.symbol(0), index, name=step.name))


def _check_places(step: Step, places: NDArray[Any], lengths: List[Optional[int]]) -> None:
    """Refuse places that are not there; on their last axis is one for each of some lengths."""
    for axis, length in enumerate(lengths[: places.shape[-1]]):
        column = places[..., axis]
        if length is not None and column.size and not -length <= column.min() <= column.max() < length:
            raise step.refuse(f"it takes places {column.min()} to {column.max()} of an axis that has {length}")


def _gather(step: Step) -> None:
    """Take places of an axis; negative ones count from its end."""
    rank = step.rank()
    axis = step.axis(step.attrs.get("axis", 0))
    length = step.length(axis)
    if step.is_constant(1):
        _check_places(step, step.constant(1).reshape(-1, 1), [length])
        step.returns(_constant_places(step, axis, length))
        return
    is_number = step.is_number(1)
    name = f"{step.name}_kept" if is_number else step.name
    if step.is_constant(0) and (rank, axis) == (2, 0):
        table = step.constant(0)
        # An Embedding, which can be int8, takes the first row for a negative place.
        index = sym._internal._mod_scalar(step.symbol(1), scalar=float(len(table)))
        found = sym.Embedding(index, step.symbol(0), input_dim=len(table), output_dim=table.shape[1], name=name)
    else:
        found = sym.take(step.symbol(0), step.symbol(1), axis=axis, mode="wrap", name=name)
    # A single place is one without an axis.
    step.returns(sym.squeeze(found, axis=axis, name=step.name) if is_number else found)


def _constant_places(step: Step, axis: int, length: Optional[int]) -> Any:
    places = step.constant(1).astype(np.int64)
    if places.ndim == 0:
        # A length is taken from one place of an axis, which goes.
        place = int(places)
        part = sym.slice_axis(step.symbol(0), axis=axis, begin=place, end=None if place == -1 else place + 1)
        return sym.squeeze(part, axis=axis, name=step.name)
    if length is not None:
        index = step.state.parameter(step.inputs[1], places % length)
        return sym.take(step.symbol(0), index, axis=axis, name=step.name)
    index = step.state.parameter(step.inputs[1], places)
    return sym.take(step.symbol(0), index, axis=axis, mode="wrap", name=step.name)


CHOICES: Dict[str, Callable[[Step], None]] = {
    "TopK": _top,
    **dict.fromkeys(("ArgMax", "ArgMin"), _extreme),
    "GatherND": _at_places,
    "Gather": _gather,
}
