"""Networks as users have them: Symbol with parameters, HybridBlock, checkpoint; read into one form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant.errors import InputError
from mxquant.files.params_file import read_params_file
from mxquant.graph import Graph, Network
from mxquant.graph.passes import Canonical, canonicalize
from mxquant.model.compact import COMPACT, expand
from mxquant.model.layer_checks import check_layers
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line, graph_of, numpy_params
from mxquant.runtime.symbol_file import read_symbol

__all__ = ["Model", "Source", "load", "read"]


@dataclass(frozen=True)
class Source:
    """A user's network as the user has it.

    Parameters
    ----------
    network : Network
        Structure and parameters.
    inputs, labels, structure
        As for :class:`Model`.
    """

    network: Network
    inputs: Tuple[str, ...]
    labels: Tuple[str, ...]
    structure: Any = None

    def model(self) -> Model:
        """Return the network in canonical form."""
        canonical, digest = canonicalize(self.network), self.network.digest()
        return Model(self.network.graph, canonical, digest, self.inputs, self.labels, self.structure)


@dataclass(frozen=True)
class Model:
    """A user's network in canonical form, and how it is fed. Weights that passes have changed it does not keep.

    Parameters
    ----------
    graph : Graph
        Its structure as the user has it.
    canonical : Canonical
        The network in canonical form.
    digest : str
        Of the network as the user has it.
    inputs : tuple of str
        Names of its data inputs, in order.
    labels : tuple of str
        Names of its label inputs.
    structure : object
        For a HybridBlock, how its outputs are nested; None for one flat list.
    """

    graph: Graph
    canonical: Canonical
    digest: str
    inputs: Tuple[str, ...]
    labels: Tuple[str, ...]
    structure: Any = None


def load(
    net: Any,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    example: Optional[Sequence[Any]] = None,
) -> Model:
    """Read a network and bring it into canonical form; see :func:`read`."""
    return read(net, arg_params, aux_params, data_names, label_names, example).model()


def read(
    net: Any,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    example: Optional[Sequence[Any]] = None,
) -> Source:
    """Read a network.

    Parameters
    ----------
    net : Symbol, HybridBlock, str or Path
        A Symbol (with `arg_params` and `aux_params`), an initialized HybridBlock, a checkpoint ``PREFIX`` or
        ``PREFIX:EPOCH``, or a symbol's ``.json`` file (with parameters).
    arg_params, aux_params : mapping of str to NDArray, optional
        Parameters of a Symbol; for a HybridBlock or checkpoint they come from it.
    data_names : sequence of str, optional
        Names of the data inputs, in the order in which data are given; default: all variables without a value, other
        than labels.
    label_names : sequence of str, optional
        Names of further label inputs; a variable without a value whose name ends in 'label' is one anyhow.
    example : sequence of arrays, optional
        A batch, the label perhaps among it as the last: tells how many inputs a HybridBlock has, and initializes
        parameters that have no shape yet.

    Returns
    -------
    Source
        The network.

    Raises
    ------
    InputError
        If a parameter is missing, belongs to no variable, or has another shape than the network wants.
    GraphError
        If the network cannot be read.
    """
    structure = None
    if isinstance(net, mx.gluon.HybridBlock):
        symbol, arg_params, data_names, structure = _trace(net, _arities(data_names, example), example, data_names)
        aux_params = {}
    elif isinstance(net, (str, Path)) and not str(net).endswith(".json"):
        symbol, arg_params, aux_params = load_checkpoint(str(net))
    elif isinstance(net, (str, Path)):
        symbol = read_symbol(net)
    elif isinstance(net, mx.sym.Symbol):
        symbol = net
    else:
        raise InputError(
            f"network: found {type(net).__name__}, expected a Symbol, an initialized HybridBlock, a checkpoint prefix "
            "or a symbol file"
        )
    graph = graph_of(symbol)
    params = {**numpy_params(arg_params or {}, "arg_params"), **numpy_params(aux_params or {}, "aux_params")}
    inputs, labels = inputs_of(graph, params, data_names, label_names)
    used = {node.name for node in graph.variables}
    network = Network(graph, {name: value for name, value in params.items() if name in used})
    check_layers(network, params)
    return Source(network, inputs, labels, structure)


def load_checkpoint(prefix: str) -> Tuple[Any, Mapping[str, Any], Mapping[str, Any]]:
    """Read a checkpoint.

    Parameters
    ----------
    prefix : str
        ``PREFIX`` or ``PREFIX:EPOCH``.

    Returns
    -------
    tuple
        The Symbol, arguments and auxiliary states.

    Raises
    ------
    InputError
        If a file is missing or its parameters cannot be read.
    GraphError
        If the symbol cannot be read.
    """
    match = re.fullmatch(r"(.+):(\d+)", prefix)
    prefix, epoch = (match.group(1), int(match.group(2))) if match else (prefix, 0)
    for path in (f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params"):
        if not Path(path).is_file():
            raise InputError(f"checkpoint '{prefix}': there is no file '{path}'")
    symbol = read_symbol(f"{prefix}-symbol.json")
    arg_params, aux_params = load_params(f"{prefix}-{epoch:04d}.params")
    return symbol, arg_params, aux_params


def load_params(path: str) -> Tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Read a ``.params`` file.

    Parameters
    ----------
    path : str
        A file written by ``mx.model.save_checkpoint``, ``HybridBlock.export``, ``mx.nd.save``, or
        :meth:`~mxquant.QuantizedModel.save`, compact or not.

    Returns
    -------
    tuple of dict
        Arguments and auxiliary states by name.

    Raises
    ------
    InputError
        If the file cannot be read or holds no named arrays.
    """
    saved = read_params_file(path)
    args: Dict[str, Any] = {}
    aux: Dict[str, Any] = {}
    parts: Dict[str, Any] = {}
    # Taken out one after the other, so that there are never two copies of all.
    for key in list(saved):
        kind, _, name = key.rpartition(":")
        value = saved.pop(key)
        if key.startswith(COMPACT):
            parts[key[len(COMPACT) :]] = value
        else:
            (aux if kind == "aux" else args)[name] = mx.nd.array(value, dtype=value.dtype)
    try:
        expanded = expand(parts)
    except InputError as error:
        raise InputError(f"cannot read the parameters '{path}': {error}") from error
    args.update({name: mx.nd.array(value, dtype=value.dtype) for name, value in expanded.items()})
    return args, aux


