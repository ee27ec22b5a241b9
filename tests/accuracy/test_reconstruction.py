"""Reconstruction changes weights and biases so that the int8 network is nearer to the fp32 network."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import model as models
from mxquant.accuracy.reconstruction import agreed_shift, reconstruct
from mxquant.analysis.judge import Judge
from mxquant.graph import Network
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.simulate import simulate
from mxquant.plan import QuantPlan
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (24, 4, 10, 10)
Parts = Tuple[Network, QuantPlan, np.ndarray]


def correlated(count: int, seed: int = 1) -> np.ndarray:
    """Return positive images whose 16 channels are nearly the same."""
    rng = np.random.RandomState(seed)
    common = np.abs(rng.randn(count, 1, 10, 10))
    return (common * (1 + 0.05 * rng.rand(count, 16, 10, 10))).astype(np.float32)


def smooth(count: int, seed: int = 1) -> np.ndarray:
    """Return images whose channels and neighbouring pixels are strongly correlated."""
    rng = np.random.RandomState(seed)
    values = rng.randn(count, 1, 1, 1) + 0.3 * rng.randn(count, 4, 1, 1) + 0.3 * rng.randn(count, 1, 10, 10)
    return (values + 0.1 * rng.randn(count, 4, 10, 10)).astype(np.float32)


def parameters(symbol: Any, data: np.ndarray, seed: int = 0) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return random parameters; each channel of a layer called 'wide' has one weight that makes its steps large."""
    args, aux = random_params(symbol, seed, data=data.shape)
    for name, value in args.items():
        if name.startswith("wide") and name.endswith("weight"):
            value[:, 0] = 2
    return args, aux


def prepared(symbol: Any, data: np.ndarray, seed: int = 0, **options: Any) -> Parts:
    """Return the canonical network and its plan."""
    args, aux = parameters(symbol, data, seed)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, **params, **{"method": "minmax", "isa": "vnni", **options})
    return models.load(symbol, args, aux, None, None).canonical.network, plan, data


def plain(data: Any) -> Any:
    x = relu(conv(data, "c1", 16))
    x = mx.sym.Pooling(relu(conv(x, "c2", 16)), kernel=(2, 2), stride=(2, 2), pool_type="avg", name="pool")
    return dense(relu(conv(x, "c3", 16)), "fc", 10)


def residual(data: Any) -> Any:
    x = relu(conv(data, "c1", 16, no_bias=True))
    x = relu(mx.sym.elemwise_add(conv(x, "c2", 16), x, name="sum"))
    x = relu(conv(x, "dw", 16, num_group=16))
    x = mx.sym.clip(conv(x, "c3", 16, kernel=1), a_min=0, a_max=2, name="cut")
    x = relu(conv(x, "g", 16, num_group=4, kernel=1))
    return dense(x, "fc", 10, no_bias=True)


def wide(data: Any) -> Any:
    """Return layers whose weights are rounded to large steps."""
    x = relu(conv(data, "wide1", 32, kernel=1))
    return conv(relu(conv(x, "wide2", 32, kernel=3)), "wide3", 16, kernel=1, no_bias=True)


data = mx.sym.var("data")


@pytest.mark.parametrize("rounding", [False, True])
def test_corrected_biases_give_results_the_mean_they_have_in_float32(rounding: bool) -> None:
    network, plan, values = prepared(plain(data), images(*SHAPE))
    changed = reconstruct(network, plan, {"data": values}, rounding=rounding, bias=True)
    (expected,) = outputs(network, {"data": values})
    before, after = (outputs(simulate(each, plan), {"data": values})[0] for each in (network, changed))
    # What is left is what the examples do not agree on.
    off = [np.square((each - expected).mean(axis=0)).mean() for each in (before, after)]
    assert off[1] < off[0] / 10


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
@pytest.mark.parametrize("after", [lambda x: x, relu], ids=["plain", "relu"])
def test_channels_of_a_convolution_get_their_mean_too(isa: str, after: Any) -> None:
    symbol = after(conv(relu(conv(data, "c1", 16)), "c2", 8))
    network, plan, values = prepared(symbol, images(*SHAPE), isa=isa)
    args = dict(network.params)
    changed = reconstruct(network, plan, {"data": values}, rounding=False)
    # With a bias that is nearly right, so that there is something to correct.
    (expected,) = outputs(network, {"data": values})
    off = [
        np.abs((outputs(simulate(each, plan), {"data": values})[0] - expected).mean(axis=(0, 2, 3))).max()
        for each in (network, changed)
    ]
    assert off[1] < 0.5 * off[0]
    assert set(changed.params) == set(args)


