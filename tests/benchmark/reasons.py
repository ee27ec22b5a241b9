"""What stays float32 in a network, and why, in a few words."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterator, Mapping, Sequence

from mxquant import QuantPlan

__all__ = ["reasons", "table_of_reasons"]

# What plans say of layers in float32, and what the table says.
SHORT = {
    "no int8": "no int8 form in MXNet",
    "has no statistics": "integers",
    "takes longer for int8": "moves values, faster in float32",
    "prepares what": "before a decision",
    "works on what": "after a decision",
    "constants alone": "constants",
    "gains nothing": "not between int8 layers",
    "positive axis": "Concat of the last axis",
    "operands is float32": "product with float32",
}


def reasons(plan: QuantPlan) -> Dict[str, Dict[str, int]]:
    """Return how many operators of each kind stay float32, by what the plan says why."""
    found: Dict[str, Counter[str]] = {}
    for layer in plan.layers.values():
        if layer.precision == "float32":
            why = next((short for text, short in SHORT.items() if text in layer.reason), layer.reason)
            found.setdefault(why, Counter())[layer.op.lower().replace("_contrib_", "").lstrip("_")] += 1
    return {why: dict(counter.most_common()) for why, counter in sorted(found.items())}


def table_of_reasons(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; rows have a 'network', and in 'float32' what :func:`reasons` returns."""
    yield from ("What stays float32, and why:", "", "| network | operators |", "| --- | --- |")
    for row in rows:
        parts = [f"{why}: {_counted(found)}" for why, found in row["float32"].items()]
        yield f"| {row['network']} | {'; '.join(parts) or 'nothing'} |"


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {op}" if count > 1 else op for op, count in found.items())
