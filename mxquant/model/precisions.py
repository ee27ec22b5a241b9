"""Networks in float16, bfloat16 or float64, read as the same networks in float32.

MXNet's int8 operators, and those that it fuses, compute with float32. A float16 or bfloat16 number is a float32 number
too, so that parameters keep their values; one of float64 is rounded. Operators that name such a type (Cast, constants)
name float32 then. A Cast of what is float32 hands its input on, and is taken away, for it would stand between a layer
and its activation.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Dict, Mapping, Tuple

import numpy as np

from mxquant.graph import Graph, Network, Tensor
from mxquant.runtime.mxnet_bridge import tensor_dtypes
from mxquant.shown import logger

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["in_float32"]

_OTHERS = ("float16", "float64", "bfloat16")
# How MXNet numbers them where a variable says its type, and float32.
_NUMBERS = {"2": "float16", "1": "float64", "12": "bfloat16"}
_FLOAT32 = "0"
_CASTS = ("Cast", "cast", "amp_cast")
_log = logger(__name__)


def in_float32(network: Network) -> Tuple[Network, str]:
    """Return a network in float32, and what was cast for it.

    Parameters
    ----------
    network : Network
        The user's network.

    Returns
    -------
    tuple
        The same network and an empty text where it is in float32 already. What was cast is logged as a warning.
    """
    params = {name: _cast(value) for name, value in network.params.items()}
    kinds = Counter(_kind(value) for name, value in network.params.items() if params[name] is not value)
    named = _named_types(network.graph)
    if not kinds and not named:
        return network, ""
    graph = network.graph.copy()
    _name_float32(graph)
    result = Network(graph, params)
    _drop_casts(result)
    graph.prune()
    used = {node.name for node in graph.variables}
    cast = [f"{count} {kind} parameters" for kind, count in sorted(kinds.items())]
    cast += [f"{count} {kind} types of operators and inputs" for kind, count in sorted(named.items())]
    note = f"{' and '.join(cast)} were cast to float32"
    _log.warning("%s; int8 networks are made of float32 ones, and take and return float32", note)
    return Network(graph, {name: value for name, value in params.items() if name in used}), note


def _kind(value: NDArray[Any]) -> str:
    return "bfloat16" if value.dtype.names == ("bfloat16",) else value.dtype.name


def _cast(value: NDArray[Any]) -> NDArray[Any]:
    kind = _kind(value)
    if kind not in _OTHERS:
        return value
    if kind == "bfloat16":  # the upper half of a float32 number
        return (value["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return value.astype(np.float32)


def _named_types(graph: Graph) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for node in graph.nodes:
        number = node.attrs.get("__dtype__", _FLOAT32) if node.is_variable else _FLOAT32
        found.update([_NUMBERS[number]] if number in _NUMBERS else [])
        found.update([node.attrs["dtype"]] if node.attrs.get("dtype") in _OTHERS else [])
        for inner in node.subgraphs:
            found.update(_named_types(inner))
    return found


def _name_float32(graph: Graph) -> None:
    for node in graph.nodes:
        if node.is_variable and node.attrs.get("__dtype__") in _NUMBERS:
            node.attrs["__dtype__"] = _FLOAT32
        if node.attrs.get("dtype") in _OTHERS:
            node.attrs["dtype"] = "float32"
        node.subgraphs = tuple(inner.copy() for inner in node.subgraphs)
        for inner in node.subgraphs:
            _name_float32(inner)


def _drop_casts(network: Network) -> None:
    """Let readers of a Cast to float32 read its input, where that is float32; what the network returns keeps its name.

    A Cast of an input stays: it takes whole numbers as well.
    """
    graph = network.graph
    dtypes: Dict[str, str] = tensor_dtypes(network)
    returned = {tensor.node for tensor in graph.outputs}
    for node in graph.operators:
        if node.op == "amp_multicast":
            for index, tensor in enumerate(node.inputs):
                graph.redirect(Tensor(node, index), tensor)
        if node.op not in _CASTS or node in returned or node.attrs.get("dtype") != "float32":
            continue
        source = node.inputs[0]
        given = source.node.is_variable and source.node.name not in network.params
        if not given and dtypes.get(source.name) == "float32":
            graph.redirect(node.output, source)
