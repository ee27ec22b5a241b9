"""What is published is whole: the wheel has every module and nothing else, and says what it needs; the sdist makes it.

Both are built from a copy of the checkout, as ``python -m build`` does it, which asks the package index for setuptools.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Set

import pytest

import mxquant

ROOT = Path(__file__).resolve().parents[1]
# What a build may look at; its own leavings, such as egg-info, are not among it.
SOURCES = ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py", "mxquant", "tests")
EXTRAS = {"onnx", "report", "bench", "dask", "docs", "example", "examples-cv", "dev"}
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


class Built(NamedTuple):
    """A wheel made from the sdist, one made from the checkout, and the sdist."""

    from_sdist: Path
    from_checkout: Path
    sdist: Path


def build(source: Path, folder: Path, *options: str) -> None:
    """Run ``python -m build``; show what it says if it fails."""
    command = [sys.executable, "-m", "build", *options, "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: Any) -> Built:
    folder = tmp_path_factory.mktemp("distribution")
    source = folder / "mxquant"
    source.mkdir()
    for path in (ROOT / name for name in SOURCES):
        if path.is_dir():
            shutil.copytree(path, source / path.name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        elif path.is_file():
            shutil.copy(path, source)
    build(source, folder / "dist")
    build(source, folder / "direct", "--wheel")
    (wheel,), (direct,) = (list((folder / name).glob("*.whl")) for name in ("dist", "direct"))
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return Built(wheel, direct, sdist)


def contents(wheel: Path) -> Dict[str, bytes]:
    """Return the files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel: Path) -> Message:
    """Return what a wheel says of itself."""
    (name,) = (name for name in contents(wheel) if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(contents(wheel)[name].decode())


def in_checkout(pattern: str) -> Set[str]:
    """Return the files of the package that match a pattern, as a wheel names them."""
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "mxquant").rglob(pattern)}


@pytest.mark.slow
def test_the_wheel_has_every_module(built: Built) -> None:
    modules = {name for name in contents(built.from_sdist) if name.endswith(".py")}
    assert modules == in_checkout("*.py")
    assert len(modules) > 100


@pytest.mark.slow
def test_the_wheel_says_that_it_has_types(built: Built) -> None:
    assert "mxquant/py.typed" in contents(built.from_sdist)


@pytest.mark.slow
def test_the_wheel_has_the_templates_of_reports(built: Built) -> None:
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mxquant/doctor/templates").rglob("*.*")}
    if not templates:
        pytest.skip("there is no mxquant/doctor/templates")
    assert {name for name in contents(built.from_sdist) if "/templates/" in name} == templates


@pytest.mark.slow
def test_the_wheel_has_nothing_else(built: Built) -> None:
    """Tests, examples and what Numba has compiled stay out."""
    names = contents(built.from_sdist)
    assert {name.split("/")[0] for name in names} == {"mxquant", f"mxquant-{mxquant.__version__}.dist-info"}
    suffixes = {Path(name).suffix for name in names if name.startswith("mxquant/") and "/templates/" not in name}
    assert suffixes == {".py", ".typed"}


@pytest.mark.slow
def test_the_wheel_runs_on_any_machine(built: Built) -> None:
    assert built.from_sdist.name == f"mxquant-{mxquant.__version__}-py3-none-any.whl"


@pytest.mark.slow
def test_the_wheel_has_the_licence(built: Built) -> None:
    (text,) = (text for name, text in contents(built.from_sdist).items() if name.endswith("LICENSE"))
    assert text == (ROOT / "LICENSE").read_bytes()
    assert metadata(built.from_sdist)["License"] == "Apache-2.0"


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel_as_the_checkout(built: Built) -> None:
    ours, theirs = contents(built.from_sdist), contents(built.from_checkout)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name] and not name.endswith("/RECORD")] == []


@pytest.mark.slow
def test_the_sdist_has_what_a_build_needs_and_no_part_of_one(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "mxquant/version.py", "mxquant/py.typed"} <= names
    assert [name for name in names if "__pycache__" in name or name.startswith(("build/", "dist/"))] == []


@pytest.mark.slow
def test_the_package_index_would_take_both(built: Built) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(built.from_sdist), str(built.sdist)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_says_which_pythons_and_packages_it_needs(built: Built) -> None:
    found = metadata(built.from_sdist)
    assert found["Name"] == "mxquant"
    assert found["Version"] == mxquant.__version__
    assert set(found["Requires-Python"].split(",")) == {">=3.8", "<3.15"}
    plain = [line for line in found.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[<>=]", line)[0] for line in plain} == {"mxnet", "numpy", "numba", "requests", "rich", "typer"}


@pytest.mark.slow
def test_the_wheel_describes_itself_by_the_readme(built: Built) -> None:
    found = metadata(built.from_sdist)
    assert found["Description-Content-Type"] == "text/markdown"
    assert str(found.get_payload()).strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


@pytest.mark.slow
def test_every_extra_is_in_the_wheel_and_asks_for_something(built: Built) -> None:
    found = metadata(built.from_sdist)
    assert set(found.get_all("Provides-Extra", [])) == EXTRAS
    for extra in EXTRAS:
        assert any(f'extra == "{extra}"' in line for line in found.get_all("Requires-Dist", [])), extra


@pytest.mark.slow
def test_the_wheel_installs_one_command(built: Built) -> None:
    (text,) = (text for name, text in contents(built.from_sdist).items() if name.endswith("entry_points.txt"))
    assert text.decode().split("\n")[:2] == ["[console_scripts]", "mxquant = mxquant.cli:main"]


def test_the_command_is_a_function() -> None:
    found = importlib.metadata.distribution("mxquant").entry_points
    (command,) = (point for point in found if point.group == "console_scripts" and point.name == "mxquant")
    assert callable(command.load())


def headings(level: int) -> List[str]:
    """Return the headings of the change log of one level."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(rf"^{'#' * level} (.*)$", text, re.MULTILINE)


def test_the_change_log_begins_as_keep_a_changelog_does() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert headings(1) == ["Changelog"] and text.startswith("# Changelog\n")
    preamble = text.split("\n## ")[0]
    assert "https://keepachangelog.com/en/1.1.0/" in preamble
    assert "https://semver.org/" in preamble


def test_each_version_has_its_date_and_the_latest_stands_first() -> None:
    found = [re.fullmatch(r"\[?(\d+)\.(\d+)\.(\d+)\]? - (\d{4}-\d\d-\d\d|unreleased)", line) for line in headings(2)]
    assert found and all(found), headings(2)
    versions = [tuple(map(int, match.groups()[:3])) for match in found if match]
    assert versions == sorted(set(versions), reverse=True)
    assert versions[0] == tuple(map(int, mxquant.__version__.split(".")[:3]))
    assert [match.group(4) for match in found[1:] if match and match.group(4) == "unreleased"] == []


def test_changes_stand_under_their_kinds() -> None:
    # What is wrong in the tool that mxquant replaces is a kind of its own.
    odd = [line for line in headings(3) if line not in KINDS and not line.startswith("Right here, wrong in ")]
    assert odd == []
    assert "Added" in headings(3)


def test_every_change_is_an_item_of_a_list() -> None:
    sections = re.split(r"^### .*\n", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert all(re.search(r"^- \S", section, re.MULTILINE) for section in sections)
