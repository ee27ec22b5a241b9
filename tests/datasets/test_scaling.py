"""A strip is cut before it is scaled: no image takes more than a bounded number of pixels, and usual ones stay."""

from __future__ import annotations

from typing import Any, List, Tuple

import cv2
import numpy as np
import pytest

from mxquant.datasets import ImageFiles, Preprocessing, scaling
from mxquant.datasets.preprocessing import Encoded
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx

HOWS = {
    "usual": Preprocessing(224),
    "oblong": Preprocessing((32, 128)),
    "resized": Preprocessing(224, resize=300),
    "large": Preprocessing(64, resize=1000),
    "cut": Preprocessing(64, crop=(40, 80)),
}


def encoded(height: int, width: int) -> Encoded:
    """Return a smooth image of some size."""
    small = np.random.RandomState(0).randint(0, 256, (max(1, height // 40), max(1, width // 40), 3))
    pixels = cv2.resize(small.astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    return Encoded(bytes(cv2.imencode(".png", pixels)[1]), "'strip.png'", None)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """Return a list that gets the number of pixels of all that is resized."""
    found: List[int] = []
    resize = mx.image.imresize

    def noted(pixels: Any, width: int, height: int, *more: Any, **options: Any) -> Any:
        found.append(width * height)
        assert found[-1] <= 1 << 24
        return resize(pixels, width, height, *more, **options)

    monkeypatch.setattr(mx.image, "imresize", noted)
    monkeypatch.setattr(mx.image.image, "imresize", noted)
    return found


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (3, 60_000), (1, 1), (400, 300)])
def test_no_image_is_scaled_beyond_the_bound(how: str, shape: Tuple[int, int], made: List[int]) -> None:
    out = HOWS[how]([encoded(*shape)])
    assert out.shape == (1, *HOWS[how].shape) and np.isfinite(out).all()
    assert made


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (2, 2001), (3, 1000), (1001, 4)])
def test_the_middle_of_a_strip_is_the_same_either_way(shape: Tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = encoded(*shape)
    monkeypatch.setattr(scaling, "_MOST_PIXELS", 1 << 40)
    whole = HOWS["usual"]([image])
    monkeypatch.setattr(scaling, "_MOST_PIXELS", 0)
    monkeypatch.setattr(scaling, "_MOST_TIMES", 1)
    np.testing.assert_allclose(HOWS["usual"]([image]), whole, atol=2)


@pytest.mark.parametrize("shape", [(400, 300), (37, 1000), (224, 224), (1000, 100)])
def test_usual_images_are_resized_whole_as_ever(shape: Tuple[int, int]) -> None:
    image = encoded(*shape)
    pixels = mx.image.imdecode(image.content)
    if shape != (224, 224):
        pixels = mx.image.resize_short(pixels, 256, 1)
    expected = mx.image.center_crop(pixels, (224, 224), 1)[0].asnumpy()
    np.testing.assert_array_equal(HOWS["usual"]([image])[0].transpose(1, 2, 0), expected)


def test_a_whole_strip_that_has_to_fit_is_refused_before_it_is_scaled(made: List[int]) -> None:
    with pytest.raises(InputError, match="'strip.png' has 256 x 1280000 pixels"):
        Preprocessing(256, resize=256, crop="none")([encoded(1, 5000)])
    assert made == []


def test_a_file_that_is_far_too_long_is_refused_unread(tmp_path: Any) -> None:
    with open(tmp_path / "long.png", "wb") as file:
        file.truncate((1 << 30) + 1)  # takes no place on the disk
    with pytest.raises(InputError, match="cannot read '.*long.png': it has more than 1073741824 bytes"):
        list(ImageFiles([(tmp_path / "long.png", None)], Preprocessing(8)))
