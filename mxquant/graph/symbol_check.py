"""Whether a symbol's JSON document may be given to MXNet, which expects one that it has written itself.

==========================  ====================================================================================
what has to hold            what it is for
==========================  ====================================================================================
a node stands behind its    a network has no cycles
inputs
a fusion has its subgraphs  they are what it computes
no pointers                 ``_Native`` and its like hold addresses, which mean something in one process alone
no gradients                MXNet makes these operators itself, for training
no huge numbers of inputs   no network has them
or outputs
==========================  ====================================================================================

Everything else that a document has to be is said by type.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from mxquant.errors import GraphError

__all__ = ["INSIDE", "check_document"]

_POINTERS = ("_Native", "_NDArray", "_CustomFunction", "_CachedOp", "_CachedOpThreadSafe", "_NoGradient", "_TensorRT")
# What a fusion has inside, once.
INSIDE = {
    "_sg_mkldnn_conv": "Convolution",
    "_sg_mkldnn_fully_connected": "FullyConnected",
    "_sg_mkldnn_selfatt_qk": "_contrib_interleaved_matmul_selfatt_qk",
    "_sg_mkldnn_selfatt_valatt": "_contrib_interleaved_matmul_selfatt_valatt",
}
# How many subgraphs an operator has.
_SUBGRAPHS = {"_foreach": 1, "_while_loop": 2, "_cond": 3, **dict.fromkeys(INSIDE, 1)}
_MOST_NESTED = 8
_MOST_NODES = 1_000_000
# Attributes that say how many inputs or outputs an operator has.
_COUNTS = ("num_args", "num_outputs", "num_weights", "num_arrays", "num_tensors", "num_data", "num_out_data")


def check_document(document: Any, nested: int = 0) -> None:
    """Refuse what MXNet may not be given.

    Parameters
    ----------
    document : object
        What the JSON says, in the form of any version of MXNet.
    nested : int
        How many operators this graph is inside of.

    Raises
    ------
    GraphError
        Naming the node.
    """
    if not isinstance(document, dict):
        raise GraphError(f"not a symbol: expected a JSON object, found {type(document).__name__}")
    missing = [key for key in ("nodes", "arg_nodes", "heads") if not isinstance(document.get(key), list)]
    if missing:
        raise GraphError(f"not a symbol: the JSON object has no {' and no '.join(missing)}")
    if nested > _MOST_NESTED:
        raise GraphError(f"its subgraphs are nested more than {_MOST_NESTED} deep")
    nodes = document["nodes"]
    if len(nodes) > _MOST_NODES:
        raise GraphError(f"it has {len(nodes)} nodes, expected at most {_MOST_NODES}")
    for position, entry in enumerate(nodes):
        _check_node(entry, position, nested)
    _check_references(document["heads"], len(nodes), "the heads")
    if not document["heads"]:
        raise GraphError("has-output: the graph returns nothing")
    for number in document["arg_nodes"]:
        if not _is_number(number, len(nodes)) or nodes[number]["op"] != "null":
            raise GraphError(f"arg_nodes has {number!r}, expected numbers of variables")


def _check_node(entry: Any, position: int, nested: int) -> None:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("op", "name")):
        raise GraphError(f"node number {position} has no operator and no name")
    op, where = entry["op"], f"node '{entry['name']}'"
    if op in _POINTERS or "_backward" in op or op.startswith("_FusedOp"):
        raise GraphError(f"{where} has operator '{op}', which no network for inference has in a file")
    _check_references(entry.get("inputs"), position, where)
    for key in ("attrs", "attr", "param"):
        attrs = entry.get(key, {})
        if not isinstance(attrs, dict) or not all(isinstance(value, str) for value in attrs.values()):
            raise GraphError(f"text-attributes: {where} has {key} that are not text")
        _check_counts(attrs, where)
    _check_controls(entry.get("control_deps", []), position, where)
    subgraphs = entry.get("subgraphs", [])
    if not isinstance(subgraphs, list) or len(subgraphs) != _SUBGRAPHS.get(op, 0):
        raise GraphError(f"{where} ({op}) is malformed: expected {_SUBGRAPHS.get(op, 0)} subgraphs")
    for inner in subgraphs:
        check_document(inner, nested + 1)
    _check_fusion(op, subgraphs, where)


def _check_counts(attrs: Mapping[str, str], where: str) -> None:
    for key in _COUNTS:
        text = attrs.get(key, "1").strip()
        if text.lstrip("-+").isdigit() and len(text) > len(str(_MOST_NODES)):
            raise GraphError(f"{where} has {key}={text[:40]}, expected at most {_MOST_NODES}")


def _check_fusion(op: str, subgraphs: Sequence[Mapping[str, Any]], where: str) -> None:
    if op in INSIDE and [node["op"] for node in subgraphs[0]["nodes"]].count(INSIDE[op]) != 1:
        raise GraphError(f"{where} ({op}) is malformed: expected one {INSIDE[op]} inside")


def _check_references(references: Any, count: int, where: str) -> None:
    if not isinstance(references, list) or not all(_is_reference(each, count) for each in references):
        raise GraphError(
            f"{where} is malformed or stands before one of its inputs"
            if where.startswith("node")
            else f"{where} do not refer to nodes of the graph"
        )


def _check_controls(numbers: Any, position: int, where: str) -> None:
    if not isinstance(numbers, list) or not all(_is_number(each, position) for each in numbers):
        raise GraphError(f"{where} depends on what is no node before it")


def _is_reference(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (2, 3)
        and _is_number(value[0], count)
        and all(_is_number(each, 1 << 31) for each in value[1:])
    )


def _is_number(value: Any, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end
