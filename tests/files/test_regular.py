"""Only regular files are read: nothing waits for a FIFO, and no device is touched."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

import mxquant
from mxquant.datasets import ArrayFile, ImageFiles, Preprocessing, RecordFile
from mxquant.datasets.arrays import read_arrays
from mxquant.errors import MXQuantError
from mxquant.files.params_file import read_params_file
from mxquant.files.reading import read_text
from mxquant.files.regular import missing, open_regular
from mxquant.model import load_checkpoint
from mxquant.plan.tables import read_tensorrt_cache

HOW = Preprocessing(8)
READERS: Dict[str, Callable[[Path], Any]] = {
    "params": read_params_file,
    "text": lambda path: read_text(path, mxquant.PlanError, "the plan"),
    "statistics": mxquant.Statistics.load,
    "plan": mxquant.QuantPlan.load,
    "calibration cache": read_tensorrt_cache,
    "checkpoint": lambda path: load_checkpoint(str(path)[: -len("-symbol.json")]),
    "npy": lambda path: read_arrays(path, ["data"]),
    "npz": lambda path: read_arrays(path, ["data"]),
    "parts of npy": lambda path: ArrayFile.of(str(path)),
    "npy by URL": lambda path: ArrayFile.of(f"file://{path}"),
    "rec": lambda path: RecordFile.of(str(path), HOW),
    "image": lambda path: list(ImageFiles([(path, None)], HOW)),
    "onnx": mxquant.from_onnx,
}
SUFFIXES = {
    "npy": ".npy",
    "npz": ".npz",
    "parts of npy": ".npy",
    "npy by URL": ".npy",
    "rec": ".rec",
    "checkpoint": "-symbol.json",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", READERS)
def test_a_fifo_is_refused_and_not_waited_for(reader: str, tmp_path: Path) -> None:
    path = tmp_path / f"name{SUFFIXES.get(reader, '')}"
    (tmp_path / "name-0000.params").write_bytes(b"")
    os.mkfifo(path)
    # Had a reader opened it, it would wait for who writes: this one is there, so that nothing can hang.
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(MXQuantError, match="it is a FIFO, expected a regular file"):
            READERS[reader](path)
    finally:
        os.close(writer)


def test_a_device_and_a_socket_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="it is a device, expected a regular file"):
        open_regular(os.devnull)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(OSError, match="it is a socket, expected a regular file"):
            open_regular(tmp_path / "s")


def test_what_is_missing_is_told_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert missing(tmp_path / "fifo") == f"cannot read '{tmp_path / 'fifo'}': it is a FIFO, expected a regular file"
    assert missing(tmp_path) == f"cannot read '{tmp_path}': Is a directory"
    for name in ("nothing", "fifo/below", "nu\0l"):
        assert missing(f"{tmp_path}/{name}") == f"there is no file '{tmp_path}/{name}'"


def test_a_link_is_followed_where_links_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"
    with pytest.raises(OSError, match="it is a symbolic link, expected a regular file"):
        open_regular(tmp_path / "link", links=False)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
