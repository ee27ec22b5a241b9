"""The float32 simulation of a plan returns what oneDNN's int8 operators return: the same codes.

Every network is lowered for this CPU and run here, and lowered for 'avx2' and run in a process of its
own that oneDNN has told to use no more than AVX2.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.errors import InputError, PlanError
from mxquant.graph.passes import canonicalize
from mxquant.lowering.isa import detect, saturates
from mxquant.lowering.simulate import simulate
from mxquant.lowering.stored_weights import int8_weight
from mxquant.plan import LayerPlan
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, network_of, random_params, relu, sqnr

SHAPE = (4, 8, 8, 8)
# What the simulation does not follow to the last code: additions of int8 and uint8.
MIXED_ADD_DB = 33.0
# One code that lies near a half: the bias of a FullyConnected is real there, and whole in oneDNN.
ONE_CODE_DB = 50.0
Build = Callable[[Any], Any]

# Runs what mxquant has saved and writes the outputs.
RUN = """
import sys
import numpy as np
from mxquant.runtime.mxnet import mx
for prefix in sys.argv[1:]:
    symbol, args, aux = mx.model.load_checkpoint(prefix, 0)
    data = mx.nd.array(np.load(prefix + "-data.npy"))
    executor = symbol.bind(mx.cpu(), {**args, "data": data}, aux_states=aux, grad_req="null")
    np.savez(prefix + "-outputs.npz", *[output.asnumpy() for output in executor.forward(is_train=False)])
