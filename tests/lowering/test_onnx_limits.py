"""No pair of weights saturates, whichever runtime pairs them."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import pytest

from mxquant.graph import Network, Node
from mxquant.lowering import onnx_limits, saturation
from mxquant.lowering.stored_weights import HALVED
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, network_of

ONE_OUTPUT = conv(mx.sym.var("data"), "main", 1, no_bias=True)


def layer(symbol: Any, weight: np.ndarray) -> Tuple[Network, Node]:
    network = network_of(symbol, {"main_weight": mx.nd.array(weight)}, {})
    return network, network.graph.operators[-1]


def worst(shape: Tuple[int, ...], *places: Tuple[int, ...]) -> np.ndarray:
    """Return the small weights of one output with large ones at two places, which end at 127 both."""
    weight = np.full(shape, 0.01, np.float32)
    for place in places:
        weight[place] = 1.0
    return weight


def test_neighbouring_channels_limit_the_data() -> None:
    network, node = layer(ONE_OUTPUT, worst((1, 8, 3, 3), (0, 2, 1, 1), (0, 3, 1, 1)))
    assert onnx_limits.safe_data_codes(network, node, "avx2") == 32767 // 254
    assert onnx_limits.safe_data_codes(network, node, "vnni") == 255
    assert onnx_limits.pair_excess(network, node, "avx2") is not None


def test_with_an_odd_number_of_channels_neighbours_may_be_at_two_places_of_the_kernel() -> None:
    # The last channel of one place and the first of the next: a pair in rows of 27, but not in oneDNN.
    weight = worst((1, 3, 3, 3), (0, 2, 0, 0), (0, 0, 0, 1))
    codes = saturation.weight_codes(weight)
    assert saturation.largest_safe_code(codes) == 255
    network, node = layer(ONE_OUTPUT, weight)
    assert onnx_limits.safe_data_codes(network, node, "avx2") == 32767 // 254
    assert onnx_limits.pair_excess(network, node, "avx2") is None


def test_a_dense_layer_has_pairs_too() -> None:
    network, node = layer(dense(mx.sym.var("data"), "main", 1, no_bias=True), worst((1, 6), (0, 4), (0, 5)))
    assert onnx_limits.safe_data_codes(network, node, "avx2") == 32767 // 254


@pytest.mark.parametrize("isa", ["avx2", "avx512", "vnni"])
def test_depthwise_convolutions_are_exact(isa: str) -> None:
    symbol = conv(mx.sym.var("data"), "main", 8, num_group=8, no_bias=True)
    network, node = layer(symbol, np.ones((8, 1, 3, 3), np.float32))
    assert onnx_limits.safe_data_codes(network, node, isa) == 255
    assert onnx_limits.weight_codes(network, node, "int8", isa) == 127


def test_signed_data_take_every_second_code_of_the_weights() -> None:
    network, node = layer(conv(mx.sym.var("data"), "main", 4, no_bias=True), np.ones((4, 8, 3, 3), np.float32))
    assert onnx_limits.weight_codes(network, node, "int8", "avx2") == HALVED
    assert onnx_limits.weight_codes(network, node, "uint8", "avx2") == 127
    assert onnx_limits.weight_codes(network, node, "int8", "vnni") == 127
    assert 255 * 2 * HALVED <= 32767
