"""Typed reading of operator attributes, which are text, with the operators' own defaults.

MXNet writes booleans as ``True``, ``true``, ``1`` and so on, and tuples as ``(3, 3)``, ``[3, 3]`` or, for one number,
``3``.
"""

from __future__ import annotations

import ast
from typing import Tuple

from mxquant.errors import GraphError
from mxquant.graph.ir import Node

__all__ = ["read_bool", "read_float", "read_int", "read_tuple"]

_TRUE, _FALSE = {"true", "1"}, {"false", "0"}


def read_bool(node: Node, key: str, default: bool) -> bool:
    """Return attribute `key` of `node` as a truth value, or `default` where it is absent."""
    text = node.attrs.get(key)
    if text is None:
        return default
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise _malformed(node, key, "True or False")


def read_int(node: Node, key: str, default: int) -> int:
    """Return attribute `key` of `node` as a whole number, or `default` where it is absent or None."""
    text = node.attrs.get(key, "None")
    if text == "None":
        return default
    try:
        return int(text)
    except ValueError:
        raise _malformed(node, key, "a whole number") from None


def read_float(node: Node, key: str, default: float) -> float:
    """Return attribute `key` of `node` as a number, or `default` where it is absent or None."""
    text = node.attrs.get(key, "None")
    if text == "None":
        return default
    try:
        return float(text)
    except ValueError:
        raise _malformed(node, key, "a number") from None


def read_tuple(node: Node, key: str, default: Tuple[int, ...] = ()) -> Tuple[int, ...]:
    """Return attribute `key` of `node` as a tuple of whole numbers, or `default` where it is absent or None."""
    text = node.attrs.get(key, "None")
    if text == "None":
        return default
    try:
        value = ast.literal_eval(text)
        return tuple(int(item) for item in (value if isinstance(value, (tuple, list)) else (value,)))
    except (ValueError, SyntaxError, TypeError):
        raise _malformed(node, key, "a tuple of whole numbers") from None


def _malformed(node: Node, key: str, expected: str) -> GraphError:
    return GraphError(f"layer '{node.name}' ({node.op}): {key}={node.attrs[key]!r}, expected {expected}")
