"""The GPU target: graphs that its kernels take, and the results that the simulation promises.

No test here needs a GPU but those marked ``gpu``: the int8 network is run by an interpreter of the kernels'
arithmetic, which refuses what they refuse.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.errors import InputError, PlanError
from mxquant.graph.symbol_json import dumps
from mxquant.quantization import quantize_model
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.lowering.gpu_interpreter import run_as_gpu
from tests.networks import ZOO, conv, dense, forward, images, random_params, relu, sqnr, zoo

SHAPE = (4, 8, 8, 8)
GOLDEN = Path(__file__).parents[1] / "data" / "cudnn_graph.json"
# So few operations for each byte that everything is worthwhile in int8.
ALL = {"gpu_operations_per_byte": 1e-3}


def pool(data: Any, **attrs: Any) -> Any:
    return mx.sym.Pooling(data, **{"kernel": (2, 2), "stride": (2, 2), "pool_type": "max", "name": "pool", **attrs})


def clip6(data: Any) -> Any:
    return mx.sym.clip(data, a_min=0, a_max=1.5, name="clip")


def pointwise(data: Any, name: str, **attrs: Any) -> Any:
    return conv(data, name, 12, 1, pad=(0, 0), **attrs)


def residual(data: Any) -> Any:
    x = relu(conv(data, "c1"), "r1")
    return conv(relu(conv(x, "c2") + x, "r2"), "c3")


def branches(data: Any) -> Any:
    x = relu(conv(data, "c1"), "r1")
    return mx.sym.Group([conv(x, "c2"), mx.sym.tanh(x, name="t"), pointwise(x, "c3")])


CASES: Dict[str, Callable[[Any], Any]] = {
    "conv": lambda data: conv(data, "c1"),
    "conv without bias": lambda data: conv(conv(data, "c1", no_bias=True), "c2", no_bias=True),
    "conv, relu, padded conv": lambda data: conv(relu(conv(data, "c1"), "r1"), "c2"),
    "conv, relu, pointwise conv": lambda data: pointwise(relu(conv(data, "c1"), "r1"), "c2"),
    "conv, clip, padded conv": lambda data: conv(clip6(conv(data, "c1")), "c2"),
    "conv, clip, pointwise conv": lambda data: pointwise(clip6(conv(data, "c1")), "c2"),
    "conv, relu op, conv": lambda data: conv(mx.sym.relu(conv(data, "c1"), name="r1"), "c2"),
    "conv, tanh, conv": lambda data: conv(mx.sym.tanh(conv(data, "c1"), name="t1"), "c2"),
    "stride": lambda data: conv(relu(conv(data, "c1", stride=(2, 2)), "r1"), "c2", stride=(2, 1)),
    "max pooling": lambda data: conv(pool(relu(conv(data, "c1"), "r1")), "c2"),
    "dense": lambda data: dense(relu(conv(data, "c1"), "r1"), "fc"),
    "flatten, dense": lambda data: dense(mx.sym.Flatten(relu(conv(data, "c1"), "r1"), name="flat"), "fc", no_bias=True),
    "dense, relu, dense": lambda data: dense(relu(dense(data, "f1"), "r1"), "f2", 8),
    "residual": residual,
    "int8 and float32 readers": branches,
}


def planned(build: Any, shape: Tuple[int, ...] = SHAPE, seed: int = 0, **options: Any) -> Tuple[Any, ...]:
    symbol = build(mx.sym.var("data"))
    args, aux = random_params(symbol, seed, data=shape)
    data = images(*shape)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, target="cudnn", **params)
    plan = mxquant.make_plan(symbol, statistics, target="cudnn", **{**ALL, **options}, **params)
    return symbol, params, data, plan


def both(symbol: Any, params: Any, data: np.ndarray, plan: Any) -> Tuple[Any, Any]:
    """Return what the kernels return, and what the simulation does.

    Both are run one operator after the other, so that what is float32 in both differs in no digit.
    """
    models = (mxquant.lower(symbol, plan, **params), mxquant.lower(symbol, plan, target="simulate", **params))
    found, simulated = (run_as_gpu(each.symbol, {**each.arg_params, **each.aux_params}, data=data) for each in models)
    return found, simulated


@pytest.mark.parametrize("name", CASES)
def test_the_kernels_return_what_the_simulation_says(name: str) -> None:
    symbol, params, data, plan = planned(CASES[name])
    kernels = [layer for layer in plan.layers.values() if layer.op in ("Convolution", "FullyConnected")]
    assert kernels and all(layer.precision == "int8" for layer in kernels)
    exact = forward(symbol, params["arg_params"], params["aux_params"], data=data)
    for found, simulated, expected in zip(*both(symbol, params, data, plan), exact):
        np.testing.assert_array_equal(found, simulated)
        assert sqnr(expected, found) > 25


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_types_are_inferred_from_the_data_alone(name: str) -> None:
    symbol, params, data, plan = planned(CASES[name])
    model = mxquant.lower(symbol, plan, **params)
    shapes, outputs, _ = model.symbol.infer_shape(data=data.shape)
    types, made, _ = model.symbol.infer_type(data="float32")
    assert outputs == symbol.infer_shape(data=data.shape)[1] and set(made) == {np.float32}
    for argument, shape, dtype in zip(model.symbol.list_arguments(), shapes, types):
        if argument != "data":
            value = model.arg_params[argument]
            assert (value.shape, value.dtype) == (shape, dtype), argument


def test_relu_is_done_by_the_ends_of_the_codes_where_no_reader_pads() -> None:
    symbol, params, _, plan = planned(CASES["conv, relu, pointwise conv"])
    assert (plan.tensors["r1_output"].zero_point, plan.tensors["r1_output"].codes) == (-127, 254)
    operators = [node.op for node in graph_of(mxquant.lower(symbol, plan, **params).symbol).operators]
    assert "relu" not in operators and operators.count("_contrib_requantize") == 1

    symbol, params, _, plan = planned(CASES["conv, relu, padded conv"])
    assert plan.tensors["r1_output"].zero_point == 0
    operators = [node.op for node in graph_of(mxquant.lower(symbol, plan, **params).symbol).operators]
    assert operators.count("relu") == 1


def test_convolutions_chain_in_int8() -> None:
    symbol, params, _, plan = planned(CASES["conv, relu, padded conv"])
    graph = graph_of(mxquant.lower(symbol, plan, **params).symbol)
    operators = [node.op for node in graph.operators]
    assert "_contrib_dequantize" not in operators and operators.count("_contrib_quantize_v2") == 1


def test_a_bias_much_larger_than_the_others_leaves_them_exact() -> None:
    symbol = conv(mx.sym.var("data"), "c1")
    args, aux = random_params(symbol, data=SHAPE)
    args["c1_bias"][0] = 1000.0
    data, params = images(*SHAPE), {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, target="cudnn", accuracy="fast", **params, **ALL)
    found = run_as_gpu(model.symbol, model.arg_params, data=data)[0]
    expected = forward(symbol, args, aux, data=data)[0]
    assert sqnr(expected[:, 1:], found[:, 1:]) > 35


def test_weights_are_int8_and_biases_int32_in_a_quarter_of_the_space(tmp_path: Path) -> None:
    symbol, params, _, plan = planned(lambda data: dense(relu(dense(data, "f1", 256), "r1"), "f2", 64))
    model = mxquant.lower(symbol, plan, **params)
    assert {name: str(np.dtype(value.dtype)) for name, value in model.arg_params.items()} == {
        **dict.fromkeys(("f1_weight_quantize", "f2_weight_quantize"), "int8"),
        **dict.fromkeys(("f1_bias_quantize", "f2_bias_quantize"), "int32"),
        **{f"{name}_weight_quantize_{end}": "float32" for name in ("f1", "f2") for end in ("min", "max")},
    }
    model.save(tmp_path / "int8")
    mx.nd.save(str(tmp_path / "fp32.params"), params["arg_params"])
    sizes = [(tmp_path / name).stat().st_size for name in ("int8-0000.params", "fp32.params")]
    assert sizes[0] < 0.27 * sizes[1]
    again = mxquant.load(tmp_path / "int8")
    assert all((again.arg_params[name] == value).asnumpy().all() for name, value in model.arg_params.items())


REFUSED = {
    "channels of an RGB image": (lambda x: conv(mx.sym.slice_axis(x, axis=1, begin=0, end=3), "c1"), "3 in and 8 out"),
    "filters": (lambda x: conv(x, "c1", 6), "8 in and 6 out"),
    "groups": (lambda x: conv(x, "c1", num_group=2), "no groups, this one has 2"),
    "dilation": (lambda x: conv(x, "c1", dilate=(2, 2)), r"passes over dilation, this one has \(2, 2\)"),
    "1D": (
        lambda x: mx.sym.Convolution(x.reshape((4, 8, -1)), kernel=(3,), num_filter=8, name="c1"),
        "is 2D, this one has a 1D kernel",
    ),
    "units": (lambda x: dense(x, "c1", 10), "512 in and 10 out"),
    "not flattened": (lambda x: dense(x, "c1", flatten=False), "flatten=False"),
    "shared with the data": (
        lambda x: mx.sym.FullyConnected(
            x, mx.sym.tanh(mx.sym.var("w", shape=(4, 512))), num_hidden=4, no_bias=True, name="c1"
        ),
        "computed or fed at run time",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_kernels_cannot_do_stays_float32_and_says_why(name: str) -> None:
    build, reason = REFUSED[name]
    symbol, params, _, plan = planned(build)
    assert plan.layers["c1"].precision == "float32"
    assert re.search(reason, plan.layers["c1"].reason)
    with pytest.raises(PlanError, match=reason):
        mxquant.lower(symbol, plan.edit_layer("c1", precision="int8", granularity="tensor-wise"), **params)


@pytest.mark.parametrize(
    "attrs, reason",
    [
        ({"pool_type": "avg"}, "is max, this one is avg"),
        ({"pooling_convention": "full"}, "pooling_convention='full'"),
    ],
)
def test_poolings_that_cudnn_may_do_otherwise_stay_float32(attrs: Any, reason: str) -> None:
    symbol, params, data, plan = planned(lambda x: conv(pool(relu(conv(x, "c1"), "r1"), **attrs), "c2"))
    assert reason in plan.layers["pool"].reason
    found, simulated = both(symbol, params, data, plan)
    assert sqnr(simulated[0], found[0]) > 60


def test_weights_of_zeros_stay_float32() -> None:
    symbol = conv(mx.sym.var("data"), "c1")
    args, _ = random_params(symbol, data=SHAPE)
    args["c1_weight"][:] = 0
    model = mxquant.quantize(symbol, images(*SHAPE), target="cudnn", accuracy="fast", arg_params=args, **ALL)
    assert "is 0, or so small" in model.plan.layers["c1"].reason


def test_a_bias_that_int32_may_not_hold_stays_float32() -> None:
    symbol = conv(mx.sym.var("data"), "c1")
    args, _ = random_params(symbol, data=SHAPE)
    args["c1_weight"][:] *= 1e-6
    args["c1_bias"][:] = 100
    model = mxquant.quantize(symbol, images(*SHAPE), target="cudnn", accuracy="fast", arg_params=args, **ALL)
    assert "too large for int32" in model.plan.layers["c1"].reason


@pytest.mark.parametrize(
    "tensor, changes, message",
    [
        ("data", {"dtype": "uint8"}, "layer 'c1' reads 'int8'"),
        ("r1_output", {"zero_point": -127}, r"tensors\['r1_output'\].zero_point is not 0"),
        ("pool_output", {"threshold": 2.5}, r"tensors\['pool_output'\].threshold is 2.5, but"),
    ],
)
def test_plans_that_the_kernels_cannot_follow_are_refused_by_name(tensor: str, changes: Any, message: str) -> None:
    symbol, params, _, plan = planned(CASES["max pooling"])
    with pytest.raises(PlanError, match=message):
        mxquant.lower(symbol, plan.edit_tensor(tensor, codes=None, **changes), **params)


def test_the_graph_is_as_it_was() -> None:
    def network(data: Any) -> Any:
        x = relu(conv(data, "c1"), "r1")
        total = mx.sym.elemwise_add(pointwise(x, "c2"), pointwise(x, "c3"), name="sum")
        return dense(pool(relu(total, "r2")), "fc", 8)

    symbol, params, _, plan = planned(network, largest_values={"data": 4.0, "r1_output": 3.0})
    nodes = json.loads(dumps(graph_of(mxquant.lower(symbol, plan, **params).symbol)))["nodes"]
    # Thresholds that are chosen may differ in the last digit from one CPU to another.
    found = [{key: node.get(key) for key in ("op", "name", "inputs")} for node in nodes]
    assert found == json.loads(GOLDEN.read_text())


def test_plans_for_gpus_are_for_no_cpu() -> None:
    assert planned(CASES["conv"])[3].isa is None


def test_a_network_for_gpus_does_not_run_on_a_cpu() -> None:
    symbol, params, _, plan = planned(CASES["conv"])
    model = mxquant.lower(symbol, plan, **params)
    with pytest.raises(InputError, match="this network is for a GPU"):
        model.as_block(mx.cpu())


def test_the_context_chooses_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    symbol, params, data, _ = planned(CASES["conv"])
    with pytest.raises(InputError, match=r"ctx is gpu\(0\), but MXNet sees 0 GPUs"):
        quantize_model(symbol, *params.values(), ctx=mx.gpu(), calib_mode="naive", calib_data=mx.io.NDArrayIter(data))
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 1)
    quantized, args, _ = quantize_model(
        symbol, *params.values(), ctx=mx.gpu(), calib_mode="naive", calib_data=mx.io.NDArrayIter(data),
        excluded_sym_names=[], quantize_mode="full",
    )  # fmt: skip
    assert "_contrib_quantized_conv" in {node.op for node in graph_of(quantized).operators}
    assert args["c1_weight_quantize"].dtype == np.int8


def check_zoo(name: str, **options: Any) -> None:
    symbol, args, aux, data = zoo(name)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, target="cudnn", **params)
    plan = mxquant.make_plan(symbol, statistics, target="cudnn", **options, **params)
    model = mxquant.lower(symbol, plan, **params)
    assert model.symbol.infer_shape(data=data.shape)[1] == [(len(data), 1000)]
    assert set(model.symbol.infer_type(data="float32")[1]) == {np.float32}
    found, simulated = both(symbol, params, data, plan)
    assert np.abs(simulated[0]).max() > 1e-3
    # Equal to the last code; only sums beyond 2²⁴ could be rounded otherwise.
    assert sqnr(simulated[0], found[0]) > 80


@pytest.mark.parametrize("name", ["resnet18_v1", "mobilenetv2_0.25"])
def test_a_whole_network(name: str) -> None:
    check_zoo(name)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, ALL], ids=["worthwhile", "all"])
@pytest.mark.parametrize("name", ZOO)
def test_every_network_of_the_zoo(name: str, options: Any) -> None:
    check_zoo(name, **options)


@pytest.mark.gpu
@pytest.mark.skipif(mx.context.num_gpus() == 0, reason="MXNet sees no GPU")
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_returns_what_the_interpreter_says(name: str) -> None:
    symbol, params, data, plan = planned(CASES[name])
    model = mxquant.lower(symbol, plan, **params)
    expected = run_as_gpu(model.symbol, {**model.arg_params, **model.aux_params}, data=data)
    found = model.as_block(mx.gpu())(mx.nd.array(data, ctx=mx.gpu()))
    for output, value in zip(found if isinstance(found, list) else [found], expected):
        assert sqnr(value, output.asnumpy()) > 60


@pytest.mark.gpu
@pytest.mark.skipif(mx.context.num_gpus() == 0, reason="MXNet sees no GPU")
def test_quantize_model_runs_on_a_gpu() -> None:
    symbol, args, aux, data = zoo("resnet18_v1")
    batches = mx.io.NDArrayIter(data, batch_size=len(data))
    int8 = quantize_model(symbol, args, aux, calib_mode="naive", calib_data=batches, ctx=mx.gpu())
    executor = int8[0].simple_bind(mx.gpu(), data=data.shape, grad_req="null")
    executor.copy_params_from(*int8[1:])
    found = executor.forward(is_train=False, data=mx.nd.array(data, ctx=mx.gpu()))[0].asnumpy()
    assert sqnr(forward(symbol, args, aux, data=data)[0], found) > 25
