"""Channels are free where nothing but a network's own layers tells them apart."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Set, Tuple

import pytest

from mxquant.graph import Network
from mxquant.graph.passes import canonicalize
from mxquant.lowering.free_channels import Channels, free_channels, whole_orders
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, network_of, random_params, relu

F = mx.sym
SHAPE = (2, 4, 8, 8)
Build = Callable[[Any], Any]


def canonical(symbol: Any, shape: Tuple[int, ...] = SHAPE) -> Network:
    return canonicalize(network_of(symbol, *random_params(symbol, data=shape))).network


def found(build: Build, shape: Tuple[int, ...] = SHAPE) -> List[Channels]:
    return free_channels(canonical(build(F.var("data")), shape))


def readers(build: Build, shape: Tuple[int, ...] = SHAPE) -> Set[str]:
    return {reader.node.name for channels in found(build, shape) for reader in channels.readers}


def first(data: Any) -> Any:
    return relu(conv(data, "c1"), "r1")


def pool(data: Any, **attrs: Any) -> Any:
    return F.Pooling(data, kernel=(3, 3), pad=(1, 1), pool_type="max", name="pool", **attrs)


def between(then: Build) -> Build:
    """Return: convolution, `then`, convolution."""
    return lambda data: conv(then(conv(data, "c1")), "c2")


def after_first(then: Build) -> Build:
    """Return: convolution, ReLU, `then`, which may read the result more than once."""
    return lambda data: then(first(data))


def gated(data: Any) -> Any:
    x = first(data)
    small = relu(conv(F.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg"), "s1", 4, 1))
    return conv(F.broadcast_mul(x, F.sigmoid(conv(small, "s2", 8, 1))), "c2")


def means(x: Any) -> Any:
    return F.Flatten(F.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg"))


def larger(x: Any) -> Any:
    return F.UpSampling(x, scale=2, sample_type="nearest")


def residual(data: Any) -> Any:
    x = first(data)
    return conv(relu(F.elemwise_add(conv(x, "c2"), x)), "c3")


def test_what_one_convolution_makes_and_another_reads_is_free() -> None:
    (channels,) = found(between(relu))
    assert channels.size == 8
    assert len(channels.tensors) == 2 and "c1_output" in channels.tensors
    assert channels.rows == (("c1_weight", 0.0, 0), ("c1_bias", 0.0, 0))
    assert [node.name for node in channels.layers] == ["c1"]
    assert [reader.node.name for reader in channels.readers] == ["c2"]


FREE: Dict[str, Tuple[Build, Set[str]]] = {
    "sigmoid": (between(F.sigmoid), {"c2"}),
    "clip": (between(lambda x: F.clip(x, a_min=-1, a_max=6)), {"c2"}),
    "leaky": (between(lambda x: F.LeakyReLU(x, act_type="leaky", slope=0.1)), {"c2"}),
    "scalars": (between(lambda x: (2 * x + 3) / 4 - 1), {"c2"}),
    "swish": (between(lambda x: x * F.sigmoid(x)), {"c2"}),
    "pooling": (between(pool), {"c2"}),
    "two readers": (after_first(lambda x: F.Group([conv(x, "a"), conv(x, "b")])), {"a", "b"}),
    "residual": (residual, {"c2", "c3"}),
    "gated": (gated, {"s1", "s2", "c2"}),
    "dense": (lambda data: dense(relu(dense(data, "f1")), "f2"), {"f2"}),
    "flattened": (lambda data: dense(F.Flatten(first(data)), "fc"), {"fc"}),
    "flattened by the layer": (lambda data: dense(first(data), "fc"), {"fc"}),
    "joined": (lambda data: conv(F.Concat(first(data), conv(data, "a", 6), dim=1), "c2"), {"c2"}),
    "joined, the axis counted from the end": (
        lambda data: conv(F.Concat(first(data), conv(data, "a", 6), dim=-3), "c2"),
        {"c2"},
    ),
    "joined in rows": (lambda data: conv(F.Concat(first(data), conv(data, "a"), dim=2), "c2"), {"c2"}),
    "joined beside a group's": (
        lambda data: conv(F.Concat(conv(data, "g", num_group=2), first(data), dim=1), "c2"),
        {"c2"},
    ),
    "joined means": (lambda data: dense(F.Concat(*map(means, (first(data), conv(data, "a", 6)))), "fc"), {"fc"}),
    "joined layers of rows": (
        lambda data: dense(F.Concat(relu(dense(data, "f1", 8)), dense(data, "f2", 4)), "f3"),
        {"f3"},
    ),
    "larger": (between(larger), {"c2"}),
    "larger by repeating": (between(lambda x: F.repeat(F.repeat(x, 2, axis=-1), 2, axis=2)), {"c2"}),
    "as large as another": (
        lambda data: conv(F.contrib.BilinearResize2D(first(data), conv(data, "a"), mode="like"), "c2"),
        {"c2"},
    ),
    "a part of the image": (between(lambda x: F.slice_axis(x, axis=-1, begin=0, end=4)), {"c2"}),
}


@pytest.mark.parametrize("name", FREE)
def test_the_order_is_free_where_all_channels_are_treated_alike(name: str) -> None:
    build, expected = FREE[name]
    assert readers(build) == expected


def weight_of(data: Any) -> Any:
    """Return a weight, of shape (4, 8, 3, 3), that is computed from data."""
    return F.reshape(F.slice_axis(F.reshape(data, shape=(-1,)), axis=0, begin=0, end=288), shape=(4, 8, 3, 3))


def twice(x: Any, **parameter: Any) -> Any:
    return conv(conv(x, "c2", **parameter), "c3", **parameter)


def sum_of_both_orders(data: Any) -> Any:
    """Return a sum that makes all its channels the same: (x, y) + (y, x)."""
    x, y = first(data), conv(data, "a")
    return F.Concat(x, y) + F.Concat(y, x)


NOT_FREE: Dict[str, Build] = {
    "an output of the network": after_first(lambda x: F.Group([x, conv(x, "c2")])),
    "reshaped": between(lambda x: F.reshape(x, shape=(0, 8, -1, 4))),
    "joined with what is fed": lambda data: conv(F.Concat(first(data), data), "c2"),
    "joined with itself": after_first(lambda x: conv(F.Concat(x, relu(x)), "c2")),
    "summed in both orders": lambda data: conv(sum_of_both_orders(data), "c2"),
    "joined rows of images": lambda data: dense(F.Concat(F.Flatten(first(data)), F.Flatten(pool(data))), "fc"),
    "joined, seen by a softmax": lambda data: conv(F.softmax(F.Concat(first(data), conv(data, "a")), axis=1), "c2"),
    "sums of unlike parts": lambda data: conv(F.Concat(first(data), conv(data, "a", 4)) + conv(data, "b", 12), "c2"),
    "some channels": between(lambda x: F.slice_axis(x, axis=1, begin=0, end=4)),
    "repeated channels": between(lambda x: F.repeat(x, 2, axis=1)),
    "repeated values": between(lambda x: F.reshape(F.repeat(x, 2), shape=(-1, 8, 8, 8))),
    "a filter for each channel": between(
        lambda x: F.UpSampling(x, F.var("w"), scale=2, sample_type="bilinear", num_filter=8, num_args=2)
    ),
    "split": between(lambda x: F.SliceChannel(x, num_outputs=2)[0]),
    "transposed": between(lambda x: F.transpose(x, axes=(0, 1, 3, 2))),
    "softmax": between(lambda x: F.softmax(x, axis=1)),
    "parameters added": between(lambda x: F.broadcast_add(x, F.var("p", shape=(1, 8, 1, 1)))),
    "one channel for all": after_first(lambda x: conv(F.broadcast_mul(x, conv(x, "one", 1)), "c2")),
    "the mean of channels": between(lambda x: F.broadcast_sub(x, F.mean(x, axis=1, keepdims=True))),
    "a group reads several": between(lambda x: conv(x, "g", num_group=4)),
    "a group makes several": between(lambda x: conv(x, "g", 16, num_group=8)),
    "weights that are computed": lambda data: conv(first(data), "c2", 4, weight=weight_of(data), no_bias=True),
    "a bias that is computed": lambda data: conv(conv(data, "c1", 4, bias=F.mean(data, axis=(0, 2, 3))), "c2"),
    "weights of two layers": after_first(lambda x: twice(x, weight=F.var("w"))),
    "normalized over another axis": lambda data: conv(F.BatchNorm(pool(first(data)), axis=2, name="bn"), "c2"),
    "normalized as instances": between(lambda x: F.InstanceNorm(x, name="norm")),
}


@pytest.mark.parametrize("name", NOT_FREE)
def test_the_order_is_not_free_where_something_else_sees_it(name: str) -> None:
    assert not readers(NOT_FREE[name])


def test_what_layers_with_a_common_bias_make_is_not_free() -> None:
    assert readers(lambda data: conv(twice(first(data)), "c4")) == {"c2", "c3", "c4"}
    assert readers(lambda data: conv(twice(first(data), bias=F.var("b")), "c4")) == {"c2"}


def test_what_is_fed_into_the_network_is_not_free() -> None:
    assert not readers(lambda data: conv(relu(data), "c1"))


def test_the_rows_of_a_batch_norm_go_with_its_channels_and_leave_zeros_alone() -> None:
    def build(data: Any) -> Any:
        x = first(data)
        return conv(relu(F.BatchNorm(x + conv(x, "c2"), fix_gamma=False, name="bn")), "c3")

    (channels,) = found(build)
    neutral = {row.name: row.neutral for row in channels.rows}
    assert {f"bn_{name}" for name in ("gamma", "beta", "moving_mean", "moving_var")} < set(neutral)
    assert [neutral[f"bn_{name}"] for name in ("gamma", "beta", "moving_mean", "moving_var")] == [1, 0, 0, 1]
    assert {"c1_weight", "c1_bias", "c2_weight", "c2_bias"} < set(neutral)
    assert [node.name for node in channels.layers] == ["c1", "c2"]


def test_a_slope_for_each_channel_is_a_row_and_one_for_all_is_none() -> None:
    def build(data: Any, **attrs: Any) -> Any:
        return conv(F.LeakyReLU(conv(data, "c1"), act_type="prelu", name="p", **attrs), "c2")

    (channels,) = found(build)
    assert "p_gamma" in {row.name for row in channels.rows}
    (channels,) = found(lambda data: build(data, gamma=F.var("one", shape=(1,))))
    assert {row.name for row in channels.rows} == {"c1_weight", "c1_bias"}


def test_a_depthwise_convolution_has_the_channels_that_it_reads() -> None:
    (channels,) = found(lambda data: conv(relu(conv(first(data), "dw", num_group=8)), "c2", 4))
    assert {"c1_output", "dw_output"} < set(channels.tensors)
    assert [node.name for node in channels.layers] == ["c1", "dw"]
    assert [reader.node.name for reader in channels.readers] == ["c2"]
    assert {"dw_weight", "dw_bias"} < {row.name for row in channels.rows}


def test_a_depthwise_convolution_of_the_input_is_not_free() -> None:
    assert not readers(lambda data: conv(conv(data, "dw", 4, num_group=4), "c2"))


def test_a_sum_has_the_channels_of_both_operands_however_many_there_are() -> None:
    def build(data: Any) -> Any:
        x = first(data)
        for index in range(3):
            x = x + conv(relu(x), f"b{index}")
        return conv(x, "last")

    (channels,) = found(build)
    assert [node.name for node in channels.layers] == ["c1", "b0", "b1", "b2"]
    assert [reader.node.name for reader in channels.readers] == ["b0", "b1", "b2", "last"]


def test_one_operand_that_is_seen_from_outside_fixes_the_other() -> None:
    def build(data: Any) -> Any:
        x, skip = first(data), conv(data, "skip")
        return F.Group([conv(F.elemwise_add(x, skip), "c2"), skip])

    assert not readers(build)
    assert readers(lambda data: build(data)[0]) == {"c2"}


def test_convolutions_with_channels_last_are_left_alone() -> None:
    symbol = conv(first(F.var("data")), "c2")
    network = canonical(symbol)
    for node in network.graph.operators:
        if node.op == "Convolution":
            node.attrs = {**node.attrs, "layout": "NHWC"}
    assert not free_channels(network)


# Channels that lie on the last axis, and what looks at another one.
LAST: Dict[str, Tuple[Build, Tuple[int, ...]]] = {
    "rows of an image": (lambda data: dense(first(data), "fc", flatten=False), SHAPE),
    "rows of another length": (lambda data: dense(first(data), "fc", flatten=False), (2, 4, 8, 6)),
    "flattened": (lambda data: dense(relu(dense(data, "f1", flatten=False)), "f2"), (2, 5, 8)),
    "normalized": (
        lambda data: dense(F.BatchNorm(relu(dense(data, "f1", 8, flatten=False)), name="bn"), "f2", flatten=False),
        (2, 8, 8),
    ),
    "convolved": (
        lambda data: F.Convolution(dense(data, "f1", 8, flatten=False), kernel=(3,), pad=(1,), num_filter=8, name="c"),
        (2, 8, 8),
    ),
    "pooled": (
        lambda data: dense(
            F.Pooling(dense(data, "f1", flatten=False), kernel=(3,), pad=(1,), pool_type="max"), "f2", flatten=False
        ),
        (2, 5, 8),
    ),
    "pooled with channels last": (lambda data: conv(pool(first(data), layout="NHWC"), "c2"), SHAPE),
}


@pytest.mark.parametrize("name", LAST)
def test_the_order_is_not_free_where_layers_mean_different_axes_by_channels(name: str) -> None:
    assert not readers(*LAST[name])


def test_a_mean_that_a_batch_norm_returns_is_seen_from_outside() -> None:
    def build(data: Any) -> Any:
        norm = F.BatchNorm(first(data), output_mean_var=True, name="bn")
        return F.Group([conv(norm[0], "c2"), norm[1]])

    assert not readers(build)


# ---- joined by a Concat


def block(data: Any) -> Any:
    """Return what a DenseNet has: each layer reads what all before have made, normalized by itself."""
    x = conv(data, "c0", 6)
    for index in range(2):
        x = F.Concat(
            x,
            conv(relu(F.BatchNorm(x, fix_gamma=False, name=f"bn{index}")), f"d{index}", 4),
            dim=1,
            name=f"joined{index}",
        )
    return conv(x, "last")


def places_of(channels: Channels) -> Dict[str, Tuple[int, int]]:
    return {reader.node.name: (reader.first, reader.of) for reader in channels.readers}


def test_channels_lie_at_one_place_of_each_layer_that_reads_them() -> None:
    one, two, three = found(block)
    assert [each.size for each in (one, two, three)] == [6, 4, 4]
    assert places_of(one) == {"d0": (0, 6), "d1": (0, 10), "last": (0, 14)}
    assert places_of(two) == {"d1": (6, 10), "last": (6, 14)}
    assert places_of(three) == {"last": (10, 14)}
    assert [[node.name for node in each.layers] for each in (one, two, three)] == [["c0"], ["d0"], ["d1"]]


def test_parameters_of_a_batch_norm_behind_a_concat_belong_to_several_layers() -> None:
    one, two, _ = found(block)
    assert {(row.name, row.first) for row in one.rows} >= {("bn0_gamma", 0), ("bn1_gamma", 0), ("c0_weight", 0)}
    assert {(row.name, row.first) for row in two.rows} >= {("bn1_gamma", 6), ("bn1_moving_var", 6), ("d0_bias", 0)}
    assert two.tensors["bn1_output"] == (6, 10) and two.tensors["d0_output"] == (0, 4)
    assert "bn0_output" not in two.tensors


def test_a_depthwise_convolution_behind_a_concat_makes_channels_of_several_layers() -> None:
    def build(data: Any) -> Any:
        return conv(conv(F.Concat(first(data), conv(data, "a", 4)), "dw", 12, num_group=12), "c2")

    one, two = found(build)
    assert [node.name for node in one.layers] == ["c1", "dw"] and [node.name for node in two.layers] == ["a", "dw"]
    assert {row.first for row in two.rows if row.name.startswith("dw")} == {8}


def test_channels_that_are_joined_to_others_may_be_read_by_themselves() -> None:
    def build(data: Any) -> Any:
        x, y = first(data), conv(data, "a", 4)
        return F.Group([conv(F.Concat(y, x), "both"), conv(x, "one"), y])

    (channels,) = found(build)
    assert places_of(channels) == {"both": (4, 12), "one": (0, 8)}


def test_a_sum_makes_the_channels_of_two_concats_the_same_pair_by_pair() -> None:
    def build(data: Any) -> Any:
        parts = [F.Concat(conv(data, f"{name}0"), conv(data, f"{name}1", 4)) for name in "ab"]
        return conv(F.elemwise_add(*parts), "c2")

    assert [{node.name for node in each.layers} for each in found(build)] == [{"a0", "b0"}, {"a1", "b1"}]


def test_a_weight_that_does_not_fit_fixes_what_it_reads() -> None:
    data = F.var("data")
    network = canonical(conv(F.Concat(first(data), conv(data, "a", 4)), "c2"))
    assert len(free_channels(network)) == 2
    weight = network.params["c2_weight"]
    assert not free_channels(Network(network.graph, {**network.params, "c2_weight": weight[:, :8]}))


def test_orders_of_parts_are_one_of_the_whole() -> None:
    _, two, three = found(block)
    orders = whole_orders([(two, (3, 2, 1, 0)), (three, (1, 0, 3, 2))])
    assert orders["d0_output"] == (3, 2, 1, 0)
    assert orders["bn1_output"] == (0, 1, 2, 3, 4, 5, 9, 8, 7, 6)
    assert orders["joined1_output"][6:] == (9, 8, 7, 6, 11, 10, 13, 12)
    assert "c0_output" not in orders and "bn0_output" not in orders
