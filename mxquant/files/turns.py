"""Processes that write to one folder take turns, and wait for those that read there; nobody waits without end.

Whoever may open a folder may also hold its lock for ever.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Union

from mxquant.errors import InputError, OutputError

__all__ = ["reading_together", "turn_in"]

# How long a reader and a writer wait, in seconds. A turn is some renamings, or the reading of one network; who writes
# has more to lose.
_READER, _WRITER = 60.0, 600.0
_LONGEST_PAUSE = 0.05


@contextmanager
def reading_together(path: Union[str, Path]) -> Iterator[None]:
    """Let the files beside `path` that are written together stay as they are while they are read.

    Where the folder cannot be opened, or its file system has no locks, nothing is waited for.

    Raises
    ------
    InputError
        If another process has written there for a minute.
    """
    with turn_in(Path(path).parent, shared=True):
        yield


@contextmanager
def turn_in(folder: Path, shared: bool = False) -> Iterator[None]:
    """Wait for other processes that are at the same step in a folder; the end of a process ends its turn.

    Those that share their turns wait only for one that does not.

    Raises
    ------
    InputError, OutputError
        If a turn that is shared, or one that is not, has not come within its time.
    """
    handle = None
    try:
        # What cannot be opened tells those who read or write there.
        with suppress(OSError):
            handle = os.open(str(folder), os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))  # a FIFO would wait
        if handle is not None:
            _wait(handle, folder, shared)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _wait(handle: int, folder: Path, shared: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    seconds = _READER if shared else _WRITER
    end, pause = time.monotonic() + seconds, 0.0005
    while True:
        try:
            fcntl.flock(handle, kind)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                break
        except OSError:
            return  # some network file systems have no locks
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    if shared:
        raise InputError(
            f"cannot read from the folder '{folder}': another process has been writing there for {seconds:.0f} "
            "seconds; try again when it is done, or end it"
        )
    raise OutputError(
        f"cannot write to the folder '{folder}': other processes have been reading or writing there for {seconds:.0f} "
        "seconds; try again when they are done, or end them"
    )
