"""An int8 LSTM takes a quarter of the space in a compact file, and computes what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

import mxquant
from mxquant import InputError, quantized_model
from mxquant.graph import Node
from mxquant.graph.packed_recurrent import Direction, pack, unpack
from mxquant.lowering import level_warnings
from mxquant.model.compact_recurrent import recurrent_parts, recurrent_vector
from mxquant.runtime.mxnet import mx
from tests.families.text_networks import TINY, Recurrent, initialized, tokens
from tests.lowering.int8_lstm import needs_int8_lstm, runner

UNITS, INPUTS = 6, 5
IDS = tokens(TINY, 16, 8)[0]


def lstm(both: bool = False) -> Node:
    attrs = {"mode": "lstm", "state_size": str(UNITS), "num_layers": "1", "bidirectional": str(both)}
    return Node("_contrib_quantized_rnn", "rnn", attrs)


def parameters(both: bool, seed: int, magnitude: float = 1.0) -> np.ndarray:
    rng = np.random.RandomState(seed)
    draws = [
        Direction(
            magnitude * rng.randn(4 * UNITS, INPUTS), magnitude * rng.randn(4 * UNITS, UNITS), *rng.randn(2, 4 * UNITS)
        )
        for _ in range(1 + both)
    ]
    draws[0].of_data[2] = draws[0].of_state[2] = 0
    return pack([draws])


def rounded(vector: np.ndarray, both: bool) -> np.ndarray:
    """Return the codes of all weights, by the scales of both directions together."""
    (directions,) = unpack(lstm(both), vector)
    rows = np.concatenate([np.concatenate([each.of_data, each.of_state], axis=1) for each in directions], axis=1)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return np.rint(rows * (np.float32(127) / np.where(largest > 0, largest, np.float32(1))))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 3e8])
def test_the_same_codes_and_biases_come_out(both: bool, magnitude: float) -> None:
    for seed in range(20):
        vector = parameters(both, seed, magnitude)
        parts = recurrent_parts(lstm(both), vector)
        assert parts["codes"].dtype == np.int8 and parts["codes"].size + parts["biases"].size == vector.size
        found = recurrent_vector("rnn", **parts)
        assert (found.dtype, found.shape) == (vector.dtype, vector.shape)
        np.testing.assert_array_equal(rounded(found, both), rounded(vector, both))
        np.testing.assert_array_equal(found[-parts["biases"].size :], vector[-parts["biases"].size :])


@pytest.fixture(scope="module")
def quantized() -> Any:
    net = initialized(Recurrent("LSTM", 256, 2, True, prefix="net_"))
    # A plan for CPUs that have MXNet's int8 LSTM; made, saved and read on any.
    return net, mxquant.quantize(net, IDS, accuracy="fast", isa="avx512")


def test_the_network_is_the_same_in_a_third_of_the_space(
    quantized: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Read, not run, so as on a CPU that has the operator.
    for module in (quantized_model, level_warnings):
        monkeypatch.setattr(module, "lstm_failure", lambda: None)
    _, model = quantized
    sizes = {}
    for name, compact in (("plain", False), ("compact", True)):
        model.save(tmp_path / name, compact=compact)
        sizes[name] = (tmp_path / f"{name}-0000.params").stat().st_size
    assert sizes["compact"] < 0.33 * sizes["plain"]
    loaded = mxquant.load(tmp_path / "compact")
    with runner() as run:
        found = [run(each.symbol, each.arg_params, each.aux_params, data=IDS)[0] for each in (model, loaded)]
    np.testing.assert_array_equal(*found)


@needs_int8_lstm
def test_a_compact_network_is_its_simulation(quantized: Any, tmp_path: Path) -> None:
    net, model = quantized
    model.save(tmp_path / "compact", compact=True)
    loaded = mxquant.load(tmp_path / "compact")
    np.testing.assert_array_equal(*(each.as_block()(mx.nd.array(IDS)).asnumpy() for each in (model, loaded)))
    assert mxquant.compare(net, loaded, IDS).outputs[0].int8_simulated > 60


@pytest.mark.parametrize(
    "changes",
    [
        {"biases": np.zeros(7, np.float32)},
        {"biases": np.zeros(8 * UNITS, np.float64)},
        {"biases": np.zeros(3 * 8 * UNITS, np.float32)},
        {"codes": np.zeros((4 * UNITS, UNITS), np.int8)},
        {"codes": np.zeros((4 * UNITS + 1, 11), np.int8), "largest": np.ones(4 * UNITS + 1, np.float32)},
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: Dict[str, Any]) -> None:
    parts = {**recurrent_parts(lstm(), parameters(False, 0)), **changes}
    with pytest.raises(InputError, match="the parts of 'rnn' are no LSTM"):
        recurrent_vector("rnn", **parts)
