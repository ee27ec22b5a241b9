"""A network with channels in another order computes the same, and a plan's orders are checked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant.errors import PlanError
from mxquant.graph import Network
from mxquant.graph.passes import canonicalize
from mxquant.lowering.channel_order import arranged, orders_of, restored
from mxquant.lowering.free_channels import free_channels, whole_orders
from mxquant.lowering.memory_order import in_order
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import split_params, symbol_of
from tests.networks import conv, dense, forward, images, network_of, random_params, relu, sqnr

F = mx.sym
SHAPE = (2, 4, 6, 6)
# Sums of float32 in another order.
FLOAT32_DB = 110.0


def residual(data: Any) -> Any:
    x = relu(conv(data, "c1"))
    y = relu(F.elemwise_add(conv(x, "c2"), x))
    return conv(F.BatchNorm(F.elemwise_add(conv(y, "c3"), y), fix_gamma=False, name="bn"), "c4", 4)


def mobile(data: Any) -> Any:
    x = F.clip(conv(data, "c1", 6), a_min=0, a_max=1)
    return conv(conv(F.clip(conv(x, "dw", 6, num_group=6), a_min=0, a_max=1), "c2", 5, 1), "c3")


def slopes(data: Any) -> Any:
    x = F.LeakyReLU(conv(data, "c1"), act_type="prelu", name="p")
    return conv(F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="avg"), "c2")


def gated(data: Any) -> Any:
    x = conv(data, "c1")
    small = relu(conv(F.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg"), "s1", 3, 1))
    return conv(F.broadcast_mul(x, F.sigmoid(conv(small, "s2", 8, 1))), "c2")


def flattened(data: Any) -> Any:
    return dense(relu(dense(F.Flatten(relu(conv(data, "c1", 7))), "f1", 9)), "f2", 5)


def block(data: Any) -> Any:
    """Return layers that read what all before have made, normalized by each of them."""
    x = conv(data, "c0", 6)
    for index in range(3):
        normal = relu(F.BatchNorm(x, fix_gamma=False, name=f"bn{index}"))
        x = F.Concat(x, conv(normal, f"d{index}", 3 + index), dim=1, name=f"joined{index}")
    return dense(F.Flatten(F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="avg")), "last", 5)


def mask(data: Any) -> Any:
    """Return a U: what was made larger again is joined to what it came from."""
    fine = relu(conv(data, "c1"))
    coarse = relu(conv(F.Pooling(fine, kernel=(2, 2), stride=(2, 2), pool_type="max"), "c2", 6))
    grown = conv(F.UpSampling(coarse, scale=2, sample_type="nearest"), "c3", 5)
    joined = F.Concat(F.slice_like(grown, fine, axes=(2, 3)), fine, dim=1, name="joined")
    return conv(F.clip(conv(joined, "dw", 13, num_group=13), a_min=0, a_max=1), "c4", 4)


NETWORKS: Dict[str, Callable[[Any], Any]] = {
    f.__name__: f for f in (residual, mobile, slopes, gated, flattened, block, mask)
}


def canonical(build: Callable[[Any], Any]) -> Network:
    symbol = build(F.var("data"))
    return canonicalize(network_of(symbol, *random_params(symbol, data=SHAPE))).network


CANONICAL = {name: canonical(build) for name, build in NETWORKS.items()}


def run(network: Network) -> np.ndarray:
    symbol = symbol_of(network.graph)
    return forward(symbol, *split_params(network, symbol), data=images(*SHAPE))[0]


def random_orders(network: Network, seed: int) -> Dict[str, Sequence[int]]:
    """Return orders in which all channels that are free have another place, by the names of some tensors."""
    rng = np.random.RandomState(seed)
    free = free_channels(network)
    orders = whole_orders([(each, rng.permutation(each.size).tolist()) for each in free])
    # Any tensor that has the channels will do.
    wanted = {rng.choice(sorted(each.tensors)) for each in free}
    return {name: order for name, order in orders.items() if name in wanted}


@settings(max_examples=60)
@given(st.integers(0, 9999), st.sampled_from(sorted(NETWORKS)))
def test_a_network_in_any_order_computes_the_same(seed: int, name: str) -> None:
    network = CANONICAL[name]
    found = arranged(network, random_orders(network, seed))
    assert sqnr(run(network), run(found)) > FLOAT32_DB
    assert any((found.params[key] != value).any() for key, value in network.params.items())


@given(st.integers(0, 9999), st.sampled_from(sorted(NETWORKS)))
def test_restored_is_what_was_arranged_bit_for_bit(seed: int, name: str) -> None:
    network = CANONICAL[name]
    orders = random_orders(network, seed)
    found = restored(arranged(network, orders), orders).params
    assert found.keys() == network.params.keys()
    assert all(np.array_equal(found[key], value) for key, value in network.params.items())


def test_rows_and_columns_lie_as_the_order_says_and_the_network_is_left_alone() -> None:
    network, order = CANONICAL["flattened"], [6, 0, 5, 1, 4, 2, 3]
    before = {key: value.copy() for key, value in network.params.items()}
    found = arranged(network, {"c1_output": order}).params
    for name in ("c1_weight", "c1_bias"):
        np.testing.assert_array_equal(found[name], before[name][order])
    columns = before["f1_weight"].reshape(9, 7, 36)
    np.testing.assert_array_equal(found["f1_weight"].reshape(9, 7, 36), columns[:, order])
    assert all(np.array_equal(found[key], before[key]) for key in ("f1_bias", "f2_weight", "f2_bias"))
    assert all(np.array_equal(value, before[key]) for key, value in network.params.items())


def test_without_orders_the_network_is_returned_as_it_is() -> None:
    assert arranged(CANONICAL["mobile"], {}) is CANONICAL["mobile"]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 999))
def test_columns_of_a_channel_stay_together(channels: int, each: int, seed: int) -> None:
    order = np.random.RandomState(seed).permutation(channels)
    values = np.arange(2 * channels * each).reshape(2, -1)
    found = in_order(values, order.tolist())
    np.testing.assert_array_equal(found.reshape(2, channels, each), values.reshape(2, channels, each)[:, order])


# ---- the plan


@pytest.fixture(scope="module")
def planned() -> Tuple[Network, QuantPlan]:
    symbol = residual(F.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    params: Dict[str, Any] = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, images(*SHAPE), **params)
    return CANONICAL["residual"], mxquant.make_plan(symbol, statistics, isa="vnni", **params)


def with_orders(plan: QuantPlan, **orders: Optional[Tuple[int, ...]]) -> QuantPlan:
    layers = {name: replace(layer, channel_order=orders.get(name)) for name, layer in plan.layers.items()}
    return replace(plan, layers=layers)


ORDER = (7, 6, 5, 4, 3, 2, 1, 0)


def test_one_layer_names_the_order_of_all_tensors_with_the_same_channels(planned: Any) -> None:
    network, plan = planned
    assert orders_of(network, plan) == {}
    for name in ("c2", "c3", "c4"):
        found = orders_of(network, with_orders(plan, **{name: ORDER}))
        assert {"c1_output", "c2_output", "c3_output", "bn_output"} < set(found)
        assert set(found.values()) == {ORDER}


def test_an_order_of_another_length_is_refused(planned: Any) -> None:
    with pytest.raises(PlanError, match=r"layers\['c2'\]\.channel_order has 3 numbers, expected the 8"):
        orders_of(planned[0], with_orders(planned[1], c2=(2, 0, 1)))


def test_an_order_of_channels_that_are_not_free_is_refused(planned: Any) -> None:
    with pytest.raises(PlanError, match=r"layers\['c1'\]\.channel_order is given, but .* 'c1' reads is not free"):
        orders_of(planned[0], with_orders(planned[1], c1=(3, 2, 1, 0)))


def test_two_orders_of_the_same_channels_are_refused(planned: Any) -> None:
    with pytest.raises(PlanError, match=r"layers\['c4'\]\.channel_order is another one"):
        orders_of(planned[0], with_orders(planned[1], c2=ORDER, c4=tuple(range(8))))


def test_two_layers_may_name_the_same_order(planned: Any) -> None:
    plan = with_orders(planned[1], c2=ORDER, c4=ORDER)
    assert orders_of(planned[0], plan) == orders_of(planned[0], with_orders(plan, c2=ORDER))


# ---- of channels that a Concat has joined


@pytest.fixture(scope="module")
def joined() -> Tuple[Network, QuantPlan]:
    """Return a network whose layer 'both' reads channels of 'a', of a group, which are not free, and of 'b'."""

    def build(data: Any) -> Any:
        a, b = conv(data, "a", 3), conv(data, "b", 4)
        x = F.Concat(a, conv(data, "g", 2, num_group=2), b, dim=1, name="joined")
        return F.Group([conv(x, "both"), conv(b, "one")])

    symbol = build(F.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    params: Dict[str, Any] = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, images(*SHAPE), **params)
    return canonical(build), mxquant.make_plan(symbol, statistics, isa="vnni", **params)


def test_an_order_of_joined_channels_names_that_of_each_part(joined: Any) -> None:
    network, plan = joined
    found = orders_of(network, with_orders(plan, both=(2, 0, 1, 3, 4, 8, 7, 6, 5)))
    assert found["a_output"] == (2, 0, 1) and found["b_output"] == (3, 2, 1, 0)
    assert found["joined_output"] == (2, 0, 1, 3, 4, 8, 7, 6, 5)
    assert orders_of(network, with_orders(plan, one=(3, 2, 1, 0)))["joined_output"] == (0, 1, 2, 3, 4, 8, 7, 6, 5)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((5, 1, 2, 3, 4, 0, 6, 7, 8), "has 5 at one of the places 0 to 2, expected the channels 0 to 2 there"),
        ((0, 1, 2, 4, 3, 5, 6, 7, 8), "has 4 at place 3, expected 3, which is not free to move"),
        ((2, 1, 0), "has 3 numbers, expected the 9 of its channels"),
    ],
)
def test_an_order_that_takes_channels_elsewhere_is_refused(joined: Any, order: Tuple[int, ...], message: str) -> None:
    with pytest.raises(PlanError, match=rf"layers\['both'\]\.channel_order {message}"):
        orders_of(joined[0], with_orders(joined[1], both=order))


def test_two_orders_of_a_part_are_refused(joined: Any) -> None:
    with pytest.raises(PlanError, match=r"channel_order is another one"):
        orders_of(joined[0], with_orders(joined[1], one=(3, 2, 1, 0), both=tuple(range(9))))


def test_both_layers_may_name_the_order_of_a_part(joined: Any) -> None:
    plan = with_orders(joined[1], one=(3, 2, 1, 0), both=(0, 1, 2, 3, 4, 8, 7, 6, 5))
    found = arranged(joined[0], orders_of(joined[0], plan))
    for name in ("both_weight", "one_weight"):
        expected = joined[0].params[name].copy()
        expected[:, -4:] = expected[:, :-5:-1]
        np.testing.assert_array_equal(found.params[name], expected)
    assert sqnr(run(joined[0]), run(found)) > FLOAT32_DB


# ---- in files


@settings(max_examples=30)
@given(st.permutations(range(8)))
def test_an_order_comes_back_from_json(planned: Any, order: Sequence[int]) -> None:
    plan = with_orders(planned[1], c3=tuple(order))
    found = QuantPlan.from_json(plan.to_json())
    assert found == plan
    assert found.layers["c3"].channel_order == tuple(order) and found.layers["c2"].channel_order is None


def test_a_plan_without_the_field_has_no_orders(planned: Any) -> None:
    document = json.loads(planned[1].to_json())
    for entry in document["layers"]:
        del entry["channel_order"]
    assert QuantPlan.from_json(json.dumps(document)) == planned[1]


DAMAGED = [*(5, [1, 0], True, {}), *("1,0", "a b", "1 -0", "0 1.0", "0 2", "0 0", "1 2", "²", "9" * 30, "1" * 9999)]


@pytest.mark.parametrize("value", DAMAGED, ids=lambda value: repr(value)[:12])
def test_a_damaged_order_is_refused_by_its_name(planned: Any, value: Any) -> None:
    document = json.loads(planned[1].to_json())
    next(entry for entry in document["layers"] if entry["name"] == "c3")["channel_order"] = value
    with pytest.raises(PlanError, match=r"layers\['c3'\]\.channel_order is"):
        QuantPlan.from_json(json.dumps(document))


@pytest.mark.parametrize("target", ["onednn", "simulate"])
@pytest.mark.parametrize("count", [0, 3, 16])
def test_an_order_that_does_not_fit_is_refused_before_weights_are_looked_at(target: str, count: int) -> None:
    symbol = residual(F.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    params: Dict[str, Any] = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, images(*SHAPE), **params)
    plan = mxquant.make_plan(symbol, statistics, isa="vnni", **params)
    layer = replace(plan.layers["c3"], channel_order=tuple(range(count)), pair_codes=128)
    assert layer.weight_codes == 127
    plan = replace(plan, layers={**plan.layers, "c3": layer})
    with pytest.raises(PlanError, match=rf"layers\['c3'\]\.channel_order has {count} numbers, expected the 8"):
        mxquant.lower(symbol, plan, target=target, **params)
