"""What the control groups of this process grant: processors' time, and memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator, Optional, Tuple

__all__ = ["group_folders", "read_word", "usable_memory"]

# Limits of version 2 and of version 1; 'max', or a number near 2**63, is none.
_LIMITS = {False: "memory.max", True: "memory.limit_in_bytes"}


def read_word(path: Path) -> Optional[str]:
    """Return the text of a file of the system's, or None where there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


def group_folders(root: Path, controller: str) -> Iterator[Tuple[Path, bool]]:
    """Yield the folders of the groups that this process is in, from its own up to the mount.

    Parameters
    ----------
    root : Path
        Where /sys and /proc are.
    controller : str
        'cpu' or 'memory'.

    Yields
    ------
    tuple of (Path, bool)
        A folder, which need not be there, and whether it is of version 1.
    """
    for line in (read_word(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        # Within a container the path may be that of the host; the group itself is then at the mount.
        group = Path(path.strip("/"))
        for folder in {mount, *(mount / parent for parent in (group, *group.parents))}:
            yield folder, bool(controllers)


def usable_memory(root: Path = Path("/")) -> Optional[int]:
    """Return how many bytes this process may have: the machine's, or what its control groups grant, the least of all.

    Parameters
    ----------
    root : Path
        Where /sys and /proc are.

    Returns
    -------
    int or None
        None where nothing tells.
    """
    found = []
    if hasattr(os, "sysconf"):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for folder, first in group_folders(root, "memory"):
        limit = read_word(folder / _LIMITS[first])
        if limit and limit.isdigit():
            found.append(int(limit))
    return min(found, default=None)
