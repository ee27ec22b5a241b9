"""Thresholds go to TensorRT and ONNX Runtime and come back; files of ONNX Runtime's own tool are read."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import pytest
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import TensorsData

import mxquant
from mxquant import InputError, PlanError, tables
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, random_params, relu

DATA = images(8, 4, 8, 8)
writes_json = pytest.mark.skipif(not hasattr(TensorsData, "to_dict"), reason="this ONNX Runtime writes no such table")


def network() -> Tuple[Any, Dict[str, Any], Any]:
    symbol = conv(relu(conv(mx.sym.var("data"), "c1"), "act"), "c2")
    args, aux = random_params(symbol, data=DATA.shape)
    params = {"arg_params": args, "aux_params": aux}
    return symbol, params, mxquant.calibrate(symbol, DATA, **params)


TABLES = [
    (tables.write_tensorrt_cache, tables.read_tensorrt_cache),
    (tables.write_onnxruntime_table, tables.read_onnxruntime_table),
]


@pytest.mark.parametrize(("write", "read"), TABLES)
@pytest.mark.parametrize("target", ["onednn", "onnx_qdq"])
def test_a_plan_comes_back_with_the_same_scales(write: Any, read: Any, target: str, tmp_path: Path) -> None:
    symbol, params, statistics = network()
    if target == "onnx_qdq" and write is tables.write_tensorrt_cache:
        params = {**params, "dtype": "int8"}  # TensorRT has no zero points
    plan = mxquant.make_plan(symbol, statistics, target=target, method="entropy", isa="vnni", **params)
    write(tmp_path / "table", plan)
    values = read(tmp_path / "table")
    again = mxquant.make_plan(symbol, statistics, target=target, largest_values=values, isa="vnni", **params)
    assert again.tensors.keys() == plan.tensors.keys()
    for name, tensor in plan.tensors.items():
        assert (again.tensors[name].dtype, again.tensors[name].zero_point) == (tensor.dtype, tensor.zero_point)
        assert again.tensors[name].scale == pytest.approx(tensor.scale, rel=2e-7)
    assert {tensor.method for tensor in again.tensors.values()} == {"given"}


def test_values_of_a_plan_are_a_table_in_which_other_tensors_are_passed_over() -> None:
    symbol, params, statistics = network()
    values = tables.largest_values(mxquant.make_plan(symbol, statistics, target="onnx_qdq", **params))
    values["of another network"] = 1.0
    plan = mxquant.make_plan(symbol, statistics, target="onednn", largest_values=values, **params)
    assert plan.tensors["data"].method == "given"


def test_the_cache_of_tensorrt_has_the_bits_of_the_scale(tmp_path: Path) -> None:
    symbol, params, statistics = network()
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", dtype="int8", **params)
    tables.write_tensorrt_cache(tmp_path / "cache", plan)
    header, *lines = (tmp_path / "cache").read_text().splitlines()
    assert header.startswith("TRT-") and header.endswith("-EntropyCalibration2")
    found = dict(line.split(": ") for line in lines)
    assert found.keys() == plan.tensors.keys()
    (scale,) = struct.unpack(">f", bytes.fromhex(found["data"]))
    assert scale == pytest.approx(plan.tensors["data"].scale, rel=1e-6)


def renamed(plan: Any, name: str) -> Any:
    """Return a plan in which the tensor 'data' has another name."""
    return replace(plan, tensors={name if each == "data" else each: value for each, value in plan.tensors.items()})


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb: 3f800000", r"a\nb: 3f800000"),
        ("a\rb", r"a\rb"),
        ("a\x85b", r"a\x85b"),
        ("a\u2028b", r"a\u2028b"),
        ("a\0", r"a\x00"),
        ("a\x1b[2J", r"a\x1b[2J"),
        ("a\ud800", r"a\ud800"),
        ("", ""),
        (" a", " a"),
        ("a\N{NO-BREAK SPACE}", "a\N{NO-BREAK SPACE}"),
        ("a: b", "a: b"),
    ],
)
def test_a_name_that_no_line_of_a_cache_can_have_is_refused(name: str, shown: str, tmp_path: Path) -> None:
    symbol, params, statistics = network()
    plan = renamed(mxquant.make_plan(symbol, statistics, target="onnx_qdq", dtype="int8", **params), name)
    with pytest.raises(PlanError) as error:
        tables.write_tensorrt_cache(tmp_path / "cache", plan)
    assert str(error.value).startswith(f"tensor '{shown}' cannot stand in a calibration cache for TensorRT")
    assert "give its layer another name" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a:0", "b c/d", "é 中文", "(Unnamed Layer* 64) [Shuffle]_output"])
def test_all_other_names_come_back(name: str, tmp_path: Path) -> None:
    symbol, params, statistics = network()
    plan = renamed(mxquant.make_plan(symbol, statistics, target="onnx_qdq", dtype="int8", **params), name)
    tables.write_tensorrt_cache(tmp_path / "cache", plan)
    assert tables.read_tensorrt_cache(tmp_path / "cache").keys() == plan.tensors.keys()


def test_a_cache_as_tensorrt_writes_it_has_short_numbers_and_zeros(tmp_path: Path) -> None:
    # Without zeros in front: 0x00e00000 is 1.75 * 2**-126.
    lines = [
        "input: 3caa54fc",
        "(Unnamed Layer* 64) [Shuffle]_output: 0",
        "366: 00000000",
        "zero: 80000000",
        "b: e00000",
    ]
    (tmp_path / "cache").write_text("\n".join(["TRT-8401-EntropyCalibration2", *lines, "395: 3CBE52AF", ""]))
    values = {"input": 2.640645, "b": 127 * 1.75 * 2**-126, "395": 2.950564}
    assert tables.read_tensorrt_cache(tmp_path / "cache") == pytest.approx(values, rel=1e-6, abs=0)


ORT = """
import sys
import numpy as np, onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
from onnxruntime.quantization import write_calibration_table

