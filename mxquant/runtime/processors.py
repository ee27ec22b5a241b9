"""How many processors this process may really use, and telling MXNet so.

MXNet takes half of the processors that it sees, for it takes them for pairs of threads on one core. Where they are not,
it is half as fast as it could be; in a container with a quota it may take many times too many.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Set

from mxquant.runtime.control_groups import group_folders, read_word
from mxquant.shown import logger

__all__ = ["THREADS", "enough_threads", "usable_processors", "warn_of_few_threads"]

THREADS = "OMP_NUM_THREADS"


def usable_processors(root: Path = Path("/")) -> int:
    """Return the number of physical cores that this process may use, no more than its control group's quota.

    Parameters
    ----------
    root : Path
        Where /sys and /proc are.

    Returns
    -------
    int
        At least 1.
    """
    if not hasattr(os, "sched_getaffinity"):
        return _visible_processors()
    cores: Set[str] = set()
    for processor in os.sched_getaffinity(0):
        siblings = read_word(root / f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        cores.add(siblings or str(processor))
    quota = _quota(root)
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


def _visible_processors() -> int:
    """Return the number of logical processors in the affinity of this process: MXNet takes half of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota(root: Path) -> Optional[float]:
    """Return how many processors' time the control groups of this process grant, the least of all; None for all."""
    found = []
    for folder, first in group_folders(root, "cpu"):
        if first:
            limit, period = read_word(folder / "cpu.cfs_quota_us"), read_word(folder / "cpu.cfs_period_us")
        else:
            limit, period = [*(read_word(folder / "cpu.max") or "").split(), "", ""][:2]
        if limit and period and limit.isdigit() and period.isdigit() and int(period) > 0:
            found.append(int(limit) / int(period))
    return min(found, default=None)


_given = False  # whether MXNet has been told, here, how many processors there are


@contextmanager
def enough_threads() -> Iterator[None]:
    """Let MXNet, which is imported in this context for the first time, use all processors that it may.

    What the user has set stays.
    """
    global _given
    _given = True
    if THREADS in os.environ:
        yield
        return
    os.environ[THREADS] = str(usable_processors())
    try:
        yield
    finally:
        del os.environ[THREADS]


def warn_of_few_threads() -> None:
    """Log a warning if MXNet was imported before this package, and uses fewer processors than it may."""
    used, usable = max(1, _visible_processors() // 2), usable_processors()
    if not _given and THREADS not in os.environ and used < usable:
        logger("mxquant").warning(
            "MXNet was imported first, and uses %d of the %d processor cores that it may; import mxquant before "
            "it, or set %s=%d",
            used,
            usable,
            THREADS,
            usable,
        )
