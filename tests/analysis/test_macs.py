"""Multiplications are counted as the operators are defined."""

from __future__ import annotations

from typing import Any, Dict

from mxquant._compat import mx
from mxquant.analysis.macs import layer_macs
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


def test_other_operators_have_none() -> None:
    assert macs(relu(mx.sym.var("data")), 2, 3) == {}
