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
from mxquant.datasets.records import _record, read_record
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
