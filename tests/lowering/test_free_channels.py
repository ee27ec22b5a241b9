"""Channels are free where nothing but a network's own layers tells them apart."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Set, Tuple

import pytest

from mxquant.graph import Network
from mxquant.graph.passes import canonicalize
from mxquant.lowering.free_channels import Channels, free_channels
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
    return {node.name for channels in found(build, shape) for node in channels.readers}


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


def residual(data: Any) -> Any:
    x = first(data)
    return conv(relu(F.elemwise_add(conv(x, "c2"), x)), "c3")


def test_what_one_convolution_makes_and_another_reads_is_free() -> None:
    (channels,) = found(between(relu))
    assert channels.size == 8
    assert len(channels.tensors) == 2 and "c1_output" in channels.tensors
    assert channels.rows == (("c1_weight", 0.0), ("c1_bias", 0.0))
    assert [node.name for node in channels.layers] == ["c1"]
    assert [node.name for node in channels.readers] == ["c2"]


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


NOT_FREE: Dict[str, Build] = {
    "an output of the network": after_first(lambda x: F.Group([x, conv(x, "c2")])),
    "reshaped": between(lambda x: F.reshape(x, shape=(0, 8, -1, 4))),
    "joined": lambda data: conv(F.Concat(first(data), data), "c2"),
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
    assert {"c1_output", "dw_output"} < channels.tensors
    assert [node.name for node in channels.layers] == ["c1", "dw"]
    assert [node.name for node in channels.readers] == ["c2"]
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
    assert [node.name for node in channels.readers] == ["b0", "b1", "b2", "last"]


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
