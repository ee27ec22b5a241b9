"""Typed reading of operator attributes, which are text, with the operators' own defaults.

MXNet writes booleans as ``True``, ``true``, ``1`` and so on, and tuples as ``(3, 3)``, ``[3, 3]`` or, for one number,
``3``.
"""

from __future__ import annotations

import re
from typing import Callable, Optional, Tuple, TypeVar

from mxquant.errors import GraphError
from mxquant.graph.ir import Node

__all__ = ["read_bool", "read_bounds", "read_float", "read_int", "read_tuple"]

Number = TypeVar("Number", int, Optional[int])
_TRUE, _FALSE = {"true", "1"}, {"false", "0"}
_BRACKETS = re.compile(r"\s*(?:\((?P<round>.*)\)|\[(?P<square>.*)\])\s*", re.DOTALL)
_LONGEST = 1000
# What MXNet itself reads numbers into.
_LARGEST = 1 << 63


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
        return _whole(text)
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
    return _items(node, key, text, _whole)


def read_bounds(node: Node, key: str) -> Tuple[Optional[int], ...]:
    """Return attribute `key` of `node` as a tuple of whole numbers in which None stands for an end; else no numbers."""
    return _items(node, key, node.attrs.get(key, "()"), lambda item: None if item.strip() == "None" else _whole(item))


def _items(node: Node, key: str, text: str, read: Callable[[str], Number]) -> Tuple[Number, ...]:
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        match = _BRACKETS.fullmatch(text)
        inside = text if match is None else match["round"] or match["square"] or ""
        return tuple(read(item) for item in re.sub(r",\s*$", "", inside).split(",")) if inside.strip() else ()
    except ValueError:
        raise _malformed(node, key, "a tuple of whole numbers") from None


def _whole(text: str) -> int:
    if len(text) > _LONGEST:
        raise ValueError("too long")
    try:
        value = int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        value = int(number)
    if not -_LARGEST <= value < _LARGEST:
        raise ValueError("too large")
    return value


def _malformed(node: Node, key: str, expected: str) -> GraphError:
    shown = node.attrs[key] if len(node.attrs[key]) <= _LONGEST else f"{node.attrs[key][:40]}..."
    return GraphError(f"layer '{node.name}' ({node.op}): {key}={shown!r}, expected {expected}")
