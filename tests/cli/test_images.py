"""Images become what the network takes, by what is said, by what a plan says, or by what fits; it is told in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Tuple

import cv2
import numpy as np
import pytest

import mxquant
from mxquant.cli.data import Color, DataOptions
from mxquant.cli.network import NetworkOptions
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, random_params, relu

RNG = np.random.RandomState(0)


def save(name: str, channels: int, height: int, width: int, classes: int = 4) -> None:
    """Write a classifier that takes one size of images only."""
    x = relu(conv(mx.sym.var("data"), f"{name}_conv", 4, stride=(2, 2)), f"{name}_relu")
    symbol = dense(mx.sym.Flatten(x), f"{name}_fc", classes)
    mx.model.save_checkpoint(name, 0, symbol, *random_params(symbol, data=(1, channels, height, width)))


def picture(path: str, *shape: int) -> np.ndarray:
    """Write an image without losses, and return its pixels as OpenCV has them: in BGR."""
    pixels = RNG.randint(0, 256, shape).astype(np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(path, pixels)
    return pixels


def given(data: str, name: str, size: Any = None, **options: Any) -> np.ndarray:
    """Return what a network is given of the images in a folder or file."""
    network = NetworkOptions(model=name, image_size=size)
    found = DataOptions(data, **options).open(network.load(), network)
    return np.concatenate([batch.arrays["data"] for batch in found.labelled()])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_images_of_the_networks_size_are_taken_as_they_are(here: Path) -> None:
    save("net", 3, 32, 32)
    pixels = [picture(f"small/{i}.png", 32, 32, 3)[:, :, ::-1].transpose(2, 0, 1) for i in range(3)]
    assert np.array_equal(given("small", "net"), pixels)
    # What is asked for is done.
    resized = given("small", "net", resize="36")
    assert resized.shape == (3, 3, 32, 32) and not np.array_equal(resized, pixels)


@pytest.mark.parametrize("size", [(28, 28), (32, 128)])
def test_grey_and_oblong_images_fit_by_themselves(here: Path, call: Any, size: Tuple[int, int]) -> None:
    save("grey", 1, *size)
    pixels = [picture(f"images/{i}.png", *size)[None] for i in range(4)]
    assert np.array_equal(given("images", "grey"), pixels)
    done = call("quantize", "-m", "grey", "-d", "images", "-o", "int8", "--accuracy", "fast")
    assert done.code == 0
    assert f"the network receives 1 x {size[0]} x {size[1]} grey, the size that it takes: images of this" in done.err


def test_colour_and_order_of_channels(here: Path) -> None:
    save("net", 3, 16, 16)
    save("one", 1, 16, 16)
    bgr = picture("images/1.png", 16, 16, 3)
    assert np.array_equal(given("images", "net", color=Color.BGR)[0].transpose(1, 2, 0), bgr)
    assert np.array_equal(given("images", "net", color=Color.RGB)[0].transpose(1, 2, 0), bgr[:, :, ::-1])
    expected = cv2.imdecode(np.frombuffer(Path("images/1.png").read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(given("images", "one")[0, 0], expected)
    # Numbers go with the channels that the network gets.
    found = given("images", "net", color=Color.BGR, mean="1,2,3", std="1,1,2")[0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, (bgr - np.float32([1, 2, 3])) / np.float32([1, 1, 2]))
    found = given("images", "one", mean="100", std="2")[0, 0]
    np.testing.assert_allclose(found, (expected.astype(np.float32) - 100) / 2)
    three = picture("grey/1.png", 16, 16)
    assert np.array_equal(given("grey", "net")[0], [three] * 3)


def test_resizing_and_cutting(here: Path) -> None:
    save("net", 3, 16, 16)
    pixels = picture("images/1.png", 40, 60, 3)[:, :, ::-1]
    nd = mx.nd.array(pixels, dtype=np.uint8)

    def cut(image: Any, side: int) -> np.ndarray:
        top, left = ((length - side) // 2 for length in image.shape[:2])
        return image.asnumpy()[top : top + side, left : left + side]

    def found(**options: Any) -> np.ndarray:
        return given("images", "net", "16", **options)[0].transpose(1, 2, 0)

    assert np.array_equal(found(), cut(mx.image.imresize(nd, 27, 18), 16))
    assert np.array_equal(found(resize="20"), cut(mx.image.imresize(nd, 30, 20), 16))
    assert np.array_equal(found(resize="none"), cut(nd, 16))
    assert np.array_equal(found(crop="none"), mx.image.imresize(nd, 16, 16).asnumpy())
    middle = mx.nd.array(cut(nd, 32), dtype=np.uint8)
    assert np.array_equal(found(resize="none", crop="32"), mx.image.imresize(middle, 16, 16).asnumpy())
    oblong = mx.nd.array(pixels[4:36, 10:50], dtype=np.uint8)
    assert np.array_equal(found(resize="none", crop="32x40"), mx.image.imresize(oblong, 16, 16).asnumpy())
    square = picture("square/1.png", 40, 40, 3)[:, :, ::-1]
    whole = mx.image.imresize(mx.nd.array(square, dtype=np.uint8), 16, 16).asnumpy()
    assert np.array_equal(given("square", "net", "16", resize="16", crop="none")[0].transpose(1, 2, 0), whole)
    with pytest.raises(InputError, match=r"1.png' has 16 x 24 pixels \(height x width\), the network takes 16 x 16"):
        found(resize="16", crop="none")
    with pytest.raises(InputError, match=r"1.png' has 40 x 60 pixels"):
        found(resize="none", crop="none")


def test_an_oblong_middle_covers_as_much_as_a_square_one(here: Path) -> None:
    save("wide", 3, 14, 56)
    pixels = picture("images/1.png", 50, 70, 3)[:, :, ::-1]
    # 64 wide, and as high as that makes it.
    resized = mx.image.imresize(mx.nd.array(pixels, dtype=np.uint8), 64, 45).asnumpy()
    assert np.array_equal(given("images", "wide", "14x56")[0].transpose(1, 2, 0), resized[15:29, 4:60])


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"size": "32"}, "does not take images of 32 x 32 with 3 channels (NCHW): it takes 32 x 128 with 3 channels"),
        ({"color": Color.GRAY}, "does not take images of 224 x 224 with 1 channel (NCHW): it takes 32 x 128 with 3 "),
        ({"size": "0"}, "--image-size is '0', expected a side such as 224, or a height and width such as 32x128"),
        ({"size": "3x4x5"}, "--image-size is '3x4x5', expected a side"),
        ({"resize": "0"}, "--resize is '0', expected what the shorter side becomes, such as 256, or none"),
        ({"crop": "middle"}, "--crop is 'middle', expected a side such as 224"),
        ({"mean": "nan"}, "--mean is 'nan', expected three numbers R,G,B"),
        ({"std": "0"}, "--std is '0', expected three numbers above 0"),
        ({"scale": 0.0}, "--scale is '0.0', expected a number other than 0"),
    ],
)
def test_what_does_not_fit_is_said(here: Path, options: Any, sentence: str) -> None:
    save("wide", 3, 32, 128)
    picture("images/1.png", 32, 128, 3)
    with pytest.raises(InputError) as raised:
        given("images", "wide", **options)
    assert sentence in str(raised.value)


def test_a_network_that_takes_no_images_is_told(here: Path) -> None:
    symbol = dense(mx.sym.var("data"), "fc", 3)
    mx.model.save_checkpoint("flat", 0, symbol, *random_params(symbol, data=(1, 7)))
    picture("images/1.png", 8, 8, 3)
    with pytest.raises(InputError, match=r"does not take images of 224 x 224 with 3 channels \(NCHW\): .*fc"):
        given("images", "flat")


def test_grey_has_one_number(here: Path) -> None:
    save("one", 1, 16, 16)
    picture("images/1.png", 16, 16)
    with pytest.raises(InputError, match="--mean is '1,2,3', expected one number, since --color is gray"):
        given("images", "one", mean="1,2,3")
    from mxquant.cli.data import Preset

    with pytest.raises(InputError, match="--preset imagenet is for three colours, but --color is gray"):
        given("images", "one", preset=Preset.IMAGENET)


def test_a_record_file_is_read_the_same_way(here: Path) -> None:
    save("one", 1, 28, 28)
    record = mx.recordio.MXIndexedRecordIO("a.idx", "a.rec", "w")
    pixels = [picture(f"images/{i}.png", 28, 28)[None] for i in range(3)]
    for i in range(3):
        header = mx.recordio.IRHeader(0, float(i), i, 0)
        record.write_idx(i, mx.recordio.pack(header, Path(f"images/{i}.png").read_bytes()))
    record.close()
    assert np.array_equal(given("a.rec", "one"), pixels)
    assert np.array_equal(given(f"file://{here}/a.rec", "one"), pixels)


KEPT = ("--image-size", "24x40", "--mean", "10,20,30", "--std", "50", "--crop", "none", "--color", "bgr")


@pytest.fixture
def quantized(folder: Path, call: Any) -> Path:
    """Make an int8 network on images that are read in an unusual way."""
    words = ("quantize", "-m", "net", "-d", "images", "-o", "int8", "--accuracy", "fast", "-q", *KEPT)
    assert call(*words).code == 0
    return folder


def test_a_plan_says_how_images_became_input(quantized: Path) -> None:
    expected = (
        "--image-size 24x40 --resize auto --crop none --color bgr --layout NCHW --mean 10,20,30 --std 50 --scale 1"
    )
    assert mxquant.load("int8").plan.settings["images"] == expected


def test_an_int8_network_is_judged_on_images_that_became_input_in_the_same_way(quantized: Path, call: Any) -> None:
    receives = (
        "the network receives 3 x 24 x 40 BGR: whole images, resized to it; mean 10,20,30, std 50, from -0.6 to 4.9"
    )
    words = ("-m", "net", "--int8", "int8", "-d", "images")
    for command in (
        ("score", *words),
        ("compare", *words),
        ("compare", "-m", "net", "--plan", "int8-plan.json", "-d", "images"),
        ("doctor", *words, "-o", "report.html"),
    ):
        done = call(*command)
        assert done.code == 0 and f"{receives}\n" in done.err, done.err
        assert "was made with" not in done.err
        # The same said again contradicts nothing.
        assert "was made with" not in call(*command, *KEPT).err
    assert call("score", *words, "--json").json["sqnr"] == pytest.approx(
        call("score", *words, *KEPT, "--json").json["sqnr"], abs=1e-6
    )


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("--mean", "0"), "--mean is 0, but 'int8' was made with 10,20,30;"),
        (("--color", "rgb"), "--color is rgb, but 'int8' was made with bgr;"),
        (("--image-size", "32"), "--image-size is 32, but 'int8' was made with 24x40;"),
        (("--preset", "imagenet"), "--mean is 103.53,116.28,123.675, but 'int8' was made with 10,20,30;"),
    ],
)
def test_an_option_that_contradicts_the_plan_counts_and_is_told(
    quantized: Path, call: Any, words: Any, sentence: str
) -> None:
    done = call("score", "-m", "net", "--int8", "int8", "-d", "images", *words)
    assert done.code == 0 and f"warning: {sentence}" in done.err


def test_a_plan_that_was_edited_to_nonsense_is_refused(quantized: Path, call: Any) -> None:
    path = Path("int8-plan.json")
    text = path.read_text(encoding="utf-8")
    for old, new in (("--crop none", "--crop"), ("--color bgr", "--colour bgr"), ("--std 50", "--std fifty")):
        path.write_text(text.replace(old, new), encoding="utf-8")
        done = call("compare", "-m", "net", "--plan", "int8-plan.json", "-d", "images", "-q")
        assert (done.code, done.err.count("\n")) == (2, 1), done.err


def test_arrays_are_taken_as_they_are_and_no_plan_speaks_of_images(folder: Path, call: Any) -> None:
    assert call("quantize", "-m", "net", "-d", "calib.npy", "-o", "int8", "--accuracy", "fast").code == 0
    assert "images" not in mxquant.load("int8").plan.settings
    for option, value in (("--resize", "9"), ("--crop", "none"), ("--color", "gray")):
        done = call("calibrate", "-m", "net", "-d", "calib.npy", "-o", "s.npz", option, value, "-q")
        assert done.code == 2 and f"{option} is for images, but --data 'calib.npy' has none" in done.err
