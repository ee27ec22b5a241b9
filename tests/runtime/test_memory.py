"""Memory that was freed goes back to the system."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import numpy as np
import pytest

from mxquant.runtime.memory import give_back


def resident() -> float:
    """Return how many MB of memory this process takes now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back on request")
def test_memory_that_was_freed_between_what_is_in_use_is_given_back() -> None:
    blocks = [np.ones(60_000, np.uint8) for _ in range(2000)]
    kept = blocks[::100]
    full = resident()
    del blocks
    give_back()
    assert resident() < full - 80
    assert all(block.all() for block in kept)
