"""Data sets in files: any part of one is exactly that part, in the batches of the whole, wherever it is read."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest

from mxquant.datasets import ArrayFile, Dataset, ImageFiles, Preprocessing, RecordFile
from mxquant.datasets.records import _record, first_record, read_record, record_size
from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from tests.cli.conftest import write_image

COUNT = 11
HOW = Preprocessing(32, mean=(10.0, 20.0, 30.0))
MAGIC = struct.pack("<I", 0xCED7230A)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the same labelled images in every form."""
    folder = tmp_path_factory.mktemp("datasets")
    record = mx.recordio.MXIndexedRecordIO(str(folder / "val.idx"), str(folder / "val.rec"), "w")
    files = []
    for number in range(COUNT):
        path = folder / "images" / f"{number:02d}.bmp"
        write_image(path, number)
        files.append(path)
        record.write_idx(number, mx.recordio.pack(mx.recordio.IRHeader(0, float(number), number, 0), path.read_bytes()))
    record.close()
    whole = [np.concatenate(each) for each in zip(*RecordFile.of(str(folder / "val.rec"), HOW))]
    np.save(folder / "data.npy", whole[0])
    np.savez(folder / "data.npz", data=whole[0], label=whole[1])
    np.savez_compressed(folder / "small.npz", label=whole[1], other=whole[0])
    return folder


def listed(folder: Path, **options: Any) -> ImageFiles:
    return ImageFiles([(folder / "images" / f"{i:02d}.bmp", i) for i in range(COUNT)], HOW, **options)


FORMS: Dict[str, Callable[..., Dataset]] = {
    "list": listed,
    "folder": lambda folder, **options: ImageFiles.of(str(folder / "images"), HOW, **options),
    "rec": lambda folder, **options: RecordFile.of(str(folder / "val.rec"), HOW, **options),
    "rec by URL": lambda folder, **options: RecordFile.of(f"file://{folder}/val.rec", HOW, **options),
    "npy": lambda folder, **options: ArrayFile.of(str(folder / "data.npy"), **options),
    "npz": lambda folder, **options: ArrayFile.of(str(folder / "data.npz"), **options),
    "packed npz": lambda folder, **options: ArrayFile.of(str(folder / "small.npz"), **options),
    "npz by URL": lambda folder, **options: ArrayFile.of(f"file://{folder}/data.npz", **options),
}


def joined(dataset: Dataset) -> np.ndarray:
    return np.concatenate([batch[0] for batch in dataset])


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_the_same_images_are_equal(folder: Path, form: str) -> None:
    data = FORMS[form](folder)
    assert len(data) == COUNT and np.array_equal(joined(data), np.load(folder / "data.npy"))
    labels = [batch[1].tolist() for batch in data if len(batch) == 2]
    assert labels == ([] if form in ("folder", "npy") else [[*range(COUNT)]])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("begin, end", [(0, 11), (0, 1), (3, 9), (4, 8), (10, 11), (6, 7)])
def test_a_part_is_that_part_in_the_batches_of_the_whole(folder: Path, form: str, begin: int, end: int) -> None:
    whole = np.load(folder / "data.npy")
    part = pickle.loads(pickle.dumps(FORMS[form](folder, batch_size=4).part(begin, end)))  # as it goes to a worker
    expected = [whole[max(begin, at) : min(end, at + 4)] for at in (0, 4, 8)]
    found = [batch[0] for batch in part]
    assert [each.tolist() for each in expected if len(each)] == [each.tolist() for each in found]
    rest = part.part(len(part) - 1, len(part))
    assert len(rest) == 1 and np.array_equal(joined(rest), whole[end - 1 : end])


