"""The call that writes a network as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

from mxquant import model as models
from mxquant.accuracy.bias_correction import correct_biases
from mxquant.accuracy.steps import check_weights
from mxquant.errors import PlanError
from mxquant.graph import Network
from mxquant.lowering.onnx_qdq import OnnxQDQ
from mxquant.onnx_export.onnx_model import OnnxModel, Shape, named_shapes, onnx_model
from mxquant.plan import QuantPlan
from mxquant.planning.loaded import check_plan, check_statistics, log_decisions

if TYPE_CHECKING:
    from mxquant.stats import Statistics

__all__ = ["export_onnx"]


def export_onnx(
    net: Any,
    path: Optional[Union[str, Path]] = None,
    *,
    input_shapes: Union[Shape, Mapping[str, Shape]],
    plan: Optional[QuantPlan] = None,
    statistics: Optional[Statistics] = None,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
) -> OnnxModel:
    """Write a network as ONNX: fp32, or with QuantizeLinear and DequantizeLinear where a plan has int8 tensors.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    path : str or Path, optional
        Where to write it; default: nowhere.
    input_shapes : tuple of int, or mapping of str to tuple of int
        Shapes of the data inputs, the batch first; a tuple where there is one input. The batch stays free, unless the
        network fixes it.
    plan : QuantPlan, optional
        A plan for the target 'onnx_qdq'; default: fp32.
    statistics : Statistics, optional
        As for :func:`mxquant.lower`.
    arg_params, aux_params, data_names, label_names, nonfinite_params
        As for :func:`mxquant.calibrate`.

    Returns
    -------
    OnnxModel
        What was written.

    Raises
    ------
    InputError
        If the network cannot be read, or does not take these shapes.
    PlanError
        If the plan is of another network or target.
    LoweringError
        If operators have no translation, naming all of them; or without the package onnx.
    OutputError
        If the file cannot be written.
    """
    model = models.load(net, arg_params, aux_params, data_names, label_names, nonfinite_params=nonfinite_params)
    shapes = named_shapes(model, input_shapes)
    if plan is None:
        exported = onnx_model(model.canonical.network, model.digest, None, shapes)
    else:
        exported = onnx_model(_corrected(model, plan, statistics), model.digest, plan, shapes)
    if path is not None:
        exported.save(path)
    return exported


def _corrected(model: models.Model, plan: QuantPlan, statistics: Optional[Statistics]) -> Network:
    """Return the canonical network with biases corrected for a plan that fits it, where there are statistics."""
    if isinstance(plan, QuantPlan) and plan.target != OnnxQDQ.name:
        raise PlanError(f"the plan is for target {plan.target!r}; plan again with target={OnnxQDQ.name!r}")
    check_plan(model, plan)
    check_weights(plan)
    check_statistics(model, statistics)
    log_decisions(plan)
    network = model.canonical.network
    return network if statistics is None else correct_biases(network, plan, statistics)