def test_biases_are_all_that_changes_without_rounding_and_weights_all_without_correction() -> None:
    network, plan, values = prepared(plain(data), smooth(24))
    for rounding, bias in ((False, True), (True, False), (False, False)):
        changed = reconstruct(network, plan, {"data": values}, rounding=rounding, bias=bias)
        different = {name for name in network.params if (network.params[name] != changed.params[name]).any()}
        expected = {f"{layer}_weight" for layer in ("c1", "c2", "c3", "fc")} if rounding else set()
        expected |= {f"{layer}_bias" for layer in ("c1", "c2", "c3", "fc")} if bias else set()
        assert different == expected


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
def test_correlated_inputs_gain_several_decibels_on_data_not_seen(isa: str) -> None:
    network, plan, values = prepared(wide(data), correlated(32), isa=isa)
    changed = reconstruct(network, plan, {"data": values})
    judge = Judge(network, {"data": correlated(16, seed=5)})
    assert judge.level(changed, plan) >= judge.level(network, plan) + 3


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
@pytest.mark.parametrize("build", [plain, residual])
def test_on_the_data_themselves_nothing_is_lost(build: Any, isa: str) -> None:
    network, plan, values = prepared(build(data), smooth(32), isa=isa)
    judge = Judge(network, {"data": values})
    changed = reconstruct(network, plan, {"data": values})
    assert judge.level(changed, plan) >= judge.level(network, plan)


def test_weights_move_by_no_more_than_about_a_step() -> None:
    network, plan, values = prepared(plain(data), smooth(24))
    changed = reconstruct(network, plan, {"data": values})
    for layer in ("c1", "c2", "c3", "fc"):
        old, new = (
            each.params[f"{layer}_weight"].reshape(len(each.params[f"{layer}_weight"]), -1)
            for each in (network, changed)
        )
        steps = np.abs(old).max(axis=1, keepdims=True) / 127
        assert (np.abs(new - old) <= 1.01 * steps).all()
        assert new.dtype == old.dtype == np.float32


@pytest.mark.parametrize("isa", ["vnni", "avx2", "avx512"])
@pytest.mark.parametrize("granularity", ["channel-wise", "tensor-wise"])
@pytest.mark.parametrize("build", [plain, residual])
def test_the_plan_fits_the_changed_network(build: Any, granularity: str, isa: str) -> None:
    network, plan, values = prepared(build(data), smooth(24), isa=isa, granularity=granularity)
    changed = reconstruct(network, plan, {"data": values})
    lowered = OneDNN().lower(changed, plan)
    assert any(node.op == "_sg_mkldnn_conv" for node in lowered.graph.operators)
    assert [node.name for node in changed.graph.nodes] == [node.name for node in network.graph.nodes]


def test_the_real_int8_network_is_better_too() -> None:
    symbol, seen, unseen = wide(data), correlated(32), correlated(16, seed=5)
    args, aux = parameters(symbol, seen)
    expected = forward(symbol, args, aux, data=unseen)[0]
    levels = []
    for accuracy in ("fast", "balanced"):
        model = mxquant.quantize(symbol, seen, arg_params=args, aux_params=aux, method="minmax", accuracy=accuracy)
        found = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=unseen)[0]
        levels.append(sqnr(expected, found))
    assert levels[1] >= levels[0] + 3


def test_parameters_of_two_layers_are_left_alone() -> None:
    weight, bias = mx.sym.var("both_weight", shape=(4, 4, 3, 3)), mx.sym.var("both_bias", shape=(4,))
    x = relu(conv(data, "c1", 4, weight=weight, bias=bias))
    x = relu(conv(x, "c2", 4, weight=weight, bias=bias))
    network, plan, values = prepared(dense(relu(conv(x, "c3", 8)), "fc", 10), smooth(24))
    assert plan.layers["c1"].precision == plan.layers["c2"].precision == "int8"
    changed = reconstruct(network, plan, {"data": values})
    for name in ("both_weight", "both_bias"):
        np.testing.assert_array_equal(changed.params[name], network.params[name])
    assert (changed.params["c3_weight"] != network.params["c3_weight"]).any()


