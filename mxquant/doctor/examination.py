"""The examination: everything about an int8 network and its fp32 network that a person should know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from mxquant import model as models
from mxquant.accuracy.bias_correction import correct_biases
from mxquant.accuracy.improving import divide
from mxquant.accuracy.reconstruction import reconstruct
from mxquant.analysis.compare import compare_networks
from mxquant.analysis.int8_weights import weights_of
from mxquant.analysis.macs import layer_macs
from mxquant.analysis.scores import Tally
from mxquant.analysis.sensitivity import measure
from mxquant.analysis.turns import bound, milliseconds
from mxquant.calibration import collect
from mxquant.doctor.changes import Trials, best_changes, candidates
from mxquant.doctor.diagnosis import Diagnosis
from mxquant.doctor.examples import Labelled, read_examples
from mxquant.doctor.layers import Measured, layer_findings
from mxquant.doctor.timing import fp32_milliseconds, int8_milliseconds
from mxquant.doctor.verdict import verdict_of
from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.inspection import smoothed_model
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.simulate import simulate
from mxquant.model.quantized_model import QuantizedModel, unlabelled
from mxquant.onnx_export.onnx_model import OnnxModel
from mxquant.pipeline import quantize
from mxquant.plan import QuantPlan
from mxquant.planning.loaded import check_plan, plan_loaded
from mxquant.progress import Progress, progress_bar, reporting
from mxquant.runtime.checks import whole_number
from mxquant.runtime.data import peek
from mxquant.runtime.forward import outputs_in_turn, parts, takes_any_batch
from mxquant.runtime.memory import give_back
from mxquant.runtime.mxnet_bridge import numpy_params
from mxquant.shown import logger
from mxquant.stats import Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["diagnose"]

_log = logger(__name__)

# The sensitivity of each layer is a forward pass of its own: examples that all of them may see together, and each.
_PASSES, _FEW = 1000, 8
# Examples that changes are tried on, each change in a pass of its own, and that weights are rounded by for a try.
_TRYING = 16
# Options of quantize with which it counts other examples than these, or counts them in another way.
_COUNTED_OTHERWISE = frozenset({"statistics", "nonfinite", "num_calib_examples", "ctx"})
# Fewer are not divided into some to quantize with and others to judge by.
_ENOUGH = 4


def diagnose(
    net: Any,
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    int8: Optional[QuantizedModel] = None,
    num_examples: int = 32,
    progress: Progress = False,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
    **options: Any,
) -> Diagnosis:
    """Examine what int8 does to a network, layer by layer, and try what would help.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    data : DataIter, DataLoader, array, or iterable
        Examples. With labels (the last array of a tuple, or the label of a DataBatch) accuracy is measured too.
    arg_params, aux_params, data_names, label_names, nonfinite_params, batch_axes
        As for :func:`mxquant.calibrate`.
    int8 : QuantizedModel, optional
        What was made of it; default: it is quantized with the first half of the examples, and judged by the second.
    num_examples : int
        How many of the first examples to look at, at most.
    progress : bool or callable
        As for :func:`mxquant.calibrate`.
    **options
        As for :func:`mxquant.quantize`, where `int8` is not given.

    Returns
    -------
    Diagnosis
        The findings; ``save`` writes them as a page.

    Raises
    ------
    InputError
        If the network, the data or an option is not what it has to be, or `int8` was not made of the network.
    PlanError
        If `int8` is of another network.
    """
    num_examples = whole_number(num_examples, "num_examples", 1)
    if int8 is not None and options:
        raise InputError(f"int8 is quantized already; leave out {', '.join(map(repr, sorted(options)))}")
    example, data = peek(data)
    source = models.read(net, arg_params, aux_params, data_names, label_names, example or None, nonfinite_params)
    loaded = source.model()
    examples = read_examples(data, loaded.inputs, num_examples, loaded.canonical.network, batch_axes)
    fitted, judged = examples, examples
    if int8 is None and examples.count >= _ENOUGH and takes_any_batch(loaded.canonical.network, examples.arrays):
        half = examples.count // 2
        fitted, judged = examples.part(0, half), examples.part(half, examples.count)
    fitted_parts = parts(loaded.canonical.network, fitted.arrays)
    counted = None
    with reporting(progress):
        if int8 is None:
            if not options.keys() & _COUNTED_OTHERWISE:
                counted = collect(loaded, fitted_parts, target=options.get("target") or OneDNN.name)
                options = {**options, "statistics": counted}
            made = quantize(
                net,
                fitted_parts,
                arg_params=arg_params,
                aux_params=aux_params,
                data_names=loaded.inputs,
                label_names=label_names,
                nonfinite_params=nonfinite_params,
                progress=progress,
                **options,
            )
            model = made.on_this_cpu() if isinstance(made, QuantizedModel) else None
            plan = made.plan if model is None else model.plan
        else:
            model = int8.on_this_cpu()
            plan = model.plan
        if plan is None or plan.settings.get("method") == "none":
            raise InputError("the plan has no thresholds; a network without calibration cannot be examined")
        give_back()
        check_plan(loaded, plan)
        smoothed = smoothed_model(loaded, _parameters(made if int8 is None else int8))
        if counted is None or smoothed.canonical.network is not loaded.canonical.network:
            counted = collect(smoothed, fitted_parts, target=plan.target)
        found = _examined(smoothed, source.unlabelled, model, plan, counted, fitted, judged)
        return found if int8 is not None else replace(found, fresh=judged is not fitted)


def _examined(
    loaded: models.Model,
    original: Network,
    model: Optional[QuantizedModel],
    plan: QuantPlan,
    statistics: Statistics,
    fitted: Labelled,
    examples: Labelled,
) -> Diagnosis:
    network = loaded.canonical.network
    lowered = None if model is None else unlabelled(model)
    weights = correct_biases(network, plan, statistics) if lowered is None else weights_of(network, plan, lowered)
    here = lowered if plan.target == OneDNN.name else None
    with progress_bar("comparing layers", len(plan.layers)) as report:
        comparison = compare_networks(network, plan, examples.arrays, here, report)
    give_back()
    few = examples.part(0, _FEW).arrays
    int8_layers = sum(layer.precision == "int8" for layer in plan.layers.values())
    fewer = examples.part(0, min(_FEW, max(2, _PASSES // max(int8_layers, 1)))).arrays
    with progress_bar("measuring layers", int8_layers) as report:
        sensitivity = measure(weights, plan, fewer, report, parts=False)
    give_back()
    with progress_bar("timing layers", None):
        fp32_ms = fp32_milliseconds(network, plan, few)
        layer_ms = {} if here is None else int8_milliseconds(network, plan, here, few)
        whole = [] if here is None else milliseconds([bound(original, few, fused=True), bound(here, few)])
    measured = Measured(
        comparison,
        {row.layer: row.both for row in sensitivity.layers},
        fp32_ms,
        layer_ms,
        layer_macs(network, few),
    )
    layers = layer_findings(network, plan, statistics, measured)
    # Weights that are rounded for some examples do better on these than on others.
    by, judge = divide(network, examples.arrays) if fitted is examples else (fitted.arrays, examples.arrays)
    judge = parts(network, judge, _TRYING)[0]
    trials = Trials(
        network,
        weights,
        plan,
        statistics,
        lambda options: plan_loaded(loaded, statistics, plan.target, dict(options)),
        lambda: reconstruct(network, plan, parts(network, by, _TRYING)[0]),
        judge,
        "mxquant quantize",
    )
    shares = {layer.name: layer.macs for layer in layers}
    tried = candidates(trials, [row.layer for row in sensitivity.layers], shares)
    with progress_bar("trying changes", len(tried)) as report:
        changes = best_changes(trials, tried, report)
    accuracy = _accuracy(network, here if here is not None else simulate(weights, plan), examples)
    worst = min(comparison.outputs, key=lambda out: out.sqnr if out.int8_sqnr is None else out.int8_sqnr)
    sqnr = worst.sqnr if worst.int8_sqnr is None else worst.int8_sqnr
    same = worst.top1 if worst.int8_top1 is None else worst.int8_top1
    level, verdict, reasons = verdict_of(sqnr, same, accuracy, comparison.warnings, whole)
    return Diagnosis(
        level,
        verdict,
        reasons,
        sqnr,
        here is None,
        same,
        accuracy[0],
        accuracy[1],
        whole[0] if whole else None,
        whole[1] if whole else None,
        batch=few.count,
        fp32_bytes=_bytes(network.params),
        int8_bytes=_bytes(network.params if lowered is None else lowered.params),
        int8_macs=comparison.int8_macs,
        target=plan.target,
        isa=plan.isa,
        cpu=comparison.cpu,
        num_examples=examples.count,
        warnings=comparison.warnings,
        layers=layers,
        changes=changes,
    )


def _parameters(made: Union[QuantizedModel, OnnxModel]) -> Mapping[str, Any]:
    """Return the parameters of an int8 network by name."""
    if isinstance(made, QuantizedModel):
        return {**numpy_params(made.arg_params), **numpy_params(made.aux_params)}
    from onnx.numpy_helper import to_array

    return {constant.name: to_array(constant) for constant in made.proto.graph.initializer}


def _bytes(params: Mapping[str, NDArray[Any]]) -> int:
    return sum(value.nbytes for value in params.values())


def _accuracy(network: Network, int8: Network, examples: Labelled) -> Tuple[Optional[float], Optional[float]]:
    """Return the top-1 accuracy of both networks; None without labels, or without classes."""
    if examples.labels is None:
        return None, None
    found: List[float] = []
    given = parts(network, examples.arrays)
    for each in (network, int8):
        scores = np.concatenate([np.atleast_1d(values[0]) for values in outputs_in_turn(each, given)])
        if scores.ndim != 2 or len(scores) != len(examples.labels):
            return None, None
        tally = Tally()
        try:
            tally.add(scores, examples.labels)
        except InputError as error:
            _log.warning("no accuracy: %s", error)
            return None, None
        found.append(float(tally.top1 or 0))
    return found[0], found[1]