class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{"data": row[None]} for row in np.load(sys.argv[2])]

    def get_next(self):
        return self.left.pop() if self.left else None

calibrator = create_calibrator(sys.argv[1], augmented_model_path=sys.argv[1] + ".augmented",
                               calibrate_method=CalibrationMethod.MinMax)
calibrator.set_execution_providers(["CPUExecutionProvider"])
calibrator.collect_data(Reader())
write_calibration_table(calibrator.compute_data(), dir=sys.argv[3])
"""


@writes_json
def test_a_table_of_onnx_runtimes_own_tool_is_read(tmp_path: Path) -> None:
    symbol, params, statistics = network()
    mxquant.export_onnx(symbol, tmp_path / "net.onnx", input_shapes=DATA.shape, **params)
    np.save(tmp_path / "data.npy", DATA)
    arguments = [str(tmp_path / "net.onnx"), str(tmp_path / "data.npy"), str(tmp_path)]
    subprocess.run([sys.executable, "-W", "ignore", "-c", ORT, *arguments], check=True, capture_output=True)
    values = tables.read_onnxruntime_table(tmp_path / "calibration.json")
    for name in ("data", "c2_output"):
        assert values[name] == pytest.approx((statistics[name].minimum, statistics[name].maximum), rel=1e-5)
    assert values["act_output"] == pytest.approx(statistics["act_output"].maximum, rel=1e-5)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", largest_values=values, isa="vnni", **params)
    assert tables.largest_values(plan)["act_output"] == pytest.approx(values["act_output"], rel=1e-6)


@writes_json
def test_what_is_written_has_the_form_of_onnx_runtimes_own_tool(tmp_path: Path) -> None:
    symbol, params, statistics = network()
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", **params)
    values = tables.largest_values(plan)
    tables.write_onnxruntime_table(tmp_path / "ours.json", plan)
    ours = json.loads((tmp_path / "ours.json").read_text())
    theirs = TensorsData(CalibrationMethod.MinMax, {"data": (np.float32([-1.0]), np.float32([1.0]))}).to_dict()
    assert ours.keys() == theirs.keys()
    ends = {key: entry["data"][0] for key, entry in ours["data"]["data"].items() if key != "CLS"}
    data = plan.tensors["data"]
    assert ends == {"lowest": data.ends[0] * data.scale, "highest": data.ends[1] * data.scale}
    assert max(-ends["lowest"], ends["highest"]) == values["data"]
    assert ours["data"]["act_output"]["lowest"]["data"] == [0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with 'TRT-'"),
        ("data: 3c010a14\n", "does not begin with 'TRT-'"),
        ("TRT-8601-EntropyCalibration2\ndata: 3c010a140\n", "line 2: found 'data: 3c010a140', .* up to eight"),
        ("TRT-8601-EntropyCalibration2\n\ndata: \n", "line 3: found 'data: ', expected"),
        ("TRT-8601-EntropyCalibration2\ndata: 0x3c01\n", "line 2: found 'data: 0x3c01'"),
        ("TRT-8601-EntropyCalibration2\ndata: 7fc00000\n", "largest value of tensor 'data' is nan"),
        ("TRT-8601-EntropyCalibration2\ndata: bc010a14\n", "expected a positive number"),
    ],
)
def test_what_is_no_cache_of_tensorrt_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text(text)
    with pytest.raises(InputError, match=message):
        tables.read_tensorrt_cache(tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is no JSON"),
        ("[]", 'has no "data"'),
        ('{"data": {"x": {"lowest": 1}}}', "tensor 'x' has no number"),
        ('{"data": {"x": {"lowest": 1, "highest": {"data": [NaN]}}}}', "expected a positive number"),
    ],
)
def test_what_is_no_table_of_onnx_runtime_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "table").write_text(text)
    with pytest.raises(InputError, match=message):
        tables.read_onnxruntime_table(tmp_path / "table")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (tables.read_tensorrt_cache, tables.read_onnxruntime_table):
        with pytest.raises(InputError, match="cannot read the calibration .* '.*none': No such file"):
            read(tmp_path / "none")


def test_values_given_have_to_be_positive() -> None:
    symbol, params, statistics = network()
    for value in (0, -1.0, float("nan"), "1", True):
        with pytest.raises(InputError, match=r"largest_values\['data'\] is .*, expected a positive number"):
            mxquant.make_plan(symbol, statistics, largest_values={"data": value}, **params)
