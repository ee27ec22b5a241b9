"""Memory that is free, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any, Optional

__all__ = ["give_back"]


def give_back() -> None:
    """Give memory back that was freed, where the C library is glibc; elsewhere it does so by itself, or not at all.

    glibc keeps what was freed between blocks in use. Arrays of tens of megabytes that come and go leave more of it with
    every step.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=None)
def _trim() -> Optional[Any]:
    try:
        return ctypes.CDLL(None).malloc_trim if sys.platform == "linux" else None
    except (AttributeError, OSError):
        return None
