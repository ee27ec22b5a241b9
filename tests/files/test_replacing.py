"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any, List

import pytest

from mxquant import OutputError
from mxquant.files.replacing import digest_of, replacing, replacing_together, write_text
from mxquant.files.turns import reading_together, turn_in


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


def test_files_that_belong_together_appear_together(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("values", "plan", "key")]
    for path in paths:
        path.write_text("old")
    with replacing_together(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
        assert [path.read_text() for path in paths] == ["old"] * 3
    assert [path.read_text() for path in paths] == ["new"] * 3
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize("step", range(3))
def test_whenever_it_ends_there_is_all_of_one_or_no_key(step: int, tmp_path: Path, monkeypatch: Any) -> None:
    paths = [tmp_path / name for name in ("values", "plan", "key")]
    for path in paths:
        path.write_text("old")
    renamed: List[str] = []

    def replace(source: str, target: str) -> None:
        if len(renamed) == step:
            raise SystemExit  # as if the process had ended here
        renamed.append(target)
        Path(source).rename(target)

    monkeypatch.setattr("mxquant.files.replacing.os.replace", replace)
    with pytest.raises(SystemExit), replacing_together(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
    assert renamed == [str(path) for path in paths[:step]]
    assert not paths[-1].exists()


def test_an_error_before_the_renaming_leaves_all_files_as_they_were(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("values", "key")]
    for path in paths:
        path.write_text("old")
    with pytest.raises(OutputError, match="cannot write '.*values': full"), replacing_together(paths) as temporaries:
        temporaries[0].write_text("half")
        raise OSError("full")
    assert [path.read_text() for path in paths] == ["old"] * 2
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: Any) -> None:
    steps: List[str] = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr("mxquant.files.replacing.os.fsync", lambda handle: (steps.append("fsync"), fsync(handle)))
    monkeypatch.setattr("mxquant.files.replacing.os.replace", lambda *names: (steps.append("rename"), rename(*names)))
    write_text(tmp_path / "file", "text")
    assert steps == ["fsync", "rename", "fsync"]


def test_writers_take_turns(tmp_path: Path) -> None:
    paths = [tmp_path / "values", tmp_path / "key"]
    mixed: List[str] = []

    def write(text: str) -> None:
        for _ in range(30):
            with replacing_together(paths) as temporaries:
                for temporary in temporaries:
                    temporary.write_text(text)
            with turn_in(tmp_path):
                found = {path.read_text() for path in paths}
            mixed.extend(found if len(found) > 1 else ())

    threads = [threading.Thread(target=write, args=(text,)) for text in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []


def test_the_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    assert digest_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_who_reads_finds_files_of_one_writer(tmp_path: Path) -> None:
    paths = [tmp_path / "values", tmp_path / "key"]
    done = threading.Event()

    def write() -> None:
        for number in range(100):
            with replacing_together(paths) as temporaries:
                for temporary in temporaries:
                    temporary.write_text(str(number))
        done.set()

    with replacing_together(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("first")
    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        with reading_together(paths[0]):
            values, key = (path.read_text() for path in paths)
        assert values == key
        seen.add(key)
    writer.join()
    assert len(seen) > 1


def test_reading_where_there_is_no_folder_waits_for_nothing(tmp_path: Path) -> None:
    with reading_together(tmp_path / "absent" / "net"):
        pass
