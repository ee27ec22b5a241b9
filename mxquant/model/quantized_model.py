"""An int8 network, ready to be run, saved, or used as a Gluon block; it needs MXNet alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Set, Tuple, Union

from mxquant.errors import InputError, PlanError
from mxquant.files.params_file import write_params_file
from mxquant.files.reading import parse_json, read_text
from mxquant.files.replacing import digest_of, replacing_together
from mxquant.files.turns import reading_together
from mxquant.graph import Graph, Network
from mxquant.graph.labels import cut_behind_labels, restore_labels, without_labels
from mxquant.lowering.cudnn import CuDNN
from mxquant.lowering.float_recurrent import with_float_lstm
from mxquant.lowering.level_warnings import int8_lstms, level_warnings
from mxquant.lowering.trial import lstm_failure, lstm_failure_at
from mxquant.model.checkpoint import load_checkpoint
from mxquant.model.compact import COMPACT
from mxquant.model.compact import compact as compacted
from mxquant.model.interface import interface_entries, nested, read_interface
from mxquant.model.mixed_precision import MixedPrecision
from mxquant.model.model import Model
from mxquant.model.shared_block import SharedBlock
from mxquant.plan import QuantPlan
from mxquant.runtime.checks import whole_number
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import context, graph_of, network_of, numpy_params, split_params, symbol_of, text_of
from mxquant.shown import printable

__all__ = ["QuantizedModel", "load", "quantized_model", "unlabelled"]


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """What lowering returns. Two of them are equal where they are the same object.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        The int8 network.
    arg_params, aux_params : mapping of str to mxnet.nd.NDArray
        Its parameters, on the CPU.
    plan : QuantPlan
        The plan it was made from.
    inputs : tuple of str
        Names of the data inputs, in order.
    structure : object
        For a network that was a HybridBlock, how its outputs are nested; None for one flat list.
    mixed_precision : MixedPrecision or None
        How the layers in float32 were found, with the trade-off curve, where a metric had to be reached.
    simulated : bool
        Whether this is the simulation in float32 operators.
    """

    symbol: Any
    arg_params: Mapping[str, Any]
    aux_params: Mapping[str, Any]
    plan: QuantPlan
    inputs: Tuple[str, ...]
    structure: Any = None
    mixed_precision: Optional[MixedPrecision] = None
    simulated: bool = False

    def __repr__(self) -> str:
        outputs = len(self.symbol.list_outputs())
        simulated = "simulation, " if self.simulated else ""
        return printable(
            f"QuantizedModel({simulated}{self.plan.summary}; inputs: {', '.join(self.inputs)}; outputs: {outputs}; "
            f"parameters: {len(self.arg_params) + len(self.aux_params)})"
        )

    def _repr_html_(self) -> str:
        return self.plan.table(repr(self))

    def save(self, prefix: Union[str, Path], epoch: int = 0, compact: bool = False) -> None:
        """Write ``PREFIX-symbol.json``, ``PREFIX-EPOCH.params`` and ``PREFIX-plan.json``.

        MXNet's own functions load these files as any checkpoint; :func:`load` does too. While files of an earlier
        network are replaced, there is no symbol, so that at no moment parts of two networks can be loaded.

        Parameters
        ----------
        prefix : str or Path
            Beginning of the file names; the folder has to exist.
        epoch : int
            Number in the name of the parameter file, written with four digits.
        compact : bool
            Keep weights in int8, a quarter of the size; only :func:`load` can read such a parameter file.

        Raises
        ------
        OutputError
            If a file cannot be written; the files appear whole, and together, or not at all.
        InputError
            If it is a simulation that only mxquant can compute, or `epoch` is no whole number from 0.
        """
        epoch = whole_number(epoch, "epoch", 0)
        if any(node.op == "Custom" for node in graph_of(self.symbol).operators) and self.simulated:
            raise InputError(
                "the simulation has an int8 LSTM, which does not run on this CPU and is computed by mxquant itself; "
                "save the int8 network, or a simulation that was made where the LSTM runs"
            )
        arrays: Dict[str, Any] = {f"arg:{name}": value for name, value in self.arg_params.items()}
        if compact:
            parts = compacted(graph_of(self.symbol), numpy_params(self.arg_params))
            arrays = {COMPACT + name: part for name, part in parts.items()}
        arrays.update({f"aux:{name}": value for name, value in self.aux_params.items()})
        # Without a symbol nothing is loaded, so it is the last.
        paths = (f"{prefix}-{epoch:04d}.params", f"{prefix}-plan.json", f"{prefix}-symbol.json")
        with replacing_together(paths) as (params, plan, symbol):
            write_params_file(params, arrays, mx.util.is_np_shape())
            symbol.write_text(text_of(self.symbol), encoding="utf-8")
            digests = {"params": digest_of(params), "symbol": digest_of(symbol)}
            plan.write_text(self.plan.to_json(digests, interface_entries(self.inputs, self.structure)), "utf-8")

    def on_this_cpu(self) -> QuantizedModel:
        """Return the network as this CPU can run it.

        Returns
        -------
        QuantizedModel
            This one; where MXNet's int8 LSTM does not run on this CPU, one with float32 LSTM layers in their place.
        """
        return self._with_float_lstm(lstm_failure()) if self._has_int8_lstm else self

    def on_cpus(self, levels: Iterable[str]) -> QuantizedModel:
        """Return the network as CPUs of some levels can all run it; see :meth:`on_this_cpu`.

        Parameters
        ----------
        levels : iterable of str
            As in :mod:`mxquant.lowering.isa`.
        """
        failures = map(lstm_failure_at, sorted(levels)) if self._has_int8_lstm else iter(())
        return self._with_float_lstm(next(filter(None, failures), None))

    def _labels(self, graph: Graph) -> Set[str]:
        """Return the names of the variables of its graph that are neither data nor parameters."""
        return {node.name for node in graph.variables} - {*self.inputs, *self.arg_params, *self.aux_params}

    @property
    def _has_int8_lstm(self) -> bool:
        return bool(int8_lstms(self.plan)) and not self.simulated

    def _with_float_lstm(self, failure: Optional[str]) -> QuantizedModel:
        if failure is None:
            return self
        network = network_of(self.symbol, self.arg_params, self.aux_params)
        network, plan = with_float_lstm(network, self.plan, f"{failure}; rebuilt in float32")
        symbol = symbol_of(network.graph)
        args, aux = split_params(network, symbol)
        return replace(self, symbol=symbol, arg_params=args, aux_params=aux, plan=plan)

    def as_block(self, ctx: Any = None) -> Any:
        """Return the network as a Gluon block.

        Parameters
        ----------
        ctx : mxnet.Context or list of them, optional
            Where its parameters go; default: the CPU, or the first GPU for a network that was made for GPUs.

        Returns
        -------
        mxnet.gluon.SymbolBlock
            It takes the same inputs as the fp32 network, without labels, and nests its outputs in the same way. In
            place of a loss that reads a label it returns what the loss is computed from. Under ``npx.set_np()`` outputs
            are arrays of ``mx.np``.

        Warns
        -----
        UserWarning
            If this CPU computes something else than what its plan was made for; see :func:`load`.

        Raises
        ------
        InputError
            If `ctx` is no context that there is; or the network was made for GPUs, and `ctx` is none, or MXNet sees
            none.
        """
        if not self.simulated:
            _warn_of_level(self.plan)
            here = self.on_this_cpu()
            if here is not self:
                return here.as_block(ctx)
        for_gpu = self.plan.target == CuDNN.name and not self.simulated
        chosen = ctx if isinstance(ctx, (list, tuple)) else [] if ctx is None else [ctx]
        if not all(isinstance(each, mx.Context) for each in chosen):
            raise InputError(f"ctx is {ctx!r}, expected an mxnet.Context such as mx.cpu(), or a list of them")
        if for_gpu and (mx.context.num_gpus() == 0 or any(each.device_type != "gpu" for each in chosen)):
            raise InputError(
                f"ctx is {ctx} and MXNet sees {mx.context.num_gpus()} GPUs, but this network is for a GPU; what it "
                "returns there is what lower(..., target='simulate') returns here"
            )
        for each in chosen:
            context(each)
        ctx = ctx if ctx is not None else mx.gpu() if for_gpu else mx.cpu()
        graph = graph_of(self.symbol)
        without = without_labels(cut_behind_labels(graph, self._labels(graph)))
        # Built again, so that its shapes are meant as they are here and now.
        symbol = symbol_of(without) if mx.util.is_np_shape() or without is not graph else self.symbol
        outputs = nested(self.structure, list(symbol)) if self.structure is not None else symbol
        # A SymbolBlock takes a list of one output for that output.
        outputs = [outputs] if isinstance(outputs, list) and len(outputs) == 1 else outputs
        # The type spares a warning of Gluon's; what the network takes is stated in the network.
        inputs = [mx.sym.var(name, dtype="float32") for name in self.inputs]
        if mx.util.is_np_array():
            outputs, inputs = _of_numpy(outputs), _of_numpy(inputs)
        read = set(symbol.list_inputs())
        block = SharedBlock(outputs, [each for each in inputs if each.name in read])
        if not read.issuperset(self.inputs):
            # Gluon's constructor prints an error of MXNet's for an input that nothing reads, but its blocks have them.
            block._cached_graph, block._in_format = (inputs, block._cached_graph[1]), [0] * len(inputs)
        values = {**self.arg_params, **self.aux_params}
        if without is not graph:
            values = {name: value for name, value in values.items() if name in read}
        block.collect_params().load_dict(values, ctx=ctx, cast_dtype=True, dtype_source="saved")
        return block


def unlabelled(model: QuantizedModel) -> Network:
    """Return an int8 network as it is judged: without what a label feeds."""
    network = network_of(model.symbol, model.arg_params, model.aux_params)
    graph = cut_behind_labels(network.graph, model._labels(network.graph))
    used = {node.name for node in graph.variables}
    return Network(graph, {name: value for name, value in network.params.items() if name in used})


def quantized_model(model: Model, network: Network, plan: QuantPlan, simulated: bool = False) -> QuantizedModel:
    """Return a network as the int8 form of a user's network, which tells how it is fed.

    Parameters
    ----------
    model : Model
        The user's fp32 network.
    network : Network
        What a target, or the simulation, has made of it.
    plan : QuantPlan
        The plan that it was made from.
    simulated : bool
        Whether it is the simulation.
    """
    graph = restore_labels(network.graph, model.graph, model.inputs, model.labels)
    network = Network(_with_shapes(graph, network.params), {**model.rest, **network.params})
    symbol = symbol_of(network.graph)
    args, aux = split_params(network, symbol)
    return QuantizedModel(symbol, args, aux, plan, model.inputs, model.structure, simulated=simulated)


def _with_shapes(graph: Graph, params: Mapping[str, Any]) -> Graph:
    """Return a graph whose parameters say their shapes: MXNet cannot tell those that are read by an addition."""
    copy = graph.copy()
    for node in copy.variables:
        if node.name in params and params[node.name].ndim:
            node.attrs["__shape__"] = str(tuple(params[node.name].shape))
    return copy


def load(prefix: Union[str, Path], epoch: int = 0) -> QuantizedModel:
    """Read what :meth:`QuantizedModel.save` has written.

    Parameters
    ----------
    prefix : str or Path
        Beginning of the file names.
    epoch : int
        Number in the name of the parameter file.

    Returns
    -------
    QuantizedModel
        The int8 network, with the inputs and outputs that it was saved with. A plan that does not tell these, as one by
        itself or of an earlier version, leaves inputs in the order of the symbol, and outputs in one flat list.

    Warns
    -----
    UserWarning
        If its plan was made for CPUs of which this is none, so that sums saturate here, or biases are not those of the
        weights as this CPU rounds them; or if it has int8 LSTM layers, which do not run here: these are float32 then.
        If the plan has no digest of one of the other files, so that it was not verified.

    Raises
    ------
    InputError
        If a file is missing, its parameters cannot be read, or files of two networks are mixed.
    GraphError
        If the symbol cannot be read.
    PlanError
        If the plan cannot be read.
    """
    epoch = whole_number(epoch, "epoch", 0)
    with reading_together(f"{prefix}-plan.json"):
        text = read_text(f"{prefix}-plan.json", PlanError, "the plan")
        plan = QuantPlan.from_json(text)
        symbol, args, aux = load_checkpoint(f"{prefix}:{epoch}")
        document = parse_json(text)
        _check_files(prefix, epoch, document.get("files", {}))
    inputs, structure = read_interface(document, symbol, {**args, **aux})
    _warn_of_level(plan)
    return QuantizedModel(symbol, args, aux, plan, inputs, structure).on_this_cpu()


def _check_files(prefix: Union[str, Path], epoch: int, digests: Any) -> None:
    """Refuse files that were not written with the plan that stands beside them; warn where the plan does not tell."""
    if not isinstance(digests, dict) or not all(isinstance(each, str) for each in digests.values()):
        raise PlanError(f"the plan '{prefix}-plan.json' has files {digests!r:.60}, expected digests by name")
    paths = {"params": f"{prefix}-{epoch:04d}.params", "symbol": f"{prefix}-symbol.json"}
    missing = [repr(path) for role, path in paths.items() if role not in digests]
    if missing:
        text = (
            f"not verified: '{prefix}-plan.json' has no digest of {' and '.join(missing)}, which may be of another "
            "network; save the network again with mxquant to have them compared"
        )
        warnings.warn(printable(text), stacklevel=3)
    for role, path in paths.items():
        if role in digests and not _has_digest(path, digests[role]):
            raise InputError(
                f"'{path}' is not the file that was written with '{prefix}-plan.json': they are of two networks, or "
                "one was changed; save the network again, or load it with mx.model.load_checkpoint"
            )


def _has_digest(path: str, digest: Any) -> bool:
    try:
        return bool(digest_of(path) == digest)
    except OSError:  # another process has just removed it
        return False


def _warn_of_level(plan: QuantPlan) -> None:
    for text in level_warnings(plan):
        warnings.warn(printable(text), stacklevel=3)


def _of_numpy(symbols: Any) -> Any:
    """Return symbols, nested or not, as those of ``mx.np``."""
    if isinstance(symbols, list):
        return [_of_numpy(each) for each in symbols]
    return symbols.as_np_ndarray()
