"""Passes: run in one visible order on a private copy, verified before and after."""

from __future__ import annotations

from typing import List

import numpy as np
import pytest

from mxquant.errors import GraphError
from mxquant.graph.passes import CANONICAL, apply, canonicalize
from mxquant.graph.rewriter import Pass, Refusal, Rewriter
from mxquant.quantization import quantize_model
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import symbol_of
from tests.networks import conv, dense, forward, images, network_of, random_params, relu, zoo


def small():
    data = mx.sym.var("data")
    symbol = dense(mx.sym.Dropout(relu(mx.sym.BatchNorm(conv(data, "conv"), name="bn")), name="drop"), "fc")
    return symbol, *random_params(symbol, data=(2, 3, 8, 8))


def test_the_order_is_one_tuple() -> None:
    assert [each.name for each in CANONICAL] == [
        "inline_fused",
        "unique_names",
        "cut_labels",
        "classic_operators",
        "drop_identity",
        "drop_dropout",
        "fold_constants",
        "split_activation",
        "relu_forms",
        "sums_of_alike",
        "fold_batch_norm",
        "fold_pad",
        "deconvolution_as_convolution",
        "split_recurrent",
        "explicit_gamma",
        "global_pooling",
        "flatten_forms",
        "positive_axis",
    ]


def test_the_callers_network_stays_as_it_is() -> None:
    network = network_of(*small())
    before = network.digest()
    result = canonicalize(network)
    assert result.modified
    assert network.digest() == before
    assert [node.op for node in result.network.graph.operators] == ["Convolution", "Activation", "FullyConnected"]


def test_a_canonical_network_stays_as_it_is() -> None:
    once = canonicalize(network_of(*small())).network
    twice = canonicalize(once)
    assert not twice.modified
    assert twice.network.digest() == once.digest()


def test_parameters_that_nothing_reads_any_more_are_gone() -> None:
    params = canonicalize(network_of(*small())).network.params
    assert sorted(params) == ["conv_bias", "conv_weight", "fc_bias", "fc_weight"]


def test_dropped_layers_are_remembered() -> None:
    assert canonicalize(network_of(*small())).dropped == {"drop"}


class Damage(Pass):
    name = "damage"

    def run(self, rewriter: Rewriter) -> List[Refusal]:
        rewriter.graph.outputs = []
        return []


def test_a_pass_that_breaks_an_invariant_is_caught() -> None:
    with pytest.raises(GraphError, match="has-output"):
        apply(network_of(*small()), (Damage(),))


def test_a_network_that_is_quantized_already_is_refused() -> None:
    symbol, args, aux = small()
    quantized = quantize_model(symbol, args, aux, calib_data=images(2, 3, 8, 8), calib_mode="naive")
    with pytest.raises(GraphError, match=r"quantized already: layer '\w+' is _contrib_quantize_v2; pass the fp32"):
        canonicalize(network_of(*quantized))


@pytest.mark.parametrize("name", ["resnet18_v1", "resnet18_v2", "mobilenetv2_0.25", "vgg11_bn", "inceptionv3"])
def test_the_canonical_network_computes_the_same(name: str) -> None:
    symbol, args, aux, data = zoo(name)
    result = canonicalize(network_of(symbol, args, aux)).network
    params = {key: mx.nd.array(value) for key, value in result.params.items()}
    canonical = symbol_of(result.graph)
    (expected,) = forward(symbol, args, aux, data=data)
    states = {key: params[key] for key in canonical.list_auxiliary_states()}
    arguments = {key: value for key, value in params.items() if key not in states}
    (actual,) = forward(canonical, arguments, states, data=data)
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()
