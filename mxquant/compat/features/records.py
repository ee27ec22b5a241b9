"""Records, pictures in them and in files, augmenters, and iterators that read files."""

from __future__ import annotations

import os
import random
import struct
import zlib
from typing import Any, List

import mxnet as mx
import numpy as np

from mxquant.compat.features.compare import close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]


def _picture(seed: int = 3, height: int = 8, width: int = 10) -> Any:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype("uint8")


def _png(picture: Any) -> bytes:
    """Return the file of a picture, so that no package is needed to write one."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _write_records(labels: List[Any], name: str = "images") -> None:
    record = mx.recordio.MXIndexedRecordIO(f"{name}.idx", f"{name}.rec", "w")
    for number, label in enumerate(labels):
        header = mx.recordio.IRHeader(0, label, number, 0)
        record.write_idx(number, mx.recordio.pack(header, _png(_picture(number))))
    record.close()


def _records() -> None:
    contents = [bytes([number]) * (number + 1) for number in range(5)]
    record = mx.recordio.MXRecordIO("plain.rec", "w")
    for content in contents:
        record.write(content)
    record.close()
    record = mx.recordio.MXRecordIO("plain.rec", "r")
    equal([record.read() for _ in range(5)], contents)
    equal(record.read(), None)
    record.reset()
    equal(record.read(), contents[0])


def _indexed_records() -> None:
    record = mx.recordio.MXIndexedRecordIO("some.idx", "some.rec", "w")
    for number in range(5):
        record.write_idx(np.int64(number), b"x" * (number + 1))
    record.close()
    record = mx.recordio.MXIndexedRecordIO("some.idx", "some.rec", "r")
    equal(record.keys, [0, 1, 2, 3, 4])
    equal([len(record.read_idx(number)) for number in (3, 0, 4)], [4, 1, 5])


def _packing() -> None:
    pack, unpack, head = mx.recordio.pack, mx.recordio.unpack, mx.recordio.IRHeader
    for label, flag in ((3.0, 0), (np.float32(3), 0), ([3, 4.5], 2), (np.array([3.0]), 1), (mx.nd.array([3, 4]), 2)):
        header, content = unpack(pack(head(0, label, np.int64(7), 1), b"abc"))
        equal((content, header.flag, header.id, header.id2), (b"abc", flag, 7, 1))
        expected = label.asnumpy() if hasattr(label, "asnumpy") else np.asarray(label, "float32")
        close(header.label, expected)


def _packed_pictures() -> None:
    picture = _picture()
    for label in (2.0, [1.0, 2.0]):
        packed = mx.recordio.pack_img(mx.recordio.IRHeader(0, label, 1, 0), picture, quality=9, img_fmt=".png")
        header, again = mx.recordio.unpack_img(packed)
        close(header.label, label)
        equal(again, picture)
    smooth = np.full((8, 8, 3), 100, "uint8")
    _, again = mx.recordio.unpack_img(mx.recordio.pack_img(mx.recordio.IRHeader(0, 1.0, 1, 0), smooth))
    close(again, smooth, atol=3)


def _image_record_iter() -> None:
    _write_records([[number, number / 2] for number in range(6)])
    data = mx.io.ImageRecordIter(
        path_imgrec="images.rec", path_imgidx="images.idx", data_shape=(3, 8, 10), batch_size=3, label_width=2,
        mean_r=10, std_r=2, preprocess_threads=1,
    )  # fmt: skip
    first, second = list(data)
    equal(second.pad, 0)
    expected = _picture(2).transpose(2, 0, 1).astype("float32")
    expected[0] = (expected[0] - 10) / 2
    close(first.data[0][2], expected)
    close(second.label[0], [[3, 1.5], [4, 2.0], [5, 2.5]])
    dataset = mx.gluon.data.vision.ImageRecordDataset("images.rec")
    image, label = dataset[np.int64(5)]
    equal(image, _picture(5))
    close(label, [5, 2.5])


def _decoding() -> None:
    picture = _picture()
    equal(mx.image.imdecode(_png(picture)), picture)
    equal(mx.image.imdecode(_png(picture), to_rgb=False), picture[..., ::-1])
    with open("one.png", "wb") as file:
        file.write(_png(picture))
    equal(mx.image.imread("one.png"), picture)
    image = mx.image.imread("one.png")
    equal(mx.image.fixed_crop(image, 2, 1, np.int64(4), 5), picture[1:6, 2:6])
    equal(mx.image.center_crop(image, (4, 6))[0], picture[1:7, 3:7])
    equal(mx.image.copyMakeBorder(image, 1, 2, 3, 4, 0, values=7)[1:-2, 3:-4], picture)
    equal(mx.image.imresize(image, np.int64(20), 16).shape, (16, 20, 3))
    flat = mx.nd.full((4, 6, 3), 9, dtype="uint8")
    equal(mx.image.imresize(flat, 3, 2, interp=1), np.full((2, 3, 3), 9, "uint8"))
    os.makedirs("folder/a")
    os.rename("one.png", "folder/a/one.png")
    folder = mx.gluon.data.vision.ImageFolderDataset("folder")
    equal(folder[0][0], picture)
    equal((folder.synsets, folder[0][1]), (["a"], 0))


def _augmenters() -> None:
    image = mx.nd.array(_picture(), dtype="float32")
    before = image.asnumpy()
    coefficients = np.array([0.299, 0.587, 0.114], "float32")
    state = random.getstate()

    def factor(bound: float) -> float:
        random.setstate(state)
        return 1 + random.uniform(-bound, bound)

    alpha = factor(0.3)
    random.setstate(state)
    close(mx.image.BrightnessJitterAug(0.3)(image.copy()), before * alpha, 1e-4)
    random.setstate(state)
    gray = (before * coefficients).sum() / (before.size / 3)
    close(mx.image.ContrastJitterAug(0.3)(image.copy()), before * alpha + (1 - alpha) * gray, 1e-4, 1e-2)
    random.setstate(state)
    grays = (before * coefficients).sum(axis=2, keepdims=True)
    close(mx.image.SaturationJitterAug(0.3)(image.copy()), before * alpha + (1 - alpha) * grays, 1e-4, 1e-2)
    random.setstate(state)
    turned = mx.image.HueJitterAug(0.3)(image.copy()).asnumpy()
    close((turned * coefficients).sum(axis=2), grays[..., 0], 1e-2, 1.0)
    values, vectors = np.array([55.46, 4.794, 1.148]), np.eye(3)
    np.random.seed(5)
    noise = np.random.normal(0, 0.1, 3)
    np.random.seed(5)
    close(mx.image.LightingAug(0.1, values, vectors)(image.copy()), before + noise * values, 1e-4, 1e-3)
    normalized = mx.image.ColorNormalizeAug(np.array([1.0, 2, 3]), np.array([2.0, 4, 8]))(image.copy())
    close(normalized, (before - [1, 2, 3]) / [2, 4, 8])
    close(mx.image.RandomGrayAug(1.0)(image.copy())[..., 1], before @ [0.21, 0.72, 0.07], 1e-4)
    equal(mx.image.HorizontalFlipAug(1.0)(image), before[:, ::-1])
    augmenters = mx.image.CreateAugmenter((3, 6, 6), resize=7, rand_crop=True, rand_mirror=True, mean=True, std=True,
                                          brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1, pca_noise=0.1,
                                          rand_gray=0.2)  # fmt: skip
    result = mx.nd.array(_picture(), dtype="uint8")
    for augmenter in augmenters:
        holds(augmenter.dumps(), "an augmenter can be written down")
        result = augmenter(result)
    equal(result.shape, (6, 6, 3))
    holds(np.abs(result.asnumpy()).max() < 10 and result.asnumpy().std() > 0.1, "pixels are normalized")


def _image_iter() -> None:
    _write_records([0.0, 1.0, 2.0, 3.0, 4.0])
    data = mx.image.ImageIter(2, (3, 8, 10), path_imgrec="images.rec", path_imgidx="images.idx", aug_list=[])
    batches = list(data)
    equal((len(batches), batches[-1].pad), (3, 1))
    equal(batches[1].data[0][1].asnumpy(), _picture(3).transpose(2, 0, 1).astype("float32"))
    equal(batches[1].label[0].asnumpy().tolist(), [2.0, 3.0])
    with open("a.png", "wb") as file:
        file.write(_png(_picture(1)))
    listed = mx.image.ImageIter(1, (3, 8, 10), imglist=[[np.float32(4), "a.png"]], path_root=".", aug_list=[])
    batch = next(listed)
    equal((batch.label[0].asscalar(), batch.data[0].asnumpy()[0, 2, 7, 9]), (4.0, np.float32(_picture(1)[7, 9, 2])))


def _detection() -> None:
    boxes = np.array([[1, 0.1, 0.2, 0.5, 0.6], [0, 0.4, 0.4, 0.9, 1.0]], "float32")
    image = mx.nd.array(_picture(0, 40, 50), dtype="uint8")
    flipped, labels = mx.image.DetHorizontalFlipAug(1.0)(image, boxes.copy())
    equal(flipped, image.asnumpy()[:, ::-1])
    close(labels[:, 1:], np.stack([1 - boxes[:, 3], boxes[:, 2], 1 - boxes[:, 1], boxes[:, 4]], axis=1))
    padded, labels = mx.image.DetRandomPadAug(area_range=(2.0, 3.0), pad_val=(1, 2, 3))(image, boxes.copy())
    sizes = np.array([padded.shape[1], padded.shape[0]] * 2)
    close((labels[:, 3] - labels[:, 1]) * sizes[0], (boxes[:, 3] - boxes[:, 1]) * 50, 1e-3)
    holds(padded.shape[0] > 40 and padded.shape[1] > 50, "the picture is larger")
    cropped, labels = mx.image.DetRandomCropAug(min_object_covered=0.3, area_range=(0.3, 0.9))(image, boxes.copy())
    holds(cropped.size < image.size and labels.min() >= 0 and labels[:, 1:].max() <= 1, "the picture is smaller")
    head = [2, 5]
    _write_records([head + boxes.ravel().tolist(), head + boxes[:1].ravel().tolist()], "boxes")
    data = mx.image.ImageDetIter(2, (3, 8, 10), path_imgrec="boxes.rec", path_imgidx="boxes.idx", aug_list=[])
    batch = next(data)
    close(batch.label[0][0], boxes)
    close(batch.label[0][1], [boxes[0], [-1] * 5])
    shaken = mx.image.CreateDetAugmenter((3, 8, 10), rand_crop=0.5, rand_pad=0.5, rand_mirror=True, mean=True, std=True,
                                         brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1)  # fmt: skip
    data = mx.image.ImageDetIter(2, (3, 8, 10), path_imgrec="boxes.rec", path_imgidx="boxes.idx", aug_list=shaken)
    holds(np.isfinite(next(data).data[0].asnumpy()).all(), "pixels are finite")


def _file_iters() -> None:
    values = np.arange(12).reshape(4, 3)
    np.savetxt("data.csv", values, delimiter=",")
    np.savetxt("label.csv", values[:, :1], delimiter=",")
    data = mx.io.CSVIter(data_csv="data.csv", data_shape=(np.int64(3),), label_csv="label.csv", batch_size=2)
    first, second = list(data)
    close(second.data[0], values[2:])
    close(first.label[0].reshape((-1,)), [0, 3])
    with open("data.svm", "w", encoding="utf-8") as file:
        file.write("1 0:0.5 3:1.5\n0 1:2.0\n")
    batch = next(iter(mx.io.LibSVMIter(data_libsvm="data.svm", data_shape=(4,), batch_size=2)))
    close(batch.data[0].asnumpy(), [[0.5, 0, 0, 1.5], [0, 2.0, 0, 0]])
    close(batch.label[0], [1, 0])
    digits = _picture()[:, :, 0]
    with open("digits", "wb") as file:
        file.write(struct.pack(">IIII", 2051, 1, *digits.shape) + digits.tobytes())
    with open("names", "wb") as file:
        file.write(struct.pack(">II", 2049, 1) + bytes([7]))
    batch = next(iter(mx.io.MNISTIter(image="digits", label="names", batch_size=1, shuffle=False)))
    close(batch.data[0][0, 0], digits / 256, 1e-5)


def _array_iter() -> None:
    values = {"a": np.arange(10.0).reshape(5, 2), "b": mx.nd.arange(5)}
    data = mx.io.NDArrayIter(values, np.arange(5), 2, last_batch_handle="pad")
    batches = list(data)
    equal(([batch.pad for batch in batches], [each.name for each in data.provide_data]), ([0, 0, 1], ["a", "b"]))
    close(batches[2].data[0], [[8, 9], [0, 1]])
    close(batches[2].data[1], [4, 0])
    equal(len(list(mx.io.NDArrayIter(values, batch_size=2, last_batch_handle="discard"))), 2)
    rolled = mx.io.NDArrayIter(np.arange(5.0), batch_size=2, last_batch_handle="roll_over")
    equal([len(list(rolled)), rolled.reset(), len(list(rolled))], [2, None, 3])
    shuffled = mx.io.NDArrayIter(np.arange(6.0), np.arange(6.0), 6, shuffle=True)
    batch = next(shuffled)
    equal(batch.data[0], batch.label[0])
    equal(np.sort(batch.data[0].asnumpy()), np.arange(6, dtype="float32"))
    resized = mx.io.ResizeIter(mx.io.NDArrayIter(np.arange(4.0), batch_size=2), 5)
    equal(len(list(resized)), 5)
    ahead = mx.io.PrefetchingIter(mx.io.NDArrayIter(np.arange(4.0), batch_size=2))
    close(np.concatenate([each.data[0].asnumpy() for each in ahead]), [0, 1, 2, 3])


FEATURES = (
    Feature("RecordIO", _records),
    Feature("RecordIO with an index", _indexed_records),
    Feature("recordio.pack, scalar and array labels", _packing),
    Feature("recordio.pack_img", _packed_pictures, ("cv2",)),
    Feature("ImageRecordIter, ImageRecordDataset", _image_record_iter),
    Feature("pictures decoded, cut and resized", _decoding),
    Feature("augmenters of images", _augmenters),
    Feature("ImageIter", _image_iter),
    Feature("detection: augmenters and ImageDetIter", _detection),
    Feature("NDArrayIter, ResizeIter, PrefetchingIter", _array_iter),
    Feature("CSVIter, LibSVMIter, MNISTIter", _file_iters),
)
