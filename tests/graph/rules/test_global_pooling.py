"""A mean or a largest value over all places becomes a global pooling, and computes the same."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List

import numpy as np
import pytest

import mxquant
from mxquant.graph.passes import Canonical, apply, canonicalize
from mxquant.graph.rules.global_pooling import GlobalPooling
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import split_params, symbol_of
from tests.networks import conv, dense, forward, images, network_of, random_params, relu, sqnr

SHAPE = (2, 3, 6, 8)
Build = Callable[[Any], Any]
mnp, npx = mx.sym.np, mx.sym.npx


def numpy(build: Build) -> Build:
    return lambda x: build(x.as_np_ndarray()).as_nd_ndarray()


FLAT: List[Build] = [
    lambda x: x.mean(axis=(2, 3)),
    lambda x: mx.sym.mean(x, axis=(-1, -2)),
    lambda x: mx.sym.mean(x, axis=(0, 1), exclude=True),
    lambda x: x.mean(axis=3).mean(axis=2),
    lambda x: x.mean(axis=2).mean(axis=-1),
    lambda x: mx.sym.reshape(x, (0, 0, -1)).mean(axis=2),
    lambda x: mx.sym.reshape(x, (0, 0, -1)).mean(axis=-1),
    lambda x: x.max(axis=(2, 3)),
    lambda x: x.max(axis=3).max(axis=2),
    lambda x: mx.sym.reshape(x, (0, 0, -1)).max(axis=2),
    numpy(lambda x: mnp.mean(x, axis=(2, 3))),
    numpy(lambda x: x.mean(axis=(-2, -1))),
    numpy(lambda x: x.mean(axis=3).mean(axis=2)),
    numpy(lambda x: npx.reshape(x, (-2, -2, -1)).mean(axis=2)),
    numpy(lambda x: mnp.max(x, axis=(2, 3))),
]
KEPT: List[Build] = [
    lambda x: x.mean(axis=(2, 3), keepdims=True),
    lambda x: mx.sym.mean(x, axis=(0, 1), exclude=True, keepdims=True),
    lambda x: x.mean(axis=3, keepdims=True).mean(axis=2, keepdims=True),
    lambda x: x.max(axis=(2, 3), keepdims=True),
    lambda x: mx.sym.contrib.AdaptiveAvgPooling2D(x),
    lambda x: mx.sym.contrib.AdaptiveAvgPooling2D(x, output_size=1),
    lambda x: mx.sym.contrib.AdaptiveAvgPooling2D(x, output_size=(1, 1)),
    lambda x: mx.sym.Pooling(x, global_pool=True, pool_type="avg"),
    numpy(lambda x: x.mean(axis=(2, 3), keepdims=True)),
]
OTHERS: Dict[str, Build] = {
    r"axes \[1\] of 4": lambda x: x.mean(axis=1),
    r"axes \[2\] of 4": lambda x: x.mean(axis=2),
    r"axes \[1, 2, 3\] of 4": lambda x: x.mean(axis=(1, 2, 3)),
    r"axes \[0, 1, 2, 3\] of 4": lambda x: x.mean(),
    r"axes \[0, 1\] of 4": lambda x: mx.sym.mean(x, axis=(2, 3), exclude=True),
    r"axes \[1\] of 2": lambda x: mx.sym.Flatten(x).mean(axis=1),
    r"axes \[2\] of 3": lambda x: mx.sym.reshape(x, (0, -1, 8)).mean(axis=2),
    "its results have the size 2": lambda x: mx.sym.contrib.AdaptiveAvgPooling2D(x, output_size=2),
    "how many axes .* is not known": lambda x: mx.sym.reshape(x, (0, 0, -4, 2, -1, -2)).mean(axis=(2, 3)),
}


def run(symbol: Any) -> Canonical:
    return apply(network_of(symbol, *random_params(symbol, data=SHAPE)), (GlobalPooling(),))


def assert_same_outputs(symbol: Any, result: Canonical) -> None:
    rewritten = symbol_of(result.network.graph)
    (expected,) = forward(symbol, *random_params(symbol, data=SHAPE), data=images(*SHAPE))
    (actual,) = forward(rewritten, *split_params(result.network, rewritten), data=images(*SHAPE))
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", FLAT)
def test_a_reduction_becomes_a_pooling_and_a_flatten(build: Build) -> None:
    symbol = build(conv(mx.sym.var("data"), "c"))
    result = run(symbol)
    assert [node.op for node in result.network.graph.operators] == ["Convolution", "Pooling", "Flatten"]
    assert [tensor.name for tensor in result.network.graph.outputs] == symbol.list_outputs()
    pooling, flatten = result.network.graph.operators[1:]
    assert pooling.name == symbol.name and result.aliases[symbol.name] == {pooling.name, flatten.name}
    assert_same_outputs(symbol, result)


@pytest.mark.parametrize("build", KEPT)
def test_one_that_keeps_the_axes_becomes_a_pooling(build: Build) -> None:
    symbol = build(conv(mx.sym.var("data"), "c"))
    result = run(symbol)
    assert [node.op for node in result.network.graph.operators] == ["Convolution", "Pooling"]
    assert result.network.graph.operators[1].attrs["kernel"] == "(1, 1)"
    assert [tensor.name for tensor in result.network.graph.outputs] == symbol.list_outputs()
    assert_same_outputs(symbol, result)


def test_volumes_are_pooled_too() -> None:
    x = mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3, 3), num_filter=4, name="c")
    symbol = mx.sym.mean(x, axis=(2, 3, 4))
    args, aux = random_params(symbol, data=(2, 3, 4, 5, 6))
    result = apply(network_of(symbol, args, aux), (GlobalPooling(),))
    assert result.network.graph.operators[1].attrs["kernel"] == "(1, 1, 1)"
    data = images(2, 3, 4, 5, 6)
    rewritten = symbol_of(result.network.graph)
    expected, actual = (forward(each, args, aux, data=data)[0] for each in (symbol, rewritten))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reason", OTHERS)
def test_other_reductions_stay_and_say_why(reason: str) -> None:
    result = run(OTHERS[reason](conv(mx.sym.var("data"), "c")))
    assert not result.modified
    assert re.search(reason, result.refusals[-1].reason), result.refusals


def test_data_of_unknown_axes_stay() -> None:
    symbol = dense(mx.sym.mean(mx.sym.var("data"), axis=(2, 3)), "fc")
    result = canonicalize(network_of(symbol, *random_params(symbol, data=SHAPE)))
    assert not result.modified
    assert [refusal.reason for refusal in result.refusals] == ["how many axes 'data' has is not known"]


def test_a_reduction_that_others_read_too_stays_beside() -> None:
    rows = conv(mx.sym.var("data"), "c").mean(axis=3)
    symbol = mx.sym.broadcast_mul(rows, mx.sym.expand_dims(rows.mean(axis=2), axis=2))
    result = run(symbol)
    operators = [node.op for node in result.network.graph.operators]
    assert sorted(operators) == sorted(["Convolution", "mean", "Pooling", "Flatten", "expand_dims", "broadcast_mul"])
    assert_same_outputs(symbol, result)


@pytest.mark.parametrize("build", [*FLAT, *KEPT])
def test_it_runs_in_int8(build: Build) -> None:
    symbol = dense(build(relu(conv(mx.sym.var("data"), "c"))), "fc")
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    assert {layer.precision for layer in model.plan.layers.values()} == {"int8"}
    written = dense(mx.sym.Pooling(relu(conv(mx.sym.var("data"), "c")), **_pooling(symbol)), "fc")
    same = mxquant.quantize(written, data, arg_params=args, aux_params=aux, accuracy="fast")
    (reference,) = forward(symbol, args, aux, data=data)
    found = [sqnr(reference, each.as_block()(mx.nd.array(data)).asnumpy()) for each in (model, same)]
    assert found[1] > 25 and abs(found[0] - found[1]) < 0.3


def _pooling(symbol: Any) -> Dict[str, Any]:
    largest = any("max" in node.op for node in network_of(symbol, {}, {}).graph.operators)
    return {"global_pool": True, "kernel": (1, 1), "pool_type": "max" if largest else "avg"}


def test_excluding_the_operator_that_it_was_keeps_it_in_float32() -> None:
    symbol = dense(mx.sym.mean(relu(conv(mx.sym.var("data"), "c")), axis=(2, 3), name="all"), "fc")
    args, aux = random_params(symbol, data=SHAPE)
    options = {"arg_params": args, "aux_params": aux, "accuracy": "fast"}
    for excluded in ({"exclude_operators": ["mean"]}, {"exclude_layers": ["all"]}):
        layers = mxquant.quantize(symbol, images(*SHAPE), **options, **excluded).plan.layers
        assert [layers[name].precision for name in ("c", "all", "fc")] == ["int8", "float32", "int8"]
