"""Activations join what they alone read; everything else stays apart."""

from __future__ import annotations

from typing import Any, FrozenSet, List, Tuple

import pytest

from mxquant.lowering.activation_groups import group_activations
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, network_of, relu

GROUPED = ("Convolution", "FullyConnected", "elemwise_add")


def groups(symbol: Any, apart: FrozenSet[str] = frozenset()) -> List[Tuple[str, ...]]:
    return [node.layers for node in group_activations(network_of(symbol, {}, {}), apart, GROUPED).graph.operators]


@pytest.mark.parametrize(
    "layer",
    [
        lambda x: conv(x, "main"),
        lambda x: dense(x, "main"),
        lambda x: mx.sym.elemwise_add(x, mx.sym.exp(x, name="exp"), name="main"),
    ],
)
@pytest.mark.parametrize(
    "activation",
    [lambda x: relu(x, "act"), lambda x: mx.sym.relu(x, name="act"), lambda x: mx.sym.clip(x, 0, 6, name="act")],
)
def test_a_relu_or_clip_joins_the_layer_that_it_reads(layer: Any, activation: Any) -> None:
    symbol = activation(layer(mx.sym.var("data")))
    grouped = group_activations(network_of(symbol, {}, {}), frozenset(), GROUPED)
    node = grouped.graph.operators[-1]
    assert (node.name, node.layers, node.output.name) == ("main", ("main", "act"), "act_output")
    assert [inner.name for inner in node.subgraphs[0].operators] == ["main", "act"]


def test_names_of_layers_to_keep_apart_are_obeyed() -> None:
    symbol = relu(conv(mx.sym.var("data"), "main"), "act")
    assert groups(symbol, frozenset({"act"})) == [("main",), ("act",)]


def test_what_something_else_reads_too_stays() -> None:
    main = conv(mx.sym.var("data"), "main")
    assert groups(mx.sym.Group([relu(main, "act"), main])) == [("main",), ("act",)]


def test_only_one_activation_joins() -> None:
    symbol = mx.sym.clip(relu(conv(mx.sym.var("data"), "main"), "act"), 0, 6, name="six")
    assert groups(symbol) == [("main", "act"), ("six",)]


@pytest.mark.parametrize(
    "activation",
    [
        lambda x: mx.sym.Activation(x, act_type="sigmoid", name="act"),
        lambda x: mx.sym.clip(x, -1, 1, name="act"),
        lambda x: mx.sym.clip(x, 0, 0, name="act"),
        lambda x: mx.sym.LeakyReLU(x, name="act"),
    ],
)
def test_curves_and_clips_that_end_elsewhere_than_at_zero_stay(activation: Any) -> None:
    assert groups(activation(conv(mx.sym.var("data"), "main"))) == [("main",), ("act",)]
