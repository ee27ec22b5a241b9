"""The call that writes a network as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

from mxquant import model as models
from mxquant.errors import PlanError
from mxquant.lowering.onnx_qdq import OnnxQDQ
from mxquant.model.quantized_model import QuantizedModel
from mxquant.onnx_export.onnx_model import OnnxModel, Shape, named_shapes, onnx_model
from mxquant.pipeline import lower_loaded
from mxquant.plan import QuantPlan

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
    arg_params, aux_params, data_names, label_names
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
    model = models.load(net, arg_params, aux_params, data_names, label_names)
    shapes = named_shapes(model, input_shapes)
    if plan is None:
        exported: Union[OnnxModel, QuantizedModel] = onnx_model(model.canonical.network, model.digest, None, shapes)
    else:
        if isinstance(plan, QuantPlan) and plan.target != OnnxQDQ.name:
            raise PlanError(f"the plan is for target {plan.target!r}; plan again with target={OnnxQDQ.name!r}")
        exported = lower_loaded(model, plan, statistics, shapes=shapes)
    assert isinstance(exported, OnnxModel)
    if path is not None:
        exported.save(path)
    return exported
