"""Which boxes are left where boxes that overlap suppress one another.

Of K rows, the surest first, let S[i, j] be 1 where i comes before j, has its class, and overlaps it too much. Row j is
kept if no kept row suppresses it::

    kept[j] = alive[j] and not any(kept[i] and S[i, j] for i < j)

A Loop of ``kept = alive and not kept S > 0`` ends with it, after as many rounds as suppressions depend on each other:
it is the only solution, since kept[j] depends on smaller i alone. Arithmetic is MXNet's, in its order.

S of many rows takes much memory. Blocks of rows are then settled one after the other, each by its own part of S;
what a block keeps suppresses what comes behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, List, Optional

import numpy as np

from mxquant.onnx_export.writer import Call, Writer

__all__ = ["MOST_ROWS", "Rows", "columns", "first_rows", "kept"]

# Overlaps are computed of all pairs.
MOST_ROWS = 2**16
# So many rows are compared at once.
_ALL_AT_ONCE, _BLOCK = 1024, 512


@dataclass(frozen=True)
class Rows:
    """Rows in the order in which they suppress one another, and when they do.

    Parameters
    ----------
    corners : list of str
        Left, top, right and bottom of their boxes, shape (images, rows, 1) each.
    kinds : str or None
        Their classes, shape (images, rows), where only rows of one class suppress one another.
    count : int
        How many there are.
    limit : float
        An intersection over union of more than this is too much.
    at_limit : bool
        Whether the limit itself is too much.
    turned : bool
        Whether boxes whose ends are the wrong way round have no area; else it is the product of their sides.
    longer : float
        By how much sides are longer than the difference of their ends: 1 for ends that are pixels of the box.
    """

    corners: List[str]
    kinds: Optional[str]
    count: int
    limit: float
    at_limit: bool = False
    turned: bool = True
    longer: float = 0.0


def columns(call: Call, rows: str, suffix: str, start: int = 0) -> List[str]:
    """Return four columns of rows, shape (images, rows, 1) each."""
    ends = [call.constant(f"{suffix}_{key}", [n], np.int64) for key, n in (("start", start), ("end", start + 4))]
    four = call.step("Slice", [rows, *ends, call.constant(f"{suffix}_axis", [2], np.int64)], f"{suffix}_four")
    names = [call.writer.unused(f"{call.node.name}_{suffix}{number}") for number in range(4)]
    sizes = call.constant(f"{suffix}_sizes", [1, 1, 1, 1], np.int64)
    call.writer.emit("Split", [four, sizes], f"{call.node.name}_{suffix}_split", names, axis=2)
    return names


def first_rows(call: Call, scores: str, rows: str, count: int, suffix: str) -> List[str]:
    """Return the rows of the highest scores, and these scores, the highest first; of equal ones the first first."""
    names = [call.writer.unused(f"{call.node.name}_{suffix}_{each}") for each in ("scores", "places")]
    number = call.constant(f"{suffix}_count", [count], np.int64)
    call.writer.emit("TopK", [scores, number], f"{call.node.name}_{suffix}_top", names, axis=1)
    places = call.step("Unsqueeze", [names[1], _axis(call, 2)], f"{suffix}_index")
    return [call.step("GatherND", [rows, places], f"{suffix}_rows", batch_dims=1), names[0]]


def kept(call: Call, rows: Rows, alive: str) -> str:
    """Return 1 for the rows that are left and 0 for others, shape (images, rows).

    Parameters
    ----------
    call : Call
        What is translated.
    rows : Rows
        All rows.
    alive : str
        Which of them take part, as truth values, shape (images, rows).
    """
    number = call.step("Cast", [alive], "alive_number", to=_float(call.writer))
    number = call.step("Unsqueeze", [number, _axis(call, 1)], "alive_row")
    if rows.count <= _ALL_AT_ONCE:
        places = call.constant("rows", np.arange(rows.count)[:, np.newaxis])
        found = _settled(call, number, _suppressing(call, rows, rows.corners, rows.kinds, places))
    else:
        found = _in_blocks(call, rows, number)
    return call.step("Squeeze", [found, _axis(call, 1)], "kept_flat")


def _float(writer: Writer) -> int:
    return int(writer.onnx.TensorProto.FLOAT)


def _axis(call: Call, axis: int) -> str:
    return call.constant(f"axis{axis}", [axis], np.int64)


def _suppressing(call: Call, rows: Rows, own: List[str], kinds: Optional[str], places: str) -> str:
    """Return 1 where one of some rows, on the axis before the last, suppresses another if it is kept itself.

    Parameters
    ----------
    own : list of str
        Corners of these rows.
    kinds : str or None
        Classes of these rows.
    places : str
        Their numbers, shape (rows, 1).
    """
    across = [_turned(call, each, f"across{slot}") for slot, each in enumerate(rows.corners)]
    common = []
    for axis in (0, 1):
        begin = call.step("Max", [own[axis], across[axis]], f"begin{axis}")
        end = call.step("Min", [own[2 + axis], across[2 + axis]], f"end{axis}")
        zero = call.constant("zero", 0.0)
        length = _side(call, rows, end, begin, f"long{axis}")
        common.append(call.step("Max", [length, zero], f"common{axis}"))
    shared = call.step("Mul", common, "shared")
    areas = [_area(call, rows, each, name) for each, name in ((own, "down"), (across, "right"))]
    both = call.step("Add", areas, "both")
    overlap = call.step("Div", [shared, call.step("Sub", [both, shared], "union")], "overlap")
    limit = call.constant("limit", rows.limit)
    meets = call.step("GreaterOrEqual" if rows.at_limit else "Greater", [overlap, limit], "too_much")
    if kinds is not None and rows.kinds is not None:
        pair = [call.step("Unsqueeze", [each, _axis(call, a)], f"kind{a}") for each, a in ((kinds, 2), (rows.kinds, 1))]
        meets = call.step("And", [meets, call.step("Equal", pair, "same_kind")], "meets")
    before = call.step("Less", [places, call.constant("last", np.arange(rows.count))], "before")
    before = call.step("And", [meets, before], "suppressing")
    return call.step("Cast", [before], "suppressing_number", to=_float(call.writer))


def _turned(call: Call, column: str, suffix: str) -> str:
    return call.step("Transpose", [column], suffix, perm=[0, 2, 1])


def _area(call: Call, rows: Rows, corners: List[str], name: str) -> str:
    sides = []
    for axis in (0, 1):
        side = _side(call, rows, corners[2 + axis], corners[axis], f"length_{name}{axis}")
        if rows.turned:
            side = call.step("Max", [side, call.constant("nothing", 0.0)], f"side_{name}{axis}")
        sides.append(side)
    return call.step("Mul", sides, f"area_{name}")


def _side(call: Call, rows: Rows, end: str, begin: str, suffix: str) -> str:
    side = call.step("Sub", [end, begin], suffix)
    return call.step("Add", [side, call.constant("longer", rows.longer)], f"{suffix}_whole") if rows.longer else side


def _settled(call: Call, alive: str, suppressing: str) -> str:
    """Return what is kept in the end, shape (images, 1, rows)."""
    half, zero = call.constant("one_half", 0.5), call.constant("no_change", 0.0)
    body = _Body.of(call, "settle")
    inner = body.call
    hits = inner.step("MatMul", [body.carried, suppressing], "hits")
    free = inner.step("Cast", [inner.step("Less", [hits, half], "free")], "free_number", to=_float(call.writer))
    new = inner.step("Mul", [free, alive], "settled")
    size = inner.step("Abs", [inner.step("Sub", [new, body.carried], "difference")], "size")
    most = inner.step("ReduceMax", [size], "most", keepdims=0)
    changed = inner.step("Greater", [most, zero], "changed")
    rounds = call.constant("rounds", np.iinfo(np.int32).max, np.int64)
    return body.loop(call, rounds, alive, changed, new)


def _in_blocks(call: Call, rows: Rows, alive: str) -> str:
    """Return what is kept in the end, shape (images, 1, rows), computed for one block of rows after the other."""
    blocks = -(-rows.count // _BLOCK)
    missing = blocks * _BLOCK - rows.count
    # Rows that are not there take no part.
    corners = [_longer(call, each, missing, 1, 3, f"corner{slot}") for slot, each in enumerate(rows.corners)]
    kinds = _longer(call, rows.kinds, missing, 1, 2, "kinds") if rows.kinds else None
    alive = _longer(call, alive, missing, 2, 3, "alive")
    whole = replace(rows, corners=corners, kinds=kinds, count=blocks * _BLOCK)
    body = _Body.of(call, "block")
    inner = body.call
    ends = [inner.constant("block", [_BLOCK], np.int64)]
    ends.insert(0, inner.step("Mul", [body.round, ends[0]], "start"))
    ends[1] = inner.step("Add", ends, "end")

    def part(source: str, axis: int, suffix: str) -> str:
        return inner.step("Slice", [source, *ends, _axis(inner, axis)], suffix)

    own = [part(each, 1, f"own{slot}") for slot, each in enumerate(corners)]
    own_kinds = part(kinds, 1, "own_kinds") if kinds else None
    places = call.constant("all_places", np.arange(blocks * _BLOCK)[:, np.newaxis])
    places = inner.step("Slice", [places, *ends, _axis(inner, 0)], "own_places")
    suppressing = _suppressing(inner, whole, own, own_kinds, places)
    left = _settled(inner, part(body.carried, 2, "own_alive"), part(suppressing, 2, "within"))
    hits = inner.step("MatMul", [left, suppressing], "hits")
    free = inner.step("Less", [hits, inner.constant("one_half", 0.5)], "free")
    new = inner.step("Mul", [body.carried, inner.step("Cast", [free], "number", to=_float(call.writer))], "new")
    go_on = inner.step("Identity", [body.go], "go_on")
    found = body.loop(call, call.constant("blocks", blocks, np.int64), alive, go_on, new)
    ends = [call.constant(name, [number], np.int64) for name, number in (("begin", 0), ("count", rows.count))]
    return call.step("Slice", [found, *ends, _axis(call, 2)], "kept_rows")


def _longer(call: Call, source: str, missing: int, axis: int, rank: int, suffix: str) -> str:
    """Return rows with some zeros behind them."""
    if not missing:
        return source
    pads = [0] * 2 * rank
    pads[rank + axis] = missing
    return call.step("Pad", [source, call.constant(f"{suffix}_pads", pads, np.int64)], f"{suffix}_longer")


@dataclass(frozen=True)
class _Body:
    """The body of a Loop that carries one tensor.

    Parameters
    ----------
    call : Call
        What is translated, whose steps go into the body.
    name, round, go, carried : str
        Names of the body and of what it reads.
    """

    call: Call
    name: str
    round: str
    go: str
    carried: str

    @staticmethod
    def of(call: Call, suffix: str) -> _Body:
        """Return an empty body."""
        name = call.writer.unused(f"{call.node.name}_{suffix}")
        inputs = [call.writer.unused(f"{name}_{each}") for each in ("round", "go", "old")]
        return _Body(replace(call, writer=call.writer.inner()), name, *inputs)

    def loop(self, call: Call, rounds: str, start: str, go_on: str, new: str) -> str:
        """Write the Loop; return what it carries in the end."""
        helper, kinds = call.writer.onnx.helper, call.writer.onnx.TensorProto

        def value(name: str, kind: Any, shape: Optional[List[int]]) -> Any:
            return helper.make_tensor_value_info(name, kind, shape)

        inputs = [
            value(self.round, kinds.INT64, []),
            value(self.go, kinds.BOOL, []),
            value(self.carried, kinds.FLOAT, None),
        ]
        outputs = [value(go_on, kinds.BOOL, []), value(new, kinds.FLOAT, None)]
        body = helper.make_graph(self.call.writer.nodes, self.name, inputs, outputs)
        go = call.constant("go", True, np.bool_)
        return call.step("Loop", [rounds, go, start], f"{self.name[len(call.node.name) + 1 :]}_kept", body=body)
