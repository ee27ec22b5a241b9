"""The four calls that everything else uses: calibrate, make_plan, lower, and quantize, which is all three.

    net, data ──calibrate──► Statistics ──make_plan──► QuantPlan ──lower──► QuantizedModel

A net is a Symbol with its parameters, a HybridBlock, or the prefix of a checkpoint.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Mapping, Optional, Sequence

from mxquant import model as models
from mxquant._compat import mx
from mxquant.data import batches, peek
from mxquant.errors import InputError, PlanError, StatisticsError
from mxquant.graph import Network
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.target import Target
from mxquant.mxnet_bridge import split_params, symbol_of
from mxquant.plan import QuantPlan
from mxquant.planner import PlanOptions
from mxquant.planner import make_plan as plan_network
from mxquant.progress import progress_bar
from mxquant.quantized_model import QuantizedModel
from mxquant.stats import HistogramCollector, Statistics
from mxquant.stats.runner import run
from mxquant.version import __version__

__all__ = ["TARGETS", "calibrate", "collect", "lower", "make_plan", "quantize", "quantize_loaded"]

TARGETS: Mapping[str, Target] = {OneDNN.name: OneDNN()}


def calibrate(
    net: Any,
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    num_calib_examples: Optional[int] = None,
    ctx: Any = None,
    nonfinite: str = "raise",
) -> Statistics:
    """Run the fp32 network on data and collect a histogram of every tensor.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    data : DataIter, DataLoader, array, or iterable of arrays, tuples, dictionaries or DataBatch
        Calibration examples, preprocessed as for inference; see :mod:`mxquant.data`.
    arg_params, aux_params : mapping of str to NDArray, optional
        Parameters, where `net` is a Symbol.
    data_names, label_names : sequence of str, optional
        Names of the inputs; by default every variable without a value, labels being those that end in 'label'.
    num_calib_examples : int, optional
        How many examples to use, exactly; default: all.
    ctx : mxnet.Context, optional
        Where to run; default: the CPU.
    nonfinite : {'raise', 'ignore'}
        What to do about NaN and infinities in a tensor: stop, or count them and leave them out.

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
    """
    example, data = peek(data)
    model = models.load(net, arg_params, aux_params, data_names, label_names, example or None)
    return collect(model, data, num_calib_examples, ctx, nonfinite)


def collect(
    model: models.Model, data: Any, num_examples: Optional[int] = None, ctx: Any = None, nonfinite: str = "raise"
) -> Statistics:
    """Do what :func:`calibrate` does, with a network that is loaded already."""
    canonical = model.canonical.network
    collector = HistogramCollector(nonfinite=nonfinite)
    with progress_bar("calibrating", num_examples) as progress:
        stream = batches(data, model.inputs, num_examples)
        examples, count = run(canonical, stream, collector, ctx, progress, _observed(canonical))
    return Statistics(
        collector.histograms,
        network=model.digest,
        num_examples=examples,
        num_batches=count,
        mxquant_version=__version__,
        mxnet_version=mx.__version__,
    )


def _observed(network: Network) -> FrozenSet[str]:
    """Return the tensors that some target needs, and what the network returns, which shows NaN and infinities."""
    outputs = {tensor.name for tensor in network.graph.outputs}
    return frozenset(outputs).union(*(target.observed(network) for target in TARGETS.values()))


def make_plan(
    net: Any,
    statistics: Optional[Statistics],
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
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
    arg_params, aux_params, data_names, label_names
        As for :func:`calibrate`.
    target : str
        What will run the network: 'onednn'.
    **options
        Fields of :class:`~mxquant.planner.PlanOptions`: method, dtype, mode, granularity, exclude_layers,
        exclude_operators, percentile.

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
    model = models.load(net, arg_params, aux_params, data_names, label_names)
    return _plan(model, statistics, target, options)


def _plan(model: models.Model, statistics: Optional[Statistics], target: str, options: Dict[str, Any]) -> QuantPlan:
    unknown = sorted(set(options) - set(PlanOptions.__dataclass_fields__))
    if unknown:
        raise InputError(f"unknown option '{unknown[0]}'; known are {', '.join(PlanOptions.__dataclass_fields__)}")
    if statistics is not None and not isinstance(statistics, Statistics):
        raise InputError(f"statistics are {type(statistics).__name__}, expected what calibrate returned, or None")
    digest = model.digest
    if statistics is not None and statistics.network != digest:
        raise StatisticsError(
            f"the statistics are of network {statistics.network[:12]}..., this one is {digest[:12]}...; calibrate it"
        )
    return plan_network(model.canonical, digest, statistics, _target(target), PlanOptions(**options))


def lower(
    net: Any,
    plan: QuantPlan,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
) -> QuantizedModel:
    """Turn a network into the int8 network that a plan describes.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network that the plan was made for.
    plan : QuantPlan
        The plan.
    arg_params, aux_params, data_names, label_names
        As for :func:`calibrate`.

    Returns
    -------
    QuantizedModel
        The int8 network, which runs on MXNet without mxquant.

    Raises
    ------
    PlanError
        If the plan is of another network, or asks for what cannot be done, naming the field.
    """
    return _lower(models.load(net, arg_params, aux_params, data_names, label_names), plan)


def _lower(model: models.Model, plan: QuantPlan) -> QuantizedModel:
    if not isinstance(plan, QuantPlan):
        raise InputError(f"plan is {type(plan).__name__}, expected a QuantPlan; read a file with QuantPlan.load")
    if plan.network != model.digest:
        raise PlanError(
            f"the plan is of network {plan.network[:12]}..., this one is {model.digest[:12]}...; plan again"
        )
    network = _target(plan.target).lower(model.canonical.network, plan)
    symbol = symbol_of(network.graph)
    args, aux = split_params(network, symbol)
    return QuantizedModel(symbol, args, aux, plan, model.inputs, model.structure)


def quantize(
    net: Any,
    data: Any = None,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    num_calib_examples: Optional[int] = None,
    ctx: Any = None,
    nonfinite: str = "raise",
    target: str = "onednn",
    **options: Any,
) -> QuantizedModel:
    """Calibrate, plan and lower in one call.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        The fp32 network.
    data : DataIter, DataLoader, array, or iterable, optional
        Calibration examples; needed unless ``method=None``.
    arg_params, aux_params, data_names, label_names, num_calib_examples, ctx, nonfinite
        As for :func:`calibrate`.
    target, **options
        As for :func:`make_plan`.

    Returns
    -------
    QuantizedModel
        The int8 network.

    Raises
    ------
    InputError
        If the network, the data or an option is not what it has to be.
    CalibrationError
        If a forward pass fails.
    """
    example, data = peek(data) if data is not None else ([], None)
    model = models.load(net, arg_params, aux_params, data_names, label_names, example or None)
    statistics = None
    if options.get("method", PlanOptions.method) is not None:
        if data is None:
            raise InputError("data: calibration needs examples; pass data, or method=None to find ranges at run time")
        statistics = collect(model, data, num_calib_examples, ctx, nonfinite)
    return quantize_loaded(model, statistics, options, target)


def quantize_loaded(
    model: models.Model, statistics: Optional[Statistics], options: Dict[str, Any], target: str = OneDNN.name
) -> QuantizedModel:
    """Plan and lower a network that is loaded already; `options` are fields of PlanOptions."""
    return _lower(model, _plan(model, statistics, target, options))


def _target(name: str) -> Target:
    if name not in TARGETS:
        raise InputError(f"target is {name!r}, expected one of {', '.join(map(repr, TARGETS))}")
    return TARGETS[name]
