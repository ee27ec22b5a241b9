"""What MXNet can do, tried on this machine: each check computes something and compares its values.

A module of checks ends with its ``FEATURES``; :data:`GROUPS` has the modules. Each is run in a process of its own, so
that what dies, hangs or changes settings spoils nothing else.
"""

from __future__ import annotations

from typing import Tuple

__all__ = ["GROUPS"]

# The slowest first: two run at a time.
GROUPS: Tuple[str, ...] = (
    "mxquant.compat.features.loading",
    "mxquant.compat.features.networks",
    "mxquant.compat.features.exchange",
    "mxquant.compat.features.training",
    "mxquant.compat.features.learning",
    "mxquant.compat.features.records",
    "mxquant.compat.features.numpy_interface",
    "mxquant.compat.features.operators",
    "mxquant.compat.features.arrays",
    "mxquant.compat.features.symbols",
)
