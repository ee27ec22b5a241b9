"""The peers' virtual environment, ``.venv-peers`` in the project's root, filled from requirements.txt beside this file.

The installed versions are stamped by the requirements' text: another text installs again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["peers_python"]

ROOT = Path(__file__).parents[3]
VENV = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
OLDEST = (3, 11)  # of what the pinned versions run on
CANDIDATES = ("python3.11", "python3.12", "python3.13", "python3")


def peers_python() -> str:
    """Return the environment's interpreter; make and fill the environment first if need be.

    Returns
    -------
    str
        Path of the interpreter.

    Raises
    ------
    RuntimeError
        If there is no Python that is new enough, or pip cannot install.
    """
    python, stamp = VENV / "bin" / "python", VENV / ".mxquant-requirements"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return str(python)
    print(f"installing the peers into {VENV}", file=sys.stderr, flush=True)
    if not python.is_file():
        subprocess.run([_base(), "-m", "venv", "--without-pip", str(VENV)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    # What pip says is shown only if it fails: it warns of every index that lacks a package.
    done = subprocess.run(
        [*pip, "install", "--quiet", "-r", str(REQUIREMENTS)], check=False, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"pip cannot install the peers into {VENV}:\n{done.stderr}")
    stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def _base() -> str:
    test = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    for candidate in (sys.executable, *CANDIDATES):
        path = shutil.which(candidate)
        if path and not subprocess.run([path, "-c", test], check=False, stderr=subprocess.DEVNULL).returncode:
            return path
    raise RuntimeError("the peers need Python 3.11 or later; install one, such as python3.11")
