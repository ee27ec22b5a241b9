"""Images are read as the network wants them, whatever they come in."""

from __future__ import annotations

from pathlib import Path
from typing import List

import cv2
import numpy as np
import pytest
from imagenet_data import DataError, Preprocessing, embedded, open_dataset

from mxquant.runtime.mxnet import mx

SMALL = Preprocessing(28, 28)


def image(value: int, height: int = 40, width: int = 60) -> np.ndarray:
    """Return an image in OpenCV's order: blue, green, red."""
    return np.full((height, width, 3), (value, value + 1, value + 2), np.uint8)


def folder(path: Path, count: int = 5) -> Path:
    for label, name in enumerate(("ant", "bee")):
        (path / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(path / name / f"{number}.png"), image(100 * label + number))
    (path / "notes.txt").write_text("no class")
    (path / "ant" / "notes.txt").write_text("no image")
    return path


def record(path: Path, count: int = 5) -> Path:
    writer = mx.recordio.MXRecordIO(str(path), "w")
    for number in range(count):
        header = mx.recordio.IRHeader(0, float(number), number, 0)
        writer.write(mx.recordio.pack(header, cv2.imencode(".png", image(10 * number))[1].tobytes()))
    writer.close()
    return path


def test_colours_are_red_green_blue_and_normalised(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), image(10))
    found = Preprocessing(28, 28, (2, 1, 0), (2, 2, 2))(tmp_path / "x.png")
    assert found.dtype == np.float32
    assert found.shape == (3, 28, 28)
    np.testing.assert_array_equal(found[:, 0, 0], [5, 5, 5])


def test_the_middle_is_cut_out_at_the_right_scale(tmp_path: Path) -> None:
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:, 32:96] = 255
    cv2.imwrite(str(tmp_path / "x.png"), picture)
    # The shorter side of 64 becomes 32, of which 28 are taken: the white square fills all of it.
    assert Preprocessing(28, 28)(tmp_path / "x.png").min() == 255


@pytest.mark.parametrize("height, width", [(20, 500), (500, 20), (10, 10)])
def test_images_of_any_size(tmp_path: Path, height: int, width: int) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), image(1, height, width))
    assert SMALL(tmp_path / "x.png").shape == (3, 28, 28)


def sizes(dataset: Path, batch_size: int = 4) -> List[int]:
    return [len(batch.labels) for batch in open_dataset(str(dataset), SMALL, batch_size)]


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    path = folder(tmp_path / "set")
    assert sizes(path) == [4, 4, 2]
    for batch in open_dataset(str(path), SMALL, 4):
        # The pixel tells the class.
        np.testing.assert_array_equal(batch.images[:, 2, 0, 0] >= 100, batch.labels == 1)
    labels = [label for batch in open_dataset(str(path), SMALL, 4) for label in batch.labels]
    assert labels != sorted(labels), "the classes are mixed"


def test_a_record_file(tmp_path: Path) -> None:
    path = record(tmp_path / "set.rec")
    assert sizes(path) == [4, 1]
    batches = list(open_dataset(str(path), SMALL, 4))
    assert [int(label) for batch in batches for label in batch.labels] == [0, 1, 2, 3, 4]
    for batch in batches:
        np.testing.assert_array_equal(batch.images[:, 2, 0, 0], 10 * batch.labels)
        np.testing.assert_array_equal(batch.images[:, 0, 0, 0], 10 * batch.labels + 2)


def test_the_embedded_images() -> None:
    batch = embedded(Preprocessing())
    assert batch.images.shape == (20, 3, 224, 224)
    assert batch.labels[:3].tolist() == [243, 559, 438]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken" / "ant").mkdir(parents=True)
    (tmp_path / "broken" / "ant" / "x.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "set.zip").write_text("")
    for name, message in {
        "absent": "there is no file or folder",
        "empty": "has no class folders with images",
        "broken": "x.png' is no image that OpenCV can read",
        "set.zip": "neither a .rec file nor a folder",
    }.items():
        with pytest.raises(DataError, match=message):
            list(open_dataset(str(tmp_path / name), SMALL, 4))
