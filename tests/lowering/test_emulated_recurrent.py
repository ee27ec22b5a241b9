"""What stands for MXNet's int8 LSTM in the simulation computes its codes."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant import RecurrentPlan
from mxquant.graph import Node
from mxquant.graph.packed_recurrent import Direction, pack, unpack
from mxquant.lowering import simulate
from mxquant.lowering.emulated_recurrent import attributes, emulate
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.lowering.int8_lstm import (
    BATCH,
    STEPS,
    UNITS,
    WIDTH,
    Run,
    in_int8,
    lstm,
    needs_int8_lstm,
    parameters,
    runner,
    states,
)
from tests.networks import forward, images, sqnr

PLAN = RecurrentPlan(-3.0, 3.0, 0.6)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """What runs int8 LSTM layers: here, or in a process of a level that has the operator."""
    with runner() as found:
        yield found


def emulated(node: Node, plan: RecurrentPlan, vector: np.ndarray, data: Dict[str, np.ndarray]) -> List[np.ndarray]:
    return list(emulate(node, plan, data["data"], vector, [data["state"], data["cell"]]))


def in_a_network(node: Node, plan: RecurrentPlan, vector: np.ndarray, data: Dict[str, np.ndarray]) -> List[np.ndarray]:
    """Return what the operator of the simulation makes; it begins with zeros where the data have no states."""
    zeros = {name: mx.sym.zeros((1, 0, UNITS)) for name in ("state", "cell") if name not in data}
    inputs = [zeros.get(name, mx.sym.var(name)) for name in ("data", "vector", "state", "cell")]
    symbol = mx.sym.Custom(*inputs, **attributes(node, plan))
    return forward(symbol, {"vector": mx.nd.array(vector)}, {}, **data)


# Data and states beyond their ranges are clipped, and so are most results where the largest state is 0.1.
@pytest.mark.parametrize("beyond", [1.0, 1.5])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(
    "plan",
    [PLAN, RecurrentPlan(0.0, 3.0, 0.6), RecurrentPlan(-0.2, 3.0, 0.1), RecurrentPlan(-3e-9, 2e-9, 0.6)],
    ids=["-3 to 3", "0 to 3", "-0.2 to 3", "tiny"],
)
def test_all_results_are_those_of_the_operator(plan: RecurrentPlan, both: bool, beyond: float, run: Run) -> None:
    node, vector, low, high = lstm(both), parameters(both, of_data=3 / plan.largest), plan.lowest, plan.largest
    values = np.random.RandomState(3).uniform(beyond * low, beyond * high, (STEPS, BATCH, WIDTH))
    data = {"data": values.astype(np.float32), **states(both)}
    data["state"] *= 4 * beyond
    expected, found = in_int8(run, node, vector, data, plan, [0, 1, 2]), emulated(node, plan, vector, data)
    assert [each.shape for each in found] == [each.shape for each in expected]
    assert {each.dtype for each in found} == {np.dtype(np.float32)}
    # A sum just at the half of a code may fall to either side, and moves what follows.
    for one, other in zip(expected[:2], found):
        assert np.mean(np.abs(one - other) * plan.state_scale < 1e-3) > 0.995
    assert sqnr(expected[2], found[2]) > 60


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 20), st.integers(1, 6), st.integers(1, 4)),
    both=st.booleans(),
    magnitudes=st.tuples(st.floats(-3, 0.5), st.floats(-8, 8)),
    ends=st.tuples(st.floats(-1, 0), st.floats(0.1, 1)),
    seed=st.integers(0, 1000),
)
def test_so_are_those_of_random_layers(run: Run, sizes: Any, both: bool, magnitudes: Any, ends: Any, seed: int) -> None:
    (units, width, steps, batch), rng, ways = sizes, np.random.RandomState(seed), 1 + both
    gain, largest = 10 ** magnitudes[0] / np.sqrt(units), 10 ** magnitudes[1]
    shapes = ((4 * units, width), (4 * units, units))
    draws = [[gain * rng.randn(*shape) for shape in shapes] for _ in range(ways)]
    vector = pack([[Direction(a / largest, b, *rng.randn(2, 4 * units)) for a, b in draws]])
    node, plan = lstm(both), RecurrentPlan(largest * ends[0], largest * ends[1], 1.0)
    node.attrs["state_size"] = str(units)
    data = {
        "data": rng.uniform(largest * ends[0], largest * ends[1], (steps, batch, width)).astype(np.float32),
        "state": rng.uniform(-2, 2, (ways, batch, units)).astype(np.float32),
        "cell": rng.randn(ways, batch, units).astype(np.float32),
    }
    for one, other in zip(in_int8(run, node, vector, data, plan, [0, 1]), emulated(node, plan, vector, data)):
        away = np.abs(one - other) * plan.state_scale
        assert np.mean(away < 1e-2) > 0.98 or (away > 1e-2).sum() <= 2


@pytest.mark.parametrize("both", [False, True])
def test_in_a_network_it_is_the_same(both: bool) -> None:
    node, vector = lstm(both), parameters(both)
    data = {"data": images(STEPS, BATCH, WIDTH), **states(both)}
    for one, other in zip(in_a_network(node, PLAN, vector, data), emulated(node, PLAN, vector, data)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("steps, batch", [(STEPS, BATCH), (1, 1), (3, 7)])
def test_zeros_to_begin_with_follow_the_batch(steps: int, batch: int) -> None:
    node, vector, data = lstm(), parameters(), images(steps, batch, WIDTH)
    zeros = {name: np.zeros((1, batch, UNITS), np.float32) for name in ("state", "cell")}
    expected = emulated(node, PLAN, vector, {"data": data, **zeros})
    for one, other in zip(in_a_network(node, PLAN, vector, {"data": data}), expected):
        np.testing.assert_array_equal(one, other)


def test_the_second_direction_reads_backwards() -> None:
    node, vector = lstm(both=True), parameters(both=True)
    data = {"data": images(STEPS, BATCH, WIDTH), **states(both=True)}
    found = emulated(node, PLAN, vector, data)
    # Data and states the other way round, and the weights of the two exchanged.
    turned = pack([unpack(node, vector)[0][::-1]])
    other = emulated(node, PLAN, turned, {name: value[::-1] for name, value in data.items()})
    halves = np.split(found[0], 2, axis=2)
    np.testing.assert_array_equal(other[0][::-1], np.concatenate(halves[::-1], axis=2))
    for one, mirrored in zip(found[1:], other[1:]):
        np.testing.assert_array_equal(mirrored[::-1], one)


@pytest.mark.parametrize("read", [[0], [1], [2], [0, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("fed", [False, True])
def test_the_simulation_is_the_same_with_it(
    read: List[int], fed: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"data": images(STEPS, BATCH, WIDTH), **(states() if fed else {})}
    begin = [mx.sym.var(name) if fed else mx.sym.zeros((1, 0, UNITS)) for name in ("state", "cell")]
    attrs = {"mode": "lstm", "state_size": UNITS, "num_layers": 1, "state_outputs": True, "name": "rnn"}
    whole = mx.sym.RNN(mx.sym.var("data"), mx.sym.var("vector"), *begin, **attrs)
    symbol = mx.sym.Group([whole[index] for index in read])
    options = {"arg_params": {"vector": mx.nd.array(parameters())}, "data_names": list(data)}
    model = mxquant.quantize(symbol, [tuple(data.values())], accuracy="fast", isa="avx512", **options)
    assert model.plan.layers["rnn"].precision == "int8"
    expected = run(model.symbol, model.arg_params, model.aux_params, **data)
    monkeypatch.setattr(simulate, "lstm_failure", lambda: "there is none")
    simulated = mxquant.lower(symbol, model.plan, target="simulate", **options)
    assert "Custom" in {node.op for node in graph_of(simulated.symbol).operators}
    found = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, **data)
    assert min(map(sqnr, expected, found)) > 40


@needs_int8_lstm
def test_where_the_operator_runs_the_simulation_has_the_operator() -> None:
    symbol = mx.sym.RNN(
        *(mx.sym.var("data"), mx.sym.var("vector"), mx.sym.zeros((1, 0, UNITS)), mx.sym.zeros((1, 0, UNITS))),
        **{"mode": "lstm", "state_size": UNITS, "num_layers": 1, "name": "rnn"},
    )
    options = {"arg_params": {"vector": mx.nd.array(parameters())}, "data_names": ["data"]}
    data = images(STEPS, BATCH, WIDTH)
    plan = mxquant.quantize(symbol, data, accuracy="fast", **options).plan
    simulated = mxquant.lower(symbol, plan, target="simulate", **options)
    found = {node.op for node in graph_of(simulated.symbol).operators}
    assert "_contrib_quantized_rnn" in found and "Custom" not in found
