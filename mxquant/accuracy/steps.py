"""The steps of accuracy in the order in which they are taken: whoever adds one lists it here."""

from __future__ import annotations

from typing import Tuple

from mxquant.accuracy.bias_correction import AnalyticBiasCorrection
from mxquant.accuracy.equalization import Equalization
from mxquant.accuracy.reconstruction import AdaptiveRounding, BiasCorrection
from mxquant.accuracy.smoothing import SmoothQuant
from mxquant.accuracy.step import ScaleStep, Step, ThresholdStep, WeightStep
from mxquant.accuracy.thresholds import AskedMethod, EachMethod, MethodOfEachTensor
from mxquant.accuracy.unchanged import Unchanged
from mxquant.errors import PlanError
from mxquant.plan import QuantPlan
from mxquant.thresholds import METHODS

__all__ = ["SCALES", "STEPS", "THRESHOLDS", "WEIGHTS", "check_weights"]

STEPS: Tuple[Step, ...] = (
    AskedMethod(),
    *map(EachMethod, METHODS),
    MethodOfEachTensor(),
    Equalization(),
    SmoothQuant(),
    Unchanged(),
    AnalyticBiasCorrection(),
    BiasCorrection(),
    AdaptiveRounding(),
)
THRESHOLDS = tuple(step for step in STEPS if isinstance(step, ThresholdStep))
SCALES = tuple(step for step in STEPS if isinstance(step, ScaleStep))
WEIGHTS = tuple(step for step in STEPS if isinstance(step, WeightStep))


def check_weights(plan: QuantPlan) -> None:
    """Raise PlanError if a plan is for other weights than those of the network, which the plan does not hold."""
    changed = [step.name for step in SCALES if step.name in plan.settings.get("steps", "")]
    if changed:
        raise PlanError(
            f"the plan is for weights changed by {changed[0]}, which it does not hold; keep what quantize returned, or "
            "plan again with make_plan"
        )
