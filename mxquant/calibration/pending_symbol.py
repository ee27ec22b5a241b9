"""A Symbol on its way to int8, as old code hands it from ``_quantize_symbol`` to ``_quantize_params``.

MXNet's functions make an int8 graph first, put ranges into it, and quantize parameters last. Which layers can run in
int8, and how, depends on the values of their weights, so that here the network becomes an int8 one in the last step.
The object stays the same: what it refers to is exchanged.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant import model as models
from mxquant.calibration.monitor_collector import Pending, statistics_of
from mxquant.calibration.stock_arguments import OF_PRIVATE, check_cpu, in_words_of
from mxquant.errors import InputError
from mxquant.lowering.onednn import OneDNN
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol, graph_of, symbol_of

__all__ = ["PendingSymbol", "complete"]

Ranges = Mapping[str, Tuple[float, float]]


class PendingSymbol(mx.sym.Symbol):  # type: ignore[misc]
    """A Symbol that is the fp32 network until its parameters are known.

    Parameters
    ----------
    network : Symbol
        The fp32 network.
    options : mapping
        The user's choices, as fields of PlanOptions.
    ranges : mapping of str to tuple of float, optional
        Smallest and largest value by tensor name; without them ranges are found at run time.
    """

    def __init__(
        self,
        network: Any,
        options: Mapping[str, Any],
        ranges: Optional[Ranges] = None,
    ) -> None:
        super().__init__(mx.base.SymbolHandle())
        self.network = network
        self.options = dict(options)
        self.ranges: Dict[str, Tuple[float, float]] = dict(ranges or {})
        self.become(copy.copy(network))

    def become(self, symbol: Any) -> None:
        """Refer to what `symbol` refers to, a Symbol that is not used any more."""
        self.handle, symbol.handle = symbol.handle, self.handle


def _quantize_symbol(
    sym: Any,
    ctx: Any,
    excluded_symbols: Optional[Sequence[str]] = None,
    excluded_operators: Optional[Sequence[str]] = None,
    offline_params: Optional[Sequence[str]] = None,
    quantized_dtype: str = "int8",
    quantize_mode: str = "smart",
    quantize_granularity: str = "tensor-wise",
) -> Tuple[PendingSymbol, List[str]]:
    """Return a Symbol that ``_quantize_params`` makes the int8 network, and the names of tensors to collect.

    The names are those under which MXNet may report tensors, however it fuses the network.
    """
    check_cpu(ctx)
    options = OF_PRIVATE.options(
        None, excluded_symbols, excluded_operators, quantized_dtype, quantize_mode, quantize_granularity
    )
    forms = [sym, *(backend_symbol(sym, backend) for backend in ("MKLDNN_QUANTIZE", "MKLDNN"))]
    names = dict.fromkeys(name for form in forms for name in form.get_internals().list_outputs())
    return PendingSymbol(sym, options), [name for name in names if name not in set(offline_params or ())]


def _calibrate_quantized_sym(qsym: Any, th_dict: Optional[Ranges]) -> Any:
    """Return the Symbol of ``_quantize_symbol`` with ranges, (smallest, largest) by tensor name."""
    return PendingSymbol(_checked(qsym).network, qsym.options, th_dict) if th_dict else qsym


def complete(
    qsym: Any, params: Mapping[str, Any], th_dict: Optional[Ranges], quantize: Callable[..., Any]
) -> Dict[str, Any]:
    """Make a pending Symbol the int8 network, and return its parameters.

    Parameters
    ----------
    qsym : PendingSymbol
        What ``_quantize_symbol`` or ``_calibrate_quantized_sym`` returned.
    params : mapping of str to NDArray
        Arguments and auxiliary states of the fp32 network.
    th_dict : mapping of str to tuple of float, optional
        Ranges, where `qsym` has none.
    quantize : callable
        ``mxquant.pipeline.quantize_loaded``.

    Returns
    -------
    dict of str to NDArray
        Arguments and auxiliary states of the int8 network.

    Raises
    ------
    InputError
        If `qsym` is another Symbol, or a parameter is missing.
    """
    network, ranges = _checked(qsym).network, qsym.ranges or th_dict
    absent = [name for name in network.list_auxiliary_states() if name not in params]
    if absent:
        raise InputError(f"params: '{absent[0]}' is missing; pass {{**arg_params, **aux_params}} to fold BatchNorms")
    with in_words_of(OF_PRIVATE):
        model = models.load(network, params)
        options, statistics = {**qsym.options, "method": "minmax" if ranges else None}, None
        if ranges:
            pending = Pending.of(symbol_of(model.graph), model, options)
            _, statistics = statistics_of(SimpleNamespace(pending=pending, min_max_dict=ranges))
        quantized = quantize(model, statistics, OneDNN.name, options)
    qsym.become(symbol_of(graph_of(quantized.symbol)))
    return {**quantized.arg_params, **quantized.aux_params}


def _checked(qsym: Any) -> PendingSymbol:
    if not isinstance(qsym, PendingSymbol):
        raise InputError(f"qsym: found {type(qsym).__name__}, expected what _quantize_symbol returned; see calib_graph")
    return qsym
