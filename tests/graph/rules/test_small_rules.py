"""The short rules: identities, Dropout, names, fused nodes, gamma."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest

from mxquant.graph.passes import Canonical, apply
from mxquant.graph.rewriter import Pass
from mxquant.graph.rules.cut_labels import CutLabels
from mxquant.graph.rules.drop_dropout import DropDropout
from mxquant.graph.rules.drop_identity import DropIdentity
from mxquant.graph.rules.explicit_gamma import ExplicitGamma
from mxquant.graph.rules.inline_fused import InlineFused
from mxquant.graph.rules.positive_axis import PositiveAxis
from mxquant.graph.rules.split_activation import SplitActivation
from mxquant.graph.rules.unique_names import UniqueNames
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import split_params, symbol_of
from tests.networks import conv, dense, forward, images, network_of, random_params, relu

data = mx.sym.var("data")
SHAPE = (2, 3, 8, 8)


def run(rule: Pass, symbol: Any) -> Canonical:
    return apply(network_of(symbol, *random_params(symbol, data=SHAPE)), (rule,))


def operators(result: Canonical) -> List[str]:
    return [node.op for node in result.network.graph.operators]


def assert_equal_outputs(symbol: Any, result: Canonical) -> None:
    rewritten = symbol_of(result.network.graph)
    expected = forward(symbol, *random_params(symbol, data=SHAPE), data=images(*SHAPE))
    actual = forward(rewritten, *split_params(result.network, rewritten), data=images(*SHAPE))
    for a, e in zip(actual, expected):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("identity", [mx.sym.identity, mx.sym.BlockGrad, mx.sym.MakeLoss, mx.sym.make_loss])
def test_an_identity_is_bypassed(identity: Any) -> None:
    symbol = relu(identity(conv(data, "c")))
    result = run(DropIdentity(), symbol)
    assert operators(result) == ["Convolution", "Activation"]
    assert_equal_outputs(symbol, result)


def test_an_identity_that_is_an_output_stays() -> None:
    result = run(DropIdentity(), mx.sym.BlockGrad(conv(data, "c"), name="out"))
    assert operators(result) == ["Convolution", "BlockGrad"]
    assert not result.modified


def test_a_loss_reads_a_variable_for_a_label_that_is_computed() -> None:
    label = mx.sym.Reshape(mx.sym.var("softmax_label"), shape=(-1,))
    symbol = mx.sym.SoftmaxOutput(dense(data, "fc"), label, name="softmax")
    args, aux = random_params(dense(data, "fc"), data=SHAPE)
    result = apply(network_of(symbol, args, aux), (CutLabels(),))
    assert operators(result) == ["FullyConnected", "SoftmaxOutput"]
    assert [node.name for node in result.network.inputs] == ["data", "mxquant_cut_softmax_label"]
    rewritten = symbol_of(result.network.graph)
    labels = {"softmax_label": np.zeros(2, np.float32)}
    (expected,) = forward(symbol, args, aux, data=images(*SHAPE), **labels)
    labels = {"mxquant_cut_softmax_label": np.ones(2, np.float32)}
    (actual,) = forward(rewritten, *split_params(result.network, rewritten), data=images(*SHAPE), **labels)
    np.testing.assert_array_equal(actual, expected)


def test_a_loss_keeps_a_label_that_is_a_variable() -> None:
    symbol = mx.sym.SoftmaxOutput(dense(data, "fc"), name="softmax")
    args, aux = random_params(dense(data, "fc"), data=SHAPE)
    assert not apply(network_of(symbol, args, aux), (CutLabels(),)).modified


def test_dropout_is_bypassed() -> None:
    symbol = dense(mx.sym.Dropout(relu(data)), "fc")
    result = run(DropDropout(), symbol)
    assert operators(result) == ["Activation", "FullyConnected"]
    assert_equal_outputs(symbol, result)


def test_dropout_that_always_drops_stays() -> None:
    assert not run(DropDropout(), dense(mx.sym.Dropout(data, mode="always"), "fc")).modified


def test_dropout_that_is_an_output_stays() -> None:
    assert not run(DropDropout(), mx.sym.Dropout(dense(data, "fc"))).modified


def test_layers_of_one_name_are_told_apart() -> None:
    symbol = relu(relu(relu(data, "r"), "r"), "r_1")
    result = run(UniqueNames(), symbol)
    nodes = result.network.graph.operators
    assert [node.name for node in nodes] == ["r", "r_2", "r_1"]
    assert [node.output.name for node in nodes] == ["r_output", "r_2_output", "r_1_output"]
    assert result.aliases == {"r": {"r", "r_2"}}
    assert_equal_outputs(symbol, result)


def test_a_result_called_as_an_input_is_gets_another_name() -> None:
    symbol = mx.sym.softmax(relu(mx.sym.var("soft_output"), "act"), name="soft")
    network = network_of(symbol, {}, {})
    found = apply(network, [UniqueNames()])
    assert [node.output.name for node in found.network.graph.nodes] == ["soft_output", "act_output", "soft_1_output"]
    assert "soft_1" in found.aliases["soft"]


def test_names_that_are_unique_stay() -> None:
    assert not run(UniqueNames(), relu(relu(data, "a"), "b")).modified


@pytest.mark.parametrize("backend", ["MKLDNN", "MKLDNN_QUANTIZE"])
def test_fused_nodes_are_expanded(backend: str) -> None:
    c = relu(mx.sym.BatchNorm(conv(data, "c"), name="bn"), "act")
    symbol = dense(conv(c, "d") + c, "fc")
    fused = symbol.get_backend_symbol(backend)
    result = run(InlineFused(), fused)
    assert sorted(operators(result)) == sorted(
        ["Convolution", "BatchNorm", "Activation", "Convolution", "elemwise_add", "FullyConnected"]
    )
    assert {"c", "bn", "act", "d", "fc"} <= {node.name for node in result.network.graph.operators}
    assert result.network.graph.find("bn").output.name == "bn_output"
    assert {"c", "bn", "act"} in result.aliases.values()
    rewritten = symbol_of(result.network.graph)
    (expected,) = forward(symbol, *random_params(symbol, data=SHAPE), data=images(*SHAPE))
    (actual,) = forward(rewritten, *split_params(result.network, rewritten), data=images(*SHAPE))
    np.testing.assert_array_equal(actual, expected)


def test_a_network_without_fused_nodes_stays() -> None:
    assert not run(InlineFused(), dense(data, "fc")).modified


def test_a_fixed_gamma_is_written_out() -> None:
    symbol = mx.sym.BatchNorm(relu(data), name="bn")
    result = run(ExplicitGamma(), symbol)
    assert result.network.graph.find("bn").attrs["fix_gamma"] == "False"
    np.testing.assert_array_equal(result.network.params["bn_gamma"], np.ones(3))
    assert_equal_outputs(symbol, result)


def test_a_gamma_that_another_layer_reads_keeps_its_value() -> None:
    gamma = mx.sym.var("gamma")
    first = mx.sym.BatchNorm(relu(data), gamma=gamma, name="fixed")
    symbol = mx.sym.BatchNorm(relu(first), gamma=gamma, fix_gamma=False, name="free")
    result = run(ExplicitGamma(), symbol)
    assert set(result.network.params["fixed_gamma"]) == {1.0}
    assert_equal_outputs(symbol, result)


@pytest.mark.parametrize("gamma", [mx.sym.var("gamma"), mx.sym.ones((3,)) * 2], ids=["without a value", "computed"])
def test_a_fixed_gamma_needs_no_parameter(gamma: Any) -> None:
    symbol = mx.sym.BatchNorm(relu(data), gamma=gamma, name="bn")
    args, aux = random_params(symbol, data=SHAPE)
    args.pop("gamma", None)
    result = apply(network_of(symbol, args, aux), (ExplicitGamma(),))
    np.testing.assert_array_equal(result.network.params["bn_gamma"], np.ones(3))
    assert [node.name for node in result.network.inputs] == ["data"]


def test_a_free_gamma_stays() -> None:
    assert not run(ExplicitGamma(), mx.sym.BatchNorm(relu(data), fix_gamma=False)).modified


def test_a_relu_inside_a_batch_norm_is_taken_out() -> None:
    symbol = mx.sym.contrib.BatchNormWithReLU(conv(data, "c"), fix_gamma=False, name="bn")
    result = run(SplitActivation(), symbol)
    assert operators(result) == ["Convolution", "BatchNorm", "Activation"]
    assert result.network.graph.outputs[0].name == "bn_output" and result.aliases["bn"] == {"bn", "bn_relu"}
    assert_equal_outputs(symbol, result)


def test_a_copy_of_mx_np_is_bypassed() -> None:
    symbol = relu(mx.sym.np.copy(conv(data, "c").as_np_ndarray()).as_nd_ndarray())
    assert operators(run(DropIdentity(), symbol)) == ["Convolution", "Activation"]


@pytest.mark.parametrize("axis, positive", [(-1, "3"), (-3, "1"), (-4, "0")])
def test_a_negative_axis_becomes_a_positive_one(axis: int, positive: str) -> None:
    symbol = mx.sym.Concat(conv(data, "c"), relu(conv(data, "d")), dim=axis, name="cat")
    result = run(PositiveAxis(), symbol)
    assert result.network.graph.find("cat").attrs["dim"] == positive
    assert_equal_outputs(symbol, result)


def test_an_axis_of_unknown_data_stays() -> None:
    result = run(PositiveAxis(), mx.sym.Concat(data, data, dim=-1))
    assert not result.modified and "how many axes 'data' has is not known" in result.refusals[0].reason
    assert not run(PositiveAxis(), mx.sym.Concat(data, data, dim=2)).modified
