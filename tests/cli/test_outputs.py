"""Outputs are tried before the work: what cannot be written is refused before anything is read or computed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mxquant.files.targets import beside

COMMANDS = {
    "calibrate": ("calibrate -m net -d calib.npy -o", "{out}"),
    "plan": ("plan -m net --statistics stats.npz -o", "{out}"),
    "export": ("export -m net --input-shape 1,3,32,32 -o", "{out}"),
    "doctor": ("doctor -m net -d calib.npy -o", "{out}"),
    "compare": ("compare -m net --plan plan.json -d calib.npy -o", "{out}"),
    "sensitivity": ("sensitivity -m net -d calib.npy -o", "{out}"),
    "quantize": ("quantize -m net -d calib.npy -o", "{prefix}"),
    "tensorrt cache": ("export -m net --input-shape 1,3,32,32 --plan plan.json --tensorrt-cache", "{out}"),
}
NAME = "out-symbol.json"


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any reading of a network fail: it would come too early."""

    def refuse(self: Any) -> Any:
        raise AssertionError("the network is read before the output is tried")

    monkeypatch.setattr("mxquant.cli.network.NetworkOptions.load", refuse)


def words(command: str) -> str:
    head, tail = COMMANDS[command]
    return f"{head} {tail.format(out=NAME, prefix='out')}"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: os.mkfifo(path), "it is a FIFO, expected a regular file"),
        (lambda path: path.symlink_to(os.devnull), "it is a device, expected a regular file"),
        (lambda path: path.mkdir(), "is a folder, expected a file"),
    ],
    ids=["fifo", "device", "folder"],
)
def test_what_is_no_file_is_refused_before_the_work(
    command: str, make: Any, reason: str, folder: Path, call: Any, no_work: None
) -> None:
    make(Path(NAME))
    before = os.lstat(NAME).st_mode
    done = call(*words(command).split())
    assert done.code == 2 and reason in done.err and NAME in done.err, done.err
    assert os.lstat(NAME).st_mode == before


@pytest.mark.parametrize("out", ["", ".", "..", "images/.", "images/"])
def test_a_prefix_that_is_no_name_is_refused_before_the_work(out: str, folder: Path, call: Any, no_work: None) -> None:
    done = call(*COMMANDS["quantize"][0].split(), out)
    assert done.code == 2 and ("--out is empty" if not out else f"--out: '{out}' is a folder") in done.err, done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_too_long_is_refused_before_the_work(
    command: str, folder: Path, call: Any, no_work: None
) -> None:
    head, _ = COMMANDS[command]
    done = call(*head.split(), "x" * 256)
    assert done.code == 2 and "File name too long" in done.err


def test_what_an_interrupted_run_keeps_is_tried_too(folder: Path, call: Any, no_work: None) -> None:
    os.mkfifo("x.partial")
    done = call("calibrate", "-m", "net", "-d", "calib.npy", "-o", "x")
    assert done.code == 2 and "--out: cannot write 'x.partial': it is a FIFO" in done.err


@pytest.mark.parametrize("length", [247, 248, 255])
def test_the_longest_names_work_and_a_calibration_goes_on_beside_them(length: int, folder: Path, call: Any) -> None:
    name = "s" * (length - 4) + ".npz"
    words = ("calibrate", "-m", "net", "-d", "calib.npy", "-o", name)
    partial = beside(name, ".partial")
    partial.write_bytes(Path("stats.npz").read_bytes())
    refused = call(*words)
    assert refused.code == 2 and f"'{partial}' is of a calibration that was interrupted" in refused.err
    assert call(*words, "--resume").code == 0
    assert Path(name).read_bytes() == Path("stats.npz").read_bytes() and not partial.exists()


def test_a_long_prefix_of_an_onnx_file_works(folder: Path, call: Any) -> None:
    prefix = "q" * 250
    done = call("quantize", "-m", "net", "-d", "calib.npy", "--accuracy", "fast", "--target", "onnx_qdq", "-o", prefix)
    assert done.code == 0 and Path(f"{prefix}.onnx").is_file(), done.err


def test_an_output_keeps_the_mode_of_what_it_replaces(folder: Path, call: Any) -> None:
    Path("s.npz").write_text("old")
    Path("s.npz").chmod(0o600)
    assert call("calibrate", "-m", "net", "-d", "calib.npy", "-o", "s.npz").code == 0
    assert stat.S_IMODE(Path("s.npz").stat().st_mode) == 0o600
    assert not [each for each in os.listdir() if each.startswith(".")]