def test_members_of_one_file_are_read_in_turns_each_from_its_own_place(tmp_path: Path, monkeypatch: Any) -> None:
    # CPython 3.12.1 and 3.13.0 go forward in a stored member from wherever the file that all members share is.
    kept = zipfile.ZipExtFile.seek

    def seek_from_here(self: Any, offset: int, whence: int = os.SEEK_SET) -> int:
        forward = offset - self.tell() - (len(self._readbuffer) - self._offset)
        if whence != os.SEEK_SET or forward <= 0:
            return kept(self, offset, whence)
        self._expected_crc, self._readbuffer, self._offset = None, b"", 0
        self._fileobj.seek(forward, os.SEEK_CUR)
        self._left -= forward
        return offset

    rows = np.arange(40, dtype=np.float32)
    content = {"a": rows[:, None] + np.zeros(5000, np.float32), "b": -rows[:, None] + np.zeros(7000, np.float32)}
    np.savez(tmp_path / "two.npz", label=rows, **content)
    whole = ArrayFile.of(str(tmp_path / "two.npz"), ("b", "a"), batch_size=3)
    monkeypatch.setattr(zipfile.ZipExtFile, "seek", seek_from_here)
    for data in (whole.part(7, 40), whole):
        b, a, label = (np.concatenate(each) for each in zip(*data))
        first = 40 - len(data)
        assert np.array_equal(a, content["a"][first:]) and np.array_equal(b, content["b"][first:])
        assert label.tolist() == rows[first:].tolist()


def test_a_reference_is_small(folder: Path) -> None:
    for form in FORMS:
        assert len(pickle.dumps(FORMS[form](folder).part(0, 8))) < 2000


def test_records_are_found_without_an_index(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "val.rec").write_bytes((folder / "val.rec").read_bytes())
    found, expected = RecordFile.of(str(tmp_path / "val.rec"), HOW), RecordFile.of(str(folder / "val.rec"), HOW)
    assert np.array_equal(found.offsets, expected.offsets)


@pytest.mark.parametrize("content", [b"", b"a", MAGIC, MAGIC * 3, b"1234" + MAGIC + b"56", b"12" + MAGIC, MAGIC + b"1"])
def test_records_that_hold_the_magic_number_are_read_as_mxnet_reads_them(tmp_path: Path, content: bytes) -> None:
    path = str(tmp_path / "odd.rec")
    writer = mx.recordio.MXRecordIO(path, "w")
    for each in (b"before", content, b"after"):
        writer.write(each)
    writer.close()
    reader = mx.recordio.MXRecordIO(path, "r")
    expected = [reader.read() for _ in range(3)]
    reader.close()
    with open(path, "rb") as file:
        found = [_record(file, path, number) for number in range(4)]
    assert found == [*expected, None] == [b"before", content, b"after", None]
    assert len(RecordFile.of(path, HOW)) == 3


def test_an_index_of_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "val.rec").read_bytes()
    lines = (folder / "val.idx").read_text().splitlines()
    (tmp_path / "val.rec").write_bytes(content)
    for wrong, number in ((lines[:5] + lines[6:], 4), (lines[:-1], 9)):
        (tmp_path / "val.idx").write_text("\n".join(wrong))
        with pytest.raises(InputError, match=rf"record {number} of '.*val.rec' does not end at byte \d+, as its .idx"):
            list(RecordFile.of(str(tmp_path / "val.rec"), HOW))
    (tmp_path / "val.idx").write_text("0\tnowhere\n")
    with pytest.raises(InputError, match=r"val.idx' has a line that is no key and place of a record"):
        RecordFile.of(str(tmp_path / "val.rec"), HOW)


def test_a_damaged_record_file_is_named_with_the_record(folder: Path, tmp_path: Path) -> None:
    content, path = (folder / "val.rec").read_bytes(), tmp_path / "cut.rec"
    begins = RecordFile.of(str(folder / "val.rec"), HOW).offsets
    odd = {"end": content[: begins[3] + 50], "magic": content[: begins[3]] + b"\0" + content[begins[3] + 1 :]}
    odd["kind"] = content[: begins[3] + 7] + b"\xff" + content[begins[3] + 8 :]
    odd["part"] = content[: begins[3] + 7] + b"\x60" + content[begins[3] + 8 :]
    for damaged in odd.values():
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"cut.rec' is damaged, or no .rec file, at record 3"):
            list(read_record(str(path)))


