"""Multiplications are counted as the operators are defined."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from mxquant.analysis.macs import layer_macs
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, network_of, random_params, relu


def macs(symbol: Any, *shape: int) -> Dict[str, int]:
    return layer_macs(network_of(symbol, *random_params(symbol, data=shape)), {"data": images(*shape)})


def test_a_convolution_has_one_for_each_weight_and_place() -> None:
    assert macs(conv(mx.sym.var("data"), "c", 8, 3), 2, 3, 5, 7) == {"c": 2 * 5 * 7 * 8 * 3 * 9}
    assert macs(conv(mx.sym.var("data"), "c", 8, 3, stride=(2, 2)), 1, 3, 6, 6) == {"c": 3 * 3 * 8 * 3 * 9}


def test_groups_share_them() -> None:
    assert macs(conv(mx.sym.var("data"), "c", 8, 3, num_group=4), 1, 4, 5, 5) == {"c": 5 * 5 * 8 * 9}


def test_a_deconvolution_has_one_for_each_value_of_the_data() -> None:
    symbol = mx.sym.Deconvolution(mx.sym.var("data"), kernel=(2, 2), stride=(2, 2), num_filter=6, name="d")
    assert macs(symbol, 1, 4, 5, 5) == {"d": 5 * 5 * 4 * 6 * 4}


def test_a_fully_connected_multiplies_every_pair() -> None:
    x = dense(mx.sym.var("data"), "flat", 16)
    assert macs(dense(relu(x), "last", 10), 3, 4, 5) == {"flat": 3 * 20 * 16, "last": 3 * 16 * 10}
    assert macs(dense(mx.sym.var("data"), "d", 16, flatten=False), 3, 4, 5) == {"d": 3 * 4 * 5 * 16}


def test_products_of_two_tensors_count() -> None:
    x = mx.sym.var("data")
    assert macs(mx.sym.batch_dot(x, x, transpose_b=True, name="qk"), 2, 3, 5) == {"qk": 2 * 3 * 3 * 5}
    assert macs(mx.sym.batch_dot(x, x, transpose_a=True, name="qk"), 2, 3, 5) == {"qk": 2 * 5 * 5 * 3}


def test_interleaved_attention_counts_what_its_products_do() -> None:
    x = mx.sym.var("data")  # time, batch, heads of queries, keys and values
    scores = mx.sym.contrib.interleaved_matmul_selfatt_qk(x, heads=2, name="qk")
    joined = mx.sym.contrib.interleaved_matmul_selfatt_valatt(x, scores, heads=2, name="av")
    products = 3 * 2 * 5 * 5 * 4
    assert macs(joined, 5, 3, 24) == {"qk": products, "av": products}


@pytest.mark.parametrize("mode, gates", [("lstm", 4), ("gru", 3), ("rnn_tanh", 1)])
def test_a_recurrent_layer_has_one_for_each_weight_step_and_example(mode: str, gates: int) -> None:
    states = [mx.sym.zeros((4, 0, 6)) for _ in range(2 if mode == "lstm" else 1)]
    symbol = mx.sym.RNN(
        mx.sym.var("data"),
        mx.sym.var("rnn_parameters"),
        *states,
        mode=mode,
        state_size=6,
        num_layers=2,
        bidirectional=True,
        name="rnn",
    )
    first, second = 2 * gates * 6 * (8 + 6), 2 * gates * 6 * (12 + 6)
    assert macs(symbol, 5, 3, 8) == {"rnn": 5 * 3 * (first + second)}


def test_other_operators_have_none() -> None:
    assert macs(relu(mx.sym.var("data")), 2, 3) == {}
