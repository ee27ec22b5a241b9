"""Ctrl-C leaves no half of a file, says how to go on, and going on gives the same result to the last byte."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest

import mxquant
from mxquant.cli import quantize as quantize_module

# Batches of two; the fifth one does not come before Ctrl-C, which so finds a calibration that is running.
SLOW = """
import os, time
import numpy as np
def load():
    X = np.load("calib.npy")
    for begin in range(0, 24, 2):
        if os.environ.get("SLOW") and begin == 8:
            open("running", "w").close()
            while not os.path.exists("pressed"):
                time.sleep(0.01)
        yield X[begin : begin + 2]
"""


@pytest.fixture(autouse=True)
def at_a_terminal() -> Iterator[None]:
    """Let processes begin as at a terminal: those of a shell's jobs in the background ignore Ctrl-C."""
    original = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, original)


@pytest.fixture
def slow(folder: Path, environment: Dict[str, str]) -> Path:
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")
    return folder


def interrupted(words: List[str], environment: Dict[str, str]) -> Any:
    """Run the command in a process of its own, and press Ctrl-C while it counts, however long it takes to get there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mxquant.cli", *words],
        env={**environment, "SLOW": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not Path("running").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    Path("pressed").touch()
    out, err = process.communicate()
    return process.returncode, out, err


def files() -> List[str]:
    return sorted(path.name for path in Path(".").iterdir() if path.name != "__pycache__")


def test_a_calibration_goes_on_to_the_same_file(slow: Path, call: Any, environment: Dict[str, str]) -> None:
    words = ["calibrate", "-m", "net", "-d", "slow:load", "-o", "s.npz"]
    before = files()
    code, out, err = interrupted(words, environment)
    assert (code, out) == (130, ""), err
    assert sorted({*files()} - {*before}) == ["pressed", "running", "s.npz.partial"]
    match = re.search(r"^interrupted; 's.npz.partial' keeps the calibration on (\d+) examples, .* --resume", err, re.M)
    assert match is not None and "Traceback" not in err
    count = mxquant.Statistics.load("s.npz.partial").num_examples
    assert 0 < count == int(match.group(1)) < 24
    refused = call(*words)
    assert refused.code == 2 and "add --resume to go on from it, or delete it" in refused.err
    resumed = call(*words, "--resume")
    assert resumed.code == 0 and f"goes on after {count} examples" in resumed.err
    assert not Path("s.npz.partial").exists()
    assert call(*words[:-1], "whole.npz").code == 0
    assert Path("s.npz").read_bytes() == Path("whole.npz").read_bytes()


def test_quantize_goes_on_to_the_same_network(slow: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["quantize", "-m", "net", "-d", "slow:load", "--accuracy", "fast", "-o"]
    before = files()

    def pressed(*_: Any) -> None:
        raise KeyboardInterrupt

    # While weights are improved: the calibration is kept whole.
    with monkeypatch.context() as patched:
        patched.setattr(quantize_module, "_quantized", pressed)
        done = call(*words, "a")
    assert done.code == 130 and "'a.partial.npz' keeps the calibration on 24 examples" in done.err
    assert sorted({*files()} - {*before}) == ["a.partial.npz"]
    assert call(*words, "a").code == 2
    assert call(*words, "a", "--resume").code == 0
    assert not Path("a.partial.npz").exists()
    assert call(*words, "b").code == 0
    for end in ("symbol.json", "0000.params", "plan.json"):
        assert Path(f"a-{end}").read_bytes() == Path(f"b-{end}").read_bytes()


def test_an_error_leaves_no_partial_file_that_would_stop_the_next_run(folder: Path, call: Any) -> None:
    words = ["quantize", "-m", "net", "-d", "images", "--image-size", "32", "-n", "8", "-b", "4", "-o", "a"]
    images = sorted(Path("images").glob("*/*.bmp"))
    kept = {path: path.read_bytes() for path in images}
    for path in images:
        path.write_bytes(b"no image")
    before = files()
    assert call(*words).code == 2
    assert files() == before
    for path, content in kept.items():
        path.write_bytes(content)
    assert call(*words).code == 0


def test_an_error_after_the_calibration_keeps_only_what_was_there_before(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        assert Path("a.partial.npz").exists()
        raise mxquant.LoweringError("no")

    words = ["quantize", "-m", "net", "-d", "calib.npy", "-o", "a"]
    monkeypatch.setattr(quantize_module, "_quantized", broken)
    before = files()
    assert call(*words).code == 2 and files() == before
    Path("a.partial.npz").write_bytes(Path("stats.npz").read_bytes())
    assert call(*words, "--resume").code == 2 and "a.partial.npz" in files()


def test_values_that_are_not_finite_are_an_error_unless_they_are_to_be_left_out(folder: Path, call: Any) -> None:
    data = np.load("calib.npy")
    data[3, 0, 0, 0] = np.nan
    np.save("odd.npy", data)
    words = ("calibrate", "-m", "net", "-d", "odd.npy", "-o", "s.npz")
    done = call(*words)
    assert done.code == 2 and "values are NaN or infinite" in done.err and "'ignore'" in done.err
    assert call(*words, "--nonfinite", "ignore").code == 0


def test_resuming_what_was_never_begun_begins_it(folder: Path, call: Any) -> None:
    done = call("calibrate", "-m", "net", "-d", "calib.npy", "-o", "s.npz", "--resume")
    assert done.code == 0 and "there is no 's.npz.partial', so this begins anew" in done.err


def test_ctrl_c_before_anything_was_counted_says_so(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mxquant.cli.calibrate.calibrated", pressed)
    done = call("calibrate", "-m", "net", "-d", "calib.npy", "-o", "s.npz")
    assert (done.code, done.err) == (130, "interrupted before anything was counted; nothing was written\n")
    monkeypatch.setattr("mxquant.inspection.sensitivity", pressed)
    done = call("sensitivity", "-m", "net", "-d", "calib.npy", "-o", "s.csv")
    assert (done.code, done.err) == (130, "interrupted; nothing was written\n")
