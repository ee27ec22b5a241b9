"""What is made of parameters alone becomes a parameter, with the value that MXNet gives it."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.errors import InputError
from mxquant.graph.passes import Canonical, apply, canonicalize
from mxquant.graph.rules.fold_constants import FoldConstants, reshaped
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import split_params, symbol_of
from tests.networks import dense, forward, images, network_of, sqnr

SHAPES = {"one": (6, 4), "two": (6, 4), "row": (4,)}
data, one, two, row = (mx.sym.var(name) for name in ("data", *SHAPES))

WEIGHTS: Dict[str, Callable[[], Any]] = {
    "joined": lambda: mx.sym.concat(one, two, dim=0),
    "joined as heads": lambda: mx.sym.reshape(
        mx.sym.concat(*[mx.sym.reshape(each, (3, -1, 0), reverse=True) for each in (one, two)], dim=-2),
        (-1, 0),
        reverse=True,
    ),
    "stacked": lambda: mx.sym.reshape(mx.sym.stack(one, two, axis=1), (-3, 0)),
    "transposed": lambda: mx.sym.transpose(mx.sym.reshape(one, (4, 6))),
    "swapped": lambda: mx.sym.SwapAxis(mx.sym.reshape(one, (4, 6)), dim1=0, dim2=1),
    "split": lambda: mx.sym.reshape(mx.sym.reshape(one, (-4, 2, -1, -2)), (-3, -2)),
    "sliced": lambda: mx.sym.slice_axis(mx.sym.slice_axis(one, axis=0, begin=-5, end=None), axis=-1, begin=0, end=4),
    "flat": lambda: mx.sym.reshape(
        mx.sym._internal._rnn_param_concat(*[mx.sym.reshape(each, (-1,)) for each in (one, two)], dim=0), (12, 4)
    ),
    "scaled": lambda: mx.sym.broadcast_mul((one + two) * 0.3 + 0.1, mx.sym.expand_dims(row, axis=0)) / 3,
    "sum of products": lambda: one * two + two,
    "added by rows": lambda: mx.sym.broadcast_add(one, mx.sym.reshape(row, (1, -1))),
}


def params() -> Dict[str, Any]:
    return {name: mx.nd.array(images(*shape, seed=seed)) for seed, (name, shape) in enumerate(SHAPES.items())}


def with_weight(weight: Any, units: int) -> Any:
    return dense(data, "fc", units, weight=weight, no_bias=True)


def folded(symbol: Any) -> Canonical:
    used = {name: value for name, value in params().items() if name in symbol.list_arguments()}
    return apply(network_of(symbol, used, {}), (FoldConstants(),))


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_computed_weight_becomes_a_parameter_of_the_same_value(name: str) -> None:
    weight = WEIGHTS[name]()
    used = {key: value for key, value in params().items() if key in weight.list_arguments()}
    (expected,) = forward(weight, used, {})
    symbol = with_weight(weight, len(expected))
    result = folded(symbol)
    (layer,) = result.network.graph.operators
    assert layer.op == "FullyConnected"
    assert layer.inputs[1].name == f"{weight.name}_output"
    np.testing.assert_allclose(result.network.params[layer.inputs[1].name], expected, rtol=1e-6, atol=1e-7)
    assert {node.name for node in result.network.graph.variables} == {"data", f"{weight.name}_output"}
    rewritten = symbol_of(result.network.graph)
    x = images(2, 4)
    found = forward(rewritten, *split_params(result.network, rewritten), data=x)[0]
    assert sqnr(forward(symbol, used, {}, data=x)[0], found) > 100


@pytest.mark.parametrize(
    "symbol",
    [
        mx.sym.Group([with_weight(mx.sym.concat(one, two, dim=0), 12), mx.sym.concat(one, two, dim=0, name="made")]),
        dense(mx.sym.concat(data, row, dim=0), "fc", weight=one, units=6, no_bias=True),
        with_weight(mx.sym.exp(one), 6),
        mx.sym.broadcast_add(with_weight(one, 6), mx.sym.zeros((1, 6))),
    ],
    ids=["returned", "of data", "another operator", "no inputs"],
)
def test_what_is_returned_or_read_from_data_or_not_known_stays(symbol: Any) -> None:
    before = [node.op for node in network_of(symbol, {}, {}).graph.operators]
    after = [node.op for node in folded(symbol).network.graph.operators]
    assert [op for op in before if op not in after] == []


def test_a_layer_whose_weight_is_joined_runs_in_int8_and_the_joining_layer_can_still_be_named() -> None:
    symbol = with_weight(mx.sym.concat(one, two, dim=0, name="joining"), 12)
    used = {name: params()[name] for name in ("one", "two")}
    x = images(8, 4)
    model = mxquant.quantize(symbol, x, arg_params=used, accuracy="fast", exclude_layers=["joining"])
    assert model.plan.layers["fc"].precision == "int8"
    assert sqnr(forward(symbol, used, {}, data=x)[0], model.as_block()(mx.nd.array(x)).asnumpy()) > 30
    with pytest.raises(InputError, match="no layer is called 'joined'"):
        mxquant.quantize(symbol, x, arg_params=used, accuracy="fast", exclude_layers=["joined"])


def test_a_shape_that_does_not_fit_is_refused_with_the_layer() -> None:
    bad = mx.sym.reshape(one, (5, -1), name="bad")
    (refusal,) = canonicalize(network_of(with_weight(bad, 5), {"one": params()["one"]}, {})).refusals
    assert (refusal.rule, refusal.layer) == ("fold_constants", "bad")
    assert refusal.reason == "shape (6, 4) cannot become (5, -1)"


WANTED = [
    *[((0, -1), False), ((-1,), False), ((-2,), False), ((-3, 0), False), ((0, -3), False)],
    *[((0, -4, 2, -1, 0), False), ((0, -4, -1, 2, 0), False), ((0, 0, 2, -1), False), ((0, -2), False)],
    *[((-1, 0), True), ((2, -1, 0), True), ((-3, 4), True)],
]


@pytest.mark.parametrize("wanted, reverse", WANTED)
def test_shapes_are_those_of_mxnet(wanted: Tuple[int, ...], reverse: bool) -> None:
    shape = (3, 6, 4)
    assert reshaped(shape, wanted, reverse) == mx.nd.reshape(mx.nd.zeros(shape), wanted, reverse=reverse).shape


@pytest.mark.parametrize("wanted", [(3, 2, -2), (5, -1), (0, 0, 0, 0), (-1, -1), (-4, 2)])
def test_shapes_of_another_size_are_refused(wanted: Tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot become"):
        reshaped((3, 6, 4), wanted)
