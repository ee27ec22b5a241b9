"""Recurrent networks: LSTM layers and unrolled cells run in int8, without what MXNet's int8 LSTM gets wrong.

Where MXNet's int8 LSTM does not run, such layers stay float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.graph import Graph, Node, Tensor
from mxquant.lowering.isa import PORTABLE, detect, saturates
from mxquant.lowering.trial import lstm_failure, no_lstm
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import symbol_of
from tests.families.text_networks import TINY, Recurrent, Unrolled, initialized, tokens
from tests.lowering.int8_lstm import Run, needs_int8_lstm, runner
from tests.networks import images, sqnr

IDS, OTHERS = tokens(TINY, 32, 8)[0], tokens(TINY, 8, 8, seed=7)[0]
STEPS, BATCH, WIDTH = 12, 4, 32
# A plan for CPUs that have MXNet's int8 LSTM can be made, and simulated, on any.
ISA = "avx512"


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """What runs int8 LSTM layers: here, or in a process of a level that has the operator."""
    with runner() as found:
        yield found


def level(net: Any, model: Any, ids: np.ndarray) -> float:
    """Return the SQNR of an int8 network on ids."""
    return sqnr(net(mx.nd.array(ids)).asnumpy(), model.as_block()(mx.nd.array(ids)).asnumpy())


@pytest.mark.parametrize("layers, both, accuracy", [(1, False, "fast"), (2, True, "balanced"), (3, False, "best")])
def test_an_lstm_and_what_is_around_it_run_in_int8(layers: int, both: bool, accuracy: str, run: Run) -> None:
    net = initialized(Recurrent("LSTM", 128, layers, both, prefix="net_"))
    model = mxquant.quantize(net, IDS, accuracy=accuracy, isa=ISA)
    recurrent = [layer for layer in model.plan.layers.values() if layer.op == "RNN"]
    assert [layer.precision for layer in recurrent] == ["int8"] * layers
    assert model.plan.layers["net_classes_fwd"].precision == "int8"
    # The zeros that the layer begins with follow the batch, and sequences may have another length.
    for ids in (OTHERS, OTHERS[:3], OTHERS[:, :5]):
        (found,) = run(model.symbol, model.arg_params, model.aux_params, data=ids)
        assert sqnr(net(mx.nd.array(ids)).asnumpy(), found) >= 33


@pytest.mark.parametrize("isa", [None, PORTABLE])
@pytest.mark.parametrize("accuracy", ["fast", "balanced", "best"])
def test_gluons_lstm_runs_on_this_cpu_in_int8_or_the_plan_says_why_not(accuracy: str, isa: Any) -> None:
    net = mx.gluon.rnn.LSTM(256, input_size=64, layout="NTC", prefix="net_")
    net.initialize(mx.init.Uniform(1 / 16))
    calibrated, others = images(16, STEPS, 64), images(5, STEPS - 3, 64, seed=2)
    model = mxquant.quantize(net, calibrated, accuracy=accuracy, isa=isa)
    (layer,) = (layer for layer in model.plan.layers.values() if layer.op == "RNN")
    why = no_lstm(isa or detect())
    if why is None:
        assert layer.precision == "int8"
    else:
        assert (layer.precision, layer.reason) == ("float32", why)
        assert "it stays float32, its parameters joined once" in layer.reason
    assert level(net, model, others) > (30 if why is None else 100)


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


def test_an_int8_lstm_is_compared_layer_by_layer_and_its_simulation_is_what_runs(run: Run) -> None:
    net = initialized(Recurrent("LSTM", 128, 2, True, prefix="net_"))
    statistics = mxquant.calibrate(net, IDS)
    plan = mxquant.make_plan(net, statistics, isa=ISA)
    compared = mxquant.compare(net, plan, OTHERS)
    rows = {row.layer: row for row in compared.layers}
    # In the first layer data and state are rounded; what the second reads has the codes of that already.
    assert 28 < rows["net_layer_rnn0_layer0"].local < rows["net_layer_rnn0"].local
    assert compared.int8_macs > 0.95
    model, simulated = (mxquant.lower(net, plan, target=target, statistics=statistics) for target in (None, "simulate"))
    (found,) = run(model.symbol, model.arg_params, model.aux_params, data=OTHERS)
    assert sqnr(found, simulated.as_block()(mx.nd.array(OTHERS)).asnumpy()) > 45


@needs_int8_lstm
def test_it_is_found_again_in_a_file_and_is_its_simulation(tmp_path: Path) -> None:
    net = initialized(Recurrent("LSTM", 128, 2, True, prefix="net_"))
    model = mxquant.quantize(net, IDS)
    model.save(tmp_path / "net")
    loaded = mxquant.load(tmp_path / "net")
    assert mxquant.compare(net, loaded, OTHERS).outputs[0].int8_simulated > 60
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


def both_lstms(run: Run, layers: int, second: float = 1.0) -> Tuple[np.ndarray, np.ndarray, float]:
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
    values = dict(zip(names, [data, *rest]))
    results = []
    for node, before in ((fp32, []), (int8, [codes])):
        graph = Graph([*variables, *before, node], [node.output], {"attrs": {"mxnet_version": ["int", 10901]}})
        results += run(symbol_of(graph), {}, {}, **values)
    return results[0], results[1], (high - low) / 255


def test_mxnets_int8_lstm_returns_codes_of_its_data(run: Run) -> None:
    fp32, int8, step = both_lstms(run, 1)
    codes = int8 / step
    # Whole numbers but for one offset: what the shift of the data leaves.
    np.testing.assert_allclose((codes - codes.flat[0]) - np.rint(codes - codes.flat[0]), 0, atol=1e-3)
    assert len(np.unique(np.rint(codes - codes.flat[0]))) < 64
    assert sqnr(fp32, int8) < 25


def test_mxnets_int8_lstm_scales_the_weights_of_all_layers_by_the_first(run: Run) -> None:
    fp32, int8, _ = both_lstms(run, 2, second=8.0)
    assert sqnr(fp32, int8) < 12


@pytest.mark.skipif(lstm_failure() is None and not saturates(detect()), reason="this CPU adds products in int32")
def test_mxnets_int8_lstm_saturates_without_vnni(run: Run) -> None:
    fp32, int8, step = both_lstms(run, 1)
    # Codes of the data explain an error of step² / 12 in each value.
    assert np.square(fp32 - int8).mean() > 2 * step**2 / 12
