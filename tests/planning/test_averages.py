"""An average over all places stays float32 where the codes of its data are too coarse for it."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

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


def quantized(symbol: Any, mode: str = "smart", method: Optional[str] = "minmax") -> Any:
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    given = data if method else None
    model = mxquant.quantize(symbol, given, arg_params=args, aux_params=aux, accuracy="fast", mode=mode, method=method)
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


@pytest.mark.parametrize("name", POOLINGS)
def test_without_calibration_only_averages_of_positive_values_run_in_int8(name: str) -> None:
    layer, level = quantized(conv_behind(POOLINGS[name](conv(mx.sym.var("data"), "c"))), "full", None)
    assert layer.precision == "float32" and "averages of values of both signs" in layer.reason and level > 25
    for activation in (relu, mx.sym.sigmoid, lambda x: mx.sym.clip(x, 0, 6), lambda x: pooled(relu(x))):
        layer, level = quantized(conv_behind(POOLINGS[name](activation(conv(mx.sym.var("data"), "c")))), "full", None)
        assert layer.precision == "int8" and level > 25


def pooled(x: Any) -> Any:
    return mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2))


def conv_behind(rows: Any) -> Any:
    """Return a layer that runs in int8 without calibration too, which a FullyConnected with a bias does not."""
    return dense(rows, "fc", no_bias=True)
