"""Every form of a ReLU becomes the Activation that is fused, and computes the same."""

from __future__ import annotations

from typing import Any, Callable, List

import numpy as np
import pytest

import mxquant
from mxquant.graph.passes import Canonical, apply
from mxquant.graph.rules.relu_forms import ReluForms
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import split_params, symbol_of
from tests.networks import conv, forward, images, network_of, random_params, sqnr

SHAPE = (2, 3, 8, 8)
Build = Callable[[Any], Any]
npx, mnp = mx.sym.npx, mx.sym.np
LARGEST = float(np.finfo(np.float32).max)


def numpy(build: Build) -> Build:
    return lambda x: build(x.as_np_ndarray()).as_nd_ndarray()


RELUS: List[Build] = [
    mx.sym.relu,
    lambda x: mx.sym.maximum(x, 0),
    lambda x: mx.sym.maximum(0.0, x),
    lambda x: mx.sym._internal._maximum(x, mx.sym.zeros_like(x)),
    lambda x: mx.sym._internal._maximum(mx.sym.zeros_like(x), x),
    lambda x: mx.sym.broadcast_maximum(x, mx.sym.zeros((1,))),
    lambda x: mx.sym.broadcast_maximum(mx.sym.var("zero"), x),
    lambda x: mx.sym.clip(x, 0, np.inf),
    lambda x: mx.sym.clip(x, 0, LARGEST),
    lambda x: mx.sym.LeakyReLU(x, slope=0),
    lambda x: mx.sym.where(x > 0, x, mx.sym.zeros_like(x)),
    lambda x: x * (x > 0),
    lambda x: (x >= 0) * x,
    numpy(npx.relu),
    numpy(lambda x: mnp.maximum(x, 0)),
    numpy(lambda x: mnp.maximum(0, x)),
    numpy(lambda x: mnp.maximum(x, mx.sym.zeros_like(x.as_nd_ndarray()).as_np_ndarray())),
    numpy(lambda x: mnp.where(x > 0, x, 0)),
]
CLIPS: List[Build] = [
    lambda x: mx.sym.minimum(mx.sym.maximum(x, 0), 0.5),
    lambda x: mx.sym.maximum(mx.sym.minimum(x, 0.5), 0),
    lambda x: mx.sym.minimum(mx.sym.relu(x), 0.5),
    lambda x: mx.sym.minimum(mx.sym.Activation(x, act_type="relu"), 0.5),
    numpy(lambda x: mnp.minimum(npx.relu(x), 0.5)),
    numpy(lambda x: mnp.maximum(mnp.minimum(x, 0.5), 0)),
]
OTHERS: List[Build] = [
    lambda x: mx.sym.maximum(x, 0.1),
    lambda x: mx.sym.maximum(x, -0.1),
    lambda x: mx.sym.minimum(x, 0),
    lambda x: mx.sym.minimum(mx.sym.maximum(x, -0.1), 6),
    lambda x: mx.sym.clip(x, 0, 6),
    lambda x: mx.sym.clip(x, -1, LARGEST),
    lambda x: mx.sym.LeakyReLU(x, slope=0.1),
    lambda x: mx.sym.LeakyReLU(x),
    lambda x: mx.sym.LeakyReLU(x, act_type="elu", slope=0),
    lambda x: mx.sym.where(x > 0, mx.sym.zeros_like(x), x),
    lambda x: mx.sym.where(x > 0.1, x, mx.sym.zeros_like(x)),
    lambda x: mx.sym.where(x > 0, x, mx.sym.ones_like(x)),
    lambda x: mx.sym.where(2 * x - 1 > 0, x, mx.sym.zeros_like(x)),
    lambda x: x * (x < 0),
    lambda x: x * x,
    lambda x: mx.sym.broadcast_maximum(x, mx.sym.var("half")),
    # A result of more axes than x has.
    lambda x: mx.sym.broadcast_maximum(x, mx.sym.zeros((1, 1, 1, 1, 1))),
]


def run(symbol: Any) -> Canonical:
    return apply(network_of(symbol, *params(symbol)), (ReluForms(),))