def _arities(names: Optional[Sequence[str]], example: Optional[Sequence[Any]]) -> List[int]:
    """Return the numbers of inputs to try, likeliest first: the last array of a batch is usually a label."""
    if names is not None:
        return [len(names)]
    count = len(example) if example else 1
    return [count - 1, count] if count > 1 else [1]


def _trace(
    block: Any, arities: Sequence[int], example: Optional[Sequence[Any]], names: Optional[Sequence[str]]
) -> Tuple[Any, Mapping[str, Any], Sequence[str], Any]:
    """Return a block's symbol, parameters, input names, and how its outputs are nested."""
    failure: Optional[Exception] = None
    for count in arities:
        inputs = list(names) if names is not None else _input_names(block, count)
        try:
            if example and _uninitialized(block):
                _initialize_by_running(block, example[: len(inputs)])
            # Under npx.set_np() a block takes the symbols of mx.np alone.
            variables = [mx.sym.var(name) for name in inputs]
            output = block(*([each.as_np_ndarray() for each in variables] if mx.util.is_np_array() else variables))
        except (TypeError, ValueError, AttributeError, mx.MXNetError) as error:
            failure = failure or error
            continue
        waiting = _uninitialized(block)
        if waiting:
            raise InputError(
                f"network '{block.name}': parameter '{waiting[0]}' has no value yet; initialize the block and run it "
                "once, or pass data"
            )
        flat: List[Any] = []
        structure = _flatten(output, flat)
        symbol = flat[0] if len(flat) == 1 else mx.sym.Group(flat)
        params = {
            name: value.data().as_nd_ndarray().as_in_context(mx.cpu()) for name, value in block.collect_params().items()
        }
        return symbol, params, inputs, structure
    assert failure is not None
    raise InputError(
        f"network '{block.name}' cannot be traced with {' or '.join(map(str, arities))} inputs: {first_line(failure)}; "
        "give data_names, and check that the block is a HybridBlock throughout; one of mx.np needs npx.set_np() before"
    ) from failure


def _uninitialized(block: Any) -> List[str]:
    return [name for name, parameter in block.collect_params().items() if parameter._data is None]


def _initialize_by_running(block: Any, example: Sequence[Any]) -> None:
    try:
        with mx.autograd.pause(train_mode=False):
            array = mx.np.array if mx.util.is_np_array() else mx.nd.array
            block(*[array(value) for value in example])
    except RuntimeError as error:
        raise InputError(
            f"network '{block.name}': {first_line(error)}; call its initialize() or load parameters"
        ) from error


def _input_names(block: Any, count: int) -> List[str]:
    if isinstance(block, mx.gluon.SymbolBlock):
        return [node.name for node in block._cached_graph[0]]
    return ["data"] if count == 1 else [f"data{i}" for i in range(count)]


def _flatten(output: Any, flat: List[Any]) -> Any:
    """Append the symbols of a nested output to `flat`; return their positions in the same nesting."""
    if isinstance(output, (list, tuple)):
        return [_flatten(item, flat) for item in output]
    if not isinstance(output, mx.sym.Symbol):
        raise InputError(f"network: an output is {type(output).__name__}, expected a Symbol")
    flat.append(output.as_nd_ndarray())
    return len(flat) - 1


def inputs_of(
    graph: Graph,
    params: Mapping[str, Any],
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """Return the names of the data inputs and of the labels of a network: its variables without a value.

    Parameters
    ----------
    graph : Graph
        The network.
    params : mapping of str
        Values, of which only the names count.
    data_names, label_names
        As for :func:`read`.

    Returns
    -------
    tuple of tuple of str
        Data inputs and labels.

    Raises
    ------
    InputError
        If a parameter has no value, or the network has no input of a name.
    """
    free = [node.name for node in graph.variables if node.name not in params]
    labels = tuple(
        name
        for name in free
        if name not in (data_names or ()) and (name in (label_names or ()) or name.endswith("label"))
    )
    if data_names is None:
        likely = [name for name in free if name not in labels]
        parameters = [name for name in likely if _looks_like_parameter(name)]
        if parameters:
            raise InputError(_missing(parameters))
        return tuple(likely), labels
    absent = [name for name in data_names if name not in free]
    if absent:
        raise InputError(f"data_names: the network has no input '{absent[0]}'; its inputs are {', '.join(free)}")
    missing = [name for name in free if name not in data_names and name not in labels]
    if missing:
        raise InputError(_missing(missing))
    return tuple(data_names), labels


def _missing(names: Sequence[str]) -> str:
    return f"the network's parameter '{names[0]}' has no value ({len(names)} missing in all); are these its parameters?"


def _looks_like_parameter(name: str) -> bool:
    return name.endswith(("_weight", "_bias", "_gamma", "_beta", "_mean", "_var", "_parameters"))
