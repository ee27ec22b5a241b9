"""Runs an example as people do: as a script of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, List

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]


def example(name: str, *options: object, code: int = 0) -> str:
    """Return what an example prints; what it writes to standard error where `code` is not 0."""
    command = [sys.executable, str(ROOT / "example" / f"{name}.py"), *map(str, options)]
    settings: Any = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=settings, cwd=ROOT)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def sentence(main: Callable[[List[str]], int], capsys: Any, *options: object) -> str:
    """Return the last line that an example says of wrong options; only argparse's usage may stand before it."""
    try:
        code = main(list(map(str, options)))
    except SystemExit as stop:  # of argparse
        code = stop.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and (len(lines) == 1 or lines[0].startswith("usage: "))
    return lines[-1]


def photographs(folder: Path, count: int) -> Path:
    """Fill a folder with two folders of images of many colours, and a file that is none; return it."""
    rng = np.random.RandomState(0)
    for number in range(count):
        path = folder / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(rng.randint(0, 256, (6, 8, 3), np.uint8), (96, 72)))
    (folder / "notes.txt").write_text("no image")
    return folder
