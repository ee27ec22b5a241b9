"""What an output replaces is a regular file or nothing, and the new file has its rights."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mxquant import OutputError
from mxquant.files.replacing import check_target, replacing, replacing_together, write_text
from mxquant.files.targets import beside, temporary_name


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_an_output_has_the_mode_of_what_it_replaces(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    with replacing(path) as temporary:
        # Nobody else reads it before it has its rights.
        assert mode_of(temporary) & 0o077 == 0
        temporary.write_text("new")
    assert path.read_text() == "new" and mode_of(path) == mode
    others = [path, tmp_path / "beside"]
    with replacing_together(others) as temporaries:
        for each in temporaries:
            each.write_text("newer")
    assert path.read_text() == "newer" and mode_of(path) == mode


def test_a_new_output_has_the_mode_of_other_new_files(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "text")
    (tmp_path / "theirs").write_text("text")
    assert mode_of(tmp_path / "ours") == mode_of(tmp_path / "theirs")


def test_a_link_is_replaced_itself_and_what_it_names_stays(tmp_path: Path) -> None:
    (tmp_path / "named").write_text("old")
    (tmp_path / "named").chmod(0o600)
    (tmp_path / "link").symlink_to("named")
    (tmp_path / "nowhere").symlink_to("absent")
    for name in ("link", "nowhere"):
        write_text(tmp_path / name, "new")
        assert not (tmp_path / name).is_symlink() and (tmp_path / name).read_text() == "new"
    assert (tmp_path / "named").read_text() == "old" and not (tmp_path / "absent").exists()
    assert mode_of(tmp_path / "link") == 0o600


def test_another_name_of_the_same_file_keeps_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("old")
    os.link(tmp_path / "one", tmp_path / "other")
    write_text(tmp_path / "one", "new")
    assert (tmp_path / "other").read_text() == "old"


@pytest.mark.parametrize("check", [check_target, lambda path: write_text(path, "text")], ids=["asked", "written"])
def test_what_is_no_regular_file_is_refused_and_stays(check, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to(os.devnull)
    (tmp_path / "marker").write_text("kept")
    with open(tmp_path / "marker", "rb") as file:
        (tmp_path / "open").symlink_to(f"/proc/self/fd/{file.fileno()}")
        before = {each.name: os.lstat(each).st_mode for each in tmp_path.iterdir()}
        reasons = {"fifo": "a FIFO", "folder": "a directory", "device": "a device", "open": "a file that is open"}
        for name, reason in reasons.items():
            with pytest.raises(OutputError, match=f"cannot write '.*{name}': .*{reason}"):
                check(tmp_path / name)
    assert {each.name: os.lstat(each).st_mode for each in tmp_path.iterdir()} == before
    assert (tmp_path / "marker").read_text() == "kept"


@pytest.mark.parametrize("name", ["x" * 255, "x" * 250 + ".json", "ü" * 127, "a." + "x" * 253, "tab\tand\nline.npz"])
def test_names_that_the_system_allows_work(name: str, tmp_path: Path) -> None:
    check_target(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    write_text(tmp_path / name, "text")
    assert [each.name for each in tmp_path.iterdir()] == [name]
    temporary = temporary_name(tmp_path / name)
    assert len(os.fsencode(temporary.name)) <= 255 and temporary.name[0] == "."


@pytest.mark.parametrize("name", ["out.npz", "x" * 247, "x" * 248, "x" * 255, "ü" * 127, "x" * 100_000])
def test_a_file_beside_an_output_has_its_name_cut_where_that_is_long(name: str, tmp_path: Path) -> None:
    found = beside(tmp_path / name, ".partial")
    assert found == beside(str(tmp_path / name), ".partial") and found.suffix == ".partial"
    assert found.parent == tmp_path and len(os.fsencode(found.name)) <= 255
    assert (found.name == f"{name}.partial") == (len(os.fsencode(name)) <= 247)
    other = name[:-1] + "y"
    assert beside(tmp_path / other, ".partial") != found


def test_the_beginning_of_names_may_be_a_folder(tmp_path: Path) -> None:
    assert beside(f"{tmp_path}/", ".partial.npz") == tmp_path / ".partial.npz"
    assert beside("net", ".partial.npz") == Path("net.partial.npz")


@pytest.mark.parametrize("name", ["x" * 256, "x" * 100_000, "with\0nul", "absent/file"])
def test_other_names_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write "):
        check_target(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
