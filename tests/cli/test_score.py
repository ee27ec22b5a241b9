"""``mxquant score`` tells accuracy and speed of fp32, and of int8 beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant.analysis.predictor import Predictor
from mxquant.analysis.scores import Faithfulness, Tally
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from tests.cli.conftest import tiny_network
from tests.families.small import built
from tests.networks import forward, images, sqnr


@pytest.fixture
def labelled(folder: Path) -> Path:
    """Write data of which fp32 gets the first 20 of 24 right, and has the label of two others among its first five."""
    data = np.load("calib.npy")
    labels = forward(*mx.model.load_checkpoint("net", 0), data=data)[0].argmax(axis=1)
    labels[20:] = (labels[20:] + 1) % 5
    np.savez("labelled.npz", data=data, label=labels)
    return folder


def test_fp32_alone(labelled: Path, call: Any) -> None:
    done = call("score", "-m", "net", "-d", "labelled.npz", "-b", "7")
    assert done.code == 0 and "int8" not in done.out
    found = call("score", "-m", "net", "-d", "labelled.npz", "-b", "7", "--json").json
    assert found["fp32"]["top1"] == 20 / 24 and found["fp32"]["top5"] == 1.0
    assert found["fp32"]["per_second"] > 0 and found["int8"] is None and found["sqnr"] is None
    assert (found["examples"], found["batch_size"]) == (24, 7)


def test_int8_beside_it(labelled: Path, call: Any) -> None:
    words = ("score", "-m", "net", "--int8", "net-int8", "-d", "labelled.npz", "-b", "5")
    found = call(*words, "--json").json
    int8, data = mxquant.load("net-int8"), np.load("calib.npy")
    exact = forward(*mx.model.load_checkpoint("net", 0), data=data)[0]
    rounded = forward(int8.symbol, int8.arg_params, int8.aux_params, data=data)[0]
    assert found["sqnr"] == pytest.approx(sqnr(exact, rounded), abs=0.01)
    same = float((exact.argmax(axis=1) == rounded.argmax(axis=1)).mean())
    assert found["agreement"] == pytest.approx(same)
    out = call(*words).out
    assert all(text in out for text in ("24 examples", "top-1 accuracy", "top-5 accuracy", "examples a second", "SQNR"))


def test_data_without_labels_have_no_accuracy(folder: Path, call: Any) -> None:
    done = call("score", "-m", "net", "--int8", "net-int8", "-d", "calib.npy")
    assert done.code == 0 and "no accuracy: the data have no labels" in done.out and "top-1" not in done.out
    assert call("score", "-m", "net", "-d", "calib.npy", "--require", "top1>=1%").code == 1


def test_the_examples_of_the_calibration_can_be_left_out(labelled: Path, call: Any) -> None:
    words = ("score", "-m", "net", "-d", "labelled.npz", "--json")
    assert call(*words, "--skip", "18").json["fp32"]["top1"] == 2 / 6
    assert call(*words, "--skip", "18", "-n", "2").json["examples"] == 2
    assert call(*words, "--skip", "24").code == 2
    assert call(*words, "--skip", "18", "-n", "7").code == 2


@pytest.mark.parametrize(
    "words, code",
    [
        (("--require", "top1>=80%"), 0),
        (("--require", "top1>=0.9"), 1),
        (("--int8", "net-int8", "--require", "sqnr>=10 dB"), 0),
        (("--int8", "net-int8", "--require", "sqnr>=90"), 1),
        (("--int8", "net-int8", "--max-drop", "99%"), 0),
        (("--require", "sqnr>=20"), 2),
        (("--max-drop", "1%"), 2),
        (("--int8", "net",), 2),
    ],
)  # fmt: skip
def test_what_is_required_decides_the_exit_code(labelled: Path, call: Any, words: Any, code: int) -> None:
    done = call("score", "-m", "net", "-d", "labelled.npz", *words)
    assert done.code == code, done.err
    assert ("not reached: " in done.err) == (code == 1)


def test_a_network_with_a_softmax_for_training_is_scored_too(folder: Path, call: Any) -> None:
    symbol, args, aux = tiny_network(softmax=True)
    mx.model.save_checkpoint("soft", 0, symbol, args, aux)
    found = call("score", "-m", "soft", "-d", "val.rec", "--image-size", "32", "-b", "4", "--json")
    assert found.code == 0 and found.json["fp32"]["top5"] == 1.0


def test_an_int8_network_of_another_network_is_refused(folder: Path, call: Any) -> None:
    mx.model.save_checkpoint("other", 0, *tiny_network("x"))
    done = call("score", "-m", "other", "--int8", "net-int8", "-d", "calib.npy")
    assert done.code == 2 and "'net-int8' was made of another network than 'other'" in done.err


def test_labels_that_are_no_classes_and_shapes_that_do_not_fit_are_told(folder: Path, call: Any) -> None:
    np.savez("odd.npz", data=images(4, 3, 32, 32), label=[0, 1, 2, 7])
    done = call("score", "-m", "net", "-d", "odd.npz")
    assert done.code == 2 and "a label is 7, but the network has 5 classes" in done.err
    np.save("grey.npy", images(4, 1, 32, 32))
    done = call("score", "-m", "net", "-d", "grey.npy", "-q")
    assert done.code == 2 and "does not take batches of 'grey.npy' with shape (4, 1, 32, 32) for 'data'" in done.err
    assert done.err.count("\n") == 1


def test_a_last_batch_that_is_smaller_gives_the_same_outputs() -> None:
    symbol, args, aux = tiny_network()
    data = images(7, 3, 32, 32)
    run = Predictor(symbol, args, aux, fused=True)
    found = [run({"data": data[i : i + 3]}, len(data[i : i + 3]))[0] for i in (0, 3, 6)]
    np.testing.assert_allclose(np.concatenate(found), forward(symbol, args, aux, data=data)[0], rtol=1e-4, atol=1e-5)
    assert run.timed == [3, 3, 1] and run.per_second > 0


def test_scores_and_faithfulness_add_up_over_batches() -> None:
    rng = np.random.RandomState(0)
    exact, rounded = rng.randn(12, 9), rng.randn(12, 9)
    faithful, tally = Faithfulness(), Tally()
    labels = np.argsort(-exact, axis=1)[:, 0]
    labels[:6] = np.argsort(-exact, axis=1)[:6, 4]
    labels[0] = np.argsort(-exact, axis=1)[0, 5]
    for part in (slice(5), slice(5, 12)):
        faithful.add([exact[part], exact[part, :1]], [rounded[part], exact[part, :1]])
        tally.add(exact[part], labels[part])
    assert faithful.sqnr == pytest.approx(sqnr(exact, rounded))  # the other output is equal: infinite
    assert (tally.top1, tally.top5) == (6 / 12, 11 / 12)
    assert Faithfulness().sqnr is None and Tally().top1 is None
    with pytest.raises(InputError, match="expected a score for each class"):
        tally.add(exact[:, :, None], labels)


def test_a_detector_is_judged_by_its_scores_and_boxes(tmp_path: Path, monkeypatch: Any, call: Any) -> None:
    monkeypatch.chdir(tmp_path)
    symbol, args, aux, data = built("SSD, anchors as parameters")
    mx.model.save_checkpoint("ssd", 0, symbol, args, aux)
    np.save("photos.npy", data)
    mxquant.quantize(symbol, data, accuracy="fast", arg_params=args, aux_params=aux).save("int8")
    words = ("score", "-m", "ssd", "--int8", "int8", "-d", "photos.npy", "-b", "1", "--require", "sqnr>=30", "--json")
    found = call(*words)
    heads = mxquant.compare(symbol, mxquant.load("int8"), data, arg_params=args, aux_params=aux).outputs
    assert found.json["sqnr"] == pytest.approx(min(head.int8_sqnr for head in heads), abs=0.05)
    assert found.code == 0 and found.json["int8"]["per_second"] > 0
