"""The template runs before anything in it is changed, and after."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import quantize_your_own

import mxquant
from mxquant.runtime.mxnet import mx
from tests.example.command import ROOT, example, photographs, sentence
from tests.networks import images, zoo_network

NAME = "quantize_your_own"
SCORE = r"^SQNR ([\d.]+) dB, same class ([\d.]+), ([\d.]+) times as fast as fp32$"


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A network with labels, such as Module trains."""
    symbol, args, aux = zoo_network("mobilenetv2_0.25", images(1, 3, 224, 224))
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, mx.sym.SoftmaxOutput(symbol, name="softmax"), args, aux)
    return str(tmp_path / "net")


def test_help_says_what_it_does() -> None:
    assert "Quantize the network of a checkpoint" in example(NAME, "--help")


def test_unchanged_it_runs_on_random_weights_and_noise() -> None:
    output = example(NAME)
    ((decibels, _, _),) = re.findall(SCORE, output, re.MULTILINE)
    assert float(decibels) > 20


def test_a_checkpoint_and_a_folder_of_images(checkpoint: str, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", 13)
    output = example(NAME, checkpoint, folder, "--output", tmp_path / "int8")
    ((decibels, _, _),) = re.findall(SCORE, output, re.MULTILINE)
    assert float(decibels) > 15
    assert "float32: softmax: " in output
    layers = mxquant.load(tmp_path / "int8").plan.layers.values()
    assert any(layer.precision == "int8" for layer in layers)


@pytest.mark.slow
def test_a_layer_that_is_excluded_stays_float32(tmp_path: Path) -> None:
    text = (ROOT / "example" / f"{NAME}.py").read_text()
    line = "EXCLUDED: List[str] = []"
    assert text.count(line) == 1
    copy = tmp_path / "mine.py"
    copy.write_text(text.replace(line, 'EXCLUDED: List[str] = ["*conv0_fwd"]').replace("SIZE = 224", "SIZE = 64"))
    # Beside nothing else of the folder: the template is one file.
    done: Any = subprocess.run([sys.executable, str(copy)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^float32: mobilenet0_conv0_fwd: .*exclude", done.stdout, re.MULTILINE)


def test_the_lines_to_change_are_few_and_marked() -> None:
    lines = (ROOT / "example" / f"{NAME}.py").read_text().splitlines()
    assert 5 <= sum("CHANGE" in line for line in lines) <= 12


def test_what_is_wrong_is_said_in_a_sentence(capsys: Any, checkpoint: str, tmp_path: Path) -> None:
    error = sentence(quantize_your_own.main, capsys, "absent")
    assert error.startswith("error: ") and "absent-symbol.json" in error
    (tmp_path / "empty").mkdir()
    assert sentence(quantize_your_own.main, capsys, checkpoint, tmp_path / "empty") == (
        f"error: '{tmp_path / 'empty'}' has 0 images, expected at least 2: to calibrate and to compare"
    )
