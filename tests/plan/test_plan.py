"""QuantPlan: JSON that a person can read and edit; what is not allowed is named by its field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from mxquant import LayerPlan, OutputError, PlanError, QuantPlan, TensorPlan


def plan() -> QuantPlan:
    layers = {
        "conv": LayerPlan("conv", "Convolution", ("conv", "relu"), "int8", "the operator runs in int8", "channel-wise"),
        "softmax": LayerPlan("softmax", "softmax", ("softmax",), "float32", "MXNet has no int8 softmax on the CPU"),
    }
    tensors = {
        "data": TensorPlan("data", "int8", 2.5, "entropy", "quantized for int8 conv", "group"),
        "relu_output": TensorPlan("relu_output", "uint8", 2.5, "entropy", "the result of int8 conv", "group"),
        "softmax_output": TensorPlan("softmax_output", "float32", None, "none", ""),
    }
    return QuantPlan("onednn", "ab" * 32, layers, tensors, {"method": "entropy"})


def test_the_scale_is_the_value_of_one_code() -> None:
    tensors = plan().tensors
    assert tensors["data"].scale == 2.5 / 127.5
    assert tensors["relu_output"].scale == 2.5 / 255.5
    assert TensorPlan("x", "uint8", 2.5, "minmax", "", codes=140).scale == 2.5 / 140
    assert TensorPlan("x", "int8", 2.5, "minmax", "", zero_point=-128).scale == 2.5 / 255.5
    assert tensors["softmax_output"].scale is None


def test_a_threshold_is_a_float32_number() -> None:
    assert TensorPlan("x", "int8", 0.1, "minmax", "").threshold == 0.10000000149011612


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    plan().save(tmp_path / "plan.json")
    assert QuantPlan.load(tmp_path / "plan.json") == plan()
    assert QuantPlan.from_json(plan().to_json()) == plan()


def test_reason_method_and_scale_may_be_left_out() -> None:
    document = json.loads(plan().to_json())
    for entry in document["tensors"]:
        for key in ("scale", "method", "reason"):
            entry.pop(key)
    for entry in document["layers"]:
        entry.pop("reason")
    read = QuantPlan.from_json(json.dumps(document))
    assert read.tensors["data"].method == "edited"
    assert read.layers["conv"].precision == "int8"


def tensor(**changes: Any) -> Callable[[Dict[str, Any]], None]:
    return lambda document: document["tensors"][0].update(changes)


def layer(**changes: Any) -> Callable[[Dict[str, Any]], None]:
    return lambda document: document["layers"][0].update(changes)


@pytest.mark.parametrize(
    "damage, message",
    [
        (tensor(dtype="int4"), r"tensors\['data'\].dtype is 'int4', expected 'int8', 'uint8' or 'float32'"),
        (tensor(threshold=-1), r"tensors\['data'\].threshold is -1, expected a positive finite"),
        (tensor(threshold=1e39), r"tensors\['data'\].threshold is 1e\+39"),
        (tensor(threshold="2"), r"tensors\['data'\].threshold is '2', expected a number or null"),
        (tensor(threshold=True), r"tensors\['data'\].threshold is True"),
        (tensor(dtype="float32"), r"tensors\['data'\].codes is 127, but a float32 tensor has none"),
        (tensor(dtype="float32", codes=None), r"tensors\['data'\].threshold is 2.5, but a float32 tensor has none"),
        (tensor(codes=128), r"tensors\['data'\].codes is 128, expected a whole number from 1 to 127"),
        (tensor(codes=0), r"tensors\['data'\].codes is 0"),
        (tensor(codes=True), r"tensors\['data'\].codes is True"),
        (tensor(zero_point=127), r"tensors\['data'\].zero_point is 127, expected 0, or -128 to 126 for int8"),
        (
            tensor(dtype="uint8", zero_point=3),
            r"tensors\['data'\].zero_point is 3, expected 0, or -128 to 126 for int8",
        ),
        (tensor(zero_point=0.5), r"tensors\['data'\].zero_point is 0.5, expected a whole number"),
        (tensor(zero_point=3), r"tensors\['data'\].codes is 127, expected a whole number from 1 to 124"),
        (tensor(scale=0.5), r"tensors\['data'\].scale is 0.5, but its threshold 2.5 .* edit the threshold"),
        (
            tensor(threshold=2, scale=2 / 127.5),
            r"tensors\['relu_output'\].threshold is 2.5, but 'data' of the same group",
        ),
        (tensor(bits=8), r"tensors\[0\] \('data'\) has an unknown field 'bits'"),
        (tensor(name="relu_output"), r"tensors\['relu_output'\] stands twice"),
        (lambda d: d["tensors"][0].pop("dtype"), r"tensors\[0\] \('data'\) has no field 'dtype'"),
        (lambda d: d["tensors"].append(3), r"tensors\[3\] is int, expected a JSON object"),
        (layer(precision="int4"), r"layers\['conv'\].precision is 'int4'"),
        (layer(granularity="row-wise"), r"layers\['conv'\].granularity is 'row-wise'"),
        (lambda d: d.pop("network"), "the plan has no field 'network'"),
        (lambda d: d.update(version=9), "version is 9, this mxquant reads 1"),
        (lambda d: d.update(format="other"), "not a plan"),
    ],
)
def test_a_field_that_is_not_allowed_is_named(damage: Callable[[Dict[str, Any]], None], message: str) -> None:
    document = json.loads(plan().to_json())
    damage(document)
    with pytest.raises(PlanError, match=message):
        QuantPlan.from_json(json.dumps(document))


def test_edits_make_a_new_plan() -> None:
    before = plan()
    after = before.edit_layer("conv", precision="float32").edit_tensor("softmax_output", reason="checked")
    assert after.layers["conv"].precision == "float32"
    assert after.tensors["softmax_output"].reason == "checked"
    assert before == plan()


def test_edits_of_what_is_not_there_are_refused() -> None:
    with pytest.raises(PlanError, match=r"layers\['fc'\] does not exist; the plan's layers are 'conv', 'softmax'"):
        plan().edit_layer("fc", precision="int8")
    with pytest.raises(PlanError, match=r"tensors\['x'\] does not exist"):
        plan().edit_tensor("x", dtype="int8")


def test_files_that_are_no_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read the plan"):
        QuantPlan.load(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(PlanError, match="no JSON"):
        QuantPlan.load(tmp_path / "broken.json")
    with pytest.raises(OutputError, match="cannot write"):
        plan().save(tmp_path / "absent" / "plan.json")
