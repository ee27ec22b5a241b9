"""Poolings with windows outside the data: int8 is right wherever float32 is, or the layer stays so and says why."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.lowering.outside_windows import may_leave_the_data, unbounded
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (2, 4, 8, 8)
REASON = "without calibration 'pool_output' may have no range: a pooling before it has windows outside the data"


def pool(data: Any, kind: str = "max", kernel: int = 1, stride: int = 2, pad: int = 0) -> Any:
    attrs = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad, pad), "pool_type": kind}
    return mx.sym.Pooling(data, pooling_convention="full", name="pool", **attrs)


def beside(data: Any) -> Any:
    return conv(data, "beside", stride=(2, 2), pad=(2, 2))


NETWORKS: Dict[str, Callable[[Any], Any]] = {
    "relu, then a convolution": lambda x: conv(relu(pool(conv(x, "c1")), "act"), "c2"),
    "relu": lambda x: relu(pool(conv(x, "c1")), "act"),
    "flattened": lambda x: dense(relu(mx.sym.Flatten(pool(conv(x, "c1"))), "act"), "d"),
    "in a concat": lambda x: conv(relu(mx.sym.Concat(pool(conv(x, "c1")), beside(x), dim=1), "act"), "c2"),
    "in a sum": lambda x: conv(relu(pool(conv(x, "c1")) + beside(x)), "c2"),
    "clipped": lambda x: conv(mx.sym.clip(pool(conv(x, "c1")), -1, 1), "c2"),
    "of an average": lambda x: conv(relu(pool(conv(x, "c1"), "avg", 3, 4, 1), "act"), "c2"),
    # Its own borders are infinite in float32 too.
    "read by a convolution": lambda x: conv(pool(conv(x, "c1")), "c2"),
    "read by LeakyReLU": lambda x: conv(mx.sym.LeakyReLU(pool(conv(x, "c1")), slope=0.1), "c2"),
}


@pytest.mark.parametrize("mode", ["smart", "full"])
@pytest.mark.parametrize("name", NETWORKS)
def test_int8_without_calibration_is_right_where_float32_is(name: str, mode: str) -> None:
    symbol = NETWORKS[name](mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    model = mxquant.quantize(symbol, arg_params=args, aux_params=aux, method=None, accuracy="fast", mode=mode)
    (reference,) = forward(symbol, args, aux, data=data)
    (found,) = forward(model.symbol, model.arg_params, model.aux_params, data=data)
    right = np.isfinite(reference) & (np.abs(reference) < 1e30)
    assert right.mean() > 0.3 and sqnr(reference[right], found[right]) > 30
    assert model.plan.layers["c1"].precision == "int8"


@pytest.mark.parametrize("method", ["minmax", "entropy"])
@pytest.mark.parametrize("name", ["relu, then a convolution", "in a concat", "in a sum", "clipped", "of an average"])
def test_calibrated_int8_is_right(name: str, method: str) -> None:
    symbol = NETWORKS[name](mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, method=method, accuracy="fast", mode="full")
    (reference,) = forward(symbol, args, aux, data=data)
    (found,) = forward(model.symbol, model.arg_params, model.aux_params, data=data)
    assert sqnr(reference, found) > (30 if method == "minmax" else 12)


@pytest.mark.parametrize("name, reason", [("relu", REASON), ("read by a convolution", REASON)])
def test_what_stays_float32_says_why(name: str, reason: str) -> None:
    symbol = NETWORKS[name](mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    options: Dict[str, Optional[str]] = {"method": None, "accuracy": "fast", "mode": "full"}
    layers = mxquant.quantize(symbol, arg_params=args, aux_params=aux, **options).plan.layers
    assert reason in {layer.reason for layer in layers.values()}


@pytest.mark.parametrize(
    "sizes, leaves", [((1, 2, 0), True), ((2, 2, 0), False), ((3, 2, 0), False), ((3, 3, 1), True), ((2, 2, 1), True)]
)
def test_windows_that_may_lie_outside(sizes: Tuple[int, int, int], leaves: bool) -> None:
    """No size of the data has a window outside, or one of some sizes does."""
    node = graph_of(pool(mx.sym.var("data"), "max", *sizes)).find("pool")
    assert may_leave_the_data(node) == leaves
    found = [mx.nd.Pooling(mx.nd.zeros((1, 1, n, n)), **_attributes(sizes)).asnumpy().min() for n in range(5, 12)]
    assert (min(found) < -1e38) == leaves


def _attributes(sizes: Tuple[int, int, int]) -> Dict[str, Any]:
    kernel, stride, pad = ((size, size) for size in sizes)
    return {"kernel": kernel, "stride": stride, "pad": pad, "pool_type": "max", "pooling_convention": "full"}


def test_numbers_of_such_windows_end_at_activations() -> None:
    low = pool(mx.sym.var("data"))
    cases = {
        "sigmoid": (mx.sym.sigmoid(2 * low), False),
        "relu": (relu(mx.sym.reshape(low, (0, 0, -1))), False),
        "relu of the negative": (relu(-low), True),
        "relu of a convolution": (relu(conv(low, "c")), True),
        "leaky": (mx.sym.LeakyReLU(low), True),
        "elu": (mx.sym.LeakyReLU(low, act_type="elu"), False),
    }
    for name, (symbol, endless) in cases.items():
        graph = graph_of(symbol)
        assert (graph.outputs[0].node in unbounded(graph)) == endless, name
