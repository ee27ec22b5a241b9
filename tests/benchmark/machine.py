"""The machine that a benchmark has run on, as data and as the sentence above its table; the memory of a process."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any, Dict

from mxquant.lowering.isa import detect
from mxquant.version import __version__

__all__ = ["described", "machine", "peak_memory"]


def machine() -> Dict[str, Any]:
    """Return what the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"cpu": model, "processors": os.cpu_count(), "int8": detect(), "mxquant": __version__}


def described(found: Dict[str, Any]) -> str:
    """Return what :func:`machine` has found as a sentence."""
    return f"{found['cpu']}, {found['processors']} processors, int8 instructions: {found['int8']}."


def peak_memory() -> float:
    """Return the largest resident memory that this process has had, in MB of 1024 kB."""
    # Not ru_maxrss, in which a new process has the memory of the one that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) / 1024
