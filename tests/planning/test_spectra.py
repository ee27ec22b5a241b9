"""Layers that compute spectra stay float32; those of norms, and those behind, do not."""

from __future__ import annotations

from typing import Any, Callable, Set

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, random_params, relu, sqnr

LOUDNESS = np.geomspace(1e-3, 1, 8).reshape(8, 1, 1, 1)
WAVES = (LOUDNESS * np.random.RandomState(4).randn(8, 1, 400, 1)).astype(np.float32)


def transform(data: Any, name: str) -> Any:
    return mx.sym.Convolution(data, kernel=(32, 1), stride=(16, 1), num_filter=16, no_bias=True, name=name)


def parts(data: Any) -> Any:
    return transform(data, "sine"), transform(mx.sym.negative(data), "cosine")


def power(data: Any) -> Any:
    sine, cosine = parts(data)
    return mx.sym.square(sine) + mx.sym.square(cosine)


def magnitude(data: Any) -> Any:
    both = mx.sym.stack(*parts(data), axis=-1)
    return mx.sym.sqrt(mx.sym.sum(both * both, axis=-1))


def behind_filter(data: Any) -> Any:
    low = mx.sym.Convolution(data, kernel=(5, 1), pad=(2, 0), num_filter=1, no_bias=True, name="low")
    return mx.sym.log(mx.sym.maximum(power(mx.sym.slice_axis(low, axis=2, begin=0, end=396)), 1e-6))


SPECTRA: list[tuple[Callable[[Any], Any], Set[str], str]] = [
    (lambda x: mx.sym.log(power(x) + 1e-6, name="loud"), {"sine", "cosine"}, "log 'loud'"),
    (lambda x: mx.sym.log10((power(x) + 1e-6) * 0.5), {"sine", "cosine"}, "log10"),
    (magnitude, {"sine", "cosine"}, "sqrt"),
    (lambda x: mx.sym.sqrt(transform(x, "sine") ** 2), {"sine"}, "sqrt"),
    (behind_filter, {"low", "sine", "cosine"}, "log"),
]


def planned(symbol: Any, target: str) -> Any:
    args, aux = random_params(symbol, data=WAVES.shape)
    params = {"arg_params": args, "aux_params": aux}
    return mxquant.make_plan(symbol, mxquant.calibrate(symbol, WAVES, **params), target=target, **params), params


@pytest.mark.parametrize("target", ["onednn", "onnx_qdq"])
@pytest.mark.parametrize("number", range(len(SPECTRA)))
def test_what_computes_a_spectrum_stays_float32_and_what_is_behind_does_not(number: int, target: str) -> None:
    build, spectral, end = SPECTRA[number]
    symbol = dense(relu(conv(build(mx.sym.var("data")), "behind", 8)), "head")
    plan, _ = planned(symbol, target)
    for name in spectral:
        assert plan.layers[name].precision == "float32"
        assert "it computes a spectrum" in plan.layers[name].reason and end in plan.layers[name].reason
    assert [layer.precision for layer in plan.layers.values() if "behind" in layer.contains] == ["int8"]


def test_an_activation_between_is_no_spectrum() -> None:
    symbol = mx.sym.log(mx.sym.square(relu(transform(mx.sym.var("data"), "sine"))) + 1e-3)
    plan, _ = planned(symbol, "onnx_qdq")
    assert plan.layers["sine"].precision == "int8"


def norm(x: Any) -> Any:
    centred = mx.sym.broadcast_sub(x, mx.sym.mean(x, axis=1, keepdims=True))
    return mx.sym.broadcast_div(centred, mx.sym.sqrt(mx.sym.mean(mx.sym.square(centred), axis=1, keepdims=True) + 1e-5))


@pytest.mark.parametrize("build", [norm, mx.sym.square, lambda x: mx.sym.sum(x * x, axis=1, keepdims=True)])
def test_norms_and_plain_squares_are_none(build: Callable[[Any], Any]) -> None:
    plan, _ = planned(conv(build(conv(mx.sym.var("data"), "first")), "next"), "onnx_qdq")
    assert plan.layers["first"].precision == "int8"


def test_quiet_sounds_are_kept() -> None:
    symbol = mx.sym.log(power(mx.sym.var("data")) + 1e-9)
    plan, params = planned(symbol, "onnx_qdq")
    simulated = mxquant.lower(symbol, plan, target="simulate", **params)
    assert {layer.precision for layer in plan.layers.values()} == {"float32"}
    (found,) = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=WAVES)
    assert sqnr(forward(symbol, *params.values(), data=WAVES)[0], found) > 100
