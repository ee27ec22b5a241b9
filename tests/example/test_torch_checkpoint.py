"""Checkpoints are read without PyTorch, strides and all, and never run."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
from torch_checkpoint import CheckpointError, read_tensors

MAGIC = 0x1950A86A20F9469CFC6C


class Storage:
    """Stands for a storage in the pickle."""

    def __init__(self, key: str, kind: str = "FloatStorage") -> None:
        self.key, self.kind = key, kind


class Tensor:
    """Stands for a tensor in the pickle."""

    def __init__(self, storage: Storage, offset: int, shape: Tuple[int, ...], strides: Tuple[int, ...]) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())


class Global:
    """A name that the pickle refers to."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Pickler(pickle._Pickler):  # the one in Python, whose save() can be told about the classes above
    """Writes what PyTorch would."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.save(obj.arguments)
            self.write(b"R")
        elif isinstance(obj, Storage):
            self.save(("storage", Global("torch", obj.kind), obj.key, "cpu", 0, None))
            self.write(b"Q")
        else:
            super().save(obj, save_persistent_id)


def dumps(value: Any) -> bytes:
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def checkpoint(path: Path, state: Any, storages: Dict[str, np.ndarray]) -> Path:
    parts: List[bytes] = [dumps(each) for each in (MAGIC, 1001, {}, state, sorted(storages))]
    for key in sorted(storages):
        parts += [struct.pack("<q", storages[key].size), storages[key].tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def test_offsets_and_strides_are_honoured(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.float32)
    state = OrderedDict(
        plain=Tensor(Storage("0"), 0, (4, 6), (6, 1)),
        transposed=Tensor(Storage("0"), 0, (6, 4), (1, 6)),
        column=Tensor(Storage("0"), 2, (4,), (6,)),
        scalar=Tensor(Storage("0"), 7, (), ()),
        step=3,
    )
    tensors = read_tensors(checkpoint(tmp_path / "net.pth", state, {"0": data}))
    matrix = data.reshape(4, 6)
    assert set(tensors) == {"plain", "transposed", "column", "scalar"}
    np.testing.assert_array_equal(tensors["plain"], matrix)
    np.testing.assert_array_equal(tensors["transposed"], matrix.T)
    np.testing.assert_array_equal(tensors["column"], matrix[:, 2])
    assert tensors["scalar"] == 7
    assert all(tensor.flags.c_contiguous for tensor in tensors.values())


@pytest.mark.parametrize("kind, dtype", [("HalfStorage", "f2"), ("DoubleStorage", "f8"), ("LongStorage", "i8")])
def test_types(tmp_path: Path, kind: str, dtype: str) -> None:
    data = np.arange(3).astype(dtype)
    state = OrderedDict(x=Tensor(Storage("0", kind), 0, (3,), (1,)))
    assert read_tensors(checkpoint(tmp_path / "net.pth", state, {"0": data}))["x"].dtype == data.dtype


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch attacked",)


def test_nothing_in_the_file_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = checkpoint(tmp_path / "net.pth", OrderedDict(x=Attack()), {})
    with pytest.raises(CheckpointError, match="asks for posix.system; only tensors are read"):
        read_tensors(path)
    assert not (tmp_path / "attacked").exists()


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    state = OrderedDict(x=Tensor(Storage("0"), 1, (3,), (1,)))
    with pytest.raises(CheckpointError, match=r"shape \(3,\) reaches beyond its storage of 3"):
        read_tensors(checkpoint(tmp_path / "net.pth", state, {"0": np.zeros(3, np.float32)}))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    state = OrderedDict(x=Tensor(Storage("0"), 0, (3,), (1,)))
    path = checkpoint(tmp_path / "net.pth", state, {"0": np.zeros(3, np.float32)})
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match="storage 0 is cut short"):
        read_tensors(path)
    for content in (b"", b"PK\x03\x04 a zip file", dumps(3)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            read_tensors(path)