def params(symbol: Any) -> Any:
    numbers = {"zero": mx.nd.zeros((1,)), "half": mx.nd.array([0.5])}
    present = [name for name in symbol.list_arguments() if name in numbers]
    args, aux = random_params(symbol, data=SHAPE, **dict.fromkeys(present, (1,)))
    return {**args, **{name: numbers[name] for name in present}}, aux


def assert_equal_outputs(symbol: Any, result: Canonical) -> None:
    rewritten = symbol_of(result.network.graph)
    (expected,) = forward(symbol, *params(symbol), data=images(*SHAPE))
    (actual,) = forward(rewritten, *split_params(result.network, rewritten), data=images(*SHAPE))
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("build", RELUS)
def test_a_relu_becomes_an_activation(build: Build) -> None:
    symbol = build(conv(mx.sym.var("data"), "c"))
    result = run(symbol)
    assert [(node.op, node.attrs.get("act_type")) for node in result.network.graph.operators] == [
        ("Convolution", None),
        ("Activation", "relu"),
    ]
    assert result.modified and not result.refusals
    assert [tensor.name for tensor in result.network.graph.outputs] == symbol.list_outputs()
    assert_equal_outputs(symbol, result)


@pytest.mark.parametrize("build", CLIPS)
def test_a_relu_that_ends_becomes_a_clip(build: Build) -> None:
    symbol = build(conv(mx.sym.var("data"), "c"))
    result = run(symbol)
    _, clip = result.network.graph.operators
    assert clip.op == "clip" and (float(clip.attrs["a_min"]), float(clip.attrs["a_max"])) == (0, 0.5)
    assert clip.name == symbol.name and [clip.name in names for names in result.aliases.values()] == [True]
    assert_equal_outputs(symbol, result)


@pytest.mark.parametrize("build", OTHERS)
def test_what_is_no_relu_stays(build: Build) -> None:
    assert not run(build(conv(mx.sym.var("data"), "c"))).modified


def test_a_relu_that_others_read_does_not_end() -> None:
    x = mx.sym.relu(conv(mx.sym.var("data"), "c"))
    symbol = mx.sym.minimum(x, 0.5) + x
    result = run(symbol)
    operators = [node.op for node in result.network.graph.operators]
    assert operators == ["Convolution", "Activation", "_minimum_scalar", "elemwise_add"]
    assert_equal_outputs(symbol, result)


def test_values_that_may_be_whole_numbers_stay() -> None:
    result = run(mx.sym.maximum(mx.sym.var("data"), 0))
    assert not result.modified
    (refusal,) = result.refusals
    assert refusal.reason == "'data' may hold whole numbers"
    assert run(mx.sym.maximum(mx.sym.var("data", dtype="float32"), 0)).modified


@pytest.mark.parametrize("build", [*RELUS, *CLIPS])
def test_it_is_fused_into_its_convolution_in_int8(build: Build) -> None:
    symbol = conv(build(conv(mx.sym.var("data"), "c1")), "c2")
    args, aux = params(symbol)
    data = images(*SHAPE)
    options = {"arg_params": args, "aux_params": aux, "accuracy": "fast"}
    plan = mxquant.quantize(symbol, data, isa="vnni", **options).plan
    assert {name: layer.precision for name, layer in plan.layers.items()} == {"c1": "int8", "c2": "int8"}
    model = mxquant.quantize(symbol, data, **options)
    assert sqnr(forward(symbol, args, aux, data=data)[0], model.as_block()(mx.nd.array(data)).asnumpy()) > 30


def test_excluding_the_operator_that_it_was_keeps_it_in_float32() -> None:
    symbol = conv(mx.sym.Pooling(mx.sym.relu(conv(mx.sym.var("data"), "c1"), name="act"), kernel=(2, 2)), "c2")
    args, aux = params(symbol)
    options = {"arg_params": args, "aux_params": aux, "accuracy": "fast"}
    for excluded in ({"exclude_operators": ["relu"]}, {"exclude_layers": ["act"]}):
        plan = mxquant.quantize(symbol, images(*SHAPE), **options, **excluded).plan
        assert plan.layers["c1"].precision == "float32"
