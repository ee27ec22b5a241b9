"""Layers that int8 makes slower on a GPU stay float32: few products for each value, or conversions that cost more."""

from __future__ import annotations

from typing import Any, Dict

import pytest

import mxquant
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu


def precisions(symbol: Any, shape: Any, **options: Any) -> Dict[str, str]:
    args, aux = random_params(symbol, data=shape)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, images(*shape), target="cudnn", **params)
    plan = mxquant.make_plan(symbol, statistics, target="cudnn", **options, **params)
    layers = plan.layers.values()
    assert all("longer on a GPU" in each.reason for each in layers if each.precision == "float32" and each.op != "tanh")
    return {each.name: each.precision for each in layers}


@pytest.mark.parametrize(
    "channels, filters, kernel, precision",
    [
        (16, 64, 3, "float32"),
        (64, 64, 3, "float32"),
        (256, 64, 3, "int8"),
        (256, 64, 1, "float32"),
        (2048, 64, 1, "float32"),
        (2048, 512, 1, "int8"),
    ],
)
def test_a_convolution_alone_needs_many_products_for_each_value(
    channels: int, filters: int, kernel: int, precision: str
) -> None:
    symbol = conv(mx.sym.var("data"), "c1", filters, kernel)
    assert precisions(symbol, (1, channels, 6, 6)) == {"c1": precision}


def test_what_does_not_pay_alone_may_pay_between_others() -> None:
    def network(then: Any) -> Any:
        x = relu(conv(mx.sym.var("data"), "c1", 96), "r1")
        return conv(then(x), "c2", 512)

    shape = (1, 512, 6, 6)
    assert precisions(network(lambda x: x), shape)["c2"] == "int8"
    assert precisions(network(lambda x: mx.sym.tanh(x, name="t")), shape, gpu_operations_per_byte=42)["c2"] == "float32"
    assert precisions(network(lambda x: x), shape, gpu_operations_per_byte=42)["c2"] == "int8"


def test_a_large_fully_connected_pays_since_its_weights_are_read() -> None:
    data = mx.sym.var("data")
    assert precisions(dense(data, "fc", 1000), (2, 2048)) == {"fc": "int8"}
    assert precisions(dense(data, "fc", 8), (2, 16)) == {"fc": "float32"}


def test_the_gpu_can_be_described_and_full_mode_asks_nothing() -> None:
    symbol = conv(mx.sym.var("data"), "c1", 64)
    shape = (1, 64, 6, 6)
    assert precisions(symbol, shape, gpu_operations_per_byte=5.0) == {"c1": "int8"}
    assert precisions(symbol, shape, mode="full") == {"c1": "int8"}
    with pytest.raises(InputError, match="gpu_operations_per_byte is 0, expected a positive number"):
        precisions(symbol, shape, gpu_operations_per_byte=0)
