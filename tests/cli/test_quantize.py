"""``mxquant quantize`` writes what the library makes, tells how good it is, and whether that is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant.cli import quality
from mxquant.cli.requirements import fallen
from mxquant.lowering.isa import LEVELS, detect
from mxquant.runtime.mxnet import mx
from tests.families.small import built
from tests.networks import forward, sqnr

QUANTIZE = ("quantize", "-m", "net", "-d", "calib.npy", "-n", "8", "-o", "int8")
OTHER = next(level for level in LEVELS if level != detect())


def test_the_files_are_those_of_the_library(folder: Path, call: Any) -> None:
    done = call(*QUANTIZE, "--accuracy", "fast", "--method", "minmax", "--exclude", "conv0")
    assert done.code == 0
    symbol, args, aux = mx.model.load_checkpoint("net", 0)
    expected = mxquant.quantize(
        symbol,
        np.load("calib.npy")[:8],
        arg_params=args,
        aux_params=aux,
        accuracy="fast",
        method="minmax",
        exclude_layers=["conv0"],
    )
    found = mxquant.load("int8")
    assert found.plan == expected.plan and found.plan.layers["conv0"].precision == "float32"
    assert set(found.arg_params) == set(expected.arg_params)
    for name, value in expected.arg_params.items():
        assert np.array_equal(found.arg_params[name].asnumpy(), value.asnumpy())


def test_the_summary_tells_what_was_made(folder: Path, call: Any) -> None:
    out = call(*QUANTIZE, "--accuracy", "fast", "--exclude", "conv0").out
    rows = {line[:11].strip(): line[11:].strip() for line in out.splitlines()}
    assert rows["in int8"] == "4 of 5 layers" or rows["in int8"].endswith("layers")
    assert "conv0 (Convolution): excluded by the user" in rows["in float32"] or "conv0" in rows["in float32"]
    assert "dB" in rows["SQNR"] and "16 examples held out of calibration, on this CPU" in rows["SQNR"]
    assert "kB in fp32" in rows["parameters"]
    assert rows["made for"] == f"CPUs of level '{detect()}', as this one"
    assert rows["wrote"] == "int8-symbol.json, int8-0000.params, int8-plan.json"


def test_the_sqnr_is_that_of_the_int8_network_on_examples_that_it_has_not_seen(folder: Path, call: Any) -> None:
    found = call(*QUANTIZE, "--json").json["quality"]
    held, int8 = np.load("calib.npy")[8:], mxquant.load("int8")
    exact = forward(*mx.model.load_checkpoint("net", 0), data=held)[0]
    expected = sqnr(exact, forward(int8.symbol, int8.arg_params, int8.aux_params, data=held)[0])
    assert found["held"] is True and found["examples"] == 16
    assert found["sqnr"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("isa", [detect(), OTHER])
def test_a_detector_is_judged_by_its_scores_and_boxes(isa: str, tmp_path: Path, monkeypatch: Any, call: Any) -> None:
    monkeypatch.chdir(tmp_path)
    symbol, args, aux, data = built("SSD, anchors as parameters")
    mx.model.save_checkpoint("ssd", 0, symbol, args, aux)
    np.save("photos.npy", data)
    quantize = ("quantize", "-m", "ssd", "-d", "photos.npy", "-o", "int8", "--accuracy", "fast", "--isa", isa)
    found = call(*quantize, "--json", "--require", "sqnr>=30")
    assert found.code == 0
    heads = mxquant.compare(symbol, mxquant.load("int8"), data, arg_params=args, aux_params=aux).outputs
    levels = [head.int8_sqnr if isa == detect() else head.sqnr for head in heads]
    assert found.json["quality"]["sqnr"] == pytest.approx(min(levels), abs=0.01)


def test_without_examples_to_spare_those_of_the_calibration_are_used_and_it_says_so(folder: Path, call: Any) -> None:
    done = call("quantize", "-m", "net", "-d", "calib.npy", "-o", "int8", "--accuracy", "fast")
    assert "24 examples that it was calibrated on" in done.out


def test_examples_that_statistics_are_of_are_not_held_out(folder: Path, call: Any) -> None:
    words = ("quantize", "-m", "net", "-d", "calib.npy", "-o", "int8", "--statistics", "few.npz", "--json")
    assert call("calibrate", "-m", "net", "-d", "calib.npy", "-n", "6", "-o", "few.npz").code == 0
    assert call(*words).json["quality"]["examples"] == 18
    # More of them change weights here than the thresholds are of.
    assert call(*words, "-n", "10").json["quality"]["examples"] == 14


@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_what_gives_the_same_codes_on_every_cpu_runs_here(folder: Path, call: Any, isa: str) -> None:
    found = call(*QUANTIZE, "--isa", isa, "--json").json
    assert (found["isa"], found["cpu"]) == (isa, detect())
    assert found["quality"]["how"] == "on this CPU" and found["quality"]["sqnr"] > 20


def test_what_would_saturate_here_is_simulated(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mxquant.lowering.level_warnings.detect", lambda: "avx2")
    found = call(*QUANTIZE, "--isa", "vnni", "--json").json
    assert found["isa"] == "vnni"
    assert found["quality"]["how"] == "simulated for 'vnni'" and found["quality"]["sqnr"] > 20


def test_a_compact_file_is_smaller_and_can_be_read(folder: Path, call: Any) -> None:
    plain = call(*QUANTIZE, "--json").json
    compact = call(*QUANTIZE, "--json", "--compact").json
    assert compact["bytes_after"] < plain["bytes_after"]
    assert mxquant.load("int8").plan.network == mxquant.load("net-int8").plan.network


def test_for_onnx_it_writes_onnx_and_runs_it(folder: Path, call: Any) -> None:
    done = call(*QUANTIZE, "--target", "onnx_qdq", "--json")
    assert done.json["files"] == ["int8.onnx"] and Path("int8.onnx").is_file()
    assert done.json["quality"]["how"] == "by ONNX Runtime on this CPU" and done.json["quality"]["sqnr"] > 20
    assert not list(folder.glob("int8-*"))


def test_for_a_gpu_the_files_are_written_and_nothing_is_measured(folder: Path, call: Any) -> None:
    done = call(*QUANTIZE, "--target", "cudnn")
    assert done.code == 0 and "not measured: it needs a GPU" in done.out


def test_statistics_that_are_there_are_used(folder: Path, call: Any) -> None:
    done = call(
        "quantize", "-m", "net", "-d", "calib.npy", "-o", "int8", "--accuracy", "fast", "--statistics", "stats.npz"
    )
    assert done.code == 0 and "calibrating" not in done.err
    symbol, args, aux = mx.model.load_checkpoint("net", 0)
    expected = mxquant.make_plan(symbol, mxquant.Statistics.load("stats.npz"), arg_params=args, aux_params=aux)
    assert mxquant.load("int8").plan.tensors == expected.tensors
    assert call(*QUANTIZE, "--statistics", "nowhere.npz").code == 2


def test_a_level_that_is_reached_exits_with_0_and_one_that_is_not_with_1(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*QUANTIZE, "--require", "sqnr>=10", "--require", "agreement>=1%").code == 0
    # The search has found it on calibration examples, others tell that it is not so.
    measured = quality.Quality(9.5, 0.9, None, 16, True, "on this CPU")
    monkeypatch.setattr(quality, "quality", lambda *_: measured)
    done = call(*QUANTIZE, "--require", "sqnr>=10", "--require", "agreement>=95%", "--json")
    # What was made is the best that was found, and is written.
    assert done.code == 1 and Path("int8-plan.json").is_file()
    assert done.json["unmet"] == ["sqnr >= 10: it is 9.5", "agreement >= 0.95: it is 0.9"]
    assert "not reached: sqnr >= 10: it is 9.5\nnot reached: agreement >= 0.95: it is 0.9\n" in done.err


def test_a_level_between_leaves_layers_in_float32(folder: Path, call: Any) -> None:
    whole = call(*QUANTIZE, "--json").json
    assert whole["int8_layers"] == whole["layers"]
    level = whole["quality"]["sqnr"] + 5
    done = call(*QUANTIZE, "--json", "--require", f"sqnr>={level:.1f} dB")
    assert done.json["int8_layers"] < whole["int8_layers"]
    assert "layers in float32 reach" in done.json["mixed_precision"]


def test_max_drop_is_of_the_accuracy_on_data_with_labels(folder: Path, call: Any) -> None:
    words = ("quantize", "-m", "net", "-d", "labelled.npz", "-n", "8", "-o", "int8", "--max-drop")
    images = np.load("calib.npy")
    # The classes that fp32 finds: it is always right, and every other answer is a drop.
    np.savez(
        "labelled.npz", data=images, label=forward(*mx.model.load_checkpoint("net", 0), data=images)[0].argmax(axis=1)
    )
    done = call(*words, "50%", "--json")
    assert done.code == 0 and 0 <= done.json["quality"]["top1_drop"] <= 0.5
    assert call("quantize", "-m", "net", "-d", "calib.npy", "-o", "x", "--max-drop", "1%").code == 2


def test_a_drop_that_is_too_large_is_not_enough() -> None:
    assert fallen(0.90 - 0.89, 0.01) is None and fallen(-0.1, 0.0) is None
    assert fallen(0.90 - 0.89, 0.009) == "top-1 accuracy falls by 1.00%, more than 0.90%"
    assert "could not be measured" in str(fallen(None, 0.01))


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("--require", "sqnr>20"), "--require is 'sqnr>20', expected one of 'sqnr>=20', 'agreement>=99%'"),
        (("--require", "top1>=0.5"), "expected one of 'sqnr>=20'"),
        (("--require", "agreement>=99"), "agreement is a share; write 99% or 0.99"),
        (("--require", "agreement>=20 dB"), "expected one of"),
        (("--max-drop", "2"), "--max-drop is '2', expected a share"),
        (("--max-drop", "1%"), "--max-drop needs labels, but 'calib.npy' has none"),
        (("--accuracy", "good"), "--accuracy is 'good', expected one of 'fast', 'balanced', 'best'"),
        (("--exclude", "cnov0"), "did you mean 'conv0'"),
        (("--exclude-op", "Dropout"), "the network has no operator 'Dropout'"),
        (("--compact", "--target", "onnx_qdq"), "--compact is for --target onednn"),
        (("--statistics", "stats.npz", "--resume"), "with --statistics there is none"),
        (("--never-slower", "--isa", OTHER), "never_slower measures this CPU"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, call: Any, words: Any, sentence: str) -> None:
    before = sorted(folder.iterdir())
    done = call(*QUANTIZE, *words, "-q")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert sentence in done.err
    assert sorted(folder.iterdir()) == before
