"""Sizes that MXNet does not compare are compared before a network is bound."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest

import mxquant
from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.runtime import sizes
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from mxquant.runtime.sizes import check_sizes, fitting_shapes
from tests.networks import conv, images, random_params

a, b, c = (mx.sym.var(name) for name in "abc")
Shapes = Dict[str, Tuple[int, ...]]
attention = mx.sym.contrib
CASES: Dict[str, Tuple[Any, Shapes, Shapes, str]] = {
    "Reshape to fixed lengths": (
        mx.sym.Reshape(a, shape=(4, 6), name="r"),
        {"a": (2, 12)},
        {"a": (3, 12)},
        "layer 'r' (Reshape) makes shape (4, 6) of (3, 12), which has 36 values instead of 24",
    ),
    "Reshape that keeps a length": (
        mx.sym.Reshape(a, shape=(0, 7), name="r"),
        {"a": (4, 7)},
        {"a": (4, 8)},
        "makes shape (4, 7) of (4, 8)",
    ),
    "Reshape with a rest": (
        mx.sym.Reshape(a, shape=(-1, 7), name="r"),
        {"a": (4, 7)},
        {"a": (4, 6)},
        "makes shape (3, 7) of (4, 6)",
    ),
    "Reshape by the old attribute": (
        mx.sym.Reshape(a, target_shape=(8, 6), name="r"),
        {"a": (4, 12)},
        {"a": (4, 24)},
        "makes shape (8, 6) of (4, 24)",
    ),
    "box_decode": (
        attention.box_decode(a, b, name="r"),
        {"a": (2, 5, 4), "b": (1, 5, 4)},
        {"a": (2, 5, 4), "b": (1, 7, 4)},
        "decodes boxes of shape (2, 5, 4) by anchors of shape (1, 7, 4)",
    ),
    "queries and keys": (
        attention.interleaved_matmul_selfatt_qk(a, heads=4, name="r"),
        {"a": (5, 2, 24)},
        {"a": (5, 2, 30)},
        "splits 30 values among 4 heads and 3 parts",
    ),
    "values and weights": (
        attention.interleaved_matmul_selfatt_valatt(a, b, heads=4, name="r"),
        {"a": (5, 2, 24), "b": (8, 5, 5)},
        {"a": (5, 2, 24), "b": (9, 5, 5)},
        "by weights of shape (9, 5, 5), expected 8 of 5",
    ),
}


# Checks that are tested by themselves: MXNet would read beyond the data of such networks.
ALONE: Dict[str, Tuple[Any, List[Tuple[int, ...]], Tuple[int, ...], str]] = {
    "Crop": (mx.sym.Crop(a, b, num_args=2), [(1, 3, 8, 8), (1, 2, 9, 6)], (1, 3, 9, 6), "crops (9, 6) from (8, 8)"),
    "Correlation": (
        mx.sym.Correlation(a, b, kernel_size=1),
        [(1, 2, 8, 8), (1, 2, 6, 8)],
        (1, 9, 6, 6),
        "compares shapes (1, 2, 8, 8) and (1, 2, 6, 8), which differ",
    ),
}


@pytest.mark.parametrize("op", ALONE)
def test_a_check_takes_what_fits_and_tells_what_does_not(op: str) -> None:
    symbol, inputs, result, told = ALONE[op]
    (node,) = graph_of(symbol).operators
    check = sizes._CHECKS[node.op]
    assert check(node, [inputs[0], inputs[0]], inputs[0]) is None
    assert told in (check(node, inputs, result) or "")


@pytest.mark.parametrize("name", CASES)
def test_what_fits_is_taken_and_what_does_not_is_refused_by_name(name: str) -> None:
    symbol, right, wrong, told = CASES[name]
    network = Network(graph_of(symbol), {})
    check_sizes(network, right)
    assert fitting_shapes(network, right) is not None
    # MXNet's own inference takes it.
    assert symbol.infer_shape(**wrong)[1] is not None
    with pytest.raises(InputError) as raised:
        check_sizes(network, wrong)
    assert told in str(raised.value) and str(wrong) in str(raised.value)
    assert fitting_shapes(network, wrong) is None


def test_what_mxnet_refuses_itself_is_left_to_it() -> None:
    network = Network(graph_of(mx.sym.Reshape(mx.sym.dot(a, b), shape=(2, -1))), {})
    check_sizes(network, {"a": (2, 3), "b": (4, 5)})
    assert fitting_shapes(network, {"a": (2, 3), "b": (4, 5)}) is None


def test_networks_without_such_operators_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mxquant.runtime.sizes.tensor_shapes", lambda *_: pytest.fail("asked"))
    check_sizes(Network(graph_of(mx.sym.relu(a)), {}), {"a": (2, 3)})


def test_a_shape_that_depends_on_unknown_ones_is_passed_over() -> None:
    check_sizes(Network(graph_of(mx.sym.Reshape(mx.sym.broadcast_add(a, b), shape=(2, 3))), {}), {"a": (2, 3)})


@pytest.mark.parametrize("call", ["calibrate", "quantize", "compare", "sensitivity"])
def test_another_image_size_is_refused_before_it_is_bound(call: str) -> None:
    symbol = mx.sym.Reshape(conv(mx.sym.var("data"), "conv", 4), shape=(0, 4 * 8 * 8), name="flat")
    symbol = mx.sym.FullyConnected(symbol, num_hidden=3, name="fc")
    data = images(4, 3, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    params: Any = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, accuracy="fast", **params)
    more = (model,) if call == "compare" else ()
    with pytest.raises(InputError, match=r"layer 'flat' \(Reshape\) makes shape \(\d+, 256\) of \(\d+, 4, 9, 9\)"):
        getattr(mxquant, call)(symbol, *more, images(4, 3, 9, 9), **params)
