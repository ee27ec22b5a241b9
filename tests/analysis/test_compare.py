"""An int8 network beside the fp32 network: what each layer loses, what is clipped, and what this CPU does to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator

import numpy as np
import pytest

import mxquant
from mxquant import InputError, PlanError
from mxquant.accuracy.equalization import Equalization
from mxquant.lowering.isa import detect, saturates
from mxquant.runtime.mxnet import mx
from tests.analysis.test_sensitivity import problem
from tests.networks import conv, dense, images, random_params, relu


def network() -> Any:
    """Return a network with an FC, a clip, a Pad that is folded, and a residual addition."""
    x = mx.sym.Pad(mx.sym.var("data"), mode="constant", pad_width=(0, 0, 0, 0, 0, 1, 0, 1), name="pad")
    x = relu(conv(x, "c1", pad=(0, 0), stride=(2, 2)), "r1")
    x = relu(conv(x, "c2") + x, "r2")
    x = mx.sym.clip(conv(x, "c3", kernel=1), a_min=0, a_max=2, name="clip")
    x = mx.sym.Pooling(conv(x, "c4"), global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
    symbol = dense(dense(mx.sym.Flatten(x), "d1"), "d2", 10)
    data = images(16, 3, 12, 12)
    args, aux = random_params(symbol, data=data.shape)
    return symbol, args, aux, data


def compared(**options: Any) -> Any:
    symbol, args, aux, data = network()
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, **params, **options)
    return mxquant.compare(symbol, model, data, **params), model


def run(code: str, folder: Path, **environment: str) -> str:
    """Return what a program prints in a process of its own."""
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **path, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def assert_weights_are_found(accuracy: str, isa: str) -> None:
    """Assert that an int8 network on this CPU is as its simulation; with other weights it would be as far as fp32."""
    found, model = compared(accuracy=accuracy, isa=isa)
    (output,) = found.outputs
    # Dense layers may round halves to the other side, each time by one code.
    assert output.int8_simulated > output.sqnr + 12
    assert output.int8_sqnr == pytest.approx(output.sqnr, abs=0.3)
    assert found.int8_macs == 1
    assert [row.layer for row in found.layers] == list(model.plan.layers)


@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
def test_the_weights_of_every_kind_of_model_are_found(accuracy: str) -> None:
    assert_weights_are_found(accuracy, detect())


@pytest.mark.parametrize("accuracy", ["fast", pytest.param("balanced", marks=pytest.mark.slow)])
def test_so_are_those_made_smaller_for_cpus_without_vnni(accuracy: str, tmp_path: Path) -> None:
    call = f"from {__name__} import *; assert_weights_are_found({accuracy!r}, 'avx2'); print('found')"
    assert run(call, tmp_path, DNNL_MAX_CPU_ISA="AVX2") == "found\n"


def test_the_weights_of_an_equalized_model_are_found() -> None:
    symbol, args, aux, data = problem()
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, np.concatenate([data, images(12, 3, 8, 8)]), accuracy="balanced", **params)
    assert Equalization.name in model.plan.settings["steps"]
    found = mxquant.compare(symbol, model, data, **params)
    assert found.outputs[0].int8_simulated > found.outputs[0].sqnr + 10


def test_the_layer_that_is_hard_loses_most_by_itself() -> None:
    symbol, args, aux, data = problem()
    params = {"arg_params": args, "aux_params": aux}
    found = mxquant.compare(symbol, mxquant.quantize(symbol, data, accuracy="fast", **params), data, **params)
    assert found.worst(1)[0].layer == "c2"
    rows = {row.layer: row for row in found.layers}
    assert rows["c2"].local < rows["c1"].local - 10
    assert rows["c3"].sqnr < rows["c3"].local - 10


def test_layers_in_float32_lose_what_those_before_lost() -> None:
    found, _ = compared(accuracy="fast", exclude_layers=["c1", "c4"])
    rows = {row.layer: row for row in found.layers}
    first = rows["c1"]
    assert (first.precision, first.dtype, first.codes, first.local, first.clipped) == (
        "float32",
        "float32",
        *[None] * 3,
    )
    assert first.sqnr == float("inf")
    assert rows["c4"].local is None and 20 < rows["c4"].sqnr < 60
    assert "excluded by name" in first.reason
    assert 0 < found.int8_macs < 1


def test_values_beyond_the_threshold_are_counted() -> None:
    symbol = relu(conv(relu(conv(mx.sym.var("data"), "c1"), "r1"), "c2"), "r2")
    data = images(4, 3, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, method="minmax", isa="vnni", **params)
    rows = {row.layer: row for row in mxquant.compare(symbol, plan, data, **params).layers}
    assert rows["c1"].clipped == rows["c1"].clipped_data == rows["c2"].clipped == 0
    found = mxquant.compare(symbol, plan, 2 * data, **params)
    exact = mx.sym.Group([symbol.get_internals()["r1_output"], symbol]).bind(
        mx.cpu(), {**args, "data": mx.nd.array(2 * data)}
    )
    inner, outer = (value.asnumpy() for value in exact.forward())
    rows = {row.layer: row for row in found.layers}
    assert rows["c2"].clipped == np.mean(outer > plan.tensors["r2_output"].threshold) > 0
    assert rows["c2"].clipped_data == np.mean(inner > plan.tensors["r1_output"].threshold) > 0


def test_a_plan_alone_is_only_simulated() -> None:
    symbol, args, aux, data = network()
    params = {"arg_params": args, "aux_params": aux}
    plan = mxquant.make_plan(symbol, mxquant.calibrate(symbol, data, **params), **params)
    found = mxquant.compare(symbol, plan, data, **params)
    assert found.outputs[0].int8_sqnr is found.outputs[0].int8_simulated is None
    assert found.outputs[0].sqnr > 20 and found.num_examples == 16


SATURATE = """
import mxquant
from mxquant.runtime.mxnet import mx
from tests.analysis.test_compare import adversary
symbol, params, data = adversary()
net = mx.model.load_checkpoint("model", 0)
model = mxquant.QuantizedModel(*net, mxquant.QuantPlan.load("model-plan.json"), ("data",))
print(mxquant.compare(symbol, model, data, **params).table())
"""


def adversary() -> Any:
    """Return a network whose pairs of products are as large as they can be, on data of ones."""
    symbol = conv(relu(conv(mx.sym.var("data"), "c1", 16, 1), "r1"), "c2", 16, 1)
    data = np.ones((2, 3, 8, 8), np.float32)
    args, aux = random_params(symbol, data=data.shape)
    args = {name: abs(value) for name, value in args.items()}
    args["c2_weight"][:] = 1
    return symbol, {"arg_params": args, "aux_params": aux}, data


def test_saturation_is_foretold_where_it_cannot_be_and_seen_where_it_is(tmp_path: Path) -> None:
    symbol, params, data = adversary()
    model = mxquant.quantize(symbol, data, accuracy="fast", method="minmax", isa="vnni", **params)
    if not saturates(detect()):
        found = mxquant.compare(symbol, model, data, **params)
        assert len(found.warnings) == 1
        assert "on CPUs without VNNI sums of products can saturate in 2 layers ('c1', 'c2')" in found.warnings[0]
        assert "isa='portable'" in found.warnings[0]
    model.save(str(tmp_path / "model"))
    printed = run(SATURATE, tmp_path, DNNL_MAX_CPU_ISA="AVX2")
    assert "the plan is made for 'vnni'; this CPU is 'avx2', where sums of products can saturate" in printed
    assert "dB on this CPU, but" in printed


def test_a_plan_that_cannot_saturate_has_no_warning() -> None:
    symbol, params, data = adversary()
    model = mxquant.quantize(symbol, data, accuracy="fast", isa="avx2", **params)
    assert mxquant.compare(symbol, model, data, **params).warnings == ()


def test_the_table_marks_the_worst_and_ends_with_a_summary() -> None:
    found, model = compared(accuracy="fast", exclude_layers=["c1"])
    lines = found.table().splitlines()
    assert lines[0].split() == ["layer", "operator", "result", "SQNR", "dB", "local", "clipped", "of", "data"]
    body = lines[1 : 1 + len(model.plan.layers)]
    assert [line.split()[0] for line in body] == list(model.plan.layers)
    marks: Dict[str, str] = {line.split()[0]: line.split("<- ")[1] for line in body if "<- " in line}
    assert marks == {row.layer: f"{place}. lowest" for place, row in enumerate(found.worst(), 1)}
    assert "float32: excluded by name" in body[0]
    summary = lines[lines.index("") + 1 :]
    assert summary[0].startswith("output 'd2_output': ") and "; on this CPU " in summary[0]
    assert summary[2] == f"plan for '{detect()}', this CPU is '{detect()}'"


def test_simulations_and_no_examples_are_refused() -> None:
    symbol, args, aux, data = network()
    params = {"arg_params": args, "aux_params": aux}
    plan = mxquant.make_plan(symbol, mxquant.calibrate(symbol, data, **params), **params)
    simulated = mxquant.lower(symbol, plan, target="simulate", **params)
    with pytest.raises(InputError, match="pass its plan"):
        mxquant.compare(symbol, simulated, data, **params)
    with pytest.raises(InputError, match="num_examples is 0"):
        mxquant.compare(symbol, plan, data, num_examples=0, **params)
    with pytest.raises(InputError, match="data hold no examples"):
        mxquant.compare(symbol, plan, iter([]), **params)


def test_examples_are_not_read_beyond_those_that_are_used() -> None:
    symbol, args, aux, data = network()
    params = {"arg_params": args, "aux_params": aux}
    plan = mxquant.make_plan(symbol, mxquant.calibrate(symbol, data, **params), **params)

    def batches() -> Iterator[np.ndarray]:
        yield data[:6]
        yield data[6:12]
        raise AssertionError("read too far")

    assert mxquant.compare(symbol, plan, batches(), num_examples=9, **params).num_examples == 9


def test_the_last_digits_of_float32_are_nothing_to_warn_of() -> None:
    found, model = compared(accuracy="fast", exclude_operators=["Convolution", "FullyConnected"])
    assert {layer.precision for layer in model.plan.layers.values()} == {"float32"}
    assert found.warnings == ()


def test_json_takes_it() -> None:
    found, model = compared(accuracy="fast", exclude_layers=["c1"])
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["layers"][0]["sqnr"] == "inf"
    assert len(document["layers"]) == len(model.plan.layers) and document["outputs"][0]["top1"] <= 1


def test_models_of_other_networks_are_refused() -> None:
    symbol, args, aux, data = network()
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, accuracy="fast", **params)
    other = conv(mx.sym.var("data"), "c1")
    with pytest.raises(PlanError, match="the plan is of network"):
        mxquant.compare(other, model, data, arg_params=random_params(other, data=data.shape)[0])
    with pytest.raises(InputError, match="plan is dict"):
        mxquant.compare(symbol, {}, data, **params)
    model.arg_params.pop("c2_weight")
    with pytest.raises(InputError, match="parameter 'c2_weight' has shape .* does not exist in the int8 network"):
        mxquant.compare(symbol, model, data, **params)
