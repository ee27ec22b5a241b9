"""The int8 LSTM computes in the codes of its plan, to the last one, whatever its data and weights."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant import PlanError, RecurrentPlan
from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.graph.packed_recurrent import Direction, pack, unpack
from mxquant.lowering.onednn_operators import describe
from mxquant.lowering.recurrent import AddRecurrent, original_parameters
from mxquant.lowering.trial import lstm_failure
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from tests.levels import available
from tests.lowering.int8_lstm import (
    BATCH,
    LEVELS,
    STEPS,
    UNITS,
    WIDTH,
    Nodes,
    Process,
    Run,
    in_int8,
    lstm,
    needs_int8_lstm,
    parameters,
    runner,
    states,
)
from tests.networks import forward, images, network_of, sqnr

# A plan for CPUs that have the operator can be made, and simulated, on any.
ISA = "avx512"


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """What runs int8 LSTM layers: here, or in a process of a level that has the operator."""
    with runner() as found:
        yield found


@pytest.fixture(scope="module", params=LEVELS)
def run_at_level(request: Any) -> Iterator[Run]:
    """What runs them at each level that has the operator."""
    if request.param not in available():
        pytest.skip(f"this CPU has no level '{request.param}'")
    with Process(request.param) as process:
        yield process.forward


def real(node: Node, vector: np.ndarray, data: Mapping[str, np.ndarray]) -> list:
    copy = Node(node.op, node.name, node.attrs, node.inputs, 3)
    results = [Tensor(copy, index) for index in range(3)]
    graph = Graph([*(t.node for t in node.inputs), copy], results, {"attrs": {"mxnet_version": ["int", 10901]}})
    return outputs(Network(graph, {"vector": vector}), data)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def emulated(node: Node, vector: np.ndarray, data: Mapping[str, np.ndarray], plan: RecurrentPlan) -> np.ndarray:
    """Return the codes of the state at each step, shape (steps, batch, units), by the arithmetic of whole numbers."""
    ((direction,),) = unpack(node, vector)
    factor = plan.state_scale / plan.data_scale
    of_data = direction.of_data * np.float32(factor)
    largest = np.abs(np.concatenate([of_data, direction.of_state], axis=1)).max(axis=1).astype(np.float64)
    steps = np.where(largest > 0, largest, 1) / 127
    of_data, of_state = (np.rint(each / steps[:, None]) for each in (of_data, direction.of_state))
    codes = np.clip(np.rint(data["data"] * plan.data_scale + plan.data_zero), 0, 128) - plan.data_zero
    begin = data["state"][0].clip(-plan.state, plan.state)
    state, cell = np.rint(begin * plan.state_scale), data["cell"][0].astype(np.float64)
    results = []
    for step in codes:
        sums = (step @ of_data.T + state @ of_state.T) * steps / plan.state_scale
        gate, forget, value, out = np.split(sums + direction.bias_of_data + direction.bias_of_state, 4, axis=1)
        cell = sigmoid(forget) * cell + sigmoid(gate) * np.tanh(value)
        state = np.clip(np.rint(sigmoid(out) * np.tanh(cell) * plan.state_scale), -64, 255 - 64)
        results.append(state)
    return np.array(results)


@pytest.mark.parametrize(
    "low, high", [(-3.0, 3.0), (0.0, 3.0), (-0.2, 3.0), (-300.0, 300.0), (-1e30, 1e30), (-3e-9, 2e-9)], ids=str
)
def test_each_code_of_the_state_is_right_at_every_level(low: float, high: float, run_at_level: Run) -> None:
    node, plan = lstm(), RecurrentPlan(low, high, 0.6)
    vector = parameters(of_data=3 / high)
    data = {"data": np.random.RandomState(3).uniform(low, high, (STEPS, BATCH, WIDTH)).astype(np.float32), **states()}
    (result,) = in_int8(run_at_level, node, vector, data, plan, [0])
    codes = result * plan.state_scale
    # A sum just at the half of a code may fall to either side, and moves what follows.
    assert np.mean(np.abs(codes - emulated(node, vector, data, plan)) < 1e-3) > 0.995


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 7), st.integers(1, 4)),
    kind=st.sampled_from(["normal", "signs", "sparse", "ones", "zeros"]),
    magnitudes=st.tuples(st.floats(-6, 0.5), st.floats(-8, 8)),
    ends=st.tuples(st.floats(-1, 0), st.floats(0.1, 1)),
    seed=st.integers(0, 1000),
)
def test_random_layers_have_the_right_codes(
    run: Run, sizes: Any, kind: str, magnitudes: Any, ends: Any, seed: int
) -> None:
    (units, width, steps, batch), rng = sizes, np.random.RandomState(seed)
    gain, largest = 10 ** magnitudes[0] / np.sqrt(units), 10 ** magnitudes[1]
    draw = {
        "normal": rng.randn,
        "signs": lambda *shape: np.sign(rng.randn(*shape)),
        "sparse": lambda *shape: np.where(rng.rand(*shape) < 0.9, 0, rng.randn(*shape)),
        "ones": lambda *shape: np.ones(shape),
        "zeros": lambda *shape: np.zeros(shape),
    }[kind]
    weights = gain * draw(4 * units, width) / largest, gain * draw(4 * units, units)
    node, vector = lstm(), pack([[Direction(*weights, *rng.randn(2, 4 * units))]])
    node.attrs["state_size"] = str(units)
    plan = RecurrentPlan(largest * ends[0], largest * ends[1], 1.0)
    data = {
        "data": rng.uniform(largest * ends[0], largest * ends[1], (steps, batch, width)).astype(np.float32),
        "state": rng.uniform(-2, 2, (1, batch, units)).astype(np.float32),
        "cell": rng.randn(1, batch, units).astype(np.float32),
    }
    (result,) = in_int8(run, node, vector, data, plan, [0])
    away = np.abs(result * plan.state_scale - emulated(node, vector, data, plan))
    assert np.mean(away < 1e-2) > 0.98 or (away > 1e-2).sum() <= 2


@pytest.mark.parametrize("both", [False, True])
def test_data_much_larger_than_the_state_have_as_many_codes(both: bool, run: Run) -> None:
    node, vector = lstm(both), parameters(both, of_data=0.01)
    data = {"data": 100 * images(STEPS, BATCH, WIDTH), **states(both)}
    end = float(np.abs(data["data"]).max())
    expected = real(node, vector, data)
    plan = RecurrentPlan(-end, end, float(np.abs(expected[0]).max()))
    results = in_int8(run, node, vector, data, plan, [0, 1, 2])
    assert min(sqnr(*pair) for pair in zip(expected, results)) > 28


def test_the_largest_codes_and_weights_do_not_saturate_at_any_level(run_at_level: Run) -> None:
    node, plan = lstm(), RecurrentPlan(0.0, 1.0, 1.0)
    ones = Direction(np.full((4 * UNITS, WIDTH), 1e-3), np.full((4 * UNITS, UNITS), 2e-3), *np.zeros((2, 4 * UNITS)))
    vector = pack([[ones]])
    data = {"data": np.ones((STEPS, BATCH, WIDTH), np.float32), **states()}
    data["state"] = np.ones_like(data["state"])
    (result,) = in_int8(run_at_level, node, vector, data, plan, [0])
    np.testing.assert_allclose(result * plan.state_scale, emulated(node, vector, data, plan), atol=1e-3)


@pytest.mark.parametrize("read", [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]], ids=str)
def test_results_that_nothing_reads_make_no_difference(read: List[int], run: Run) -> None:
    node, vector, plan = lstm(), parameters(), RecurrentPlan(-3.0, 3.0, 0.7)
    data = {"data": images(STEPS, BATCH, WIDTH), **states()}
    whole = in_int8(run, node, vector, data, plan, [0, 1, 2])
    for index, result in zip(read, in_int8(run, node, vector, data, plan, read)):
        np.testing.assert_array_equal(result, whole[index])


def test_units_without_weights_give_what_their_bias_does(run: Run) -> None:
    node, plan = lstm(), RecurrentPlan(-3.0, 3.0, 0.7)
    ((direction,),) = unpack(node, parameters())
    for weight in (direction.of_data, direction.of_state):
        weight[::3] = 0
    vector = pack([[direction]])
    data = {"data": images(STEPS, BATCH, WIDTH).clip(-3, 3), **states()}
    (result,) = in_int8(run, node, vector, data, plan, [0])
    assert sqnr(real(node, vector, data)[0], result) > 29


@pytest.mark.parametrize("both", [False, True])
def test_the_fp32_parameters_can_be_read_back(both: bool) -> None:
    node, vector, plan = lstm(both), parameters(both), RecurrentPlan(-0.1, 7.0, 0.3)
    emit = Nodes([])
    AddRecurrent(emit, "rnn_int8", "rnn", node, plan)(node.inputs, vector, [node.output])
    found = original_parameters(node, emit.params["rnn_rescaled"], plan)
    np.testing.assert_allclose(found, vector, rtol=1e-5, atol=1e-6)


def network(layers: int = 1, units: int = UNITS) -> Tuple[Any, Dict[str, Any], np.ndarray]:
    zeros = [mx.sym.zeros((layers, 0, units)) for _ in range(2)]
    data = mx.sym.swapaxes(mx.sym.var("data"), dim1=0, dim2=1)
    attrs = {"mode": "lstm", "state_size": units, "num_layers": layers, "state_outputs": True, "name": "rnn"}
    symbol = mx.sym.swapaxes(mx.sym.RNN(data, mx.sym.var("vector"), *zeros, **attrs)[0], dim1=0, dim2=1, name="last")
    rng, inputs = np.random.RandomState(0), [WIDTH, *(units,) * (layers - 1)]
    weights = [rng.randn(4 * units * n) / np.sqrt(n) for width in inputs for n in (width, units)]
    args = {"vector": mx.nd.array(np.concatenate([*weights, rng.randn(8 * units * layers) / 10]))}
    return symbol, {"arg_params": args, "aux_params": {}}, 2 * images(BATCH, STEPS, WIDTH)


@pytest.fixture(scope="module")
def quantized() -> Any:
    symbol, params, data = network()
    return symbol, params, data, mxquant.quantize(symbol, data, accuracy="fast", isa=ISA, **params)


def run_model(run: Run, model: Any, **data: np.ndarray) -> List[np.ndarray]:
    return run(model.symbol, model.arg_params, model.aux_params, **data)


def simulated(symbol: Any, model: Any, params: Dict[str, Any]) -> Any:
    return mxquant.lower(symbol, model.plan, target="simulate", **params)


def test_a_network_keeps_its_results_in_int8_and_in_the_simulation(quantized: Any, run: Run) -> None:
    symbol, params, _, model = quantized
    others = 2 * images(BATCH, STEPS, WIDTH, seed=9)
    (expected,) = forward(symbol, **_named(params), data=others)
    assert model.plan.layers["rnn"].precision == "int8"
    assert sqnr(expected, run_model(run, model, data=others)[0]) > 28
    assert sqnr(expected, run_model(forward, simulated(symbol, model, params), data=others)[0]) > 28


def _named(params: Dict[str, Any]) -> Dict[str, Any]:
    return {"args": params["arg_params"], "aux": params["aux_params"]}


def test_the_simulation_is_what_runs(quantized: Any, run: Run) -> None:
    symbol, params, data, model = quantized
    (real,), (simulation,) = (
        run_model(run, model, data=data),
        run_model(forward, simulated(symbol, model, params), data=data),
    )
    if lstm_failure() is None:
        np.testing.assert_array_equal(simulation, real)
    # Where it is emulated, a sum just at the half of a code may fall to either side, and moves what follows.
    away = np.abs(simulation - real) * model.plan.layers["rnn"].recurrent.state_scale
    assert np.mean(away < 1e-3) > 0.995


@pytest.mark.parametrize("kind", [pytest.param("int8", marks=needs_int8_lstm), "simulated"])
def test_batches_of_other_sizes_and_lengths_follow_in_one_block(kind: str, quantized: Any) -> None:
    symbol, params, _, model = quantized
    model = model if kind == "int8" else simulated(symbol, model, params)
    block = model.as_block()
    for shape in ((BATCH, STEPS), (1, STEPS), (BATCH, 3), (7, 12), (BATCH, STEPS)):
        batch = 2 * images(*shape, WIDTH, seed=sum(shape))
        (alone,) = run_model(forward, model, data=batch)
        np.testing.assert_array_equal(block(mx.nd.array(batch)).asnumpy(), alone)


def test_a_layer_reads_another_one_in_the_codes_of_its_state() -> None:
    symbol, params, data = network(3)
    layers = mxquant.quantize(symbol, data, accuracy="fast", isa=ISA, **params).plan.layers
    plans = [layers[name].recurrent for name in ("rnn_layer0", "rnn_layer1", "rnn")]
    for before, after in zip(plans, plans[1:]):
        assert (after.lowest, after.largest, after.data_zero) == (-before.state, before.state, 64)
        assert after.data_scale == before.state_scale


def test_a_small_lstm_runs_in_int8_only_where_all_is_to() -> None:
    symbol, params, data = network(units=64)
    modes = ("smart", "full")
    layers = {m: mxquant.quantize(symbol, data, mode=m, isa=ISA, **params).plan.layers["rnn"] for m in modes}
    assert (layers["smart"].precision, layers["full"].precision) == ("float32", "int8")
    assert layers["smart"].reason.startswith("with 64 units an LSTM takes longer in int8")


def test_a_plan_without_its_codes_is_refused(quantized: Any) -> None:
    symbol, params, _, model = quantized
    for target in ("onednn", "simulate"):
        with pytest.raises(PlanError, match=r"layers\['rnn'\].recurrent is null, but an int8 LSTM has codes"):
            mxquant.lower(symbol, model.plan.edit_layer("rnn", recurrent=None), target=target, **params)


def test_an_edited_range_is_obeyed(quantized: Any, run: Run) -> None:
    symbol, params, data, model = quantized
    plan = model.plan.edit_layer("rnn", recurrent=RecurrentPlan(-1.0, 1.0, 1.0))
    edited = mxquant.lower(symbol, plan, **params)
    for (result,) in (
        run_model(run, edited, data=data),
        run_model(forward, simulated(symbol, edited, params), data=data),
    ):
        np.testing.assert_allclose(result * 64, np.rint(result * 64), atol=1e-4)


@pytest.mark.parametrize("given_by", ["input", "parameter"])
def test_a_state_to_begin_with_that_is_larger_than_all_others_has_codes(given_by: str, run: Run) -> None:
    states = [mx.sym.var(name) for name in ("state", "cell")]
    attrs = {"mode": "lstm", "state_size": UNITS, "num_layers": 1, "name": "rnn"}
    symbol = mx.sym.RNN(mx.sym.var("data"), mx.sym.var("vector"), *states, **attrs)
    begin = {"state": 4 * images(1, BATCH, UNITS).clip(-1, 1), "cell": images(1, BATCH, UNITS, seed=4)}
    args = {"vector": mx.nd.array(parameters())}
    data = {"data": images(STEPS, BATCH, WIDTH), **(begin if given_by == "input" else {})}
    args.update({} if given_by == "input" else {name: mx.nd.array(value) for name, value in begin.items()})
    options = {"arg_params": args, "aux_params": {}, "data_names": list(data), "isa": ISA}
    model = mxquant.quantize(symbol, [tuple(data.values())], **options)
    assert model.plan.layers["rnn"].recurrent.state == pytest.approx(np.abs(begin["state"]).max())
    (expected,) = forward(symbol, args, {}, **data)
    (result,) = run_model(run, model, **data)
    # Its codes are so few that most of the later states have only a handful.
    assert sqnr(expected, result) > 12


def test_data_may_be_a_parameter(run: Run) -> None:
    states = [mx.sym.var("state"), mx.sym.var("cell")]
    attrs = {"mode": "lstm", "state_size": UNITS, "num_layers": 1, "name": "rnn"}
    symbol = mx.sym.RNN(mx.sym.var("steps"), mx.sym.var("vector"), *states, **attrs)
    args = {"vector": mx.nd.array(parameters()), "steps": mx.nd.array(images(STEPS, BATCH, WIDTH))}
    data = {name: images(1, BATCH, UNITS, seed=seed) / 3 for seed, name in enumerate(("state", "cell"))}
    options = {"arg_params": args, "data_names": list(data), "accuracy": "fast", "isa": ISA}
    model = mxquant.quantize(symbol, [tuple(data.values())], **options)
    (expected,) = forward(symbol, args, {}, **data)
    (result,) = run_model(run, model, **data)
    assert model.plan.layers["rnn"].precision == "int8" and sqnr(expected, result) > 26


@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
def test_states_of_several_batches_stay_with_theirs(accuracy: str, run: Run) -> None:
    data = mx.sym.swapaxes(mx.sym.var("data"), dim1=0, dim2=1)
    states = [mx.sym.var(name) for name in ("state", "cell")]
    attrs = {"mode": "lstm", "state_size": UNITS, "num_layers": 1, "state_outputs": True, "name": "rnn"}
    symbol = mx.sym.Group(list(mx.sym.RNN(data, mx.sym.var("vector"), *states, **attrs)))
    args = {"vector": mx.nd.array(parameters())}

    def batch(seed: int, count: int = 8) -> Tuple[np.ndarray, ...]:
        begin = [images(1, count, UNITS, seed=seed + i).clip(-1, 1) / 2 for i in (1, 2)]
        return (images(count, STEPS, WIDTH, seed=seed), *begin)

    names = ["data", "state", "cell"]
    options = {"arg_params": args, "data_names": names, "accuracy": accuracy, "isa": ISA}
    model = mxquant.quantize(symbol, [batch(10), batch(20)], **options)
    other = dict(zip(names, batch(30, 3)))
    assert model.plan.layers["rnn"].precision == "int8"
    results = run_model(run, model, **other)
    assert min(map(sqnr, forward(symbol, args, {}, **other), results)) > 25


def test_two_layers_of_the_same_parameters_have_codes_of_their_own(run: Run) -> None:
    vector, zeros = mx.sym.var("vector"), [mx.sym.zeros((2, 0, UNITS)) for _ in range(2)]
    attrs = {"mode": "lstm", "state_size": UNITS, "num_layers": 2}
    data = mx.sym.swapaxes(mx.sym.var("data"), dim1=0, dim2=1)
    twins = [mx.sym.RNN(each, vector, *zeros, name=f"rnn{i}", **attrs) for i, each in enumerate((data, 0.1 * data))]
    _, params, batch = network(2)
    symbol = mx.sym.swapaxes(mx.sym.Concat(*twins, dim=2), dim1=0, dim2=1)
    model = mxquant.quantize(symbol, batch, isa=ISA, **params)
    ends = [model.plan.layers[name].recurrent.largest for name in ("rnn0_layer0", "rnn1_layer0")]
    assert ends[0] > 5 * ends[1]
    (expected,), (result,) = forward(symbol, **_named(params), data=batch), run_model(run, model, data=batch)
    assert sqnr(expected, result) > 27
    assert sqnr(result, run_model(forward, simulated(symbol, model, params), data=batch)[0]) > 40


@needs_int8_lstm
def test_compare_finds_that_int8_is_its_simulation() -> None:
    symbol, params, batch = network(2)
    model = mxquant.quantize(symbol, batch, isa=ISA, **params)
    assert mxquant.compare(symbol, model, batch, **params).outputs[0].int8_simulated > 60


@pytest.mark.parametrize(
    "attrs, reason",
    [
        ({"mode": "gru"}, "int8 recurrent layer is an LSTM, this one is gru"),
        ({"projection_size": 8}, "no projection"),
        ({"lstm_state_clip_min": -1.0, "lstm_state_clip_max": 1.0}, "no clipping"),
    ],
)
def test_what_the_operator_lacks_stays_float32(attrs: Dict[str, Any], reason: str) -> None:
    states = [mx.sym.var(name) for name in ("state", "cell")][: 1 if attrs.get("mode") == "gru" else 2]
    given = {"mode": "lstm", "state_size": UNITS, "num_layers": 1, **attrs}
    node = mx.sym.RNN(mx.sym.var("data"), mx.sym.var("vector"), *states, name="rnn", **given)
    found = network_of(node, {"vector": mx.nd.zeros((8,))}, {})
    assert reason in str(describe(found, found.graph.find("rnn"), True))
