"""Every block of Python in the README runs, in order, as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mxquant.cli.running import run
from mxquant.onnx_export.graph import OPERATORS
from mxquant.runtime.mxnet import mx
from tests.networks import images, zoo_network

README = Path(__file__).parents[1] / "README.md"


def test_every_block_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    data = images(16, 3, 64, 64)
    mx.model.save_checkpoint("net", 0, *zoo_network("mobilenetv2_0.25", data[:1]))
    np.save("images.npy", data)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 11
    code = "\n".join(["import numpy as np", "images, labels = np.load('images.npy'), np.zeros(16, 'f')", *blocks])
    environment = {**os.environ, "PYTHONPATH": str(README.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "(1, 1000)" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} >= {
        "net-int8-symbol.json",
        "mobilenet-int8-plan.json",
        "statistics.npz",
        "plan.json",
        "mobilenet-int8.onnx",
        "mobilenet-tensorrt.onnx",
        "mobilenet.cache",
    }


def test_every_line_for_a_shell_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    mx.model.save_checkpoint("net", 0, *zoo_network("mobilenetv2_0.25", images(1, 3, 224, 224)))
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(np.random.RandomState(0).randint(0, 256, (6, 240, 320, 3), np.uint8)):
        cv2.imwrite(f"images/{number}.png", picture)
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("mxquant ")]
    assert len(lines) == 3
    for line in lines:
        assert run(shlex.split(line)[1:]) == 0, line
    assert {path.name for path in tmp_path.iterdir()} >= {"net-int8-symbol.json", "report.html", "net-int8.onnx"}


def test_the_two_commands_are_there() -> None:
    for command in ("ci/demo.sh", "ci/test.sh"):
        assert f"    {command}" in README.read_text()
        assert (README.parent / command).stat().st_mode & 0o111


def test_the_figures_of_speed_are_those_of_the_benchmark() -> None:
    measured = (README.parent / "tests" / "benchmark" / "results" / "speed.md").read_text().splitlines()
    section = README.read_text().split("\n## Speed\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert len(rows) > 10
    assert set(rows) <= set(measured)
    assert (README.parent / re.findall(r"!\[.*\]\((.*)\)", section)[0]).is_file()


def test_the_operators_that_can_be_written_as_onnx_are_counted() -> None:
    (count,) = re.findall(r"`mxquant/onnx_export/` has (\d+) of MXNet's", README.read_text())
    assert int(count) == len(OPERATORS)
