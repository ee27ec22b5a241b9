"""Lets the tests import the example's modules, which stand beside each other in a folder that is no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "example"))
