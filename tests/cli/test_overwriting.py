"""No command writes over what it reads, whatever the two names of a file are."""

from __future__ import annotations

import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, get_type_hints

import pytest

from mxquant.cli import bench, calibrate, compare, doctor, export, plan, quantize, score, sensitivity
from mxquant.cli.cluster import ClusterOptions
from mxquant.cli.data import DataOptions
from mxquant.cli.files import check_files, examples
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common
from mxquant.cli.planning import PlanningOptions
from mxquant.errors import InputError

GROUPS = (
    bench.BenchOptions,
    calibrate.CalibrateOptions,
    compare.CompareOptions,
    doctor.DoctorOptions,
    export.ExportOptions,
    plan.PlanOptions,
    quantize.QuantizeOptions,
    score.ScoreOptions,
    sensitivity.SensitivityOptions,
    ClusterOptions,
    DataOptions,
    NetworkOptions,
    PlanningOptions,
    Common,
)

# A command line, the option that reads, and the file.
CASES = {
    "the checkpoint, by a prefix": ("quantize -m net -d calib.npy -o net", "--model", "net-symbol.json"),
    "its symbol, of another epoch": ("quantize -m net:7 -d calib.npy -o net", "--model", "net-symbol.json"),
    "its parameters": ("calibrate -m net -d calib.npy -o net-0000.params", "--model", "net-0000.params"),
    "a symbol": (
        "plan --symbol net-symbol.json --params net-0000.params --statistics stats.npz -o net-symbol.json",
        "--symbol",
        "net-symbol.json",
    ),
    "parameters": (
        "plan --symbol net-symbol.json --params net-0000.params --statistics stats.npz -o net-0000.params",
        "--params",
        "net-0000.params",
    ),
    "an ONNX file": ("quantize --onnx net.onnx -d calib.npy --target onnx_qdq -o net", "--onnx", "net.onnx"),
    "an ONNX file by export": ("export --onnx net.onnx --input-shape 1,3,32,32 -o net.onnx", "--onnx", "net.onnx"),
    "an array": ("calibrate -m net -d calib.npy -o calib.npy", "--data", "calib.npy"),
    "an array behind a URL": ("calibrate -m net -d file://{folder}/calib.npy -o calib.npy", "--data", "calib.npy"),
    "what a calibration keeps": ("calibrate -m net -d s.npz.partial -o s.npz", "--data", "s.npz.partial"),
    "a record file": ("doctor -m net -d val.rec -o val.rec", "--data", "val.rec"),
    "its index": ("compare -m net --plan plan.json -d val.rec -o val.idx", "--data", "val.idx"),
    "an image": ("doctor -m net -d images -o images/a/00.bmp", "--data", "images/a/00.bmp"),
    "the source of a function": ("sensitivity -m net -d own:load -o own.py", "--data", "own.py"),
    "statistics": ("plan -m net --statistics stats.npz -o stats.npz", "--statistics", "stats.npz"),
    "statistics of quantize": (
        "quantize -m net -d calib.npy --target onnx_qdq --statistics s.onnx -o s",
        "--statistics",
        "s.onnx",
    ),
    "a plan": ("compare -m net --plan plan.json -d calib.npy -o plan.json", "--plan", "plan.json"),
    "a plan by a cache": ("export -m net --plan qdq.json --tensorrt-cache qdq.json", "--plan", "qdq.json"),
    "the plan of an int8 network": (
        "doctor -m net --int8 net-int8 -d calib.npy -o net-int8-plan.json",
        "--int8",
        "net-int8-plan.json",
    ),
    "another spelling": ("calibrate -m net -d calib.npy -o images/../calib.npy", "--data", "images/../calib.npy"),
    "a link to it": ("calibrate -m net -d calib.npy -o link.npy", "--data", "link.npy"),
    "what a link names": ("calibrate -m net -d link.npy -o calib.npy", "--data", "calib.npy"),
    "a hard link": ("calibrate -m net -d calib.npy -o hard.npy", "--data", "hard.npy"),
    "an image by a link to its folder": ("doctor -m net -d pictures -o images/b/01.bmp", "--data", "images/b/01.bmp"),
    "a linked checkpoint": ("quantize -m net -d calib.npy -o same", "--model", "same-symbol.json"),
}


