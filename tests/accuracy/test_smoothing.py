"""SmoothQuant moves outlier channels into weights: the network computes the same, and int8 loses less."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import model as models
from mxquant.accuracy.smoothing import SmoothQuant, smooth, smoothed_as
from mxquant.errors import PlanError
from mxquant.graph import Network
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from tests.networks import dense, forward, images, random_params, sqnr

SHAPE, WIDTH = (6, 5, 24), 24
OUTLIERS = (2, 11, 17)
Build = Callable[[Any], Any]


def normalized(x: Any, name: str = "norm", **attrs: Any) -> Any:
    return mx.sym.LayerNorm(x, mx.sym.var(f"{name}_gamma"), mx.sym.var(f"{name}_beta"), name=name, **attrs)


def layer(x: Any, name: str = "fc", units: int = 16, **attrs: Any) -> Any:
    return dense(x, name, units, flatten=False, **attrs)


def read_by_three(x: Any) -> Any:
    query, key, value = (layer(x, name, WIDTH) for name in ("q", "k", "v"))
    return mx.sym.batch_dot(mx.sym.softmax(mx.sym.batch_dot(query, key, transpose_b=True)), value)


def added(x: Any) -> Any:
    return layer(mx.sym.LeakyReLU(layer(x, "first", 48), act_type="gelu"), "second", WIDTH) + x


def first_token(x: Any) -> Any:
    lengths = mx.sym.sum(mx.sym.ones_like(mx.sym.slice_axis(x, axis=2, begin=0, end=1)), axis=(1, 2)) - 1
    masked = mx.sym.SequenceMask(mx.sym.transpose(x, axes=(1, 0, 2)), lengths, use_sequence_length=True, name="mask")
    token = mx.sym.slice_axis(mx.sym.transpose(masked, axes=(1, 0, 2)), axis=1, begin=0, end=1, name="token")
    return mx.sym.Group([dense(mx.sym.reshape(token, (0, -1), name="row"), "pooler"), x])


READERS: Dict[str, Tuple[Build, Tuple[str, ...]]] = {
    "one": (layer, ("norm_output_smoothed",)),
    "three": (read_by_three, ("norm_output_smoothed",)),
    "and an addition": (added, ("norm_output_smoothed",)),
    "through a mask": (
        *(
            first_token,
            ("norm_output_smoothed", "mask_output_smoothed", "row_output_smoothed", "token_output_smoothed"),
        ),
    ),
}


def with_outliers(build: Build, factor: float = 50.0) -> Tuple[Any, Dict[str, Any], np.ndarray]:
    """Return a network of which some channels behind a LayerNorm are `factor` times larger and count as much."""
    symbol = build(normalized(mx.sym.var("data")))
    args, _ = random_params(symbol, data=SHAPE)
    for name, value in args.items():
        array = value.asnumpy()
        if name.startswith("norm_"):
            array[list(OUTLIERS)] *= factor
        elif array.ndim == 2 and array.shape[1] == WIDTH:
            array[:, list(OUTLIERS)] /= factor
        value[:] = array
    return symbol, args, images(32, *SHAPE[1:])


def canonical(symbol: Any, args: Dict[str, Any]) -> Network:
    return models.load(symbol, args, {}).canonical.network


def largest(network: Network, data: np.ndarray, tensor: str) -> np.ndarray:
    """Return the largest magnitude of each channel of a tensor."""
    graph = network.graph.copy()
    graph.outputs = [next(each.output for each in graph.operators if each.output.name == tensor)]
    graph.prune()
    (value,) = outputs(Network(graph, network.params), {"data": data})
    return np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)


@pytest.mark.parametrize("name", READERS)
def test_the_network_computes_the_same_with_a_norm_of_their_own_for_the_layers(name: str) -> None:
    build, tensors = READERS[name]
    symbol, args, data = with_outliers(build)
    network = canonical(symbol, args)
    found, made = smooth(network, {"data": data})
    assert set(tensors) <= made and all(each.endswith("_smoothed") for each in made)
    for before, after in zip(*(outputs(each, {"data": data}) for each in (network, found))):
        assert sqnr(before, after) > 110
    assert all(value.dtype == np.float32 for value in found.params.values())
    # The user's network is not touched, and others read what they have read.
    assert {node.op for node in found.graph.operators} == {node.op for node in network.graph.operators}
    norms = [node.name for node in found.graph.operators if node.op == "LayerNorm"]
    assert norms == (
        ["norm_smoothed"] if name in ("one", "three") else sorted(["norm", "norm_smoothed"], key=norms.index)
    )


def test_channels_are_nearer_to_each_other_and_the_largest_stays() -> None:
    symbol, args, data = with_outliers(read_by_three)
    network = canonical(symbol, args)
    found, _ = smooth(network, {"data": data})
    before, after = largest(network, data, "norm_output"), largest(found, data, "norm_output_smoothed")
    assert after.max() == pytest.approx(before.max(), rel=1e-5)
    assert before.max() / np.median(before) > 40 and after.max() / np.median(after) < 3


def test_scales_are_those_of_the_paper() -> None:
    symbol, args, data = with_outliers(layer)
    network = canonical(symbol, args)
    found, _ = smooth(network, {"data": data})
    values = largest(network, data, "norm_output")
    weights = np.abs(network.params["fc_weight"]).max(axis=0)
    scales = network.params["norm_gamma"] / found.params["norm_gamma_smoothed"]
    exponents = [0.5, 0.6, 0.7, 0.8, 0.9]
    candidates = [values**a / weights ** (1 - a) for a in exponents]
    spread = [np.std(np.log(scales / candidate)) for candidate in candidates]
    assert min(spread) < 1e-4
    np.testing.assert_allclose(found.params["fc_weight"], network.params["fc_weight"] * scales, rtol=1e-5)
    np.testing.assert_allclose(found.params["norm_beta_smoothed"], network.params["norm_beta"] / scales, rtol=1e-5)


@pytest.mark.parametrize("name", READERS)
def test_what_was_smoothed_is_known_by_the_parameters(name: str) -> None:
    symbol, args, data = with_outliers(READERS[name][0])
    network = canonical(symbol, args)
    found, _ = smooth(network, {"data": data})
    again = smoothed_as(network, found.params)
    assert [node.name for node in again.graph.nodes] == [node.name for node in found.graph.nodes]
    for key, value in found.params.items():
        np.testing.assert_allclose(again.params[key], value, rtol=1e-5, err_msg=key)
    assert smoothed_as(network, network.params) is network


def over_time(x: Any) -> Any:
    return layer(mx.sym.transpose(x, axes=(0, 2, 1)), units=4)


def shared(x: Any) -> Any:
    weight = mx.sym.var("fc_weight")
    options = {"weight": weight, "no_bias": True}
    return layer(layer(x, "one", WIDTH, **options), "two", WIDTH, **options)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: layer(mx.sym.relu(x) + 1),
        lambda x: layer(mx.sym.sigmoid(x)),
        over_time,
        shared,
        lambda x: dense(x, "fc"),
        lambda x: layer(mx.sym.SequenceMask(x, value=1.0)),
        lambda x: x * 2,
    ],
    ids=["added", "sigmoid", "other channels", "shared weight", "flattened", "masked by ones", "no layer"],
)
def test_what_does_not_read_channels_as_they_are_is_left_alone(build: Build) -> None:
    symbol, args, data = with_outliers(build)
    network = canonical(symbol, args)
    found, made = smooth(network, {"data": data})
    assert found is network and not made


@pytest.mark.parametrize("attrs", [{"axis": 1}, {"axis": 2}])
def test_only_norms_over_the_last_axis_are_looked_at(attrs: Any) -> None:
    symbol = layer(normalized(mx.sym.var("data"), **attrs))
    args, _ = random_params(symbol, data=(6, WIDTH, WIDTH))
    args["norm_gamma"][2] *= 50
    args["fc_weight"][:, 2] /= 50
    network = canonical(symbol, args)
    assert smooth(network, {"data": images(8, WIDTH, WIDTH)})[0] is network


def test_even_channels_are_left_alone() -> None:
    symbol, args, data = with_outliers(read_by_three, factor=1.0)
    network = canonical(symbol, args)
    assert smooth(network, {"data": data})[0] is network


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_is_done_where_values_are_not_finite(value: float) -> None:
    symbol, args, data = with_outliers(layer)
    network = canonical(symbol, args)
    beta = network.params["norm_beta"].copy()
    beta[3] = value
    network = Network(network.graph, {**network.params, "norm_beta": beta})
    assert smooth(network, {"data": data})[0] is network


def test_channels_without_values_or_readers_stay_finite() -> None:
    symbol, args, data = with_outliers(layer)
    for name in ("norm_gamma", "norm_beta"):
        args[name][5] = 0
    args["fc_weight"][:, 7] = 0
    network = canonical(symbol, args)
    found, made = smooth(network, {"data": data})
    assert made and all(np.isfinite(value).all() for value in found.params.values())
    for before, after in zip(*(outputs(each, {"data": data}) for each in (network, found))):
        assert sqnr(before, after) > 110


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
@pytest.mark.parametrize("name, gain", [("one", 12), ("three", 6), ("and an addition", 10)])
def test_int8_loses_less(name: str, gain: float, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    symbol, args, data = with_outliers(READERS[name][0])
    unseen = images(16, *SHAPE[1:], seed=9)
    expected = forward(symbol, args, {}, data=unseen)[0]

    def level() -> float:
        model = mxquant.quantize(symbol, data, arg_params=args, isa=isa)
        assert (SmoothQuant.name in model.plan.settings["steps"]) == smoothing
        simulated = mxquant.compare(symbol, model, unseen, arg_params=args).outputs[0].sqnr
        if isa == "avx2":
            found = forward(model.symbol, dict(model.arg_params), {}, data=unseen)[0]
            assert sqnr(expected, found) == pytest.approx(simulated, abs=0.5)
        return simulated

    smoothing = True
    with_it = level()
    smoothing = False
    monkeypatch.setattr("mxquant.accuracy.smoothing.smooth", lambda network, inputs: (network, frozenset()))
    assert with_it >= level() + gain


def test_a_smoothed_model_is_compared_layer_by_layer_and_its_plan_alone_is_refused() -> None:
    symbol, args, data = with_outliers(read_by_three)
    model = mxquant.quantize(symbol, data, arg_params=args)
    rows = {row.layer: row for row in mxquant.compare(symbol, model, data, arg_params=args).layers}
    # By itself each layer loses what 8 bits lose, measured with the data that it reads.
    assert all(rows[name].local > 30 for name in ("q", "k", "v"))
    assert rows["norm_smoothed"].sqnr > 100
    for call in (mxquant.lower, lambda *given, **params: mxquant.compare(*given, data, **params)):
        with pytest.raises(PlanError, match="the plan is for weights changed by SmoothQuant"):
            call(symbol, model.plan, arg_params=args)


def test_a_smoothed_network_goes_to_onnx() -> None:
    pytest.importorskip("onnxruntime")
    from tests.onnx_export.runtimes import in_onnxruntime

    symbol, args, data = with_outliers(added)
    model = mxquant.quantize(symbol, data, arg_params=args, target="onnx_qdq")
    assert SmoothQuant.name in model.plan.settings["steps"]
    expected = forward(symbol, args, {}, data=data)[0]
    assert sqnr(expected, in_onnxruntime(model.proto, data=data)[0]) > 35
