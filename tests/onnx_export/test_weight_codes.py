"""Codes of weights in ONNX are symmetric: from -127 to 127, whatever the weights, and the simulation has the same."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant.runtime.mxnet import mx
from tests.families.small import SMALL, built
from tests.networks import Params, conv, dense, forward, images, random_params, relu, sqnr, zoo
from tests.onnx_export.runtimes import in_onnxruntime

SHAPE = (2, 8, 6, 6)
# One layer of each kind, behind one that gives it uint8.
LAYERS: Dict[str, Callable[[Any], Any]] = {
    "convolution": lambda data: conv(data, "layer", 6),
    "convolution of single places": lambda data: conv(data, "layer", 6, kernel=1, no_bias=True),
    "depthwise": lambda data: conv(data, "layer", 8, num_group=8),
    "grouped": lambda data: conv(data, "layer", 8, num_group=2),
    "dense": lambda data: dense(data, "layer", 5),
    "dense, not flattened": lambda data: dense(data, "layer", 5, flatten=False),
}
CHANGES = ("random", "largest negative", "all equal and negative", "largest of both signs", "tiny beside its bias")


def changed(weight: np.ndarray, change: str, seed: int) -> np.ndarray:
    """Return a weight whose largest magnitude, in each channel and in all, is negative, but where it is random."""
    rng = np.random.RandomState(seed)
    rows = weight.reshape(len(weight), -1).copy()
    largest = np.abs(rows).max(axis=1) * np.float32(1 + rng.rand())
    at = np.arange(len(rows)), rng.randint(rows.shape[1], size=len(rows))
    if change in ("largest negative", "largest of both signs", "tiny beside its bias"):
        rows[at] = -largest
    if change == "largest of both signs":
        rows[:, -1], rows[:, 0] = largest, -largest
    if change == "all equal and negative":
        rows[:] = -largest[:, None]
    if change == "tiny beside its bias":
        rows *= np.float32(10.0 ** rng.uniform(-10, -6))
    return rows.reshape(weight.shape)


def material(kind: str, change: str, seed: int) -> Any:
    symbol = LAYERS[kind](relu(conv(mx.sym.var("data"), "first")))
    args, aux = random_params(symbol, seed=seed, data=SHAPE)
    for name in ("first_weight", "layer_weight"):
        args[name] = mx.nd.array(changed(args[name].asnumpy(), change, seed))
    return symbol, args, aux


def weight_codes(model: Any) -> Dict[str, np.ndarray]:
    """Return the int8 constants of an exported network that are no zero points."""
    values = {each.name: onnx.numpy_helper.to_array(each) for each in model.proto.graph.initializer}
    return {name: value for name, value in values.items() if value.dtype == np.int8 and name.endswith("_quantized")}


def assert_no_code_is_too_small(model: Any, least: int = 1) -> None:
    codes = weight_codes(model)
    assert len(codes) >= least
    assert {name: int(value.min()) for name, value in codes.items() if value.min() < -127} == {}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(LAYERS)),
    st.sampled_from(CHANGES),
    st.sampled_from(["channel-wise", "tensor-wise"]),
    st.sampled_from([None, "int8"]),
    st.sampled_from(["avx2", "vnni"]),
    st.integers(0, 2**16),
)
def test_whatever_the_weights_no_code_is_below_minus_127(
    kind: str, change: str, granularity: str, dtype: Optional[str], isa: str, seed: int
) -> None:
    symbol, args, aux = material(kind, change, seed)
    params: Dict[str, Params] = {"arg_params": args, "aux_params": aux}
    options = {"granularity": granularity, "isa": isa, **({"dtype": dtype} if dtype else {})}
    statistics = mxquant.calibrate(symbol, images(*SHAPE), **params)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", method="minmax", **options, **params)
    assert_no_code_is_too_small(mxquant.export_onnx(symbol, plan=plan, input_shapes=SHAPE, **params))


@pytest.mark.parametrize("accuracy", ["fast", "balanced", "best"])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_simulation_has_the_codes_that_are_stored(kind: str, accuracy: str) -> None:
    symbol, args, aux = material(kind, "largest negative", 0)
    params, data = {"arg_params": args, "aux_params": aux}, images(*SHAPE)
    options = {"accuracy": accuracy, "target": "onnx_qdq", "isa": "vnni", "mode": "full"}
    model = mxquant.quantize(symbol, data, **options, **params)
    assert_no_code_is_too_small(model, 2)
    found = in_onnxruntime(model.proto, False, data=data)[0]
    assert sqnr(forward(symbol, args, aux, data=data)[0], found) > 25
    if accuracy == "fast":
        statistics = mxquant.calibrate(symbol, data, **params)
        plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", method="minmax", isa="vnni", **params)
        simulated = mxquant.lower(symbol, plan, target="simulate", **params)
        expected = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=data)[0]
        exported = mxquant.export_onnx(symbol, plan=plan, input_shapes=SHAPE, **params)
        assert sqnr(expected, in_onnxruntime(exported.proto, False, data=data)[0]) > 80


@pytest.mark.parametrize("name", ["ArcFace", "MobileNetV3", "ShuffleNet", "mobilenet0.25"])
def test_no_network_has_such_a_code(name: str) -> None:
    symbol, args, aux, data = built(name) if name in SMALL else zoo(name)
    model = mxquant.quantize(symbol, data, accuracy="fast", target="onnx_qdq", arg_params=args, aux_params=aux)
    assert_no_code_is_too_small(model, 5)
