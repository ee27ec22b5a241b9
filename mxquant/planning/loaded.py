"""Plans of networks that are loaded already, and whether statistics and plans are theirs."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mxquant.errors import InputError, PlanError, StatisticsError
from mxquant.graph import Tensor
from mxquant.model import Model
from mxquant.plan import QuantPlan
from mxquant.plan.tables import Table
from mxquant.planning.exclusions import check_tensors
from mxquant.planning.magnitudes import LOST
from mxquant.planning.plan_options import PlanOptions
from mxquant.planning.planner import make_plan
from mxquant.shown import logger
from mxquant.stats import Statistics
from mxquant.targets import target_named

__all__ = ["check_plan", "check_statistics", "log_decisions", "plan_loaded"]

_log = logger(__name__)


def plan_loaded(model: Model, statistics: Optional[Statistics], target: str, options: Dict[str, Any]) -> QuantPlan:
    """Plan a network; `options` are fields of PlanOptions. See :func:`mxquant.make_plan`."""
    unknown = sorted(set(options) - set(PlanOptions.__dataclass_fields__))
    if unknown:
        raise InputError(f"unknown option '{unknown[0]}'; known are {', '.join(PlanOptions.__dataclass_fields__)}")
    check_statistics(model, statistics)
    chosen = PlanOptions(**options)
    _check_tensors(model, statistics, chosen)
    return make_plan(model.canonical, model.digest, statistics, target_named(target), chosen)


def _check_tensors(model: Model, statistics: Optional[Statistics], options: PlanOptions) -> None:
    """Raise InputError where an option names a tensor that the network has in no form; tables may, if not all of it."""
    graphs = (model.graph, model.canonical.network.graph)
    tensors = {Tensor(node, i).name for graph in graphs for node in graph.nodes for i in range(node.num_outputs)}
    known = tensors | set(statistics or ())
    check_tensors(options.tensor_methods, known, "tensor_methods")
    given = options.largest_values
    if not isinstance(given, Table):
        check_tensors(given, known, "largest_values")
    elif given and known.isdisjoint(given):
        raise InputError(
            f"largest_values: the table's tensors, such as '{next(iter(given))}', are not the network's, which has "
            f"'{min(known)}' for example; is it another network's?"
        )


def check_statistics(model: Model, statistics: Optional[Statistics]) -> None:
    """Raise StatisticsError if statistics are of another network, InputError if they are none."""
    if statistics is None:
        return
    if not isinstance(statistics, Statistics):
        raise InputError(f"statistics are {type(statistics).__name__}, expected what calibrate returned, or None")
    if statistics.network != model.digest:
        raise StatisticsError(
            f"the statistics are of network {statistics.network[:12]}..., this one is {model.digest[:12]}...; "
            "calibrate it"
        )


def check_plan(model: Model, plan: QuantPlan) -> None:
    """Raise PlanError if a plan is of another network, InputError if it is no plan."""
    if not isinstance(plan, QuantPlan):
        raise InputError(f"plan is {type(plan).__name__}, expected a QuantPlan; read a file with QuantPlan.load")
    if plan.network != model.digest:
        raise PlanError(
            f"the plan is of network {plan.network[:12]}..., this one is {model.digest[:12]}...; plan again"
        )


def log_decisions(plan: QuantPlan) -> None:
    """Log the decisions of a plan; those that the size of numbers has forced are warnings."""
    int8 = sum(layer.precision == "int8" for layer in plan.layers.values())
    _log.info("%d of %d layers in int8 for '%s'", int8, len(plan.layers), plan.target)
    for layer in plan.layers.values():
        if LOST in layer.reason:
            _log.warning("layer '%s' stays float32: %s", layer.name, layer.reason)
        _log.debug("layer '%s' (%s): %s, %s", layer.name, layer.op, layer.precision, layer.reason)
    for tensor in plan.tensors.values():
        _log.debug("tensor '%s': %s, threshold %s, %s", tensor.name, tensor.dtype, tensor.threshold, tensor.reason)
