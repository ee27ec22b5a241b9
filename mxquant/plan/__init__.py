"""The plan as data: what will be quantized, how, and why."""

from mxquant.plan.layer_plan import LayerPlan
from mxquant.plan.plan import QuantPlan
from mxquant.plan.recurrent_plan import RecurrentPlan
from mxquant.plan.tensor_plan import TensorPlan

__all__ = ["LayerPlan", "QuantPlan", "RecurrentPlan", "TensorPlan"]
