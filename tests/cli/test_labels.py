"""Labels of class folders are classes of the network, or there are none: no folder is renumbered without a word."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, List, Optional, Sequence

import numpy as np
import pytest

from mxquant.cli.data import DataOptions
from mxquant.cli.labels import labels_of
from mxquant.cli.network import NetworkOptions
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from tests.cli.conftest import CLASSES, tiny_network, write_image
from tests.networks import random_params

SCORE = ("score", "-m", "net", "--image-size", "32", "-d")


def folders(names: Sequence[str], at: str = "test") -> None:
    for number, name in enumerate(names):
        write_image(Path(at, name, "x.bmp"), number)


def read(at: str = "test", **options: Any) -> Optional[List[int]]:
    """Return the labels that a folder's images get, in the order of the folders that `folders` has made."""
    network = NetworkOptions(model="net", image_size="32")
    data = DataOptions(at, batch_size=99, **options).open(network.load(), network, labels=True)
    (batch,) = data.labelled()
    return None if batch.labels is None else sorted(map(int, batch.labels))


@pytest.mark.parametrize(
    "names, expected",
    [
        (["0", "1", "2", "3", "4"], [0, 1, 2, 3, 4]),
        (["0", "2", "4"], [0, 2, 4]),
        (["1", "2", "3"], [1, 2, 3]),
        (["03", "1"], [1, 3]),
        (["1", "2", "3", "4", "5"], [0, 1, 2, 3, 4]),
        (["2", "5"], [1, 4]),
        (["7", "10", "100", "1000", "9"], [0, 1, 2, 3, 4]),
        (["d", "b", "c", "e", "a"], [0, 1, 2, 3, 4]),
        # Which of five classes are these?
        (["a", "b"], None),
        (["1", "b"], None),
        (["7", "9"], None),
        (["0", "5"], None),
    ],
)
def test_the_class_of_a_folder(folder: Path, names: List[str], expected: Optional[List[int]]) -> None:
    folders(names)
    assert read() == expected


def test_numbers_are_in_the_order_of_numbers() -> None:
    assert labels_of("x", ["1", "10", "2"], 10, None).classes == {"1": 0, "2": 1, "10": 9}
    assert labels_of("x", ["1", "10", "2"], 11, None).classes == {"1": 1, "2": 2, "10": 10}
    assert labels_of("x", ["10", "20", "3"], 3, None).classes == {"3": 0, "10": 1, "20": 2}
    assert labels_of("x", ["1", "10", "2"], None, None).classes == {"1": 1, "2": 2, "10": 10}
    assert labels_of("x", ["b", "a"], None, None).classes == {"a": 0, "b": 1}
    with pytest.raises(InputError, match="class folders '01' and '1' are the same number; rename one"):
        labels_of("x", ["01", "1"], 5, None)


def test_what_they_are_is_told(folder: Path, call: Any) -> None:
    for names, sentence in (
        (("1", "2", "5"), "labels: 3 class folders, '1' is class 0, '5' is class 4, from 1"),
        (("0", "4"), "labels: 2 class folders, '0' is class 0, '4' is class 4, their numbers"),
        (
            ("1", "4"),
            "their numbers (the network has classes 0 to 4; if these folders count from 1, --classes says so)",
        ),
        (tuple("abcde"), "labels: 5 class folders, 'a' is class 0, 'e' is class 4, in alphabetical order"),
        (("3",), "labels: class folder '3' is class 3, their numbers"),
    ):
        shutil.rmtree("test", ignore_errors=True)
        folders(names)
        done = call(*SCORE, "test")
        assert done.code == 0 and sentence in done.err, done.err
        assert "labels" not in call("calibrate", "-m", "net", "--image-size", "32", "-d", "test", "-o", "s.npz").err


def test_the_accuracy_of_a_test_set_without_some_class_is_that_of_its_classes(folder: Path, call: Any) -> None:
    symbol, args, aux = mx.model.load_checkpoint("net", 0)
    # Whatever the image: class 3.
    args["fc_bias"][3] = 1e6
    mx.model.save_checkpoint("net", 0, symbol, args, aux)
    folders(["0", "3", "4"])
    assert call(*SCORE, "test", "--json").json["fp32"]["top1"] == pytest.approx(1 / 3)
    folders(["snake", "ant", "rat"], "named")
    Path("names").write_text("owl\nant\nsnake\nrat\ndog\n", encoding="utf-8")
    assert call(*SCORE, "named", "--classes", "names", "--json").json["fp32"]["top1"] == pytest.approx(1 / 3)
    Path("names").write_text("3 snake\n0 ant\n4 rat\n", encoding="utf-8")
    done = call(*SCORE, "named", "--classes", "names", "--json")
    assert done.json["fp32"]["top1"] == pytest.approx(1 / 3)
    assert "labels: 3 class folders, 'ant' is class 0, 'rat' is class 4, by 'names'" in done.err


