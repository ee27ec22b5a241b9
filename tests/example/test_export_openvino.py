"""The example for OpenVINO: int8 there is near to fp32, on a network of the zoo and on a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Tuple

import export_openvino
import numpy as np
import pytest

from mxquant.runtime.mxnet import mx
from tests.example.command import example, photographs, sentence
from tests.example.test_gluon_quantize import int8_row
from tests.networks import images, zoo_network

NAME = "export_openvino"
SMALL = ("--network", "mobilenet0.25", "--size", 64, "--num-calib", 4, "--num-images", 5, "--batch-size", 2)


@pytest.fixture(autouse=True)
def _openvino() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    pytest.importorskip("onnx", reason="the package onnx is not installed")


def test_help_says_what_it_does() -> None:
    assert "run it in OpenVINO" in example(NAME, "--help")


def test_a_network_of_the_zoo_on_noise() -> None:
    assert int8_row(example(NAME, *SMALL))[2] > 20


@pytest.mark.slow
def test_a_checkpoint_on_images_and_the_file_it_writes(tmp_path: Path) -> None:
    import openvino

    mx.model.save_checkpoint(str(tmp_path / "net"), 0, *zoo_network("mobilenetv2_0.25", images(1, 3, 64, 64)))
    folder = photographs(tmp_path / "photos", 8)
    file = tmp_path / "int8.onnx"
    output = example(NAME, *SMALL, "--checkpoint", tmp_path / "net", "--images", folder, "--output", file)
    assert int8_row(output)[2] > 20
    assert f"saved {file}" in output
    kinds = {operation.get_type_name() for operation in openvino.Core().read_model(str(file)).get_ops()}
    assert "FakeQuantize" in kinds
    assert openvino.compile_model(str(file), "CPU")([np.zeros((3, 3, 64, 64), np.float32)])[0].shape == (3, 1000)


@pytest.mark.parametrize(
    "options, message",
    [
        (("--checkpoint", "absent"), "absent-symbol.json"),
        (("--checkpoint", "net", "--params", "x"), "--params is for --network; a checkpoint has its own"),
        (("--images", "absent"), "error: --images: there is no folder 'absent'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(capsys: Any, options: Tuple[Any, ...], message: str) -> None:
    assert message in sentence(export_openvino.main, capsys, *SMALL, *options)


def test_without_openvino_it_says_how_to_install_it(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(export_openvino, "find_spec", lambda name: None)
    assert sentence(export_openvino.main, capsys) == "error: OpenVINO is missing; pip install openvino"
