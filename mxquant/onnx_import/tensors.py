"""Translations of ONNX's operators that change shapes: parts of tensors, several as one, axes in another order."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Tuple

import numpy as np

from mxquant.onnx_import.arithmetic import deeper
from mxquant.onnx_import.folding import limits
from mxquant.onnx_import.state import Length, Step, sym

__all__ = ["TENSORS"]


def _expand(step: Step) -> None:
    lengths = [int(length) for length in step.constant(1)]
    if min(lengths, default=1) < 1:
        raise step.refuse(f"its shape is {lengths}, expected numbers above 0")
    rank, symbol = step.rank(), step.symbol(0)
    if len(lengths) > rank:
        symbol = deeper(symbol, len(lengths) - rank)
    known = (*[1] * (len(lengths) - rank), *(step.shape(0) or ()))
    lengths = [*[1] * (rank - len(lengths)), *lengths]
    # What stays as it is, is 0: the batch is free, though a file may have its number.
    wanted = [0 if length in (1, before) else length for length, before in zip(lengths, known)]
    longer = [axis for axis, length in enumerate(wanted) if length]
    # MXNet fails at three axes at once with others between them.
    for axis in longer[:-2]:
        symbol = sym.broadcast_to(symbol, shape=tuple(wanted[axis] if at == axis else 0 for at in range(len(wanted))))
    wanted = [length if axis in longer[-2:] else 0 for axis, length in enumerate(wanted)]
    step.returns(sym.broadcast_to(symbol, shape=tuple(wanted), name=step.name))


def _tile(step: Step) -> None:
    repeats = step.numbers("repeats", 1)
    if repeats is None or min(repeats, default=1) < 1:
        raise step.refuse(f"its repeats are {repeats}, expected numbers above 0")
    if len(repeats) != step.rank():
        raise step.refuse(f"its repeats are {repeats} of {step.rank()} axes, expected as many")
    symbol = step.symbol(0)
    # MXNet fails at several axes at once.
    axes = [axis for axis, count in enumerate(repeats) if count > 1]
    for axis in axes[:-1]:
        symbol = sym.tile(symbol, reps=_once_but(axis, repeats))
    last = axes[-1] if axes else 0
    step.returns(sym.tile(symbol, reps=_once_but(last, repeats), name=step.name))


def _once_but(axis: int, repeats: List[int]) -> Tuple[int, ...]:
    return tuple(count if place == axis else 1 for place, count in enumerate(repeats))


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
    """Return two axes; the batch stays free where it is the first."""
    axis = step.attrs.get("axis", 1)
    if axis == 1:
        step.returns(sym.Flatten(step.symbol(0), name=step.name))
        return
    rank = step.rank()
    axis = step.axis(axis) if axis else 0
    before, after = (_product(part) for part in ((step.shape(0) or ())[:axis], (step.shape(0) or ())[axis:]))
    if before is None and after is None:
        raise step.refuse(f"axis is {axis} of {rank}, with free lengths before and behind; give input_shapes")
    shape = (before, -1) if before is not None else (-1, after)
    step.returns(sym.reshape(step.symbol(0), shape=shape, name=step.name))


def _reshape(step: Step) -> None:
    lengths = [int(length) for length in step.constant(1)]
    if step.attrs.get("allowzero", 0) and 0 in lengths:
        raise step.refuse(f"its shape is {lengths} with allowzero, which has no values")
    known = step.shape(0)
    if known is not None:
        _check_size(step, known, lengths)
    if not lengths:
        # MXNet has no numbers without axes.
        lengths = [1]
    # The batch stays free, though a file may have its number.
    if known and lengths[0] == known[0] and isinstance(known[0], int) and lengths[0] > 0:
        lengths[0] = 0
    elif known and -1 not in lengths and _has_batch(step, known, lengths):
        lengths[0] = -1
    if lengths == [0, -1] or (known is not None and lengths == [-1, _product(known[1:])]):
        step.returns(sym.Flatten(step.symbol(0), name=step.name))
        return
    step.returns(sym.reshape(step.symbol(0), shape=tuple(lengths), name=step.name))


def _has_batch(step: Step, known: Tuple[Length, ...], lengths: List[int]) -> bool:
    """Whether the file's own batch is a factor of a shape's first length, so that another batch gives another one.

    So it is where the batch, alone in front, is joined with what follows, as the heads of attention are, and where the
    two are taken apart again.
    """
    batch = step.state.batch
    if batch is None or not isinstance(known[0], int) or lengths[0] < 1:
        return False
    joined = known[0] == batch and lengths[0] % batch == 0
    apart = len(lengths) > 1 and lengths[0] == batch and lengths[1] * batch == known[0]
    return joined or apart


def _check_size(step: Step, known: Tuple[Length, ...], lengths: List[int]) -> None:
    """Refuse a shape that has not as many values as the data."""
    if min(lengths, default=0) < -1 or lengths.count(-1) > 1:
        raise step.refuse(f"its shape is {lengths}, expected numbers of 0 and more, and at most one -1")
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
    shape = step.shape(0)
    if not axes:
        if shape is None or not all(isinstance(length, int) for length in shape):
            raise step.refuse("its axes are not given, and lengths of its data are free; give input_shapes")
        axes = [axis for axis, length in enumerate(shape) if length == 1]
    axes = [step.axis(axis) for axis in axes]
    if not axes:
        step.returns(sym.identity(step.symbol(0), name=step.name))
        return
    if shape is not None and any(axis >= len(shape) or step.length(axis) not in (1, None) for axis in axes):
        raise step.refuse(f"its axes are {axes} of the shape {list(shape)}, expected those of length 1")
    step.returns(sym.squeeze(step.symbol(0), axis=tuple(axes), name=step.name))


def _unsqueeze(step: Step) -> None:
    axes = step.numbers("axes", 1) or []
    if step.is_number():
        step.returns(sym.reshape(step.symbol(0), shape=(1,) * max(1, len(axes)), name=step.name))
        return
    rank = step.rank() + len(axes)
    symbol = step.symbol(0)
    for axis in sorted(axis + rank if axis < 0 else axis for axis in axes):
        symbol = sym.expand_dims(symbol, axis=axis)
    step.returns(symbol)


def _slice(step: Step) -> None:
    starts, ends = step.numbers("starts", 1), step.numbers("ends", 2)
    if starts is None or ends is None:
        raise step.refuse("its starts or ends are not given")
    axes = step.numbers("axes", 3) or list(range(len(starts)))
    steps = step.numbers("steps", 4) or [1] * len(starts)
    if 0 in steps or not len(starts) == len(ends) == len(axes) == len(steps):
        raise step.refuse(
            f"its starts are {starts}, ends {ends}, axes {axes}, steps {steps}, expected as many, and no step of 0"
        )
    rank = step.rank()
    places = [
        (step.axis(axis), slice(start, end, stride)) for axis, start, end, stride in zip(axes, starts, ends, steps)
    ]
    lengths = [step.length(axis) for axis, _ in places]
    if set(steps) <= {1} and None not in lengths:
        # Not by one slice, which oneDNN cannot do of blocks of channels.
        symbol = step.symbol(0)
        for number, ((axis, place), length) in enumerate(zip(places, lengths), start=1):
            begin, end = limits(place.start, place.stop, 1, length or 0)
            name = step.name if number == len(places) else f"{step.name}_{number}"
            symbol = sym.slice_axis(symbol, axis=axis, begin=begin, end=end, name=name)
        step.returns(symbol)
        return
    if rank > 5:
        raise step.refuse(f"it slices {rank} dimensions with steps or free lengths, of which MXNet takes at most 5")
    bounds: List[Tuple[Optional[int], Optional[int], Optional[int]]] = [(None, None, None)] * rank
    for (axis, place), length in zip(places, lengths):
        bounds[axis] = _limits(step, place) if length is None else _limits_within(place, length)
    begin_, end_, stride_ = zip(*bounds)
    step.returns(sym.slice(step.symbol(0), begin=begin_, end=end_, step=stride_, name=step.name))


def _limits(step: Step, place: slice) -> Tuple[Optional[int], Optional[int], Optional[int]]:
    """Return the limits of a part of an axis whose length is free; numbers beyond any length are none."""
    far = 2**31 - 1
    # Beyond the end that it comes from, or does not come to, there is nothing.
    outward = place.start >= far or place.stop <= -far if place.step > 0 else place.start <= -far or place.stop >= far
    if outward:
        raise step.refuse(f"its part of a free length from {place.start} to {place.stop} has no values")
    first, last = (None if abs(number) >= far else number for number in (place.start, place.stop))
    return first, last, place.step


def _limits_within(place: slice, length: int) -> Tuple[Optional[int], Optional[int], Optional[int]]:
    """Return limits within an axis, as MXNet needs them: the end of what is read backwards to the first is none."""
    begin, end = limits(place.start, place.stop, place.step, length)
    return begin, None if end < 0 else end, place.step


def _split(step: Step) -> None:
    axis, count = step.axis(step.attrs.get("axis", 0)), len(step.outputs)
    length, sizes = step.length(axis), step.numbers("split", 1)
    if sizes is None and length is not None and length % count:
        if "num_outputs" not in step.attrs:
            raise step.refuse(f"an axis of {length} is split into {count} equal parts, which it has not")
        part = -(-length // count)
        sizes = [part] * (count - 1) + [length - part * (count - 1)]
    if sizes is None and length is None and "num_outputs" in step.attrs:
        raise step.refuse("its parts may be of two sizes where the length of its axis is free; give input_shapes")
    if sizes is not None and (len(sizes) != count or min(sizes) < 1 or sum(sizes) != (length or sum(sizes))):
        raise step.refuse(
            f"its parts have {sizes} of the {length} numbers of axis {axis}, expected {count} parts with all"
        )
    if sizes is None or len(set(sizes)) == 1:
        parts = sym.split(step.symbol(0), num_outputs=count, axis=axis, name=step.name)
        step.returns(*(list(parts) if count > 1 else [parts]))
        return
    ends = np.cumsum(sizes)
    step.returns(
        *(
            sym.slice_axis(step.symbol(0), axis=axis, begin=int(end - size), end=int(end), name=f"{step.name}_{number}")
            for number, (size, end) in enumerate(zip(sizes, ends))
        )
    )


def _depth_to_space(step: Step) -> None:
    size, mode = _block(step), step.attrs.get("mode", "DCR")
    if mode == "DCR":
        step.returns(sym.depth_to_space(step.symbol(0), block_size=size, name=step.name))
        return
    if mode != "CRD":
        raise step.refuse(f"mode is {mode}, expected DCR or CRD")
    # Channels are blocks of rows of columns: (N, C, b, b, H, W) becomes (N, C, H, b, W, b).
    apart = sym.reshape(step.symbol(0), shape=(0, -4, -1, size * size, 0, 0))
    apart = sym.reshape(apart, shape=(0, 0, -4, size, size, 0, 0))
    step.returns(sym.reshape(sym.transpose(apart, axes=(0, 1, 4, 2, 5, 3)), shape=(0, 0, -3, -3), name=step.name))


def _space_to_depth(step: Step) -> None:
    if step.attrs.get("mode", "DCR") != "DCR":
        raise step.refuse(f"mode is {step.attrs['mode']}, expected DCR")
    step.returns(sym.space_to_depth(step.symbol(0), block_size=_block(step), name=step.name))


def _block(step: Step) -> int:
    """Return the side of the blocks."""
    size = int(step.attrs["blocksize"])
    if size < 1:
        raise step.refuse(f"blocksize is {size}, expected a number above 0")
    return size


TENSORS: Dict[str, Callable[[Step], None]] = {
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
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
