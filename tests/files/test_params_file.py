"""Parameter files are read and written without MXNet, as MXNet does; damaged ones are named before MXNet sees them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Dict

import numpy as np
import pytest

from mxquant.errors import InputError
from mxquant.files.params_file import read_params_file, write_params_file
from mxquant.runtime.mxnet import mx

DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")


def arrays() -> Dict[str, np.ndarray]:
    rng = np.random.RandomState(0)
    shapes = ((3,), (2, 3), (1, 2, 3, 4), (5, 1), (7,), (1,), (2, 2))
    return {f"arg:{dtype}": (rng.rand(*shape) * 100).astype(dtype) for dtype, shape in zip(DTYPES, shapes)}


def save_as_mxnet(path: Path) -> None:
    mx.nd.save(str(path), {name: mx.nd.array(value, dtype=value.dtype) for name, value in arrays().items()})


def test_the_bytes_are_those_of_mxnet(tmp_path: Path) -> None:
    save_as_mxnet(tmp_path / "theirs")
    write_params_file(tmp_path / "ours", arrays())
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_under_set_np_the_bytes_are_those_of_mxnet_too(tmp_path: Path) -> None:
    with mx.util.np_shape(True):
        save_as_mxnet(tmp_path / "theirs")
    write_params_file(tmp_path / "ours", arrays(), numpy=True)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert list(read_params_file(tmp_path / "ours")) == list(arrays())


def test_what_mxnet_has_written_is_read(tmp_path: Path) -> None:
    save_as_mxnet(tmp_path / "file")
    found = read_params_file(tmp_path / "file")
    assert list(found) == list(arrays())
    for name, value in arrays().items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def written(head: bytes, values: bytes = np.float32([1, 2]).tobytes(), name: bytes = b"arg:w") -> bytes:
    """Return a file with one array, whose head is given."""
    names = struct.pack("<QQ", 1, len(name)) + name
    return struct.pack("<QQQ", 0x112, 0, 1) + head + values + names


PLAIN = struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 2, 1, 0, 0)


@pytest.mark.parametrize(
    "head",
    [
        PLAIN,
        struct.pack("<Iiiqiii", 0xF993FACA, 0, 1, 2, 1, 0, 0),
        struct.pack("<Iiqiii", 0xF993FAC8, 1, 2, 1, 0, 0),
        struct.pack("<IIiii", 1, 2, 1, 0, 0),
    ],
    ids=["plain", "numpy", "0.11", "before"],
)
def test_files_of_all_versions_of_mxnet_are_read(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(written(head))
    np.testing.assert_array_equal(read_params_file(tmp_path / "file")["arg:w"], np.float32([1, 2]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin as"),
        (b"no parameters of anything at all", "does not begin as"),
        (written(PLAIN)[:50], "is cut off"),
        (written(PLAIN)[:-1], "is cut off"),
        (written(PLAIN) + b"more", "goes on for 4 bytes"),
        (written(struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 2**60, 1, 0, 0)), "4611686018427387904 bytes, where"),
        (written(struct.pack("<Iii4qiii", 0xF993FAC9, 0, 4, *[2**40] * 4, 1, 0, 0)), "is cut off, or array 0"),
        (written(struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, -2, 1, 0, 0)), r"shape \(-2,\)"),
        (written(struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 0, 1, 0, 0)), r"shape \(0,\), and so no values"),
        (written(struct.pack("<Iiiiii", 0xF993FAC9, 0, 0, 1, 0, 0)), "has 0 dimensions"),
        (written(struct.pack("<Iii", 0xF993FAC9, 0, 2**31 - 1)), "has 2147483647 dimensions"),
        (written(struct.pack("<Iiiqiii", 0xF993FAC9, 1, 1, 2, 1, 0, 0)), r"is sparse; save it dense"),
        (written(struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 2, 1, 0, 12)), "type number 12"),
        (struct.pack("<QQQ", 0x112, 0, 2**61) + PLAIN, "2305843009213693952 arrays"),
        (struct.pack("<QQQQ", 0x112, 0, 0, 2**61), "names, where"),
        (written(PLAIN, name=b"\xff"), "can't decode"),
    ],
)
def test_a_damaged_file_is_refused_and_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.params").write_bytes(content)
    with pytest.raises(InputError, match=f"cannot read the parameters '.*net.params': .*{message}"):
        read_params_file(tmp_path / "net.params")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    name = struct.pack("<Q", 1) + b"w"
    array = PLAIN + np.float32([1, 2]).tobytes()
    content = struct.pack("<QQQ", 0x112, 0, 2) + array + array + struct.pack("<Q", 2) + name + name
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="two arrays called 'w'"):
        read_params_file(tmp_path / "file")


def test_a_folder_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="cannot read the parameters"):
            read_params_file(path)
