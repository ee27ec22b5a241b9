"""How plans, statistics and comparisons look in a notebook: tables in HTML that need no style and no script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Iterable, Optional, Sequence

if TYPE_CHECKING:
    from mxquant.analysis.comparison import Comparison
    from mxquant.analysis.sensitivity import Sensitivity
    from mxquant.plan import QuantPlan
    from mxquant.stats import Statistics

__all__ = ["comparison_html", "plan_html", "sensitivity_html", "statistics_html"]


def plan_html(plan: QuantPlan) -> str:
    """Return a plan as HTML: its layers, what each is, and why."""
    int8 = sum(layer.precision == "int8" for layer in plan.layers.values())
    made_for = f" on {plan.isa}" if plan.isa else ""
    rows = [(layer.name, layer.op, layer.precision, layer.reason) for layer in plan.layers.values()]
    caption = f"QuantPlan for {plan.target}{made_for}: {int8} of {len(plan.layers)} layers in int8"
    return _table(caption, ("layer", "operator", "precision", "why"), rows)


def statistics_html(statistics: Statistics) -> str:
    """Return statistics as HTML: the range of each tensor."""
    rows = [
        (name, f"{each.minimum:.5g}", f"{each.maximum:.5g}", f"{_share(each.zeros, each.count)}", f"{each.count:,}")
        for name, each in statistics.items()
    ]
    caption = f"Statistics of {len(statistics)} tensors on {statistics.num_examples:,} examples"
    return _table(caption, ("tensor", "minimum", "maximum", "zeros", "values"), rows)


def comparison_html(comparison: Comparison) -> str:
    """Return a comparison as HTML: what each layer and output has lost."""
    rows = [
        (row.layer, row.op, row.dtype, _decibels(row.sqnr), _decibels(row.local), _percent(row.clipped))
        for row in comparison.layers
    ]
    outputs = "; ".join(f"{each.name}: {_decibels(each.sqnr)} dB" for each in comparison.outputs)
    notes = "".join(f"<p>{escape(warning)}</p>" for warning in comparison.warnings)
    caption = f"Comparison on {comparison.num_examples} examples; {outputs}"
    return _table(caption, ("layer", "operator", "result", "SQNR, dB", "by itself, dB", "clipped"), rows) + notes


def sensitivity_html(sensitivity: Sensitivity) -> str:
    """Return sensitivities as HTML, the most sensitive layer first."""
    rows = [
        (row.layer, row.op, _decibels(row.both), _decibels(row.weights), _decibels(row.activations))
        for row in sensitivity.layers
    ]
    caption = f"Sensitivity: SQNR of the output in dB with one layer in int8; {_decibels(sensitivity.all)} dB with all"
    return _table(caption, ("layer", "operator", "both", "weights", "activations"), rows)


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th style='text-align:left'>{escape(each)}</th>" for each in heads)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption style='text-align:left'>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _decibels(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.1f}"


def _percent(value: Optional[float]) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _share(part: int, whole: int) -> str:
    return _percent(part / whole) if whole else "-"
