"""The tables of ``targets.md``: what each target computes in int8, as its own rows say."""

from __future__ import annotations

import re
from typing import Iterable, Tuple

from mxquant.lowering.capability import Capability
from mxquant.targets import target_named

HEADS = ("Layer", "When", "Data and result", "Range, scales", "Fused")
_RANGES = {"own": "its own", "inherited": "of its data", "joined": "largest of its data", "weights": "of its weights"}
_RESULTS = {"like-input": "as its data", "any": "int8, uint8"}


def with_tables(markdown: str) -> str:
    """Return a page with the table of a target in each place that asks for it: ``<!-- table: onednn -->``."""
    return re.sub(r"<!-- table: (\w+) -->", lambda found: table(target_named(found[1]).capabilities), markdown)


def table(rows: Iterable[Capability]) -> str:
    """Return rows as a table in Markdown, and what else is to be said of them as a list below it."""
    rows = list(rows)
    lines = (HEADS, ("---",) * len(HEADS), *map(cells, rows))
    notes = (f"- **{row.layer}**: {row.note}" for row in rows if row.note)
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *notes])


def cells(row: Capability) -> Tuple[str, ...]:
    """Return what the table says of a row, one text for each of `HEADS`."""
    int8 = row.int8
    operators = "<br>".join(f"`{op}`" for op in row.emits or (int8.op,) if op)
    data = ", ".join(sorted(int8.accepts)) if int8.data else "float32"
    points = (("read", int8.reads_zero_point), ("returned", int8.returns_zero_point))
    zero_point = " and ".join(name for name, has in points if has)
    requantized = int8.output == "own" and int8.fuses_requantize
    return (
        f"{row.layer}<br>{operators or 'the same operator'}",
        "always" if int8.must else "between",
        f"{data} → {_result(row)}" + (f"<br>zero point {zero_point}" if zero_point else ""),
        "<br>".join(filter(None, [_RANGES.get(int8.output, ""), _scales(row)])),
        ", ".join([*(["requantize"] if requantized else []), *row.fuses]),
    )


def _result(row: Capability) -> str:
    int8 = row.int8
    if int8.output == "float32":
        return "float32"
    unsigned = [kind for kind in row.fuses if kind in row.unsigned]
    after = f" (uint8 behind {', '.join(unsigned)})" if unsigned else ""
    return _RESULTS.get(int8.result, int8.result) + after + (", float32" if int8.float_output else "")


def _scales(row: Capability) -> str:
    if row.int8.channel_wise:
        return "per channel"
    return "per tensor" if row.int8.must or row.int8.weights else ""
