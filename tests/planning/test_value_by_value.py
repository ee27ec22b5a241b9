"""Functions of single values: computed as MXNet computes them, and told from what looks at more than one."""

from __future__ import annotations

from typing import Any, Callable, List

import numpy as np
import pytest

from mxquant.graph import Graph, Tensor
from mxquant.model import load
from mxquant.planning.value_by_value import Followers
from mxquant.runtime.mxnet import mx
from tests.networks import conv, forward, images, random_params

X = np.linspace(-9, 9, 101)

FUNCTIONS: List[Callable[[Any], Any]] = [
    *(lambda x, kind=kind: mx.sym.Activation(x, act_type=kind) for kind in ("relu", "sigmoid", "tanh", "softrelu")),
    lambda x: mx.sym.Activation(x, act_type="softsign"),
    lambda x: mx.sym.LeakyReLU(x, slope=0.1),
    lambda x: mx.sym.LeakyReLU(x, act_type="elu", slope=0.7),
    lambda x: mx.sym.clip(x, -1, 3),
    lambda x: mx.sym.hard_sigmoid(x, alpha=0.3, beta=0.4),
    lambda x: mx.sym.sigmoid(x) * x,
    lambda x: mx.sym.tanh(x) - x,
    lambda x: x * mx.sym.clip(x + 3, 0, 6) / 6,
    lambda x: mx.sym.clip(2 - x, 0, 5) * 0.5 + 1,
    lambda x: mx.sym.broadcast_add(mx.sym.relu(x), mx.sym.broadcast_mul(x, x)),
    lambda x: mx.sym.broadcast_sub(mx.sym.maximum(x, 1.5), mx.sym.minimum(x, -2)),
]


def graph_of(symbol: Any) -> Graph:
    return load(symbol, *random_params(symbol, data=(1, 1, 1, len(X)))).canonical.network.graph


def followers(graph: Graph, tensor: Tensor) -> Followers:
    readers = {each: [use.node for use in uses] for each, uses in graph.uses().items()}
    return Followers.of(graph, readers, tensor)


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_values_become_what_mxnet_makes_of_them(number: int) -> None:
    symbol = FUNCTIONS[number](mx.sym.var("data"))
    graph = graph_of(symbol)
    found = followers(graph, graph.variables[0].output)
    assert [tensor.name for tensor in found.results] == [graph.outputs[0].name]
    (expected,) = forward(symbol, {}, {}, data=X.astype(np.float32).reshape(1, 1, 1, -1))
    np.testing.assert_allclose(found(X)[0], expected.ravel(), rtol=2e-6, atol=2e-6)


def test_what_else_is_read_is_a_result_too() -> None:
    x = conv(mx.sym.var("data"), "c")
    symbol = mx.sym.Group([conv(mx.sym.sigmoid(x, name="s") * x, "next"), mx.sym.relu(x, name="r")])
    graph = graph_of_images(symbol)
    found = followers(graph, next(node for node in graph.operators if node.name == "c").output)
    assert {tensor.node.op for tensor in found.results} == {"elemwise_mul", "Activation"}
    assert found(X).shape == (2, len(X))


def test_a_tensor_that_a_layer_reads_is_a_result_by_itself() -> None:
    x = conv(mx.sym.var("data"), "c")
    graph = graph_of_images(conv(x, "next") + mx.sym.tanh(x))
    tensor = next(node for node in graph.operators if node.name == "c").output
    assert followers(graph, tensor).results[0] == tensor


def test_what_looks_at_other_values_is_no_function_of_one() -> None:
    x = conv(mx.sym.var("data"), "c")
    graph = graph_of_images(mx.sym.softmax(x) + mx.sym.broadcast_add(x, mx.sym.var("shift", shape=(1, 8, 1, 1))))
    found = followers(graph, next(node for node in graph.operators if node.name == "c").output)
    assert not found.nodes and found.results == [found.tensor]


def graph_of_images(symbol: Any) -> Graph:
    args, aux = random_params(symbol, data=images(1, 4, 8, 8).shape)
    return load(symbol, args, aux).canonical.network.graph
