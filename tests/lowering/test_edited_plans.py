"""A plan edited by hand is obeyed to the letter, or refused with the name of the field."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict

import pytest

import mxquant
from mxquant import PlanError, QuantPlan
from mxquant.graph import Graph
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (4, 3, 8, 8)


def build() -> Any:
    x = relu(conv(mx.sym.var("data"), "c1"), "act")
    joined = mx.sym.Concat(x, conv(x, "c2"), dim=1, name="join")
    return dense(mx.sym.softmax(mx.sym.Pooling(conv(joined, "c3"), kernel=(2, 2), name="pool"), name="soft"), "fc")


@pytest.fixture(scope="module")
def setting() -> Any:
    symbol = build()
    args, aux = random_params(symbol, data=SHAPE)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, images(*SHAPE), **params)
    return symbol, params, mxquant.make_plan(symbol, statistics, method="minmax", mode="full", **params)


def lowered(setting: Any, plan: QuantPlan) -> Graph:
    return graph_of(mxquant.lower(setting[0], plan, **setting[1]).symbol)


def test_a_threshold_is_obeyed(setting: Any) -> None:
    plan = setting[2].edit_tensor("data", threshold=1.25)
    plan = plan.edit_tensor("c3_output", threshold=0.1).edit_tensor("pool_output", threshold=0.1)
    graph = lowered(setting, plan)
    assert graph.find("data_quantize").attrs["max_calib_range"] == "1.25"
    node = next(n for n in graph.operators if n.op == "_sg_mkldnn_conv" and "0.1" in n.attrs["max_calib_range"])
    assert float(node.attrs["min_calib_range"]) == pytest.approx(-0.1)


def test_a_layer_that_is_to_stay_float32_does(setting: Any) -> None:
    symbol, params, plan = setting
    edited = plan.edit_layer("c3", precision="float32").edit_layer("pool", precision="float32")
    graph = lowered(setting, edited)
    quantized = [n for n in graph.operators if n.op == "_sg_mkldnn_conv" and n.attrs.get("quantized") == "True"]
    assert len(quantized) == 2
    result = mxquant.lower(symbol, edited, **params)
    (reference,) = forward(symbol, params["arg_params"], params["aux_params"], data=images(*SHAPE))
    assert sqnr(reference, forward(result.symbol, result.arg_params, result.aux_params, data=images(*SHAPE))[0]) > 30


def test_the_type_of_an_input_is_obeyed(setting: Any) -> None:
    graph = lowered(setting, setting[2].edit_tensor("data", dtype="uint8"))
    assert graph.find("data_quantize").attrs["out_type"] == "uint8"
    assert graph.find("data_quantize").attrs["min_calib_range"] == "0"


def test_the_granularity_is_obeyed(setting: Any) -> None:
    def dense_node(plan: QuantPlan) -> Any:
        nodes = lowered(setting, plan).operators
        return next(n for n in nodes if n.op == "_sg_mkldnn_fully_connected")

    assert dense_node(setting[2]).attrs["channel_wise_quantize"] == "True"
    assert "channel_wise_quantize" not in dense_node(setting[2].edit_layer("fc", granularity="tensor-wise")).attrs


def test_a_plan_from_a_file_is_obeyed(setting: Any, tmp_path: Any) -> None:
    setting[2].save(tmp_path / "plan.json")
    plan = QuantPlan.load(tmp_path / "plan.json")
    symbol, params, _ = setting
    a, b = (mxquant.lower(symbol, each, **params).symbol.tojson() for each in (plan, setting[2]))
    assert a == b


def edit(kind: str, name: str, **changes: Any) -> Callable[[QuantPlan], QuantPlan]:
    return lambda plan: getattr(plan, f"edit_{kind}")(name, **changes)


def without(kind: str, name: str) -> Callable[[QuantPlan], QuantPlan]:
    def change(plan: QuantPlan) -> QuantPlan:
        document: Dict[str, Any] = json.loads(plan.to_json())
        document[kind] = [entry for entry in document[kind] if entry["name"] != name]
        return QuantPlan.from_json(json.dumps(document))

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (
            edit("layer", "soft", precision="int8"),
            "precision is 'int8', but MXNet has no int8 softmax",
        ),
        (
            edit("layer", "c1", contains=("c1",)),
            r"contains is \['c1'\], but the network has \['c1', 'act'\]",
        ),
        (
            edit("tensor", "act_output", dtype="int8", codes=None),
            "dtype is 'int8', but .* returns 'uint8' here",
        ),
        (
            edit("tensor", "data", dtype="float32", threshold=None, codes=None),
            "dtype is 'float32', but an int8 layer reads it",
        ),
        (edit("tensor", "data", threshold=None), r"tensors\['data'\].threshold is null, but an int8 layer needs it"),
        (edit("tensor", "c3_output", threshold=None), r"tensors\['c3_output'\].threshold is null"),
        (
            edit("tensor", "pool_output", threshold=9.0),
            "threshold is 9.0, but .* hands on the range",
        ),
        (
            edit("tensor", "join_output", dtype="uint8"),
            "dtype is 'uint8', but .* returns 'int8' here",
        ),
        (without("layers", "c2"), r"layers\['c2'\] is missing; the network computes it as a layer of its own"),
        (without("tensors", "data"), r"tensors\['data'\] is missing, but an int8 layer needs it"),
        (without("tensors", "c3_output"), r"tensors\['c3_output'\] is missing, but int8 layer 'c3' makes it"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_field(setting: Any, change: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        lowered(setting, change(setting[2]))
    assert str(caught.value).startswith(("layers['", "tensors['"))


def test_a_layer_that_the_network_does_not_have_is_refused(setting: Any) -> None:
    document = json.loads(setting[2].to_json())
    document["layers"].append({"name": "c9", "op": "Convolution", "contains": ["c9"], "precision": "int8"})
    with pytest.raises(PlanError, match=r"layers\['c9'\] is not a layer that the network computes by itself"):
        lowered(setting, QuantPlan.from_json(json.dumps(document)))
