"""Random operators that change shapes, take parts, reduce and choose."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np

from tests.soak.onnx_graphs.arithmetic import broadcast
from tests.soak.onnx_graphs.builder import REAL, TRUTH, WHOLE, Graph, Value

__all__ = ["PIECES"]


def some(graph: Graph, fits: Callable[[Value], bool] = lambda value: True) -> Optional[Value]:
    """Return a tensor of any kind, real ones more often."""
    return graph.value(graph.choose([REAL, REAL, REAL, WHOLE, TRUTH]), fits)


def like(graph: Graph, value: Value, op: str, inputs: Sequence[str], **options: Any) -> Any:
    """Add an operator that keeps kind and exactness."""
    return graph.emit(op, inputs, value.kind, value.exact, **options)


def listed(graph: Graph, key: str, numbers: Sequence[int], since: int) -> Dict[str, Any]:
    """Return whole numbers as an attribute, or as an input since some version."""
    whole = [int(number) for number in numbers]
    return {key: whole} if graph.opset < since else {"input": graph.constant(np.asarray(whole, np.int64))}


def with_axes(graph: Graph, value: Value, op: str, axes: Sequence[int], since: int, **attrs: Any) -> Any:
    found = listed(graph, "axes", axes, since)
    inputs = [value.name, found.pop("input")] if "input" in found else [value.name]
    return like(graph, value, op, inputs, **found, **attrs)


def reshape(graph: Graph) -> Optional[Any]:
    value = some(graph)
    if value is None:
        return None
    lengths: List[int] = []
    rest = int(np.prod(value.shape))
    if value.shape and graph.chance(0.5):
        lengths.append(value.shape[0])
        rest //= value.shape[0]
    for _ in range(graph.whole(0, 2)):
        divisors = [number for number in range(1, rest + 1) if rest % number == 0]
        lengths.append(graph.choose(divisors))
        rest //= lengths[-1]
    lengths.append(rest)
    shape = list(lengths)
    for axis, length in enumerate(lengths):
        if axis < value.rank and value.shape[axis] == length and graph.chance(0.4):
            shape[axis] = 0
    if graph.chance(0.5):
        shape[graph.whole(0, len(shape) - 1)] = -1
    return like(graph, value, "Reshape", [value.name, graph.constant(np.asarray(shape, np.int64))])


def reshape_by_shape(graph: Graph) -> Optional[Any]:
    """Write Shape, Gather, Unsqueeze, Concat and Reshape, as exporters do to keep the batch."""
    value = graph.value(REAL, lambda each: each.rank > 1)
    if value is None or graph.opset < 9:
        return None
    shape = graph.emit("Shape", [value.name], WHOLE, True)[0]
    batch = graph.emit("Gather", [shape.name, graph.constant(np.int64(0))], WHOLE, True, axis=0)[0]
    row = with_axes(graph, batch, "Unsqueeze", [0], 13)[0]
    whole = graph.emit("Concat", [row.name, graph.constant(np.int64([-1]))], WHOLE, True, axis=0)[0]
    for each in (shape, batch, row, whole):
        graph.values.remove(each)
    return like(graph, value, "Reshape", [value.name, whole.name])


def flatten(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    axis = graph.whole(0, value.rank)
    return like(
        graph,
        value,
        "Flatten",
        [value.name],
        axis=axis - value.rank if graph.opset >= 11 and 0 < axis < value.rank and graph.chance(0.3) else axis,
    )


def transpose(graph: Graph) -> Optional[Any]:
    value = some(graph)
    if value is None:
        return None
    order = [int(axis) for axis in graph.rng.permutation(value.rank)]
    return like(graph, value, "Transpose", [value.name], **({"perm": order} if order and graph.chance(0.8) else {}))


def squeeze(graph: Graph) -> Optional[Any]:
    value = some(graph, lambda each: 1 in each.shape)
    if value is None:
        return None
    axes = [axis for axis, length in enumerate(value.shape) if length == 1]
    if graph.chance(0.3):
        return like(graph, value, "Squeeze", [value.name])
    axes = [graph.axis(axis, value.rank) for axis in axes if graph.chance(0.7)] or axes[:1]
    return with_axes(graph, value, "Squeeze", axes, 13)


def unsqueeze(graph: Graph) -> Optional[Any]:
    value = some(graph, lambda each: each.rank < 5)
    if value is None:
        return None
    count = graph.whole(1, 2)
    rank = value.rank + count
    axes = [graph.axis(int(axis), rank) for axis in graph.rng.permutation(rank)[:count]]
    return with_axes(graph, value, "Unsqueeze", axes, 13)


def part(graph: Graph) -> Optional[Any]:
    value = some(graph, lambda each: each.rank > 0)
    if value is None:
        return None
    axes = sorted(int(axis) for axis in graph.rng.permutation(value.rank)[: graph.whole(1, min(2, value.rank))])
    starts, ends, steps = [], [], []
    for axis in axes:
        length = value.shape[axis]
        begin, end = sorted(graph.whole(0, length) for _ in range(2))
        step = graph.choose([1, 1, 1, 2, 3]) if graph.opset >= 10 else 1
        if graph.opset >= 10 and graph.chance(0.25):
            starts.append(graph.choose([end - 1, -1, length + 3]))
            ends.append(graph.choose([begin - 1 if begin else -(2**31), -length - 1]))
            steps.append(-step)
            continue
        starts.append(begin - length if begin < length and graph.chance(0.3) else begin)
        ends.append(graph.choose([end, end, length + 5, 2**63 - 1 if graph.opset >= 10 else 2**31 - 1]))
        steps.append(step)
    if graph.opset < 10:
        return like(graph, value, "Slice", [value.name], axes=axes, starts=starts, ends=ends)
    columns = [starts, ends, [graph.axis(axis, value.rank) for axis in axes], steps]
    return like(graph, value, "Slice", [value.name, *(graph.constant(np.asarray(each, np.int64)) for each in columns)])


def joined(graph: Graph) -> Optional[Any]:
    value = graph.value(graph.choose([REAL, WHOLE]), lambda each: each.rank > 0)
    if value is None:
        return None
    axis = graph.whole(0, value.rank - 1)
    shape = list(value.shape)
    shape[axis] = graph.whole(1, 3)
    other = graph.numbers(*shape) if value.kind == REAL else graph.rng.randint(-3, 4, shape).astype(np.int64)
    names = [value.name, graph.constant(other), value.name]
    names = [names[number] for number in graph.rng.permutation(3)[: graph.whole(1, 3)]]
    names = names if value.name in names else [*names, value.name]
    return like(graph, value, "Concat", names, axis=graph.axis(axis, value.rank) if graph.opset >= 11 else axis)


def split(graph: Graph) -> Optional[Any]:
    value = some(graph, lambda each: any(length > 1 for length in each.shape))
    if value is None:
        return None
    axis = graph.choose([axis for axis, length in enumerate(value.shape) if length > 1])
    length, options = value.shape[axis], {"axis": graph.axis(axis, value.rank)}
    count = graph.whole(2, min(3, length))
    inputs = [value.name]
    if graph.opset >= 18 and graph.chance(0.5):
        options["num_outputs"] = count
    elif length % count or graph.chance(0.5):
        cuts = sorted(int(cut) + 1 for cut in graph.rng.permutation(length - 1)[: count - 1])
        sizes = np.diff([0, *cuts, length])
        found = listed(graph, "split", sizes, 13)
        inputs += [found.pop("input")] if "input" in found else []
        options.update(found)
    elif graph.opset >= 18:
        return None
    return like(graph, value, "Split", inputs, outputs=count, **options)


def repeated(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None or not value.rank:
        return None
    repeats = [graph.whole(1, 2) for _ in value.shape]
    return like(graph, value, "Tile", [value.name, graph.constant(np.asarray(repeats, np.int64))])


def expanded(graph: Graph) -> Optional[Any]:
    value = some(graph, lambda each: 1 in each.shape or each.rank < 4)
    if value is None or graph.opset < 8:
        return None
    shape = [graph.whole(2, 3) if length == 1 and graph.chance(0.7) else length for length in value.shape]
    shape = [1 if graph.chance(0.3) else length for length in shape]
    shape = [graph.whole(1, 3), *shape] if graph.chance(0.3) else shape
    return like(graph, value, "Expand", [value.name, graph.constant(np.asarray(shape, np.int64))])


def taken(graph: Graph) -> Optional[Any]:
    value = some(graph, lambda each: each.rank > 0)
    if value is None:
        return None
    axis = graph.whole(0, value.rank - 1)
    length = value.shape[axis]
    low = -length if graph.opset >= 11 else 0
    shape = graph.choose([(), (3,), (2, 2), (1,)])
    places = graph.constant(np.asarray(graph.rng.randint(low, length, shape), np.int64))
    return like(
        graph, value, "Gather", [value.name, places], axis=graph.axis(axis, value.rank) if graph.opset >= 11 else axis
    )


def taken_by_computed(graph: Graph) -> Optional[Any]:
    """Take rows of a constant, or of a tensor, at computed places from -6 to 6."""
    places = graph.value(WHOLE, lambda each: each.name == "y")
    if places is None or graph.opset < 11:
        return None
    if graph.chance(0.6):
        table = graph.constant(graph.numbers(*graph.choose([(7,), (7, 3), (9, 2, 2)])))
        return graph.emit("Gather", [table, places.name], exact=True, axis=0)
    value = graph.value(REAL, lambda each: any(length > 6 for length in each.shape))
    if value is None:
        return None
    axis = graph.choose([axis for axis, length in enumerate(value.shape) if length > 6])
    return like(graph, value, "Gather", [value.name, places.name], axis=graph.axis(axis, value.rank))


def taken_at(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank > 0)
    if value is None or graph.opset < 11:
        return None
    depth = graph.whole(1, value.rank)
    shape = (*graph.choose([(), (3,), (2, 2)]), 1)
    columns = [graph.rng.randint(-length, length, shape) for length in value.shape[:depth]]
    return like(graph, value, "GatherND", [value.name, graph.constant(np.concatenate(columns, -1).astype(np.int64))])


def reduced(graph: Graph) -> Optional[Any]:
    op = graph.choose(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"])
    value = graph.value(WHOLE if graph.chance(0.2) else REAL)
    if value is None:
        return None
    axes = [int(axis) for axis in graph.rng.permutation(value.rank)[: graph.whole(0, value.rank)]]
    if op == "ReduceProd" and np.prod([value.shape[axis] for axis in axes or range(value.rank)]) > 24:
        return None
    axes = [graph.axis(axis, value.rank) if graph.opset >= 11 else axis for axis in axes]
    keep = {"keepdims": graph.whole(0, 1)} if graph.chance(0.8) else {}
    since = 13 if op == "ReduceSum" else 18
    exact = value.exact and op in ("ReduceMax", "ReduceMin", "ReduceSum")
    if not axes:
        if graph.opset >= since and graph.chance(0.3):
            return graph.emit(op, [value.name], value.kind, exact, noop_with_empty_axes=1, **keep)
        return graph.emit(op, [value.name], value.kind, exact, **keep)
    found = listed(graph, "axes", axes, since)
    inputs = [value.name, found.pop("input")] if "input" in found else [value.name]
    return graph.emit(op, inputs, value.kind, exact, **found, **keep)


def extreme(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.exact and each.rank > 0)
    if value is None:
        return None
    axis = graph.whole(0, value.rank - 1)
    axis = graph.axis(axis, value.rank) if graph.opset >= 11 else axis
    keep = {"keepdims": graph.whole(0, 1)} if graph.chance(0.8) else {}
    return graph.emit(graph.choose(["ArgMax", "ArgMin"]), [value.name], WHOLE, True, axis=axis, **keep)


def largest(graph: Graph) -> Optional[Any]:
    """Choose the largest or smallest; places are left out, since equal numbers have no order in MXNet."""
    value = graph.value(REAL, lambda each: each.rank > 0)
    if value is None or graph.opset < 10:
        return None
    axis = graph.whole(0, value.rank - 1)
    k = graph.constant(np.int64([graph.whole(1, value.shape[axis])]))
    attrs = {"largest": graph.whole(0, 1)} if graph.opset >= 11 else {}
    values, places = like(graph, value, "TopK", [value.name, k], outputs=2, axis=axis, **attrs)
    graph.values.remove(places)
    return values


def filled(graph: Graph) -> Optional[Any]:
    """Add a tensor that is filled as another one is shaped."""
    value = graph.value(REAL, lambda each: each.rank > 0)
    if value is None or graph.opset < 9:
        return None
    shape = graph.emit("Shape", [value.name], WHOLE, True)[0]
    ones = graph.emit("ConstantOfShape", [shape.name], exact=True)[0]
    graph.values.remove(shape)
    graph.values.remove(ones)
    return like(graph, value, "Add", [value.name, ones.name])


def computed_constant(graph: Graph) -> Optional[Any]:
    """Add what is computed of constants alone."""
    value = graph.value(REAL, lambda each: each.rank > 0)
    if value is None or graph.opset < 8:
        return None
    shape = broadcast(graph, value.shape, deeper=False)
    first, second = (graph.constant(graph.numbers(*shape)) for _ in range(2))
    made = graph.emit(graph.choose(["Add", "Mul", "Max", "Div", "Sub", "Min"]), [first, second])[0]
    made2 = graph.emit("Sum", [made.name, first, second])[0]
    graph.values.remove(made)
    graph.values.remove(made2)
    return graph.emit("Add", [value.name, made2.name])


PIECES: List[Callable[[Graph], Optional[Any]]] = [
    *(reshape, reshape, reshape_by_shape, flatten, transpose, transpose, squeeze, unsqueeze, part, part, joined, split),
    *(split, repeated, expanded, taken, taken, taken_by_computed, taken_at, reduced, reduced, extreme, largest, filled),
    computed_constant,
]
