"""Nobody waits for a folder without end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mxquant.errors import InputError, OutputError
from mxquant.files import turns
from mxquant.files.replacing import replacing_together
from mxquant.files.turns import reading_together, turn_in


def test_who_reads_waits_a_stated_time_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_READER", 0.1)
    message = "another process has been writing there for 0 seconds"
    with turn_in(tmp_path), pytest.raises(InputError, match=message), reading_together(tmp_path / "net"):
        raise AssertionError


def test_who_writes_does_too_and_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_WRITER", 0.1)
    (tmp_path / "key").write_text("old")

    def write() -> None:
        with replacing_together([tmp_path / "key"]) as (temporary,):
            temporary.write_text("new")

    with reading_together(tmp_path / "key"), pytest.raises(OutputError, match="other processes have been reading or"):
        write()
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_what_is_no_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    # Another process, which would wait for who writes.
    code = "import pathlib, sys; from mxquant.files.turns import turn_in\nwith turn_in(pathlib.Path(sys.argv[1])): pass"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "fifo")], check=True, timeout=60)


def test_readers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with reading_together(tmp_path / "a"), reading_together(tmp_path / "b"):
        pass