def test_a_file_that_has_become_shorter_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.zeros((8, 4), np.float32))
    data = ArrayFile.of(str(path))
    np.save(path, np.zeros((6, 4), np.float32))
    with pytest.raises(InputError, match=r"cannot read '.*data.npy': it ends before row 8"):
        list(data)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: ArrayFile.of("absent.npy"), "cannot read 'absent.npy': No such file"),
        (lambda: ArrayFile.of("text.npy"), "cannot read 'text.npy': "),
        (lambda: ArrayFile.of("fortran.npy"), "its rows do not lie one after the other"),
        (lambda: ArrayFile.of("objects.npy"), "it holds Python objects"),
        (lambda: ArrayFile.of("nosuch://bucket/data.npy"), "cannot read 'nosuch://bucket/data.npy': "),
        (lambda: ArrayFile.of("good.npy", batch_size=0), "batch_size is 0, expected a whole number from 1"),
        (lambda: RecordFile.of("absent.rec", HOW), "cannot read 'absent.rec': No such file"),
        (lambda: RecordFile.of("empty.rec", HOW), "'empty.rec' has no records"),
        (lambda: ImageFiles.of("absent", HOW), "there is no folder 'absent'"),
        (lambda: ImageFiles([], HOW), "'images' has no images"),
        (lambda: ImageFiles(["a.jpg"], HOW), "expected pairs of a path and a label or None"),
        (lambda: list(ImageFiles([("a.jpg", None)], HOW)), "cannot read 'a.jpg': No such file"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: Any, make: Any, sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.npy").write_text("no array")
    Path("empty.rec").write_bytes(b"")
    np.save("good.npy", np.zeros((2, 2), np.float32))
    np.save("fortran.npy", np.asfortranarray(np.zeros((3, 2), np.float32)))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError) as raised:
        make()
    assert sentence in str(raised.value)


def test_a_plain_calibration_takes_a_data_set(folder: Path) -> None:
    import mxquant

    symbol = mx.sym.Activation(mx.sym.var("data"), act_type="relu", name="act")
    found: List[Any] = [
        mxquant.calibrate(symbol, data) for data in (FORMS["rec"](folder), np.load(folder / "data.npy"))
    ]
    assert found[0].histograms == found[1].histograms


def written(path: Path, records: List[Any], index: bool = True) -> str:
    """Write records of labels and an image or nothing, with their keys."""
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for key, (label, image) in enumerate(records):
        # As mx.recordio.pack, which calls what NumPy no longer has.
        one, more = (label, []) if isinstance(label, float) else (0.0, label)
        head = struct.pack("<IfQQ", len(more), one, key, 0)
        writer.write_idx(key, head + np.array(more, np.float32).tobytes() + image)
    writer.close()
    if not index:
        path.with_suffix(".idx").unlink()
    return str(path)


def encoded(number: int, folder: Path) -> bytes:
    write_image(folder / "x.bmp", number)
    return (folder / "x.bmp").read_bytes()


