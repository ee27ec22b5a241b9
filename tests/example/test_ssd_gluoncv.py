"""The example for GluonCV's SSD: int8 finds what fp32 finds, and only its convolutions are in int8."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ssd_gluoncv
from example_images import UsageError
from ssd_gluoncv import Detections, compare, matched, overlaps, parse

from tests.example.command import example, photographs, sentence

NAME = "ssd_gluoncv"
SMALL = ("--size", 128, "--num-calib", 2, "--num-images", 2, "--batch-size", 2)
with_gluoncv = pytest.mark.skipif(
    find_spec("gluoncv") is None, reason="GluonCV is missing: pip install '.[examples-cv]'"
)

# Of version classes that Python has deprecated, of types that are not stated, and more.
gluoncv_warns = pytest.mark.filterwarnings("ignore")


def detections(*rows: Any) -> Detections:
    """Return detections of rows of class, score, x1, y1, x2, y2."""
    return Detections.of(np.array(rows, np.float32).reshape(-1, 6), 0.5)


def test_help_says_what_it_does() -> None:
    assert "compare int8 detections with fp32" in example(NAME, "--help")


def test_without_gluoncv_it_says_how_to_install_it(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "gluoncv", None)
    assert ssd_gluoncv.main(["--num-images", "1", "--size", "64"]) == 2
    assert re.fullmatch(r"error: GluonCV is missing \(.*\); pip install '.\[examples-cv\]'\n", capsys.readouterr().err)


def test_overlap_is_intersection_over_union() -> None:
    boxes = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3]], np.float32)
    np.testing.assert_allclose(overlaps(boxes, others), [[1, 1 / 3, 0], [0, 0, 0]], rtol=1e-6)


def test_a_box_without_area_overlaps_nothing() -> None:
    empty = np.array([[1, 1, 1, 1], [3, 3, 2, 2]], np.float32)
    np.testing.assert_array_equal(overlaps(empty, empty), np.zeros((2, 2)))


def test_emptied_places_and_low_scores_are_no_detections() -> None:
    found = detections([-1, -1, -1, -1, -1, -1], [3, 0.4, 0, 0, 1, 1], [3, 0.6, 0, 0, 1, 1])
    assert found.classes.tolist() == [3]


@pytest.mark.parametrize(
    "int8, overlap",
    [
        ([1, 0.9, 0, 0, 4, 4], [1.0]),
        ([1, 0.9, 0, 0, 4, 3], [0.75]),
        ([2, 0.9, 0, 0, 4, 4], []),  # another class
        ([1, 0.9, 0, 0, 4, 1], []),  # too far off
        ([], []),
    ],
)
def test_the_same_detection_has_the_same_class_and_overlaps(int8: Any, overlap: Any) -> None:
    assert matched(detections([1, 0.9, 0, 0, 4, 4]), detections(*int8), 0.5) == pytest.approx(overlap)


def test_each_detection_counts_once() -> None:
    one, two = detections([1, 0.9, 0, 0, 4, 4]), detections([1, 0.9, 0, 0, 4, 4], [1, 0.8, 0, 0, 4, 3])
    assert matched(two, one, 0.5) == pytest.approx([1])
    assert matched(one, two, 0.5) == pytest.approx([1])


def test_if_fp32_finds_nothing_there_is_nothing_to_compare() -> None:
    rows = np.array([[[3, 0.2, 0, 0, 1, 1]]], np.float32)
    with pytest.raises(UsageError, match="--score: fp32 finds nothing of a score from 0.3 on; lower it"):
        compare(rows, rows, parse([]))


def test_what_both_have_found_is_counted_over_all_images() -> None:
    rows = np.array([[[3, 0.9, 0, 0, 4, 4]], [[3, 0.9, 0, 0, 4, 4]]], np.float32)
    other = rows.copy()
    other[1, 0, 0] = 2
    assert compare(rows, other, parse([])) == (
        "detections: fp32 2, int8 2; same class and IoU >= 0.5: 1 (0.5000 of fp32's), mean IoU 1.000"
    )


@with_gluoncv
def test_int8_finds_what_fp32_finds_and_only_convolutions_are_int8(tmp_path: Path) -> None:
    output = example(NAME, *SMALL, "--save", tmp_path / "int8")
    kinds = dict(re.findall(r"^(int8|float32): (.*)$", output, re.MULTILINE))
    assert kinds["int8"] == "47 Convolution"
    assert {"_contrib_box_nms", "_contrib_box_decode", "softmax"} <= set(re.findall(r"[a-z_]\w+", kinds["float32"]))
    assert "Convolution" not in kinds["float32"]
    ((count, found, share, overlap),) = re.findall(
        r"^detections: fp32 (\d+), int8 \d+; same class and IoU >= 0.5: "
        r"(\d+) \(([\d.]+) of fp32's\), mean IoU ([\d.]+)$",
        output,
        re.MULTILINE,
    )
    assert int(found) <= int(count)
    # Measured: 0.88 and 0.95. Random weights leave many scores next to the limit.
    assert float(share) > 0.7 and float(overlap) > 0.85
    assert (tmp_path / "int8-0000.params").is_file()


@with_gluoncv
@pytest.mark.slow
@gluoncv_warns
def test_weights_of_a_file_and_images_of_a_folder(tmp_path: Path) -> None:
    net = ssd_gluoncv.detector(parse(["--size", "128"]))
    net.save_parameters(str(tmp_path / "ssd.params"))
    folder = photographs(tmp_path / "photos", 4)
    output = example(NAME, *SMALL, "--params", tmp_path / "ssd.params", "--images", folder, "--score", 0.1)
    assert "detections: fp32 " in output


@with_gluoncv
@gluoncv_warns
@pytest.mark.parametrize(
    "options, message",
    [
        (("--network", "yolo3_darknet53_voc"), "error: --network: 'yolo3_darknet53_voc' is no SSD"),
        (("--network", "ssd_1"), "error: --network: GluonCV has no 'ssd_1'"),
        (("--params", "README.md"), "error: --params: 'README.md' is not of this network: "),
        (("--iou", "2"), "argument --iou: '2' is not between 0 and 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(capsys: Any, options: Any, message: str) -> None:
    assert message in sentence(ssd_gluoncv.main, capsys, *SMALL, *options)
