"""Layers that put values in another place: shapes, axes, parts."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from hypothesis import strategies as st

from tests.soak.networks.description import Layer
from tests.soak.networks.names import layer_names
from tests.soak.networks.sketch import Sketch

__all__ = ["concat", "parts", "reduction", "shape_change"]


def _name(draw: st.DrawFn, sketch: Sketch) -> Optional[str]:
    return draw(layer_names(sketch.number, plain=False))


def concat(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a Concat on any axis, counted from either end, of tensors that fit there; one may come twice."""
    data = sketch.some(draw)
    if data is None:
        return None
    shape = sketch.shapes[data]
    axis = draw(st.sampled_from((1, 1, 1, *range(len(shape)))))

    def rest(other: Tuple[int, ...]) -> Tuple[int, ...]:
        return (*other[:axis], 0, *other[axis + 1 :])

    fitting = [n for n, other in enumerate(sketch.shapes) if len(other) == len(shape) and rest(other) == rest(shape)]
    others = draw(st.lists(st.sampled_from(fitting[::-1]), min_size=1, max_size=3))
    op = draw(st.sampled_from(("Concat", "concat", "Concat", "stack")))
    if op == "stack":
        same = tuple(n for n in others if sketch.shapes[n] == shape)
        return Layer("stack", _name(draw, sketch), (data, *same), {"axis": axis, "num_args": 1 + len(same)})
    dim = axis if draw(st.sampled_from((True, True, False))) else axis - len(shape)
    return Layer(op, _name(draw, sketch), (data, *others), {"dim": dim})


def shape_change(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a Flatten, Reshape, transpose or the like."""
    data = sketch.some(draw)
    if data is None:
        return None
    shape = sketch.shapes[data]
    choices: Tuple[Tuple[str, Any], ...] = (
        ("Flatten", {}),
        ("Flatten", {}),
        ("flatten", {}),
        ("reshape", {"shape": (0, -1)}),
        ("Reshape", {"shape": (0, 0, -1)}),
        ("reshape", {"shape": (0, -1, 1, 1)}),
        ("reshape", {"shape": (-3, -2)}),
        ("reshape", {"shape": (0, -4, -1, 2, -2)}),
        ("reshape", {"shape": (-1, shape[-1])}),
        ("transpose", {"axes": draw(st.permutations(range(len(shape))))}),
        ("transpose", {"axes": (0, *draw(st.permutations(range(1, len(shape)))))}),
        ("SwapAxis", {"dim1": 0, "dim2": len(shape) - 1}),
        ("expand_dims", {"axis": draw(st.integers(0, len(shape)))}),
        ("squeeze", {"axis": 1}),
        ("Cast", {"dtype": "float32"}),
    )
    op, attrs = draw(st.sampled_from(choices))
    return Layer(op, _name(draw, sketch), (data,), {key: _plain(value) for key, value in attrs.items()})


def parts(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a part of a tensor, or a tensor several times."""
    data = sketch.some(draw)
    if data is None:
        return None
    shape = sketch.shapes[data]
    axis = draw(st.integers(0, len(shape) - 1))
    length = shape[axis]
    divisors = [count for count in (2, 3) if length % count == 0]
    if divisors and draw(st.booleans()):
        count = draw(st.sampled_from(divisors))
        attrs = {"num_outputs": count, "axis": axis}
        return Layer("SliceChannel", _name(draw, sketch), (data,), attrs, result=draw(st.integers(0, count - 1)))
    if length > 1 and draw(st.booleans()):
        begin = draw(st.integers(0, length - 1))
        attrs = {"axis": axis, "begin": begin, "end": draw(st.integers(begin + 1, length))}
        return Layer("slice_axis", _name(draw, sketch), (data,), attrs)
    if len(shape) == 4 and draw(st.booleans()):
        attrs = {"scale": 2, "sample_type": "nearest", "num_args": 1}
        return Layer("UpSampling", _name(draw, sketch), (data,), attrs)
    attrs = {"reps": tuple(2 if place == axis else 1 for place in range(len(shape)))}
    return Layer("tile", _name(draw, sketch), (data,), attrs)


def reduction(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a mean, sum or largest value over axes."""
    data = sketch.some(draw)
    if data is None:
        return None
    rank = len(sketch.shapes[data])
    axes = draw(st.sampled_from(((1,), (rank - 1,), tuple(range(2, rank)) or (1,))))
    attrs = {"axis": axes, "keepdims": draw(st.booleans())}
    return Layer(draw(st.sampled_from(("mean", "sum", "max"))), _name(draw, sketch), (data,), attrs)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
