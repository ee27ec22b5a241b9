"""Heads of arrays are read as NumPy writes them, and nothing else is; what they say is compared with the file."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxquant.files.archive import arrays_in, checked_member
from mxquant.files.array_head import read_array, read_head


def saved(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def headed(text: str, values: bytes = bytes(24), version: int = 1) -> bytes:
    return (
        b"\x93NUMPY"
        + bytes((version, 0))
        + struct.pack("<H" if version == 1 else "<I", len(text))
        + text.encode()
        + values
    )


def shaped(shape: str) -> bytes:
    return headed(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}")


def typed(descr: str) -> bytes:
    return headed(f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}")


def read(content: bytes) -> np.ndarray:
    return read_array(io.BytesIO(content), len(content))


@given(
    st.sampled_from(["<f4", ">f4", "<f8", "<f2", "|i1", "|u1", "<i8", ">u2", "|b1", "<U3", "|S4", "<c8", "<M8[ns]"]),
    st.lists(st.integers(0, 4), max_size=5),
    st.booleans(),
)
def test_what_numpy_writes_is_read(dtype: str, shape: Any, fortran: bool) -> None:
    array = np.zeros(shape, dtype)
    array = np.asfortranarray(array) if fortran and shape else array
    found = read(saved(array))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)


def test_values_are_those_that_were_saved() -> None:
    for array in (np.arange(24.0).reshape(2, 3, 4), np.asfortranarray(np.arange(6).reshape(2, 3)), np.float32(3)):
        np.testing.assert_array_equal(read(saved(array)), array)
    content = headed("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", version=2)
    assert read(content).shape == (2, 3)


@pytest.mark.parametrize(
    "text",
    [
        "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
        '{"descr": "<f4", "fortran_order": False, "shape": (2,3)}',
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
    ],
)
def test_other_writers_are_read(text: str) -> None:
    assert read(headed(text)).shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is something else, expected an array"),
        (b"PK\3\4" + bytes(40), "it is an archive, as .npz files are, expected an array"),
        (b"\x93NUMPY\3\0" + bytes(40), r"version \(3, 0\), expected \(1, 0\) or \(2, 0\)"),
        (
            shaped("(2, 4)"),
            r"\(2, 4\) are 32 bytes, but it has 24",
        ),
        (
            shaped("(-1, 3)"),
            r"before its values stands .*\(-1, 3\)",
        ),
        (
            shaped("(9999999999999999, 9999999999999999)"),
            "but it has",
        ),
        (shaped("(%s,)" % ("9" * 40)), "below 10"),
        (shaped("(%s)" % ("1, " * 40)), "at most 32 lengths"),
        (typed("'|O'"), "it holds Python objects"),
        (typed("'<f4,<f4'"), "are of type '<f4,<f4', expected"),
        (typed("'<U900000000'"), "are of type '<U900000000', expected"),
        (typed("'<f3'"), "are of type '<f3', expected"),
        (typed("[('a', '<f4')]"), "before its values stands"),
        (
            headed("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }"),
            "before its values stands",
        ),
        (headed("{'descr': '<f4', 'shape': (1,), }"), "before its values stands"),
        (headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } + 1"), "before its values stands"),
        (headed("__import__('os')"), "before its values stands"),
        (headed("(" * 9000), "before its values stands"),
        (b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + bytes(40), "2147483648 bytes, expected at most 52"),
        (headed("{" + " " * 20_000), "20001 bytes, expected at most 10000"),
    ],
)
def test_what_it_cannot_be_is_refused_with_what_was_found(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(content)


def test_values_are_in_memory_once(tmp_path: Path) -> None:
    array = np.arange(1 << 23, dtype=np.int32)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.npy", saved(array))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive, archive.open("a.npy") as member:
        tracemalloc.start()
        try:
            found = read_array(member, archive.getinfo("a.npy").file_size)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    np.testing.assert_array_equal(found, array)
    assert most < 1.3 * array.nbytes


def test_an_array_that_ends_early_is_refused() -> None:
    content = saved(np.arange(300_000.0))
    with pytest.raises(ValueError, match="it ends after 2000000 bytes of values, expected 2400000"):
        read_array(io.BytesIO(content[: 128 + 2_000_000]), len(content))


def test_an_archive_is_asked_for_one_member(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", saved(np.zeros(1 << 20)))
        archive.writestr("other.txt", "not asked for")
        archive.writestr("b.npy", saved(np.ones(3)), zipfile.ZIP_BZIP2)
    with zipfile.ZipFile(path) as archive:
        assert arrays_in(archive) == ["a", "b"]
        assert checked_member(archive, "a").file_size == (1 << 23) + 128
        with pytest.raises(ValueError, match="'b.npy' is encrypted, or packed in another way than numpy.savez does"):
            checked_member(archive, "b")
        archive.getinfo("a.npy").file_size = 1 << 40
        with pytest.raises(
            ValueError, match="'a.npy' would have 1099511627776 bytes, which .* packed ones cannot hold"
        ):
            checked_member(archive, "a")
        archive.getinfo("a.npy").compress_size = 1 << 30
        with pytest.raises(
            ValueError, match="'a.npy' is said to be 1073741824 packed bytes from byte 0 on, but the .* at"
        ):
            checked_member(archive, "a")


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for number in range(2):
            archive.writestr("a.npy", saved(np.zeros(number)))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive, pytest.raises(ValueError, match="2 members called 'a.npy'"):
        arrays_in(archive)


def test_heads_leave_the_file_where_the_values_begin() -> None:
    content = saved(np.arange(3, dtype=np.int8))
    file = io.BytesIO(content)
    head = read_head(file, len(content))
    assert (head.start, head.size, file.tell()) == (len(content) - 3, 3, head.start)
