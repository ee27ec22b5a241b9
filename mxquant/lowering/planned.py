"""What a plan says of a network's nodes and tensors, or the refusal of a plan that does not fit the network."""

from __future__ import annotations

from typing import Dict, Set, Tuple

from mxquant.errors import PlanError
from mxquant.graph import Network, Node, Tensor
from mxquant.lowering.target import Int8Operator, Target
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan

__all__ = ["data_plan", "is_calibrated", "planned", "result_plan"]


def is_calibrated(plan: QuantPlan) -> bool:
    """Whether the thresholds of a plan are known before the network runs."""
    return plan.settings.get("method") != "none"


def planned(target: Target, network: Network, plan: QuantPlan) -> Dict[Node, Tuple[Int8Operator, LayerPlan]]:
    """Return the nodes that the plan wants in int8, how the target computes them, and their plans.

    Parameters
    ----------
    target : Target
        What the network was prepared by.
    network : Network
        The prepared fp32 network.
    plan : QuantPlan
        A plan.

    Raises
    ------
    PlanError
        If the plan does not fit the network, naming the field.
    """
    int8: Dict[Node, Tuple[Int8Operator, LayerPlan]] = {}
    names: Set[str] = set()
    for node in network.graph.operators:
        name = node.layers[0]
        layer = plan.layers.get(name)
        names.add(name)
        if layer is None:
            raise PlanError(f"layers['{name}'] is missing; the network computes it as a layer of its own")
        if tuple(layer.contains) != node.layers:
            raise PlanError(
                f"layers['{name}'].contains is {list(layer.contains)}, but the network has {list(node.layers)}"
            )
        if layer.precision == "float32":
            continue
        operator = target.describe(network, node, is_calibrated(plan))
        if isinstance(operator, str):
            raise PlanError(f"layers['{name}'].precision is 'int8', but {operator}")
        int8[node] = (operator, layer)
    unknown = set(plan.layers) - names
    if unknown:
        raise PlanError(f"layers['{min(unknown)}'] is not a layer that the network computes by itself")
    return int8


def data_plan(plan: QuantPlan, tensor: Tensor, operator: Int8Operator, layer: LayerPlan) -> TensorPlan:
    """Return the plan of a tensor that an int8 layer reads; raise PlanError where it cannot read what is planned."""
    found = plan.tensors.get(tensor.name)
    if found is None:
        raise PlanError(f"tensors['{tensor.name}'] is missing, but an int8 layer needs it")
    if found.dtype == "float32":
        raise PlanError(f"tensors['{tensor.name}'].dtype is 'float32', but an int8 layer reads it")
    if is_calibrated(plan) and found.threshold is None:
        raise PlanError(f"tensors['{tensor.name}'].threshold is null, but an int8 layer needs it")
    if found.dtype not in operator.accepts:
        allowed = " or ".join(f"'{dtype}'" for dtype in sorted(operator.accepts))
        raise PlanError(f"tensors['{found.name}'].dtype is '{found.dtype}', but layer '{layer.name}' reads {allowed}")
    readable = operator.any_zero_point or (operator.reads_zero_point and found.begins_at_zero)
    if found.zero_point and not readable:
        raise PlanError(f"tensors['{found.name}'].zero_point is not 0, which layer '{layer.name}' cannot read")
    return found


def result_plan(plan: QuantPlan, node: Node, layer: LayerPlan) -> TensorPlan:
    """Return the plan of what an int8 layer makes; raise PlanError where there is none."""
    found = plan.tensors.get(node.output.name)
    if found is None:
        raise PlanError(f"tensors['{node.output.name}'] is missing, but int8 layer '{layer.name}' makes it")
    return found
