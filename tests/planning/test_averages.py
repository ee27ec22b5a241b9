"""An average over all places stays float32 where the codes of its data are too coarse for it."""

from __future__ import annotations

from typing import Any, Callable, Dict

import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (16, 3, 24, 24)
POOLINGS: Dict[str, Callable[[Any], Any]] = {
    "pooling": lambda x: mx.sym.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg", name="all"),
    "pooling and Flatten": lambda x: mx.sym.Flatten(
        mx.sym.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg", name="all")
    ),
    "mean": lambda x: mx.sym.mean(x, axis=(2, 3), name="all"),
    "mean and reshape": lambda x: mx.sym.reshape(mx.sym.mean(x, axis=(2, 3), keepdims=True, name="all"), (0, -1)),
}


def quantized(symbol: Any, mode: str = "smart") -> Any:
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast", mode=mode)
    (found,) = forward(model.symbol, model.arg_params, model.aux_params, data=data)
    return model.plan.layers["all"], sqnr(forward(symbol, args, aux, data=data)[0], found)


@pytest.mark.parametrize("mode", ["smart", "full"])
@pytest.mark.parametrize("name", POOLINGS)
def test_averages_of_values_that_cancel_out_stay_float32(name: str, mode: str) -> None:
    layer, level = quantized(dense(POOLINGS[name](conv(mx.sym.var("data"), "c")), "fc"), mode)
    assert layer.precision == "float32" and "int8 would leave" in layer.reason
    assert level > 25


@pytest.mark.parametrize("name", POOLINGS)
def test_averages_behind_a_relu_run_in_int8(name: str) -> None:
    layer, level = quantized(dense(POOLINGS[name](relu(conv(mx.sym.var("data"), "c"))), "fc"))
    assert layer.precision == "int8" and level > 25


def test_the_largest_value_runs_in_int8() -> None:
    layer, level = quantized(dense(mx.sym.max(conv(mx.sym.var("data"), "c"), axis=(2, 3), name="all"), "fc"))
    assert layer.precision == "int8" and level > 25
