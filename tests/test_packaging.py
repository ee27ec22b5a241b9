"""The installed package is the one that setup.py describes, and the scripts of ci/ fail in one sentence."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import mxquant

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ["ci/test.sh", "ci/demo.sh", "ci/bench.sh", "ci/package.sh", ".ci/run"]


def bash(code, **env):
    """Run `code` after ci/lib.sh."""
    return subprocess.run(
        ["bash", "-c", f". ci/lib.sh; {code}"],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def pretend(tmp_path):
    """Return a function that puts a Python of its own doing first on the path."""

    def make(body):
        for name in ("python3", "python", *(f"python3.{minor}" for minor in range(8, 15))):
            script = tmp_path / name
            script.write_text(f"#!/bin/sh\n{body}\n")
            script.chmod(0o755)
        return f"{tmp_path}:{os.environ['PATH']}"

    return make


def requirements(python):
    """Return what a plain installation needs on a Python, as name to specifier."""
    found = map(Requirement, importlib.metadata.requires("mxquant"))
    environment = {"python_version": python, "extra": ""}
    return {
        each.name: str(each.specifier) for each in found if each.marker is None or each.marker.evaluate(environment)
    }


def test_the_version_is_written_once():
    assert importlib.metadata.version("mxquant") == mxquant.__version__


@pytest.mark.parametrize("python", [f"3.{minor}" for minor in range(8, 15)])
def test_what_it_needs(python):
    """MXNet asks for numpy<2, of which Python 3.13 has no wheel; what MXNet imports is asked for everywhere."""
    needed = requirements(python)
    new = python not in ("3.8", "3.9")
    assert needed["numpy"] == ("<3,>=1.22.2" if new else "<3,>=1.20")
    assert needed.get("mxnet") == (None if python in ("3.13", "3.14") else "<1.10,>=1.9.1")
    assert set(needed) - {"mxnet"} == {"numba", "numpy", "requests", "rich", "typer"}


def test_every_requirement_has_a_lower_bound_and_an_upper_one():
    # Versions that are years have none at which something is known to change.
    years = {"dask", "distributed", "openvino"}
    for line in importlib.metadata.requires("mxquant"):
        wanted = line.partition(";")[0].replace(" ", "")
        name = re.match(r"[\w.-]+", wanted).group()
        assert ">=" in wanted or "==" in wanted, line
        assert "<" in wanted or "==" in wanted or name in years, line


def test_on_which_python_it_runs():
    assert set(importlib.metadata.metadata("mxquant")["Requires-Python"].split(",")) == {">=3.8", "<3.15"}


def test_its_extras():
    extras = set(importlib.metadata.metadata("mxquant").get_all("Provides-Extra"))
    assert extras == {"onnx", "report", "bench", "dask", "docs", "example", "examples-cv", "tests", "dev"}


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in (ROOT / "mxquant").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_licence_is_there_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_tells_of_this_version():
    assert re.search(rf"^## \[?{re.escape(mxquant.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse_and_can_be_run(name):
    path = ROOT / name
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


def test_a_python_that_works_is_found():
    done = bash("find_python")
    assert done.returncode == 0 and "python" in done.stdout


def test_without_a_python_that_works_one_sentence_says_so(pretend, tmp_path):
    done = bash("find_python", PATH=pretend("exit 1"), PYENV_ROOT=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: no Python from 3.8 to 3.14 that works is on the PATH or among pyenv's; install one, such as by "
        "apt-get install python3 python3-venv"
    ]


@pytest.mark.parametrize("only", ["python3.13", "python3.8", "python3"])
def test_whichever_python_works_is_found(pretend, tmp_path, only):
    path = pretend("exit 1")
    (tmp_path / only).write_text("#!/bin/sh\nexit 0\n")
    assert bash("find_python", PATH=path, PYENV_ROOT=str(tmp_path / "none")).stdout == f"{only}\n"


def test_the_newest_python_of_pyenv_is_found_where_the_path_has_none(pretend, tmp_path):
    path = pretend("exit 1")
    for version in ("3.9.18", "3.13.0", "3.13.11", "2.7.18"):
        python = tmp_path / "versions" / version / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\nexit 0\n")
        python.chmod(0o755)
    found = bash("find_python", PATH=path, PYENV_ROOT=str(tmp_path)).stdout
    assert found == f"{tmp_path}/versions/3.13.11/bin/python\n"


@pytest.mark.parametrize(
    "library, packages",
    [("libgomp", "libgomp1"), ("libquadmath", "libquadmath0"), ("lib", "libgomp1 libquadmath0")],
)
def test_missing_system_libraries_are_named_with_their_packages(pretend, library, packages):
    # This Python loads every library but those asked for by `library`.
    path = pretend(f'case "$*" in *{library}*) exit 1;; esac')
    done = bash("uname() { echo Linux; }; check_system_libraries python3", PATH=path)
    assert done.returncode == 1
    assert done.stderr == f"error: MXNet needs system libraries: apt-get install {packages}\n"


def test_with_all_system_libraries_nothing_is_said(pretend):
    done = bash("check_system_libraries python3", PATH=pretend("exit 0"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