def test_layers_in_float32_are_left_alone() -> None:
    network, plan, values = prepared(plain(data), smooth(24), exclude_layers=["c2", "fc"])
    changed = reconstruct(network, plan, {"data": values})
    for layer in ("c2", "fc"):
        for name in (f"{layer}_weight", f"{layer}_bias"):
            np.testing.assert_array_equal(changed.params[name], network.params[name])
    assert (changed.params["c3_weight"] != network.params["c3_weight"]).any()


@pytest.mark.parametrize("build", [plain, residual])
def test_the_arrays_of_the_network_and_the_data_are_not_written_to(build: Any) -> None:
    network, plan, values = prepared(build(data), smooth(24))
    params, copy = {name: value.copy() for name, value in network.params.items()}, values.copy()
    changed = reconstruct(network, plan, {"data": values})
    assert any((changed.params[name] != value).any() for name, value in params.items())
    assert all((network.params[name] == value).all() for name, value in params.items())
    np.testing.assert_array_equal(values, copy)


@pytest.mark.parametrize("rounding", [False, True])
def test_the_mean_of_a_single_dense_layer_is_nearer(rounding: bool) -> None:
    network, plan, values = prepared(dense(data, "fc", 10), smooth(24))
    changed = reconstruct(network, plan, {"data": values}, rounding=rounding)
    (expected,) = outputs(network, {"data": values})
    before, after = (outputs(simulate(each, plan), {"data": values})[0] for each in (network, changed))
    off = [np.square((each - expected).mean(axis=0)).mean() for each in (before, after)]
    assert off[1] < off[0] / 2


def test_a_bias_is_shifted_by_what_is_known_and_what_examples_agree_on() -> None:
    errors = np.array([[1.0, 3.0, -2.0], [1.0, -3.0, -1.0]])
    known = np.array([0.5, 0.0, -1.5])
    # The second channel's mean is 0; the third's is what is known of it.
    np.testing.assert_allclose(agreed_shift(errors, known), [1.0, 0.0, -1.5])
    # m = 2, v / n = 1: four fifths of it.
    np.testing.assert_allclose(agreed_shift(np.array([[1.0], [3.0]]), np.zeros(1)), [1.6])


def test_one_example_agrees_with_nobody() -> None:
    np.testing.assert_array_equal(agreed_shift(np.array([[5.0, 6.0]]), np.array([1.0, 2.0])), [1.0, 2.0])


def test_progress_is_reported_for_each_layer() -> None:
    network, plan, values = prepared(plain(data), smooth(8))
    done = []
    reconstruct(network, plan, {"data": values}, progress=done.append)
    assert done == [1, 2, 3, 4]


def test_a_channel_of_zeros_keeps_them() -> None:
    network, plan, values = prepared(plain(data), smooth(24))
    network.params["c2_weight"] = network.params["c2_weight"].copy()
    network.params["c2_weight"][3] = 0
    changed = reconstruct(network, plan, {"data": values})
    assert not changed.params["c2_weight"][3].any()
    assert all(np.isfinite(value).all() for value in changed.params.values())


def test_1d_and_3d_convolutions_pass() -> None:
    symbol = mx.sym.Convolution(data, num_filter=6, kernel=(2, 2, 2), name="c1")
    symbol = mx.sym.Convolution(relu(symbol), num_filter=6, kernel=(1, 1, 1), name="c2")
    network, plan, values = prepared(symbol, images(8, 3, 5, 5, 5))
    assert plan.layers["c1"].precision == "int8"
    changed = reconstruct(network, plan, {"data": values})
    np.testing.assert_array_equal(changed.params["c1_weight"], network.params["c1_weight"])
    assert (changed.params["c1_bias"] != network.params["c1_bias"]).any()


@pytest.mark.parametrize("granularity", ["channel-wise", "tensor-wise"])
@pytest.mark.parametrize("seed", range(6))
def test_dense_layers_stay_as_safe_from_saturation_as_planned(seed: int, granularity: str) -> None:
    rng = np.random.RandomState(seed)
    values = (np.abs(rng.randn(16, 1)) * (1 + 0.05 * rng.rand(16, 64))).astype(np.float32)
    symbol = dense(relu(dense(data, "f1", 64), "act"), "f2", 64)
    network, plan, _ = prepared(symbol, values, seed, isa="avx2", granularity=granularity)
    OneDNN().lower(network, plan)
    OneDNN().lower(reconstruct(network, plan, {"data": values}), plan)
