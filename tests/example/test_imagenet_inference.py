"""The example as people run it: by default, on their data, on their network, and with options that are wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Tuple

import efficientnet_lite0
import imagenet_inference
import numpy as np
import pytest

from mxquant.runtime.mxnet import mx
from tests.example.test_imagenet_data import folder, record
from tests.networks import zoo_network

EXAMPLE = Path(__file__).parents[2] / "example" / "imagenet_inference.py"


def run(*options: object, code: int = 0, **environment: str) -> str:
    """Return what the example prints: on standard output, or as an error where `code` is not 0."""
    command = [sys.executable, str(EXAMPLE), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def refused(capsys: Any, *options: object) -> str:
    """Return what the example says, in this process, of options or files that are wrong."""
    try:
        code: Any = imagenet_inference.main([str(option) for option in options])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    return str(capsys.readouterr().err)


def scores(output: str) -> Dict[str, Tuple[float, ...]]:
    """Return the numbers of each line of the table by its title."""
    rows = re.findall(r"^(images per second|top-\d accuracy) +([\d.]+) +([\d.]+)", output, re.MULTILINE)
    table = {name: (float(fp32), float(int8)) for name, fp32, int8 in rows}
    table["SQNR"] = tuple(map(float, re.findall(r"SQNR ([\d.]+) dB", output)))
    return table


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: Any) -> Tuple[Path, Path]:
    """A small network of two classes for images of 28x28."""
    prefix = tmp_path_factory.mktemp("net") / "net"
    data = np.zeros((1, 3, 28, 28), np.float32)
    symbol, args, aux = zoo_network("mobilenetv2_0.25", data)
    mx.model.save_checkpoint(str(prefix), 0, symbol, args, aux)
    return Path(f"{prefix}-symbol.json"), Path(f"{prefix}-0000.params")


def own(checkpoint: Tuple[Path, Path]) -> Tuple[object, ...]:
    symbol, params = checkpoint
    return ("--symbol-file", symbol, "--param-file", params, "--image-shape", "3,28,28", "--rgb-std", "58,57,57")


@pytest.mark.slow
def test_by_default_every_embedded_image_is_scored_once(tmp_path: Path) -> None:
    output = run("--calib-mode", "naive", "--save-prefix", tmp_path / "int8")
    assert "fp32: ('accuracy', 0.9)\nfp32: ('top_k_accuracy_5', 0.95)" in output
    assert re.search(r"^int8: finished with [\d.]+ images per second$", output, re.MULTILINE)
    table = scores(output)
    assert table["top-1 accuracy"][0] == 0.9
    assert table["top-1 accuracy"][1] >= 0.8
    first_fold, both = table["SQNR"]
    # Measured: 19.1 and 18.3 with VNNI; 11.8 and 10.8 without, where int16 saturation limits it.
    assert first_fold >= 11 and both >= 10
    assert {path.name for path in tmp_path.iterdir()} == {"int8-symbol.json", "int8-0000.params", "int8-plan.json"}


def test_a_record_file(checkpoint: Any, tmp_path: Path) -> None:
    path = record(tmp_path / "set.rec", 9)
    output = run(*own(checkpoint), "--dataset", path, "--batch-size", 2, "--num-calib-batches", 2)
    # Nine images less the four of the calibration.
    assert output.count("\n5 images ") == 1
    assert scores(output)["SQNR"][0] > 10


def test_a_folder(checkpoint: Any, tmp_path: Path) -> None:
    path = folder(tmp_path / "set")
    options = ("--batch-size", 2, "--num-calib-batches", 3, "--calib-mode", "mse")
    assert "\n4 images " in run(*own(checkpoint), "--dataset", path, *options)
    skipping = ("--num-skipped-batches", 0, "--num-inference-batches", 4)
    assert "\n8 images " in run(*own(checkpoint), "--dataset", path, *options, *skipping)


@pytest.mark.slow
def test_the_network_of_the_example_as_a_checkpoint(tmp_path: Path) -> None:
    block = efficientnet_lite0.load()
    block(mx.nd.zeros((1, 3, 224, 224)))
    block.export(str(tmp_path / "lite0"))
    output = run(
        *("--symbol-file", tmp_path / "lite0-symbol.json", "--param-file", tmp_path / "lite0-0000.params"),
        *("--benchmark", "--batch-size", 1, "--num-inference-batches", 3, "--exclude", "*stem*"),
    )
    assert re.search(r"images per second: fp32 [\d.]+, int8 [\d.]+, ratio [\d.]+", output)


@pytest.mark.parametrize(
    "options, message",
    [
        (("--ctx", "gpu"), "error: --ctx gpu: MXNet sees no GPU; use --ctx cpu"),
        (("--dataset", "absent.rec"), "error: --dataset: there is no file or folder 'absent.rec'"),
        (("--symbol-file", "x.json"), "--symbol-file and --param-file go together"),
        (("--image-shape", "1,28,28"), "'1,28,28' is no shape of RGB images"),
        (("--rgb-mean", "1,2"), "'1,2' are 2 numbers, expected three"),
        (("--batch-size", "0"), "'0' is not a number from 1"),
        (("--calib-mode", "kl"), "invalid choice: 'kl'"),
        (("--exclude", "nothing*"), "error: exclude: no layer is called 'nothing*'"),
        (("--save-prefix", "absent/net"), "error: --save-prefix: there is no folder 'absent'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(options: Any, message: str, capsys: Any) -> None:
    assert message in refused(capsys, *options)


@pytest.mark.parametrize("broken", [0, 1])
def test_files_that_cannot_be_read_are_named(checkpoint: Any, tmp_path: Path, broken: int, capsys: Any) -> None:
    paths = list(checkpoint)
    paths[broken] = tmp_path / "broken"
    paths[broken].write_text("{}")
    error = refused(capsys, "--symbol-file", paths[0], "--param-file", paths[1], "--benchmark")
    assert re.search("error: .*broken' cannot be read|error: cannot read the parameters '.*broken'", error)


def test_a_data_set_that_is_used_up_by_calibration(checkpoint: Any, tmp_path: Path) -> None:
    path = folder(tmp_path / "set", 1)
    assert "there is no image left to score; lower --num-calib-batches" in run(
        *own(checkpoint), "--dataset", path, "--batch-size", 2, code=2
    )
