"""On a GPU the layers of an LSTM are one operator, as in the user's network."""

from __future__ import annotations

from typing import Any, Tuple

import pytest

import mxquant
from mxquant.graph import Network
from mxquant.graph.passes import canonicalize
from mxquant.lowering.whole_recurrent import join_recurrent
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import dense, forward, images, network_of, random_params, sqnr

STEPS, BATCH, WIDTH, UNITS = 5, 3, 6, 8


def lstm(layers: int, both: bool = False, data: Any = None, name: str = "rnn") -> Any:
    zeros = [mx.sym.zeros((layers * (1 + both), 0, UNITS)) for _ in range(2)]
    attrs = {"mode": "lstm", "state_size": UNITS, "num_layers": layers, "bidirectional": both, "state_outputs": True}
    data = mx.sym.var("data") if data is None else data
    return mx.sym.RNN(data, mx.sym.var(f"{name}_vector"), *zeros, name=name, **attrs)


def both_forms(symbol: Any) -> Tuple[Network, Network]:
    args, aux = random_params(symbol, data=(STEPS, BATCH, WIDTH))
    split = canonicalize(network_of(symbol, args, aux)).network
    return split, join_recurrent(split)


def layers_of(network: Network) -> list:
    return [node.attrs["num_layers"] for node in network.graph.operators if node.op == "RNN"]


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [2, 4])
def test_the_whole_computes_the_same_and_knows_its_layers(layers: int, both: bool) -> None:
    split, joined = both_forms(lstm(layers, both)[0])
    assert (layers_of(split), layers_of(joined)) == (["1"] * layers, [str(layers)])
    data = {"data": images(STEPS, BATCH, WIDTH)}
    assert sqnr(outputs(split, data)[0], outputs(joined, data)[0]) > 120
    (node,) = (node for node in joined.graph.operators if node.op == "RNN")
    assert node.layers == (*(f"rnn_layer{n}" for n in range(layers - 1)), "rnn")
    known = {layer for node in joined.graph.operators for layer in node.layers}
    assert known == {layer for node in split.graph.operators for layer in node.layers}


def test_layers_whose_states_are_read_stay_apart() -> None:
    assert layers_of(both_forms(lstm(2)[1])[1]) == ["1", "1"]


def test_two_lstms_of_the_users_stay_two() -> None:
    first = lstm(2, name="first")[0]
    assert layers_of(both_forms(lstm(2, data=first, name="second")[0])[1]) == ["2", "2"]


def test_a_network_without_any_is_left_alone() -> None:
    split, joined = both_forms(lstm(1)[0])
    assert joined is split


def test_a_network_for_gpus_has_the_lstm_of_the_users() -> None:
    symbol = dense(mx.sym.mean(lstm(2, both=True)[0], axis=0), "fc")
    data = images(STEPS, BATCH, WIDTH)
    args, aux = random_params(symbol, data=data.shape)
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, target="cudnn", **params)
    (node,) = (node for node in graph_of(model.symbol).operators if node.op == "RNN")
    assert node.attrs["num_layers"] == "2"
    assert model.plan.layers["rnn_layer0"].contains == ("rnn_layer0", "rnn")
    simulated = mxquant.lower(symbol, model.plan, target="simulate", **params)
    (expected,) = forward(symbol, args, aux, data=data)
    (result,) = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=data)
    assert sqnr(expected, result) > 30


@pytest.mark.parametrize("mode, units", [("lstm", 5), ("gru", UNITS)])
def test_another_layer_whose_name_is_that_of_a_part_stays_itself(mode: str, units: int) -> None:
    zeros = [mx.sym.zeros((1, 0, units)) for _ in range(1 + (mode == "lstm"))]
    attrs = {"mode": mode, "state_size": units, "num_layers": 1, "state_outputs": True}
    other = mx.sym.RNN(mx.sym.var("data"), mx.sym.var("vector"), *zeros, name="rnn_layer7", **attrs)[0]
    split, joined = both_forms(lstm(1, data=other)[0])
    assert layers_of(joined) == ["1", "1"]
    data = {"data": images(STEPS, BATCH, WIDTH)}
    assert sqnr(outputs(split, data)[0], outputs(joined, data)[0]) > 120
