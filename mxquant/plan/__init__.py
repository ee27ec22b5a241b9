"""The plan as data: what will be quantized, how, and why."""

from mxquant.plan.plan import LayerPlan, QuantPlan, TensorPlan
from mxquant.plan.recurrent_plan import RecurrentPlan

__all__ = ["LayerPlan", "QuantPlan", "RecurrentPlan", "TensorPlan"]
