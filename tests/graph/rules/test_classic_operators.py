"""Operators of mx.np get the names that fusions know, and compute the same."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest

import mxquant
from mxquant.graph.passes import apply
from mxquant.graph.rules.classic_operators import ClassicOperators
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import symbol_of
from tests.networks import conv, forward, images, network_of, random_params, sqnr

SHAPE = (2, 4, 6, 6)
npx, mnp = mx.sym.npx, mx.sym.np


@pytest.mark.parametrize(
    "build, op",
    [
        (npx.relu, "Activation"),
        (npx.sigmoid, "Activation"),
        (lambda x: mnp.concatenate([x, x], axis=-1), "Concat"),
        (lambda x: mnp.concatenate([x, x, x]), "Concat"),
    ],
)
def test_an_operator_is_renamed_and_computes_the_same(build: Callable[[Any], Any], op: str) -> None:
    symbol = build(mx.sym.var("data").as_np_ndarray()).as_nd_ndarray()
    result = apply(network_of(symbol, {}, {}), (ClassicOperators(),))
    (node,) = result.network.graph.operators
    assert node.op == op and node.layers == (symbol.name,) and node.output.name == symbol.list_outputs()[0]
    assert result.modified
    rewritten = symbol_of(result.network.graph)
    data = images(*SHAPE)
    expected, found = (forward(each, {}, {}, data=data)[0] for each in (symbol, rewritten))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("build", [lambda x: x + x, mnp.transpose, lambda x: npx.reshape(x, (-2, -1))])
def test_others_keep_their_names(build: Callable[[Any], Any]) -> None:
    symbol = build(mx.sym.var("data").as_np_ndarray()).as_nd_ndarray()
    result = apply(network_of(symbol, {}, {}), (ClassicOperators(),))
    assert all(node.op.startswith("_np") for node in result.network.graph.operators) and not result.modified


def test_a_relu_of_npx_becomes_part_of_its_convolution() -> None:
    first = npx.relu(conv(mx.sym.var("data"), "c1").as_np_ndarray()).as_nd_ndarray()
    symbol = conv(first, "c2")
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    assert model.plan.layers["c1"].contains == ("c1", first.name)
    assert model.plan.tensors[first.list_outputs()[0]].dtype == "uint8"
    assert sqnr(forward(symbol, args, aux, data=data)[0], model.as_block()(mx.nd.array(data)).asnumpy()) > 30
