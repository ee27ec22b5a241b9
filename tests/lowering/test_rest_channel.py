"""A channel of zeros makes weights of even codes the same where oneDNN halves them and where it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant.errors import PlanError
from mxquant.graph import Network
from mxquant.graph.passes import canonicalize
from mxquant.lowering.rest_channel import fed, may_rest, rested, unrested
from mxquant.lowering.saturation import halved_weight_codes, weight_codes
from mxquant.lowering.stored_weights import EVEN, NEARLY_EVEN, int8_weight
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, split_params, symbol_of
from tests.networks import conv, dense, forward, images, network_of, random_params, relu, sqnr

F = mx.sym
SHAPE = (4, 3, 8, 8)
Build = Callable[[Any], Any]


def bottlenecks(data: Any) -> Any:
    """Return convolutions on the input and on signed data, one of them for float32, and a dense layer."""
    x = conv(F.Activation(conv(data, "c1", 6), act_type="tanh"), "c2", 8)
    y = conv(F.clip(conv(x, "up", 12, 1), a_min=0, a_max=2), "dw", 12, num_group=12)
    y = conv(F.clip(y, a_min=0, a_max=2), "down", 8, 1)
    z = F.elemwise_add(x, y, name="sum")
    flat = F.Flatten(F.Pooling(z, kernel=(2, 2), stride=(2, 2), pool_type="avg"))
    return F.Group(
        [dense(flat, "fc", 5), conv(F.LeakyReLU(conv(z, "c3"), act_type="prelu", name="p"), "c4"), conv(z, "c5", 2)]
    )


def planned(build: Build, shape: Tuple[int, ...] = SHAPE, **options: Any) -> Tuple[Any, Dict[str, Any], Any, QuantPlan]:
    symbol, data = build(F.var("data")), images(*shape)
    args, aux = random_params(symbol, data=shape)
    params: Dict[str, Any] = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, **params)
    options.update(params, isa="portable", method="minmax")
    return symbol, params, data, mxquant.make_plan(symbol, statistics, **options)


def canonical(symbol: Any, params: Any) -> Network:
    return canonicalize(network_of(symbol, params["arg_params"], params["aux_params"])).network


def run(network: Network, data: np.ndarray) -> Any:
    symbol = symbol_of(network.graph)
    return forward(symbol, *split_params(network, symbol), data=data)


def even(plan: QuantPlan) -> Dict[str, Any]:
    return {name: layer for name, layer in plan.layers.items() if layer.weight_codes == EVEN}


def block(data: Any) -> Any:
    """Return layers that read what all before have made: as it is, depthwise, normalized, as rows."""
    x = conv(data, "c0", 5)
    for index in range(3):
        y = F.LeakyReLU(F.BatchNorm(x, fix_gamma=False, name=f"bn{index}"), act_type="leaky", slope=0.1)
        x = F.Concat(conv(y, f"d{index}", 4), x, dim=1)
    grown = F.UpSampling(F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max"), scale=2, sample_type="nearest")
    x = F.Concat(conv(F.tanh(conv(grown, "dw", 17, num_group=17)), "e0", 3), x, F.sigmoid(conv(x, "e1", 2)), dim=1)
    return F.Group([conv(x, "last", 6), conv(relu(x), "positive"), dense(x, "fc", 5)])


@pytest.fixture(scope="module")
def joined() -> Any:
    symbol, params, data, plan = planned(block)
    assert {"c0", "d0", "d1", "d2", "e0", "e1", "last"} <= set(even(plan))
    return symbol, params, data, plan, canonical(symbol, params)


def test_a_network_with_concats_computes_what_it_does_with_even_weights(joined: Any) -> None:
    *_, data, plan, network = joined
    wanted = dict(network.params)
    for name, layer in even(plan).items():
        wanted[f"{name}_weight"] = int8_weight("Convolution", wanted[f"{name}_weight"], layer).astype(np.float32)
    found = rested(network, plan)
    assert set(fed(network, plan)) == {"c0"}
    padded = np.concatenate([data, np.zeros_like(data[:, :1])], axis=1)
    for expected, value in zip(run(Network(network.graph, wanted), data), run(found, padded)):
        assert sqnr(expected, value) > 120
    restored = unrested(network, plan, found.params)
    assert restored.keys() == network.params.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(restored[name], value)
    for name in even(plan):
        whole, halved = (
            codes(found.params[f"{name}_weight"]).astype(int) for codes in (weight_codes, halved_weight_codes)
        )
        np.testing.assert_array_equal(whole, 2 * halved)


def test_the_simulation_of_a_network_with_concats_is_the_int8_network(joined: Any) -> None:
    symbol, params, data, plan, _ = joined
    results = []
    for target in ("onednn", "simulate"):
        model = mxquant.lower(symbol, plan, target=target, **params)
        results.append(forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=data))
    for exact, int8, simulated in zip(forward(symbol, *params.values(), data=data), *results):
        assert 25 < sqnr(exact, int8) < 60 and sqnr(int8, simulated) > 50
    found = mxquant.compare(symbol, mxquant.lower(symbol, plan, **params), data, **params)
    assert not found.warnings and all(output.int8_simulated > 50 for output in found.outputs)


@pytest.fixture(scope="module")
def material() -> Any:
    symbol, params, data, plan = planned(bottlenecks, exclude_layers=["c5"])
    assert set(even(plan)) == {"c1", "c2", "up", "down", "c3", "c4"} and plan.layers["c5"].precision == "float32"
    network = canonical(symbol, params)
    wanted = dict(network.params)
    for name, layer in even(plan).items():
        wanted[f"{name}_weight"] = int8_weight("Convolution", wanted[f"{name}_weight"], layer).astype(np.float32)
    return symbol, params, data, plan, network, Network(network.graph, wanted)


def test_the_network_computes_what_it_does_with_even_weights(material: Any) -> None:
    *_, data, plan, network, wanted = material
    found = rested(network, plan)
    # What is fed gets its channel where it is quantized.
    assert fed(network, plan) == {"c1"}
    padded = np.concatenate([data, np.zeros_like(data[:, :1])], axis=1)
    for expected, value in zip(run(wanted, data), run(found, padded)):
        assert sqnr(expected, value) > 120
    assert [found.params[f"{name}_weight"].shape[:2] for name in ("c1", "c2", "up", "c5", "fc")] == [
        *((6 + 1, 3 + 1), (8 + 1, 6 + 1), (12 + 1, 8 + 1), (2, 8 + 1), (5, (8 + 1) * 16))
    ]
    assert network.params["c1_weight"].shape == (6, 3, 3, 3)


def test_whole_and_halved_codes_agree_for_every_layer_that_rests(material: Any) -> None:
    *_, plan, network, _ = material
    found = rested(network, plan).params
    for name in even(plan):
        whole, halved = (codes(found[f"{name}_weight"]).astype(int) for codes in (weight_codes, halved_weight_codes))
        np.testing.assert_array_equal(whole, 2 * halved)
        assert whole.min() == -128 and whole.max() <= 126


def test_unrested_undoes_it_bit_for_bit(material: Any) -> None:
    *_, plan, network, wanted = material
    found = unrested(network, plan, rested(network, plan).params)
    assert found.keys() == network.params.keys()
    for name, value in wanted.params.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_network_without_such_layers_is_returned_as_it_is(material: Any) -> None:
    *_, plan, network, _ = material
    layers = {
        name: replace(layer, weight_codes=127 if layer.granularity else None) for name, layer in plan.layers.items()
    }
    assert rested(network, replace(plan, layers=layers)) is network


# ---- whatever the weights


def one_layer(shape: Tuple[int, ...]) -> Any:
    symbol, params, _, plan = planned(lambda data: conv(data, "c", shape[0], shape[2]), (2, shape[1], 6, 6))
    assert set(even(plan)) == {"c"}
    return canonical(symbol, params), plan


LAYERS = {shape: one_layer(shape) for shape in ((5, 3, 3, 3), (4, 4, 1, 1), (8, 2, 2, 2))}
KINDS = {"random": np.positive, "positive": np.abs, "ends": np.sign, "equal": np.ones_like}


@settings(max_examples=150)
@given(
    st.integers(0, 99999),
    st.sampled_from(sorted(LAYERS)),
    st.lists(st.sampled_from([0, 1e-30, 1e-20, 1e-3, 1.0, 1e10, 1e30]), min_size=8, max_size=8),
    st.sampled_from(sorted(KINDS)),
)
def test_whole_codes_are_twice_the_halved_ones(seed: int, shape: Any, magnitudes: Any, kind: str) -> None:
    network, plan = LAYERS[shape]
    weight = KINDS[kind](np.random.RandomState(seed).randn(*shape)) * np.reshape(magnitudes[: shape[0]], (-1, 1, 1, 1))
    weight = weight.astype(np.float32)
    network = Network(network.graph, {**network.params, "c_weight": weight})
    found = rested(network, plan).params["c_weight"]
    whole, halved = weight_codes(found).astype(int), halved_weight_codes(found).astype(int)
    np.testing.assert_array_equal(whole, 2 * halved)
    expected = int8_weight("Convolution", weight, plan.layers["c"])
    steps = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 126.0
    np.testing.assert_allclose(whole[:, :-1] * steps, expected, rtol=1e-5)
    assert (np.abs(expected - weight) <= 1.001 * steps).all()
    assert (whole[:, -1, 0, 0] == np.where(steps.ravel() > 0, -128, 0)).all()


# ---- which layers


PAD = (0, 0, 0, 0, 1, 1, 1, 1)
MAY: Dict[str, Tuple[Build, bool]] = {
    **{f"{kind} is {value}": (lambda x, kind=kind: F.Activation(x, act_type=kind), value) for kind, value in (
        ("relu", True), ("tanh", True), ("softsign", True), ("sigmoid", False), ("softrelu", False))},
    "nothing": (lambda x: x, True),
    "swish": (lambda x: x * F.sigmoid(x), True),
    "hard swish": (lambda x: x * (F.clip(x + 3, a_min=0, a_max=6) / 6), True),
    "hard sigmoid": (lambda x: F.clip(x + 3, a_min=0, a_max=6) / 6, False),
    "a clip above 0": (lambda x: F.clip(x, a_min=0.5, a_max=6), False),
    "one more": (lambda x: x + 1, False),
    "one more and less": (lambda x: (x + 1) - 1, True),
    "exp": (F.exp, False),
    "exp, less one": (lambda x: F.exp(x) - 1, True),
    "exp beyond all numbers": (lambda x: F.exp(x + 1000), False),
    "sigmoid far below": (lambda x: F.sigmoid(x - 1000), False),
    "square root": (lambda x: F.sqrt(F.abs(x)), True),
    "slopes": (lambda x: F.LeakyReLU(x, act_type="prelu", name="p"), True),
    "pooling": (lambda x: F.Pooling(x, kernel=(2, 2), pool_type="avg"), True),
    "normalized": (lambda x: F.BatchNorm(F.tanh(x), fix_gamma=False, name="bn"), True),
    "normalized ones": (lambda x: F.BatchNorm(F.sigmoid(x), fix_gamma=False, name="bn"), False),
    "depthwise": (lambda x: conv(F.sigmoid(x), "dw", 6, num_group=6), True),
    "parameters": (lambda x: F.broadcast_add(x, F.var("q", shape=(1, 6, 1, 1))), False),
    "joined to itself": (lambda x: F.Concat(x, x), False),
    "joined": (lambda x: F.Concat(F.sigmoid(x), conv(x, "other", 4)), True),
    "joined, none of it 0": (lambda x: F.Concat(F.sigmoid(x), F.sigmoid(conv(F.sigmoid(x), "other", 4))), False),
    "joined in rows": (lambda x: F.Concat(x, conv(F.sigmoid(x), "other", 6), dim=2), True),
    "joined in rows to ones": (lambda x: F.Concat(x, F.exp(conv(F.sigmoid(x), "other", 6)), dim=2), False),
    "joined in rows to what is not known": (lambda x: F.Concat(x, F.exp(x + 1000), dim=2), False),
    "larger": (lambda x: F.UpSampling(x, scale=2, sample_type="nearest"), True),
    "larger ones": (lambda x: F.UpSampling(F.sigmoid(x), scale=2, sample_type="nearest"), False),
    "resized": (lambda x: F.contrib.BilinearResize2D(x, height=5, width=5), True),
    "resized like ones": (lambda x: F.contrib.BilinearResize2D(x, F.sigmoid(x), mode="like"), True),
    "padded": (lambda x: F.tanh(F.Pad(x, mode="constant", pad_width=PAD)), True),
    "padded with ones": (lambda x: F.tanh(F.Pad(x, mode="constant", constant_value=1, pad_width=PAD)), False),
}  # fmt: skip


@pytest.mark.parametrize("name", MAY)
def test_only_what_keeps_zeros_may_lie_before(name: str) -> None:
    then, expected = MAY[name]
    symbol = conv(then(conv(F.var("data"), "c1", 6)), "c2")
    args, aux = random_params(symbol, data=SHAPE)
    found = may_rest(canonical(symbol, {"arg_params": args, "aux_params": aux}))
    # The first reads the input.
    assert found - {"other"} == ({"c1", "c2"} if expected else {"c1"})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda data: F.Group([conv(data, "a"), conv(data, "b")]), {"a", "b"}),
        (lambda data: conv(data * 0.5 - 1, "a"), {"a"}),
        (lambda data: F.Group([conv(data, "a"), F.Pooling(data, kernel=(2, 2), pool_type="avg")]), set()),
        (lambda data: F.Group([conv(data, "a"), conv(data, "g", 3, num_group=3)]), set()),
        (lambda data: dense(data, "a"), set()),
    ],
)
def test_the_input_gets_a_channel_where_convolutions_alone_read_it(build: Build, expected: Any) -> None:
    symbol = build(F.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    assert may_rest(canonical(symbol, {"arg_params": args, "aux_params": aux})) == expected


def test_a_plan_that_lets_a_layer_rest_behind_a_sigmoid_is_refused() -> None:
    symbol, params, _, plan = planned(lambda data: conv(F.sigmoid(conv(data, "c1", 6)) - 0.2, "c2"))
    layer = plan.layers["c2"]
    assert layer.weight_codes == NEARLY_EVEN
    plan = replace(plan, layers={**plan.layers, "c2": replace(layer, weight_codes=EVEN)})
    for target in ("onednn", "simulate"):
        with pytest.raises(PlanError, match=r"layers\['c2'\]\.weight_codes"):
            mxquant.lower(symbol, plan, target=target, **params)


# ---- the int8 network


def test_the_simulation_is_the_int8_network(material: Any) -> None:
    symbol, params, data, plan, *_ = material
    results = []
    for target in ("onednn", "simulate"):
        model = mxquant.lower(symbol, plan, target=target, **params)
        results.append(forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=data))
    for exact, int8, simulated in zip(forward(symbol, *params.values(), data=data), *results):
        assert 25 < sqnr(exact, int8) < 60 and sqnr(int8, simulated) > 80


def test_the_input_of_the_int8_network_gets_a_channel_of_zeros(material: Any) -> None:
    symbol, params, data, plan, *_ = material
    model = mxquant.lower(symbol, plan, **params)
    (quantize,) = [n for n in graph_of(model.symbol).operators if n.name == "data_quantize"]
    name = f"{quantize.inputs[0].node.name}_output"
    inside = model.symbol.get_internals()[name]
    (value,) = forward(
        inside, {k: v for k, v in model.arg_params.items() if k in inside.list_arguments()}, {}, data=data
    )
    np.testing.assert_array_equal(value[:, :3], data)
    assert value.shape[1] == 4 and not value[:, 3].any()
    assert model.arg_params["c1_weight"].shape == (7, 4, 3, 3)


def test_weights_are_read_back_from_the_int8_network(material: Any) -> None:
    symbol, params, data, plan, *_ = material
    found = mxquant.compare(symbol, mxquant.lower(symbol, plan, **params), data, **params)
    assert not found.warnings
    assert all(output.int8_simulated > 80 for output in found.outputs)


def test_a_compact_file_keeps_the_codes(material: Any, tmp_path: Path) -> None:
    symbol, params, data, plan, *_ = material
    model = mxquant.lower(symbol, plan, **params)
    model.save(tmp_path / "net", compact=True)
    found = mxquant.load(tmp_path / "net")
    assert found.plan == plan
    for name in even(plan):
        values = [each.arg_params[f"{name}_weight"].asnumpy() for each in (model, found)]
        for codes in (weight_codes, halved_weight_codes):
            np.testing.assert_array_equal(*map(codes, values))
    outputs = [forward(each.symbol, dict(each.arg_params), {}, data=data) for each in (model, found)]
    assert all(np.array_equal(one, other) for one, other in zip(*outputs))
