"""Processes that are started have the packages of this one, and nothing of the working folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import pytest

import mxquant
from mxquant.compat import starting

HOME = str(Path(mxquant.__file__).resolve().parents[1])
# Names of modules that a process which imports MXNet takes from Python and others; each leaves a mark if it runs.
BAIT = ("json", "numpy", "statistics", "requests", "typing_extensions", "sitecustomize", "usercustomize", "mxnet")


def lay(folder: Path) -> Path:
    """Put modules into a folder that write a file beside it when they run; return that file."""
    mark = folder.parent / "ran.txt"
    for name in BAIT:
        text = f"open({str(mark)!r}, 'a').write({name!r})\nraise ImportError('not the one that was meant')\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return mark


def folders(monkeypatch: pytest.MonkeyPatch, **flags: int) -> List[str]:
    """Return what PYTHONPATH would be."""
    monkeypatch.setattr(starting.sys, "flags", Flags(**flags))
    return starting.started("mxquant.version")[1].get("PYTHONPATH", "").split(os.pathsep)


class Flags:
    def __init__(self, **flags: int) -> None:
        self.ignore_environment, self.no_user_site = flags.get("ignore", 0), flags.get("no_user", 0)


def test_nothing_in_the_working_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, own = tmp_path / "work", tmp_path / "own"
    work.mkdir()
    own.mkdir()
    mark = lay(work)
    monkeypatch.chdir(work)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    words, environment = starting.started("mxquant.compat.features.child", "no_such_group", "0")
    done = subprocess.run(words, cwd=own, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "no_such_group" in done.stdout, done.stderr
    assert not mark.exists()
    # What is laid there would be run where the folder is on the path: the test can fail.
    words[words.index("-m") :] = ["-c", "import numpy"]
    subprocess.run(words, cwd=own, env={**environment, "PYTHONPATH": str(work)}, capture_output=True, timeout=60)
    assert "numpy" in mark.read_text()


def test_what_the_user_names_is_kept_and_an_empty_entry_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/opt/lib", "lib", "", "/opt/lib"]))
    assert folders(monkeypatch) == [HOME, "/opt/lib", str(tmp_path / "lib")]
    assert folders(monkeypatch, ignore=1) == [HOME]


def test_installed_packages_do_not_come_before_python_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(starting.sysconfig, "get_path", lambda name: HOME)
    assert "PYTHONPATH" not in starting.started("mxquant.version")[1]


def test_flags_go_on_to_the_other_python(monkeypatch: pytest.MonkeyPatch) -> None:
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    folders(monkeypatch)
    assert starting.started("m", "a", "b")[0] == [sys.executable, *safe, "-m", "m", "a", "b"]
    folders(monkeypatch, no_user=1)
    assert starting.started("m")[0] == [sys.executable, *safe, "-s", "-m", "m"]


def test_variables_are_those_of_this_process_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME", "1")
    environment: Any = starting.started("m", OMP_NUM_THREADS="7")[1]
    assert (environment["SOME"], environment["OMP_NUM_THREADS"]) == ("1", "7")
