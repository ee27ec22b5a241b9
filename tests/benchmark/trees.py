"""The trees of two versions that a benchmark compares: this one, and that of a commit."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, Optional

__all__ = ["trees"]

_ROOT = Path(__file__).parents[2]


@contextmanager
def trees(before: Optional[str]) -> Iterator[Dict[str, Path]]:
    """Yield folders with a package mxquant: that of the commit `before`, where there is one, and this one, 'now'."""
    if before is None:
        yield {"now": _ROOT}
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.check_output(["git", "archive", before, "mxquant"], cwd=_ROOT)
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield {"before": Path(folder), "now": _ROOT}
