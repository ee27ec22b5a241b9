"""Symbols in files that may be damaged: MXNet runs nothing that was not checked.

Whether the inputs of a node fit an operator with its attributes is asked of MXNet's function that composes symbols;
that the outputs exist which are read is an invariant of the graph.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from mxquant.errors import GraphError, InputError
from mxquant.files.reading import read_json
from mxquant.graph import Graph, Node, symbol_json
from mxquant.graph.attributes import read_bool
from mxquant.graph.symbol_check import INSIDE, check_document
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line, text_of

__all__ = ["read_symbol"]

_MOST_OUTPUTS = 1_000_000


def read_symbol(path: Union[str, Path]) -> Any:
    """Read a symbol's JSON file.

    Parameters
    ----------
    path : str or Path
        A file of ``Symbol.save``, ``save_checkpoint`` or ``export``, of any version of MXNet.

    Returns
    -------
    mxnet.symbol.Symbol
        The network.

    Raises
    ------
    GraphError
        If it cannot be read, is no symbol, or has nodes that no MXNet has written.
    """
    document = read_json(path, GraphError, "the symbol")
    try:
        check_document(document)
        # What was checked, and no other reading of the same text. MXNet knows no escapes of letters.
        symbol = mx.sym.load_json(json.dumps(document, ensure_ascii=False))
        graph = symbol_json.loads(text_of(symbol))
        _check_nodes(graph, {})
    except (InputError, mx.MXNetError, UnicodeError) as error:
        raise GraphError(f"cannot read the symbol '{path}': {first_line(error)}") from error
    return symbol


def _check_nodes(graph: Graph, known: Dict[Tuple[object, ...], Optional[str]]) -> None:
    if sum(node.num_outputs for node in graph.nodes) > _MOST_OUTPUTS:
        raise GraphError(f"its nodes have more than {_MOST_OUTPUTS} outputs")
    for node in graph.operators:
        key = (node.op, len(node.inputs), *sorted(node.attrs.items()))
        if node.op in INSIDE:
            problem = _fused_problem(node)
        else:
            problem = known[key] if key in known else known.setdefault(key, _problem(node))
        if problem is not None:
            raise GraphError(f"node '{node.name}' ({node.op}) has {len(node.inputs)} inputs: {problem}")
        for inner in node.subgraphs:
            _check_nodes(inner, known)


def _problem(node: Node) -> Optional[str]:
    """Return why an operator with these attributes cannot have so many inputs, or None."""
    attrs = {key: value for key, value in node.attrs.items() if not key.startswith("__")}
    keys, values = list(attrs), list(attrs.values())
    operator, handle = ctypes.c_void_p(), mx.base.SymbolHandle()
    library, check, strings = mx.base._LIB, mx.base.check_call, mx.base.c_str_array
    try:
        check(library.NNGetOpHandle(mx.base.c_str(node.op), ctypes.byref(operator)))
        check(
            library.MXSymbolCreateAtomicSymbol(
                operator, mx.base.mx_uint(len(keys)), strings(keys), strings(values), ctypes.byref(handle)
            )
        )
        symbol = mx.sym.Symbol(handle)
        inputs = [mx.sym.var(f"input{number}") for number in range(len(node.inputs))]
        check(
            library.MXSymbolCompose(
                handle,
                mx.base.c_str("node"),
                mx.base.mx_uint(len(inputs)),
                None,
                mx.base.c_handle_array(inputs),
            )
        )
    except mx.MXNetError as error:
        return first_line(error)
    found: List[str] = symbol.list_inputs()
    return None if len(found) == len(inputs) else f"expected {len(found)}"


# How many inputs the fusions of attention have.
_ATTENTION = {"_sg_mkldnn_selfatt_qk": 1, "_sg_mkldnn_selfatt_valatt": 2}


def _fused_problem(node: Node) -> Optional[str]:
    """Do the same for a fusion, whose inputs are those of its subgraph, and the ends of ranges behind them."""
    inner = node.subgraphs[0]
    within = len(inner.variables)
    convolution = node.op == "_sg_mkldnn_conv"
    main = next((each for each in inner.operators if each.op == INSIDE[node.op]), None)
    if main is None:
        return f"its subgraph returns nothing of a {INSIDE[node.op]}"
    own = _ATTENTION.get(node.op, 3 - read_bool(main, "no_bias", False))
    if convolution:
        own += 4 * read_bool(node, "with_bn", False) + read_bool(node, "with_sum", False)
    if within != own:
        return f"its subgraph has {within}, expected {own}"
    expected = own
    if read_bool(node, "quantized", False):
        if convolution:
            expected += 2 + 2 * read_bool(node, "with_sum", False)
        elif node.op in _ATTENTION:
            expected = 3 * own
        else:
            expected = own + 2 if read_bool(node, "channel_wise_quantize", False) else 3 * own
    return None if len(node.inputs) == expected else f"expected {expected}"
