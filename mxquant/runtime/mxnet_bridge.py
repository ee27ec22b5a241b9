"""Between MXNet's objects and mxquant's: Symbol and Graph, NDArray dictionaries and parameters, NumPy in between.

Everything that needs a running MXNet to read or write a network is here; how its JSON looks is known only to
:mod:`mxquant.graph.symbol_json`.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import threading
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.errors import GraphError, InputError
from mxquant.graph import Graph, Network, Node, Tensor, symbol_json
from mxquant.graph.attributes import read_tuple
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "backend_symbol",
    "context",
    "environment",
    "graph_of",
    "is_numpy",
    "network_of",
    "numpy_params",
    "semantics",
    "split_params",
    "symbol_of",
    "tensor_dtypes",
    "tensor_shapes",
    "text_of",
]

_ENVIRONMENT = threading.RLock()


def graph_of(symbol: Any) -> Graph:
    """Return the graph of an ``mxnet.symbol.Symbol``, its tensors named as MXNet's monitor names them.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        A network's outputs.

    Returns
    -------
    Graph
        The structure.

    Raises
    ------
    GraphError
        If the symbol is malformed.
    """
    text = text_of(symbol)
    internals = symbol.get_internals()
    document, inner = json.loads(text), json.loads(text_of(internals))
    names: Dict[Tuple[int, int], str] = {}
    if [_identity(node) for node in document["nodes"]] == [_identity(node) for node in inner["nodes"]]:
        names = {(head[0], head[1]): name for head, name in zip(inner["heads"], internals.list_outputs())}
    return symbol_json.loads(text, names)


def _identity(node: Mapping[str, Any]) -> Tuple[str, str]:
    return node["op"], node["name"]


def network_of(symbol: Any, arg_params: Mapping[str, Any], aux_params: Mapping[str, Any]) -> Network:
    """Return a Symbol with its parameters as a network.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        The outputs.
    arg_params, aux_params : mapping of str to NDArray
        Its parameters.

    Returns
    -------
    Network
        Its graph, and its parameters as NumPy arrays.
    """
    return Network(graph_of(symbol), {**numpy_params(arg_params), **numpy_params(aux_params)})


def text_of(symbol: Any) -> str:
    """Return what ``symbol.tojson()`` returns: the JSON of a Symbol without the casts of automatic mixed precision.

    MXNet's own method makes a copy without those casts that it never frees: 0.5 kB of each node at each call.
    """
    handle = mx.base.SymbolHandle()
    mx.base.check_call(mx.base._LIB.MXSymbolRemoveAmpCast(symbol.handle, ctypes.byref(handle)))
    return mx.sym.Symbol(handle).tojson(remove_amp_cast=False)  # type: ignore[no-any-return]


def _with_unknown_lengths(graph: Graph) -> Graph:
    """Return a graph for the shapes of ``mx.np``, in which -1 is a length that is not known, and 0 is none at all.

    The zeros that Gluon's recurrent layers begin with have a batch of 0, for which MXNet itself fails there.
    """
    if not any(_lengths_of_zeros(node) for node in graph.nodes):
        return graph
    copy = graph.copy()
    for node in copy.nodes:
        lengths = _lengths_of_zeros(node)
        if lengths:
            node.attrs["shape"] = str(tuple(length or -1 for length in lengths))
    return copy


def _lengths_of_zeros(node: Node) -> Tuple[int, ...]:
    """Return the shape of zeros of which a length is not known; nothing for others."""
    shape = read_tuple(node, "shape") if node.op == "_zeros" else ()
    return shape if 0 in shape else ()


def symbol_of(graph: Graph) -> Any:
    """Return the ``mxnet.symbol.Symbol`` of a graph.

    Parameters
    ----------
    graph : Graph
        A graph that keeps its invariants.

    Returns
    -------
    mxnet.symbol.Symbol
        The symbol.

    Raises
    ------
    GraphError
        If MXNet refuses it, for example for an operator it does not know.
    """
    if mx.util.is_np_shape():
        graph = _with_unknown_lengths(graph)
    try:
        return mx.sym.load_json(symbol_json.dumps(graph))
    except mx.MXNetError as error:
        raise GraphError(f"MXNet cannot build this network: {first_line(error)}") from error


def backend_symbol(symbol: Any, backend: str) -> Any:
    """Return the symbol after the subgraph fusions of one of MXNet's backends, without MXNet's chatter."""
    with environment(MXNET_SUBGRAPH_VERBOSE="0"):
        return symbol.get_backend_symbol(backend)


def tensor_shapes(network: Network, inputs: Mapping[str, Tuple[int, ...]]) -> Optional[Dict[str, Tuple[int, ...]]]:
    """Return the shapes of all tensors of a network, by name, for inputs of given shapes.

    Parameters
    ----------
    network : Network
        Any network.
    inputs : mapping of str to tuple of int
        Shapes of its data inputs.

    Returns
    -------
    dict of str to tuple of int, or None
        None where the shapes of other inputs are needed. An error of MXNet's where the network cannot take these.
    """
    internals = symbol_of(network.graph).get_internals()
    known = {name: value.shape for name, value in network.params.items()}
    given = {name: shape for name, shape in {**known, **inputs}.items() if name in internals.list_inputs()}
    with semantics(network.graph):
        # What the public function adds is to print all shapes where the network cannot take these.
        _, shapes, _ = internals._infer_shape_impl(False, **given)
    if shapes is None:
        return None
    return {name: tuple(shape) for name, shape in zip(_tensor_names(network, internals), shapes)}


def tensor_dtypes(network: Network, inputs: Mapping[str, str] = MappingProxyType({})) -> Dict[str, str]:
    """Return NumPy's names for the types of all tensors of a network, by the tensors' names.

    Parameters
    ----------
    network : Network
        Any network.
    inputs : mapping of str to str
        NumPy's names for the types of its inputs; others are float32.

    Returns
    -------
    dict of str to str
        Nothing where MXNet cannot tell.
    """
    internals = symbol_of(network.graph).get_internals()
    known = {name: value.dtype for name, value in network.params.items()}
    known.update((name, np.dtype(dtype)) for name, dtype in inputs.items())
    given = {name: known.get(name, np.dtype(np.float32)) for name in internals.list_arguments()}
    try:
        with semantics(network.graph):
            _, dtypes, _ = internals.infer_type(**{name: dtype.name for name, dtype in given.items()})
    except mx.MXNetError:
        return {}
    names = _tensor_names(network, internals)
    return {name: np.dtype(dtype).name for name, dtype in zip(names, dtypes or ())}


def _tensor_names(network: Network, internals: Any) -> List[str]:
    """Return the names of the tensors of a network in the order of its symbol's internals."""
    nodes = {(node.name, node.is_variable): node for node in network.graph.nodes}
    counts: Dict[Tuple[str, bool], int] = {}
    names: List[str] = []
    for part, output in zip(internals, internals.list_outputs()):
        # An operator may be called as a variable is; what it makes is called otherwise.
        key = (part.name, output == part.name)
        index = counts[key] = counts.get(key, -1) + 1
        names.append(Tensor(nodes[key], index).name)
    return names


