"""Network: a graph with the values of its parameters, and what identifies it."""

from __future__ import annotations

import numpy as np

from mxquant.graph import Network
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, network_of, random_params, relu


def small() -> Network:
    symbol = dense(relu(conv(mx.sym.var("data"), "conv"), "act"), "fc")
    return network_of(symbol, *random_params(symbol, data=(1, 3, 8, 8)))


def test_inputs_are_the_variables_without_a_value() -> None:
    assert [node.name for node in small().inputs] == ["data"]


def test_the_digest_identifies_the_network() -> None:
    assert small().digest() == small().digest()
    assert len(small().digest()) == 64


def test_the_digest_sees_every_attribute_name_and_value() -> None:
    digests = {small().digest()}
    attribute, name, value = small(), small(), small()
    attribute.graph.find("conv").attrs["kernel"] = "(1, 1)"
    name.graph.find("fc").name = "head"
    weight = value.params["fc_weight"].copy()
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(9))
    digests |= {attribute.digest(), name.digest(), Network(value.graph, {**value.params, "fc_weight": weight}).digest()}
    assert len(digests) == 4


def test_the_digest_does_not_see_annotations() -> None:
    annotated = small()
    annotated.graph.find("conv_weight").attrs["__lr_mult__"] = "2"
    assert annotated.digest() == small().digest()


def test_a_copy_shares_arrays_and_nothing_else() -> None:
    network = small()
    twin = network.copy()
    twin.graph.find("conv").attrs.clear()
    assert network.graph.find("conv").attrs
    assert twin.params["fc_weight"] is network.params["fc_weight"]
