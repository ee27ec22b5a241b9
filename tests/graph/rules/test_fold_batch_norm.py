"""Folding BatchNorm: equal to the original within 1e-5, and refused with a reason wherever it would not be."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant.graph.passes import Canonical, apply
from mxquant.graph.rules.fold_batch_norm import FoldBatchNorm
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import split_params, symbol_of
from tests.networks import conv, dense, forward, images, network_of, random_params, relu

DATA = (2, 8, 6, 6)


def fold(symbol: Any, shape: Tuple[int, ...] = DATA, without: str = "") -> Canonical:
    args, aux = random_params(symbol, data=shape)
    args.pop(without, None)
    return apply(network_of(symbol, args, aux), (FoldBatchNorm(),))


def assert_folds(symbol: Any, shape: Tuple[int, ...] = DATA) -> Canonical:
    args, aux = random_params(symbol, data=shape)
    result = apply(network_of(symbol, args, aux), (FoldBatchNorm(),))
    assert not result.refusals
    assert "BatchNorm" not in {node.op for node in result.network.graph.operators}
    folded = symbol_of(result.network.graph)
    data = images(*shape)
    expected = forward(symbol, args, aux, data=data)
    actual = forward(folded, *split_params(result.network, folded), data=data)
    for a, e in zip(actual, expected):
        assert np.abs(a - e).max() <= 1e-5 * np.abs(e).max()
    return result


def assert_refuses(symbol: Any, reason: str, shape: Tuple[int, ...] = DATA, without: str = "") -> None:
    result = fold(symbol, shape, without)
    assert not result.modified
    assert "BatchNorm" in {node.op for node in result.network.graph.operators}
    (refusal,) = result.refusals
    assert (refusal.rule, refusal.layer) == ("fold_batch_norm", "bn")
    assert reason in refusal.reason


def norm(data: Any, **attrs: Any) -> Any:
    return mx.sym.BatchNorm(data, name="bn", **attrs)


data = mx.sym.var("data")


@pytest.mark.parametrize("fix_gamma", [True, False])
@pytest.mark.parametrize("no_bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_2d_convolutions(groups: int, no_bias: bool, fix_gamma: bool) -> None:
    assert_folds(norm(conv(data, "c", num_group=groups, no_bias=no_bias), fix_gamma=fix_gamma))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions_of_every_rank(rank: int) -> None:
    symbol = mx.sym.Convolution(data, kernel=(3,) * rank, num_filter=4, no_bias=True, name="c")
    assert_folds(norm(symbol, fix_gamma=False, eps=1e-5), (2, 3) + (6,) * rank)


@pytest.mark.parametrize("no_bias", [True, False])
def test_fully_connected(no_bias: bool) -> None:
    assert_folds(norm(dense(data, "fc", no_bias=no_bias), fix_gamma=False))
    assert_folds(norm(dense(data, "fc", no_bias=no_bias, flatten=False), fix_gamma=False, axis=-1), (2, 5, 8))


def test_global_statistics_and_defaults() -> None:
    assert_folds(norm(conv(data, "c"), use_global_stats=True))
    assert_folds(norm(conv(data, "c")))


def test_two_in_a_row() -> None:
    assert_folds(mx.sym.BatchNorm(norm(conv(data, "c"), fix_gamma=False), fix_gamma=False, name="bn2"))


def test_the_folded_node_answers_for_both_layers() -> None:
    node = assert_folds(norm(conv(data, "c"))).network.graph.find("c")
    assert node.layers == ("c", "bn")
    assert node.output.name == "bn_output"
    assert node.attrs["no_bias"] == "False"


def test_a_shared_weight_keeps_its_value_for_the_other_layer() -> None:
    weight = mx.sym.var("shared_weight", shape=(8, 8, 3, 3))
    plain = conv(data, "plain", weight=weight, no_bias=True)
    result = assert_folds(mx.sym.Group([norm(conv(data, "c", weight=weight, no_bias=True)), plain]))
    assert {"shared_weight", "c_weight"} <= set(result.network.params)


def test_a_new_bias_takes_no_name_that_is_in_use() -> None:
    symbol = norm(conv(mx.sym.broadcast_add(data, mx.sym.var("c_bias", shape=(1, 8, 1, 1))), "c", no_bias=True))
    assert {"c_bias", "c_bias_1"} <= set(assert_folds(symbol).network.params)


def test_refused_where_another_layer_reads_the_convolution() -> None:
    c = conv(data, "c")
    assert_refuses(norm(c) + relu(c, "act"), "'act' reads 'c_output' as well")


def test_refused_where_the_network_returns_the_convolution() -> None:
    c = conv(data, "c")
    assert_refuses(mx.sym.Group([norm(c), c]), "the network's output reads 'c_output' as well")


def test_refused_where_mean_or_variance_is_an_output() -> None:
    assert_refuses(mx.sym.Group(list(norm(conv(data, "c"), output_mean_var=True))), "mean or variance is read")


def test_refused_on_another_axis() -> None:
    assert_refuses(norm(conv(data, "c"), axis=2), "works on axis 2, but the channels of 'c' are axis 1")
    assert_refuses(norm(dense(data, "fc", flatten=False)), "works on axis 1", (2, 5, 8))


def test_refused_where_a_parameter_is_an_input() -> None:
    assert_refuses(norm(conv(data, "c"), fix_gamma=False), "'bn_gamma' has no fixed value", without="bn_gamma")
    assert_refuses(norm(conv(data, "c")), "'c_weight' has no fixed value", without="c_weight")


def test_refused_where_values_are_not_finite_or_the_variance_negative() -> None:
    symbol = norm(conv(data, "c"))
    args, aux = random_params(symbol, data=DATA)
    for values, name, bad, reason in ((aux, "bn_moving_var", -1, "not positive"), (args, "bn_beta", np.nan, "NaN")):
        damaged: Dict[str, Any] = {**values, name: values[name].copy()}
        damaged[name][0] = bad
        network = network_of(symbol, {**args, **damaged} if values is args else args, damaged if values is aux else aux)
        (refusal,) = apply(network, (FoldBatchNorm(),)).refusals
        assert reason in refusal.reason


def test_other_layers_before_a_batch_norm_are_none_of_its_business() -> None:
    result = fold(norm(relu(data)))
    assert not result.modified
    assert not result.refusals


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.integers(1, 3),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1e-5, 1e-3, 0.1]),
)
def test_any_setting(rank: int, groups: int, no_bias: bool, fix_gamma: bool, eps: float) -> None:
    symbol = mx.sym.Convolution(data, kernel=(2,) * rank, num_filter=4, num_group=groups, no_bias=no_bias, name="c")
    assert_folds(norm(symbol, fix_gamma=fix_gamma, eps=eps), (1, 4) + (5,) * rank)


def test_it_is_folded_into_a_deconvolution_but_not_into_one_of_groups() -> None:
    for groups, expected in ((1, ["Deconvolution"]), (2, ["Deconvolution", "BatchNorm"])):
        up = mx.sym.Deconvolution(
            mx.sym.var("data"), kernel=(4, 4), stride=(2, 2), num_filter=6, num_group=groups, name="up"
        )
        symbol = mx.sym.BatchNorm(up, fix_gamma=False, name="bn")
        args, aux = random_params(symbol, data=(2, 4, 5, 5))
        result = apply(network_of(symbol, args, aux), (FoldBatchNorm(),))
        assert [node.op for node in result.network.graph.operators] == expected
        data = images(2, 4, 5, 5)
        found = outputs(result.network, {"data": data})[0]
        np.testing.assert_allclose(found, forward(symbol, args, aux, data=data)[0], rtol=1e-4, atol=1e-5)