"""


def act(data: Any, kind: str) -> Any:
    return mx.sym.Activation(data, act_type=kind)


def leaky(data: Any, kind: str = "leaky") -> Any:
    return mx.sym.LeakyReLU(data, act_type=kind, slope=0.2)


def pool(data: Any, kind: str, **attrs: Any) -> Any:
    return mx.sym.Pooling(data, kernel=(2, 2), stride=(2, 2), pool_type=kind, name="pool", **attrs)


def between(then: Build, **attrs: Any) -> Build:
    """Return: convolution, `then`, convolution."""
    return lambda data: conv(then(conv(data, "c1", **attrs)), "c2", pad=(0, 0))


def clip6(data: Any) -> Any:
    return mx.sym.clip(data, a_min=0, a_max=1.5)


def residual(conv_first: bool, then: Build = relu) -> Build:
    def build(data: Any) -> Any:
        x = relu(conv(data, "c1"))
        y = conv(x, "c2")
        total = mx.sym.elemwise_add(*((y, x) if conv_first else (x, y)), name="sum")
        return conv(then(total), "c3")

    return build


def signed_residual(data: Any) -> Any:
    x = conv(data, "c1")
    return conv(mx.sym.elemwise_add(conv(relu(x), "c2"), x, name="sum"), "c3")


def added(data: Any) -> Any:
    x = pool(conv(data, "c1"), "max")
    y = mx.sym.Pooling(conv(data, "c2"), kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool2")
    return conv(mx.sym.elemwise_add(x, y, name="sum"), "c3")


def joined(data: Any) -> Any:
    parts = [conv(data, "c1", 4), relu(conv(data, "c2", 8)), clip6(conv(data, "c3", 4))]
    return conv(mx.sym.Concat(*parts, name="join"), "c4")


def joined_positive(data: Any) -> Any:
    return conv(mx.sym.Concat(relu(conv(data, "c1", 4)), relu(conv(data, "c2", 6)), name="join"), "c4")


def multiplied(data: Any) -> Any:
    return conv(mx.sym.elemwise_mul(conv(data, "c1"), conv(data, "c2"), name="product"), "c3")


def joined_to_a_parameter(data: Any) -> Any:
    p = mx.sym.var("p", shape=SHAPE)
    return conv(mx.sym.Concat(conv(data, "c1"), p, p, name="join"), "c2")


def returned(data: Any) -> Any:
    x = conv(data, "c1")
    return mx.sym.Group([mx.sym.Dropout(x, name="drop"), mx.sym.identity(x + 1, name="same"), conv(relu(x), "c2")])


class Case(NamedTuple):
    build: Build
    options: Mapping[str, Any] = MappingProxyType({})
    # Agreement in dB; the default allows for other sums of float32, but for no code that differs.
    floor: float = 80.0


CASES: Dict[str, Case] = {
    "conv": Case(lambda data: conv(data, "c1")),
    "conv without bias": Case(lambda data: conv(data, "c1", no_bias=True)),
    "conv, relu": Case(between(relu)),
    "conv, relu, int8 only": Case(between(relu), {"dtype": "int8"}),
    "conv, relu as result": Case(lambda data: relu(conv(data, "c1"))),
    "conv, clip": Case(between(clip6)),
    "conv, clip as result": Case(lambda data: clip6(conv(data, "c1"))),
    "conv, sigmoid": Case(between(lambda x: act(x, "sigmoid"))),
    "conv, tanh": Case(between(lambda x: act(x, "tanh"))),
    "conv, softrelu": Case(between(lambda x: act(x, "softrelu"))),
    "conv, leaky": Case(between(leaky)),
    "conv, elu": Case(between(lambda x: leaky(x, "elu"))),
    "conv, gelu": Case(between(lambda x: leaky(x, "gelu"))),
    "strided and dilated": Case(between(relu, stride=(2, 2), dilate=(2, 2), pad=(2, 2))),
    "depthwise": Case(between(lambda x: relu(conv(relu(x), "dw", num_group=8)))),
    "depthwise, clip": Case(between(lambda x: clip6(conv(clip6(x), "dw", num_group=8)))),
    "grouped": Case(between(lambda x: relu(conv(relu(x), "g", num_group=2)))),
    "grouped on signed data": Case(between(lambda x: conv(x, "g", num_group=4))),
    "residual, convolution first": Case(residual(True)),
    "residual, convolution last": Case(residual(False)),
    "residual without relu": Case(residual(True, lambda x: x), floor=MIXED_ADD_DB),
    "residual of signed tensors": Case(signed_residual),
    "addition of poolings": Case(added),
    "max pooling": Case(between(lambda x: pool(relu(x), "max"))),
    "average pooling": Case(between(lambda x: pool(relu(x), "avg"))),
    "average pooling of signed data": Case(between(lambda x: pool(x, "avg"))),
    "average pooling with padding": Case(between(lambda x: pool(relu(x), "avg", pad=(1, 1)))),
    "average pooling without its padding": Case(
        between(lambda x: pool(relu(x), "avg", pad=(1, 1), count_include_pad=False))
    ),
    "concat": Case(joined),
    "concat of uint8": Case(joined_positive),
    "elemwise_mul": Case(multiplied),
    "a tensor times itself": Case(between(lambda x: mx.sym.elemwise_mul(x, x, name="square"))),
    "a parameter joined twice": Case(joined_to_a_parameter),
    "dense as result": Case(lambda data: dense(relu(conv(data, "c1")), "fc", 10)),
    "dense, tensor-wise": Case(lambda data: dense(relu(conv(data, "c1")), "fc", 10), {"granularity": "tensor-wise"}),
    "dense without bias": Case(lambda data: dense(relu(dense(data, "f1", no_bias=True)), "f2", 10, no_bias=True)),
    "dense, relu, dense": Case(lambda data: dense(relu(dense(data, "f1")), "f2", 10)),
    "dense, sigmoid, dense": Case(lambda data: dense(act(dense(data, "f1"), "sigmoid"), "f2", 10)),
    "dense, tanh, dense": Case(lambda data: dense(act(dense(data, "f1"), "tanh"), "f2", 10)),
    "dense, clip, dense": Case(lambda data: dense(clip6(dense(data, "f1")), "f2", 10), floor=ONE_CODE_DB),
    "pooled, flattened, dense": Case(
        lambda data: dense(mx.sym.Flatten(pool(relu(conv(data, "c1")), "avg"), name="flat"), "fc", 10)
    ),
    "two results": Case(lambda data: mx.sym.Group([relu(conv(conv(data, "c1"), "c2")), conv(data, "c3")])),
    "returned by Dropout and identity": Case(returned),
    "full": Case(between(lambda x: pool(relu(x), "max")), {"mode": "full"}),
}


class Ran(NamedTuple):
    plan: Any
    exact: List[np.ndarray]
    simulated: List[np.ndarray]
    int8: List[np.ndarray]


def material(case: Case) -> Tuple[Any, Any, Any, np.ndarray]:
    symbol = case.build(mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    return symbol, args, aux, images(*SHAPE)


def planned(case: Case, isa: Any, method: str = "minmax") -> Tuple[Any, Any, Any, np.ndarray, Any]:
    symbol, args, aux, data = material(case)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, **params, method=method, isa=isa, **case.options)
    return symbol, args, aux, data, plan


def simulated(symbol: Any, args: Any, aux: Any, data: np.ndarray, plan: Any) -> List[np.ndarray]:
    model = mxquant.lower(symbol, plan, arg_params=args, aux_params=aux, target="simulate")
    return forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=data)


@pytest.fixture(scope="module")
def here() -> Dict[str, Ran]:
    found = {}
    for name, case in CASES.items():
        symbol, args, aux, data, plan = planned(case, None)
        model = mxquant.lower(symbol, plan, arg_params=args, aux_params=aux)
        int8 = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=data)
        exact = forward(symbol, args, aux, data=data)
        found[name] = Ran(plan, exact, simulated(symbol, args, aux, data, plan), int8)
    return found


@pytest.fixture(scope="module")
def on_avx2(tmp_path_factory: Any) -> Dict[str, Ran]:
    folder, found, prefixes = tmp_path_factory.mktemp("avx2"), {}, {}
    for number, (name, case) in enumerate(CASES.items()):
        symbol, args, aux, data, plan = planned(case, "avx2")
        prefixes[name] = str(folder / str(number))
        mxquant.lower(symbol, plan, arg_params=args, aux_params=aux).save(prefixes[name])
        np.save(f"{prefixes[name]}-data.npy", data)
        exact = forward(symbol, args, aux, data=data)
        found[name] = Ran(plan, exact, simulated(symbol, args, aux, data, plan), [])
    environment = {**os.environ, "DNNL_MAX_CPU_ISA": "AVX2", "MXNET_SUBGRAPH_BACKEND": "NONE"}
    command = [sys.executable, "-W", "ignore", "-c", RUN, *prefixes.values()]
    subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
    for name, prefix in prefixes.items():
        with np.load(f"{prefix}-outputs.npz") as outputs:
            found[name].int8.extend(outputs[key] for key in outputs.files)
    return found


def assert_same(ran: Ran, floor: float) -> None:
    assert len(ran.int8) == len(ran.simulated) == len(ran.exact)
    assert any(layer.precision == "int8" for layer in ran.plan.layers.values())
    for value, expected, exact in zip(ran.simulated, ran.int8, ran.exact):
        assert value.shape == expected.shape == exact.shape
        assert 25 <= sqnr(exact, expected) <= 50
        assert sqnr(expected, value) >= floor


@pytest.mark.parametrize("name", CASES)
def test_the_simulation_is_the_int8_network_on_this_cpu(name: str, here: Dict[str, Ran]) -> None:
    assert_same(here[name], CASES[name].floor)


@pytest.mark.parametrize("name", CASES)
def test_the_simulation_is_the_int8_network_on_avx2(name: str, on_avx2: Dict[str, Ran]) -> None:
    assert on_avx2[name].plan.isa == "avx2"
    assert_same(on_avx2[name], CASES[name].floor)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_values_beyond_the_thresholds_end_at_the_same_codes(method: str) -> None:
    if saturates(detect()):
        pytest.skip("without VNNI sums may saturate there, which is not simulated")
    symbol, args, aux, data, plan = planned(CASES["conv, relu"], None, method)
    model = mxquant.lower(symbol, plan, arg_params=args, aux_params=aux)
    wide = 4 * data
    int8 = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=wide)[0]
    assert sqnr(forward(symbol, args, aux, data=wide)[0], int8) < 15
    np.testing.assert_allclose(simulated(symbol, args, aux, wide, plan)[0], int8, rtol=1e-6, atol=1e-6)


def test_products_beyond_their_threshold_end_at_the_last_code() -> None:
    symbol, args, aux, data, plan = planned(CASES["a tensor times itself"], None)
    model = mxquant.lower(symbol, plan, arg_params=args, aux_params=aux)
    wide = 1.5 * data
    int8 = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=wide)[0]
    expected = simulated(symbol, args, aux, wide, plan)[0]
    if saturates(detect()):
        # Without VNNI sums of what is beyond may saturate, which is not simulated.
        assert sqnr(expected, int8) > 20
    else:
        np.testing.assert_allclose(expected, int8, rtol=1e-6, atol=1e-6)


def test_the_simulated_model_is_float32_and_has_the_outputs_and_inputs_of_the_network() -> None:
    symbol, args, aux, data, plan = planned(CASES["dense as result"], None)
    model = mxquant.lower(symbol, plan, arg_params=args, aux_params=aux, target="simulate")
    assert model.plan is plan
    assert model.inputs == ("data",)
    assert not any("quantize" in node["op"] or "_sg_" in node["op"] for node in _nodes(model.symbol))
    assert all(value.dtype == np.float32 for value in model.arg_params.values())
    assert {"Convolution", "FullyConnected"} <= {node["op"] for node in _nodes(model.symbol)}
    assert forward(model.symbol, dict(model.arg_params), {}, data=data[:1])[0].shape == (1, 10)


def _nodes(symbol: Any) -> List[Any]:
    import json

    nodes: List[Any] = json.loads(symbol.tojson())["nodes"]
    return nodes


def test_the_simulation_leaves_the_network_and_its_parameters_alone() -> None:
    symbol, args, aux, _, plan = planned(CASES["residual, convolution first"], None)
    network = canonicalize(network_of(symbol, args, aux)).network
    names = [node.name for node in network.graph.nodes]
    values = {name: value.copy() for name, value in network.params.items()}
    simulate(network, plan)
    assert [node.name for node in network.graph.nodes] == names
    assert all((network.params[name] == value).all() for name, value in values.items())


def test_operators_keep_their_names() -> None:
    symbol, args, aux, _, plan = planned(CASES["concat"], None)
    network = canonicalize(network_of(symbol, args, aux)).network
    found = {node.name: node.op for node in simulate(network, plan).graph.operators}
    for node in network.graph.operators:
        assert node.op == "clip" or found[node.name] == node.op


def test_exact_weights_round_activations_only() -> None:
    symbol, args, aux, data, plan = planned(CASES["conv, relu"], None)
    network = canonicalize(network_of(symbol, args, aux)).network
    expected = forward(symbol, args, aux, data=data)[0]
    levels = []
    for exact in (False, True):
        found = simulate(network, plan, exact_weights=exact)
        values = {name: mx.nd.array(value) for name, value in found.params.items()}
        levels.append(sqnr(expected, forward(mxquant_symbol(found), values, {}, data=data)[0]))
    assert 30 < levels[0] < levels[1] - 0.1 < 60


def mxquant_symbol(network: Any) -> Any:
    from mxquant.runtime.mxnet_bridge import symbol_of

    return symbol_of(network.graph)


def test_a_layer_in_float32_is_computed_as_it_is() -> None:
    case = Case(CASES["conv, relu"].build, {"exclude_operators": ["Convolution"]})
    symbol, args, aux, data, plan = planned(case, None)
    np.testing.assert_array_equal(simulated(symbol, args, aux, data, plan)[0], forward(symbol, args, aux, data=data)[0])


def test_a_plan_without_thresholds_cannot_be_simulated() -> None:
    symbol, args, aux, _ = material(CASES["conv, relu"])
    plan = mxquant.make_plan(symbol, None, arg_params=args, aux_params=aux, method=None)
    with pytest.raises(PlanError, match="not calibrated"):
        mxquant.lower(symbol, plan, arg_params=args, aux_params=aux, target="simulate")


def test_a_plan_that_lacks_a_layer_is_refused_by_its_name() -> None:
    symbol, args, aux, _, plan = planned(CASES["conv, relu"], None)
    network = canonicalize(network_of(symbol, args, aux)).network
    layers = {name: layer for name, layer in plan.layers.items() if name != "c2"}
    with pytest.raises(PlanError, match="layers\\['c2'\\] is missing"):
        simulate(network, type(plan)(plan.target, plan.network, layers, plan.tensors, plan.settings, plan.isa))


@pytest.mark.parametrize("target", ["gpu", "Simulate", ""])
def test_an_unknown_target_is_refused(target: str) -> None:
    symbol, args, aux, _, plan = planned(CASES["conv"], None)
    with pytest.raises(InputError, match="target is '.*', expected 'onednn', .*or 'simulate'"):
        mxquant.lower(symbol, plan, arg_params=args, aux_params=aux, target=target)


@pytest.mark.parametrize("op, granularity", [("Convolution", "channel-wise"), ("FullyConnected", "tensor-wise")])
def test_weights_are_rounded_to_whole_steps_no_further_than_half_a_step(op: str, granularity: str) -> None:
    weight = np.random.RandomState(0).randn(8, 20).astype(np.float32)
    found = int8_weight(op, weight, LayerPlan("l", op, ("l",), "int8", "", granularity, 127))
    largest = np.abs(weight).max(axis=1, keepdims=True) if granularity == "channel-wise" else np.abs(weight).max()
    step = largest / (127.5 if granularity == "channel-wise" else 127)
    np.testing.assert_allclose(found / step, np.rint(found / step), atol=1e-4)
    assert (np.abs(found - weight) <= 0.5001 * step).all()


def test_a_sum_of_uint8_and_int8_is_as_wide_as_its_uint8_operand() -> None:
    # MXNet makes uint8 values int8 in the range of the sum before it adds: they must not be clipped there.
    x = mx.sym.Pooling(relu(conv(mx.sym.var("data"), "c1")), kernel=(2, 2), stride=(2, 2), pool_type="max", name="p")
    symbol = conv(mx.sym.elemwise_add(x, x * -0.6, name="sum"), "c2")
    args, aux = random_params(symbol, data=(4, 8, 8, 8))
    data, params = images(4, 8, 8, 8), {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, accuracy="fast", **params)
    tensors = model.plan.tensors
    assert {tensors[name].dtype for name in ("p_output", "_mulscalar0_output") if name in tensors} <= {"uint8", "int8"}
    assert tensors["sum_output"].threshold == tensors["p_output"].threshold
    assert "which MXNet would clip before it adds" in tensors["sum_output"].reason
    found = mxquant.compare(symbol, model, data, **params).outputs[0]
    assert found.int8_sqnr > 25 and found.int8_simulated == float("inf")
