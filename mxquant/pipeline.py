"""The calls that everything else uses: calibrate, make_plan, lower, and quantize, which is all three.

    net, data ──calibrate──► Statistics ──make_plan──► QuantPlan ──lower──► QuantizedModel

A net is a Symbol with its parameters, a HybridBlock, or the prefix of a checkpoint. More than half of this file is what
the calls say of their arguments.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Dict, FrozenSet, Mapping, Optional, Sequence, Union

from mxquant import calibration
from mxquant import model as models
from mxquant.accuracy.bias_correction import correct_biases
from mxquant.accuracy.goal import Goal
from mxquant.accuracy.improving import Improved, Improving
from mxquant.accuracy.mixing import Mixing
from mxquant.accuracy.presets import EXAMPLES, FEW_EXAMPLES
from mxquant.accuracy.steps import check_weights
from mxquant.analysis.slower import slower_layers
from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.lowering.channel_order import orders_of
from mxquant.lowering.isa import detect
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.onnx_qdq import OnnxQDQ
from mxquant.lowering.rest_channel import check_resting
from mxquant.lowering.simulate import SIMULATE, simulate
from mxquant.model.quantized_model import QuantizedModel, quantized_model
from mxquant.onnx_export.onnx_model import OnnxModel, Shape, named_shapes, onnx_model
from mxquant.plan import QuantPlan
from mxquant.planning.loaded import check_plan, check_statistics, log_decisions, plan_loaded
from mxquant.planning.plan_options import PlanOptions, reasons
from mxquant.planning.planner import make_plan as plan_network
from mxquant.progress import Progress, progress_bar, reporting
from mxquant.runtime.data import Sample, batches, peek
from mxquant.runtime.forward import kept_examples
from mxquant.stats import Statistics
from mxquant.targets import target_named, target_of
from mxquant.thresholds import METHODS

__all__ = ["calibrate", "lower", "make_plan", "quantize", "quantize_loaded"]


def calibrate(
    net: Any,
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    num_calib_examples: Optional[int] = None,
    ctx: Any = None,
    nonfinite: str = "raise",
    target: Optional[str] = None,
    checkpoint: Optional[Union[str, Path]] = None,
    progress: Progress = False,
    client: Any = None,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
) -> Statistics:
    """Run the fp32 network on data and collect a histogram of every tensor.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    data : DataIter, DataLoader, array, or iterable of arrays, tuples, dictionaries or DataBatch
        Calibration examples, preprocessed as for inference; see :mod:`mxquant.runtime.data`.
    arg_params, aux_params : mapping of str to NDArray, optional
        Parameters, where `net` is a Symbol.
    data_names, label_names : sequence of str, optional
        Names of the inputs; by default every variable without a value, labels being those that end in 'label'.
    nonfinite_params : {'raise', 'zero'}
        What to do about rows of weights that are NaN or infinite: refuse the network, or treat them as zeros where a
        ReLU hides them, as MXNet's does in channels that died in training; see :mod:`mxquant.model.nonfinite`.
    num_calib_examples : int, optional
        How many examples to use, exactly; default: all.
    ctx : mxnet.Context, optional
        Where to run; default: the CPU.
    nonfinite : {'raise', 'ignore'}
        What to do about NaN and infinities in a tensor: stop, or count them and leave them out.
    target : str, optional
        Collect only what this target needs, which takes less time; default: what any target needs.
    checkpoint : str or Path, optional
        A file that keeps what was counted, once a minute and when Ctrl-C interrupts. If it exists, calibration goes on
        from there: as many examples of `data` are passed over. It is removed at the end.
    progress : bool or callable
        False: nothing is reported. True: a bar or lines on standard error. A callable gets the step, how much of it is
        done, and how much there is or None; see :func:`mxquant.progress.reporting`.
    client : dask.distributed.Client, optional
        Of a cluster whose workers do it, on their CPUs. `data` are then one of :mod:`mxquant.datasets`, a dask.array or
        a dask.bag; see :func:`mxquant.distributed.calibrate`. The result is the same.
    batch_axes : mapping of str to int or None, optional
        Along which axis of an input its examples lie, by the name of the input; None for one that is the same for all
        of them. Default: what a DataDesc's layout says, or what shape inference finds. A network that takes one batch
        size only gets whole batches.

    Returns
    -------
    Statistics
        By tensor name of the user's network; can be saved, merged with ``+``, and used for any target.

    Raises
    ------
    InputError
        If the network or the data cannot be read, or do not fit each other.
    NonFiniteError
        If a tensor holds NaN or infinities.
    CalibrationError
        If a forward pass fails.
    ClusterError
        If workers, or their scheduler, cannot do it.
    """
    given: Dict[str, Any] = {
        "arg_params": arg_params,
        "aux_params": aux_params,
        "data_names": data_names,
        "label_names": label_names,
        "nonfinite_params": nonfinite_params,
        "num_calib_examples": num_calib_examples,
        "nonfinite": nonfinite,
        "target": target,
        "checkpoint": checkpoint,
        "progress": progress,
    }
    if client is None:
        return calibration.calibrate(net, data, ctx=ctx, batch_axes=batch_axes, **given)
    # Dask is there for those who use it only.
    from mxquant import distributed

    if ctx is not None:
        raise InputError(f"ctx is {ctx}, but with client= networks run on the CPUs of the workers; leave it out")
    if batch_axes is not None:
        raise InputError("batch_axes is given, but with client= examples lie along the first axis; leave it out")
    return distributed.calibrate(client, net, data, **given)


def make_plan(
    net: Any,
    statistics: Optional[Statistics],
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    target: str = "onednn",
    **options: Any,
) -> QuantPlan:
    """Decide how every layer and tensor is quantized, and why.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    statistics : Statistics or None
        Of this network; None only with ``method=None``.
    arg_params, aux_params, data_names, label_names, nonfinite_params
        As for :func:`calibrate`.
    target : {'onednn', 'onnx_qdq'}
        What will run the network: MXNet on a CPU, or what reads ONNX.
    **options
        Fields of :class:`~mxquant.planning.plan_options.PlanOptions`: method, dtype, mode, granularity, exclude_layers,
        exclude_operators, percentile, isa, tensor_methods, float32_layers, largest_values.

    Returns
    -------
    QuantPlan
        The plan.

    Raises
    ------
    InputError
        If an option is unknown or not allowed, or an exclusion matches nothing.
    StatisticsError
        If the statistics are of another network.
    """
    model = models.load(net, arg_params, aux_params, data_names, label_names, nonfinite_params=nonfinite_params)
    plan = plan_loaded(model, statistics, target, options)
    log_decisions(plan)
    return plan


def lower(
    net: Any,
    plan: QuantPlan,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    target: Optional[str] = None,
    statistics: Optional[Statistics] = None,
    input_shapes: Optional[Union[Shape, Mapping[str, Shape]]] = None,
) -> Union[QuantizedModel, OnnxModel]:
    """Turn a network into the int8 network that a plan describes.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network that the plan was made for.
    plan : QuantPlan
        The plan.
    arg_params, aux_params, data_names, label_names, nonfinite_params
        As for :func:`calibrate`.
    target : {'simulate', None}
        'simulate' for a float32 network that rounds as the int8 network does, and runs on any device; default: the
        target that the plan was made for.
    statistics : Statistics, optional
        Of this network: biases are corrected for what rounding adds to a layer's result on average; see
        :mod:`mxquant.accuracy.bias_correction`. Default: they stay as they are.
    input_shapes : tuple of int, or mapping of str to tuple of int, optional
        Shapes of the data inputs, which the target 'onnx_qdq' needs; see :func:`mxquant.export_onnx`.

    Returns
    -------
    QuantizedModel or OnnxModel
        The int8 network, which runs on MXNet without mxquant; for the target 'onnx_qdq' ONNX.

    Raises
    ------
    PlanError
        If the plan is of another network, or asks for what cannot be done, naming the field.
    """
    model = models.load(net, arg_params, aux_params, data_names, label_names, nonfinite_params=nonfinite_params)
    shapes = None if input_shapes is None else named_shapes(model, input_shapes)
    return lower_loaded(model, plan, statistics, target, shapes)


def lower_loaded(
    model: models.Model,
    plan: QuantPlan,
    statistics: Optional[Statistics],
    target: Optional[str] = None,
    shapes: Optional[Mapping[str, Shape]] = None,
) -> Union[QuantizedModel, OnnxModel]:
    """Do what :func:`lower` does, with a network that is loaded already."""
    check_plan(model, plan)
    check_weights(plan)
    if target not in (None, plan.target, SIMULATE):
        raise InputError(
            f"target is {target!r}, expected {plan.target!r}, which the plan was made for, or {SIMULATE!r}"
        )
    check_statistics(model, statistics)
    network = model.canonical.network
    corrected = network if statistics is None else correct_biases(network, plan, statistics)
    return _emit(model, corrected, plan, target, shapes)


def _emit(
    model: models.Model,
    canonical: Network,
    plan: QuantPlan,
    target: Optional[str] = None,
    shapes: Optional[Mapping[str, Shape]] = None,
) -> Union[QuantizedModel, OnnxModel]:
    """Return the int8 form of a canonical network, which may have other weights than that of `model`."""
    log_decisions(plan)
    if target == SIMULATE:
        if plan.target == OneDNN.name:
            # The simulation needs neither, but the network that it stands for does.
            orders_of(canonical, plan)
            check_resting(canonical, plan)
        return quantized_model(model, simulate(canonical, plan), plan, simulated=True)
    if plan.target == OnnxQDQ.name:
        return onnx_model(canonical, model.digest, plan, shapes if shapes is not None else named_shapes(model, None))
    return quantized_model(model, target_named(plan.target).lower(canonical, plan), plan)


def quantize(
    net: Any,
    data: Any = None,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    num_calib_examples: Optional[int] = None,
    ctx: Any = None,
    nonfinite: str = "raise",
    target: Optional[str] = None,
    accuracy: Optional[str] = None,
    metric: Any = None,
    max_drop: Optional[float] = None,
    checkpoint: Optional[Union[str, Path]] = None,
    never_slower: bool = False,
    statistics: Optional[Statistics] = None,
    progress: Progress = False,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
    **options: Any,
) -> Union[QuantizedModel, OnnxModel]:
    """Calibrate, plan, improve and lower in one call.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    data : DataIter, DataLoader, array, or iterable, optional
        Calibration examples; needed unless ``method=None``.
    arg_params, aux_params, data_names, label_names, nonfinite_params, num_calib_examples, ctx, nonfinite, batch_axes
        As for :func:`calibrate`.
    accuracy : {'fast', 'balanced', 'best'}
        How much work goes into weights that lose less; see :mod:`mxquant.accuracy.presets`. Default: 'balanced', and
        'fast' without calibration.
    metric : str, callable or tuple, optional
        What the int8 network has to reach: 'sqnr>=20 dB', a function of a Gluon block, or (data, labels) for top-1
        accuracy; see :mod:`mxquant.accuracy.goal`. As few layers as possible are left in float32 for it.
    max_drop : float, optional
        By how much the function or the top-1 accuracy may be lower than in float32.
    checkpoint : str or Path, optional
        A file in which the search for these layers keeps what it has measured, to go on from there.
    never_slower : bool
        Whether to leave layers in float32 that are faster so on this machine, measured with the first batch; see
        :mod:`mxquant.analysis.slower`. Such a plan may differ from one run to the next.
    statistics : Statistics, optional
        Of a calibration of this network; the first of `data` are then all that is looked at. Default: calibrate.
    progress : bool or callable
        As for :func:`calibrate`.
    target : str, optional
        As for :func:`make_plan`. Default: 'cudnn' if `ctx` is a GPU, else 'onednn'.
    **options
        As for :func:`make_plan`. The method may also be 'auto': for each tensor the one with the least measured error.

    Returns
    -------
    QuantizedModel or OnnxModel
        The int8 network; for the target 'onnx_qdq' ONNX, with the batch free and other lengths those of the data.

    Raises
    ------
    InputError
        If the network, the data or an option is not what it has to be.
    CalibrationError
        If a forward pass fails.
    """
    target = target_of(ctx) if target is None else target
    example, data = peek(data) if data is not None else ([], None)
    model = models.load(net, arg_params, aux_params, data_names, label_names, example or None, nonfinite_params)
    method = options.get("method", PlanOptions.method)
    if method is None:
        if accuracy not in (None, "fast"):
            raise InputError(f"accuracy is {accuracy!r}, but without calibration (method=None) only 'fast' is possible")
        if target != OneDNN.name:
            raise InputError(f"target {target!r} needs calibration; method=None is possible for {OneDNN.name!r} only")
        return quantize_loaded(model, None, target, options)
    if data is None:
        raise InputError("data: calibration needs examples; pass data, or method=None to find ranges at run time")
    accuracy = "balanced" if accuracy is None else accuracy
    if accuracy not in EXAMPLES:
        raise InputError(f"accuracy is {accuracy!r}, expected one of {', '.join(map(repr, EXAMPLES))}")
    if never_slower:
        _check_measurable(target, options.get("isa"))
    goal = Goal.of(metric, max_drop) if metric is not None or max_drop is not None else None
    wanted = FEW_EXAMPLES if method == "auto" or goal is not None or never_slower else 1
    sample = Sample(max(EXAMPLES[accuracy], wanted))
    with reporting(progress):
        if statistics is None:
            statistics = calibration.collect(
                model, data, num_calib_examples, ctx, nonfinite, sample, target, batch_axes=batch_axes
            )
        else:
            check_statistics(model, statistics)
            sample.fill(batches(data, model.inputs, num_calib_examples, model.canonical.network, batch_axes))
        inputs = kept_examples(model.canonical.network, sample)
        if goal is not None:
            goal = goal.fitted(model.canonical.network, model.inputs[0], inputs.count if inputs.whole else None)
        shapes = {name: value.shape for name, value in sample.parts[0].arrays.items()}
        if never_slower:
            options = {**options, "float32_layers": _slower(model, statistics, options, target, sample.parts[0].arrays)}
        improved = _improved(model, statistics, options, target, accuracy, inputs)
        if goal is None:
            return _emit(model, improved.network, improved.candidate.plan, shapes=shapes)
        return _mixed(model, improved, goal, options, inputs, shapes, checkpoint)


def _check_measurable(target: str, isa: Optional[str]) -> None:
    here = detect()
    if isa not in (None, here):
        raise InputError(f"never_slower measures this CPU, which is {here!r}, but isa is {isa!r}")
    if target != OneDNN.name:
        raise InputError(f"never_slower measures MXNet, but target is {target!r}")


def _slower(
    model: models.Model, statistics: Statistics, options: Dict[str, Any], target: str, inputs: Mapping[str, Any]
) -> Mapping[str, str]:
    """Return the layers that are slower in int8, and what was measured; thresholds do not matter for that."""
    network = model.canonical.network
    given = reasons(options.get("float32_layers"))

    def planned(float32: Mapping[str, str]) -> QuantPlan:
        chosen = {**options, "method": "minmax", "tensor_methods": {}, "float32_layers": {**given, **float32}}
        return plan_loaded(model, statistics, target, chosen)

    with progress_bar("timing layers", None):
        return {**given, **slower_layers(network, planned, partial(target_named(target).lower, network), inputs)}


def quantize_loaded(
    model: models.Model, statistics: Optional[Statistics], target: str, options: Dict[str, Any]
) -> QuantizedModel:
    """Plan and lower for MXNet a network that is loaded already; `options` are fields of PlanOptions."""
    plan = plan_loaded(model, statistics, target, options)
    quantized = lower_loaded(model, plan, statistics)
    assert isinstance(quantized, QuantizedModel)
    return quantized


def _improved(
    model: models.Model,
    statistics: Statistics,
    options: Dict[str, Any],
    target: str,
    accuracy: str,
    inputs: Mapping[str, Any],
) -> Improved:
    """Return a canonical network with better weights, and the candidate it was made from, with its plan."""
    asked = options.get("method")

    def make(method: Optional[str], tensors: Mapping[str, str]) -> QuantPlan:
        chosen = options if method is None else {**options, "method": method, "tensor_methods": tensors}
        chosen = {**chosen, "method": PlanOptions.method} if chosen.get("method") == "auto" else chosen
        return plan_loaded(model, statistics, target, chosen)

    def replan(plan: QuantPlan, network: Network, renewed: Statistics) -> QuantPlan:
        canonical = replace(model.canonical, network=network)
        chosen = PlanOptions(**_as_in(plan, options))
        return plan_network(canonical, model.digest, renewed, target_named(target), chosen)

    network = model.canonical.network
    return Improving(network, statistics, accuracy, asked, make, replan).improved(inputs)


def _as_in(plan: QuantPlan, options: Dict[str, Any]) -> Dict[str, Any]:
    """Return options with the methods that a plan was made with."""
    methods = {tensor.name: tensor.method for tensor in plan.tensors.values() if tensor.method in METHODS}
    return {**options, "method": plan.settings["method"], "tensor_methods": methods}


def _mixed(
    model: models.Model,
    improved: Improved,
    goal: Goal,
    options: Dict[str, Any],
    inputs: Mapping[str, Any],
    shapes: Mapping[str, Shape],
    checkpoint: Optional[Union[str, Path]],
) -> Union[QuantizedModel, OnnxModel]:
    """Leave as few layers in float32 as the goal allows."""
    original, plan, statistics, _ = improved.candidate
    canonical = replace(model.canonical, network=improved.network)
    excluded = tuple(options.get("exclude_layers") or ())
    fixed = _as_in(plan, options)

    def planned(float32: FrozenSet[str]) -> QuantPlan:
        chosen = PlanOptions(**{**fixed, "exclude_layers": (*excluded, *sorted(float32))})
        made = plan_network(canonical, model.digest, statistics, target_named(plan.target), chosen)
        return replace(made, settings={**made.settings, **plan.settings})

    def block(weights: Network, chosen: Optional[QuantPlan]) -> Any:
        if chosen is not None:
            weights = simulate(weights, chosen)
        return quantized_model(model, weights, plan, simulated=True).as_block()

    mixing = Mixing(original, improved.network, planned, block, goal, inputs)
    with progress_bar("mixing precision", None) as progress:
        mixed = mixing.search(plan, checkpoint, progress)
    chosen = frozenset(mixed.float32)
    final = planned(chosen)
    final = replace(final, settings={**final.settings, "mixed precision": mixed.reason})
    return replace(_emit(model, mixing.weights(chosen), final, shapes=shapes), mixed_precision=mixed)
