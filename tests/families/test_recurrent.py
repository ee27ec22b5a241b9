"""Recurrent networks: LSTM layers and unrolled cells run in int8, without what MXNet's int8 LSTM gets wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant._compat import mx
from mxquant.graph import Graph, Node, Tensor
from mxquant.lowering.isa import detect, saturates
from mxquant.mxnet_bridge import symbol_of
from tests.families.text_networks import TINY, Recurrent, Unrolled, initialized, tokens
from tests.networks import images, sqnr

IDS, OTHERS = tokens(TINY, 32, 8)[0], tokens(TINY, 8, 8, seed=7)[0]
STEPS, BATCH, WIDTH = 12, 4, 32


def level(net: Any, model: Any, ids: np.ndarray) -> float:
    """Return the SQNR of an int8 network on ids."""
    return sqnr(net(mx.nd.array(ids)).asnumpy(), model.as_block()(mx.nd.array(ids)).asnumpy())


@pytest.mark.parametrize("layers, both, accuracy", [(1, False, "fast"), (2, True, "balanced"), (3, False, "best")])
def test_an_lstm_and_what_is_around_it_run_in_int8(layers: int, both: bool, accuracy: str) -> None:
    net = initialized(Recurrent("LSTM", 128, layers, both, prefix="net_"))
    model = mxquant.quantize(net, IDS, accuracy=accuracy)
    recurrent = [layer for layer in model.plan.layers.values() if layer.op == "RNN"]
    assert [layer.precision for layer in recurrent] == ["int8"] * layers
    assert model.plan.layers["net_classes_fwd"].precision == "int8"
    assert level(net, model, OTHERS) >= 33
    # The zeros that the layer begins with follow the batch, and sequences may have another length.
    assert level(net, model, OTHERS[:3]) >= 33
    assert level(net, model, OTHERS[:, :5]) >= 33


@pytest.mark.parametrize(
    "kind, layers, both, accuracy", [("GRU", 1, False, "balanced"), ("RNN", 1, True, "fast"), ("GRU", 2, False, "fast")]
)
def test_other_recurrent_layers_stay_float32(kind: str, layers: int, both: bool, accuracy: str) -> None:
    net = initialized(Recurrent(kind, 32, layers, both, prefix="net_"))
    model = mxquant.quantize(net, IDS, accuracy=accuracy)
    (recurrent,) = (layer for layer in model.plan.layers.values() if layer.op == "RNN")
    assert recurrent.precision == "float32"
    assert recurrent.reason.startswith("MXNet's int8 recurrent layer is an LSTM, this one is")
    assert {model.plan.layers[name].precision for name in ("net_dense_fwd", "net_classes_fwd")} == {"int8"}
    assert level(net, model, OTHERS) >= 30
    # The zeros that the layer begins with follow the batch.
    assert level(net, model, OTHERS[:3]) >= 30


def test_an_int8_lstm_is_compared_layer_by_layer_and_found_again_in_a_file(tmp_path: Path) -> None:
    net = initialized(Recurrent("LSTM", 128, 2, True, prefix="net_"))
    model = mxquant.quantize(net, IDS)
    model.save(tmp_path / "net")
    loaded = mxquant.load(tmp_path / "net")
    compared = mxquant.compare(net, loaded, OTHERS)
    rows = {row.layer: row for row in compared.layers}
    # In the first layer data and state are rounded; what the second reads has the codes of that already.
    assert 28 < rows["net_layer_rnn0_layer0"].local < rows["net_layer_rnn0"].local
    assert compared.int8_macs > 0.95 and compared.outputs[0].int8_simulated > 60
    assert level(net, loaded, OTHERS) == level(net, model, OTHERS)


@pytest.mark.parametrize(
    "kind, accuracy", [("LSTMCell", "fast"), ("GRUCell", "fast"), ("RNNCell", "fast"), ("RNNCell", "balanced")]
)
def test_the_layers_of_unrolled_cells_run_in_int8(kind: str, accuracy: str) -> None:
    net = initialized(Unrolled(kind, prefix="net_"))
    model = mxquant.quantize(net, IDS, accuracy=accuracy)
    cells = [layer for layer in model.plan.layers.values() if layer.op == "FullyConnected"]
    assert len(cells) == 2 * 8 + 1 and all(layer.precision == "int8" for layer in cells)
    # The error of one step is in the state of the next.
    assert level(net, model, OTHERS) >= 28


def test_the_simulation_of_unrolled_cells_is_what_runs_here() -> None:
    net = initialized(Unrolled("LSTMCell", prefix="net_"))
    plan = mxquant.make_plan(net, mxquant.calibrate(net, IDS))
    real, simulated = (mxquant.lower(net, plan, target=target).as_block() for target in (None, "simulate"))
    assert sqnr(*(block(mx.nd.array(OTHERS)).asnumpy() for block in (real, simulated))) > 45


def lstm(layers: int, second: float = 1.0, seed: int = 0) -> Tuple[np.ndarray, List[np.ndarray]]:
    """Return data and parameters of an LSTM; the weights of its second layer are `second` times as large."""
    rng = np.random.RandomState(seed)
    weights = [rng.uniform(-1, 1, 8 * WIDTH * WIDTH) * factor for factor in (1.0, second)[:layers]]
    parameters = np.concatenate([*weights, np.zeros(8 * WIDTH * layers)]) / np.sqrt(WIDTH)
    zeros = np.zeros((layers, BATCH, WIDTH), np.float32)
    return images(STEPS, BATCH, WIDTH), [parameters.astype(np.float32), zeros, zeros]


def both_lstms(layers: int, second: float = 1.0) -> Tuple[np.ndarray, np.ndarray, float]:
    """Return what MXNet's LSTM makes in fp32 and in int8, and the step of the codes of its data."""
    data, rest = lstm(layers, second)
    attrs = {"mode": "lstm", "state_size": str(WIDTH), "num_layers": str(layers)}
    low, high = float(data.min()), float(data.max())
    names = ("data", "parameters", "state", "cell")
    variables = [Node("null", name) for name in names]
    codes = Node(
        *("_contrib_quantize_asym", "codes", {"min_calib_range": repr(low), "max_calib_range": repr(high)}),
        *([variables[0].output], 3),
    )
    inputs = [codes.output, *(each.output for each in variables[1:]), Tensor(codes, 1), Tensor(codes, 2)]
    int8 = Node("_contrib_quantized_rnn", "rnn", attrs, inputs)
    fp32 = Node("RNN", "rnn", attrs, [each.output for each in variables])
    values = {name: mx.nd.array(value) for name, value in zip(names, [data, *rest])}
    results = []
    for node, before in ((fp32, []), (int8, [codes])):
        graph = Graph([*variables, *before, node], [node.output], {"attrs": {"mxnet_version": ["int", 10901]}})
        results.append(symbol_of(graph).bind(mx.cpu(), values, grad_req="null").forward()[0].asnumpy())
    return results[0], results[1], (high - low) / 255


def test_mxnets_int8_lstm_returns_codes_of_its_data() -> None:
    fp32, int8, step = both_lstms(1)
    codes = int8 / step
    # Whole numbers but for one offset: what the shift of the data leaves.
    np.testing.assert_allclose((codes - codes.flat[0]) - np.rint(codes - codes.flat[0]), 0, atol=1e-3)
    assert len(np.unique(np.rint(codes - codes.flat[0]))) < 64
    assert sqnr(fp32, int8) < 25


def test_mxnets_int8_lstm_scales_the_weights_of_all_layers_by_the_first() -> None:
    fp32, int8, _ = both_lstms(2, second=8.0)
    assert sqnr(fp32, int8) < 12


@pytest.mark.skipif(not saturates(detect()), reason="this CPU adds products in int32")
def test_mxnets_int8_lstm_saturates_without_vnni() -> None:
    fp32, int8, step = both_lstms(1)
    # Codes of the data explain an error of step² / 12 in each value.
    assert np.square(fp32 - int8).mean() > 2 * step**2 / 12