def contents(folder: Path) -> Dict[str, Any]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def linked(folder: Path) -> Path:
    """Return the folder with other names of what is in it, and with outputs of earlier runs."""
    os.symlink("calib.npy", "link.npy")
    os.link("calib.npy", "hard.npy")
    os.symlink("images", "pictures")
    os.symlink("net-symbol.json", "same-symbol.json")
    shutil.copy("stats.npz", "s.onnx")
    shutil.copy("stats.npz", "s.npz.partial")
    Path("own.py").write_text("import numpy as np\ndef load():\n    return np.load('calib.npy')\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("case", CASES)
def test_an_output_that_is_an_input_is_refused_with_both_options(linked: Path, call: Any, case: str) -> None:
    words, source, path = CASES[case]
    out = "--tensorrt-cache" if "--tensorrt-cache" in words else "--out"
    before = contents(linked)
    done = call(*words.format(folder=linked).split(), "-q")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"error: {out} would overwrite '{path}', which {source} reads"), done.err
    assert contents(linked) == before


def test_nothing_is_read_before(folder: Path, call: Any) -> None:
    Path("bad-symbol.json").write_text("no symbol", encoding="utf-8")
    done = call("quantize", "-m", "bad", "-d", "no:function", "-o", "bad", "--accuracy", "nonsense")
    assert done.err == ("error: --out would overwrite 'bad-symbol.json', which --model reads; name another output\n")


def test_the_other_name_is_told(linked: Path, call: Any) -> None:
    done = call("calibrate", "-m", "net", "-d", "calib.npy", "-o", "hard.npy")
    assert "overwrite 'hard.npy', which --data reads by another name, 'calib.npy'; name another" in done.err


def test_two_outputs_are_two_files(folder: Path, call: Any) -> None:
    words = ("export", "-m", "net", "--plan", "qdq.json", "--input-shape", "1,3,32,32", "-o", "x")
    done = call(*words, "--tensorrt-cache", "images/../x")
    assert done.code == 2 and "--out and --tensorrt-cache would both write 'x'; name two files" in done.err
    assert not Path("x").exists()


@pytest.mark.parametrize(
    "words",
    [
        # The ONNX file has another name than the checkpoint.
        "quantize -m net -d calib.npy -n 4 --target onnx_qdq --accuracy fast -o fresh",
        # What the last run has written.
        "quantize -m net -d calib.npy -n 4 --accuracy fast -o net-int8",
        "calibrate -m net -d calib.npy -n 4 -o old.npz",
        "doctor -m net -d images --image-size 32 -n 4 -o images/report.html",
    ],
)
def test_what_is_no_input_may_be_replaced(folder: Path, call: Any, words: str) -> None:
    for name in ("fresh.onnx", "old.npz", "images/report.html"):
        Path(name).write_text("of an earlier run", encoding="utf-8")
    for end in ("symbol.json", "0000.params"):
        shutil.copy(f"net-{end}", f"fresh-{end}")
    done = call(*words.replace("-m net ", "-m fresh ").split(), "-q")
    assert done.code == 0, done.err


def test_what_is_read_besides_the_data() -> None:
    assert examples("x/val.rec", {}) == ["x/val.rec", "x/val.idx"]
    assert examples("a.b:load", {}) == ["a.b:load", "a/b.py"]
    assert examples("file:///x/val.rec", {}) == ["/x/val.rec", "/x/val.idx"]
    assert examples("s3://bucket/val.rec", {}) == []


def test_a_folder_that_cannot_be_looked_into_is_not_its_business(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("", encoding="utf-8")
    check_files([("--data", str(tmp_path)), ("--data", str(tmp_path / "absent"))], [("--out", str(out))])
    with pytest.raises(InputError, match="--out would overwrite"):
        check_files([("--data", str(out))], [("--out", str(out))])


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_that_names_files_says_whether_they_are_read_or_written(group: Any) -> None:
    for each in fields(group):
        metavar = str(each.metadata["about"].get("metavar"))
        files = Path in getattr(get_type_hints(group)[each.name], "__args__", (get_type_hints(group)[each.name],))
        if files or "FILE" in metavar or "PREFIX" in metavar or "PATH" in metavar:
            assert (each.metadata["reads"] is None) != (each.metadata["writes"] is None), each.name
