"""Pairs of weights are brought below a limit at least distance, and what that costs is predicted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxquant
from mxquant.errors import PlanError
from mxquant.graph import Graph, Network, Node
from mxquant.lowering.memory_order import as_in_memory
from mxquant.lowering.pairs import PairExcess, largest_data_code, nearest_codes
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.saturation import largest_safe_code, neighbours, weight_codes
from mxquant.plan import LayerPlan, QuantPlan
from mxquant.runtime.mxnet import mx
from tests.lowering.pairs_of_codes import in_pairs, one_of_a_pair, pair_sums
from tests.networks import conv, images, random_params, relu

INT8 = (-128, 127)


@given(st.integers(0, 9999), st.integers(1, 9), st.sampled_from([128, 129, 150, 200]))
def test_limited_pairs_keep_the_limit_at_least_distance(seed: int, columns: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    near = rng.uniform(-128, 127, (4, columns))
    fixed, partner, codes = one_of_a_pair(rng, near.shape), in_pairs(columns), np.rint(near).astype(np.int64)
    found = nearest_codes(near, np.ones(4), fixed, INT8, partner, limit)
    assert pair_sums(found, partner).max() <= limit
    assert (np.abs(found) <= np.abs(codes)).all() and (found * codes >= 0).all()
    assert (found == codes)[fixed | (pair_sums(codes, partner) <= limit)].all()
    for row, k in zip(*np.nonzero((pair_sums(codes, partner) > limit) & (partner > np.arange(columns)))):
        pair = slice(k, k + 2)
        splits = np.arange(limit + 1)
        options = np.sign(codes[row, k]) * np.stack([splits, limit - splits], axis=1)
        options = options[(~fixed[row, pair] | (options == codes[row, pair])).all(axis=1)]
        best = np.square(options - near[row, pair]).sum(axis=1).min()
        assert np.square(found[row, pair] - near[row, pair]).sum() <= best + 1e-6


def test_weights_further_apart_than_neighbours_are_paired_by_position() -> None:
    codes = np.array([[100.0, 5.0, 90.0, -7.0]])
    fixed = np.array([[True, False, False, False]])
    found = nearest_codes(codes, np.ones(1), fixed, INT8, np.array([2, 3, 0, 1]), 128)
    assert found.tolist() == [[100, 5, 28, -7]]


def test_without_a_limit_codes_are_the_nearest() -> None:
    found = nearest_codes(np.array([[1.0, 0.26, -9.0]]), np.array([0.5]), np.zeros((1, 3), bool), (-5, 5))
    assert found.tolist() == [[2, 1, -5]]


@pytest.mark.parametrize(("limit", "code"), [(128, 255), (129, 254), (192, 170), (254, 129)])
def test_data_may_reach_the_code_that_the_limit_bears(limit: int, code: int) -> None:
    assert largest_data_code(limit) == code
    assert code * limit <= 32767


def layer_network(op: str, weight: np.ndarray) -> Network:
    data, variable = Node("null", "data"), Node("null", "w")
    node = Node(op, "layer", {}, [data.output, variable.output], layers=("layer",))
    return Network(Graph([data, variable, node], [node.output], {}), {"w": weight})


def plan_of(op: str, limit: int) -> QuantPlan:
    layer = LayerPlan("layer", op, ("layer",), "int8", "", "channel-wise", 127, limit)
    return QuantPlan("onednn", "", {"layer": layer}, {})


def limited_weight(weight: np.ndarray, limit: int) -> np.ndarray:
    op = "Convolution" if weight.ndim == 4 else "FullyConnected"
    return planned_weights(layer_network(op, weight), plan_of(op, limit)).params["w"]


@given(st.integers(0, 9999), st.sampled_from([(6, 8, 3, 3), (5, 7, 1, 1), (3, 30)]), st.integers(128, 255))
def test_a_limited_weight_is_safe_and_other_channels_are_untouched(seed: int, shape: tuple, limit: int) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.standard_normal(shape) * np.exp(rng.uniform(-20, 20, (shape[0],) + (1,) * (len(shape) - 1)))).astype(
        np.float32
    )
    found = limited_weight(weight, limit)
    assert largest_safe_code(weight_codes(found)) >= largest_data_code(limit)
    partner, codes = neighbours(shape), weight_codes(weight).reshape(shape[0], -1).astype(int)
    fine = (pair_sums(codes, partner) <= limit).all(axis=1)
    assert (found == weight)[fine].all()
    np.testing.assert_array_equal(limited_weight(found, limit), found)


def test_a_network_that_keeps_the_limits_is_returned_as_it_is() -> None:
    network = layer_network("FullyConnected", np.array([[1.0, -1.0, 0.5, 0.25]], np.float32))
    assert planned_weights(network, plan_of("FullyConnected", 200)) is network


@pytest.mark.parametrize("limit", [128, 160, 200])
@pytest.mark.parametrize("mean", [0.0, 2.0])
def test_the_noise_of_a_limit_is_predicted(limit: int, mean: float) -> None:
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1, 1, (16, 64)).astype(np.float32)
    data = rng.standard_normal((20000, 64)) + mean
    error = data @ (limited_weight(weight, limit) - limited_weight(weight, 255)).T.astype(float)
    measured = np.square(error).mean(axis=0).sum()
    predicted = PairExcess.of(weight).noise(limit, mean, 1.0)
    assert predicted == pytest.approx(measured, rel=0.15)


def planned(isa: str = "avx2") -> tuple:
    """Return a network with ReLU data, some large, before a padded convolution of which one channel has large weights.

    Whichever of its input channels lie side by side, pairs of them saturate.
    """
    symbol = conv(relu(conv(mx.sym.var("data"), "c1", 64), "r1"), "c2", 64, 3)
    data = images(2, 3, 8, 8)
    data[0, :, 0, 0] *= 50
    args, _ = random_params(symbol, data=data.shape)
    weight = args["c2_weight"].asnumpy()
    weight *= 0.5 / np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    weight[0, :, 1, 1], weight[0, 0, 1, 1], weight[1:, 2, 1, 1], weight[1:, 3, 1, 1] = 0.9, 1.0, 1.0, 0.0
    args["c2_weight"] = mx.nd.array(weight)
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    plan = mxquant.make_plan(symbol, statistics, arg_params=args, isa=isa, method="minmax")
    return symbol, args, data, plan


def test_few_large_pairs_are_made_smaller_rather_than_all_data_coarser() -> None:
    symbol, args, _, plan = planned()
    weight = args["c2_weight"].asnumpy()
    assert largest_safe_code(weight_codes(weight)) < 140
    layer, tensor = plan.layers["c2"], plan.tensors["r1_output"]
    assert layer.pair_codes is not None and "pairs of weights end at" in layer.reason
    natural = largest_safe_code(weight_codes(as_in_memory(layer, weight)))
    assert tensor.codes == largest_data_code(layer.pair_codes) > natural + 5
    model = mxquant.lower(symbol, plan, arg_params=args)
    stored = model.arg_params["c2_weight"].asnumpy()
    assert largest_safe_code(weight_codes(stored)) >= tensor.codes
    assert (stored != as_in_memory(layer, weight)).any()


def test_with_vnni_weights_stay_as_they_are() -> None:
    _, _, _, plan = planned("vnni")
    assert plan.layers["c2"].pair_codes is None
    assert plan.tensors["r1_output"].codes == 255


def test_a_plan_that_lifts_the_limit_alone_is_refused() -> None:
    symbol, args, _, plan = planned()
    edited = plan.edit_layer("c2", pair_codes=None)
    with pytest.raises(PlanError, match=r"tensors\['r1_output'\].codes is \d+, but on 'avx2' layer 'c2' would satur"):
        mxquant.lower(symbol, edited, arg_params=args)


@pytest.mark.parametrize("value", [127, 256, 150.0, True])
def test_a_limit_that_cannot_be_is_refused(value: object) -> None:
    _, _, _, plan = planned()
    with pytest.raises(PlanError, match="pair_codes"):
        plan.edit_layer("c2", pair_codes=value)


def test_a_limit_without_int8_weights_is_refused() -> None:
    with pytest.raises(PlanError, match="only channel-wise weights"):
        LayerPlan("layer", "Pooling", ("layer",), "int8", "", pair_codes=200)
