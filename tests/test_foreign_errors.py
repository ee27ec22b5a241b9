"""What a user gets wrong is told by mxquant, with the argument, what was found and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant.doctor import diagnose
from mxquant.plan.tables import largest_values, read_tensorrt_cache, write_tensorrt_cache
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

SHAPE = (16, 3, 8, 8)
UNFIT = images(16, 4, 8, 8)


@pytest.fixture(scope="module")
def net() -> Any:
    symbol = dense(relu(conv(mx.sym.var("data"), "conv"), "act"), "fc", 5)
    args, aux = random_params(symbol, data=SHAPE)
    return symbol, {"arg_params": args, "aux_params": aux}


@pytest.fixture(scope="module")
def statistics(net: Any) -> Any:
    return mxquant.calibrate(net[0], images(*SHAPE), **net[1])


@pytest.fixture(scope="module")
def quantized(net: Any) -> Any:
    return mxquant.quantize(net[0], images(*SHAPE), accuracy="fast", **net[1])


@pytest.mark.parametrize("call", ["calibrate", "sensitivity", "compare", "metric", "diagnose"])
def test_data_that_do_not_fit_are_told_with_the_layer(call: str, net: Any, quantized: Any) -> None:
    symbol, params = net
    goal: Dict[str, Any] = {"metric": (UNFIT, np.zeros(16)), "max_drop": 0.1}
    calls = {
        "calibrate": lambda: mxquant.calibrate(symbol, UNFIT, **params),
        "sensitivity": lambda: mxquant.sensitivity(symbol, UNFIT, **params),
        "compare": lambda: mxquant.compare(symbol, quantized, UNFIT, **params),
        "metric": lambda: mxquant.quantize(symbol, images(*SHAPE), accuracy="fast", **goal, **params),
        "diagnose": lambda: diagnose(symbol, UNFIT, int8=quantized, **params),
    }
    with pytest.raises(InputError, match=r"cannot take .*\(16, 4, 8, 8\).*: layer 'conv': Shape inconsistent"):
        calls[call]()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"float32_layers": {"cnov": "slow"}}, "float32_layers: no layer is called 'cnov'; did you mean 'conv'"),
        ({"float32_layers": ["conv", "fcc"]}, "float32_layers: no layer is called 'fcc'; did you mean 'fc'"),
        ({"float32_layers": "conv"}, "float32_layers is 'conv', expected names of layers, or reasons by name"),
        ({"float32_layers": [1]}, "float32_layers is .*, expected names of layers"),
        ({"float32_layers": {"conv": 3}}, "float32_layers is .*, expected names of layers"),
        ({"tensor_methods": {"dta": "minmax"}}, "tensor_methods: no tensor is called 'dta'; did you mean 'data'"),
        ({"tensor_methods": ["data"]}, "tensor_methods is .*, expected a dictionary by name of the tensor"),
        ({"largest_values": {"dta": 2.0}}, "largest_values: no tensor is called 'dta'; did you mean 'data'"),
        ({"largest_values": [2.0]}, "largest_values is .*, expected a dictionary"),
    ],
)
def test_names_in_options_are_those_of_the_network(option: Any, message: str, net: Any, statistics: Any) -> None:
    with pytest.raises(InputError, match=message):
        mxquant.make_plan(net[0], statistics, **option, **net[1])


@pytest.mark.parametrize("layers", [["fc"], ("f*",), {"fc": "slow"}, {"f?": "slow"}])
def test_layers_in_float32_may_be_a_list_or_have_reasons(layers: Any, net: Any, statistics: Any) -> None:
    plan = mxquant.make_plan(net[0], statistics, float32_layers=layers, **net[1])
    reason = "slow" if isinstance(layers, dict) else "named in float32_layers"
    assert (plan.layers["fc"].precision, plan.layers["fc"].reason) == ("float32", reason)
    assert plan.layers["conv"].precision == "int8"


def test_a_table_may_name_other_tensors_but_not_only_these(
    net: Any, statistics: Any, quantized: Any, tmp_path: Path
) -> None:
    write_tensorrt_cache(tmp_path / "cache", quantized.plan)
    with open(tmp_path / "cache", "a") as file:
        file.write("another: 3c010a14\n")
    table = read_tensorrt_cache(tmp_path / "cache")
    assert set(table) == {*largest_values(quantized.plan), "another"}
    plan = mxquant.make_plan(net[0], statistics, largest_values=table, **net[1])
    assert plan.tensors["data"].threshold == pytest.approx(quantized.plan.tensors["data"].threshold)
    with pytest.raises(InputError, match="largest_values: no tensor is called 'another'"):
        mxquant.make_plan(net[0], statistics, largest_values=dict(table), **net[1])
    for name in largest_values(quantized.plan):
        del table[name]
    with pytest.raises(InputError, match="the table's tensors, such as 'another', are not the network's"):
        mxquant.make_plan(net[0], statistics, largest_values=table, **net[1])


@pytest.mark.parametrize("count", [float("nan"), "16", 1.5, 0])
def test_numbers_of_examples_are_whole(count: Any, net: Any, quantized: Any) -> None:
    symbol, params = net
    with pytest.raises(InputError, match="num_calib_examples is .*, expected"):
        mxquant.calibrate(symbol, images(*SHAPE), num_calib_examples=count, **params)
    with pytest.raises(InputError, match="num_examples is .*, expected"):
        mxquant.compare(symbol, quantized, images(*SHAPE), num_examples=count, **params)
    with pytest.raises(InputError, match="num_examples is .*, expected"):
        diagnose(symbol, images(*SHAPE), num_examples=count, **params)


def test_contexts_and_epochs(quantized: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ctx is 'cpu', expected an mxnet.Context such as mx.cpu\(\)"):
        quantized.as_block("cpu")
    with pytest.raises(InputError, match="MXNet sees . GPUs"):
        quantized.as_block([mx.cpu(), mx.gpu(7)])
    block = quantized.as_block([mx.cpu(0), mx.cpu(1)])
    assert block(mx.nd.array(images(*SHAPE), ctx=mx.cpu(1))).context == mx.cpu(1)
    for epoch in ("3", -1, 1.5):
        with pytest.raises(InputError, match="epoch is .*, expected"):
            quantized.save(tmp_path / "int8", epoch)
        with pytest.raises(InputError, match="epoch is .*, expected"):
            mxquant.load(tmp_path / "int8", epoch)
    assert not list(tmp_path.iterdir())


def test_models_are_equal_where_they_are_one(net: Any, quantized: Any) -> None:
    other = mxquant.quantize(net[0], images(*SHAPE), accuracy="fast", **net[1])
    assert quantized == quantized
    assert quantized != other and other not in [quantized, None, 3]
    assert len({quantized, other, quantized}) == 2


def test_what_shows_is_one_line(net: Any, statistics: Any, quantized: Any) -> None:
    onnx = mxquant.quantize(net[0], images(*SHAPE), accuracy="fast", target="onnx_qdq", **net[1])
    fp32 = mxquant.export_onnx(net[0], input_shapes=SHAPE, **net[1])
    plan = quantized.plan
    isa = plan.isa
    assert repr(quantized) == (
        f"QuantizedModel(onednn on {isa}: 2 of 2 layers in int8; inputs: data; outputs: 1; parameters: 4)"
    ).replace("parameters: 4", f"parameters: {len(quantized.arg_params)}")
    assert repr(plan) == f"QuantPlan(onednn on {isa}: 2 of 2 layers in int8; network {plan.network[:12]})"
    assert repr(statistics) == f"Statistics({len(statistics)} tensors, 16 examples; network {plan.network[:12]})"
    assert repr(onnx).startswith("OnnxModel(onnx_qdq") and "inputs: data; outputs: fc_output" in repr(onnx)
    assert repr(fp32).startswith("OnnxModel(fp32; opset ")
    for each in (quantized, plan, statistics, onnx, fp32):
        assert len(repr(each)) < 200 and "\n" not in repr(each)
        assert "<" in each._repr_html_()
    assert "2 of 2 layers in int8" in quantized._repr_html_() and "<td" in quantized._repr_html_()
