"""MXNet's symbol JSON, read into a :class:`~mxquant.graph.ir.Graph` and written back.

The only file that knows the format. A document has ``nodes`` (``op``, ``name``, ``attrs``, ``inputs``,
``subgraphs``), ``arg_nodes`` (indices of the variables), ``heads`` (the outputs), ``node_row_ptr`` (running count of
the nodes' outputs) and ``attrs`` with ``mxnet_version``, without which MXNet takes the file for one of version 0.8.
An input or head is ``[node, output, version]``. Written again, a document equals the one that was read, attribute by
attribute.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant.errors import GraphError
from mxquant.graph.ir import VARIABLE, Graph, Node, Tensor

__all__ = ["dumps", "loads"]

OutputNames = Mapping[Tuple[int, int], str]


def loads(text: str, output_names: Optional[OutputNames] = None) -> Graph:
    """Read a symbol's JSON text.

    Parameters
    ----------
    text : str
        JSON as written by MXNet 1.7 to 1.9 (``Symbol.tojson()``).
    output_names : mapping of (int, int) to str, optional
        Names of output tensors by (index of the node, number of the output); derived from the nodes' names where
        they are missing.

    Returns
    -------
    Graph
        The verified graph.

    Raises
    ------
    GraphError
        If the text is no such JSON, or the graph in it breaks an invariant.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise GraphError(f"not a symbol: the text is no JSON ({error})") from None
    if not isinstance(document, dict):
        raise GraphError(f"not a symbol: expected a JSON object, found {type(document).__name__}")
    graph = _read(document)
    for (position, index), name in (output_names or {}).items():
        node = graph.nodes[position]
        if not node.is_variable:
            known = list(node.output_names) + [Tensor(node, i).name for i in range(len(node.output_names), index)]
            node.output_names = (*known[:index], name, *known[index + 1 :])
    graph.verify()
    return graph


def dumps(graph: Graph) -> str:
    """Write a graph as a symbol's JSON text, which ``mxnet.symbol.load_json`` reads.

    Parameters
    ----------
    graph : Graph
        A graph that keeps its invariants.

    Returns
    -------
    str
        JSON on one line; ``Symbol.save`` writes it with indentation.

    Raises
    ------
    GraphError
        If the graph breaks an invariant.
    """
    graph.verify()
    # A graph that was built, not read, says nothing of versions.
    # MXNet reads no escapes of Unicode.
    return json.dumps({"attrs": {"mxnet_version": ["int", _MXNET]}, **_write(graph)}, ensure_ascii=False)


def _read(document: Mapping[str, Any]) -> Graph:
    missing = [key for key in ("nodes", "arg_nodes", "heads") if key not in document]
    if missing:
        raise GraphError(f"not a symbol: the JSON object has no {' and no '.join(missing)}")
    rows = document.get("node_row_ptr") or []
    nodes: List[Node] = []
    for position, entry in enumerate(document["nodes"]):
        name = entry.get("name", f"number {position}")
        legacy = {"attr", "param"} & set(entry)
        if legacy:
            raise GraphError(
                f"node '{name}' is in the format of MXNet before 1.0; "
                "load the file with mxnet.symbol.load and pass the Symbol"
            )
        try:
            inputs = [_tensor(nodes, reference) for reference in entry["inputs"]]
            num_outputs = rows[position + 1] - rows[position] if position + 1 < len(rows) else 1
            subgraphs = tuple(_read(inner) for inner in entry.get("subgraphs", ()))
            node = Node(entry["op"], entry["name"], dict(entry.get("attrs") or {}), inputs, num_outputs, subgraphs)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise GraphError(f"node '{name}' is malformed or stands before one of its inputs: {error!r}") from None
        nodes.append(node)
    try:
        outputs = [_tensor(nodes, reference) for reference in document["heads"]]
    except (IndexError, TypeError, ValueError):
        raise GraphError(f"the heads {document['heads']} do not refer to nodes of the graph") from None
    attrs = {key: value for key, value in document.items() if key not in _STRUCTURE}
    return Graph(nodes, outputs, attrs)


_MXNET = 10901
_STRUCTURE = ("nodes", "arg_nodes", "node_row_ptr", "heads")


def _tensor(nodes: Sequence[Node], reference: Sequence[int]) -> Tensor:
    position, index, version = (*reference, 0)[:3]
    if position < 0:
        raise IndexError(position)
    return Tensor(nodes[position], index, version)


def _write(graph: Graph) -> Dict[str, Any]:
    position = {node: i for i, node in enumerate(graph.nodes)}

    def reference(tensor: Tensor) -> List[int]:
        return [position[tensor.node], tensor.index, tensor.version]

    nodes = []
    rows = [0]
    for node in graph.nodes:
        entry: Dict[str, Any] = {"op": node.op, "name": node.name}
        if node.attrs:
            entry["attrs"] = node.attrs
        entry["inputs"] = [reference(tensor) for tensor in node.inputs]
        if node.subgraphs:
            entry["subgraphs"] = [_write(inner) for inner in node.subgraphs]
        nodes.append(entry)
        rows.append(rows[-1] + node.num_outputs)
    return {
        "nodes": nodes,
        "arg_nodes": [i for i, node in enumerate(graph.nodes) if node.op == VARIABLE],
        "node_row_ptr": rows,
        "heads": [reference(tensor) for tensor in graph.outputs],
        **graph.attrs,
    }
