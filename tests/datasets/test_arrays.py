"""Arrays of examples: sizes are compared with the file and with memory, and nothing is read that nobody asked for."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

from mxquant.datasets import ArrayFile, arrays
from mxquant.datasets.arrays import read_arrays
from mxquant.errors import InputError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
READERS: Dict[str, Callable[[Path], Any]] = {
    "whole": lambda path: list(read_arrays(path, ["data"]).batches(2)),
    "in parts": lambda path: list(ArrayFile.of(str(path), batch_size=2)),
}


def saved(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_an_archive_by_the_name_of_an_array_is_told(read: Callable[[Path], Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=ROWS)
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(InputError, match="cannot read '.*x.npy': it is an archive, as .npz files are, expected an arr"):
        read(tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", ROWS)
    (tmp_path / "y.npy").rename(tmp_path / "y.npz")
    with pytest.raises(InputError, match="cannot read '.*y.npz': File is not a zip file"):
        read(tmp_path / "y.npz")


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("shape", ["-4, 3", "1000000, 3", "4, 99999999999999999", "0, 3", "4, 0"])
def test_shapes_that_the_file_cannot_hold_are_refused(shape: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    content = saved(ROWS)
    text = f"({shape}), }}".encode()
    at = content.index(b"(4, 3), }")
    head = content[:at] + text + content[at + len(b"(4, 3), }") : 128]
    changed = head[:127].rstrip().ljust(127) + b"\n" + content[128:]
    (tmp_path / "x.npy").write_bytes(changed)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("data.npy", changed)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(
            InputError, match=f"{name}.*(before its values stands|but it has|expected numbers, one row)"
        ):
            read(tmp_path / name)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_members_that_nobody_asked_for_are_not_read(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("names.npy", b"no array")
        archive.writestr("objects.npy", saved(np.array([{}], object), allow_pickle=True))
        archive.writestr("large.npy", saved(np.zeros(1 << 22)))
        archive.writestr("data.npy", saved(ROWS))
        archive.writestr("label.npy", saved(np.arange(4)))
    found = read(path)
    assert np.array_equal(np.concatenate([batch[0] for batch in found]), ROWS)
    assert [label for batch in found for label in batch[1]] == [0, 1, 2, 3]


def test_an_archive_has_to_fit_into_the_memory_of_the_control_group(tmp_path: Path, monkeypatch: Any) -> None:
    np.savez_compressed(tmp_path / "x.npz", data=ROWS, other=np.zeros(10_000))
    monkeypatch.setattr(arrays, "usable_memory", lambda: 48)
    assert len(read_arrays(tmp_path / "x.npz", ["data"])) == 4
    monkeypatch.setattr(arrays, "usable_memory", lambda: 47)
    with pytest.raises(InputError, match="its arrays have 48 bytes, and this process may have 47; use .npy, which is"):
        read_arrays(tmp_path / "x.npz", ["data"])
    assert len(ArrayFile.of(str(tmp_path / "x.npz"))) == 4


def test_rows_of_the_first_axis_that_varies_fastest_are_read_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(ROWS))
    (batch,) = read_arrays(tmp_path / "x.npy", ["data"]).batches(4)
    assert np.array_equal(batch[0], ROWS)
