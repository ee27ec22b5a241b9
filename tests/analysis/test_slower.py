"""Layers that are slower in int8 are found at the ends of int8 chains, by timing the whole network."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant.analysis import slower
from mxquant.graph import Network
from mxquant.lowering.isa import detect
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, numpy_params
from tests.networks import conv, forward, images, random_params, relu

NAMES = ("c1", "c2", "c3", "fc")


def network() -> Tuple[Any, Dict[str, Any], Dict[str, Any], Any]:
    """Return three convolutions in a row and a FullyConnected."""
    x = mx.sym.var("data")
    for name in ("c1", "c2", "c3"):
        x = relu(conv(x, name))
    symbol = mx.sym.FullyConnected(x, num_hidden=4, name="fc")
    data = images(4, 3, 8, 8)
    return (symbol, *random_params(symbol, data=data.shape), data)


def quantize(**options: Any) -> Any:
    symbol, args, aux, data = network()
    params = {"arg_params": args, "aux_params": aux}
    return mxquant.quantize(symbol, data, accuracy="fast", never_slower=True, **params, **options)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, float]], List[List[str]]]:
    """Replace measuring: a network takes the milliseconds of each of its layers, float32 ones 1; return what it saw."""

    def replace(int8: Mapping[str, float]) -> List[List[str]]:
        seen: List[List[str]] = []

        def milliseconds(networks: List[Network]) -> List[float]:
            found = []
            for each in networks:
                quantized = [
                    name
                    for node in each.graph.operators
                    if node.attrs.get("quantized") == "True"
                    for name in inner(node)
                ]
                found.append(sum(int8.get(name, 0.5) if name in quantized else 1.0 for name in NAMES))
                seen.append([name for name in NAMES if name not in quantized])
            return found

        monkeypatch.setattr(slower, "bound", lambda network, inputs: network)
        monkeypatch.setattr(slower, "milliseconds", milliseconds)
        return seen

    return replace


def inner(node: Any) -> List[str]:
    return [n.name for graph in node.subgraphs for n in graph.operators]


def float32(model: Any) -> List[str]:
    return [name for name in NAMES if model.plan.layers[name].precision == "float32"]


def test_a_layer_inside_a_chain_is_not_tried(timed: Any) -> None:
    seen = timed({"c2": 9.0})
    assert float32(quantize()) == []
    assert seen and ["c2"] not in seen


def test_a_slow_layer_at_an_end_stays_float32_and_makes_its_neighbour_the_end(timed: Any) -> None:
    timed({"c1": 9.0, "c2": 9.0})
    model = quantize()
    assert float32(model) == ["c1", "c2"]
    assert model.plan.layers["c1"].reason == ("float32 is faster on this CPU: the network takes 11 ms instead of 19 ms")
    symbol, args, aux, data = network()
    expected, found = (forward(*net, data=data)[0] for net in ((symbol, args, aux), quantized(model)))
    assert 10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()) > 25


def quantized(model: Any) -> Any:
    return model.symbol, model.arg_params, model.aux_params


def test_what_is_within_the_noise_of_the_machine_does_not_count(timed: Any) -> None:
    timed({"c1": 1.03})
    assert float32(quantize()) == []


def test_no_layer_is_left_that_would_cost_another_conversion(timed: Any) -> None:
    timed({"fc": 9.0})
    assert float32(quantize()) == []


def test_layers_that_the_user_excludes_keep_their_reason(timed: Any) -> None:
    timed({"c1": 9.0, "c2": 9.0})
    layers = quantize(exclude_layers=["c1"]).plan.layers
    assert "excluded by name" in layers["c1"].reason
    assert "faster" in layers["c2"].reason


def test_real_networks_are_timed() -> None:
    symbol, args, aux, data = network()
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    int8 = Network(graph_of(model.symbol), numpy_params(model.arg_params))
    executor = slower.bound(int8, {"data": data})
    assert all(0 < milliseconds < 1000 for milliseconds in slower.milliseconds([executor, executor]))


def test_only_this_cpu_can_be_measured() -> None:
    other = "avx2" if detect() != "avx2" else "vnni"
    with pytest.raises(InputError, match=f"measures this CPU, which is '{detect()}', but isa is '{other}'"):
        quantize(isa=other)
