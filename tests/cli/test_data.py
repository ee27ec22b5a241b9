"""Data of every form, and how images become what a network reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from mxquant.cli.data import DataOptions, Layout, Preset
from mxquant.cli.examples import Data
from mxquant.cli.network import NetworkOptions
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from tests.cli.conftest import tiny_network, write_image

SIZE = NetworkOptions(model="net", image_size="32")


def opened(data: str, network: NetworkOptions = SIZE, **options: Any) -> Data:
    """Return data for the tiny network."""
    return DataOptions(data, **options).open(network.load(), network)


def arrays(data: Data) -> np.ndarray:
    return np.concatenate([batch.arrays["data"] for batch in data.labelled()])


def labels(data: Data) -> List[float]:
    return [float(label) for batch in data.labelled() for label in batch.labels]


def test_labels_of_class_folders_are_their_places_in_alphabetical_order(folder: Path) -> None:
    for name in "cde":
        Path(f"images/{name}").mkdir()
    data = opened("images")
    assert data.known == 10 and sorted(labels(data)) == [0] * 5 + [1] * 5
    # The first ones are of both classes, and it is the same each time.
    assert {0.0, 1.0} == set(labels(data.first(5))) and labels(data) == labels(opened("images"))


def test_a_flat_folder_has_no_labels_and_keeps_the_order_of_names(folder: Path) -> None:
    data = opened("images/a", batch_size=2)
    assert [batch.labels for batch in data.labelled()] == [None] * 3
    assert np.array_equal(arrays(data)[:1], arrays(opened("images/a").first(1)))


@pytest.mark.parametrize("name", ["images", "images/a", "val.rec", "calib.npy"])
def test_what_a_url_names_is_what_the_path_names(folder: Path, name: str) -> None:
    by_path, by_url = opened(name), opened(f"file://{Path.cwd()}/{name}")
    assert by_url.known == by_path.known and np.array_equal(arrays(by_url), arrays(by_path))
    unlabelled = [[batch.labels is None for batch in data.labelled()] for data in (by_path, by_url)]
    assert unlabelled[0] == unlabelled[1]


def test_arrays_behind_a_url_are_not_preprocessed_either(folder: Path) -> None:
    with pytest.raises(InputError, match="--preset is for images, but --data 'file://.*calib.npy' has none"):
        opened(f"file://{Path.cwd()}/calib.npy", preset=Preset.IMAGENET)


@pytest.mark.parametrize("index", [True, False])
def test_a_record_file_is_read_with_and_without_its_index(folder: Path, index: bool) -> None:
    if not index:
        Path("val.idx").unlink()
    data = opened("val.rec")
    assert data.known == (10 if index else None)
    assert labels(data) == [0] * 5 + [1] * 5
    assert np.array_equal(arrays(data)[:5], arrays(opened("images/a")))


def test_the_shorter_side_becomes_256_224ths_and_the_middle_is_cut_out(folder: Path) -> None:
    image = mx.image.imdecode(Path("images/a/00.bmp").read_bytes())
    image = mx.image.imresize(image, 45, 36)  # 32 * 256 / 224 = 36
    expected = image.asnumpy()[2:34, 6:38].transpose(2, 0, 1)
    assert np.array_equal(arrays(opened("images/a"))[0], expected)


def test_an_image_is_normalised_by_mean_std_and_scale(folder: Path) -> None:
    pixels = arrays(opened("images/a"))
    found = arrays(opened("images/a", mean="10,20,30", std="2,4,5", scale=0.5))
    mean, std = (np.reshape(each, (3, 1, 1)) for each in ([10, 20, 30], [2, 4, 5]))
    np.testing.assert_allclose(found, (pixels - mean) / std * 0.5, rtol=1e-6, atol=1e-6)
    preset = arrays(opened("images/a", preset=Preset.IMAGENET))
    mean, std = (np.reshape(each, (3, 1, 1)) for each in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    np.testing.assert_allclose(preset, (pixels - mean) / std, rtol=1e-5, atol=1e-5)
    assert np.array_equal(
        arrays(opened("images/a", preset=Preset.IMAGENET, mean="127", std="128")), (pixels - 127) / 128
    )


def test_networks_of_the_zoo_get_the_normalisation_that_they_are_trained_with(folder: Path) -> None:
    zoo = NetworkOptions(gluon="mobilenetv2_0.25", image_size="32")
    assert np.array_equal(arrays(opened("images/a", zoo)), arrays(opened("images/a", preset=Preset.IMAGENET)))
    assert arrays(opened("images/a", zoo, mean="0")).max() > 100


def test_the_layout_may_have_channels_last(folder: Path) -> None:
    symbol, args, aux = tiny_network()
    last = symbol(data=mx.sym.transpose(mx.sym.var("data"), (0, 3, 1, 2)))
    mx.model.save_checkpoint("last", 0, last, args, aux)
    network = NetworkOptions(model="last", image_size="32")
    for options in ({}, {"layout": Layout.NHWC}):
        found = arrays(opened("images/a", network, **options))
        assert np.array_equal(found.transpose(0, 3, 1, 2), arrays(opened("images/a")))
    with pytest.raises(InputError, match=r"does not take images of 32 x 32 with 3 channels \(NCHW\): it takes .*NHWC"):
        opened("images/a", network, layout=Layout.NCHW)


@pytest.mark.parametrize("size", [1, 3, 32])
def test_the_batch_size_changes_nothing_but_batches(folder: Path, size: int) -> None:
    data = opened("val.rec", batch_size=size)
    assert next(batch.size for batch in data.labelled()) == min(size, 10)
    assert np.array_equal(arrays(data), arrays(opened("val.rec")))


@pytest.mark.parametrize("begin, count", [(0, 3), (2, 5), (8, 9), (10, 1)])
def test_a_part_of_the_data_is_exactly_that_part(folder: Path, begin: int, count: int) -> None:
    data = opened("val.rec", batch_size=4)
    part = [batch.arrays["data"] for batch in data.after(begin, count).labelled()]
    expected = arrays(data)[begin : begin + count]
    assert np.array_equal(np.concatenate([expected[:0], *part]), expected)
    assert data.after(begin, count).count == len(expected)


def test_an_npz_file_has_arrays_by_the_name_of_the_input_and_labels(folder: Path) -> None:
    images = np.load("calib.npy")
    np.savez("named.npz", other=images[:, :1], data=images, labels=np.arange(24))
    np.savez("first.npz", label=np.arange(24)[:, None], x=images)
    for name in ("named.npz", "first.npz"):
        data = opened(name)
        assert np.array_equal(arrays(data), images) and labels(data) == list(range(24))
    assert np.array_equal(arrays(opened("calib.npy")), images)


@pytest.mark.parametrize(
    "body, count, labelled",
    [
        ("return X", 24, False),
        ("return mx.nd.array(X)", 24, False),
        ("return [X[:4], X[4:6]]", 6, False),
        ("return ((X[i:i+4], Y[i:i+4]) for i in (0, 4))", 8, True),
        ("return [{'data': X[:5], 'label': Y[:5]}]", 5, True),
        ("return mx.io.NDArrayIter(X[:10], Y[:10], batch_size=4)", 10, True),
        ("return mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(X, Y), batch_size=7)", 24, True),
    ],
)
def test_a_function_may_return_all_that_calibrate_takes(
    folder: Path, monkeypatch: Any, body: str, count: int, labelled: bool
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    name = f"mydata{abs(hash(body))}"
    head = "import mxquant, mxnet as mx, numpy as np\nX = np.load('calib.npy')\nY = np.arange(24) % 5\n"
    Path(f"{name}.py").write_text(f"{head}def load():\n    {body}\n", encoding="utf-8")
    data = opened(f"{name}:load")
    assert np.array_equal(arrays(data), np.load("calib.npy")[:count])
    assert len(arrays(data)) == count  # also the second time
    if labelled:
        assert labels(data) == [i % 5 for i in range(count)]


def test_no_pickle_is_read(folder: Path) -> None:
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez("objects.npz", data=np.array([{}], dtype=object))
    for name in ("objects.npy", "objects.npz"):
        with pytest.raises(InputError, match=f"'{name}': it holds Python objects"):
            opened(name)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 broken"])
def test_a_file_that_is_no_image_is_named(folder: Path, content: bytes) -> None:
    Path("images/a/04.bmp").write_bytes(content)
    with pytest.raises(InputError, match=r"'images/a/04.bmp' is no image that MXNet can decode"):
        list(opened("images").labelled())


def test_a_damaged_record_is_named(folder: Path) -> None:
    Path("text.rec").write_bytes(b"this is no record file at all, but some text")
    with pytest.raises(InputError, match=r"'text.rec' is damaged, or no .rec file, at record 0"):
        list(opened("text.rec").labelled())
    record = mx.recordio.MXRecordIO("odd.rec", "w")
    record.write(mx.recordio.pack(mx.recordio.IRHeader(0, 1.0, 0, 0), b"no image"))
    record.close()
    with pytest.raises(InputError, match="record 0 of 'odd.rec' is no image"):
        list(opened("odd.rec").labelled())


def test_other_files_in_a_folder_are_passed_over_and_told(folder: Path, caplog: Any) -> None:
    Path("images/a/list.txt").write_text("a list", encoding="utf-8")
    Path("images/a/.hidden").write_text("", encoding="utf-8")
    assert opened("images").known == 10
    assert "passed over 1 files that are no images by their names, such as 'images/a/list.txt'" in caplog.text


@pytest.mark.parametrize(
    "data, options, sentence",
    [
        ("nowhere", {}, "'nowhere' does not exist; expected a folder of images"),
        ("net-symbol.json", {}, "'net-symbol.json' has another suffix"),
        ("empty", {}, "'empty' has no images"),
        ("both", {}, "expected one or the other"),
        ("images", {"mean": "1,2"}, "--mean is '1,2', expected three numbers R,G,B"),
        ("images", {"std": "a,b,c"}, "--std is 'a,b,c', expected three numbers"),
        ("images", {"std": "1,0,1"}, "--std is '1,0,1', expected three numbers above 0"),
        ("calib.npy", {"scale": 0.5}, "--scale is for images"),
        ("calib.npy", {"preset": Preset.IMAGENET}, "--preset is for images"),
        ("two.npz", {}, "'two.npz' holds float32 of shape"),
        ("text.npy", {}, "holds <U1 of shape"),
        ("no_such_module:f", {}, "cannot import 'no_such_module'"),
        ("os:no_such_function", {}, "module 'os' has no function 'no_such_function'"),
    ],
)
def test_data_that_cannot_be_read_are_refused(folder: Path, data: str, options: Any, sentence: str) -> None:
    Path("empty").mkdir()
    write_image(Path("both/a/1.bmp"), 1)
    write_image(Path("both/2.bmp"), 2)
    np.savez("two.npz", data=np.zeros((3, 3, 32, 32), np.float32), label=np.zeros(2))
    np.save("text.npy", np.array(["a"]))
    with pytest.raises(InputError) as raised:
        list(opened(data, **options).labelled())
    assert sentence in str(raised.value)


def test_what_a_function_raises_or_returns_is_told(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(folder))
    Path("mine.py").write_text("def bad():\n    raise OSError('no disk')\ndef odd():\n    return 7\n", encoding="utf-8")
    with pytest.raises(InputError, match="'mine:bad' raised OSError: no disk"):
        list(opened("mine:bad").labelled())
    with pytest.raises(InputError, match="'mine:odd' returned int, expected a DataIter"):
        list(opened("mine:odd").labelled())


@pytest.mark.parametrize("data", ["images", "val.rec", "calib.npy"])
def test_more_examples_than_there_are_is_an_error(folder: Path, data: str) -> None:
    if data == "val.rec":
        Path("val.idx").unlink()
    with pytest.raises(InputError, match=rf"--num-examples is 99, but '{data}' holds (10|24) examples"):
        list(opened(data).first(99).labelled())
