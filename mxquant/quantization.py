"""Drop-in for ``mxnet.contrib.quantization`` of MXNet 1.9.1: the same functions, arguments and return values.

::

    from mxquant.quantization import *      # was: from mxnet.contrib.quantization import *

Only arguments are translated here; :mod:`mxquant.pipeline` does the work. What differs from MXNet, on purpose:

* on the CPU the int8 network is always the fused oneDNN one, also from ``quantize_model``;
* ``calib_mode`` also takes 'minmax' (which 'naive' means), 'percentile' and 'mse';
* data may be anything that :mod:`mxquant.runtime.data` reads, and `num_calib_examples` is exact;
* a name to exclude may have wildcards, and one that matches nothing is an error.

What starts with an underscore is here for code that imports it from there; ``docs/migration.md`` says what it does.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant import model as models
from mxquant import pipeline
from mxquant.calibration import collect
from mxquant.calibration.monitor_collector import MonitorCollector, Pending, statistics_of
from mxquant.calibration.pending_symbol import _calibrate_quantized_sym, _quantize_symbol, complete  # noqa: F401
from mxquant.calibration.stock_arguments import (
    OF_NETS,
    OF_SYMBOLS,
    check_cpu,
    checked_names,
    containing,
    in_words_of,
    method_of,
    without,
)
from mxquant.calibration.stock_collectors import (  # noqa: F401
    _collect_layer_statistics,
    _LayerHistogramCollector,
    _LayerOutputCollector,
    _LayerOutputMinMaxCollector,
)
from mxquant.errors import InputError
from mxquant.lowering.onednn import OneDNN
from mxquant.model.quantized_model import QuantizedModel
from mxquant.runtime.data import batches, peek
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import symbol_of
from mxquant.runtime.runner import run_monitored
from mxquant.shown import printable
from mxquant.stats.linear_histogram import combine_histogram
from mxquant.targets import target_of
from mxquant.thresholds.entropy import _smooth_distribution  # noqa: F401
from mxquant.thresholds.stock_forms import _get_optimal_threshold, _get_optimal_thresholds  # noqa: F401

__all__ = [
    "calib_graph",
    "combine_histogram",
    "quantize_graph",
    "quantize_model",
    "quantize_model_mkldnn",
    "quantize_net",
    "quantize_net_v2",
]

Params = Mapping[str, Any]
Quantized = Tuple[Any, Dict[str, Any], Dict[str, Any]]
_DATA_AND_LABEL = ("data", "softmax_label")


def quantize_model(
    sym: Any,
    arg_params: Params,
    aux_params: Params,
    data_names: Sequence[str] = ("data",),
    label_names: Optional[Sequence[str]] = ("softmax_label",),
    ctx: Any = None,
    excluded_sym_names: Optional[Sequence[str]] = None,
    excluded_op_names: Optional[Sequence[str]] = None,
    calib_mode: Optional[str] = "entropy",
    calib_data: Any = None,
    num_calib_examples: Optional[int] = None,
    quantized_dtype: str = "int8",
    quantize_mode: str = "smart",
    quantize_granularity: str = "tensor-wise",
    logger: Any = None,
) -> Quantized:
    """Return the int8 network of an fp32 Symbol.

    Parameters
    ----------
    sym : Symbol or str
        The fp32 network, or the path of its JSON file.
    arg_params, aux_params : dict of str to NDArray
        Its parameters. Arrays of data and labels among them, as an executor has them, are left out.
    data_names, label_names : sequence of str
        Names of its inputs.
    ctx : Context
        Where calibration runs: the CPU.
    excluded_sym_names : list of str, optional
        Layers that stay float32, by name or wildcard.
    excluded_op_names : list of str, optional
        Operators that stay float32.
    calib_mode : {'none', 'naive', 'minmax', 'entropy', 'percentile', 'mse'}
        How thresholds are chosen.
    calib_data : DataIter, DataLoader, array or iterable
        Examples; needed unless `calib_mode` is 'none'.
    num_calib_examples : int, optional
        How many examples to use, exactly; default: all.
    quantized_dtype : {'int8', 'uint8', 'auto'}
        Type of quantized tensors, where it is free to choose.
    quantize_mode : {'smart', 'full'}
        Whether operators that gain nothing by themselves run in int8 only between others.
    quantize_granularity : {'tensor-wise', 'channel-wise'}
        Scales of FullyConnected weights.
    logger : logging.Logger, optional
        Told what was done.

    Returns
    -------
    tuple
        The int8 Symbol, its arguments, its auxiliary states.

    Raises
    ------
    InputError
        If an argument is not what it has to be.
    CalibrationError
        If a forward pass fails.
    """
    target = _target(ctx, calib_mode)
    options = OF_SYMBOLS.options(
        calib_mode, excluded_sym_names, excluded_op_names, quantized_dtype, quantize_mode, quantize_granularity
    )
    with in_words_of(OF_SYMBOLS):
        quantized = pipeline.quantize(
            sym,
            _needed(calib_data, options["method"], calib_mode),
            arg_params=without(arg_params, (*data_names, *(label_names or ()))),
            aux_params=aux_params,
            data_names=data_names,
            label_names=label_names,
            num_calib_examples=num_calib_examples,
            accuracy="fast",
            target=target,
            **options,
        )
    assert isinstance(quantized, QuantizedModel)
    _report(logger, quantized)
    return quantized.symbol, dict(quantized.arg_params), dict(quantized.aux_params)


def quantize_model_mkldnn(
    sym: Any,
    arg_params: Params,
    aux_params: Params,
    data_names: Sequence[str] = ("data",),
    label_names: Optional[Sequence[str]] = ("softmax_label",),
    ctx: Any = None,
    excluded_sym_names: Optional[Sequence[str]] = None,
    excluded_op_names: Optional[Sequence[str]] = None,
    calib_mode: Optional[str] = "entropy",
    calib_data: Any = None,
    num_calib_examples: Optional[int] = None,
    quantized_dtype: str = "int8",
    quantize_mode: str = "smart",
    quantize_granularity: str = "tensor-wise",
    logger: Any = None,
) -> Quantized:
    """Do the same as :func:`quantize_model`, which makes the fused oneDNN network too.

    Parameters
    ----------
    sym, arg_params, aux_params, data_names, label_names, ctx, excluded_sym_names, excluded_op_names, calib_mode
        As for :func:`quantize_model`.
    calib_data, num_calib_examples, quantized_dtype, quantize_mode, quantize_granularity, logger
        As for :func:`quantize_model`.

    Returns
    -------
    tuple
        The int8 Symbol, its arguments, its auxiliary states.

    Raises
    ------
    InputError
        If an argument is not what it has to be.
    """
    return quantize_model(
        sym,
        arg_params,
        aux_params,
        data_names,
        label_names,
        ctx,
        excluded_sym_names,
        excluded_op_names,
        calib_mode,
        calib_data,
        num_calib_examples,
        quantized_dtype,
        quantize_mode,
        quantize_granularity,
        logger,
    )


def quantize_graph(
    sym: Any,
    arg_params: Params,
    aux_params: Params,
    ctx: Any = None,
    excluded_sym_names: Optional[Sequence[str]] = None,
    excluded_op_names: Optional[Sequence[str]] = None,
    calib_mode: Optional[str] = "entropy",
    quantized_dtype: str = "int8",
    quantize_mode: str = "full",
    quantize_granularity: str = "tensor-wise",
    LayerOutputCollector: Any = None,
    logger: Any = None,
) -> Tuple[Any, Dict[str, Any], Dict[str, Any], Any]:
    """Return an int8 network without thresholds, and the collector to calibrate it with.

    Set ``collector.collect`` as monitor callback of the fp32 network's executor, run forward passes, and hand the
    collector to :func:`calib_graph`.

    Parameters
    ----------
    sym, arg_params, aux_params, ctx, excluded_sym_names, excluded_op_names
        As for :func:`quantize_model`.
    calib_mode : {'none', 'naive', 'minmax', 'entropy', 'percentile', 'mse', 'customize'}
        How thresholds will be chosen; 'customize': by `LayerOutputCollector`.
    quantized_dtype, quantize_mode, quantize_granularity, logger
        As for :func:`quantize_model`.
    LayerOutputCollector : object, optional
        For 'customize': has a method ``collect(name, handle)`` and fills ``min_max_dict`` with (smallest, largest) by
        tensor name.

    Returns
    -------
    tuple
        The int8 Symbol, its arguments, its auxiliary states, the collector (None for 'none').

    Raises
    ------
    InputError
        If an argument is not what it has to be.
    """
    check_cpu(ctx)
    if calib_mode == "customize" and LayerOutputCollector is None:
        raise InputError("LayerOutputCollector: calib_mode='customize' needs one")
    options = OF_SYMBOLS.options(
        "naive" if calib_mode == "customize" else calib_mode,
        excluded_sym_names,
        excluded_op_names,
        quantized_dtype,
        quantize_mode,
        quantize_granularity,
    )
    with in_words_of(OF_SYMBOLS):
        model = models.load(sym, without(arg_params, _DATA_AND_LABEL), aux_params)
        quantized = pipeline.quantize_loaded(model, None, OneDNN.name, {**options, "method": None})
    collector = _collector(model, options, LayerOutputCollector if calib_mode == "customize" else None)
    _report(logger, quantized)
    return quantized.symbol, dict(quantized.arg_params), dict(quantized.aux_params), collector


def calib_graph(
    qsym: Any,
    arg_params: Params,
    aux_params: Params,
    collector: Any,
    calib_mode: str = "entropy",
    quantized_dtype: str = "int8",
    logger: Any = None,
) -> Quantized:
    """Return the int8 network of :func:`quantize_graph` with thresholds.

    Parameters
    ----------
    qsym, arg_params, aux_params : Symbol and dictionaries
        What went through :func:`quantize_graph`; the collector knows the network, so they are not looked at.
    collector : object
        The collector that :func:`quantize_graph` returned, after forward passes.
    calib_mode : {'naive', 'minmax', 'entropy', 'percentile', 'mse', 'customize'}
        How thresholds are chosen.
    quantized_dtype : {'int8', 'uint8', 'auto'}
        Type of quantized tensors, where it is free to choose.
    logger : logging.Logger, optional
        Told what was done.

    Returns
    -------
    tuple
        The int8 Symbol, its arguments, its auxiliary states.

    Raises
    ------
    InputError
        If the collector is another one or has seen nothing, or `calib_mode` is none of these.
    """
    method = method_of("naive" if calib_mode == "customize" else calib_mode)
    if method is None:
        raise InputError("calib_mode is 'none', but calib_graph puts thresholds in; use the network of quantize_graph")
    with in_words_of(OF_SYMBOLS):
        pending, statistics = statistics_of(collector)
        options = {**pending.options, "method": method, "dtype": quantized_dtype}
        quantized = pipeline.quantize_loaded(pending.model, statistics, OneDNN.name, options)
    _report(logger, quantized)
    return quantized.symbol, dict(quantized.arg_params), dict(quantized.aux_params)


def quantize_net_v2(
    network: Any,
    quantized_dtype: str = "auto",
    quantize_mode: str = "full",
    quantize_granularity: str = "tensor-wise",
    exclude_layers: Optional[Sequence[str]] = None,
    exclude_layers_match: Optional[Sequence[str]] = None,
    exclude_operators: Optional[Sequence[str]] = None,
    calib_data: Any = None,
    data_shapes: Optional[Sequence[Any]] = None,
    calib_mode: Optional[str] = "none",
    num_calib_examples: Optional[int] = None,
    ctx: Any = None,
    LayerOutputCollector: Any = None,
    logger: Any = None,
) -> Any:
    """Return the int8 network of a HybridBlock as a SymbolBlock.

    Parameters
    ----------
    network : HybridBlock
        The fp32 network; several inputs and nested outputs are allowed.
    quantized_dtype, quantize_mode, quantize_granularity, num_calib_examples, ctx, logger
        As for :func:`quantize_model`.
    exclude_layers : list of str, optional
        Layers that stay float32, by name or wildcard.
    exclude_layers_match : list of str, optional
        Layers whose name contains one of these stay float32.
    exclude_operators : list of str, optional
        Operators that stay float32.
    calib_data : DataIter, DataLoader, array or iterable
        Examples; needed unless `calib_mode` is 'none'.
    data_shapes : list of DataDesc, or of tuples, optional
        Shapes of the inputs; needed where there are no data and the network was never run or has several inputs.
    calib_mode : {'none', 'naive', 'minmax', 'entropy', 'percentile', 'mse', 'customize'}
        How thresholds are chosen.
    LayerOutputCollector : object, optional
        For 'customize'; see :func:`quantize_graph`.

    Returns
    -------
    mxnet.gluon.SymbolBlock
        The int8 network.

    Raises
    ------
    InputError
        If an argument is not what it has to be.
    CalibrationError
        If a forward pass fails.
    """
    target = _target(ctx, calib_mode)
    if calib_mode == "customize" and LayerOutputCollector is None:
        raise InputError("LayerOutputCollector: calib_mode='customize' needs one")
    options = OF_NETS.options(
        "naive" if calib_mode == "customize" else calib_mode,
        [
            *checked_names(exclude_layers, "exclude_layers"),
            *map(containing, checked_names(exclude_layers_match, "exclude_layers_match")),
        ],
        exclude_operators,
        quantized_dtype,
        quantize_mode,
        quantize_granularity,
    )
    data = _needed(calib_data, options["method"], calib_mode)
    example, data = peek(data) if data is not None else (_zeros(data_shapes), None)
    with in_words_of(OF_NETS):
        source = models.read(network, example=example or None)
        model = source.model()
        statistics = None
        if calib_mode == "customize":
            collector = _collector(model, options, LayerOutputCollector)
            stream = batches(data, model.inputs, num_calib_examples, source.network)
            run_monitored(source.network, stream, collector.collect)
            _, statistics = statistics_of(collector)
        elif options["method"] is not None:
            statistics = collect(model, data, num_calib_examples, target=target)
        quantized = pipeline.quantize_loaded(model, statistics, target, options)
    _report(logger, quantized)
    return quantized.as_block(ctx)


def quantize_net(
    network: Any,
    quantized_dtype: str = "auto",
    quantize_mode: str = "full",
    exclude_layers: Optional[Sequence[str]] = None,
    exclude_layers_match: Optional[Sequence[str]] = None,
    exclude_operators: Optional[Sequence[str]] = None,
    calib_data: Any = None,
    data_shapes: Optional[Sequence[Any]] = None,
    calib_mode: Optional[str] = "none",
    num_calib_examples: Optional[int] = None,
    ctx: Any = None,
    logger: Any = None,
) -> Any:
    """Do the same as :func:`quantize_net_v2` with tensor-wise scales.

    Parameters
    ----------
    network, quantized_dtype, quantize_mode, exclude_layers, exclude_layers_match, exclude_operators
        As for :func:`quantize_net_v2`.
    calib_data, data_shapes, calib_mode, num_calib_examples, ctx, logger
        As for :func:`quantize_net_v2`.

    Returns
    -------
    mxnet.gluon.SymbolBlock
        The int8 network.

    Raises
    ------
    InputError
        If an argument is not what it has to be.
    """
    return quantize_net_v2(
        network,
        quantized_dtype,
        quantize_mode,
        "tensor-wise",
        exclude_layers,
        exclude_layers_match,
        exclude_operators,
        calib_data,
        data_shapes,
        calib_mode,
        num_calib_examples,
        ctx,
        None,
        logger,
    )


def _quantize_params(qsym: Any, params: Params, th_dict: Optional[Mapping[str, Tuple[float, float]]]) -> Dict[str, Any]:
    """Make `qsym` the int8 network, and return its parameters; `params` are arguments and auxiliary states in one."""
    return complete(qsym, without(params, _DATA_AND_LABEL), th_dict, pipeline.quantize_loaded)


def _target(ctx: Any, calib_mode: Optional[str]) -> str:
    target = target_of(ctx)
    if target != OneDNN.name and method_of("naive" if calib_mode == "customize" else calib_mode) is None:
        raise InputError(
            f"calib_mode is {calib_mode!r}, but int8 for a GPU needs calibration; use 'naive', for example"
        )
    return target


def _needed(data: Any, method: Optional[str], calib_mode: Optional[str]) -> Any:
    if method is not None and data is None:
        raise InputError(f"calib_data is None, but calib_mode='{calib_mode}' needs examples")
    return data if method is not None else None


def _zeros(shapes: Optional[Sequence[Any]]) -> List[Any]:
    return [mx.nd.zeros(getattr(shape, "shape", shape)).asnumpy() for shape in shapes or ()]


def _collector(model: models.Model, options: Mapping[str, Any], own: Any) -> Any:
    if options["method"] is None:
        return None
    pending = Pending.of(symbol_of(model.graph), model, options)
    if own is None:
        return MonitorCollector(pending)
    own.pending = pending
    return own


def _report(logger: Any, quantized: QuantizedModel) -> None:
    if logger is None:
        return
    layers = quantized.plan.layers.values()
    int8 = sum(layer.precision == "int8" for layer in layers)
    logger.info("%d of %d layers run in int8", int8, len(layers))
    for layer in layers:
        if layer.precision != "int8":
            logger.debug("%s", printable(f"{layer.name} ({layer.op}) stays float32: {layer.reason}"))