def numpy_params(params: Mapping[str, Any], role: str = "params") -> Dict[str, NDArray[Any]]:
    """Return parameters as NumPy arrays.

    Parameters
    ----------
    params : mapping of str to mxnet.nd.NDArray or numpy.ndarray
        Values by the name of their variable.
    role : str
        What the argument is called, for the message.

    Returns
    -------
    dict of str to numpy.ndarray
        Arrays in host memory.

    Raises
    ------
    InputError
        If `params` is no mapping of names to arrays.
    """
    if not isinstance(params, Mapping):
        raise InputError(f"{role}: expected a dictionary of names to arrays, found {type(params).__name__}")
    arrays: Dict[str, NDArray[Any]] = {}
    for name, value in params.items():
        if isinstance(value, mx.nd.NDArray):
            arrays[name] = value.asnumpy()
        elif isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            raise InputError(f"{role}['{name}']: expected an NDArray or ndarray, found {type(value).__name__}")
    return arrays


def split_params(network: Network, symbol: Any, take: bool = False) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return a network's parameters as MXNet wants them: arguments, and auxiliary states, as NDArrays on the CPU.

    With `take` they are taken out of the network one after the other, so that there are never two copies of all.
    """

    def moved(names: Sequence[str]) -> Dict[str, Any]:
        params: Any = network.params
        found: Dict[str, Any] = {}
        for name in names:
            if name in params:
                value = params[name]
                found[name] = mx.nd.array(value, dtype=value.dtype)
                if take:
                    found[name].wait_to_read()
                    del params[name], value
        return found

    return moved(symbol.list_arguments()), moved(symbol.list_auxiliary_states())


def context(ctx: Any) -> Any:
    """Return a context that exists.

    Parameters
    ----------
    ctx : mxnet.Context or None
        Where to run; None for the CPU.

    Returns
    -------
    mxnet.Context
        The same, or the CPU.

    Raises
    ------
    InputError
        If `ctx` is something else, or a GPU that MXNet does not see.
    """
    if ctx is None:
        return mx.cpu()
    if not isinstance(ctx, mx.Context):
        raise InputError(f"ctx is {ctx!r}, expected one mxnet.Context")
    if ctx.device_type == "gpu" and ctx.device_id >= mx.context.num_gpus():
        raise InputError(f"ctx is {ctx}, but MXNet sees {mx.context.num_gpus()} GPUs; use ctx=mx.cpu()")
    return ctx


# Where in MXNet's own source it was found.
_PLACE = re.compile(r"^(MXNetError: )?Error in operator (?P<layer>.+?): (\[[0-9:]+\] )?(\.{2}/\S+:[0-9]+: )?")
_TELLING = ("Check failed", "Error in operator", "MXNetError:")


def first_line(error: BaseException) -> str:
    """Return the line of an MXNet error that says what went wrong, and in which layer, without its stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if any(each in line for each in _TELLING)]
    line = (telling or lines or [repr(error)])[0]
    return _PLACE.sub(lambda found: f"layer '{found['layer']}': ", line)


def is_numpy(graph: Graph) -> bool:
    """Whether operators of ``mx.np`` are among those of a graph."""
    return any(node.op.startswith("_np") for node in graph.nodes)


@contextmanager
def semantics(graph: Graph, numpy: Optional[bool] = None) -> Iterator[None]:
    """Let MXNet take shapes as a graph means them: among operators of ``mx.np`` the shape () is that of one number.

    `numpy` is what :func:`is_numpy` returns, where that is known.
    """
    with mx.util.np_array(False), mx.util.np_shape(is_numpy(graph) if numpy is None else numpy):
        yield


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables, which MXNet reads at each call, for the length of a block.

    They are the whole process's: other threads wait for the end of the block before they set them in another way.
    """
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
