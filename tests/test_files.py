"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxquant import OutputError
from mxquant._files import replacing, write_text


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write '.*absent/x.txt': No such file or directory"):
        write_text(tmp_path / "absent" / "x.txt", "text")


def test_a_file_is_as_readable_as_others(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "text")
    (tmp_path / "theirs").write_text("text")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode
