"""An LSTM of several layers becomes one LSTM for each; the results are the same."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np
import pytest

import mxquant
from mxquant.graph.passes import Canonical, canonicalize
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from tests.networks import dense, forward, images, network_of, random_params, sqnr

STEPS, BATCH, WIDTH, UNITS = 5, 3, 6, 8


def lstm(layers: int = 2, both: bool = False, states: Optional[list] = None, **attrs: Any) -> Any:
    given = {"mode": "lstm", "num_layers": layers, "bidirectional": both, "state_outputs": True, **attrs}
    if states is None:
        states = [mx.sym.zeros((layers * (1 + both), 0, UNITS)) for _ in range(2)]
    return mx.sym.RNN(mx.sym.var("data"), mx.sym.var("vector"), *states, state_size=UNITS, name="rnn", **given)


def made(symbol: Any, data: Dict[str, np.ndarray]) -> Any:
    args, aux = random_params(symbol, **{name: value.shape for name, value in data.items()})
    return canonicalize(network_of(symbol, args, aux)), args, aux


def layers_of(found: Canonical) -> list:
    return [node for node in found.network.graph.operators if node.op == "RNN"]


@pytest.mark.parametrize("read", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("fed", [False, True])
def test_the_layers_compute_the_same(read: Any, both: bool, fed: bool) -> None:
    data = {"data": images(STEPS, BATCH, WIDTH)}
    if fed:
        shape = (3 * (1 + both), BATCH, UNITS)
        data.update(state=images(*shape, seed=2), cell=images(*shape, seed=3))
    states = [mx.sym.var("state"), mx.sym.var("cell")] if fed else None
    whole = lstm(3, both, states)
    symbol = mx.sym.Group([whole[index] for index in read])
    found, args, aux = made(symbol, data)
    assert [node.attrs["num_layers"] for node in layers_of(found)] == ["1"] * 3
    assert [tensor.name for tensor in found.network.graph.outputs] == symbol.list_outputs()
    for expected, result in zip(forward(symbol, args, aux, **data), outputs(found.network, data)):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_the_last_layer_keeps_the_name_and_every_layer_answers_to_it() -> None:
    found, *_ = made(lstm(3)[0], {"data": images(STEPS, BATCH, WIDTH)})
    assert [node.name for node in layers_of(found)] == ["rnn_layer0", "rnn_layer1", "rnn"]
    assert found.aliases["rnn"] == {"rnn_layer0", "rnn_layer1", "rnn"}


def test_what_is_excluded_by_the_name_of_the_whole_is_excluded_in_every_layer() -> None:
    symbol = dense(mx.sym.mean(lstm(2)[0], axis=0), "fc")
    data = images(STEPS, BATCH, WIDTH)
    args, aux = random_params(symbol, data=data.shape)
    # A plan for CPUs that have MXNet's int8 LSTM can be made on any.
    options = {"arg_params": args, "aux_params": aux, "mode": "full", "isa": "avx512"}
    plans = [mxquant.quantize(symbol, data, exclude_layers=names, **options).plan for names in ((), ("rnn",))]
    assert [plan.layers["rnn_layer0"].precision for plan in plans] == ["int8", "float32"]
    assert [plan.layers["rnn"].precision for plan in plans] == ["int8", "float32"]


@pytest.mark.parametrize(
    "attrs, reason",
    [({"projection_size": 4}, "projected"), ({"use_sequence_length": True, "sequence_length": True}, "lengths")],
)
def test_what_cannot_be_split_stays(attrs: Dict[str, Any], reason: str) -> None:
    if "sequence_length" in attrs:
        attrs = {**attrs, "sequence_length": mx.sym.var("lengths")}
    found = canonicalize(network_of(lstm(2, **attrs)[0], {"vector": mx.nd.zeros((1,))}, {}))
    assert [node.attrs["num_layers"] for node in layers_of(found)] == ["2"]
    (refusal,) = found.refusals
    assert refusal.layer == "rnn" and reason in refusal.reason


def test_parameters_that_do_not_fit_or_are_fed_are_refused() -> None:
    for params, reason in (({"vector": mx.nd.zeros((101,))}, "do not fit"), ({}, "no fixed value")):
        (refusal,) = canonicalize(network_of(lstm(2)[0], params, {})).refusals
        assert reason in refusal.reason


@pytest.mark.parametrize("mode, layers", [("gru", 2), ("rnn_tanh", 2), ("lstm", 1)])
def test_other_recurrent_layers_stay_as_they_are(mode: str, layers: int) -> None:
    states = [mx.sym.zeros((layers, 0, UNITS)) for _ in range(1 + (mode == "lstm"))]
    found, *_ = made(lstm(layers, states=states, mode=mode)[0], {"data": images(STEPS, BATCH, WIDTH)})
    assert [node.attrs["num_layers"] for node in layers_of(found)] == [str(layers)]
    assert not found.aliases and not found.refusals


def test_a_fed_state_that_others_read_too_stays_whole() -> None:
    state = mx.sym.var("state")
    symbol = mx.sym.Group([lstm(2, states=[state, mx.sym.var("cell")])[0], mx.sym.sum(state)])
    data = {"data": images(STEPS, BATCH, WIDTH)}
    data.update(state=images(2, BATCH, UNITS, seed=2), cell=images(2, BATCH, UNITS, seed=3))
    found, args, aux = made(symbol, data)
    results = outputs(found.network, data)
    assert all(sqnr(a, b) > 100 for a, b in zip(forward(symbol, args, aux, **data), results))
