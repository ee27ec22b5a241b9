"""Networks with what usually spoils int8: each keeps a stated SQNR on data that calibration has not seen."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.errors import PlanError
from mxquant.lowering.isa import detect, saturates
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (24, 4, 12, 12)
Case = Tuple[Any, Dict[str, Any], np.ndarray]


def hard_swish(x: Any) -> Any:
    return x * mx.sym.clip(x + 3, a_min=0, a_max=6) / 6


def squeezed(x: Any, name: str, channels: int) -> Any:
    """Return a tensor weighted by squeeze and excitation, as MobileNetV3 does it."""
    mean = mx.sym.Pooling(x, global_pool=True, pool_type="avg", kernel=(1, 1))
    weight = conv(relu(conv(mean, f"{name}_squeeze", channels // 4, 1)), f"{name}_excite", channels, 1)
    return mx.sym.broadcast_mul(x, mx.sym.clip(weight + 3, a_min=0, a_max=6) / 6)


def mobilenet_v3() -> Case:
    x = hard_swish(conv(mx.sym.var("data"), "stem", 16))
    y = hard_swish(conv(hard_swish(conv(x, "expand", 32, 1)), "depthwise", 32, 3, num_group=32))
    x = x + conv(squeezed(y, "se", 32), "project", 16, 1)
    x = mx.sym.Pooling(hard_swish(conv(x, "head", 32, 1)), global_pool=True, pool_type="avg", kernel=(1, 1))
    symbol = dense(hard_swish(dense(x, "fc1", 64)), "fc2", 10)
    return symbol, random_params(symbol, data=SHAPE)[0], images(*SHAPE)


def chain() -> Any:
    x = mx.sym.var("data")
    for index, filters in enumerate((16, 32, 16)):
        x = relu(conv(x, f"c{index}", filters))
    return dense(x, "fc", 10)


def dead_channels() -> Case:
    args, _ = random_params(chain(), data=SHAPE)
    args["c0_weight"][:5] = 0
    args["c1_weight"][3:9] = 0
    args["c1_bias"][3:6] = 0
    return chain(), args, images(*SHAPE)


def spread_channels() -> Case:
    """Weights of a layer's channels differ by up to a factor of 10⁶, and those of the next layer make up for it."""
    args, _ = random_params(chain(), data=SHAPE)
    scales = mx.nd.array(np.logspace(-3, 3, 32))
    for name in ("c1_weight", "c1_bias"):
        value = args[name]
        args[name] = value * (scales.reshape((-1,) + (1,) * (value.ndim - 1)) if value.ndim > 1 else scales)
    args["c2_weight"] = args["c2_weight"] / scales.reshape((1, -1, 1, 1))
    return chain(), args, images(*SHAPE)


def outlier_values() -> Case:
    """One value in a thousand is 30 times as large."""
    data = images(*SHAPE)
    data[np.random.RandomState(3).rand(*SHAPE) < 0.001] *= 30
    return chain(), random_params(chain(), data=SHAPE)[0], data


# SQNR in dB that 'fast' and 'balanced' reach; only cross-layer equalization helps where channels differ in scale.
CASES = {
    "hard-swish, squeeze and excitation": (mobilenet_v3, 37, 37),
    "dead channels": (dead_channels, 30, 30),
    "channels of different scale": (spread_channels, -1, 31),
    "outlier values": (outlier_values, 20, 20),
}


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
@pytest.mark.parametrize("name", CASES)
def test_int8_is_as_faithful_as_measured(name: str, accuracy: str, isa: str) -> None:
    if saturates(detect()) and not saturates(isa):
        pytest.skip("sums of products of this plan saturate on this CPU")
    make, fast, balanced = CASES[name]
    symbol, args, data = make()
    model = mxquant.quantize(symbol, data[:16], arg_params=args, isa=isa, accuracy=accuracy)
    expected, found = (
        forward(each, dict(params), {}, data=data[16:])[0]
        for each, params in ((symbol, args), (model.symbol, model.arg_params))
    )
    assert sqnr(expected, found) >= (fast if accuracy == "fast" else balanced)


def test_a_plan_for_equalized_weights_is_refused_for_others() -> None:
    symbol, args, data = spread_channels()
    model = mxquant.quantize(symbol, data[:16], arg_params=args)
    assert model.plan.settings["steps"].startswith("cross-layer equalization")
    with pytest.raises(PlanError, match="weights changed by cross-layer equalization"):
        mxquant.lower(symbol, model.plan, arg_params=args)
