"""``mxquant plan``: what runs in int8, how, and why not.

``--json``: ``plan`` (file), ``target``, ``isa``, ``layers`` and ``int8_layers`` (numbers), ``float32`` (a list of
``layer``, ``op``, ``reason``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from mxquant.cli.command import Result, command
from mxquant.cli.files import the_file
from mxquant.cli.int8 import statistics_of
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.outputs import check_output
from mxquant.cli.planning import Method, PlanningOptions
from mxquant.cli.text import facts
from mxquant.errors import InputError

if TYPE_CHECKING:
    from mxquant.plan import QuantPlan

__all__ = ["EXAMPLES", "PlanOptions", "float32_layers", "plan"]

EXAMPLES = (
    "mxquant plan -m net --statistics stats.npz -o plan.json",
    "mxquant plan -m net --statistics stats.npz -o plan.json --exclude 'conv*'",
)


@dataclass(frozen=True)
class PlanOptions:
    """What the plan is made of, and where it goes."""

    statistics: Path = field(
        metadata=option("--statistics", metavar="FILE", help="What 'mxquant calibrate' has written.", reads=the_file)
    )
    out: Path = field(
        metadata=option("--out", "-o", metavar="FILE", help="The plan: JSON, to be read and edited.", writes=the_file)
    )


def float32_layers(plan: QuantPlan) -> List[Dict[str, str]]:
    """Return the layers of a plan that stay float32, and why."""
    return [
        {"layer": layer.name, "op": layer.op, "reason": layer.reason}
        for layer in plan.layers.values()
        if layer.precision == "float32"
    ]


@command
def plan(network: NetworkOptions, own: PlanOptions, planning: PlanningOptions, common: Common) -> Result:
    """Decide how every layer and tensor is quantized, and say why layers stay float32."""
    from mxquant.lowering.isa import title
    from mxquant.pipeline import make_plan

    if planning.method is Method.AUTO:
        raise InputError("--method auto reads examples, which 'mxquant quantize' has; expected another method here")
    check_output(own.out)
    net = network.load()
    statistics = statistics_of(net, own.statistics)
    made = make_plan(net.symbol, statistics, **net.params, target=planning.target.value, **planning.options)
    made.save(own.out)
    float32 = float32_layers(made)
    document: Dict[str, Any] = {
        "plan": own.out,
        "target": made.target,
        "isa": made.isa,
        "layers": len(made.layers),
        "int8_layers": len(made.layers) - len(float32),
        "float32": float32,
    }
    rows = [(f"{each['layer']} ({each['op']})", each["reason"]) for each in float32]
    summary = facts(
        [
            ("in int8", f"{document['int8_layers']} of {len(made.layers)} layers"),
            ("made for", f"{made.target}, {title(made.isa)}" if made.isa else made.target),
            ("wrote", str(own.out)),
        ]
    )
    return Result(document, f"in float32:\n{facts(rows)}\n\n{summary}" if rows else summary)
