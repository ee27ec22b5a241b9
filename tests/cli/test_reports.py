"""``plan``, ``compare``, ``sensitivity``, ``inspect`` and ``export`` show and write what the library finds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant.cli.shapes import input_shapes
from mxquant.errors import InputError
from mxquant.plan.tables import largest_values, read_tensorrt_cache
from mxquant.runtime.mxnet import mx
from tests.networks import dense, images, random_params

PLAN = ("plan", "-m", "net", "--statistics", "stats.npz", "-o", "p.json")


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_plan_says_why_layers_are_float32(folder: Path, call: Any) -> None:
    done = call(*PLAN, "--exclude", "conv?", "--exclude-op", "Pooling", "--isa", "vnni")
    plan = mxquant.QuantPlan.load("p.json")
    assert plan.isa == "vnni"
    for layer in plan.layers.values():
        assert (f"{layer.name} ({layer.op})" in done.out) == (layer.precision == "float32")
        assert layer.precision == "int8" or layer.reason in done.out
    found = call(*PLAN, "--exclude", "conv0", "--json").json
    assert found["float32"][0]["layer"] == "conv0" and found["layers"] == found["int8_layers"] + len(found["float32"])


def test_a_plan_needs_no_data_so_that_the_method_cannot_be_auto(folder: Path, call: Any) -> None:
    done = call(*PLAN, "--method", "auto")
    assert done.code == 2 and "--method auto reads examples" in done.err
    assert call(*PLAN, "--method", "percentile", "--percentile", "99").code == 0


def test_a_plan_takes_every_choice(folder: Path, call: Any) -> None:
    words = ("--dtype", "int8", "--mode", "full", "--granularity", "tensor-wise", "--target", "onnx_qdq")
    assert call(*PLAN, *words).code == 0
    plan = mxquant.QuantPlan.load("p.json")
    assert plan.target == "onnx_qdq" and "uint8" not in {t.dtype for t in plan.tensors.values()}
    assert (plan.settings["mode"], plan.settings["granularity"]) == ("full", "tensor-wise")


def test_compare_shows_layers_and_writes_them_as_csv(folder: Path, call: Any) -> None:
    done = call("compare", "-m", "net", "--int8", "net-int8", "-d", "calib.npy", "-o", "layers.csv")
    assert done.code == 0 and "conv1" in done.out and "on this CPU" in done.out
    found = rows("layers.csv")
    assert "conv0" in [row["layer"] for row in found] and float(found[0]["sqnr"]) > 10


@pytest.mark.parametrize("word, code", [("sqnr>=10", 0), ("sqnr>=300", 1), ("agreement>=1%", 2)])
def test_compare_judges_the_output(folder: Path, call: Any, word: str, code: int) -> None:
    assert call("compare", "-m", "net", "--plan", "plan.json", "-d", "calib.npy", "--require", word).code == code


def test_compare_wants_one_thing_to_compare_with(folder: Path, call: Any) -> None:
    for words in ((), ("--int8", "net-int8", "--plan", "plan.json")):
        done = call("compare", "-m", "net", "-d", "calib.npy", *words)
        assert done.code == 2 and "expected one of --int8 and --plan" in done.err


def test_sensitivity_ranks_layers_and_writes_them_as_csv(folder: Path, call: Any) -> None:
    done = call("sensitivity", "-m", "net", "-d", "calib.npy", "-n", "8", "-o", "layers.csv", "--json")
    levels = [row["both"] for row in done.json["layers"]]
    assert len(levels) >= 3 and levels == sorted(levels)
    assert [float(row["both"]) for row in rows("layers.csv")] == levels


def test_inspect_tells_what_each_kind_of_file_holds(folder: Path, call: Any) -> None:
    Path("s.npz.partial").write_bytes(Path("stats.npz").read_bytes())
    names = ["stats.npz", "s.npz.partial", "plan.json", "net-symbol.json", "net-0000.params", "net", "net-int8:0"]
    found = {each["file"]: each for each in call("inspect", *names, "net.onnx", "--json").json["files"]}
    kinds = ["statistics", "statistics", "plan", "symbol", "parameters", "checkpoint", "checkpoint", "onnx"]
    assert [found[name]["kind"] for name in [*names, "net.onnx"]] == kinds
    assert found["stats.npz"]["examples"] == 24
    assert found["stats.npz"]["network"] == found["plan.json"]["network"] == found["net"]["network"]
    assert found["net"]["operators"]["Convolution"] == 2 and found["net"]["int8_operators"] == 0
    assert found["net"]["inputs"] == ["data"] and found["net"]["plan"] is None
    assert found["net-int8:0"]["int8_operators"] >= 4 and found["net-int8:0"]["plan"]["target"] == "onednn"
    assert found["net.onnx"]["inputs"]["data"][1:] == [3, 32, 32] and found["net.onnx"]["int8_tensors"] == 0
    text = call("inspect", *names, "net.onnx").out
    assert all(f"{name}: " in text for name in names)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("nothing", "there is no file 'nothing', and there is no checkpoint 'nothing-symbol.json'"),
        ("images", "cannot read 'images': Is a directory, and there is no checkpoint 'images-symbol.json'"),
        ("calib.npy", "ends in '.npy', expected"),
        ("bad.json", "cannot read the file 'bad.json'"),
        ("list.json", "expected"),
        ("bad-symbol.json", "cannot read the symbol 'bad-symbol.json'"),
        ("bad.npz", "bad.npz"),
        ("bad.onnx", "cannot read 'bad.onnx' as ONNX"),
        ("bad.params", "cannot read the parameters 'bad.params'"),
    ],
)
def test_inspect_refuses_what_it_does_not_know(folder: Path, call: Any, name: str, sentence: str) -> None:
    for bad in ("bad.json", "bad.npz", "bad.onnx", "bad.params"):
        Path(bad).write_bytes(b"\x08\x93 this is nothing")
    Path("bad-symbol.json").write_text('{"nodes": 3}', encoding="utf-8")
    Path("list.json").write_text("[1]", encoding="utf-8")
    done = call("inspect", name)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert sentence in done.err


def test_export_writes_what_onnx_runtime_runs(folder: Path, call: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    shape = ("--input-shape", "1,3,32,32")
    assert call("export", "-m", "net", "-o", "a.onnx", *shape).code == 0
    done = call(
        "export", "-m", "net", "-o", "b.onnx", *shape, "--plan", "qdq.json", "--statistics", "stats.npz", "--json"
    )
    assert done.json["int8_layers"] > 0 and done.json["input_shapes"] == {"data": [1, 3, 32, 32]}
    one, other = (
        onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"]).run(None, {"data": images(4, 3, 32, 32)})
        for name in ("a.onnx", "b.onnx")
    )
    assert 0 < np.abs(one[0] - other[0]).max() < 0.2 * np.abs(one[0]).max()
    assert call("inspect", "b.onnx", "--json").json["files"][0]["int8_tensors"] > 0


def test_export_writes_a_cache_for_tensorrt(folder: Path, call: Any) -> None:
    assert call("export", "-m", "net", "--plan", "plan.json", "--tensorrt-cache", "net.cache").code == 0
    expected = largest_values(mxquant.QuantPlan.load("plan.json"))
    assert read_tensorrt_cache("net.cache") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "words, sentence",
    [
        ((), "expected --out, --tensorrt-cache, or both"),
        (("-o", "x.onnx"), "--input-shape is missing, expected 1,3,224,224"),
        (("-o", "x.onnx", "--input-shape", "three"), "--input-shape is 'three'"),
        (("-o", "x.onnx", "--input-shape", "1,3,32,32", "--plan", "plan.json"), "plan again with target='onnx_qdq'"),
        (("--tensorrt-cache", "x"), "--tensorrt-cache needs --plan"),
        (("-o", "x.onnx", "--input-shape", "1,3,32,32", "--statistics", "stats.npz"), "--statistics needs --plan"),
        (("--plan", "no.json", "--tensorrt-cache", "x"), "cannot read the plan 'no.json'"),
    ],
)
def test_export_says_what_is_missing(folder: Path, call: Any, words: Any, sentence: str) -> None:
    done = call("export", "-m", "net", *words)
    assert done.code == 2 and sentence in done.err
    assert not list(folder.glob("x*"))


def test_shapes_of_inputs() -> None:
    assert input_shapes(["1,3,8,8"], ["data"]) == {"data": (1, 3, 8, 8)}
    assert input_shapes(["b=1x4", "a=2,3"], ["a", "b"]) == {"a": (2, 3), "b": (1, 4)}
    for texts in ([], ["1,2"], ["a=1,2"], ["a=1", "a=2"], ["a=1", "b=0,2"], ["a=1", "c=2"]):
        with pytest.raises(InputError, match="expected --input-shape a=1,3,224,224 and --input-shape b=1,3,224,224"):
            input_shapes(texts, ["a", "b"])


def test_bench_times_both_in_turns_with_threads_of_its_own(folder: Path, call: Any) -> None:
    words = ("bench", "-m", "net", "--int8", "net-int8", "--image-size", "32", "--rounds", "3")
    done = call(*words, "-b", "1", "-b", "3", "-t", "7", "--json")
    assert done.code == 0, done.err
    assert [(row["threads"], row["batch_size"]) for row in done.json["rows"]] == [(7, 1), (7, 3)]
    for row in done.json["rows"]:
        assert row["speedup"] == pytest.approx(row["fp32_ms"] / row["int8_ms"])
    lines = call(*words).out.splitlines()
    assert lines[0].split()[:2] == ["threads", "batch"] and len(lines) == 2


def test_bench_quantizes_by_itself_and_refuses_what_it_cannot_run(folder: Path, call: Any) -> None:
    before = sorted(folder.iterdir())
    assert call("bench", "-m", "net", "--input-shape", "1,3,32,32", "--rounds", "1").code == 0
    assert sorted(folder.iterdir()) == before
    done = call("bench", "-m", "net", "--int8", "net-int8", "--input-shape", "1,4,32,32")
    assert done.code == 2 and "does not take data of shape (1, 4, 32, 32)" in done.err
    symbol = dense(mx.sym.var("a"), "fc", 4) + mx.sym.var("b")
    mx.model.save_checkpoint("two", 0, symbol, *random_params(symbol, a=(1, 4), b=(1, 4)))
    done = call("bench", "-m", "two")
    assert done.code == 2 and "--input-shape is missing, expected --input-shape a=1,3,224,224" in done.err


def test_json_of_an_infinite_level_is_text(folder: Path, call: Any) -> None:
    Path("p.json").write_text(Path("plan.json").read_text(encoding="utf-8"), encoding="utf-8")
    plan = mxquant.QuantPlan.load("p.json")
    for name in plan.layers:
        plan = plan.edit_layer(name, precision="float32", granularity=None, weight_codes=None, pair_codes=None)
    plan.save("p.json")
    done = call("compare", "-m", "net", "--plan", "p.json", "-d", "calib.npy", "--json")
    assert json.loads(done.out)["sqnr"] == "inf"
