"""The example for networks of the Gluon zoo: on noise, on a folder of images, with weights of one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Tuple

import gluon_quantize
import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.example.command import example, photographs, sentence

NAME = "gluon_quantize"
SMALL = ("--network", "mobilenet0.25", "--size", 64, "--num-calib", 4, "--num-images", 5, "--batch-size", 2)


def int8_row(output: str) -> Tuple[float, ...]:
    """Return milliseconds, times as fast, SQNR and agreement of int8."""
    (row,) = re.findall(r"^int8 +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", output, re.MULTILINE)
    return tuple(map(float, row))


def test_help_says_what_it_does() -> None:
    assert "compare int8 with fp32" in example(NAME, "--help")


def test_on_noise_it_prints_sqnr_agreement_and_speed_of_int8_beside_fp32() -> None:
    output = example(NAME, *SMALL)
    assert "mobilenet0.25: 30 of 30 layers in int8" in output
    milliseconds, ratio, decibels, same = int8_row(output)
    assert milliseconds > 0 and ratio > 0
    assert decibels > 20
    assert 0 <= same <= 1


def test_on_images_with_weights_of_ones_own_it_saves_what_mxquant_loads(tmp_path: Path) -> None:
    net = mx.gluon.model_zoo.vision.mobilenet0_25()
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    net(mx.nd.zeros((1, 3, 64, 64)))
    net.save_parameters(str(tmp_path / "net.params"))
    folder = photographs(tmp_path / "photos", 9)
    options = ("--params", tmp_path / "net.params", "--images", folder, "--save", tmp_path / "int8")
    output = example(NAME, *SMALL, *options)
    assert int8_row(output)[2] > 20
    data = np.zeros((1, 3, 64, 64), np.float32)
    # The weights are those of the file: so is the output, but for int8.
    (fp32, int8) = (
        block(mx.nd.array(data + 1)).asnumpy() for block in (net, mxquant.load(tmp_path / "int8").as_block())
    )
    assert np.abs(fp32 - int8).max() < 0.2 * np.abs(fp32).max()


@pytest.mark.slow
def test_the_same_run_gives_the_same_figures() -> None:
    assert int8_row(example(NAME, *SMALL))[2:] == int8_row(example(NAME, *SMALL))[2:]


@pytest.mark.parametrize(
    "options, message",
    [
        (("--network", "resnet"), "error: --network: Model resnet is not supported. Available options are alexnet"),
        (("--images", "absent"), "error: --images: there is no folder 'absent'"),
        (("--images", "ci"), "error: --images: 'ci' has 0 images, of which --num-calib takes 4; none is left"),
        (("--params", "absent"), "error: --params: there is no file 'absent'"),
        (("--params", "README.md"), "error: --params: 'README.md' is not of this network: "),
        (("--network", "inceptionv3"), "error: --size: the network does not take images of 64 x 64: "),
        (("--size", "0"), "argument --size: '0' is not a number from 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(capsys: Any, options: Tuple[str, str], message: str) -> None:
    assert message in sentence(gluon_quantize.main, capsys, *SMALL, *options)


def test_an_image_that_is_none_is_named(capsys: Any, tmp_path: Path) -> None:
    folder = photographs(tmp_path, 9)
    (folder / "ant" / "0.png").write_text("no image")
    assert "0.png' is no image that OpenCV can read" in sentence(
        gluon_quantize.main, capsys, *SMALL, "--images", folder
    )


@pytest.mark.slow
def test_what_is_wrong_ends_a_command_without_a_traceback() -> None:
    error = example(NAME, *SMALL, "--save", "absent/net", code=2)
    assert "error: cannot write 'absent/net-0000.params'" in error
