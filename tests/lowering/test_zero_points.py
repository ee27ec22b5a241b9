"""Tensors with a zero point: biases make up for it, and the int8 network is as good as one without."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.errors import PlanError
from mxquant.lowering.stored_weights import EVEN
from mxquant.lowering.zero_points import bias_shift
from mxquant.plan import TensorPlan
from mxquant.runtime.mxnet import mx
from tests.lowering.test_simulate import RUN
from tests.networks import conv, forward, images, random_params, relu, sqnr

SHAPE = (4, 8, 8, 8)
SUMS = np.array([1.5, -2.0, 0.0])


def tensor(threshold: float = 25.55, zero_point: int = -128, dtype: str = "int8") -> TensorPlan:
    return TensorPlan("t", dtype, threshold, "minmax", "", zero_point=zero_point)


def test_the_layer_that_makes_a_tensor_takes_128_steps_from_its_bias() -> None:
    shift = bias_shift(SUMS, None, tensor())
    np.testing.assert_allclose(shift, [-12.8, -12.8, -12.8], rtol=1e-6)


def test_the_layer_that_reads_it_adds_128_steps_times_the_sum_of_its_weights() -> None:
    shift = bias_shift(SUMS, tensor(), None)
    np.testing.assert_allclose(shift, 12.8 * SUMS, rtol=1e-6)


def test_a_layer_between_two_does_both() -> None:
    shift = bias_shift(SUMS, tensor(), tensor(51.1))
    np.testing.assert_allclose(shift, 12.8 * SUMS - 25.6, rtol=1e-6)


@pytest.mark.parametrize("plain", [None, tensor(zero_point=0), tensor(zero_point=0, dtype="uint8")])
def test_without_zero_points_nothing_is_shifted(plain: Any) -> None:
    assert bias_shift(SUMS, plain, plain) is None


def test_shifted_codes_through_a_layer_give_what_the_values_give() -> None:
    rng = np.random.RandomState(0)
    weights, bias, plan = rng.randn(3, 20), rng.randn(3), tensor()
    codes = rng.randint(-128, 128, 20)
    values = (codes + 128) * plan.scale
    shift = bias_shift(weights.sum(axis=1), plan, None)
    np.testing.assert_allclose(weights @ (codes * plan.scale) + bias + shift, weights @ values + bias)


def clipped(padded: bool = False) -> Any:
    """Return convolutions with clips between, of which the readers of a clip have no padding unless `padded`."""
    x = mx.sym.clip(conv(mx.sym.var("data"), "c1", 16), a_min=0, a_max=2, name="clip1")
    x = mx.sym.clip(conv(x, "c2", 16, 3 if padded else 1), a_min=0, a_max=2, name="clip2")
    return relu(conv(x, "c3", 8, 3 if padded else 1), "act")


def planned(isa: str, padded: bool = False) -> Tuple[Any, Any, np.ndarray, Any]:
    symbol, data = clipped(padded), images(*SHAPE)
    args, _ = random_params(symbol, data=SHAPE)
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    return symbol, args, data, mxquant.make_plan(symbol, statistics, arg_params=args, isa=isa, method="minmax")


def test_on_avx2_a_clip_before_a_convolution_without_padding_has_a_zero_point() -> None:
    _, _, _, plan = planned("avx2")
    for name in ("clip1_output", "clip2_output"):
        found = plan.tensors[name]
        assert (found.dtype, found.zero_point, found.codes) == ("int8", -128, 255)
        assert found.scale == pytest.approx(found.threshold / 255.5)
    assert plan.layers["c2"].weight_codes == plan.layers["c3"].weight_codes == EVEN


@pytest.mark.parametrize("isa, padded", [("vnni", False), ("avx2", True)])
def test_elsewhere_no_tensor_has_a_zero_point(isa: str, padded: bool) -> None:
    _, _, _, plan = planned(isa, padded)
    assert not any(found.zero_point for found in plan.tensors.values())


def with_relu(outlier: float, alike: int = 8) -> Tuple[Any, Any, np.ndarray, Any]:
    """Return a network of which the ReLU could be limited, its data a few times `outlier` larger, and its plan.

    The weights of some channels of its reader are alike, so that pairs of them saturate, whichever lie side by side.
    """
    symbol = relu(conv(relu(conv(mx.sym.var("data"), "c1", 16), "act1"), "c2", 16, 1), "act2")
    data = images(*SHAPE)
    data[0, :, 0, 0] *= outlier
    args, _ = random_params(symbol, data=SHAPE)
    args["c2_weight"][:alike] = (0.9 + 0.1 * args["c2_weight"][:alike].abs().clip(0, 1)) / 4
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    return symbol, args, data, mxquant.make_plan(symbol, statistics, arg_params=args, isa="avx2", method="minmax")


def test_a_relu_has_a_zero_point_where_coarse_data_would_cost_more_than_coarse_weights() -> None:
    plan = with_relu(outlier=20)[-1]
    assert (plan.tensors["act1_output"].dtype, plan.tensors["act1_output"].zero_point) == ("int8", -128)
    assert plan.layers["c2"].weight_codes == EVEN


def test_a_relu_whose_data_need_no_fine_steps_keeps_the_weights_fine() -> None:
    plan = with_relu(outlier=0.1, alike=1)[-1]
    assert (plan.tensors["act1_output"].dtype, plan.tensors["act1_output"].zero_point) == ("uint8", 0)
    assert plan.tensors["act1_output"].codes < 255
    assert plan.layers["c2"].weight_codes == 127


# A value 20 times as large as the others makes 8 bits coarse.
@pytest.mark.parametrize(
    "network, level", [(lambda: planned("avx2"), 30), (lambda: with_relu(20), 20)], ids=["clip", "relu"]
)
def test_the_int8_network_on_avx2_is_right_and_equal_to_its_simulation(
    tmp_path: Any, network: Any, level: float
) -> None:
    symbol, args, data, plan = network()
    assert any(found.zero_point for found in plan.tensors.values())
    mxquant.lower(symbol, plan, arg_params=args).save(tmp_path / "net")
    np.save(tmp_path / "net-data.npy", data)
    environment = {**os.environ, "DNNL_MAX_CPU_ISA": "AVX2", "MXNET_SUBGRAPH_BACKEND": "NONE"}
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(tmp_path / "net")]
    subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True)
    with np.load(tmp_path / "net-outputs.npz") as outputs:
        int8 = outputs["arr_0"]
    simulation = mxquant.lower(symbol, plan, arg_params=args, target="simulate")
    simulated = forward(simulation.symbol, dict(simulation.arg_params), {}, data=data)[0]
    assert sqnr(forward(symbol, args, {}, data=data)[0], int8) >= level
    assert sqnr(int8, simulated) >= 80


def test_without_the_shift_of_biases_the_result_is_wrong() -> None:
    symbol, args, data, plan = planned("avx2")
    model = mxquant.lower(symbol, plan, arg_params=args)
    shifted = {name: value.asnumpy() for name, value in model.arg_params.items() if name.endswith("_shifted_bias")}
    assert sorted(shifted) == ["c1_shifted_bias", "c2_shifted_bias", "c3_shifted_bias"]
    plain = {name: args[name.replace("_shifted", "")].asnumpy() for name in shifted}
    # Biases follow the order of their channels, which is another one in memory, with one of zeros behind.
    for before, after in (("c1", "c2"), ("c2", "c3")):
        order = plan.layers[after].channel_order or range(len(plain[f"{before}_shifted_bias"]))
        plain[f"{before}_shifted_bias"] = np.append(plain[f"{before}_shifted_bias"][list(order)], 0)
    unshifted = {**model.arg_params, **{name: mx.nd.array(value) for name, value in plain.items()}}
    expected = forward(symbol, args, {}, data=data)[0]
    assert sqnr(expected, forward(model.symbol, dict(model.arg_params), {}, data=data)[0]) >= 25
    assert sqnr(expected, forward(model.symbol, unshifted, {}, data=data)[0]) < 5


def test_a_zero_point_is_refused_where_the_reader_pads() -> None:
    symbol, args, _, plan = planned("avx2", padded=True)
    edited = plan.edit_tensor("clip2_output", dtype="int8", zero_point=-128, codes=255)
    edited = edited.edit_layer("c3", weight_codes=64)
    with pytest.raises(PlanError, match="zero_point is not 0, (which|but)"):
        mxquant.lower(symbol, edited, arg_params=args)