@pytest.mark.parametrize("command", ["score", "doctor"])
def test_a_count_that_does_not_fit_the_network_is_told_with_both_numbers(folder: Path, call: Any, command: str) -> None:
    words = ("-m", "net", "--int8", "net-int8", "-d", "images", "--image-size", "32")
    done = call(command, *words, *(("-o", "r.html") if command == "doctor" else ()))
    sentence = (
        "'images' has 2 class folders, 'a' and others, but the network has 5 classes: which of them each folder is "
        "cannot be told by 2 names; --classes FILE names all 5 in order"
    )
    assert done.code == 0 and f"warning: {sentence}\n" in done.err
    assert command == "doctor" or (f"no accuracy: {sentence}" in done.out and "top-1" not in done.out)


def test_what_needs_labels_says_why_there_are_none(folder: Path, call: Any) -> None:
    words = ("quantize", "-m", "net", "-d", "images", "--image-size", "32", "-n", "4", "-o", "x", "-q")
    done = call(*words, "--max-drop", "50%")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (
        "--max-drop needs labels, but 'images' has 2 class folders, 'a' and others, but the network has 5" in done.err
    )
    assert call(*words, "--max-drop", "99%", "--classes", "names.txt").code == 0
    # Where nothing needs them, nothing is said.
    assert call(*words).code == 0


def test_a_network_without_classes_has_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    symbol = mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), num_filter=4, name="conv")
    mx.model.save_checkpoint("net", 0, symbol, *random_params(symbol, data=(2, 3, 32, 32)))
    folders(["b", "a"])
    assert read() == [0, 1]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "names no class"),
        ("# only this\n\n", "names no class"),
        ("a\nb\na\n", "has 'a' twice"),
        ("0 a\n0 b\n", "has 0 twice"),
        ("a\nc\n", "has 2 classes, such as 'a', but none for the folder 'b'"),
        ("a\nb\nc\nd\ne\nf\n", "has 6 classes, 'f' as number 5, but the network has 5, numbered from 0 to 4"),
        ("1 a\n5 b\n", "has 2 classes, 'b' as number 5, but the network has 5, numbered from 0 to 4"),
    ],
)
def test_names_that_do_not_fit_are_refused(folder: Path, call: Any, text: str, sentence: str) -> None:
    Path("names").write_text(text, encoding="utf-8")
    done = call(*SCORE, "images", "--classes", "names")
    assert (done.code, done.err.count("\n")) == (2, 1 + done.err.count("the network receives"))
    assert f"error: --classes: 'names' {sentence}" in done.err


@pytest.mark.parametrize("data", ["images/a", "val.rec", "calib.npy"])
def test_names_are_for_class_folders(folder: Path, call: Any, data: str) -> None:
    done = call(*SCORE, data, "--classes", "names.txt", "-q")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("error: --classes ")
    assert call(*SCORE, "images", "--classes", "nowhere", "-q").err.startswith(
        "error: cannot read the names of classes"
    )


def test_labels_that_are_no_whole_numbers_are_refused(folder: Path, call: Any) -> None:
    images = np.load("calib.npy")[:2]
    for odd in (0.5, float("nan"), -1.0):
        np.savez("odd.npz", data=images, label=np.array([1.0, odd]))
        done = call("score", "-m", "net", "-d", "odd.npz", "-q")
        assert (done.code, done.err.count("\n")) == (2, 1) and f"a label is {odd:g}, " in done.err


def test_the_tiny_network_has_as_many_classes_as_these_tests_say() -> None:
    assert tiny_network()[0].infer_shape(data=(1, 3, 32, 32))[1] == [(1, CLASSES)] == [(1, 5)]


def test_a_report_says_why_it_has_no_accuracy(folder: Path, call: Any) -> None:
    np.savez("odd.npz", data=np.load("calib.npy"), label=np.arange(24))
    done = call("doctor", "-m", "net", "--int8", "net-int8", "-d", "odd.npz", "-o", "r.html")
    assert done.code == 0 and "warning: no accuracy: a label is 5, but the network has 5 classes" in done.err
