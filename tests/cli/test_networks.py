"""Four ways to name a network lead to the same network; anything else is refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

CALIBRATE = ("calibrate", "-d", "calib.npy", "-n", "4", "-o", "s.npz", "-q", "--json")


def test_a_checkpoint_and_its_two_files_are_the_same_network(folder: Path, call: Any) -> None:
    found = [
        call(*CALIBRATE, *words).json["network"]
        for words in (
            ("--model", "net"),
            ("--model", "net:0"),
            ("--symbol", "net-symbol.json", "--params", "net-0000.params"),
        )
    ]
    assert len(set(found)) == 1


def test_an_onnx_file_is_calibrated_like_the_network_that_it_was_written_from(folder: Path, call: Any) -> None:
    done = call(*CALIBRATE, "--onnx", "net.onnx")
    assert (done.code, done.json["examples"]) == (0, 4)


def test_a_network_of_the_zoo_has_random_weights_and_says_so(folder: Path, call: Any) -> None:
    words = ("plan", "--gluon", "mobilenetv2_0.25", "--statistics", "zoo.npz", "-o", "zoo.json")
    first = call(
        "calibrate", "--gluon", "mobilenetv2_0.25", "-d", "images", "-n", "1", "-o", "zoo.npz", "--image-size", "64"
    )
    assert first.code == 0 and "the weights of 'mobilenetv2_0.25' are random" in first.err
    # Statistics fit: another command on the same name finds the same weights.
    assert call(*words).code == 0


@pytest.mark.parametrize("form", ["save_parameters", "export"])
def test_weights_of_a_zoo_network_come_from_either_kind_of_gluon_file(folder: Path, call: Any, form: str) -> None:
    net = mx.gluon.model_zoo.vision.get_model("mobilenetv2_0.25")
    net.initialize()
    net.hybridize()
    net(mx.nd.zeros((1, 3, 64, 64)))
    path = "zoo.params"
    if form == "export":
        net.export("zoo")
        path = "zoo-0000.params"
    else:
        net.save_parameters(path)
    from mxquant.cli.network import NetworkOptions

    loaded = NetworkOptions(gluon="mobilenetv2_0.25", params=Path(path), image_size="64").load()
    expected = next(iter(net.collect_params().values())).data().asnumpy()
    found = next(value for name, value in loaded.arg_params.items() if name.endswith("conv0_weight"))
    assert (found.asnumpy() == expected).all()


def test_weights_of_another_network_are_refused(folder: Path, call: Any) -> None:
    done = call(*CALIBRATE, "--gluon", "mobilenetv2_0.25", "--params", "net-0000.params", "--image-size", "64")
    assert done.code == 2 and "'net-0000.params' is not of 'mobilenetv2_0.25'" in done.err


@pytest.mark.parametrize(
    "words, sentence",
    [
        ((), "expected exactly one of --model, --symbol, --gluon and --onnx, but none is given"),
        (("-m", "net", "--onnx", "net.onnx"), "--model and --onnx are given"),
        (("--symbol", "net-symbol.json"), "--symbol needs --params"),
        (("-m", "net", "--params", "net-0000.params"), "--model has parameters of its own"),
        (("-m", "nett"), "there is no file 'nett-symbol.json'"),
        (("--symbol", "no.json", "--params", "net-0000.params"), "--symbol: there is no file 'no.json'"),
        (("--symbol", "calib.npy", "--params", "net-0000.params"), "cannot read the symbol 'calib.npy'"),
        (("--onnx", "no.onnx"), "--onnx: there is no file 'no.onnx'"),
        (("--onnx", "calib.npy"), "cannot read 'calib.npy' as ONNX"),
        (("--gluon", "resnet51_v1"), "did you mean 'resnet50_v1'"),
        (("--gluon", "squeezenet1.1", "--image-size", "64"), "does not take images of 64 x 64, see --image-size"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(folder: Path, call: Any, words: Any, sentence: str) -> None:
    done = call(*CALIBRATE, *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: ") and sentence in done.err
    assert not (folder / "s.npz").exists()


def test_dead_rows_are_an_error_or_zeros(tmp_path: Path, monkeypatch: Any, call: Any) -> None:
    monkeypatch.chdir(tmp_path)
    symbol = dense(relu(conv(mx.sym.var("data"), "first", 8), "act"), "last", 5)
    args, aux = random_params(symbol, data=(2, 3, 8, 8))
    args["first_weight"][2] = np.nan
    mx.model.save_checkpoint("dead", 0, symbol, args, aux)
    np.save("images.npy", images(8, 3, 8, 8))
    words = ("-m", "dead", "-d", "images.npy", "-q")
    found = call("quantize", *words, "-o", "int8")
    assert found.code == 2 and "its parameter 'first_weight' has NaN or infinities in 1 of 8 rows (2)" in found.err
    zeros = ("--nonfinite-params", "zero")
    assert call("quantize", *words, *zeros, "-o", "int8", "--require", "sqnr>=25").code == 0
    assert call("score", *words, *zeros, "--int8", "int8", "--require", "sqnr>=25").code == 0
