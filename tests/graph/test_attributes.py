"""Attributes are text; reading them follows the operators' own conventions."""

from __future__ import annotations

import pytest

from mxquant.errors import GraphError
from mxquant.graph import Node
from mxquant.graph.attributes import read_bool, read_float, read_int, read_tuple


def node(value: str) -> Node:
    return Node("Convolution", "conv0", {"key": value})


@pytest.mark.parametrize("text, value", [("True", True), ("true", True), ("1", True), ("False", False), ("0", False)])
def test_booleans(text: str, value: bool) -> None:
    assert read_bool(node(text), "key", not value) is value


def test_numbers() -> None:
    assert read_int(node("-1"), "key", 0) == -1
    assert read_float(node("1e-05"), "key", 0.0) == 1e-5


@pytest.mark.parametrize("text, value", [("(3, 3)", (3, 3)), ("[2,1]", (2, 1)), ("7", (7,)), ("()", ())])
def test_tuples(text: str, value: tuple) -> None:
    assert read_tuple(node(text), "key", (9,)) == value


def test_absent_and_none_mean_the_default() -> None:
    assert read_bool(node(""), "other", True) is True
    assert read_int(node("None"), "key", 5) == 5
    assert read_float(node("None"), "key", 0.5) == 0.5
    assert read_tuple(node("None"), "key", (1,)) == (1,)


@pytest.mark.parametrize("read, default", [(read_bool, True), (read_int, 1), (read_float, 1.0), (read_tuple, ())])
def test_malformed_text_names_layer_and_attribute(read, default) -> None:
    with pytest.raises(GraphError, match=r"'conv0' \(Convolution\): key='maybe', expected"):
        read(node("maybe"), "key", default)
