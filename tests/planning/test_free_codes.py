"""Zero points in plans: where a target has any, where it has none, and what runtimes make of them."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import InputError, PlanError
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr
from tests.onnx_export.runtimes import executed, in_onnxruntime, in_openvino

DATA = images(16, 4, 16, 16) + 0.3
HELD_OUT = images(8, 4, 16, 16, seed=2) + 0.3


def swish(x: Any) -> Any:
    return mx.sym.sigmoid(x) * x


def hard_swish(x: Any) -> Any:
    return x * mx.sym.clip(x + 3, 0, 6) / 6


def chain(activation: Any) -> Any:
    x = mx.sym.var("data")
    for number in range(3):
        x = activation(conv(x, f"c{number}", 16))
    return dense(x, "head")


def planned(symbol: Any, target: str = "onnx_qdq", **options: Any) -> Tuple[Any, Dict[str, Any]]:
    args, aux = random_params(symbol, data=DATA.shape)
    args = {name: value * 4 if name.endswith("weight") else value for name, value in args.items()}
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, DATA, **params)
    return mxquant.make_plan(symbol, statistics, target=target, **options, **params), params


def levels(symbol: Any, plan: Any, params: Dict[str, Any]) -> List[float]:
    """Return the SQNR in ONNX Runtime, OpenVINO and the simulation, and of ONNX Runtime beside the simulation."""
    exact = forward(symbol, params["arg_params"], params["aux_params"], data=HELD_OUT)[0]
    simulated = mxquant.lower(symbol, plan, target="simulate", **params)
    expected = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=HELD_OUT)[0]
    model = mxquant.lower(symbol, plan, input_shapes=HELD_OUT.shape, **params)
    found = in_onnxruntime(model.proto, data=HELD_OUT)[0]
    return [
        *(sqnr(exact, each) for each in (found, in_openvino(model.proto, HELD_OUT), expected)),
        sqnr(expected, found),
    ]


@pytest.mark.parametrize("activation", [swish, hard_swish, lambda x: mx.sym.LeakyReLU(x, slope=0.05)])
def test_what_is_hardly_negative_gains_decibels_in_both_runtimes(activation: Any) -> None:
    symbol = chain(activation)
    plan, params = planned(symbol, isa="portable")
    free, symmetric = levels(symbol, plan, params), levels(symbol, *planned(symbol, isa="portable", dtype="int8"))
    assert all(level > other + 1 for level, other in zip(free[:3], symmetric))
    assert free[3] > 45


@pytest.mark.parametrize("activation", [swish, hard_swish, lambda x: mx.sym.LeakyReLU(x, slope=0.05)])
def test_with_weights_of_eight_bits_it_gains_more(activation: Any) -> None:
    """What CPUs without VNNI would saturate is simulated."""
    symbol = chain(activation)
    free, symmetric = (levels(symbol, *planned(symbol, isa="vnni", **each))[2] for each in ({}, {"dtype": "int8"}))
    assert free > symmetric + 2


def test_what_a_relu_makes_stays_without() -> None:
    plan, _ = planned(chain(relu))
    points = {tensor.zero_point for tensor in plan.tensors.values() if tensor.dtype == "uint8"}
    assert points == {0}


@pytest.mark.parametrize("target", ["onednn", "cudnn"])
def test_other_targets_have_no_free_zero_points(target: str) -> None:
    plan, _ = planned(chain(swish), target)
    assert {tensor.zero_point for tensor in plan.tensors.values()} <= {0, -127, -128}


def test_mxnet_refuses_a_zero_point_that_its_operators_lack() -> None:
    symbol = conv(conv(mx.sym.var("data"), "c1"), "c2")
    plan, params = planned(symbol, "onednn")
    edited = plan.edit_tensor("c1_output", zero_point=-20, codes=None)
    with pytest.raises(PlanError, match=r"tensors\['c1_output'\].zero_point is not 0"):
        mxquant.lower(symbol, edited, **params)


def test_the_inputs_of_a_concat_share_codes_that_cover_all_of_them() -> None:
    data = mx.sym.var("data")
    parts = [relu(conv(data, "a")), conv(data, "b"), swish(conv(data, "c"))]
    symbol = conv(mx.sym.Concat(*parts, dim=1, name="joined"), "next", kernel=1)
    plan, params = planned(symbol, method="minmax")
    tensors = [plan.tensors[name] for name in plan.tensors if plan.tensors[name].group == "joined"]
    assert len(tensors) >= 2 and len({(each.scale, each.zero_point) for each in tensors}) == 1
    joined = plan.tensors["joined_output"]
    assert (joined.scale, joined.zero_point) == (tensors[0].scale, tensors[0].zero_point)
    model = mxquant.lower(symbol, plan, input_shapes=HELD_OUT.shape, **params)
    assert executed(model.proto)["joined"][1] in ("i8", "u8")
    assert min(levels(symbol, plan, params)) > 25


def test_a_relu_in_the_group_of_a_concat_stays_a_relu() -> None:
    data = mx.sym.var("data")
    symbol = conv(mx.sym.Concat(relu(conv(data, "a")), conv(data, "b"), dim=1), "next", kernel=1)
    plan, params = planned(symbol)
    assert any(tensor.zero_point not in (0, -128) for tensor in plan.tensors.values())
    assert levels(symbol, plan, params)[3] > 50


@pytest.mark.parametrize("symbol", ["average", "add", "flat"])
def test_operators_between_keep_the_zero_point(symbol: str) -> None:
    x = swish(conv(mx.sym.var("data"), "c1", 16))
    made = {
        "average": lambda: conv(mx.sym.Pooling(conv(x, "c2"), kernel=(2, 2), stride=(2, 2), pool_type="avg"), "c3"),
        "add": lambda: conv(mx.sym.elemwise_add(conv(x, "c2", 16), x, name="sum"), "c3"),
        "flat": lambda: dense(mx.sym.Flatten(conv(x, "c2")), "d"),
    }[symbol]()
    plan, params = planned(made)
    found = levels(made, plan, params)
    assert found[0] > 25 and found[1] > 25 and found[3] > 45


def test_given_ends_are_those_of_the_codes() -> None:
    symbol = chain(swish)
    first = next(name for name in planned(symbol)[0].tensors if name.startswith("c1"))
    plan, _ = planned(symbol, largest_values={first: (-1.0, 3.0), "data": 2.0})
    low, high = (end * plan.tensors[first].scale for end in plan.tensors[first].ends)
    assert (low, high) == pytest.approx((-1, 3), abs=4 / 255)
    assert plan.tensors["data"].zero_point == 0 and plan.tensors["data"].method == "given"
    elsewhere, _ = planned(symbol, "onednn", largest_values={"data": (-1.0, 3.0)})
    assert 127 * elsewhere.tensors["data"].scale == pytest.approx(3)


@pytest.mark.parametrize("value", [(-1.0,), (1.0, 2.0), (0.0, 0.0), (-1.0, float("inf")), (True, 2.0), "3", -1.0, 0])
def test_other_ends_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="expected a positive number, or two numbers with 0 between them"):
        planned(chain(relu), largest_values={"data": value})


def test_members_of_a_group_have_one_zero_point() -> None:
    data = mx.sym.var("data")
    symbol = conv(mx.sym.Concat(conv(data, "a"), conv(data, "b"), dim=1), "next")
    plan, _ = planned(symbol)
    with pytest.raises(PlanError, match=r"tensors\['b_output'\].zero_point is 5, but 'a_output' of the same group"):
        plan.edit_tensor("b_output", zero_point=5, codes=None)


def test_no_number_is_lost_in_a_network_of_zeros() -> None:
    symbol = chain(swish)
    args, aux = random_params(symbol, data=DATA.shape)
    args = {name: value * 0 for name, value in args.items()}
    model = mxquant.quantize(symbol, DATA * 0, arg_params=args, aux_params=aux, target="onnx_qdq", accuracy="fast")
    assert not np.abs(in_onnxruntime(model.proto, data=HELD_OUT * 0)[0]).any()
