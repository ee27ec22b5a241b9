"""Thresholds by measured error: for each tensor the method with which its readers' results change least.

For a tensor x that the layers L read, the error of a threshold T is Σ_L ‖L(x) - L(x̂_T)‖², relative to Σ_L ‖L(x)‖², on
examples of the calibration data; for a tensor that no convolution or FullyConnected reads, ‖x - x̂_T‖². The plan with
the best method of each tensor is compared with the plans of single methods, by the SQNR of the network's output in the
integer simulation; the best of all is taken.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, FrozenSet, List, Mapping

import numpy as np

from mxquant.accuracy.step import EXAMPLES, STATISTICS, Asked, Inputs, MakePlan, ThresholdStep
from mxquant.analysis.judge import Judge
from mxquant.graph import Network, Tensor
from mxquant.graph.kinds import LINEAR
from mxquant.plan import QuantPlan, TensorPlan
from mxquant.planning.plan_options import PlanOptions
from mxquant.runtime.mxnet import mx
from mxquant.runtime.walk import Walk
from mxquant.thresholds import METHODS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AskedMethod", "EachMethod", "MethodOfEachTensor", "choose_methods"]


@dataclass(frozen=True)
class AskedMethod(ThresholdStep):
    """The method that the user asked for, or the usual one, which other plans have to be clearly better than."""

    name: ClassVar[str] = "thresholds as asked for"
    needs: ClassVar[FrozenSet[str]] = frozenset({STATISTICS})

    def applies(self, asked: Asked) -> bool:
        """Whether a method is given, or stands first among all."""
        return asked.method != "auto" or asked.every_method

    def plan(self, network: Network, inputs: Inputs, make: MakePlan) -> QuantPlan:
        """Return the plan by that method."""
        return make(None, {})


@dataclass(frozen=True)
class EachMethod(ThresholdStep):
    """One of the methods, for all tensors."""

    method: str
    name: ClassVar[str] = "thresholds of each method"
    needs: ClassVar[FrozenSet[str]] = frozenset({STATISTICS})

    def applies(self, asked: Asked) -> bool:
        """Whether all methods are tried, of which the usual one stands before them."""
        return asked.every_method and self.method != PlanOptions.method

    def plan(self, network: Network, inputs: Inputs, make: MakePlan) -> QuantPlan:
        """Return the plan by this method."""
        return make(self.method, {})


@dataclass(frozen=True)
class MethodOfEachTensor(ThresholdStep):
    """For each tensor the method of least measured error: :func:`choose_methods`."""

    name: ClassVar[str] = "thresholds of least measured error"
    needs: ClassVar[FrozenSet[str]] = frozenset({STATISTICS, EXAMPLES})

    def applies(self, asked: Asked) -> bool:
        """Whether it is asked for, or all methods are tried."""
        return asked.method == "auto" or asked.every_method

    def plan(self, network: Network, inputs: Inputs, make: MakePlan) -> QuantPlan:
        """Return the plan by that choice."""
        return choose_methods(network, make, inputs)


def choose_methods(
    network: Network, make: Callable[[str, Mapping[str, str]], QuantPlan], inputs: Mapping[str, NDArray[Any]]
) -> QuantPlan:
    """Return the plan whose thresholds do the least harm.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    make : callable
        Returns the plan for a method, and other methods for single tensors.
    inputs : mapping of str to numpy.ndarray
        Examples by name of the input.

    Returns
    -------
    QuantPlan
        On these examples no worse than the plan of any single method.
    """
    judge = Judge(network, inputs, parts=True)
    plans = {method: make(method, {}) for method in METHODS}
    levels = {method: judge.level(network, plan) for method, plan in plans.items()}
    best = max(levels, key=levels.__getitem__)
    mixed = make(best, _best_methods(network, plans, inputs, best))
    return mixed if judge.level(network, mixed) >= levels[best] else plans[best]


def _best_methods(
    network: Network, plans: Mapping[str, QuantPlan], inputs: Mapping[str, NDArray[Any]], default: str
) -> Dict[str, str]:
    """Return the method of least error for each tensor whose threshold depends on the method."""
    walk = Walk(network, inputs)
    errors: Dict[str, Dict[str, float]] = defaultdict(lambda: defaultdict(float))
    while walk.pending and all(t.node.name in walk.known for t in walk.pending[-1].inputs if t.node.is_variable):
        node = walk.pending[-1]
        data: List[Tensor] = node.inputs[:1] if node.op in LINEAR else node.inputs
        for tensor in data:
            candidates = {
                method: plan.tensors[tensor.name] for method, plan in plans.items() if tensor.name in plan.tensors
            }
            if tensor.node.name in network.params or not _differ(candidates):
                continue
            value = walk.value(tensor)
            exact = walk.compute(node) if node.op in LINEAR else value
            power = max(float((exact**2).sum().asscalar()), 1e-30)
            for method, plan in candidates.items():
                rounded = _rounded(value, plan)
                found = walk.compute(node, rounded) if node.op in LINEAR else rounded
                errors[tensor.name][method] += float(((found - exact) ** 2).sum().asscalar()) / power
        walk.step()
    chosen = {name: min(found, key=lambda method: (found[method], method != default)) for name, found in errors.items()}
    return {name: method for name, method in chosen.items() if method != default}


def _differ(candidates: Mapping[str, TensorPlan]) -> bool:
    thresholds = {plan.threshold for plan in candidates.values() if plan.method in METHODS}
    return len(thresholds) > 1 and None not in thresholds


def _rounded(value: Any, plan: TensorPlan) -> Any:
    """Return a tensor rounded to the codes of a plan, as real values."""
    assert plan.scale is not None and plan.codes is not None
    return mx.nd.clip(mx.nd.rint(value / np.float32(plan.scale).item()), *plan.ends) * plan.scale