@pytest.mark.parametrize("index", [True, False])
def test_records_without_an_image_at_both_ends_are_passed_over(tmp_path: Path, index: bool) -> None:
    # As InsightFace writes them: how many there are, the images of persons, and where those of each begin and end.
    images = [(float(number // 3), encoded(number, tmp_path)) for number in range(9)]
    persons = [([1.0 + 3 * k, 4.0 + 3 * k], b"") for k in range(3)]
    path = written(tmp_path / "train.rec", [([10.0, 13.0], b""), *images, *persons, (7.0, b"")], index)
    data = RecordFile.of(path, HOW, batch_size=4)
    assert len(data) == 9 and record_size(path) == (9 if index else None)
    labels = [label for batch in data for label in batch[1]]
    assert labels == [0, 0, 0, 1, 1, 1, 2, 2, 2] == [image.label for image in read_record(path)]
    assert [label for batch in data.part(2, 8) for label in batch[1]] == labels[2:8]
    first, numbers = first_record(path)
    assert (first.content, first.label, numbers) == (images[0][1], 0.0, 1)
    assert first.name == f"record 1 of '{path}'"


@pytest.mark.parametrize("labels", [1, 2, 300])
def test_a_record_without_an_image_between_others_is_named(tmp_path: Path, labels: int) -> None:
    image = (1.0, encoded(0, tmp_path))
    path = written(tmp_path / "odd.rec", [([1.0, 2.0], b""), image, ([1.0] * labels, b""), image])
    for read in (lambda: list(RecordFile.of(path, HOW)), lambda: list(read_record(path))):
        with pytest.raises(InputError, match="record 2 of '.*odd.rec' has no image, and stands between others"):
            read()


@pytest.mark.parametrize("labels", [2, 7, 300])
def test_a_label_of_many_numbers_is_no_class(tmp_path: Path, labels: int) -> None:
    path = written(tmp_path / "det.rec", [([2.0, 5.0, *[0.5] * (labels - 2)], encoded(k, tmp_path)) for k in range(3)])
    assert [len(batch) for batch in RecordFile.of(path, HOW)] == [1] and first_record(path)[1] == labels
    one = written(tmp_path / "one.rec", [([4.0], encoded(0, tmp_path))])
    assert [batch[1].tolist() for batch in RecordFile.of(one, HOW)] == [[4.0]]


@pytest.mark.parametrize("index", [True, False])
def test_records_that_are_all_without_an_image_are_refused(tmp_path: Path, index: bool) -> None:
    path = written(tmp_path / "none.rec", [([1.0, 2.0], b"")] * 3, index)
    for read in (lambda: RecordFile.of(path, HOW), lambda: first_record(path)):
        with pytest.raises(InputError, match="none.rec' has 3 records, but none with an image"):
            read()


def test_class_folders_that_are_numbers_are_these_classes(tmp_path: Path) -> None:
    for number, name in enumerate(("1", "10", "2")):
        write_image(tmp_path / "numbers" / name / "x.bmp", number)
        write_image(tmp_path / "names" / f"n{name}" / "x.bmp", number)
    (tmp_path / "names" / "n0").mkdir()
    assert sorted(label for _, label in ImageFiles.of(str(tmp_path / "numbers"), HOW).files) == [1, 2, 10]
    assert sorted(label for _, label in ImageFiles.of(str(tmp_path / "names"), HOW).files) == [1, 2, 3]
    given = {"n2": 7, "n10": 5, "n1": 0, "n0": 1, "no folder": 9}
    found = ImageFiles.of(str(tmp_path / "names"), HOW, classes=given)
    assert sorted((Path(path).parent.name, label) for path, label in found.files) == [("n1", 0), ("n10", 5), ("n2", 7)]
    del given["n0"]
    with pytest.raises(InputError, match="there is a class folder 'n0', but no class of this name"):
        ImageFiles.of(str(tmp_path / "names"), HOW, classes=given)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"color": "red"}, "color is 'red', expected one of 'rgb', 'bgr', 'gray'"),
        ({"side": 0}, "side is 0, expected a whole number from 1, or two for height and width"),
        ({"side": (3, 4, 5)}, "side is (3, 4, 5)"),
        ({"resize": -1}, "resize is -1, expected a whole number from 1, 'none' or 'auto'"),
        ({"crop": "left"}, "crop is 'left', expected 'center', 'none', a side, or a height and width"),
        ({"color": "gray", "mean": (1.0, 2.0, 3.0)}, "mean is (1.0, 2.0, 3.0), expected one number, or 1 for gray"),
        ({"std": (1.0, 2.0)}, "std is (1.0, 2.0), expected one number, or 3 for rgb"),
    ],
)
def test_a_preprocessing_of_another_kind_is_refused(options: Any, sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        Preprocessing(**options)
    assert sentence in str(raised.value)


def test_a_preprocessing_knows_the_shape_and_the_range_of_what_it_makes() -> None:
    how = Preprocessing((32, 128), (5.0,), (50.0, 25.0, 5.0), 0.5)
    assert (how.size, how.shape, how.range) == ((32, 128), (3, 32, 128), (-0.5, 25.0))
    how = Preprocessing(28, scale=-1.0, channels_first=False, color="gray")
    assert (how.shape, how.range) == ((28, 28, 1), (-255.0, 0.0))
