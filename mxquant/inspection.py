"""Looking at what int8 loses: sensitivity of layers before, and comparison with fp32 after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

from mxquant import model as models
from mxquant.accuracy.presets import FEW_EXAMPLES
from mxquant.accuracy.smoothing import smoothed_as
from mxquant.accuracy.steps import check_weights
from mxquant.analysis.compare import compare_networks
from mxquant.analysis.comparison import Comparison
from mxquant.analysis.sensitivity import Sensitivity, measure
from mxquant.calibration import collect
from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.lowering.level_warnings import level_warnings
from mxquant.model.quantized_model import QuantizedModel, unlabelled
from mxquant.plan import QuantPlan
from mxquant.planning.loaded import check_plan, plan_loaded
from mxquant.progress import Progress, progress_bar, reporting
from mxquant.runtime.checks import whole_number
from mxquant.runtime.data import Sample, batches, peek
from mxquant.runtime.forward import kept_examples

__all__ = ["compare", "sensitivity", "smoothed_model"]


def sensitivity(
    net: Any,
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    num_calib_examples: Optional[int] = None,
    target: str = "onednn",
    progress: Progress = False,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
    **options: Any,
) -> Sensitivity:
    """Measure what each layer loses in int8, with its weights, its activations, and both.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    data : DataIter, DataLoader, array, or iterable
        Calibration examples; the first 16 are those that it is measured on.
    arg_params, aux_params, data_names, label_names, nonfinite_params, num_calib_examples, batch_axes
        As for :func:`calibrate`.
    target, **options
        As for :func:`make_plan`.
    progress : bool or callable
        As for :func:`calibrate`.

    Returns
    -------
    Sensitivity
        SQNR in dB of the network's output with one layer in int8, the most sensitive first; ``table()`` is a text.

    Raises
    ------
    InputError
        If the network, the data or an option is not what it has to be.
    """
    example, data = peek(data)
    model = models.load(net, arg_params, aux_params, data_names, label_names, example or None, nonfinite_params)
    sample = Sample(FEW_EXAMPLES)
    with reporting(progress):
        statistics = collect(model, data, num_calib_examples, sample=sample, target=target, batch_axes=batch_axes)
        plan = plan_loaded(model, statistics, target, options)
        count = sum(layer.precision == "int8" for layer in plan.layers.values())
        with progress_bar("measuring layers", count) as report:
            network = model.canonical.network
            return measure(network, plan, kept_examples(network, sample), report)


def compare(
    net: Any,
    model: Union[QuantizedModel, QuantPlan],
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    num_examples: int = FEW_EXAMPLES,
    progress: Progress = False,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
) -> Comparison:
    """Compare an int8 network, layer by layer, with the fp32 network.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    model : QuantizedModel or QuantPlan
        The int8 network that was made of it, which runs on this CPU too; or a plan, which is only simulated.
    data : DataIter, DataLoader, array, or iterable
        Examples.
    arg_params, aux_params, data_names, label_names, nonfinite_params, batch_axes
        As for :func:`calibrate`.
    num_examples : int
        How many of the first examples to use at most.
    progress : bool or callable
        As for :func:`calibrate`.

    Returns
    -------
    Comparison
        SQNR in dB of every layer and output, what is clipped, and warnings; ``table()`` is a text.

    Raises
    ------
    InputError
        If the network or the data cannot be read, or `model` was not made of the network.
    PlanError
        If the plan is of another network.
    """
    example, data = peek(data)
    loaded = models.load(net, arg_params, aux_params, data_names, label_names, example or None, nonfinite_params)
    plan = model.plan if isinstance(model, QuantizedModel) else model
    check_plan(loaded, plan)
    if isinstance(model, QuantizedModel) and model.simulated:
        raise InputError("model is a simulation, which compare makes itself; pass its plan, or the int8 model")
    sample = Sample(whole_number(num_examples, "num_examples", 1))
    sample.fill(batches(data, loaded.inputs, None, loaded.canonical.network, batch_axes))
    int8: Optional[Network] = None
    told: Tuple[str, ...] = ()
    if isinstance(model, QuantizedModel):
        here = model.on_this_cpu()
        told = () if here is model else tuple(level_warnings(plan))
        model, plan = here, here.plan
        int8 = unlabelled(model)
        loaded = smoothed_model(loaded, int8.params)
    else:
        check_weights(plan)
    with reporting(progress), progress_bar("comparing layers", len(plan.layers)) as report:
        network = loaded.canonical.network
        found = compare_networks(network, plan, kept_examples(network, sample), int8, report)
    return replace(found, warnings=(*told, *found.warnings))


def smoothed_model(model: models.Model, params: Mapping[str, Any]) -> models.Model:
    """Return a network with the LayerNorms that SmoothQuant gave to an int8 network made of it, by its parameters."""
    network = smoothed_as(model.canonical.network, params)
    return replace(model, canonical=replace(model.canonical, network=network))
